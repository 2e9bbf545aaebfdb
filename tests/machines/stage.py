"""What the chapters share: a region of their own and short words for clusters and jobs."""

import json
import os
import subprocess

from region import KEY, SECRET, Refused, Region, wait_for

BUCKET = "gristmill"


class Skipped(Exception):
    """An example that cannot be shown on this machine, with the reason."""


class Stage:
    def __init__(self, binaries, directory, settings):
        self.region = Region(binaries, directory, settings)
        self.binaries, self.directory = binaries, directory
        self.clusters = []

    def start(self):
        self.region.start()

    def close(self):
        if self.region.process.poll() is None:
            self.region.stop()

    # --- people -----------------------------------------------------------------------------

    def bcs(self, *words):
        """What `bcs` prints."""
        region = self.region
        environment = {
            **os.environ, "BCS_ENDPOINT": f"http://127.0.0.1:{region.api}", "BCS_OSS_ENDPOINT": f"http://127.0.0.1:{region.oss}",
            "BCS_ACCESS_KEY_ID": KEY, "BCS_ACCESS_KEY_SECRET": SECRET, "HOME": self.directory,
        }
        program = [os.path.join(self.binaries, "bcs"), *words]
        return subprocess.run(program, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60).stdout

    def stranger(self):
        """The id and the secret of a key of another account."""
        environment = dict(os.environ, GRISTMILL_ROOT_ACCESS_KEY_ID=KEY, GRISTMILL_ROOT_ACCESS_KEY_SECRET=SECRET)
        endpoint = ["--json", "--endpoint", f"http://127.0.0.1:{self.region.api}"]

        def admin(*words):
            command = [os.path.join(self.binaries, "gristmill"), "admin", *words, *endpoint]
            done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
            return json.loads(done.stdout)

        admin("account", "create", "stranger")
        made = admin("key", "create", "stranger")
        return made["AccessKeyId"], made["AccessKeySecret"]

    # --- clusters ---------------------------------------------------------------------------

    def cluster(self, count=1, image="img-ubuntu", **members):
        """A cluster with one group `group`; its id."""
        body = {"Name": "guide", "ImageId": image, "Groups": {"group": {"DesiredVMCount": count}}, **members}
        made = self.region.call("POST", "/clusters", body)["Id"]
        self.clusters.append(made)
        return made

    def machines(self, cluster, group="group"):
        return self.region.call("GET", f"/clusters/{cluster}/groups/{group}/instances")["Items"]

    def running(self, cluster, count=1, group="group"):
        """The machines of a group, once so many run."""

        def look():
            machines = [m for m in self.machines(cluster, group) if m["State"] == "Running"]
            return machines if len(machines) >= count else None

        return wait_for(f"{count} running machines of {cluster}", look)

    def delete_cluster(self, cluster):
        self.region.call("DELETE", f"/clusters/{cluster}")

        def gone():
            try:
                self.region.call("GET", f"/clusters/{cluster}")
            except Refused as refused:
                return refused.status == 404
            return False

        wait_for(f"the end of {cluster}", gone)

    # --- jobs -------------------------------------------------------------------------------

    def submit(self, command, cluster=None, auto=None, instances=1, job=None, **task):
        """A job with one task named `task`; its id."""
        where = {"ClusterId": cluster} if cluster else {"AutoCluster": auto or {"ImageId": "img-ubuntu"}}
        parameters = {
            "Command": {"CommandLine": command},
            "StdoutRedirectPath": f"oss://{BUCKET}/logs/",
            "StderrRedirectPath": f"oss://{BUCKET}/logs/",
        }
        described = {"Parameters": parameters, "InstanceCount": instances, **where, **task}
        body = {"Name": "guide", "Type": "DAG", "DAG": {"Tasks": {"task": described}}, **(job or {})}
        return self.region.call("POST", "/jobs", body)["Id"]

    def ended(self, job, patience=120):
        def look():
            found = self.region.call("GET", f"/jobs/{job}")
            return found if found["State"] in ("Finished", "Failed", "Stopped") else None

        return wait_for(f"the end of {job}", look, patience)

    def log(self, job, instance=0, kind="stdout"):
        return self.region.get_object(BUCKET, f"logs/{kind}.{job}.task.{instance}").decode()

    def output(self, command, patience=120, **where):
        """What a job printed that must end well."""
        job = self.submit(command, **where)
        found = self.ended(job, patience)
        if found["State"] != "Finished":
            errors = self.region.call("GET", f"/jobs/{job}/tasks/task/instances/0")["Result"]
            raise AssertionError(f"{found['State']}: {found.get('Message')}; {errors}")
        return self.log(job).rstrip("\n")
