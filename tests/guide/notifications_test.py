"""消息通知: events of clusters and jobs, pushed to a topic and read from a queue with the official MNS SDK."""

import json

import here
from here import KEY, MNS_HOST, SECRET, a_cluster, a_job, a_task, end_of, gone, running_machines, sdk, wait_for

ENDPOINT = f"http://{MNS_HOST}/"


def subscribed(topic, queue):
    """A topic with a queue behind it; returns a function that takes what has arrived so far."""
    from mns.account import Account
    from mns.mns_exception import MNSServerException
    from mns.queue import QueueMeta
    from mns.subscription import SubscriptionMeta
    from mns.topic import TopicMeta
    account = Account(ENDPOINT.rstrip("/"), KEY, SECRET)
    account.get_topic(topic).create(TopicMeta())
    account.get_queue(queue).create(QueueMeta())
    inbox = account.get_queue(queue)
    inbox.set_encoding(False)
    target = f"acs:mns:{here.NAME}:1000000001:queues/{queue}"
    account.get_subscription(topic, f"{topic}-to-{queue}").subscribe(SubscriptionMeta(target, "BACKOFF_RETRY", "SIMPLIFIED"))
    arrived = []

    def take():
        while True:
            try:
                message = inbox.receive_message(1)
            except MNSServerException as error:
                assert error.type == "MessageNotExist", error
                return arrived
            arrived.append(json.loads(message.message_body))
            inbox.delete_message(message.receipt_handle)

    return take


def test_events_of_a_cluster():
    """A cluster that names a topic, its endpoint and events announces its machines and its own end."""
    from batchcompute.resources import Notification, Topic
    take = subscribed("test", "cluster-events")
    topic, notification = Topic(), Notification()
    topic.Name, topic.Endpoint = "test", ENDPOINT
    topic.Events = ["OnClusterDeleted", "OnInstanceCreated", "OnInstanceActive"]
    notification.Topic = topic
    description = a_cluster({"group1": {"DesiredVMCount": 1}}, Name="test-cluster")
    description.Notification = notification
    client = sdk()
    cluster = client.create_cluster(description).Id
    running_machines(cluster, 1)
    client.delete_cluster(cluster)
    wait_for("the end of the cluster", lambda: gone(lambda: client.get_cluster(cluster)))
    wait_for("three messages", lambda: len(take()) >= 3)
    created, active, deleted = take()
    assert (created["Event"], created["State"], created["Group"]) == ("OnInstanceCreated", "Starting", "group1")
    assert (active["Event"], active["InstanceId"]) == ("OnInstanceActive", created["InstanceId"])
    assert (deleted["Event"], deleted["State"], deleted["ClusterName"]) == ("OnClusterDeleted", "Deleted", "test-cluster")
    for message in (created, active, deleted):
        assert message["Category"] == "Cluster" and message["ClusterId"] == cluster
        assert all(isinstance(value, str) for value in message.values()), message


def test_events_of_a_job():
    """A job announces itself, its tasks and its instances as they wait, run and end; every value is a string."""
    take = subscribed("jobs", "job-events")
    events = [f"On{what}{state}" for what in ("Job", "Task", "Instance") for state in ("Waiting", "Running", "Finished", "Failed", "Stopped")]
    notification = {"Topic": {"Name": "jobs", "Endpoint": ENDPOINT, "Events": events}}
    job = sdk().create_job(a_job({"Echo": a_task("echo 1", "events/")}, Name="test-job", Notification=notification)).Id
    assert end_of(job).State == "Finished"
    wait_for("the last message", lambda: any(message["Event"] == "OnJobFinished" for message in take()))
    told = [message["Event"] for message in take()]
    for what in ("Job", "Task", "Instance"):
        in_order = [event for event in told if event.startswith(f"On{what}")]
        assert in_order == [f"On{what}{state}" for state in ("Waiting", "Running", "Finished")], told
    last = next(message for message in take() if message["Event"] == "OnInstanceFinished")
    assert (last["Task"], last["InstanceId"], last["ExitCode"], last["RetryCount"]) == ("Echo", "0", "0", "0")
    assert last["StdoutRedirectPath"].endswith(f"/stdout.{job}.Echo.0")
    assert all(isinstance(value, str) for message in take() for value in message.values())


def test_a_change_of_priority():
    """A changed priority is announced with the value before and the value after."""
    take = subscribed("priorities", "priority-events")
    notification = {"Topic": {"Name": "priorities", "Endpoint": ENDPOINT, "Events": ["OnPriorityChange"]}}
    client = sdk()
    job = client.create_job(a_job({"t": a_task("sleep 600", "events/")}, Priority=10, Notification=notification)).Id
    client.stop_job(job)
    client.change_job_priority(job, 20)
    wait_for("the message", take)
    message = take()[0]
    assert (message["Event"], message["JobId"], message["From"], message["To"]) == ("OnPriorityChange", job, "10", "20")
    client.delete_job(job)
