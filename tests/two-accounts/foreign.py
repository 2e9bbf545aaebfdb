"""Every operation with ids of the other account, and what it must answer.

A row is an operation, a request and the answers it may get. The other's things must look as if
they were not there: 404 where the API has a code for it, and 204 for an app, whose deletion
succeeds when there is none.
"""

import json
from urllib.parse import quote

from account import leak_in

GONE = (404, "InvalidResource.NotFound")
DENIED = (403, "AccessDenied")


class Row:
    def __init__(self, operation, method, target, answers, body=None, oss=None):
        self.operation, self.method, self.target = operation, method, target
        self.answers, self.body, self.oss = answers, body, oss

    def __str__(self):
        return f"{self.operation}: {self.method} {self.target}"

    def sent(self):
        return f"{self.target} {json.dumps(self.body)} {self.oss}"

    def send(self, account):
        if self.oss:
            bucket, object, query, data, headers = self.oss
            return account.oss(self.method, bucket, object, query, data, headers=headers)
        return account.raw(self.method, self.target, self.body)


def api(operation, method, target, *answers, body=None):
    return Row(operation, method, target, answers, body)


def oss(method, bucket, object="", query="", data=b"", answer=DENIED, headers=None):
    name = f"oss {query.lstrip('?') or method.lower()}"
    return Row(name, method, f"/{bucket}/{object}{query}", [answer], oss=(bucket, object, query, data, headers))


def of_job(other, job):
    task = other.task
    yield api("GetJob", "GET", f"/jobs/{job}", GONE)
    yield api("GetJobDescription", "GET", f"/jobs/{job}?description", GONE)
    yield api("StopJob", "POST", f"/jobs/{job}/stop", GONE)
    yield api("StartJob", "POST", f"/jobs/{job}/start", GONE)
    yield api("DeleteJob", "DELETE", f"/jobs/{job}", GONE)
    yield api("ChangeJobPriority", "PUT", f"/jobs/{job}", GONE, body={"Priority": 7})
    yield api("ListTasks", "GET", f"/jobs/{job}/tasks", GONE)
    yield api("GetTask", "GET", f"/jobs/{job}/tasks/{task}", GONE)
    yield api("ListInstances", "GET", f"/jobs/{job}/tasks/{task}/instances", GONE)
    yield api("GetInstance", "GET", f"/jobs/{job}/tasks/{task}/instances/0", GONE)
    yield api("why", "GET", f"/jobs/{job}/why", GONE)
    yield api("events", "GET", f"/jobs/{job}/events", GONE)
    yield api("log", "GET", f"/jobs/{job}/tasks/{task}/instances/0/log", GONE)


def of_cluster(other, cluster, group, machine):
    place = f"/clusters/{cluster}/groups/{group}/instances"
    yield api("GetCluster", "GET", f"/clusters/{cluster}", GONE)
    size = {"Groups": {group: {"DesiredVMCount": 0}}}
    yield api("ModifyCluster", "PUT", f"/clusters/{cluster}", GONE, body=size)
    yield api("DeleteCluster", "DELETE", f"/clusters/{cluster}", GONE)
    yield api("ListClusterInstances", "GET", place, GONE)
    yield api("GetClusterInstance", "GET", f"{place}/{machine}", GONE)
    yield api("bootstrap-log", "GET", f"{place}/{machine}/bootstrap-log", GONE)
    yield api("DeleteClusterInstance", "DELETE", f"{place}/{machine}", GONE)
    yield api("RecreateClusterInstance", "POST", f"{place}/{machine}/recreate", GONE)


def of_app(app):
    yield api("GetApp", "GET", f"/apps/{app}", GONE)
    yield api("GetApp", "GET", f"/apps/{app}?Scope=Public", GONE)
    yield api("GetAppDetail", "GET", f"/apps/{app}?Detail=True&Qualifier", GONE)
    yield api("GetAppRevisions", "GET", f"/apps/{app}?Revisions=True", GONE)
    changed = {"Name": app, "CommandLine": "false", "VM": {"ECSImageId": "img-ubuntu"}}
    yield api("ModifyApp", "PUT", f"/apps/{app}", GONE, body=changed)
    yield api("DeleteApp", "DELETE", f"/apps/{app}?Qualifier", (204, ""), GONE)
    call = {"Name": "call", "Type": "App", "App": {"AppName": app, "InputParameters": {}, "OutputParameters": {}}}
    yield api("CreateJob", "POST", "/jobs", GONE, (400, None), body=call)
    yield api("CreateJobSync", "POST", "/jobs?sync", GONE, (400, None), body=call)


def a_job(**members):
    task = {"Parameters": {"Command": {"CommandLine": "true"}}, **members}
    return {"Name": "try", "Type": "DAG", "DAG": {"Tasks": {"only": task}}}


def naming(own, other):
    """Creates that name the other's things."""
    refused = [(403, "Forbidden"), GONE, (400, None)]
    yield api("CreateJob", "POST", "/jobs", *refused, body=a_job(ClusterId=other.cluster))
    auto = {"AutoCluster": {"ImageId": "img-ubuntu", "InstanceType": "ecs.sn1.medium"}}
    for mapping in (
        {"InputMapping": {f"oss://{other.bucket}/{other.mark}/": "/home/in/"}},
        {"InputMapping": {f"oss://{other.bucket}/{other.mark}/object": "/home/in"}},
        {"OutputMapping": {"/home/out/": f"oss://{other.bucket}/out/"}},
        {"LogMapping": {"/home/log/": f"oss://{other.bucket}/log/"}},
        {"Mounts": {"Entries": [{"Source": f"oss://{other.bucket}/", "Destination": "/home/m/", "WriteSupport": True}]}},
    ):
        yield api("CreateJob", "POST", "/jobs", *refused, body=a_job(**auto, **mapping))
    parameters = {"Command": {"CommandLine": "true", "PackagePath": f"oss://{other.bucket}/p.tar.gz"}}
    yield api("CreateJob", "POST", "/jobs", *refused, body=a_job(**auto, Parameters=parameters))
    parameters = {"Command": {"CommandLine": "true"}, "StdoutRedirectPath": f"oss://{other.bucket}/logs/"}
    yield api("CreateJob", "POST", "/jobs", *refused, body=a_job(**auto, Parameters=parameters))
    for image in ({"ImageId": other.image}, {"ECSImageId": f"m-{other.mark}"}):
        shape = {"AutoCluster": {"InstanceType": "ecs.sn1.medium", **image}}
        yield api("CreateJob", "POST", "/jobs", *refused, body=a_job(**shape))
    group = {"g": {"DesiredVMCount": 0, "InstanceType": "ecs.sn1.medium"}}
    cluster = {"Name": "try", "ImageId": other.image, "Groups": group}
    yield api("CreateCluster", "POST", "/clusters", *refused, body=cluster)
    mounts = {"Mounts": {"Entries": [{"Source": f"oss://{other.bucket}/", "Destination": "/home/m/"}]}}
    cluster = {"Name": "try", "ImageId": "img-ubuntu", "Groups": group, "Configs": mounts}
    yield api("CreateCluster", "POST", "/clusters", *refused, body=cluster)


def lists():
    """Lists of everything: the other's things are not among them."""
    for target in ("/jobs", "/clusters", "/images", "/apps", "/jobs?State=Running", "/apps?Scope=Public", "/images?Type=System"):
        kind = target.split("?")[0].strip("/").capitalize()
        yield api(f"List{kind}", "GET", target, (200, ""))
    yield api("GetQuotas", "GET", "/quotas", (200, ""))
    yield api("GetAvailableResource", "GET", "/available", (200, ""))


def admin(other):
    for method, path in (
        ("GET", "accounts"), ("POST", "accounts"), ("GET", f"accounts/{other.name}"), ("DELETE", f"accounts/{other.name}"),
        ("POST", f"accounts/{other.name}/disable"), ("GET", "keys"), ("POST", "keys"), ("DELETE", f"keys/{other.key.id}"),
        ("POST", f"keys/{other.key.id}/disable"), ("GET", "nothing"),
    ):
        yield api("admin", method, f"/admin/{path}", (403, "Forbidden"), body={} if method == "POST" else None)
    yield api("AssumeRole", "POST", "/sts/credentials", (403, "Forbidden"), body={"Account": other.name})


def objects(other):
    bucket, object = other.bucket, f"{other.mark}/object"
    yield oss("GET", bucket, object)
    yield oss("PUT", bucket, object, data=b"mine now")
    yield oss("DELETE", bucket, object)
    yield oss("GET", bucket)
    for query in ("?bucketInfo", "?acl", "?stat", "?location", "?uploads", "?tagging"):
        yield oss("GET", bucket, query=query)
    yield oss("PUT", bucket, query="?acl", headers={"x-oss-acl": "public-read"})
    yield oss("PUT", bucket, answer=(409, "BucketAlreadyExists"))
    yield oss("DELETE", bucket)
    yield oss("POST", bucket, object, query="?uploads")
    yield oss("GET", bucket, object, query="?acl")
    deletion = f"<Delete><Object><Key>{object}</Key></Object></Delete>".encode()
    yield oss("POST", bucket, query="?delete", data=deletion)
    copy = {"x-oss-copy-source": f"/{bucket}/{object}"}
    yield Row("oss copy", "PUT", f"/OWN/stolen <- {copy}", [DENIED], oss=("OWN", "stolen", "", b"", copy))
    yield Row("oss buckets", "GET", "/", [(200, "")], oss=("", "", "", b"", None))


def rows(own, other):
    for job in (other.running, other.finished):
        yield from of_job(other, job)
    yield from of_cluster(other, other.cluster, other.group, other.machine)
    place = f"/clusters/{own.cluster}/groups/{own.group}/instances/{other.machine}"
    yield api("GetClusterInstance", "GET", place, GONE)
    yield api("DeleteClusterInstance", "DELETE", place, GONE)
    yield api("RecreateClusterInstance", "POST", f"{place}/recreate", GONE)
    yield api("GetImage", "GET", f"/images/{other.image}", GONE)
    yield api("DeleteImage", "DELETE", f"/images/{other.image}", GONE)
    yield from of_app(other.app)
    yield from naming(own, other)
    yield from lists()
    yield from admin(other)
    for row in objects(other):
        if row.oss[0] == "OWN":
            row.oss = (own.bucket, *row.oss[1:])
        yield row


ODD = ["", ".", "..", "0", "%00", "a" * 300, "job-", "cls-", "i-", "img-", "m-", "\u4e2d\u6587", "a b", "a:b", "*", "null", "-1", "job-" + "F" * 33, "GMTASK.x", "%2e%2e%2f"]


def random_row(chance, own, other):
    """One of the rows, or one with an odd or mangled id in the place of a real one."""
    row = chance.choice(ROWS.setdefault((own.name, other.name), list(rows(own, other))))
    if row.oss or chance.random() < 0.7:
        return row
    real = [text for text in other.marks()[1:6] if text in row.target]
    if not real:
        return row
    text = chance.choice(real)
    odd = chance.choice([quote(chance.choice(ODD)), text[:-1], text.swapcase(), text + "0", mangled(chance, text)])
    return Row(f"odd {row.operation}", row.method, row.target.replace(text, odd), None, row.body)


ROWS = {}


def mangled(chance, text):
    at = chance.randrange(len(text))
    return quote(text[:at] + chance.choice("0aZ-_.~") + text[at + 1 :])


def code_of(answer):
    text = answer.decode(errors="replace")
    try:
        return json.loads(text).get("Code", "") if text.startswith("{") else ""
    except ValueError:
        return ""


def oss_code_of(answer):
    text = answer.decode(errors="replace")
    return text.split("<Code>")[1].split("</Code>")[0] if "<Code>" in text else ""


def problem_of(row, status, answer):
    """What is wrong with the answer, if anything."""
    code = oss_code_of(answer) if row.oss else code_of(answer)
    if status >= 500:
        return f"a fault: {status} {code} {answer[:200]}"
    if row.answers is None:
        # An odd id may be a path that is none; it must not be anything that is there.
        return None if row.method == "GET" or 400 <= status < 500 or status == 204 else f"answered with {status}"
    fits = any(status == wanted and expected in (None, code) for wanted, expected in row.answers)
    return None if fits else f"{status} {code} and not one of {row.answers}: {answer[:300]}"


def check(row, own, other):
    status, headers, answer = row.send(own)
    problem = problem_of(row, status, answer) or leak_in(row, headers, answer, own, other)
    assert not problem, problem




def check_that_leaks_are_noticed(first, second):
    """The second's own answers, taken for the first's, are full of leaks."""
    for target in ("/jobs", "/clusters", "/images", "/apps", f"/jobs/{second.running}", f"/clusters/{second.cluster}"):
        row = api("Get", "GET", target, (200, ""))
        _, headers, answer = row.send(second)
        assert leak_in(row, headers, answer, first, second), target
