"""Runs inside the namespaces: starts a region, drives it with the official clients."""

import json
import os
import re
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.request

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))
from official import prepare_network, sh  # noqa: E402
from region import wait_for  # noqa: E402

EXAMPLE = os.path.join(os.path.dirname(os.path.dirname(HERE)), "examples", "log-count")
BINARIES = sys.argv[1]
REGION = "cn-local"
KEY, SECRET = "officialtestkey", "officialtestsecret"
WANTED = {"INFO": 2460, "WARN": 2448, "DEBUG": 2509, "ERROR": 2583}
API_HOST = f"batchcompute.{REGION}.aliyuncs.com"
OSS_HOST = f"oss-{REGION}.aliyuncs.com"
BUCKET = "gristmill"
PATIENCE = 90


class Region:
    """One `gristmill serve` with front listeners on the ports the clients insist on."""

    def __init__(self, directory):
        self.log = open(os.path.join(directory, "serve.log"), "w")
        # Variables of the test runner are no settings of a region.
        environment = {name: value for name, value in os.environ.items() if not name.startswith("GRISTMILL_")}
        environment.update(GRISTMILL_ROOT_ACCESS_KEY_ID=KEY, GRISTMILL_ROOT_ACCESS_KEY_SECRET=SECRET)
        command = [
            os.path.join(BINARIES, "gristmill"), "serve", "--data-dir", os.path.join(directory, "data"),
            "--region", REGION, "--front-listen", "127.0.0.1:80", "--front-tls-listen", "127.0.0.1:443",
        ]
        self.process = subprocess.Popen(command, env=environment, stderr=self.log, stdout=self.log)
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen("http://127.0.0.1:8080/healthz", timeout=1)
                return
            except OSError:
                if time.monotonic() > deadline or self.process.poll() is not None:
                    raise SystemExit("the region did not start:\n" + open(self.log.name).read())
                time.sleep(0.05)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(timeout=30)
        assert code == 0, f"serve ended with {code}"


def make_log():
    """10,000 lines whose counts are known, in an order that only looks random."""
    words = [word for word, count in WANTED.items() for _ in range(count)]
    state = 12345
    for last in range(len(words) - 1, 0, -1):
        state = (state * 1103515245 + 12345) % 2**31
        other = state % (last + 1)
        words[last], words[other] = words[other], words[last]
    return "".join(f"line {number} {word} something happened\n" for number, word in enumerate(words))


# --- the SDKs -------------------------------------------------------------------------------

def sdk():
    from batchcompute import Client
    Client.register_region(API_HOST, API_HOST)
    return Client(API_HOST, KEY, SECRET)


def bucket():
    import oss2
    return oss2.Bucket(oss2.Auth(KEY, SECRET), f"http://{OSS_HOST}", BUCKET)


def pack():
    archive = tempfile.mktemp(suffix=".tar.gz")
    sh("tar", "-C", os.path.join(EXAMPLE, "log-count"), "-czf", archive, ".")
    return archive


def task(command, prefix, count=1):
    return {
        "InstanceCount": count, "MaxRetryCount": 0, "Timeout": 600,
        "AutoCluster": {"ImageId": "img-ubuntu", "InstanceType": "ecs.sn1.medium"},
        "InputMapping": {f"oss://{BUCKET}/{prefix}": "/home/input/"},
        "OutputMapping": {"/home/output/": f"oss://{BUCKET}/{prefix}"},
        "Parameters": {
            "Command": {"CommandLine": command, "PackagePath": f"oss://{BUCKET}/{prefix}worker.tar.gz"},
            "StdoutRedirectPath": f"oss://{BUCKET}/{prefix}logs/",
            "StderrRedirectPath": f"oss://{BUCKET}/{prefix}logs/",
        },
    }


def test_oss2_lists_buckets_and_round_trips_an_object():
    import oss2
    service = oss2.Service(oss2.Auth(KEY, SECRET), f"http://{OSS_HOST}")
    assert BUCKET in [found.name for found in oss2.BucketIterator(service)]
    store = bucket()
    store.put_object("dir/日志.txt", "你好".encode())
    assert store.get_object("dir/日志.txt").read().decode() == "你好"
    assert [found.key for found in oss2.ObjectIterator(store, prefix="dir/")] == ["dir/日志.txt"]


def test_the_sdk_runs_the_log_count_job():
    store, client, prefix = bucket(), sdk(), "sdk/log-count/"
    store.put_object(prefix + "log-count-data.txt", make_log())
    store.put_object_from_file(prefix + "worker.tar.gz", pack())
    job = client.create_job({
        "Name": "log-count", "Type": "DAG", "Priority": 1, "JobFailOnInstanceFail": True, "Description": "by SDK",
        "DAG": {
            "Tasks": {
                "split": task("sh split.sh", prefix),
                "count": task("sh count.sh", prefix, 3),
                "merge": task("sh merge.sh", prefix),
            },
            "Dependencies": {"split": ["count"], "count": ["merge"]},
        },
    })
    assert re.fullmatch(r"job-[0-9A-F]{32}", job.Id), job.Id
    wait_for("the end of the job", lambda: client.get_job(job.Id).State in ("Finished", "Failed"))
    found = client.get_job(job.Id)
    assert found.State == "Finished", (found.State, found.Message)
    assert json.loads(store.get_object(prefix + "merge_result.txt").read()) == WANTED
    assert client.get_task(job.Id, "count").InstanceMetrics.FinishedCount == 3
    instance = client.get_instance(job.Id, "count", 2)
    assert (instance.State, instance.Result.ExitCode, instance.RetryCount) == ("Finished", 0, 0)
    log = instance.StdoutRedirectPath.split(f"oss://{BUCKET}/", 1)[1]
    assert b"INFO " in store.get_object(log).read()
    described = client.get_job_description(job.Id)
    assert described.DAG.Tasks["count"].InstanceCount == 3
    client.delete_job(job.Id)


def test_the_sdk_walks_a_job_through_its_states():
    client = sdk()
    job = client.create_job({
        "Name": "states", "Type": "DAG", "Priority": 1, "JobFailOnInstanceFail": True, "Description": "",
        "DAG": {"Tasks": {"wait": task("sleep 600", "states/", 3)}, "Dependencies": {}},
    })
    del_refused(client, job.Id)
    assert [len(client.list_instances(job.Id, "wait", "0", n).Items) for n in (1, 2, 3, 4)] == [1, 2, 3, 3]
    client.stop_job(job.Id)
    assert client.get_job(job.Id).State == "Stopped"
    client.change_job_priority(job.Id, 77)
    assert client.get_job(job.Id).Priority == 77
    client.start_job(job.Id)
    client.stop_job(job.Id)
    client.delete_job(job.Id)
    assert job.Id not in [found.Id for found in client.list_jobs("", 100).Items]


def del_refused(client, job):
    try:
        client.delete_job(job)
    except Exception as error:
        assert "StateConflict" in str(error), error
        return
    raise AssertionError("a waiting job was deleted")


def test_the_sdk_changes_the_size_of_a_cluster():
    from batchcompute.resources import ClusterDescription, GroupDescription
    client, cluster, group = sdk(), ClusterDescription(), GroupDescription()
    group.DesiredVMCount, group.InstanceType = 1, "ecs.sn1.medium"
    cluster.Name, cluster.ImageId, cluster.InstanceType = "pool", "img-ubuntu", "ecs.sn1.medium"
    cluster.add_group("g1", group)
    made = client.create_cluster(cluster)
    assert client.get_cluster(made.Id).Groups["g1"].DesiredVMCount == 1
    client.change_cluster_desired_vm_count(made.Id, g1=2)
    assert client.get_cluster(made.Id).Groups["g1"].DesiredVMCount == 2

    def running():
        machines = client.list_cluster_instances(made.Id, "g1", "", 100).Items
        assert all(machine.Id.startswith("i-") for machine in machines)
        return [m.Id for m in machines if m.State == "Running"] if len(machines) == 2 else []

    wait_for("two running machines", lambda: len(running()) == 2)
    client.delete_cluster(made.Id)

    def gone():
        try:
            client.get_cluster(made.Id)
            return False
        except Exception as error:
            return "NotFound" in str(error)

    wait_for("the end of the cluster", gone)


# --- the command line -----------------------------------------------------------------------

def temporary_key():
    """A temporary key of the root account, as the operator makes one."""
    environment = dict(os.environ, GRISTMILL_ROOT_ACCESS_KEY_ID=KEY, GRISTMILL_ROOT_ACCESS_KEY_SECRET=SECRET)
    made = subprocess.run([os.path.join(BINARIES, "gristmill"), "admin", "credentials", "--json"], env=environment, check=True, capture_output=True)
    made = json.loads(made.stdout)
    return made["AccessKeyId"], made["AccessKeySecret"], made["SecurityToken"]


def test_oss2_works_with_a_temporary_key():
    import oss2
    id, secret, token = temporary_key()
    for version in (oss2.AUTH_VERSION_1, oss2.AUTH_VERSION_2, oss2.AUTH_VERSION_4):
        auth = oss2.StsAuth(id, secret, token, auth_version=version)
        store = oss2.Bucket(auth, f"http://{OSS_HOST}", BUCKET, region=REGION)
        store.put_object("temporary", version)
        assert store.get_object("temporary").read() == version.encode()
        assert urllib.request.urlopen(store.sign_url("GET", "temporary", 60)).read() == version.encode()
        wrong = oss2.Bucket(oss2.StsAuth(id, secret, token + "x", auth_version=version), f"http://{OSS_HOST}", BUCKET, region=REGION)
        try:
            wrong.get_object("temporary")
        except oss2.exceptions.OssError as error:
            assert (error.status, error.code) == (403, "InvalidSecurityToken"), error
        else:
            raise AssertionError("a wrong token was taken")
    bucket().delete_object("temporary")


def test_the_sdk_works_with_a_temporary_key():
    from batchcompute import Client, ClientError
    id, secret, token = temporary_key()
    sdk()
    assert Client(API_HOST, id, secret, security_token=token).list_images("", 10).Items is not None
    try:
        Client(API_HOST, id, secret, security_token=token + "x").list_images("", 10)
    except ClientError as error:
        assert "InvalidSecurityToken.Mismatch" in str(error), error
    else:
        raise AssertionError("a wrong token was taken")


def test_our_bcs_works_with_a_temporary_key():
    id, secret, token = temporary_key()
    environment = dict(os.environ, HOME=HOME, BCS_ENDPOINT="http://127.0.0.1:8080", BCS_OSS_ENDPOINT="http://127.0.0.1:8081", BCS_REGION=REGION)
    environment.update(BCS_ACCESS_KEY_ID=id, BCS_ACCESS_KEY_SECRET=secret, BCS_SECURITY_TOKEN=token)
    bucket().put_object("temporary", "by bcs")
    words = [os.path.join(BINARIES, "bcs"), "oss", "cat", f"oss://{BUCKET}/temporary"]
    assert subprocess.run(words, env=environment, check=True, capture_output=True, text=True).stdout == "by bcs"
    listed = subprocess.run([os.path.join(BINARIES, "bcs"), "i"], env=environment, check=True, capture_output=True, text=True)
    assert "img-ubuntu" in listed.stdout, listed
    bucket().delete_object("temporary")


def bcs(*words, cwd=None):
    """Runs the official command and returns what it printed."""
    command = [os.path.join(os.path.dirname(sys.executable), "bcs"), *words]
    environment = dict(os.environ, HOME=HOME, DEBUG="1", COLUMNS="200")
    done = subprocess.run(command, env=environment, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, input="y\n", text=True)
    assert "Traceback" not in done.stdout, done.stdout
    return done.stdout


def test_bcs_runs_the_log_count_job():
    assert "login success" in bcs("login", REGION, KEY, SECRET)
    bcs("set", "-t", "ecs.sn1.medium")
    bcs("set", "-o", f"oss://{BUCKET}/cli/")
    with open(os.path.join(HOME, "data.txt"), "w") as file:
        file.write(make_log())
    prefix = f"oss://{BUCKET}/log-count/"
    bcs("oss", "upload", os.path.join(HOME, "data.txt"), prefix + "log-count-data.txt")
    work = os.path.join(HOME, "work")
    shutil.copytree(EXAMPLE, work)
    said = bcs("sub", "--file", "job.cfg", "-r", prefix + ":/home/input/", "-w", prefix + ":/home/output/", cwd=work)
    assert re.search(r"job-[0-9A-F]{32}", said), said
    job = re.search(r"job-[0-9A-F]{32}", said).group(0)
    wait_for("the end of the job", lambda: re.search("Finished|Failed", bcs("j", job)))
    listed = bcs("j")
    assert job in listed and "Finished" in listed, listed
    assert "Finished" in bcs("ch", "1")
    log = bcs("log", "1")
    assert "part 0: lines" in log or "stdout" in log, log
    shown = bcs("oss", "cat", prefix + "merge_result.txt")
    assert json.dumps(WANTED) in shown, shown


def test_bcs_prints_its_other_screens():
    assert "img-ubuntu" in bcs("i")
    assert "ecs.sn1.medium" in bcs("t")
    for words in (["c"], ["j", "1"], ["j", "1", "count"], ["j", "1", "count", "0"]):
        assert "Error" not in bcs(*words), words


def main():
    global HOME
    with tempfile.TemporaryDirectory() as directory:
        HOME = os.path.join(directory, "home")
        os.mkdir(HOME)
        prepare_network(directory, {"127.0.0.1": ["localhost", API_HOST, OSS_HOST, f"{BUCKET}.{OSS_HOST}"]})
        region = Region(directory)
        passed = failed = 0
        for name, test in list(globals().items()):
            if not name.startswith("test_"):
                continue
            try:
                test()
                passed += 1
                print(f"ok      {name}")
            except BaseException:
                failed += 1
                print(f"FAILED  {name}")
                traceback.print_exc()
        try:
            region.stop()
        except BaseException:
            failed += 1
            traceback.print_exc()
        if failed:
            with open(os.path.join(directory, "serve.log")) as log:
                print("--- the region said ---", log.read()[-20000:], sep="\n")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
