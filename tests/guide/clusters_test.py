"""集群管理: clusters on demand, spot and prepaid."""

import here
from here import TYPE, a_cluster, gone, running_machines, sdk, wait_for


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
