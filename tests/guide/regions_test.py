"""支持的地域: regions and what the guide calls them."""

import os
import subprocess

import here
from here import API_HOST, KEY, NAME, SECRET, bcs, sdk

LABELS = {"zh_CN.UTF-8": "华南1（深圳）", "en_US.UTF-8": "China South 1 (Shenzhen)"}


def test_a_region_by_its_id():
    """A region has an id; the SDK has a constant for it and the command line takes it at the login."""
    import batchcompute
    assert batchcompute.CN_SHENZHEN == API_HOST == f"batchcompute.{NAME}.aliyuncs.com"
    assert sdk().list_jobs("", 1).NextMarker is not None
    assert "login success" in bcs("login", NAME, KEY, SECRET)


def test_a_region_has_a_label():
    """The region's label is shown beside its id, in the user's language."""
    program = os.path.join(os.path.dirname(here.region.program), "bcs")
    for language, label in LABELS.items():
        environment = dict(os.environ, BCS_ENDPOINT=f"http://{API_HOST}", BCS_HOME=os.path.join(os.environ["HOME"], "ours"), LANG=language)
        done = subprocess.run([program, "login", NAME, KEY, SECRET], capture_output=True, env=environment, timeout=60, text=True)
        assert label in done.stderr, done
