"""集群管理: clusters on demand, spot and prepaid."""

import here
from here import TYPE, a_cluster, bcs, gone, running_machines, sdk, wait_for


def removed(cluster):
    sdk().delete_cluster(cluster)
    wait_for("the end of the cluster", lambda: gone(lambda: sdk().get_cluster(cluster)))


def test_an_on_demand_cluster():
    """A group with `ResourceType` OnDemand and an instance type gets its machines, and its size follows the need."""
    client = sdk()
    cluster = client.create_cluster(a_cluster({"group_name": {"ResourceType": "OnDemand", "DesiredVMCount": 1}})).Id
    running_machines(cluster, 1)
    group = client.get_cluster(cluster).Groups["group_name"]
    assert (group.ResourceType, group.InstanceType, group.ActualVMCount) == ("OnDemand", TYPE, 1)
    client.change_cluster_desired_vm_count(cluster, group_name=2)
    running_machines(cluster, 2)
    client.change_cluster_desired_vm_count(cluster, group_name=0)
    running_machines(cluster, 0)
    removed(cluster)


def test_more_than_the_quota_of_machines():
    """An account has a quota of 50 machines on demand unless it asks for more."""
    try:
        made = sdk().create_cluster(a_cluster({"group": {"DesiredVMCount": 51}})).Id
    except Exception as error:
        assert "Quota" in str(error), error
        return
    removed(made)
    raise AssertionError("51 machines were granted")


def test_a_spot_cluster_by_the_sdk():
    """A spot group has a strategy and, with a limit, a highest price."""
    spot = {"ResourceType": "Spot", "SpotStrategy": "SpotWithPriceLimit", "SpotPriceLimit": 0.1, "DesiredVMCount": 0}
    client = sdk()
    cluster = client.create_cluster(a_cluster({"group_name": spot})).Id
    group = client.get_cluster(cluster).Groups["group_name"]
    assert (group.ResourceType, group.SpotStrategy, group.SpotPriceLimit) == ("Spot", "SpotWithPriceLimit", 0.1)
    removed(cluster)


def test_a_spot_price_limit_has_three_decimals():
    """A limit with more than three decimals is refused."""
    spot = {"ResourceType": "Spot", "SpotStrategy": "SpotWithPriceLimit", "SpotPriceLimit": 0.1234, "DesiredVMCount": 0}
    try:
        made = sdk().create_cluster(a_cluster({"group_name": spot})).Id
    except Exception as error:
        assert "SpotPriceLimit" in str(error), error
        return
    removed(made)
    raise AssertionError("four decimals were taken")


def test_a_spot_cluster_by_the_command_line():
    """`bcs cc` makes a spot cluster, `bcs uc` changes the price it would pay."""
    client = sdk()
    clusters = lambda: {cluster.Id for cluster in client.list_clusters("", 100).Items}
    before = clusters()
    bcs("cc", "cluster_1", "-i", "img-ubuntu", "-t", TYPE, "-n", "0", "--resource_type", "Spot", "--spot_price_limit", "0.1")
    made = clusters() - before
    assert len(made) == 1, made
    cluster = made.pop()
    limits = lambda: [group.SpotPriceLimit for group in client.get_cluster(cluster).Groups.values()]
    assert limits() == [0.1], limits()
    bcs("uc", cluster, "--spot_price_limit", "0.2")
    assert limits() == [0.2], limits()
    removed(cluster)


def test_a_prepaid_cluster():
    """The size of a prepaid group is set to 0 and cannot be changed: its machines are bought, not asked for."""
    client = sdk()
    cluster = client.create_cluster(a_cluster({"group": {"ResourceType": "PrePaid", "DesiredVMCount": 0}})).Id
    assert client.get_cluster(cluster).Groups["group"].DesiredVMCount == 0
    try:
        client.change_cluster_desired_vm_count(cluster, group=3)
    except Exception as error:
        assert "DesiredVMCount" in str(error), error
    else:
        raise AssertionError("the size of a prepaid group was changed")
    finally:
        removed(cluster)
