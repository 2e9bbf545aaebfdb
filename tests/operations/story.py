"""What is asked of the 35 operations (`reference/api.md` 6), in an order in which each answer is certain."""

from region import wait_for

NO_JOB, NO_CLUSTER, NO_MACHINE = "job-" + "0" * 32, "cls-" + "0" * 22, "i-" + "0" * 20
TYPE = "ecs.sn1.medium"

FOUND = {"success", "not found", "other account"}
CASES = {
    "CreateJob": {"success", "bad member", "other account"}, "CreateJobSync": {"success", "not found", "bad member"},
    "GetJob": FOUND, "GetJobDescription": FOUND, "ListJobs": {"success", "pages", "bad member", "other account"},
    "StopJob": FOUND | {"wrong state"}, "StartJob": FOUND | {"wrong state"}, "DeleteJob": FOUND | {"wrong state"},
    "ChangeJobPriority": FOUND | {"wrong state", "bad member"},
    "ListTasks": FOUND | {"pages", "bad member"}, "GetTask": FOUND,
    "ListInstances": FOUND | {"pages", "bad member"}, "GetInstance": FOUND,
    "CreateCluster": {"success", "bad member"}, "GetCluster": FOUND,
    "ListClusters": {"success", "pages", "bad member", "other account"},
    "ModifyCluster": FOUND | {"wrong state", "bad member"}, "DeleteCluster": FOUND | {"wrong state"},
    "ListClusterInstances": FOUND | {"pages", "bad member"}, "GetClusterInstance": FOUND,
    "DeleteClusterInstance": FOUND | {"wrong state"}, "RecreateClusterInstance": FOUND | {"wrong state"},
    "CreateImage": {"success", "bad member"}, "GetImage": FOUND, "ListImages": {"success", "pages", "bad member", "other account"},
    "DeleteImage": FOUND, "CreateApp": {"success", "wrong state", "bad member"}, "GetApp": FOUND, "GetAppDetail": FOUND,
    "GetAppRevisions": FOUND, "ListApps": {"success", "pages", "bad member", "other account"},
    "ModifyApp": FOUND | {"bad member"}, "DeleteApp": FOUND,
    "GetQuotas": {"success"}, "GetAvailableResource": {"success"},
}
assert len(CASES) == 35, len(CASES)

# Answers whose status is not the usual one of their case, and why.
EXCEPTIONS = {
    ("CreateJob", "other account"): (400, "a cluster of another account is an unknown cluster: InvalidClusterId"),
    ("ListJobs", "other account"): (200, "a list of what is one's own, which is nothing"),
    ("ListClusters", "other account"): (200, "as for jobs"),
    ("ListImages", "other account"): (200, "as for jobs"),
    ("ListApps", "other account"): (200, "as for jobs"),
    ("CreateApp", "wrong state"): (403, "a taken name is InvalidResource.AlreadyExisting"),
    ("DeleteApp", "not found"): (204, "the official Java tests delete apps that are not there"),
    ("DeleteApp", "other account"): (204, "as for an app that is not there"),
    ("DeleteClusterInstance", "wrong state"): (409, "or gone already"),
}


def job(cluster, command, count=1, **members):
    task = {"InstanceCount": count, "ClusterId": cluster, "Timeout": 60, "Parameters": {"Command": {"CommandLine": command}}}
    return {"Name": "told", "Type": "DAG", "DAG": {"Tasks": {"first": task, "second": task}, "Dependencies": {"first": ["second"]}}, **members}


def cluster(machines=0, image="img-ubuntu", **members):
    group = {"DesiredVMCount": machines, "InstanceType": TYPE}
    return {"Name": "pool", "ImageId": image, "Groups": {"g": group}, **members}


def app(**members):
    return {"Name": "copy", "CommandLine": "echo ${word}", "VM": {"ECSImageId": "img-ubuntu"},
            "InputParameters": {"word": {"Type": "String", "Default": "grain", "LocalPath": "", "Description": ""}}, **members}


def tell(to):
    quiet = clusters(to)
    jobs(to, quiet)
    machines(to)
    images(to)
    apps(to)
    to.call("GetQuotas", "success", "GET", "/quotas")
    to.call("GetAvailableResource", "success", "GET", "/available")


def thrice(to, operation, method, target, missing, body=None):
    """Not found, another account's, of the wrong form: in none of them does anything happen."""
    to.call(operation, "not found", method, target(missing[0]), body)
    to.call(operation, "not found: of the wrong form", method, target("nonsense"), body)
    to.call(operation, "other account", method, target(missing[1]), body, "two")


def pages(to, operation, target, count, page=1):
    """Walks through a list in small pages; the marker of the last page is empty."""
    marker, seen = "", 0
    for _ in range(count + 2):
        glue = "&" if "?" in target else "?"
        found = to.call(operation, "pages", "GET", f"{target}{glue}Marker={marker}&MaxItemCount={page}")
        seen, marker = seen + len(found["Items"]), found["NextMarker"]
        assert isinstance(marker, str)
        if not marker:
            break
    assert seen == count, (operation, seen, count)
    to.call(operation, "bad member: MaxItemCount", "GET", f"{target}{glue}MaxItemCount=-1")
    to.call(operation, "bad member: Marker", "GET", f"{target}{glue}Marker=%21%21&MaxItemCount=1")


def clusters(to):
    quiet = cluster(Description="quiet", EnvVars={"k": "v"}, UserData={"a": "b"})
    made = to.call("CreateCluster", "success", "POST", "/clusters", quiet)["Id"]
    to.call("CreateCluster", "success: a token", "POST", "/clusters?IdempotentToken=t1", quiet)
    to.call("CreateCluster", "success: the same again", "POST", "/clusters?IdempotentToken=t1", quiet)
    to.call("CreateCluster", "bad member: the token with another body", "POST", "/clusters?IdempotentToken=t1", cluster(Description="x"))
    for name, body in (
        ("Name", cluster(Name="1st")), ("Groups", cluster(Groups={})), ("DesiredVMCount", cluster(-1)), ("ImageId", cluster(image="img-nobody-has")),
        ("InstanceType", cluster(Groups={"g": {"DesiredVMCount": 0, "InstanceType": "ecs.none"}})), ("quota", cluster(51)),
        ("CidrBlock", cluster(Configs={"Networks": {"VPC": {"CidrBlock": "192.168.0.0/33"}}})), ("not JSON", "{"), ("not an object", "[]"),
        ("Disks", cluster(Configs={"Disks": {"SystemDisk": {"Type": "cloud_efficiency", "Size": 1}}})),
        ("SpotPriceLimit", cluster(Groups={"g": {"DesiredVMCount": 0, "ResourceType": "Spot", "SpotStrategy": "SpotWithPriceLimit", "SpotPriceLimit": 0.1234}})),
        ("Notification", cluster(Notification={"Topic": {"Name": "t", "Endpoint": "http://x/", "Events": ["OnNothing"]}})),
    ):
        to.call("CreateCluster", f"bad member: {name}", "POST", "/clusters", body)
    to.call("GetCluster", "success", "GET", f"/clusters/{made}")
    thrice(to, "GetCluster", "GET", "/clusters/{}".format, (NO_CLUSTER, made))
    to.call("ListClusters", "success", "GET", "/clusters")
    to.call("ListClusters", "other account", "GET", "/clusters", account="two")
    pages(to, "ListClusters", "/clusters", 2)
    change = {"Groups": {"g": {"DesiredVMCount": 0}}, "UserData": {"c": "d"}, "EnvVars": {}}
    to.call("ModifyCluster", "success", "PUT", f"/clusters/{made}", change)
    to.call("ModifyCluster", "success: nothing", "PUT", f"/clusters/{made}", {"Groups": {}})
    to.call("GetCluster", "success: changed", "GET", f"/clusters/{made}")
    to.call("ModifyCluster", "bad member: group", "PUT", f"/clusters/{made}", {"Groups": {"other": {"DesiredVMCount": 1}}})
    to.call("ModifyCluster", "bad member: DesiredVMCount", "PUT", f"/clusters/{made}", {"Groups": {"g": {"DesiredVMCount": 70000}}})
    to.call("ModifyCluster", "bad member: not JSON", "PUT", f"/clusters/{made}", "nonsense")
    thrice(to, "ModifyCluster", "PUT", "/clusters/{}".format, (NO_CLUSTER, made), change)
    return made


def jobs(to, quiet):
    waiting = to.call("CreateJob", "success", "POST", "/jobs", job(quiet, "true", 3))["Id"]
    to.call("CreateJob", "success: a token", "POST", "/jobs?IdempotentToken=t-1", job(quiet, "true"))
    to.call("CreateJob", "success: the same again", "POST", "/jobs?IdempotentToken=t-1", job(quiet, "true"))
    to.call("CreateJob", "bad member: the token with another body", "POST", "/jobs?IdempotentToken=t-1", job(quiet, "false"))
    to.call("CreateJob", "other account", "POST", "/jobs", job(quiet, "true"), "two")
    round_trip = job(quiet, "true")
    round_trip["DAG"]["Dependencies"]["second"] = ["first"]
    for name, body in (
        ("Name", job(quiet, "true", Name="")), ("Priority", job(quiet, "true", Priority=1001)), ("no tasks", job(quiet, "true", DAG={"Tasks": {}})),
        ("a circle", round_trip), ("InstanceCount", job(quiet, "true", 0)), ("ClusterId", job(NO_CLUSTER, "true")), ("CommandLine", job(quiet, "")),
        ("Type", job(quiet, "true", Type="Poem")), ("no DAG", {"Name": "x", "Type": "DAG"}), ("not JSON", "{"), ("not an object", "3"),
    ):
        to.call("CreateJob", f"bad member: {name}", "POST", "/jobs", body)
    target = "/jobs/{}".format
    to.call("GetJob", "success", "GET", target(waiting))
    thrice(to, "GetJob", "GET", target, (NO_JOB, waiting))
    description = "/jobs/{}?description".format
    to.call("GetJobDescription", "success", "GET", description(waiting))
    thrice(to, "GetJobDescription", "GET", description, (NO_JOB, waiting))
    to.call("ListJobs", "success", "GET", "/jobs?State=Waiting")
    to.call("ListJobs", "success: reversed, of a cluster", "GET", f"/jobs?OrderBy=Id&IsReverse=True&ClusterId={quiet}")
    to.call("ListJobs", "other account", "GET", "/jobs", account="two")
    to.call("ListJobs", "bad member: State", "GET", "/jobs?State=Asleep")
    pages(to, "ListJobs", "/jobs", 2)
    tasks(to, waiting)
    states(to, waiting)
    ends(to)


def tasks(to, waiting):
    target = "/jobs/{}/tasks".format
    to.call("ListTasks", "success", "GET", target(waiting))
    to.call("ListTasks", "success: in a state", "GET", target(waiting) + "?State=Running")
    thrice(to, "ListTasks", "GET", target, (NO_JOB, waiting))
    pages(to, "ListTasks", target(waiting), 2)
    one = "/jobs/{}/tasks/first".format
    to.call("GetTask", "success", "GET", one(waiting))
    to.call("GetTask", "not found: task", "GET", target(waiting) + "/third")
    thrice(to, "GetTask", "GET", one, (NO_JOB, waiting))
    instances = "/jobs/{}/tasks/first/instances".format
    to.call("ListInstances", "success", "GET", instances(waiting))
    to.call("ListInstances", "success: from 0", "GET", instances(waiting) + "?Marker=0&MaxItemCount=2")
    to.call("ListInstances", "not found: task", "GET", target(waiting) + "/third/instances")
    thrice(to, "ListInstances", "GET", instances, (NO_JOB, waiting))
    pages(to, "ListInstances", instances(waiting), 3, 2)
    instance = "/jobs/{}/tasks/first/instances/2".format
    to.call("GetInstance", "success", "GET", instance(waiting))
    for number in ("3", "-1", "two"):
        to.call("GetInstance", f"not found: {number}", "GET", f"{instances(waiting)}/{number}")
    thrice(to, "GetInstance", "GET", instance, (NO_JOB, waiting))


def states(to, waiting):
    target = "/jobs/{}".format
    priority = {"Priority": 7}
    to.call("DeleteJob", "wrong state", "DELETE", target(waiting))
    to.call("StartJob", "wrong state", "POST", target(waiting) + "/start")
    to.call("ChangeJobPriority", "wrong state", "PUT", target(waiting), priority)
    for operation, action in (("StopJob", "/stop"), ("StartJob", "/start")):
        thrice(to, operation, "POST", lambda job, action=action: target(job) + action, (NO_JOB, waiting))
    thrice(to, "DeleteJob", "DELETE", target, (NO_JOB, waiting))
    thrice(to, "ChangeJobPriority", "PUT", target, (NO_JOB, waiting), priority)
    to.call("StopJob", "success", "POST", target(waiting) + "/stop")
    to.call("StopJob", "wrong state", "POST", target(waiting) + "/stop")
    to.call("GetJob", "success: stopped", "GET", target(waiting))
    to.call("ChangeJobPriority", "success", "PUT", target(waiting), priority)
    to.call("ChangeJobPriority", "success: a number in a string", "PUT", target(waiting), {"Priority": "8"})
    to.call("ChangeJobPriority", "bad member: too high", "PUT", target(waiting), {"Priority": 5000})
    to.call("ChangeJobPriority", "bad member: missing", "PUT", target(waiting), {})
    to.call("StartJob", "success", "POST", target(waiting) + "/start")
    to.call("GetJob", "success: started again", "GET", target(waiting))
    to.call("StopJob", "success: again", "POST", target(waiting) + "/stop")
    to.call("DeleteJob", "success", "DELETE", target(waiting))
    to.call("GetJob", "not found: deleted", "GET", target(waiting))


def ends(to):
    """A job that failed, to the last member."""
    pool = to.call("CreateCluster", "success: with a machine", "POST", "/clusters", cluster(1))["Id"]
    failed = to.call("CreateJob", "success: one that fails", "POST", "/jobs", job(pool, "sh -c 'exit 3'"))["Id"]
    wait_for("the end of the job", lambda: to.look(f"/jobs/{failed}")["State"] == "Failed")
    to.call("GetJob", "success: failed", "GET", f"/jobs/{failed}")
    to.call("GetTask", "success: failed", "GET", f"/jobs/{failed}/tasks/first")
    to.call("GetInstance", "success: failed", "GET", f"/jobs/{failed}/tasks/first/instances/0")
    to.call("GetInstance", "success: stopped", "GET", f"/jobs/{failed}/tasks/second/instances/0")
    to.call("DeleteJob", "success: failed", "DELETE", f"/jobs/{failed}")
    to.call("DeleteCluster", "not found", "DELETE", f"/clusters/{NO_CLUSTER}")
    to.call("DeleteCluster", "other account", "DELETE", f"/clusters/{pool}", account="two")
    to.call("DeleteCluster", "success: with a machine", "DELETE", f"/clusters/{pool}")


def machines(to):
    """Machines that stay as they are: nobody makes Windows."""
    pool = to.call("CreateCluster", "success: of Windows", "POST", "/clusters", cluster(2, "img-windows"))["Id"]
    all_of = "/clusters/{}/groups/g/instances".format

    def settled():
        found = to.look(all_of(pool))["Items"]
        return found if len(found) == 2 and all(each["Hint"] for each in found) else None

    first, second = (each["Id"] for each in wait_for("two machines that cannot be made", settled))
    to.call("ListClusterInstances", "success", "GET", all_of(pool))
    to.call("ListClusterInstances", "not found: group", "GET", f"/clusters/{pool}/groups/h/instances")
    thrice(to, "ListClusterInstances", "GET", all_of, (NO_CLUSTER, pool))
    pages(to, "ListClusterInstances", all_of(pool), 2)
    one = lambda machine: f"{all_of(pool)}/{machine}"
    to.call("GetClusterInstance", "success", "GET", one(first))
    thrice(to, "GetClusterInstance", "GET", one, (NO_MACHINE, first))
    again = lambda machine: one(machine) + "/recreate"
    thrice(to, "RecreateClusterInstance", "POST", again, (NO_MACHINE, first))
    thrice(to, "DeleteClusterInstance", "DELETE", one, (NO_MACHINE, first))
    left = lambda: to.look(f"/clusters/{pool}")["Metrics"]["StoppingCount"] == 0
    to.call("RecreateClusterInstance", "success", "POST", again(first))
    wait_for("the end of the first machine", left)
    to.call("DeleteClusterInstance", "success", "DELETE", one(second))
    wait_for("the end of the second machine", left)
    to.call("GetCluster", "success: one machine less", "GET", f"/clusters/{pool}")
    wrong_states(to)
    to.call("DeleteCluster", "success", "DELETE", f"/clusters/{pool}")


def wrong_states(to):
    """A machine and a cluster that are going: a program that does not listen holds them for some seconds."""
    pool = to.call("CreateCluster", "success: to be left", "POST", "/clusters", cluster(2))["Id"]
    stubborn = job(pool, """sh -c "trap '' TERM; while :; do sleep 1; done" """, 2)
    held = to.call("CreateJob", "success: one that does not listen", "POST", "/jobs", stubborn)["Id"]
    wait_for("both instances", lambda: to.look(f"/jobs/{held}")["InstanceMetrics"]["RunningCount"] == 2)
    target = f"/clusters/{pool}/groups/g/instances"
    machine = to.look(target)["Items"][0]["Id"]
    to.call("DeleteClusterInstance", "success: busy", "DELETE", f"{target}/{machine}")
    to.call("DeleteClusterInstance", "wrong state", "DELETE", f"{target}/{machine}")
    to.call("RecreateClusterInstance", "wrong state", "POST", f"{target}/{machine}/recreate")
    to.call("DeleteCluster", "success: its machines are going", "DELETE", f"/clusters/{pool}")
    to.call("DeleteCluster", "wrong state", "DELETE", f"/clusters/{pool}")
    to.call("ModifyCluster", "wrong state", "PUT", f"/clusters/{pool}", {"Groups": {"g": {"DesiredVMCount": 1}}})
    to.call("StopJob", "success: of a cluster that is gone", "POST", f"/jobs/{held}/stop")


def images(to):
    image = {"Name": "mine", "Description": "of my own", "EcsImageId": "m-wz9abc", "Platform": "Linux"}
    made = to.call("CreateImage", "success", "POST", "/images", image)["Id"]
    to.call("CreateImage", "success: another", "POST", "/images", {**image, "Name": "other"})
    for name, body in (("EcsImageId", {**image, "EcsImageId": "wz9"}), ("Platform", {**image, "Platform": "Plan9"}), ("Name", {**image, "Name": "a b"}), ("not JSON", "{")):
        to.call("CreateImage", f"bad member: {name}", "POST", "/images", body)
    target = "/images/{}".format
    to.call("GetImage", "success", "GET", target(made))
    to.call("GetImage", "success: of the system", "GET", target("img-ubuntu"), account="two")
    thrice(to, "GetImage", "GET", target, ("img-none", made))
    to.call("ListImages", "success", "GET", "/images")
    to.call("ListImages", "success: of the system", "GET", "/images?Type=System")
    to.call("ListImages", "other account", "GET", "/images", account="two")
    pages(to, "ListImages", "/images", 2)
    thrice(to, "DeleteImage", "DELETE", target, ("img-none", made))
    to.call("DeleteImage", "success", "DELETE", target(made))
    to.call("GetImage", "not found: deleted", "GET", target(made))


def apps(to):
    to.call("CreateApp", "success", "POST", "/apps", app(Config={"InstanceCount": {"Default": 1, "Overwritable": False, "Description": ""}}))
    to.call("CreateApp", "success: another", "POST", "/apps", app(Name="other"))
    to.call("CreateApp", "wrong state", "POST", "/apps", app())
    for name, body in (("Name", app(Name="a b")), ("CommandLine", app(CommandLine="")), ("Type", app(InputParameters={"x": {"Type": "Poem"}})), ("not JSON", "{")):
        to.call("CreateApp", f"bad member: {name}", "POST", "/apps", body)
    target = "/apps/{}".format
    for operation, suffix in (("GetApp", ""), ("GetAppDetail", "?Detail=True&Qualifier"), ("GetAppRevisions", "?Revisions=True")):
        to.call(operation, "success", "GET", target("copy") + suffix)
        thrice(to, operation, "GET", lambda name, suffix=suffix: target(name) + suffix, ("none", "copy"))
    to.call("GetAppDetail", "not found: revision", "GET", target("copy") + "?Detail=True&Qualifier=7")
    to.call("ListApps", "success", "GET", "/apps?Scope=Private")
    to.call("ListApps", "success: public", "GET", "/apps?Scope=Public")
    to.call("ListApps", "other account", "GET", "/apps", account="two")
    pages(to, "ListApps", "/apps", 2)
    to.call("ModifyApp", "success", "PUT", target("copy"), app(Description="changed"))
    to.call("ModifyApp", "bad member", "PUT", target("copy"), app(Name="third"))
    to.call("ModifyApp", "not found", "PUT", target("none"), app(Name="none"))
    to.call("ModifyApp", "other account", "PUT", target("copy"), app(), "two")
    to.call("GetAppRevisions", "success: two", "GET", target("copy") + "?Revisions=True")
    call = {"Name": "call", "Type": "App", "App": {"AppName": "copy", "Inputs": {}, "Config": {}}}
    to.call("CreateJobSync", "success", "POST", "/jobs?sync", call)
    to.call("CreateJobSync", "not found", "POST", "/jobs?sync", {**call, "App": {"AppName": "none", "Inputs": {}}})
    to.call("CreateJobSync", "bad member", "POST", "/jobs?sync", {**call, "App": {"AppName": "copy", "Inputs": {"strange": "x"}}})
    to.call("DeleteApp", "not found", "DELETE", target("none"))
    to.call("DeleteApp", "other account", "DELETE", target("copy"), account="two")
    to.call("GetApp", "success: still there", "GET", target("copy"))
    to.call("DeleteApp", "success: a revision", "DELETE", target("copy") + "?Qualifier=0")
    to.call("DeleteApp", "success", "DELETE", target("copy"))
    to.call("GetApp", "not found: deleted", "GET", target("copy"))
