"""访问实例: logging in to machines of a fixed cluster, and what the start script finds there."""

import os
import subprocess

import here
from here import BUCKET, TYPE, a_cluster, a_job, a_task, bucket, end_of, gone, running_machines, sdk, wait_for

MACHINES = 2


def machines(cluster, group="workers"):
    return sdk().list_cluster_instances(cluster, group, "", 100).Items


def log_in(machine, password, command):
    """What OpenSSH's client is told by a machine, after it asked for the password."""
    home = os.environ["HOME"]
    ask = os.path.join(home, "askpass")
    with open(ask, "w") as file:
        file.write('#!/bin/sh\nprintf "%s\\n" "$GUIDE_PASSWORD"\n')
    os.chmod(ask, 0o700)
    environment = dict(os.environ, SSH_ASKPASS=ask, SSH_ASKPASS_REQUIRE="force", GUIDE_PASSWORD=password)
    options = ["StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={home}/known", "LogLevel=ERROR", "NumberOfPasswordPrompts=1", "PubkeyAuthentication=no"]
    words = ["ssh", "-F", "none", *[word for option in options for word in ("-o", option)], "-p", str(here.SSH_PORT), f"{machine}@127.0.0.1", command]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, env=environment, timeout=60, text=True)


def with_start_script():
    """A cluster whose start script lies in the object store and is mounted at the guide's `/root/test/`."""
    bucket().put_object("access/start.sh", b"#!/bin/sh\necho set up on $(hostname) > /opt/note\n")
    from batchcompute.resources import Configs
    configs = Configs()
    configs.Mounts = {"Entries": [{"Source": f"oss://{BUCKET}/access/", "Destination": "/root/test/", "WriteSupport": False}]}
    group = {"workers": {"DesiredVMCount": MACHINES}, "others": {"DesiredVMCount": 1, "InstanceType": TYPE}}
    return sdk().create_cluster(a_cluster(group, Bootstrap="sh /root/test/start.sh", Configs=configs)).Id


def test_a_machine_of_a_fixed_cluster():
    """A machine's detail has the password to log in with; the start script ran on every machine of every group, after the mounts."""
    cluster = with_start_script()
    running_machines(cluster, MACHINES + 1)
    found = machines(cluster) + machines(cluster, "others")
    assert len({machine.InstancePassword for machine in found}) == MACHINES + 1
    assert all(machine.IpAddress for machine in found), found
    for machine in found:
        shown = log_in(machine.Id, machine.InstancePassword, "hostname; cat /opt/note; ls /root/test")
        name = machine.HostName
        assert shown.stdout.splitlines() == [name, f"set up on {name}", "start.sh"], (shown, name)
    sdk().delete_cluster(cluster)
    wait_for("the end of the cluster", lambda: gone(lambda: sdk().get_cluster(cluster)))


def test_a_wrong_password():
    """Only who has a machine's password gets in."""
    cluster = sdk().create_cluster(a_cluster({"workers": {"DesiredVMCount": 1}})).Id
    running_machines(cluster, 1)
    machine = machines(cluster)[0]
    shown = log_in(machine.Id, machine.InstancePassword + "x", "hostname")
    assert shown.returncode == 255 and not shown.stdout, shown
    sdk().delete_cluster(cluster)


def test_machines_of_automatic_clusters_are_closed():
    """The machines of an automatic cluster have no way in."""
    job = sdk().create_job(a_job({"my-task": a_task("sleep 60", "access-logs/")})).Id
    instance = lambda: sdk().get_instance(job, "my-task", 0)
    wait_for("its start", lambda: instance().State == "Running")
    running = [name for name in os.listdir(os.path.join(here.region.data, "workers")) if name.startswith("i-")]
    assert running
    for machine in running:
        shown = log_in(machine, "any", "hostname")
        assert shown.returncode == 255 and not shown.stdout, shown
    sdk().stop_job(job)
    end_of(job)


def test_groups_differ_and_are_resized():
    """Groups of one cluster may differ in type, and the size of each follows the need."""
    client = sdk()
    cluster = client.create_cluster(a_cluster({"small": {"DesiredVMCount": 1}, "large": {"DesiredVMCount": 0, "InstanceType": "ecs.sn1.large"}})).Id
    running_machines(cluster, 1)
    client.change_cluster_desired_vm_count(cluster, small=0, large=1)
    wait_for("the other group", lambda: [machine.State for machine in machines(cluster, "large")] == ["Running"])
    wait_for("no small machine", lambda: not machines(cluster, "small"))
    assert client.get_cluster(cluster).Groups["large"].InstanceType == "ecs.sn1.large"
    client.delete_cluster(cluster)
