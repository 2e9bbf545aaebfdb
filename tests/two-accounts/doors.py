"""Keys at the doors: the operator's commands, limited keys, temporary keys, what is switched off."""

import json

from account import Account, Key
from region import Refused


def refused(expected, action):
    """The action is refused with this status and code."""
    try:
        action()
    except Refused as error:
        assert (error.status, error.code) == expected, error
        return
    raise AssertionError(f"not refused with {expected}")


def oss_answer(answer):
    status, _, body = answer
    text = body.decode(errors="replace")
    return status, text.split("<Code>")[1].split("</Code>")[0] if "<Code>" in text else ""


def tests(operator, first, second):
    for test in (
        accounts_are_listed,
        the_secret_of_a_key_is_shown_once,
        bad_commands_say_why,
        a_key_limited_to_operations,
        a_key_limited_to_places,
        a_temporary_key,
        a_temporary_key_with_a_policy,
        a_token_that_is_not_right,
        a_disabled_key_and_account,
        an_account_with_things_is_not_deleted,
        keys_live_through_a_restart,
    ):
        yield test.__name__.replace("_", " "), lambda test=test: test(operator, first, second)


def accounts_are_listed(operator, first, second):
    listed = {item["Name"]: item for item in operator.run("account", "list")["Items"]}
    assert {"root", "alpha", "omega"} <= set(listed), listed
    assert all(item["State"] == "Active" for item in listed.values()), listed
    shown = operator.run("account", "show", str(first.number))
    assert (shown["Name"], shown["Jobs"], shown["Clusters"], shown["Buckets"]) == ("alpha", 2, 1, [first.bucket]), shown


def the_secret_of_a_key_is_shown_once(operator, first, second):
    listed = operator.run("key", "list", "--account", "alpha")
    assert [item["AccessKeyId"] for item in listed["Items"]] == [first.key.id], listed
    assert first.key.secret not in json.dumps(listed)
    with open(f"{operator.region.directory}/serve.log") as log:
        assert first.key.secret not in log.read()


def bad_commands_say_why(operator, first, second):
    for words, reason in (
        (("account", "create", "alpha"), "exists already"),
        (("account", "create", "12"), "InvalidName"),
        (("account", "show", "nobody"), "is not found"),
        (("account", "delete", "alpha"), "disable it first"),
        (("account", "disable", "root"), "always active"),
        (("key", "create", "nobody"), "is not found"),
        (("key", "create", "alpha", "--action", "GetEverything"), "no operation of the API"),
        (("key", "delete", "GMNONE"), "is not found"),
        (("credentials", "--account", "alpha", "--seconds", "10"), "must be in [900, 43200]"),
    ):
        said = operator.run(*words, fails=True)
        assert reason in said, (words, said)


def a_key_limited_to_operations(operator, first, second):
    key = operator.key("alpha", "--action", "Get*", "--action", "ListJobs")
    assert first.call("GET", f"/jobs/{first.running}", key=key)["State"] == "Running"
    assert len(first.call("GET", "/jobs", key=key)["Items"]) == 2
    for method, target in (("POST", f"/jobs/{first.running}/stop"), ("GET", "/clusters"), ("POST", "/jobs"), ("POST", "/sts/credentials")):
        refused((403, "Forbidden"), lambda: first.call(method, target, {}, key))
    # Not allowed is said before anything is looked up: nothing can be learnt from it.
    refused((403, "Forbidden"), lambda: first.call("DELETE", "/jobs/none", key=key))
    assert oss_answer(first.oss("GET", first.bucket, f"{first.mark}/object", key=key)) == (403, "AccessDenied")
    operator.run("key", "delete", key.id)
    refused((404, "InvalidAccessKeyId.NotFound"), lambda: first.call("GET", "/jobs", key=key))


def a_key_limited_to_places(operator, first, second):
    place = f"oss://{first.bucket}/{first.mark}/"
    key = operator.key("alpha", "--action", "oss:get", "--action", "oss:list", "--action", "CreateJob", "--place", place)
    at = lambda *words, **more: oss_answer(first.oss(*words, key=key, **more))
    assert at("GET", first.bucket, f"{first.mark}/object") == (200, "")
    assert at("GET", first.bucket, query=f"?prefix={first.mark}/") == (200, "")
    for answer in (
        at("GET", first.bucket, "logs/x"),
        at("GET", first.bucket),
        at("PUT", first.bucket, f"{first.mark}/object", data=b"x"),
        at("DELETE", first.bucket, f"{first.mark}/object"),
        at("GET", first.bucket, query="?bucketInfo"),
        at("PUT", "new-bucket-of-a-limited-key"),
        at("GET", ""),
    ):
        assert answer == (403, "AccessDenied"), answer
    task = {"ClusterId": first.cluster, "Parameters": {"Command": {"CommandLine": "true"}}}
    task["OutputMapping"] = {"/home/out/": f"oss://{first.bucket}/out/"}
    job = {"Name": "beyond", "Type": "DAG", "DAG": {"Tasks": {"only": task}}}
    refused((403, "Forbidden"), lambda: first.call("POST", "/jobs", job, key))
    operator.run("key", "delete", key.id)


def temporary(made):
    made = made["Credentials"] if "Credentials" in made else made
    return Key(made["AccessKeyId"], made["AccessKeySecret"], made["SecurityToken"])


def a_temporary_key(operator, first, second):
    own = temporary(first.call("POST", "/sts/credentials", {"DurationSeconds": 900}))
    by_operator = temporary(operator.run("credentials", "--account", "alpha"))
    for key in (own, by_operator):
        assert len(first.call("GET", "/jobs", key=key)["Items"]) == 2
        assert oss_answer(first.oss("GET", first.bucket, f"{first.mark}/object", key=key)) == (200, "")
        refused((403, "Forbidden"), lambda: first.call("POST", "/sts/credentials", key=key))
        refused((403, "Forbidden"), lambda: first.call("GET", "/admin/accounts", key=key))
        refused((404, "InvalidResource.NotFound"), lambda: first.call("GET", f"/jobs/{second.running}", key=key))


def a_temporary_key_with_a_policy(operator, first, second):
    policy = {"Actions": ["ListJobs", "oss:get"], "Places": [f"oss://{first.bucket}/{first.mark}/"]}
    key = temporary(first.call("POST", "/sts/credentials", {"Policy": policy}))
    assert len(first.call("GET", "/jobs", key=key)["Items"]) == 2
    refused((403, "Forbidden"), lambda: first.call("GET", "/clusters", key=key))
    assert oss_answer(first.oss("GET", first.bucket, f"{first.mark}/object", key=key)) == (200, "")
    assert oss_answer(first.oss("GET", first.bucket, "logs/x", key=key)) == (403, "AccessDenied")


def a_token_that_is_not_right(operator, first, second):
    key = temporary(first.call("POST", "/sts/credentials"))
    other = temporary(second.call("POST", "/sts/credentials"))
    at_oss = lambda wrong: oss_answer(first.oss("GET", first.bucket, f"{first.mark}/object", key=wrong))
    for token, code, oss in (
        (None, "InvalidSecurityToken.Mismatch", "InvalidAccessKeyId"),
        (other.token, "InvalidSecurityToken.Mismatch", "InvalidSecurityToken"),
        (key.token[:-1] + "x", "InvalidSecurityToken.Mismatch", "InvalidSecurityToken"),
    ):
        wrong = Key(key.id, key.secret, token)
        refused((400, code), lambda: first.call("GET", "/jobs", key=wrong))
        assert at_oss(wrong) == (403, oss), (token, at_oss(wrong))


def a_disabled_key_and_account(operator, first, second):
    operator.run("account", "create", "brief")
    lasting, doomed = operator.key("brief"), operator.key("brief")
    brief = Account(operator.region, "brief", 0, lasting)
    derived = temporary(brief.call("POST", "/sts/credentials", key=doomed))
    operator.run("key", "disable", doomed.id)
    inactive = (403, "InvalidAccessKeyId.Inactive")
    for key in (doomed, derived):
        refused(inactive, lambda: brief.call("GET", "/jobs", key=key))
        assert oss_answer(brief.oss("GET", "", key=key))[1] == "InvalidAccessKeyId"
    assert brief.call("GET", "/jobs")["Items"] == []
    operator.run("key", "enable", doomed.id)
    assert brief.call("GET", "/jobs", key=derived)["Items"] == []
    operator.run("account", "disable", "brief")
    for key in (lasting, doomed, derived):
        refused(inactive, lambda: brief.call("GET", "/jobs", key=key))
        assert oss_answer(brief.oss("GET", "", key=key)) == (403, "UserDisable")
    operator.run("account", "delete", "brief")
    refused((404, "InvalidAccessKeyId.NotFound"), lambda: brief.call("GET", "/jobs"))
    operator.run("account", "show", "brief", fails=True)


def an_account_with_things_is_not_deleted(operator, first, second):
    operator.run("account", "disable", "omega")
    try:
        said = operator.run("account", "delete", "omega", fails=True)
        assert "still has 2 jobs, 1 clusters and 1 buckets" in said, said
    finally:
        operator.run("account", "enable", "omega")
    assert len(second.call("GET", "/jobs")["Items"]) == 2


def keys_live_through_a_restart(operator, first, second):
    key = temporary(first.call("POST", "/sts/credentials"))
    operator.region.kill()
    operator.region.start()
    for one in (first.key, key):
        assert len(first.call("GET", "/jobs", key=one)["Items"]) == 2
