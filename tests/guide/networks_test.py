"""集群网络: clusters in a VPC, with addresses of a block of their own."""

import re

from here import BUCKET, a_cluster, a_job, a_task, bcs, bucket, finished, gone, running_machines, said, sdk, wait_for


def in_vpc(block, vpc=None):
    """`Configs` with a VPC, built as the guide's sample does."""
    from batchcompute.resources import VPC, Configs, Networks
    configs, networks, described = Configs(), Networks(), VPC()
    described.CidrBlock = block
    if vpc:
        described.VpcId = vpc
    networks.VPC = described
    configs.Networks = networks
    return configs


def make(block, vpc=None, count=0):
    return sdk().create_cluster(a_cluster({"group": {"DesiredVMCount": count}}, Configs=in_vpc(block, vpc))).Id


def vpc_of(cluster):
    return sdk().get_cluster(cluster).Configs.Networks.VPC


def machine_of(cluster):
    running_machines(cluster, 1)
    return sdk().list_cluster_instances(cluster, "group", "", 10).Items[0]


def delete(*clusters):
    for cluster in clusters:
        sdk().delete_cluster(cluster)
    for cluster in clusters:
        wait_for("the end of the cluster", lambda: gone(lambda: sdk().get_cluster(cluster)))


def test_a_vpc_by_the_sdk():
    """A cluster can be made in a VPC that one has, by `VpcId` and the part of it that is set aside, `CidrBlock`."""
    cluster = make("192.168.0.0/16", "vpc-xxyyzz")
    assert (vpc_of(cluster).VpcId, vpc_of(cluster).CidrBlock) == ("vpc-xxyyzz", "192.168.0.0/16")
    delete(cluster)


def test_a_vpc_by_the_command_line():
    """`bcs cc` takes the VPC and the block as options."""
    shown = bcs("cc", "myCluster", "--vpc_cidr_block", "192.168.0.0/16", "--vpc_id", "vpc-xxyyzz", "-n", "0")
    cluster = re.search(r"cls-[0-9A-Za-z]+", shown).group(0)
    assert (vpc_of(cluster).VpcId, vpc_of(cluster).CidrBlock) == ("vpc-xxyyzz", "192.168.0.0/16")
    delete(cluster)


def test_a_vpc_of_its_own():
    """Who has no VPC yet gives only the block, and one is made."""
    cluster = make("192.168.0.0/24")
    assert vpc_of(cluster).VpcId.startswith("vpc-") and vpc_of(cluster).CidrBlock == "192.168.0.0/24"
    delete(cluster)


def test_the_ranges_of_a_block():
    """A block lies in one of three private ranges and has at most 24 network bits."""
    for block in ("10.0.0.0/12", "10.0.0.0/24", "172.16.0.0/12", "172.16.0.0/24", "192.168.0.0/16", "192.168.0.0/24"):
        delete(make(block))
    for block in ("10.0.0.0/11", "10.0.0.0/25", "172.32.0.0/16", "192.168.0.0/15", "8.8.8.0/24"):
        try:
            made = make(block)
        except Exception as error:
            assert "CidrBlock" in str(error), error
            continue
        delete(made)
        raise AssertionError(f"{block} was taken")


def test_machines_of_one_vpc_reach_each_other():
    """Machines of clusters in the same VPC are connected by their private addresses."""
    first = make("192.168.20.0/24", count=1)
    second = make("192.168.21.0/24", vpc_of(first).VpcId, count=1)
    address = machine_of(first).IpAddress
    machine_of(second)
    listen = a_task("python3 -c \"import socket; s = socket.create_server(('0.0.0.0', 6000)); s.settimeout(60); s.accept()[0].sendall(b'well met')\"",
                    "network/", ClusterId=first)
    call = f"import socket, time\nfor _ in range(300):\n    try:\n        print(socket.create_connection(('{address}', 6000), 5).recv(99).decode())\n        break\n    except OSError:\n        time.sleep(0.1)\n"
    bucket().put_object("network/call.py", call)
    ask = a_task("python3 /home/call/call.py", "network/", ClusterId=second, InputMapping={f"oss://{BUCKET}/network/": "/home/call/"})
    for task in (listen, ask):
        del task["AutoCluster"]
    job = sdk().create_job(a_job({"listen": listen, "ask": ask})).Id
    finished(job)
    assert said(job, "ask") == "well met\n"
    delete(first, second)
