"""Starts a region and drives its message service with the official SDKs."""

import base64
import hashlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from datetime import datetime, timezone

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "support"))

from region import KEY, SECRET, Region, wait_for  # noqa: E402
from receiver import Receiver  # noqa: E402

from mns.account import Account, AccountMeta  # noqa: E402
from mns.message_property import MessagePropertyValue, PropertyType  # noqa: E402
from mns.mns_exception import MNSServerException  # noqa: E402
from mns.queue import Message, QueueMeta  # noqa: E402
from mns.subscription import SubscriptionMeta  # noqa: E402
from mns.topic import Base64TopicMessage, TopicMessage, TopicMeta  # noqa: E402

BINARIES = sys.argv[1]
JOB_EVENTS = [f"On{what}{state}" for what in ("Job", "Task", "Instance")
              for state in ("Waiting", "Running", "Stopped", "Finished", "Failed")] + ["OnPriorityChange"]


def refused(code, call, *arguments, **named):
    try:
        call(*arguments, **named)
    except MNSServerException as error:
        assert error.type == code, f"{error.type} instead of {code}: {error}"
        assert error.req_id, "the answer has a request id"
        return error
    raise AssertionError(f"{code} was expected")


def made_queue(account, name, **attributes):
    queue = account.get_queue(name)
    queue.create(QueueMeta(**attributes))
    return queue


def plain_queue(account, name):
    """A queue whose bodies are not base64: what the service itself puts in is plain."""
    queue = made_queue(account, name)
    queue.set_encoding(False)
    return queue


def test_queues_are_made_changed_listed_and_deleted(region, account):
    queue = account.get_queue("q-attributes")
    url = queue.create(QueueMeta(vis_timeout=10, delay_sec=1))
    assert url == f"http://127.0.0.1:{region.mns}/queues/q-attributes", url
    assert queue.create(QueueMeta(vis_timeout=10, delay_sec=1)) == url, "the same again"
    refused("QueueAlreadyExist", queue.create, QueueMeta(vis_timeout=11))
    meta = queue.get_attributes()
    assert (meta.visibility_timeout, meta.delay_seconds, meta.queue_name) == (10, 1, "q-attributes")
    assert (meta.maximum_message_size, meta.message_retention_period) == (65536, 345600)
    assert abs(int(meta.create_time) - time.time()) < 60, meta.create_time
    queue.set_attributes(QueueMeta(polling_wait_sec=3, logging_enabled=True))
    meta = queue.get_attributes()
    assert (meta.polling_wait_seconds, meta.visibility_timeout) == (3, 10)
    assert str(meta.logging_enabled) == "True", meta.logging_enabled
    refused("InvalidArgument", queue.set_attributes, QueueMeta(delay_sec=604801))
    for number in range(5):
        made_queue(account, f"list-{number}")
    urls, marker = account.list_queue("list-", 3)
    assert [u.rsplit("/", 1)[1] for u in urls] == ["list-0", "list-1", "list-2"], urls
    urls, marker = account.list_queue("list-", 3, marker)
    assert [u.rsplit("/", 1)[1] for u in urls] == ["list-3", "list-4"] and marker == "", (urls, marker)
    for number in range(5):
        account.get_queue(f"list-{number}").delete()
    queue.delete()
    queue.delete()
    refused("QueueNotExist", queue.get_attributes)
    refused("InvalidQueueName", account.get_queue("a_b").create, QueueMeta())


def test_messages_go_in_and_out(region, account):
    queue = made_queue(account, "q-messages", vis_timeout=30)
    text = "<a>&\"' \u6d88\u606f\n"
    sent = queue.send_message(Message(text))
    digest = hashlib.md5(base64.b64encode(text.encode())).hexdigest().upper()
    assert sent.message_body_md5 == digest, "the digest is that of the text as stored"
    peeked = queue.peek_message_with_str_body()
    assert (peeked.message_body, peeked.message_id, peeked.dequeue_count) == (text, sent.message_id, 0)
    got = queue.receive_message_with_str_body()
    assert (got.message_body, got.message_id, got.dequeue_count, got.priority) == (text, sent.message_id, 1, 8)
    assert abs(got.enqueue_time - time.time() * 1000) < 60_000, got.enqueue_time
    assert got.next_visible_time - got.first_dequeue_time == 30_000
    refused("MessageNotExist", queue.receive_message)
    changed = queue.change_message_visibility(got.receipt_handle, 0)
    refused("ReceiptHandleError", queue.delete_message, got.receipt_handle)
    again = queue.receive_message()
    assert again.dequeue_count == 2 and again.receipt_handle != changed.receipt_handle
    queue.delete_message(again.receipt_handle)
    refused("MessageNotExist", queue.delete_message, again.receipt_handle)
    refused("ReceiptHandleError", queue.delete_message, "1-nonsense")
    refused("InvalidArgument", queue.send_message, Message("x", priority=17))
    meta = queue.get_attributes()
    assert (meta.active_messages, meta.inactive_messages, meta.delay_messages) == (0, 0, 0)


def test_batches_and_priorities(region, account):
    queue = made_queue(account, "q-batches")
    batch = [Message(f"m{n}", priority=16 - n) for n in range(16)]
    sent = queue.batch_send_message(batch)
    assert len(sent) == 16 and len({m.message_id for m in sent}) == 16
    peeked = queue.batch_peek_message_with_str_body(3)
    assert [m.message_body for m in peeked] == ["m15", "m14", "m13"]
    got = queue.batch_receive_message_with_str_body(16)
    assert [m.message_body for m in got] == [f"m{n}" for n in reversed(range(16))]
    queue.batch_delete_message([m.receipt_handle for m in got[:10]])
    handles = [m.receipt_handle for m in got[8:12]]
    try:
        queue.batch_delete_message(handles)
        raise AssertionError("two of them are gone already")
    except MNSServerException as error:
        assert len(error.sub_errors) == 2, error.sub_errors
        assert {e["ErrorCode"] for e in error.sub_errors} == {"MessageNotExist"}, error.sub_errors
        assert {e["ReceiptHandle"] for e in error.sub_errors} == set(handles[:2])
    assert queue.get_attributes().inactive_messages == 4
    try:
        queue.batch_send_message([Message("fine"), Message("y", priority=40)])
        raise AssertionError("one of them cannot be sent")
    except MNSServerException as error:
        assert "InvalidArgument" in str(error.sub_errors), error.sub_errors
    assert queue.receive_message_with_str_body().message_body == "fine", "the other one was sent"


def test_delays_and_properties(region, account):
    queue = made_queue(account, "q-delays")
    message = Message("late", delay_seconds=3)  # the next two requests come before it
    message.add_user_property("n", MessagePropertyValue(PropertyType.NUMBER, "7"))
    sent = queue.send_message(message)
    assert sent.receipt_handle, "a delayed message can be deleted before it is visible"
    assert queue.get_attributes().delay_messages == 1
    refused("MessageNotExist", queue.receive_message)
    got = queue.receive_message_with_str_body(10)
    assert got.message_body == "late"
    assert got.get_user_properties()["n"].get_string_value_by_type() == "7", got.get_user_properties()
    doomed = queue.send_message(Message("never", delay_seconds=600))
    queue.delete_message(doomed.receipt_handle)
    assert queue.get_attributes().delay_messages == 0


def test_long_polling_ends_with_a_message_its_time_or_the_queue(region, account):
    queue = made_queue(account, "q-polling")
    other = Account(f"http://127.0.0.1:{region.mns}", KEY, SECRET).get_queue("q-polling")

    def later(action):
        result = {}

        def wait():
            try:
                result["got"] = other.receive_message_with_str_body(20).message_body
            except MNSServerException as error:
                result["got"] = error.type

        thread = threading.Thread(target=wait)
        thread.start()
        time.sleep(0.3)
        assert thread.is_alive(), "it waits"
        action()
        thread.join(15)
        assert not thread.is_alive(), "it still waits"
        return result["got"]

    assert later(lambda: queue.send_message(Message("here"))) == "here"
    began = time.monotonic()
    refused("MessageNotExist", queue.receive_message, 1)
    assert time.monotonic() - began >= 0.9
    assert later(queue.delete) == "QueueNotExist"
    refused("InvalidArgument", made_queue(account, "q-polling").receive_message, 31)


def test_topics_and_subscriptions(region, account):
    topic = account.get_topic("t-attributes")
    url = topic.create(TopicMeta(maximum_message_size=1024))
    assert url.endswith("/topics/t-attributes"), url
    assert topic.create(TopicMeta(maximum_message_size=1024)) == url
    refused("TopicAlreadyExist", topic.create, TopicMeta(maximum_message_size=2048))
    topic.set_attributes(TopicMeta(maximum_message_size=4096))
    meta = topic.get_attributes()
    assert (meta.maximum_message_size, meta.message_retention_period, meta.message_count) == (4096, 86400, 0)
    urls, marker = account.list_topic("t-attr", 10)
    assert [u.rsplit("/", 1)[1] for u in urls] == ["t-attributes"] and marker == ""
    subscription = account.get_subscription("t-attributes", "s1")
    to = f"acs:mns:cn-local:1000000001:queues/q-topic"
    wish = SubscriptionMeta(to, "EXPONENTIAL_DECAY_RETRY", "SIMPLIFIED", "tag1")
    assert subscription.subscribe(wish).endswith("/topics/t-attributes/subscriptions/s1")
    subscription.subscribe(wish)
    refused("SubscriptionAlreadyExist", subscription.subscribe, SubscriptionMeta(to))
    found = subscription.get_attributes()
    assert (found.endpoint, found.notify_strategy) == (to, "EXPONENTIAL_DECAY_RETRY")
    assert (found.notify_content_format, found.filter_tag) == ("SIMPLIFIED", "tag1")
    assert (found.topic_owner, found.subscription_name) == ("1000000001", "s1")
    subscription.set_attributes(SubscriptionMeta(notify_strategy="BACKOFF_RETRY"))
    assert subscription.get_attributes().notify_strategy == "BACKOFF_RETRY"
    for bad in ("", "ftp://x/", "acs:mns:cn-local:2:queues/q", "mail:directmail:a@b"):
        refused("EndpointInvalid", account.get_subscription("t-attributes", "s2").subscribe, SubscriptionMeta(bad))
    account.get_subscription("t-attributes", "s2").subscribe(SubscriptionMeta("http://example.com/x"))
    urls, marker = topic.list_subscription("", 1)
    assert [u.rsplit("/", 1)[1] for u in urls] == ["s1"] and marker == "s1", (urls, marker)
    urls, marker = topic.list_subscription("", 1, marker)
    assert [u.rsplit("/", 1)[1] for u in urls] == ["s2"] and marker == ""
    subscription.unsubscribe()
    refused("SubscriptionNotExist", subscription.get_attributes)
    topic.delete()
    topic.delete()
    refused("TopicNotExist", topic.get_attributes)


def test_publications_reach_queues(region, account):
    topic = account.get_topic("t-queues")
    topic.create(TopicMeta())
    queues = {}
    for form in ("SIMPLIFIED", "JSON", "XML"):
        queues[form] = plain_queue(account, f"q-{form.lower()}")
        to = f"acs:mns:cn-local:1000000001:queues/q-{form.lower()}"
        account.get_subscription("t-queues", form).subscribe(SubscriptionMeta(to, "", form))
    tagged = plain_queue(account, "q-tagged")
    to = "acs:mns:cn-local:1000000001:queues/q-tagged"
    account.get_subscription("t-queues", "tagged").subscribe(SubscriptionMeta(to, "", "SIMPLIFIED", "red"))
    text = '{"a": "<b>"}'
    sent = topic.publish_message(TopicMessage(text))
    topic.publish_message(TopicMessage("second", "red"))
    assert queues["SIMPLIFIED"].receive_message().message_body == text
    told = json.loads(queues["JSON"].receive_message().message_body)
    assert (told["Message"], told["TopicName"], told["MessageId"]) == (text, "t-queues", sent.message_id)
    assert told["MessageMD5"] == hashlib.md5(text.encode()).hexdigest().upper() == sent.message_body_md5
    assert all(isinstance(value, str) for value in told.values()), told
    assert "&lt;b&gt;" in queues["XML"].receive_message().message_body
    assert tagged.receive_message().message_body == "second"
    refused("MessageNotExist", tagged.receive_message)
    topic.publish_message(Base64TopicMessage("third"))
    bodies = [message.message_body for message in queues["SIMPLIFIED"].batch_receive_message(2)]
    assert bodies == ["second", base64.b64encode(b"third").decode()], bodies


def test_the_account_has_attributes(region, account):
    account.set_attributes(AccountMeta("my-logs"))
    assert account.get_attributes().logging_bucket == "my-logs"
    account.set_attributes(AccountMeta(""))
    account.open_service()


def test_strangers_are_refused(region, account):
    host = f"http://127.0.0.1:{region.mns}"
    wrong = Account(host, KEY, "wrong").get_queue("q-attributes")
    refused("SignatureDoesNotMatch", wrong.get_attributes)
    refused("InvalidAccessKeyId", Account(host, "nobody", "x").get_queue("q").get_attributes)
    status, headers, body = region.raw("GET", "/queues", port=region.mns)
    assert status == 400 and b"<Code>MissingAuthorizationHeader</Code>" in body, body
    assert b"<HostId>" in body and b"<RequestId>" in body
    assert "x-mns-request-id" in headers, f"in lower case: {headers}"


def test_mnscmd_works(region, account):
    with tempfile.TemporaryDirectory() as home:
        program = [sys.executable, os.path.join(os.path.dirname(sys.executable), "mnscmd")]

        def mnscmd(*words):
            ran = subprocess.run([*program, *words], env={**os.environ, "HOME": home},
                                 capture_output=True, text=True, timeout=60)
            output = ran.stdout + ran.stderr
            assert ran.returncode == 0 and "Exception" not in output, f"{words}: {output}"
            return output

        mnscmd("config", f"--mnsendpoint=http://127.0.0.1:{region.mns}", f"--accesskeyid={KEY}",
               f"--accesskeysecret={SECRET}")
        mnscmd("createqueue", "--queuename=q-cmd", "--vistimeout=20")
        assert "q-cmd" in mnscmd("listqueue", "--prefix=q-cmd")
        assert "20" in mnscmd("getqueueattr", "--queuename=q-cmd")
        mnscmd("sendmessage", "--queuename=q-cmd", "--body=hello")
        assert "hello" in mnscmd("peekmessage", "--queuename=q-cmd")
        assert "hello" in mnscmd("receivemessage", "--queuename=q-cmd", "--waitsec=1")
        mnscmd("createtopic", "--topicname=t-cmd")
        mnscmd("publishmessage", "--topicname=t-cmd", "--body=hello")
        mnscmd("deletetopic", "--topicname=t-cmd")
        mnscmd("deletequeue", "--queuename=q-cmd")


def subscribed(account, name, form="SIMPLIFIED"):
    """A topic whose messages come into a queue of the same name."""
    queue = plain_queue(account, name)
    account.get_topic(name).create(TopicMeta())
    to = f"acs:mns:cn-local:1000000001:queues/{name}"
    account.get_subscription(name, "to-queue").subscribe(SubscriptionMeta(to, "", form))
    return queue


def drained(queue, enough, patience=90):
    """All messages of a queue, in order, until `enough` says so."""
    messages, deadline = [], time.monotonic() + patience
    while not enough(messages):
        assert time.monotonic() < deadline, f"not enough came: {[m['Event'] for m in messages]}"
        try:
            batch = queue.batch_receive_message(16, 5)
        except MNSServerException as error:
            assert error.type == "MessageNotExist", error
            continue
        messages += [json.loads(message.message_body) for message in batch]
        queue.batch_delete_message([message.receipt_handle for message in batch])
    return messages


def test_events_of_an_sdk_job_reach_a_queue(region, account):
    import batchcompute
    from batchcompute.resources import (AutoCluster, JobDescription, Notification, TaskDescription, Topic)

    queue = subscribed(account, "job-events")
    batchcompute.Client.register_region("127.0.0.1", "127.0.0.1", region.api)
    client = batchcompute.Client("127.0.0.1", KEY, SECRET)
    job, task = JobDescription(), TaskDescription()
    task.Parameters.Command.CommandLine = "true"
    task.Parameters.StdoutRedirectPath = "oss://gristmill/logs/"
    task.InstanceCount = 3
    task.AutoCluster = AutoCluster()
    task.AutoCluster.ImageId = "img-ubuntu"
    job.Name, job.Type, job.Priority = "told", "DAG", 0
    job.DAG.add_task("only", task)
    topic = Topic()
    topic.Name, topic.Events = "job-events", JOB_EVENTS
    topic.Endpoint = f"http://127.0.0.1:{region.mns}/"
    job.Notification = Notification()
    job.Notification.Topic = topic
    id = client.create_job(job).Id
    told = drained(queue, lambda messages: any(m["Event"] == "OnJobFinished" for m in messages))
    events = [m["Event"] + m.get("InstanceId", "") for m in told]
    assert events[:5] == ["OnJobWaiting", "OnTaskWaiting", "OnInstanceWaiting0", "OnInstanceWaiting1",
                          "OnInstanceWaiting2"], events
    assert events[5:7] == ["OnJobRunning", "OnTaskRunning"], events
    assert events[-2:] == ["OnTaskFinished", "OnJobFinished"], events
    assert sorted(events) == sorted(set(events)), "each once"
    assert len(events) == 6 + 9, events
    for message in told:
        assert all(isinstance(value, str) for value in message.values()), message
        assert message["JobId"] == id and message["Category"] == "Job"
    finished = next(m for m in told if m["Event"] == "OnInstanceFinished")
    assert set(finished) == {
        "Category", "JobId", "Task", "InstanceId", "Event", "State", "StartTime", "EndTime", "RetryCount",
        "Progress", "StdoutRedirectPath", "StderrRedirectPath", "ExitCode", "ErrorCode", "ErrorMessage", "Detail",
    }
    number = finished["InstanceId"]
    assert finished["StdoutRedirectPath"] == f"oss://gristmill/logs/stdout.{id}.only.{number}", finished
    assert (finished["Progress"], finished["RetryCount"], finished["ExitCode"]) == ("100", "0", "0")
    assert set(told[0]) == {"Category", "JobId", "JobName", "Event", "State", "CreationTime", "StartTime",
                            "EndTime", "Message"}
    assert told[0]["StartTime"] == "" and len(told[-1]["EndTime"]) == 27
    stop_and_prioritise(client, job, queue)


def stop_and_prioritise(client, job, queue):
    job.DAG.Tasks["only"].Parameters.Command.CommandLine = "sleep 100"
    id = client.create_job(job).Id
    drained(queue, lambda messages: any(m["Event"] == "OnInstanceRunning" for m in messages))
    client.stop_job(id)
    client.change_job_priority(id, 30)
    told = drained(queue, lambda messages: any(m["Event"] == "OnPriorityChange" for m in messages))
    assert (told[-1]["From"], told[-1]["To"], told[-1]["State"]) == ("0", "30", "Stopped"), told[-1]
    assert [m["Event"] for m in told][-3:-1] == ["OnTaskStopped", "OnJobStopped"], told


def test_events_of_a_cluster_reach_a_queue_without_an_endpoint(region, account):
    queue = subscribed(account, "cluster-events")
    events = ["OnClusterDeleted", "OnInstanceCreated", "OnInstanceActive"]
    description = {
        "Name": "told", "ImageId": "img-ubuntu", "Groups": {"g": {"DesiredVMCount": 1}},
        "Notification": {"Topic": {"Name": "cluster-events", "Endpoint": "", "Events": events}},
    }
    id = region.call("POST", "/clusters", description)["Id"]
    told = drained(queue, lambda messages: len(messages) >= 2)
    assert [m["Event"] for m in told] == events[1:], told
    assert (told[0]["State"], told[0]["Group"], told[0]["Hints"]) == ("Starting", "g", "")
    assert told[1]["InnerIpAddress"] and told[1]["InstanceId"] == told[0]["InstanceId"]
    region.call("DELETE", f"/clusters/{id}")
    told = drained(queue, lambda messages: len(messages) >= 1)
    assert told == [{"Category": "Cluster", "ClusterId": id, "ClusterName": "told", "State": "Deleted",
                     "Event": "OnClusterDeleted", "CreationTime": told[0]["CreationTime"]}], told


def pause_of(region, job):
    """How many seconds there are until the notices of a job are tried again; 0: they are not stuck."""
    stuck = [found for found in region.call("GET", "/admin/notifications")["Items"] if job in found["Subject"]]
    next_attempt = [datetime.fromisoformat(found["NextAttempt"].replace("Z", "+00:00")) for found in stuck]
    return max([(at - datetime.now(timezone.utc)).total_seconds() for at in next_attempt], default=0)


def test_a_missing_topic_holds_nobody_up_and_gets_its_events_when_it_comes(region, account):
    queue = subscribed(account, "fine")

    def submit(topic):
        task = {"Parameters": {"Command": {"CommandLine": "true"}}, "InstanceCount": 1,
                "AutoCluster": {"ImageId": "img-ubuntu", "InstanceType": ""}}
        events = ["OnJobWaiting", "OnJobFinished"]
        return region.call("POST", "/jobs", {
            "Name": topic, "Type": "DAG", "DAG": {"Tasks": {"only": task}},
            "Notification": {"Topic": {"Name": topic, "Endpoint": f"http://127.0.0.1:{region.mns}", "Events": events}},
        })["Id"]

    lost = submit("not-there-yet")
    fine = submit("fine")
    told = drained(queue, lambda messages: len(messages) >= 2)
    assert [(m["JobId"], m["Event"]) for m in told] == [(fine, "OnJobWaiting"), (fine, "OnJobFinished")], told
    # Between the making of the topic and of the subscription no attempt may fall: its messages would reach nobody.
    wait_for("a long pause of the lost one", lambda: pause_of(region, lost) > 2)
    later = subscribed(account, "not-there-yet")
    told = drained(later, lambda messages: len(messages) >= 2)
    assert [(m["JobId"], m["Event"]) for m in told] == [(lost, "OnJobWaiting"), (lost, "OnJobFinished")], told


def test_pushes_are_signed_and_tried_again(region, account):
    with Receiver(fail_first=1) as receiver:
        account.get_topic("t-push").create(TopicMeta())
        for form in ("XML", "JSON", "SIMPLIFIED"):
            to = f"http://127.0.0.1:{receiver.port}/{form}?a=b"
            wish = SubscriptionMeta(to, "EXPONENTIAL_DECAY_RETRY", form)
            account.get_subscription("t-push", form).subscribe(wish)
        sent = account.get_topic("t-push").publish_message(TopicMessage("hello", "red"))
        pushes = wait_for("three pushes", lambda: len(receiver.taken) >= 3 and receiver.taken, 60)
        assert receiver.refused == 1, "the first one was refused and came again"
        certificate = {}
        for push in pushes:
            url = base64.b64decode(push.headers["x-mns-signing-cert-url"]).decode()
            if url not in certificate:
                port, path = int(url.split(":")[2].split("/")[0]), "/" + url.split("/", 3)[3]
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
                connection.request("GET", path)
                certificate[url] = connection.getresponse().read()
            push.verify(certificate[url])
            md5 = hashlib.md5(push.body).hexdigest()
            assert base64.b64decode(push.headers["content-md5"]).decode() == md5
        by_path = {push.path.split("?")[0]: push for push in pushes}
        plain = by_path["/SIMPLIFIED"]
        assert plain.body == b"hello" and plain.headers["x-mns-message-id"] == sent.message_id
        assert plain.headers["x-mns-message-tag"] == "red"
        assert json.loads(by_path["/JSON"].body)["MessageTag"] == "red"
        assert b"<Message>hello</Message>" in by_path["/XML"].body
        wait_for("no message left", lambda: account.get_topic("t-push").get_attributes().message_count == 0)


def test_everything_survives_kill_9(region, account):
    queue = made_queue(account, "q-durable")
    bodies = [f"m{n}" for n in range(64)]
    for start in range(0, 64, 16):
        queue.batch_send_message([Message(body) for body in bodies[start:start + 16]])
    held = queue.receive_message_with_str_body()
    region.kill()
    region.start()
    queue = Account(f"http://127.0.0.1:{region.mns}", KEY, SECRET).get_queue("q-durable")
    queue.delete_message(held.receipt_handle)
    got = [held.message_body]
    while len(got) < 64:
        batch = queue.batch_receive_message_with_str_body(16)
        got += [message.message_body for message in batch]
        queue.batch_delete_message([message.receipt_handle for message in batch])
    assert got == bodies, "everything acknowledged is there, in order"
    refused("MessageNotExist", queue.receive_message)


def main():
    tests = [(name, test) for name, test in globals().items() if name.startswith("test_")]
    only = sys.argv[2:]
    passed = failed = 0
    directory = tempfile.mkdtemp(prefix="gristmill-mns-")
    region = Region(BINARIES, directory, {"GRISTMILL_OUTBOUND__ALLOW": "127.0.0.0/8"})
    try:
        region.start()
        for name, test in tests:
            if only and not any(word in name for word in only):
                continue
            account = Account(f"http://127.0.0.1:{region.mns}", KEY, SECRET)
            account.close_log()
            try:
                test(region, account)
                passed += 1
                print("ok", name)
            except Exception:  # noqa: BLE001
                failed += 1
                print("FAILED", name)
                traceback.print_exc(file=sys.stdout)
        region.stop()
        if failed:
            print(region.log_tail())
    finally:
        if region.process and region.process.poll() is None:
            region.kill()
        shutil.rmtree(directory, ignore_errors=True)
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
