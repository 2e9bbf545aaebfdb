"""What the chapters share: the region under test, the official clients pointed at it, and small descriptions."""

import os
import re
import subprocess
import sys
import tarfile
import tempfile

from region import KEY, SECRET, Region, wait_for  # noqa: F401  (chapters import them from here)

NAME = "cn-shenzhen"  # the region of the guide's samples
API_HOST = f"batchcompute.{NAME}.aliyuncs.com"
OSS_HOST = f"oss-{NAME}.aliyuncs.com"
MNS_HOST = f"1000000001.mns.{NAME}.aliyuncs.com"
BUCKET, SECOND = "gristmill", "second-bucket"
HOSTS = [API_HOST, OSS_HOST, f"{BUCKET}.{OSS_HOST}", f"{SECOND}.{OSS_HOST}", MNS_HOST]
TYPE = "ecs.sn1.medium"
SSH_PORT = 2222
ENDED = ("Finished", "Failed", "Stopped")

region = None


class Skipped(Exception):
    """This machine cannot do what the example needs."""


def start(directory, binaries, settings=None):
    """Starts the region on the ports that the clients insist on, with a second bucket."""
    global region
    front = {"GRISTMILL_ATTACHED__IDLE": "3", "GRISTMILL_REGION": NAME, "GRISTMILL_FRONT_LISTEN": "127.0.0.1:80", "GRISTMILL_FRONT_TLS_LISTEN": "127.0.0.1:443"}
    front["GRISTMILL_SSH_LISTEN"] = f"127.0.0.1:{SSH_PORT}"
    os.environ["HOME"] = os.path.join(directory, "home")
    os.mkdir(os.environ["HOME"])
    region = Region(binaries, directory, {**front, **(settings or {})})
    region.start()
    bucket(SECOND).create_bucket()
    assert "login success" in bcs("login", NAME, KEY, SECRET)
    bcs("set", "-t", TYPE)
    bcs("set", "-o", f"oss://{BUCKET}/bcs/")
    return region


# --- clients ------------------------------------------------------------------------------------

def sdk():
    from batchcompute import CN_SHENZHEN, Client
    assert CN_SHENZHEN == API_HOST, CN_SHENZHEN
    return Client(CN_SHENZHEN, KEY, SECRET)


def bucket(name=BUCKET):
    import oss2
    return oss2.Bucket(oss2.Auth(KEY, SECRET), f"http://{OSS_HOST}", name)


def bcs(*words, cwd=None):
    """Runs the official command line and returns what it printed."""
    command = [os.path.join(os.path.dirname(sys.executable), "bcs"), *words]
    environment = dict(os.environ, DEBUG="1", COLUMNS="200")
    done = subprocess.run(command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=90, input="y\n", text=True)
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def job_in(text):
    """The job id that `bcs` printed."""
    found = re.search(r"job-[0-9A-F]{32}", text)
    assert found, text
    return found.group(0)


# --- descriptions -------------------------------------------------------------------------------

def a_task(command, prefix, **members):
    """The smallest task of the guide's form on an automatic cluster; its logs go to `prefix`."""
    task = {
        "InstanceCount": 1, "MaxRetryCount": 0, "Timeout": 600,
        "AutoCluster": {"InstanceType": TYPE, "ImageId": "img-ubuntu"},
        "Parameters": {
            "Command": {"CommandLine": command},
            "StdoutRedirectPath": f"oss://{BUCKET}/{prefix}logs/", "StderrRedirectPath": f"oss://{BUCKET}/{prefix}logs/",
        },
    }
    task.update(members)
    return task


def a_job(tasks, dependencies=None, **members):
    job = {
        "Name": "my_job_name", "Description": "hello test", "JobFailOnInstanceFail": True, "Priority": 0, "Type": "DAG",
        "DAG": {"Tasks": tasks, "Dependencies": dependencies or {}},
    }
    job.update(members)
    return job


def a_cluster(groups, **members):
    """A `ClusterDescription` with these groups (name to members)."""
    from batchcompute.resources import ClusterDescription, GroupDescription
    cluster = ClusterDescription()
    cluster.Name, cluster.ImageId = "guide", "img-ubuntu"
    for member, value in members.items():
        setattr(cluster, member, value)
    for name, wanted in groups.items():
        group = GroupDescription()
        for member, value in {"InstanceType": TYPE, **wanted}.items():
            setattr(group, member, value)
        cluster.add_group(name, group)
    return cluster


def package(files):
    """The path of a `worker.tar.gz` with these files (name to text)."""
    directory = tempfile.mkdtemp()
    archive = os.path.join(directory, "worker.tar.gz")
    with tarfile.open(archive, "w:gz") as packed:
        for name, text in files.items():
            path = os.path.join(directory, name)
            with open(path, "w") as file:
                file.write(text)
            packed.add(path, name)
    return archive


# --- running ------------------------------------------------------------------------------------

def end_of(job):
    """Waits for the end of a job and returns it."""
    client = sdk()
    return wait_for(f"the end of {job}", lambda: (lambda found: found if found.State in ENDED else None)(client.get_job(job)))


def finished(job):
    """Waits for a job that must succeed."""
    found = end_of(job)
    assert found.State == "Finished", (found.State, found.Message)
    return found


def run(tasks, dependencies=None, **members):
    """Submits a job by the SDK, waits for its good end, returns its id."""
    job = sdk().create_job(a_job(tasks, dependencies, **members)).Id
    finished(job)
    return job


def said(job, task, number=0):
    """What an instance wrote to its standard output, as the object that the API names."""
    path = sdk().get_instance(job, task, number).StdoutRedirectPath
    name, key = path.removeprefix("oss://").split("/", 1)
    return bucket(name).get_object(key).read().decode()


def running_machines(cluster, count):
    """Waits until so many machines of a cluster run."""
    client = sdk()
    wait_for(f"{count} running machines", lambda: client.get_cluster(cluster).Metrics.RunningCount == count)


def gone(look):
    """Whether the thing that `look` asks for is not there any more."""
    try:
        look()
        return False
    except Exception as error:
        return "NotFound" in str(error)
