"""The chapter about cluster networks: addresses, names, who reaches whom."""

import os
import socket
import subprocess

from region import Refused, free_ports, wait_for
from stage import BUCKET, Skipped

IS_ROOT = os.geteuid() == 0


def apart():
    if not IS_ROOT:
        raise Skipped("only root makes networks")


def block(cidr, vpc=None):
    described = {"CidrBlock": cidr, **({"VpcId": vpc} if vpc else {})}
    return {"Networks": {"VPC": described}}


def example_blocks(stage):
    """A cluster's CidrBlock lies in one of three private ranges and has at most 24 network bits."""
    for cidr in ("11.0.0.0/16", "10.0.0.0/8", "10.16.0.0/16", "172.16.0.0/25", "192.168.0.0/15", "192.168.3.0/16", "x"):
        try:
            stage.cluster(count=0, Configs=block(cidr))
            raise AssertionError(f"{cidr} was taken")
        except Refused as refused:
            assert (refused.status, refused.code) == (400, "InvalidCidrBlock"), (cidr, refused)
    for cidr in ("10.0.0.0/12", "172.16.0.0/24", "192.168.0.0/16"):
        cluster = stage.cluster(count=0, Configs=block(cidr))
        shown = stage.region.call("GET", f"/clusters/{cluster}")["Configs"]["Networks"]["VPC"]
        assert shown["CidrBlock"] == cidr, shown
        stage.delete_cluster(cluster)


def example_machines_of_a_cluster_reach_each_other(stage):
    """Instances of one network reach each other by private address, and by host name."""
    cluster = stage.cluster(count=2, Configs=block("10.5.0.0/24"))
    one, two = stage.running(cluster, 2)
    assert one["IpAddress"] != two["IpAddress"], (one, two)
    if IS_ROOT:
        assert {one["IpAddress"], two["IpAddress"]} == {"10.5.0.2", "10.5.0.3"}, (one, two)
    names = {machine["HostName"]: machine["IpAddress"] for machine in (one, two)}
    script = (
        "import os, socket, time\n"
        "names = " + repr(names) + "\n"
        "me = socket.gethostname()\n"
        "other = [name for name in names if name != me][0]\n"
        "assert socket.gethostbyname(other) == names[other], socket.gethostbyname(other)\n"
        "server = socket.create_server((names[me], 5000))\n"
        "server.settimeout(60)\n"
        "for _ in range(600):\n"
        "    try:\n"
        "        call = socket.create_connection((other, 5000), timeout=5)\n"
        "        break\n"
        "    except OSError:\n"
        "        time.sleep(0.1)\n"
        "call.sendall(me.encode())\n"
        "peer, address = server.accept()\n"
        "print('called by', peer.recv(100).decode(), 'at', address[0])\n"
    )
    stage.region.put_object(BUCKET, "scripts/meet.py", script.encode())
    job = stage.submit(
        "python3 /scripts/meet.py", cluster=cluster, instances=2,
        InputMapping={f"oss://{BUCKET}/scripts/": "/scripts/"},
    )
    assert stage.ended(job)["State"] == "Finished", stage.region.call("GET", f"/jobs/{job}")
    said = {stage.log(job, number).strip() for number in range(2)}
    if IS_ROOT:
        assert said == {f"called by {name} at {address}" for name, address in names.items()}, (said, names)
    else:
        assert {line.split()[2] for line in said} == set(names), (said, names)
    stage.delete_cluster(cluster)


def attempts(stage, cluster, places):
    """What becomes of connections from a machine of the cluster."""
    script = (
        "import socket, sys\n"
        "for place in sys.argv[1:]:\n"
        "    host, port = place.rsplit(':', 1)\n"
        "    try:\n"
        "        socket.create_connection((host, int(port)), timeout=2).close()\n"
        "        print(place, 'open')\n"
        "    except OSError as error:\n"
        "        print(place, 'shut')\n"
    )
    stage.region.put_object(BUCKET, "scripts/try.py", script.encode())
    said = stage.output(
        f"python3 /scripts/try.py {' '.join(places)}", cluster=cluster,
        InputMapping={f"oss://{BUCKET}/scripts/": "/scripts/"},
    )
    return dict(line.split() for line in said.splitlines())


def example_what_a_machine_reaches(stage):
    """Machines reach the region's services in their network, and neither the host nor other clusters."""
    apart()
    mine = stage.cluster(Configs=block("10.6.0.0/24"))
    other = stage.cluster(Configs=block("10.6.0.0/24"))
    far = stage.cluster(Configs=block("10.7.0.0/24"))
    (far_one,) = stage.running(far)
    stage.running(mine), stage.running(other)
    with socket.create_server(("0.0.0.0", 0)) as host:
        port = host.getsockname()[1]
        addresses = subprocess.run(["hostname", "-I"], stdout=subprocess.PIPE, text=True).stdout.split()
        others = [address for address in addresses if ":" not in address][:1]
        listening = stage.submit(
            "python3 -c 'import socket; s = socket.create_server((\"0.0.0.0\", 6000)); s.settimeout(100); s.accept()'",
            cluster=far,
        )
        wait_for("the listener", lambda: stage.region.call("GET", f"/jobs/{listening}")["State"] == "Running")
        region = stage.region
        doors = [f"10.6.0.1:{port}" for port in (region.api, region.oss, region.mns)]
        places = [f"{address}:{port}" for address in ["127.0.0.1", "10.6.0.1", *others]]
        shut = [*places, f"{far_one['IpAddress']}:6000", f"127.0.0.1:{region.api}"]
        said = attempts(stage, mine, [*doors, *shut])
    assert said == {**dict.fromkeys(doors, "open"), **dict.fromkeys(shut, "shut")}, said
    stage.region.call("POST", f"/jobs/{listening}/stop")
    for cluster in (mine, other, far):
        stage.delete_cluster(cluster)


def example_front_listeners(stage):
    """Where all services share a port, machines reach it in their network, too."""
    apart()
    stage.region.stop()
    (port,) = free_ports(1)
    stage.region.flags = ["--front-listen", f"127.0.0.1:{port}"]
    stage.region.start()
    cluster = stage.cluster(Configs=block("10.9.1.0/24"))
    said = stage.output(
        f"curl -s -H 'Host: oss-cn-local.aliyuncs.com' http://10.9.1.1:{port}/", cluster=cluster)
    assert "<Error>" in said or "<ListAllMyBucketsResult" in said, said
    stage.delete_cluster(cluster)


def example_the_store_is_where_the_variable_says(stage):
    """The object store's host of the environment is reachable from the machine."""
    shown = stage.output("sh -c 'echo $BATCH_COMPUTE_OSS_HOST'")
    cluster = stage.cluster()
    assert attempts(stage, cluster, [shown]) == {shown: "open"}
    stage.delete_cluster(cluster)


def example_one_vpc(stage):
    """Clusters of one VPC reach each other by private address, those of another VPC do not meet them."""
    apart()
    one = stage.cluster(Configs=block("10.8.0.0/24"))
    vpc = stage.region.call("GET", f"/clusters/{one}")["Configs"]["Networks"]["VPC"]["VpcId"]
    two = stage.cluster(Configs=block("10.8.1.0/24", vpc))
    (machine,) = stage.running(two)
    assert machine["IpAddress"] == "10.8.1.2", machine
    stage.running(one)
    listening = stage.submit(
        "python3 -c 'import socket; s = socket.create_server((\"0.0.0.0\", 6000)); s.settimeout(100); s.accept()'",
        cluster=two,
    )
    wait_for("the listener", lambda: stage.region.call("GET", f"/jobs/{listening}")["State"] == "Running")
    place = f"{machine['IpAddress']}:6000"

    def met():
        return attempts(stage, one, [place]) == {place: "open"}

    wait_for("a way from cluster to cluster", met, 30)
    assert stage.ended(listening)["State"] == "Finished"
    for cluster in (one, two):
        stage.delete_cluster(cluster)


def example_a_vpc_is_made_up(stage):
    """A cluster that names only a CidrBlock gets a VPC of its own, and clusters made later may name it."""
    one = stage.cluster(count=0, Configs=block("10.8.2.0/24"))
    vpc = stage.region.call("GET", f"/clusters/{one}")["Configs"]["Networks"]["VPC"]
    own = one.removeprefix("cls-")
    assert vpc == {"CidrBlock": "10.8.2.0/24", "VpcId": f"vpc-{own}", "VSwitchId": f"vsw-{own}"}, vpc
    two = stage.cluster(count=0, Configs=block("10.8.3.0/24", vpc["VpcId"]))
    other = stage.region.call("GET", f"/clusters/{two}")["Configs"]["Networks"]["VPC"]
    assert (other["VpcId"], other["VSwitchId"]) == (vpc["VpcId"], f"vsw-{two.removeprefix('cls-')}"), other
    for cluster in (one, two):
        stage.delete_cluster(cluster)


def example_networks_survive_the_server(stage):
    """Machines keep network and address over a crash of the server, and nothing is left at the end."""
    apart()
    before_it = network_files()
    cluster = stage.cluster(Configs=block("10.9.0.0/24"))
    before = stage.running(cluster)[0]
    own = network_files() - before_it
    assert own, "its network hangs on a file"
    stage.region.kill()
    stage.region.start()
    after = stage.running(cluster)[0]
    assert (after["Id"], after["IpAddress"]) == (before["Id"], "10.9.0.2"), (before, after)
    door = f"10.9.0.1:{stage.region.oss}"
    assert attempts(stage, cluster, [door]) == {door: "open"}
    stage.delete_cluster(cluster)
    wait_for("the end of its network", lambda: not own & network_files(), 30)


def network_files():
    return {os.path.join(place, name) for place, _, files in os.walk("/run/gristmill") for name in files}
