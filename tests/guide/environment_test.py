"""环境变量: environment variables."""

import here
from here import a_task, bcs, finished, job_in, run, said

SYSTEM = {
    "BATCH_COMPUTE_DAG_JOB_ID", "BATCH_COMPUTE_DAG_TASK_ID", "BATCH_COMPUTE_DAG_INSTANCE_ID", "BATCH_COMPUTE_OSS_HOST",
    "BATCH_COMPUTE_REGION", "BATCH_COMPUTE_CLUSTER_ID", "BATCH_COMPUTE_WORKER_ID",
}


def variables(text):
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def test_system_variables():
    """A program finds job, task, instance, object-store host, region, cluster and machine in variables of the system."""
    job = run({"my-task": a_task("env", "env/", InstanceCount=2)})
    for number in range(2):
        found = variables(said(job, "my-task", number))
        assert SYSTEM <= set(found), SYSTEM - set(found)
        assert found["BATCH_COMPUTE_DAG_JOB_ID"] == job
        assert found["BATCH_COMPUTE_DAG_TASK_ID"] == "my-task"
        assert found["BATCH_COMPUTE_DAG_INSTANCE_ID"] == str(number)
        assert found["BATCH_COMPUTE_REGION"] == here.NAME
        assert found["BATCH_COMPUTE_CLUSTER_ID"].startswith("cls-")
        assert found["BATCH_COMPUTE_WORKER_ID"].startswith("i-")


def test_variables_of_a_task_by_the_sdk():
    """Variables set in `EnvVars` of a task's command are there for its programs."""
    task = a_task("env", "env/")
    task["Parameters"]["Command"]["EnvVars"] = {"k1": "v1", "k2": "v2"}
    found = variables(said(run({"my-task": task}), "my-task"))
    assert (found["k1"], found["k2"]) == ("v1", "v2")


def test_variables_of_a_task_by_the_command_line():
    """`bcs sub -e` sets variables of its own, several separated by commas."""
    job = job_in(bcs("sub", "env", "envs", "-e", "k1:v1,k2:v2"))
    finished(job)
    task = here.sdk().list_tasks(job, "", 10).Items[0].TaskName
    found = variables(said(job, task))
    assert (found["k1"], found["k2"]) == ("v1", "v2")
