"""APP管理: apps, and the jobs made from them."""

import here
from here import BUCKET, TYPE, bcs, bucket, finished, job_in, sdk, wait_for

COMMAND = "/bin/bash -c 'cp -r ${inputparam1} ${output} && echo ${inputparam2} && echo $env1'"


def setting(default, overwritable=True):
    return {"Description": "", "Default": default, "Overwritable": overwritable}


def an_app(name, command=COMMAND, **members):
    """The guide's sample of an app."""
    app = {
        "Name": name, "Daemonize": False, "VM": {"ECSImageId": "img-ubuntu-vpc"}, "CommandLine": command,
        "InputParameters": {
            "inputparam1": {"Description": "", "Type": "String", "Default": "", "LocalPath": "/home/input/"},
            "inputparam2": {"Description": "", "Type": "String", "Default": "", "LocalPath": ""},
        },
        "OutputParameters": {"output": {"Description": "", "Type": "String", "LocalPath": "/home/output/"}},
        "Config": {
            "ResourceType": setting("OnDemand"), "InstanceType": setting("ecs.c5.large"), "InstanceCount": setting(1),
            "MinDiskSize": setting(40), "DiskType": setting("cloud_efficiency"), "MaxRetryCount": setting(0),
            "Timeout": setting(86400),
        },
        "EnvVars": {"env1": "abcd"},
    }
    app.update(members)
    return app


def a_call(app, prefix, inputs=None, outputs=None, **config):
    """The guide's sample of a job of type App; its logs go to `prefix`."""
    from batchcompute.resources import AppJobDescription
    job = AppJobDescription()
    job.Name, job.Type, job.Description = "App_demo_test_job", "App", "Test of create app job."
    job.App.AppName = app
    job.App.Inputs = inputs or {}
    job.App.Outputs = outputs or {}
    job.App.Logging.StdoutPath = f"oss://{BUCKET}/{prefix}log/"
    job.App.Logging.StderrPath = f"oss://{BUCKET}/{prefix}error/"
    for member, value in config.items():
        setattr(job.App.Config, member, value)
    return job


def made(app):
    """Makes the app anew and returns its name."""
    client = sdk()
    client.delete_app(app["Name"])
    return client.create_app(app).Name


def said(job):
    return here.said(job, "task")


def refused(ask, word):
    try:
        ask()
    except Exception as error:
        assert word in str(error), error
        return str(error)
    raise AssertionError(f"{word} was to be refused")


def test_the_sample_app_copies_its_input_to_its_output():
    """The sample: an app for a VM image copies `inputparam1`, seen at its local path, to `output`, whose local path is uploaded, and prints its second parameter and its variable."""
    bucket().put_object("bc_test/input/grain.txt", b"grain\n")
    name = made(an_app("DemoApp_vm"))
    assert name == "DemoApp_vm"
    inputs = {"inputparam1": f"oss://{BUCKET}/bc_test/input/", "inputparam2": "abcd1234"}
    call = a_call(name, "bc_test/", inputs, {"output": f"oss://{BUCKET}/bc_test/output/"}, InstanceType="ecs.sn2.medium")
    job = sdk().create_job(call).Id
    finished(job)
    assert said(job) == "abcd1234\nabcd\n"
    assert bucket().get_object("bc_test/output/input/grain.txt").read() == b"grain\n"
    client = sdk()
    assert client.get_instance(job, "task", 0).Outputs == {"output": f"oss://{BUCKET}/bc_test/output/"}
    described = client.get_job_description(job)
    assert described.App.Config.InstanceType == "ecs.sn2.medium"
    assert described.App.Config.InstanceCount == 1
    assert described.App.Inputs["inputparam2"] == "abcd1234"


def test_an_app_is_a_template_of_resources():
    """A caller gives inputs and outputs only; image, type and number of machines come from the app."""
    name = made(an_app("Template", "echo ${inputparam2} $$", Config={"InstanceCount": setting(2), "InstanceType": setting(TYPE)}))
    job = sdk().create_job(a_call(name, "template/", {"inputparam2": "x"})).Id
    finished(job)
    assert [here.said(job, "task", number) for number in range(2)] == ["x $$\n"] * 2


def test_a_docker_app_is_recorded():
    """An app may run in a container, described by an image and a registry path in the object store; it is kept and shown, and a call says that containers come later."""
    app = an_app("DemoApp_Docker", Docker={"Image": "localhost:5000/dockerimagename", "RegistryOSSPath": f"oss://{BUCKET}/dockers/"})
    del app["VM"]
    name = made(app)
    assert sdk().get_app_detail(name).Docker.Image == "localhost:5000/dockerimagename"
    assert "localhost:5000/dockerimagename" in bcs("a", name, "0")
    said = refused(lambda: sdk().create_job(a_call(name, "docker/")), "Docker")
    assert "container" in said, said


def test_required_members_of_an_app():
    """Name, command line and one kind of image are mandatory."""
    for gone in ("CommandLine", "VM"):
        app = an_app("Lacking")
        app[gone] = {} if gone == "VM" else " "
        refused(lambda: sdk().create_app(app), gone)
    both = an_app("Both", Docker={"Image": "localhost:5000/x"})
    refused(lambda: sdk().create_app(both), "InvalidVM")


def test_settings_that_may_be_overridden_and_settings_that_may_not():
    """A setting of `Config` is a default; a job gives another value only where the app says `Overwritable`."""
    config = {"InstanceCount": setting(1, False), "MaxRetryCount": setting(0), "Timeout": setting(600)}
    name = made(an_app("Settings", "true", Config=config))
    refused(lambda: sdk().create_job(a_call(name, "settings/", InstanceCount=2)), "InvalidConfig")
    job = sdk().create_job(a_call(name, "settings/", Timeout=1200, InstanceType=TYPE)).Id
    finished(job)
    assert sdk().get_job_description(job).App.Config.Timeout == 1200


def test_a_job_without_settings_runs_on_a_cluster_of_its_own():
    """Without other wishes the job gets an automatic cluster, which goes when the job has ended."""
    name = made(an_app("Own", "true", Config={"InstanceType": setting(TYPE)}))
    before = {cluster.Id for cluster in sdk().list_clusters("", 100).Items}
    finished(sdk().create_job(a_call(name, "own/")).Id)
    wait_for("the end of the cluster", lambda: {cluster.Id for cluster in sdk().list_clusters("", 100).Items} <= before)


def test_parameters_are_texts_or_numbers():
    """A parameter is a String or a Number; a value of the wrong type, one that the app does not have, or a mandatory one that is missing is refused."""
    parameters = {"n": {"Type": "Number", "Default": 3}, "must": {"Type": "String"}}
    name = made(an_app("Typed", "echo ${n} ${must}", InputParameters=parameters, OutputParameters={}, Config={"InstanceType": setting(TYPE)}))
    for inputs in ({}, {"must": 7}, {"must": "x", "n": "many"}, {"must": "x", "other": "y"}):
        refused(lambda: sdk().create_job(a_call(name, "typed/", inputs)), "InvalidInputs")
    job = sdk().create_job(a_call(name, "typed/", {"must": "two words"})).Id
    finished(job)
    assert said(job) == "3 two words\n"


def test_parameters_in_the_command_line_and_in_the_environment():
    """`${name}` in the command line and the variable of that name hold the value, or the local path of a parameter that has one."""
    bucket().put_object("params/in/a.txt", b"a")
    show = "/bin/sh -c 'echo ${inputparam1} ${inputparam2}; printenv inputparam1 inputparam2 output env1; ls ${inputparam1}'"
    name = made(an_app("Params", show, Config={"InstanceType": setting(TYPE)}))
    inputs = {"inputparam1": f"oss://{BUCKET}/params/in/", "inputparam2": "value"}
    job = sdk().create_job(a_call(name, "params/", inputs)).Id
    finished(job)
    assert said(job).split() == ["/home/input/", "value", "/home/input/", "value", "/home/output/", "abcd", "a.txt"]


def test_a_value_stays_in_its_word():
    """Whatever a value holds, it is one argument where the command line has one."""
    name = made(an_app("Word", "printf '%s|' ${inputparam2} \"${inputparam2}\" end", Config={"InstanceType": setting(TYPE)}))
    evil = "a 'b\" $(id) ; \\x"
    job = sdk().create_job(a_call(name, "word/", {"inputparam2": evil})).Id
    finished(job)
    assert said(job) == f"{evil}|{evil}|end|", said(job)


def test_the_cluster_of_a_failed_job_may_be_kept():
    """`ReserveOnFail` keeps the environment of a job that failed, for somebody to look at it."""
    name = made(an_app("Reserve", "false", Config={"InstanceType": setting(TYPE)}))
    before = {cluster.Id for cluster in sdk().list_clusters("", 100).Items}
    job = sdk().create_job(a_call(name, "reserve/", ReserveOnFail=True)).Id
    assert here.end_of(job).State == "Failed"
    instance = sdk().get_instance(job, "task", 0)
    assert instance.Error.Code == "NonZeroExit", instance
    kept = {cluster.Id for cluster in sdk().list_clusters("", 100).Items} - before
    assert len(kept) == 1, kept
    for cluster in kept:
        sdk().delete_cluster(cluster)


def test_the_owner_changes_and_deletes_an_app():
    """A private app can be changed and deleted by its owner; each change is a revision, and jobs use the newest."""
    name = made(an_app("Changing", "echo one", Config={"InstanceType": setting(TYPE)}))
    client = sdk()
    client.modify_app(name, an_app("Changing", "echo two", Config={"InstanceType": setting(TYPE)}))
    assert [it.Revision for it in client.get_app_revisions(name)] == [0, 1]
    job = client.create_job(a_call(name, "changing/")).Id
    finished(job)
    assert said(job) == "two\n"
    client.delete_app(name)
    refused(lambda: client.get_app(name), "NotFound")
    refused(lambda: client.create_job(a_call(name, "changing/")), "NotFound")


def test_a_caller_may_wait_for_the_result():
    """A synchronous call answers with the outputs when its job has ended."""
    name = made(an_app("Waiting", "/bin/sh -c 'echo done > ${output}r.txt'", Config={"InstanceType": setting(TYPE)}))
    where = f"oss://{BUCKET}/waiting/out/"
    answer = sdk().create_job(a_call(name, "waiting/", {}, {"output": where}), sync=True)
    assert (answer.Outputs, answer.Error.Code) == ({"output": where}, ""), answer
    assert bucket().get_object("waiting/out/r.txt").read() == b"done\n"
    fails = made(an_app("Failing", "/bin/sh -c 'exit 3'", Config={"InstanceType": setting(TYPE)}))
    answer = sdk().create_job(a_call(fails, "waiting/"), sync=True)
    assert (answer.Error.Code, answer.Outputs) == ("NonZeroExit", {}), answer
    assert "3" in answer.Error.Message, answer


def test_apps_by_the_command_line():
    """`bcs` makes, shows, changes, calls and deletes an app."""
    bcs("da", "cli-app", "-y")
    created = bcs("ca", "cli-app", "echo ${word} ${n}", "-i", "img-ubuntu-vpc", "-t", f"{TYPE}:true", "--inputs", "word:String,n:String:::7")
    assert "App created: cli-app" in created, created
    assert "cli-app" in bcs("a")
    shown = bcs("a", "cli-app")
    assert "word" in shown and "Revisions" in shown, shown
    assert "echo ${word} ${n}" in bcs("a", "cli-app", "0")
    assert "done" in bcs("ua", "cli-app", "echo again ${word} ${n}", "-y")
    job = job_in(bcs("asub", "cli-app", "cli-call", "--input_word", "grain", "-t", TYPE))
    finished(job)
    assert said(job) == "again grain 7\n"
    assert "AppName" in bcs("j", job, "task")
    assert "done" in bcs("da", "cli-app", "-y")
    refused(lambda: sdk().get_app("cli-app"), "NotFound")
