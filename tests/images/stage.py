"""A region, the tree of an image, and what is asked of both."""

import json
import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.join(ROOT, "tests", "support"))
from make import make_tree  # noqa: E402
from region import KEY, SECRET, Refused, Region, wait_for  # noqa: E402

BINARIES = os.environ.get("GRISTMILL_BIN_DIR", os.path.join(ROOT, "target", "debug"))
TYPE = "ecs.sn1.medium"


class Stage:
    """Both, while the examples run."""

    def __init__(self, directory):
        self.directory = directory
        self.tree = os.path.join(directory, "tree")
        make_tree(self.tree)
        self.region = Region(BINARIES, directory)
        self.region.start()
        self.made = 0

    def close(self):
        self.region.stop()

    def path(self, name):
        return os.path.join(self.directory, name)

    def admin_command(self, *words):
        where = ["--endpoint", f"http://127.0.0.1:{self.region.api}", "--data-dir", self.region.data]
        return [os.path.join(BINARIES, "gristmill"), "admin", *words[:2], *where, "--json", *words[2:]]

    def environment(self, **more):
        return dict(os.environ, GRISTMILL_ROOT_ACCESS_KEY_ID=KEY, GRISTMILL_ROOT_ACCESS_KEY_SECRET=SECRET, LANG="C.UTF-8", **more)

    def ask(self, words, more):
        command = self.admin_command(*words)
        return subprocess.run(command, env=self.environment(**more), capture_output=True, text=True, timeout=120)

    def admin(self, *words, **more):
        """What `gristmill admin` printed, with more variables."""
        done = self.ask(words, more)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return json.loads(done.stdout) if done.stdout.strip() else None

    def refused(self, *words, **more):
        """What `gristmill admin` said when it failed."""
        done = self.ask(words, more)
        assert done.returncode != 0, f"{words} was done: {done.stdout}"
        return done.stderr

    def import_tree(self, image, *options):
        return self.admin("image", "import", image, self.tree, *options)

    def remove(self, image):
        """Removes an image when the machines that are going from it are gone."""
        def unused():
            about = self.admin("image", "show", image)
            return not about["InUse"] and not about["Clusters"]
        wait_for(f"the end of machines of {image}", unused)
        self.admin("image", "remove", image)

    def directories(self):
        names = os.listdir(os.path.join(self.region.data, "images"))
        return sorted(name for name in names if not name.startswith("."))

    def left_of(self, image):
        return [name for name in self.directories() if name.startswith(f"{image}.")]

    def run(self, command, image=None, cluster=None, **members):
        """Runs a job of one instance: its state, what it printed, and the job."""
        self.made += 1
        logs = f"oss://gristmill/logs/{self.made}/"
        task = {
            "InstanceCount": 1, "Timeout": 300,
            "Parameters": {"Command": {"CommandLine": command}, "StdoutRedirectPath": logs, "StderrRedirectPath": logs},
            **members,
        }
        if cluster:
            task["ClusterId"] = cluster
        else:
            task["AutoCluster"] = {"InstanceType": TYPE, **(image or {})}
        body = {"Name": "images", "Type": "DAG", "Priority": 1, "JobFailOnInstanceFail": True, "DAG": {"Tasks": {"only": task}}}
        job = self.region.call("POST", "/jobs", body)["Id"]
        ended = lambda: self.region.call("GET", f"/jobs/{job}")["State"] in ("Finished", "Failed", "Stopped")
        wait_for("the end of the job", ended)
        state = self.region.call("GET", f"/jobs/{job}")["State"]
        said = ""
        if state == "Finished":
            said = self.region.get_object("gristmill", f"logs/{self.made}/stdout.{job}.only.0").decode()
        return state, said, job

    def says(self, command, **members):
        state, said, job = self.run(command, **members)
        result = self.region.call("GET", f"/jobs/{job}/tasks/only/instances/0")
        assert state == "Finished", f"{command}: {state} {result}"
        return said

    def cluster(self, count=1, **members):
        self.made += 1
        groups = {"group": {"DesiredVMCount": count, "InstanceType": TYPE}}
        body = {"Name": f"cluster{self.made}", "InstanceType": TYPE, "Groups": groups, **members}
        return self.region.call("POST", "/clusters", body)["Id"]

    def machines(self, cluster):
        return self.region.call("GET", f"/clusters/{cluster}/groups/group/instances")["Items"]

    def running(self, cluster):
        found = lambda: [it["Id"] for it in self.machines(cluster) if it["State"] == "Running"]
        return wait_for("a running machine", found)

    def delete(self, cluster):
        self.region.call("DELETE", f"/clusters/{cluster}")
        wait_for("the end of the cluster", lambda: not self.exists(cluster))

    def exists(self, cluster):
        try:
            self.region.call("GET", f"/clusters/{cluster}")
            return True
        except Refused:
            return False
