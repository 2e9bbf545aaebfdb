"""A client that keeps jobs going through whatever happens, and writes down what it was promised and what it sees.

What it collects is judged by `history.py`. Used by the storm and by the walk along the fail points.
"""

import threading
import time
import traceback

from history import complaints
from region import Refused

OPEN_JOBS_MAX = 4
PROGRAM = """bash -c 'me="$BATCH_COMPUTE_DAG_JOB_ID $BATCH_COMPUTE_DAG_TASK_ID $BATCH_COMPUTE_DAG_INSTANCE_ID \
$RANDOM$RANDOM"; test "$(cat /home/in/word)" = storm || exit 9; sleep %.2f; echo $me; \
echo $me > /home/out/$BATCH_COMPUTE_DAG_TASK_ID.$BATCH_COMPUTE_DAG_INSTANCE_ID'"""


def patiently(call, patience=120):
    """Calls until the server answers; it may be down, cut off or out of space just now."""
    deadline = time.monotonic() + patience
    while True:
        try:
            return call()
        except Refused as refusal:
            if refusal.status < 500 or time.monotonic() > deadline:
                raise
        except (OSError, EOFError, ValueError):
            if time.monotonic() > deadline:
                raise
        time.sleep(0.05)


class Client(threading.Thread):
    """Keeps some jobs going and writes down what it is told. `finish` may add to the description of a job."""

    def __init__(self, region, cluster, history, choose, finish=lambda description: description, seconds=1.5):
        super().__init__(daemon=True)
        self.region, self.cluster, self.history, self.choose = region, cluster, history, choose
        self.finish, self.seconds = finish, seconds
        self.open, self.count, self.enough, self.problem = {}, 0, threading.Event(), None

    def run(self):
        try:
            while not self.enough.is_set() or self.open:
                while len(self.open) < OPEN_JOBS_MAX and not self.enough.is_set():
                    self.submit()
                for job in list(self.open):
                    self.look(job)
                time.sleep(0.2)
        except BaseException as problem:  # told by the main thread
            self.problem = problem
            traceback.print_exc()

    def submit(self):
        token = f"job_{self.count}"
        self.count += 1
        tasks = {"a": 2, "b": 1}
        description = self.describe(token, tasks)
        job = patiently(lambda: self.region.call("POST", f"/jobs?IdempotentToken={token}", description))["Id"]
        self.history.add("acknowledged", token=token, job=job, tasks=tasks)
        self.open[job] = (token, tasks)

    def describe(self, token, tasks):
        def task(count):
            return {
                "InstanceCount": count, "ClusterId": self.cluster, "Timeout": 600, "MaxRetryCount": 0,
                "InputMapping": {"oss://gristmill/storm-in/": "/home/in/"},
                "OutputMapping": {"/home/out/": f"oss://gristmill/storm/{token}/"},
                "Parameters": {
                    "Command": {"CommandLine": PROGRAM % self.choose.uniform(0, self.seconds)},
                    "StdoutRedirectPath": "oss://gristmill/storm-log/", "StderrRedirectPath": "oss://gristmill/storm-log/",
                },
            }
        return self.finish({
            "Name": token, "Type": "DAG", "JobFailOnInstanceFail": True,
            "DAG": {"Tasks": {name: task(count) for name, count in tasks.items()}, "Dependencies": {"a": ["b"]}},
        })

    def look(self, job):
        found = patiently(lambda: self.region.call("GET", f"/jobs/{job}"))
        self.history.add("job", job=job, state=found["State"], message=found["Message"])
        if found["State"] not in ("Waiting", "Running"):
            token, tasks = self.open.pop(job)
            look_at_instances(self.region, self.history, job, token, tasks)


def look_at_instances(region, history, job, token, tasks):
    for task, count in tasks.items():
        for number in range(count):
            seen = patiently(lambda: region.call("GET", f"/jobs/{job}/tasks/{task}/instances/{number}"))
            finished = seen["State"] == "Finished"
            output = read(region, f"storm/{token}/{task}.{number}") if finished else ""
            log = read(region, f"storm-log/stdout.{job}.{task}.{number}") if finished else ""
            history.add("instance", job=job, task=task, number=number, state=seen["State"], retries=seen["RetryCount"],
                        why=seen["Result"]["ErrorMessage"], ended=seen["EndTime"], machine=seen["NodeIp"],
                        output=output, log=log)


def read(region, key):
    def get():
        try:
            return region.get_object("gristmill", key).decode().strip()
        except Refused as refusal:
            if refusal.status == 404:
                return f"no object {key}"
            raise
    return patiently(get)


def jobs_listed(region):
    marker = ""
    while True:
        page = patiently(lambda: region.call("GET", f"/jobs?Marker={marker}&MaxItemCount=100"))
        yield from page["Items"]
        marker = page["NextMarker"]
        if not marker:
            return


def check_all(region, history):
    """Looks at everything once more and fails with all that does not fit."""
    for job in jobs_listed(region):
        history.add("listed", job=job["Id"], token=job["Name"])
        history.add("job", job=job["Id"], state=job["State"], message=job["Message"])
    for promise in history.of("acknowledged"):
        look_at_instances(region, history, promise["job"], promise["token"], promise["tasks"])
    found = complaints(history)
    assert not found, "\n".join(found)
