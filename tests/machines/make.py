"""Chapters about what a machine is made of: start script, mounts, disks, user data, variables."""

import json
import os

from region import KEY, SECRET, signed, wait_for
from stage import BUCKET, Skipped

#: What disks may promise together, in all examples of this chapter.
SETTINGS = {"GRISTMILL_LOCAL__DISKS_BYTES_MAX": str(100 << 30)}


def only_root():
    if os.geteuid() != 0:
        raise Skipped("only root can do it")


def example_start_script(stage):
    """The start script of a cluster runs on every machine of it, and programs find what it left."""
    cluster = stage.cluster(count=2, Bootstrap="mkdir -p /opt/tool && hostname > /opt/tool/where && echo set up")
    names = {machine["HostName"] for machine in stage.running(cluster, 2)}
    job = stage.submit("sh -c 'cat /opt/tool/where; hostname; sleep 1'", cluster=cluster, instances=2)
    assert stage.ended(job)["State"] == "Finished"
    said = [stage.log(job, number).split() for number in range(2)]
    assert all(wrote == runs for wrote, runs in said), said
    assert {runs for _, runs in said} == names, (said, names)
    stage.delete_cluster(cluster)


def example_mounts_come_first(stage):
    """Each machine mounts first and runs its start script then; the script may lie in a mount."""
    stage.region.put_object(BUCKET, "scripts/start.sh", b"#!/bin/sh\necho started by $1 > /opt/note\n")
    mounts = {"Entries": [{"Source": f"oss://{BUCKET}/scripts/", "Destination": "/root/test/"}]}
    cluster = stage.cluster(Bootstrap="sh /root/test/start.sh $WHO", EnvVars={"WHO": "me"}, Configs={"Mounts": mounts})
    assert stage.output("sh -c 'cat /opt/note; ls /root/test'", cluster=cluster) == "started by me\nstart.sh"
    stage.delete_cluster(cluster)


def example_a_start_script_that_fails_is_told(stage):
    """A machine whose start script fails takes no work, and everybody is told why."""
    cluster = stage.cluster(Bootstrap="echo no licence server >&2; exit 7")
    job = stage.submit("true", cluster=cluster)

    def told():
        hints = [machine["Hint"] for machine in stage.machines(cluster)]
        return [hint for hint in hints if hint]

    hint = wait_for("a machine that says why", told)[0]
    expected = "the bootstrap command ended with exit code 7; its log ends with: no licence server"
    assert hint == expected, hint
    logs = stage.region.call("GET", f"/clusters/{cluster}")["OperationLogs"]
    assert any(expected in line for line in logs), logs
    (machine,) = [machine for machine in stage.machines(cluster) if machine["Hint"]]
    assert (machine["ErrorCode"], machine["ErrorMessage"]) == (2, machine["Hint"]), machine
    assert stage.region.call("GET", f"/jobs/{job}")["State"] == "Waiting"
    stage.region.call("POST", f"/jobs/{job}/stop")
    stage.delete_cluster(cluster)


def example_what_a_start_script_says_is_read(stage):
    """The owner of a cluster, and nobody else, reads what the start script says on a machine while and after it runs."""
    cluster = stage.cluster(Bootstrap="echo begun; sleep 2; echo over >&2")

    def look(offset=0, account=None):
        place = f"/clusters/{cluster}/groups/group/instances/{stage.machines(cluster)[0]['Id']}/bootstrap-log"
        target = f"{place}?offset={offset}"
        status, headers, said = stage.region.raw("GET", target, headers=signed("GET", target, *(account or (KEY, SECRET))))
        headers = {name.lower(): value for name, value in headers.items()}
        return status, said.decode(), headers.get("x-gristmill-next-offset"), headers.get("x-gristmill-eof")

    wait_for("a machine", lambda: stage.machines(cluster))
    wait_for("its first words", lambda: look() == (200, "begun\n", "6", "false"))
    (machine,) = stage.running(cluster)
    assert (machine["ErrorCode"], machine["ErrorMessage"]) == (0, ""), machine
    assert look() == (200, "begun\nover\n", "11", "true"), look()
    assert look(6) == (200, "over\n", "11", "true"), look(6)
    shown = stage.bcs("c", cluster, "group", machine["Id"], "--bootstrap_log")
    assert shown == "begun\nover\n", shown
    assert look(account=stage.stranger())[0] == 404
    stage.delete_cluster(cluster)


def example_user_data_is_metadata(stage):
    """The user data of a cluster is shown to its machines as metadata."""
    cluster = stage.cluster(UserData={"role": "render", "license": "10.0.0.9"})
    shown = json.loads(stage.output("cat /batchcompute/metadata.json", cluster=cluster))
    machine = stage.running(cluster)[0]
    assert shown["UserData"] == {"role": "render", "license": "10.0.0.9"}, shown
    assert (shown["InstanceId"], shown["HostName"]) == (machine["Id"], machine["HostName"]), shown
    assert shown["ClusterId"] == cluster, shown
    stage.delete_cluster(cluster)


def example_variables_of_cluster_and_task(stage):
    """Programs see the service's variables and the ones that were set for cluster and job."""
    cluster = stage.cluster(EnvVars={"k1": "cluster", "k2": "cluster"})
    parameters = {
        "Command": {"CommandLine": "env", "EnvVars": {"k2": "task"}},
        "StdoutRedirectPath": f"oss://{BUCKET}/logs/",
    }
    lines = dict(line.split("=", 1) for line in stage.output("env", cluster=cluster, Parameters=parameters).splitlines())
    assert (lines["k1"], lines["k2"]) == ("cluster", "task"), lines
    assert lines["BATCH_COMPUTE_CLUSTER_ID"] == cluster
    assert lines["BATCH_COMPUTE_DAG_INSTANCE_ID"] == "0"
    assert lines["BATCH_COMPUTE_WORKER_ID"] == stage.running(cluster)[0]["Id"]
    assert lines["BATCH_COMPUTE_REGION"] == "cn-local"
    stage.delete_cluster(cluster)


def example_data_disk(stage):
    """A data disk is written and read like any local directory, up to the size that was asked for."""
    only_root()
    disks = {
        "SystemDisk": {"Type": "cloud_efficiency", "Size": 40},
        "DataDisk": {"Type": "cloud_efficiency", "Size": 5, "MountPoint": "/home/my-data-disk"},
    }
    cluster = stage.cluster(Configs={"Disks": disks})
    script = "echo kept > /home/my-data-disk/note && df --block-size=G --output=size / /home/my-data-disk | tail -2"
    sizes = [int(line.strip(" G")) for line in stage.output(f"sh -c '{script}'", cluster=cluster).splitlines()]
    assert 35 <= sizes[0] <= 40 and 4 <= sizes[1] <= 5, sizes
    full = "cat /home/my-data-disk/note; fallocate -l 6G /home/my-data-disk/big; echo status $?; echo x > /home/fine"
    said = stage.output(f"sh -c '{full}'", cluster=cluster)
    assert said == "kept\nstatus 1", said
    stage.delete_cluster(cluster)


def example_disks_that_do_not_fit_wait(stage):
    """A machine whose disks would promise more than the operator set aside waits, and says for what."""
    disks = {"SystemDisk": {"Type": "cloud_efficiency", "Size": 51}}
    cluster = stage.cluster(count=2, Configs={"Disks": disks})
    stage.running(cluster)

    def waiting():
        return [machine for machine in stage.machines(cluster) if machine["State"] == "Pending"]

    (machine,) = wait_for("a machine that waits", waiting)
    assert machine["Hint"] == "no room on the host for the machine's disks of 51 GB", machine
    assert machine["ErrorCode"] == 0, machine
    stage.region.call("PUT", f"/clusters/{cluster}", {"Groups": {"group": {"DesiredVMCount": 1}}})
    wait_for("one machine", lambda: [machine["State"] for machine in stage.machines(cluster)] == ["Running"])
    stage.delete_cluster(cluster)
