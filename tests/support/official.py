"""What the tests with official clients share: installing them, and a network where the vendor's names lead to us.

The clients come from PyPI into a virtual environment below `target/`. They insist on the vendor's
host names and on ports 80 and 443, so these tests run in network and mount namespaces of their own.
"""

import os
import ssl
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VENV = os.path.join(ROOT, "target", "official-venv")
PYTHON = os.path.join(VENV, "bin", "python")
BINARIES = os.environ.get("GRISTMILL_BIN_DIR", os.path.join(ROOT, "target", "debug"))
SDK = "batchcompute==2.1.7"
STEPS = ["setuptools<70", "wheel"], [SDK, "oss2==2.19.1"], ["batchcompute-cli==1.7.7"], ["aliyun-mns-sdk==1.3.0"]


def pip(*words):
    """Runs pip of the virtual environment; a registry may need a second try."""
    for attempt in range(3):
        if subprocess.run([os.path.join(VENV, "bin", "pip"), *words]).returncode == 0:
            return
        time.sleep(2**attempt)
    raise SystemExit(f"pip {' '.join(words)} did not succeed")


def install():
    """Makes the virtual environment once; a marker says that it is whole."""
    marker = os.path.join(VENV, "whole")
    if os.path.exists(marker):
        return
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    for names in STEPS:
        # The SDK is a source distribution that needs an old setuptools.
        pip("install", "-q", "--no-build-isolation", *names)
    open(marker, "w").close()


def namespaces_possible():
    probe = ["unshare", "--net", "--mount", "true"]
    return os.geteuid() == 0 and subprocess.run(probe, stderr=subprocess.DEVNULL).returncode == 0


def drive(what, script, *words):
    """Runs `script` with the clients' Python in namespaces of its own; its exit status."""
    if not namespaces_possible():
        print(f"{what}: skipped, needs root and network namespaces")
        print("0 passed, 0 failed, 1 skipped")
        return 0
    install()
    inside = ["unshare", "--net", "--mount", "--propagation", "private"]
    return subprocess.run([*inside, PYTHON, "-u", script, BINARIES, *words]).returncode


def sh(*words):
    subprocess.run(words, check=True)


def prepare_network(directory, hosts):
    """Loopback up, a second address (resolvers want one), and `hosts` (address: names) as hosts file."""
    sh("ip", "link", "set", "lo", "up")
    sh("ip", "link", "add", "br9", "type", "bridge")
    sh("ip", "addr", "add", "10.99.1.1/24", "dev", "br9")
    sh("ip", "link", "set", "br9", "up")
    file = os.path.join(directory, "hosts")
    with open(file, "w") as lines:
        for address, names in hosts.items():
            lines.write(f"{address} {' '.join(names)}\n")
    sh("mount", "--bind", file, "/etc/hosts")


def trust(directory, host, port=443):
    """Makes this process trust the certificate that `host` shows, as an operator would tell clients to."""
    file = os.path.join(directory, f"{host}.pem")
    with open(file, "w") as out:
        out.write(ssl.get_server_certificate((host, port)))
    os.environ["SSL_CERT_FILE"] = file
