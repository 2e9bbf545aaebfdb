"""Requests to the BatchCompute API that must be refused: `rows(bench)` yields name, request,
status, code. A request is a function without arguments that gives an answer."""

import base64
import json
import re
import time
import uuid
from email.utils import formatdate

from bench import a_job, a_task, ask, head_of
from region import KEY, mac, signed

GONE_JOB = "job-0000000058524720000077E900007257"
GONE_CLUSTER = "cls-hr2rbl6qt5gki7392b8001"


def rows(standing):
    yield from bodies(standing)
    yield from jobs(standing)
    yield from tasks(standing)
    yield from clusters(standing)
    yield from queries(standing)
    yield from paths(standing)
    yield from states(standing)
    yield from signatures(standing)
    yield from not_offered(standing)


def bodies(standing):
    region = standing.region
    good = json.dumps(a_job({"only": a_task(standing.cluster)})).encode()
    deep = b'{"Name":"deep","Other":' + b"[" * 200_000 + b"]" * 200_000 + b"}"
    deep_token = b'{"Name":"deep","Other":' + b"[" * 500 + b"]" * 500 + b"}"
    wide = b'{"Name":"wide","DAG":{"Tasks":{' + b",".join(b'"t%d":0' % n for n in range(200_000)) + b"}}}"
    for name, body, code in [
        ("no body", b"", "InvalidJsonFormat"),
        ("not JSON", b"Name=demo", "InvalidJsonFormat"),
        ("half of JSON", good[:-1], "InvalidJsonFormat"),
        ("two bodies", good + good, "InvalidJsonFormat"),
        ("a comma at the end", good[:-1] + b",}", "InvalidJsonFormat"),
        ("single quotes", good.replace(b'"', b"'"), "InvalidJsonFormat"),
        ("a member twice", good.replace(b'"Name"', b'"Name":"first","Name"', 1), "InvalidJsonFormat"),
        ("bytes that are not UTF-8", good.replace(b"bad-input", b"\xff\xfe"), "InvalidJsonFormat"),
        ("half a surrogate pair", good.replace(b"bad-input", b"\\ud800"), "InvalidJsonFormat"),
        ("a byte order mark", b"\xef\xbb\xbf" + good, "InvalidJsonFormat"),
        ("not a number", good.replace(b'"DAG"', b'"Priority":NaN,"DAG"', 1), "InvalidJsonFormat"),
        ("a compressed body", b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "InvalidJsonFormat"),
        ("an array", b"[" + good + b"]", "InvalidHttpBody"),
        ("null", b"null", "InvalidHttpBody"),
        ("a text", b'"job"', "InvalidHttpBody"),
        ("a number", b"1", "InvalidHttpBody"),
        ("true", b"true", "InvalidHttpBody"),
        ("an empty object", b"{}", "MissingName"),
        ("deep where nobody looks", deep, "MissingDAG"),
        ("200,000 tasks that are none", wide, "InvalidTasks"),
    ]:
        yield f"body: {name}", lambda body=body: ask(region, "POST", "/jobs", body), 400, code
    target = "/jobs?IdempotentToken=deep"
    yield "body: deep, with a token", lambda: ask(region, "POST", target, deep_token), 400, "InvalidJsonFormat"


def jobs(standing):
    region, task = standing.region, a_task(standing.cluster)
    pair = {"a": task, "b": task}
    for name, code, changes in [
        ("Name is null", "MissingName", {"Name": None}),
        ("Name is a number", "InvalidName", {"Name": 7}),
        ("Name is empty", "InvalidName", {"Name": ""}),
        ("Name is too long", "InvalidName", {"Name": "x" * 65}),
        ("Name starts with a digit", "InvalidName", {"Name": "1st"}),
        ("Name is not ASCII", "InvalidName", {"Name": "日志"}),
        ("Name is a path", "InvalidName", {"Name": "../../etc/passwd"}),
        ("Description is too long", "InvalidDescription", {"Description": "x" * 1001}),
        ("Description is an array", "InvalidDescription", {"Description": ["x"]}),
        ("Type is unknown", "InvalidType", {"Type": "Graph"}),
        ("Type is App without an App", "MissingApp", {"Type": "App"}),
        ("Priority is negative", "InvalidPriority", {"Priority": -1}),
        ("Priority is too high", "InvalidPriority", {"Priority": 1001}),
        ("Priority is no whole number", "InvalidPriority", {"Priority": 0.5}),
        ("Priority is a text", "InvalidPriority", {"Priority": "1"}),
        ("Priority is huge", "InvalidPriority", {"Priority": 10**30}),
        ("JobFailOnInstanceFail is a text", "InvalidJobFailOnInstanceFail", {"JobFailOnInstanceFail": "true"}),
        ("AutoRelease is a number", "InvalidAutoRelease", {"AutoRelease": 1}),
        ("an unknown event", "InvalidNotification", {"Notification": {"Topic": {"Events": ["OnJobBegun"]}}}),
        ("DAG is null", "MissingDAG", {"DAG": {}, "replace": {"DAG": None}}),
        ("DAG is an array", "InvalidDAG", {"replace": {"DAG": [task]}}),
        ("Tasks is empty", "InvalidTasks", {"DAG": {"Tasks": {}}}),
        ("Tasks is an array", "InvalidTasks", {"DAG": {"Tasks": [task]}}),
        ("a task is null", "InvalidTasks", {"DAG": {"Tasks": {"a": None}}}),
        ("a task starts with a digit", "InvalidTaskName", {"DAG": {"Tasks": {"1a": task}}}),
        ("a task is too long", "InvalidTaskName", {"DAG": {"Tasks": {"x" * 64: task}}}),
        ("a task is a path", "InvalidTaskName", {"DAG": {"Tasks": {"../a": task}}}),
        ("a task is not ASCII", "InvalidTaskName", {"DAG": {"Tasks": {"任务": task}}}),
        ("a cycle", "BadDAG", {"DAG": {"Tasks": pair, "Dependencies": {"a": ["b"], "b": ["a"]}}}),
        ("a cycle of one", "BadDAG", {"DAG": {"Tasks": pair, "Dependencies": {"a": ["a"]}}}),
        ("unknown successor", "InvalidDependencies", {"DAG": {"Tasks": pair, "Dependencies": {"a": ["c"]}}}),
        ("unknown predecessor", "InvalidDependencies", {"DAG": {"Tasks": pair, "Dependencies": {"c": ["a"]}}}),
        ("dependencies as texts", "InvalidDependencies", {"DAG": {"Tasks": pair, "Dependencies": {"a": "b"}}}),
        ("dependencies as pairs", "InvalidDependencies", {"DAG": {"Tasks": pair, "Dependencies": [["a", "b"]]}}),
    ]:
        replace = changes.pop("replace", {})
        job = {**a_job({"only": task}, **changes), **replace}
        yield f"job: {name}", lambda job=job: ask(region, "POST", "/jobs", job), 400, code


def tasks(standing):
    region = standing.region
    oss = "oss://standing/dir/"
    long_path = "nas://host:/" + "x" * 100_000
    mounts = lambda source, place: {"Entries": [{"Source": source, "Destination": place}]}
    shape = lambda **members: {"ClusterId": None, "AutoCluster": members}
    for name, code, changes in [
        ("no Parameters", "MissingParameters", {"Parameters": None}),
        ("no Command", "MissingCommand", {"Parameters": {}}),
        ("an empty command line", "InvalidCommandLine", {"Command__CommandLine": " \t"}),
        ("a NUL in the command line", "InvalidCommandLine", {"Command__CommandLine": "a\0b"}),
        ("a command line of 3 MiB", "InvalidCommandLine", {"Command__CommandLine": "x" * (3 << 20)}),
        ("variables of 10 MB", "InvalidEnvVars", {"Command__EnvVars": {f"V{n}": "x" * 1000 for n in range(10_000)}}),
        ("the command line as an array", "InvalidCommandLine", {"Command__CommandLine": ["a"]}),
        ("InstanceCount 0", "InvalidInstanceCount", {"InstanceCount": 0}),
        ("InstanceCount negative", "InvalidInstanceCount", {"InstanceCount": -1}),
        ("InstanceCount a text", "InvalidInstanceCount", {"InstanceCount": "3"}),
        ("InstanceCount 1,000,001", "InvalidInstanceCount", {"InstanceCount": 1_000_001}),
        ("InstanceCount 2^64", "InvalidInstanceCount", {"InstanceCount": 2**64}),
        ("Timeout negative", "InvalidTimeout", {"Timeout": -1}),
        ("Timeout of a year", "InvalidTimeout", {"Timeout": 366 * 86_400}),
        ("Timeout a text", "InvalidTimeout", {"Timeout": "1h"}),
        ("MaxRetryCount negative", "InvalidMaxRetryCount", {"MaxRetryCount": -1}),
        ("MaxRetryCount 101", "InvalidMaxRetryCount", {"MaxRetryCount": 101}),
        ("MaxRetryCount true", "InvalidMaxRetryCount", {"MaxRetryCount": True}),
        ("no such cluster", "InvalidClusterId", {"ClusterId": GONE_CLUSTER}),
        ("a cluster that is no id", "InvalidClusterId", {"ClusterId": "pool"}),
        ("no cluster at all", "InvalidClusterId", {"ClusterId": None}),
        ("unknown instance type", "InvalidInstanceType", shape(InstanceType="ecs.none.large", ImageId="img-ubuntu")),
        ("unknown image", "InvalidImageId", shape(ImageId="img-none")),
        ("an image that is no id", "InvalidImageId", shape(ImageId="ubuntu")),
        ("a spot price without spot", "InvalidSpotPriceLimit", shape(ImageId="img-ubuntu", SpotPriceLimit=0.5)),
        ("a container", "InvalidDocker", {"Command__Docker": {"Image": "ubuntu"}}),
        ("a container by variable", "InvalidDocker", {"Command__EnvVars": {"BATCH_COMPUTE_DOCKER_IMAGE": "ubuntu"}}),
        ("a variable with `=`", "InvalidEnvVars", {"Command__EnvVars": {"a=b": "c"}}),
        ("a variable that is a number", "InvalidEnvVars", {"Command__EnvVars": {"a": 1}}),
        ("a file server", "InvalidMounts", {"Mounts": mounts("nas://host:/share/", "/home/nas")}),
        ("a file server with a long path", "InvalidMounts", {"Mounts": mounts(long_path, "/home/nas")}),
        ("a mount of another kind", "InvalidMounts", {"Mounts": mounts("file:///etc/", "/home/etc")}),
        ("a relative place", "InvalidInputMapping", {"InputMapping": {oss: "home/in"}}),
        ("a place with `..`", "InvalidInputMapping", {"InputMapping": {oss: "/home/../../etc"}}),
        ("a place in /proc", "InvalidInputMapping", {"InputMapping": {oss: "/proc/1"}}),
        ("a place in //proc", "InvalidInputMapping", {"InputMapping": {oss: "//proc/./self"}}),
        ("the root as a place", "InvalidInputMapping", {"InputMapping": {oss: "/"}}),
        ("a Windows drive", "InvalidInputMapping", {"InputMapping": {oss: "E:"}}),
        ("a place with a line feed", "InvalidInputMapping", {"InputMapping": {oss: "/home/a\nb"}}),
        ("an input from a local path", "InvalidInputMapping", {"InputMapping": {"/etc/": "/home/in"}}),
        ("two inputs at one place", "InvalidInputMapping", {"InputMapping": {oss: "/in", "oss://standing/b/": "/in/"}}),
        ("one place in and out", "InvalidOutputMapping", {"InputMapping": {oss: "/x"}, "OutputMapping": {"/x/": oss}}),
        ("one mount in and out", "InvalidOutputMapping", {"Mounts": mounts(oss, "/x"), "OutputMapping": {"/x/": oss}}),
        ("output with `..`", "InvalidOutputMapping", {"OutputMapping": {"/out/../../x": oss}}),
        ("output to a file server", "InvalidOutputMapping", {"OutputMapping": {"/out/": "nas://host:/o/"}}),
        ("output from /sys", "InvalidOutputMapping", {"OutputMapping": {"/sys/kernel/": oss}}),
        ("logs from a relative path", "InvalidLogMapping", {"LogMapping": {"a.log": oss}}),
        ("an unknown locale", "InvalidLocale", {"Parameters__InputMappingConfig": {"Locale": "klingon"}}),
        ("a locale that breaks paths", "InvalidLocale", {"Parameters__InputMappingConfig": {"Locale": "UTF-16"}}),
        ("output stream to a local path", "InvalidStdoutRedirectPath", {"Parameters__StdoutRedirectPath": "/var/log"}),
        ("a bad bucket", "InvalidStderrRedirectPath", {"Parameters__StderrRedirectPath": "oss://../x"}),
        ("a package in a local path", "InvalidPackagePath", {"Command__PackagePath": "/tmp/w.tar.gz"}),
        ("a package that is a prefix", "InvalidPackagePath", {"Command__PackagePath": "oss://standing/dir/"}),
    ]:
        task = a_task(standing.cluster, **changes)
        job = a_job({"only": {member: value for member, value in task.items() if value is not None}})
        yield f"task: {name}", lambda job=job: ask(region, "POST", "/jobs", job), 400, code


def clusters(standing):
    region, mine = standing.region, f"/clusters/{standing.cluster}"
    group = {"DesiredVMCount": 1, "InstanceType": "ecs.sn1.medium"}
    good = {"Name": "bad-input", "ImageId": "img-ubuntu", "Groups": {"g": group}}
    for name, code, changes in [
        ("no groups", "MissingGroups", {"Groups": {}}),
        ("Groups is an array", "InvalidGroups", {"Groups": [group]}),
        ("a group is null", "InvalidGroups.g", {"Groups": {"g": None}}),
        ("a group with a bad name", "InvalidGroups", {"Groups": {"../g": group}}),
        ("no image", "MissingImageId", {"ImageId": None}),
        ("an image that is not here", "InvalidImageId", {"ImageId": "img-none"}),
        ("a type that is not here", "InvalidInstanceType", {"Groups": {"g": {**group, "InstanceType": "none"}}}),
        ("no count", "MissingDesiredVMCount", {"Groups": {"g": {"InstanceType": "ecs.sn1.medium"}}}),
        ("a negative count", "InvalidDesiredVMCount", {"Groups": {"g": {**group, "DesiredVMCount": -1}}}),
        ("too many machines", "InvalidDesiredVMCount", {"Groups": {"g": {**group, "DesiredVMCount": 65_537}}}),
        ("a host name with a dot", "InvalidHostnamePrefix", {"Groups": {"g": {**group, "HostnamePrefix": "a.b"}}}),
        ("variables of 3.5 MB", "InvalidEnvVars", {"EnvVars": {"V": "x" * 3_000_000, "W": "x" * 500_000}}),
        ("a disk too large", "InvalidSystemDisk", {"Configs": {"Disks": {"SystemDisk": {"Size": 10**6}}}}),
        ("a file server", "InvalidMounts", {"Configs": {"Mounts": {"Entries": [{"Source": "nas://h:/x", "Destination": "/x"}]}}}),
        ("events of jobs", "InvalidNotification", {"Notification": {"Topic": {"Events": ["OnJobFailed"]}}}),
    ]:
        body = {**good, **changes}
        yield f"cluster: {name}", lambda body=body: ask(region, "POST", "/clusters", body), 400, code
    over = {**good, "Groups": {"g": {**group, "DesiredVMCount": 60_000}}}
    yield "cluster: over the quota", lambda: ask(region, "POST", "/clusters", over), 403, "QuotaExhausted"
    for name, status, code, body in [
        ("a group it does not have", 400, "InvalidGroups.h", {"Groups": {"h": group}}),
        ("a count that is a text", 400, "InvalidDesiredVMCount", {"Groups": {"g": {"DesiredVMCount": "2"}}}),
        ("over the quota", 403, "QuotaExhausted", {"Groups": {"g": {"DesiredVMCount": 60_000}}}),
        ("no JSON", 400, "InvalidJsonFormat", b"-"),
    ]:
        yield f"resize: {name}", lambda body=body: ask(region, "PUT", mine, body), status, code
    large = b" " * (5 << 20)
    yield "cluster: 5 MiB", lambda: ask(region, "POST", "/clusters", large), 400, "InvalidHttpBody"


def queries(standing):
    region, job = standing.region, standing.running
    instances = f"/jobs/{job}/tasks/only/instances"
    for target, status, code in [
        ("/jobs?Marker=%", 403, "InvalidQueryString"),
        ("/jobs?Marker=%zz", 403, "InvalidQueryString"),
        ("/jobs?%ff=1", 403, "InvalidQueryString"),
        ("/jobs?Marker=%C3", 403, "InvalidQueryString"),
        ("/jobs?Marker=abc", 400, "InvalidMarker"),
        ("/jobs?Marker=m!", 400, "InvalidMarker"),
        ("/jobs?Marker=mYWJj", 400, "InvalidMarker"),
        ("/clusters?Marker=mYWJj", 400, "InvalidMarker"),
        (f"{instances}?Marker=mYWJj", 400, "InvalidMarker"),
        (f"/clusters/{standing.cluster}/groups/g/instances?Marker=m5LiA", 400, "InvalidMarker"),
        ("/jobs?MaxItemCount=-1", 400, "InvalidMaxItemCount"),
        ("/jobs?MaxItemCount=ten", 400, "InvalidMaxItemCount"),
        ("/jobs?MaxItemCount=1.5", 400, "InvalidMaxItemCount"),
        ("/jobs?State=Placed", 400, "InvalidState"),
        ("/jobs?State=running", 400, "InvalidState"),
        (f"{instances}?State=Gone", 400, "InvalidState"),
        ("/jobs?ClusterId=pool", 400, "InvalidClusterId"),
        ("/jobs?OrderBy=Name", 400, "InvalidOrderBy"),
        ("/jobs?IsReverse=yes", 400, "InvalidIsReverse"),
        (f"{instances}/0/log?stream=stdin", 400, "Invalidstream"),
        (f"{instances}/0/log?offset=-1", 400, "Invalidoffset"),
        (f"{instances}/0/log?wait=long", 400, "Invalidwait"),
    ]:
        yield f"query: {target}", lambda target=target: ask(region, "GET", target), status, code
    good = a_job({"only": a_task(standing.cluster)})
    for token in ["a.b", "x" * 65, "%E6%97%A5"]:
        target = f"/jobs?IdempotentToken={token}"
        yield f"query: token {token[:9]}", lambda target=target: ask(region, "POST", target, good), 400, "InvalidIdempotentToken"
    target = "/jobs?IdempotentToken=standing"
    yield "query: a token of another body", lambda: ask(region, "POST", target, good), 400, "IdempotentTokenMismatch"


def paths(standing):
    region, job = standing.region, standing.running
    for method, target, code in [
        ("GET", "/", "InvalidUrlPattern"),
        ("GET", "/Jobs", "InvalidUrlPattern"),
        ("GET", "//jobs", "InvalidUrlPattern"),
        ("GET", "/jobs/../clusters", "InvalidUrlPattern"),
        ("GET", "/jobs/%ff", "InvalidUrlPattern"),
        ("POST", f"/jobs/{job}/pause", "InvalidUrlPattern"),
        ("POST", f"/jobs/{job}/stop/now", "InvalidUrlPattern"),
        ("GET", "/regions", "InvalidUrlPattern"),
        ("GET", "/console/../jobs", "InvalidUrlPattern"),
        ("PUT", "/jobs", "MethodNotAllowed"),
        ("POST", f"/jobs/{job}", "MethodNotAllowed"),
        ("GET", f"/jobs/{job}/stop", "MethodNotAllowed"),
        ("PATCH", f"/jobs/{job}", "MethodNotAllowed"),
        ("DELETE", "/clusters", "MethodNotAllowed"),
        ("POST", "/quotas", "MethodNotAllowed"),
    ]:
        yield f"path: {method} {target}", lambda m=method, t=target: ask(region, m, t), 400, code
    for method, target in [
        ("GET", "/jobs/job-1"),
        ("GET", f"/jobs/{GONE_JOB}"),
        ("GET", f"/jobs/{GONE_JOB}?description"),
        ("GET", f"/jobs/{GONE_JOB}/why"),
        ("GET", f"/jobs/{job.lower()}"),
        ("GET", f"/jobs/{job}%00"),
        ("POST", f"/jobs/{GONE_JOB}/stop"),
        ("POST", f"/jobs/{GONE_JOB}/start"),
        ("DELETE", f"/jobs/{GONE_JOB}"),
        ("DELETE", "/jobs/..%2F..%2Fetc"),
        ("GET", f"/jobs/{job}/tasks/none"),
        ("GET", f"/jobs/{job}/tasks/{'x' * 5000}"),
        ("GET", f"/jobs/{job}/tasks/only/instances/1"),
        ("GET", f"/jobs/{job}/tasks/only/instances/-1"),
        ("GET", f"/jobs/{job}/tasks/only/instances/99999999999999999999"),
        ("GET", f"/jobs/{job}/tasks/only/instances/7/log"),
        ("GET", f"/clusters/{GONE_CLUSTER}"),
        ("GET", "/clusters/pool"),
        ("DELETE", f"/clusters/{GONE_CLUSTER}"),
        ("GET", f"/clusters/{standing.cluster}/groups/h/instances"),
        ("GET", f"/clusters/{standing.cluster}/groups/g/instances/i-none"),
        ("GET", "/images/img-none"),
    ]:
        shown = f"{target[:60]}"
        yield f"not there: {method} {shown}", lambda m=method, t=target: ask(region, m, t), 404, "InvalidResource.NotFound"


def states(standing):
    region, ended, going = standing.region, f"/jobs/{standing.finished}", f"/jobs/{standing.running}"
    for name, method, target, body in [
        ("stop a finished job", "POST", f"{ended}/stop", None),
        ("start a finished job", "POST", f"{ended}/start", None),
        ("priority of a finished job", "PUT", ended, {"Priority": 5}),
        ("start a running job", "POST", f"{going}/start", None),
        ("delete a running job", "DELETE", going, None),
        ("priority of a running job", "PUT", going, {"Priority": 5}),
    ]:
        yield f"state: {name}", lambda m=method, t=target, b=body: ask(region, m, t, b), 409, "StateConflict"
    for name, body, code in [
        ("priority missing", {}, "MissingPriority"),
        ("priority too high", {"Priority": 1001}, "InvalidPriority"),
        ("priority in words", {"Priority": "high"}, "InvalidPriority"),
        ("priority without a body", None, "InvalidJsonFormat"),
    ]:
        yield f"state: {name}", lambda b=body: ask(region, "PUT", ended, b), 400, code


def signatures(standing):
    region = standing.region
    stop = f"/jobs/{standing.running}/stop"
    minutes = lambda count: formatdate(time.time() + 60 * count, usegmt=True)

    def raw(method, target, sent_target=None, secret=None, **changes):
        """Signs with these headers in place, and sends them."""
        headers = signed(method, target)
        del headers["Authorization"]
        for name, value in changes.items():
            headers.pop(name.replace("_", "-"), None)
            if value is not None:
                headers[name.replace("_", "-")] = value
        lines = [method, headers.get("Accept", ""), "", headers.get("Content-Type", ""), headers.get("Date", "")]
        lines += [f"{name}:{value}" for name, value in sorted(headers.items()) if name.startswith("x-acs-")]
        headers["Authorization"] = f"acs {KEY}:{(secret or mac)(chr(10).join([*lines, target]))}"
        return ask(region, method, sent_target or target, headers=headers)

    captured = {}

    def replay():
        """What was captured 16 minutes ago: a request that was good then."""
        return raw("POST", stop, Date=minutes(-16), **captured)

    wrong = lambda text: base64.b64encode(b"\0" * 20).decode()
    for name, request, status, code in [
        ("no Authorization", lambda: ask(region, "POST", stop, Authorization=None), 400, "IncompleteSignature"),
        ("an empty Authorization", lambda: ask(region, "POST", stop, Authorization=""), 400, "IncompleteSignature"),
        ("another scheme", lambda: ask(region, "POST", stop, Authorization="Basic dGVzdA=="), 400, "IncompleteSignature"),
        ("no signature", lambda: ask(region, "POST", stop, Authorization=f"acs {KEY}"), 400, "IncompleteSignature"),
        ("an empty signature", lambda: ask(region, "POST", stop, Authorization=f"acs {KEY}:"), 400, "IncompleteSignature"),
        ("a garbled signature", lambda: ask(region, "POST", stop, Authorization=f"acs {KEY}:%%%"), 400, "SignatureDoesNotMatch"),
        ("a long key", lambda: ask(region, "POST", stop, Authorization=f"acs {'x' * 20_000}:y"), 404, "InvalidAccessKeyId.NotFound"),
        ("an unknown key", lambda: ask(region, "POST", stop, Authorization="acs stranger:abc="), 404, "InvalidAccessKeyId.NotFound"),
        ("the key of no task", lambda: ask(region, "POST", stop, Authorization="acs GMTASK.i-1.1.job-1.t:abc="), 404, "InvalidAccessKeyId.NotFound"),
        ("a wrong secret", lambda: raw("POST", stop, secret=wrong), 400, "SignatureDoesNotMatch"),
        ("another verb", lambda: ask(region, "DELETE", f"/jobs/{standing.finished}", headers=signed("GET", f"/jobs/{standing.finished}")), 400, "SignatureDoesNotMatch"),
        ("another path", lambda: raw("POST", f"/jobs/{standing.finished}/stop", sent_target=stop), 400, "SignatureDoesNotMatch"),
        ("a changed byte in the query", lambda: raw("GET", "/jobs?Marker=a", sent_target="/jobs?Marker=b"), 400, "SignatureDoesNotMatch"),
        ("an added parameter", lambda: raw("GET", "/jobs", sent_target="/jobs?State=Running"), 400, "SignatureDoesNotMatch"),
        ("a changed header", lambda: ask(region, "POST", stop, x_acs_region_id="cn-other"), 400, "SignatureDoesNotMatch"),
        ("a changed date", lambda: ask(region, "POST", stop, Date=minutes(1)), 400, "SignatureDoesNotMatch"),
        ("16 minutes late", lambda: raw("POST", stop, Date=minutes(-16)), 400, "InvalidTimeStamp.Expired"),
        ("16 minutes early", lambda: raw("POST", stop, Date=minutes(16)), 400, "InvalidTimeStamp.Expired"),
        ("a date in words", lambda: raw("POST", stop, Date="yesterday"), 400, "InvalidTimeStamp.Expired"),
        ("no date", lambda: raw("POST", stop, Date=None), 400, "MissingDate"),
        ("a replay, much later", replay, 400, "InvalidTimeStamp.Expired"),
        ("another method of signing", lambda: raw("POST", stop, x_acs_signature_method="HMAC-SHA256"), 400, "IncompleteSignature"),
        ("another version of signing", lambda: raw("POST", stop, x_acs_signature_version="2.0"), 400, "IncompleteSignature"),
        ("another version of the API", lambda: raw("POST", stop, x_acs_version="2016-01-01"), 403, "InvalidVersion.NotFound"),
    ]:
        captured["x_acs_signature_nonce"] = str(uuid.uuid4())
        yield f"signature: {name}", request, status, code


def documented(standing):
    """Verb, path template, query and description of every operation of `/openapi.json`."""
    document = json.loads(standing.region.raw("GET", "/openapi.json")[2])
    for template, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield method.upper(), template, "", operation
                for about in operation.get("x-gristmill-variants", {}).values():
                    yield method.upper(), template, f"?{about['query']}", about


def filled(template, **parts):
    return re.sub(r"{(\w+)}", lambda part: parts[part[1]], template)


def not_offered(standing):
    """What the description of the API marks as not implemented."""
    region, machine = standing.region, standing.machine
    there = {"job": standing.finished, "cluster": standing.cluster, "group": "g", "machine": machine, "image": "img-ubuntu", "app": "app"}
    app = {"Name": "app", "CommandLine": "true"}
    bodies = {"/jobs": a_job({"only": a_task(standing.cluster)}), "/apps": app, "/apps/{app}": app}
    for method, template, query, about in documented(standing):
        if about.get("x-gristmill-status") == "not implemented":
            body = bodies.get(template, {}) if method in ("POST", "PUT") else None
            target = filled(template, **there) + query
            request = lambda m=method, t=target, b=body: ask(region, m, t, b)
            yield f"not offered: {method} {template}{query}", request, 501, "NotImplemented"


def offered(standing):
    """Name and request of all the others, for things that are not there."""
    gone = {"job": GONE_JOB, "task": "none", "instance": "0", "cluster": GONE_CLUSTER, "group": "g", "machine": "i-none", "image": "img-none", "app": "app"}
    for method, template, query, about in documented(standing):
        if "x-gristmill-status" not in about:
            target = filled(template, **gone) + query
            yield f"{method} {template}{query}", lambda m=method, t=target: ask(standing.region, m, t, b"")


def garbage():
    """Bytes that are no request of HTTP. The server closes or answers 400, and lives on."""
    return [
        ("noise", bytes(range(256)) * 4),
        ("a TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200),
        ("no version", b"GET /jobs\r\n\r\n"),
        ("two lengths", b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 9\r\n\r\nx"),
        ("a negative length", b"POST /jobs HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n"),
        ("a chunk without a size", b"POST /jobs HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
        ("a long line", b"GET /" + b"a" * (1 << 20) + b" HTTP/1.1\r\n\r\n"),
        ("many headers", head_of("GET", "/jobs", {f"h{n}": n for n in range(5000)})),
    ]
