"""任务类型 and 作业类型: parallel tasks, graphs of tasks, and the three ways to a cluster."""

import here
from here import BUCKET, TYPE, a_cluster, a_job, a_task, bucket, finished, gone, run, running_machines, said, sdk, wait_for


def test_instances_share_the_work_by_their_number():
    """`InstanceCount` runs one program several times; the variable with the instance's number tells which part is whose."""
    for number, text in enumerate(("INFO WARN", "INFO INFO", "ERROR")):
        bucket().put_object(f"parts/{number}.txt", text.encode())
    task = a_task("bash -c 'grep -o INFO /home/in/$BATCH_COMPUTE_DAG_INSTANCE_ID.txt | wc -l'", "parts-logs/",
                  InstanceCount=3, InputMapping={f"oss://{BUCKET}/parts/": "/home/in/"})
    job = run({"count": task})
    assert [int(said(job, "count", number)) for number in range(3)] == [1, 2, 0]


def test_a_graph_runs_in_its_order():
    """Split runs first, then both counts side by side, then merge; the job ends when merge ends."""
    from batchcompute.resources import DAG, AutoCluster, JobDescription, TaskDescription
    job_desc, graph = JobDescription(), DAG()
    for name in ("split", "count1", "count2", "merge"):
        task = TaskDescription()
        task.Parameters.Command.CommandLine = "date +%s.%N"
        task.Parameters.StdoutRedirectPath = task.Parameters.StderrRedirectPath = f"oss://{BUCKET}/graph/"
        task.AutoCluster = AutoCluster()
        task.AutoCluster.InstanceType, task.AutoCluster.ImageId = TYPE, "img-ubuntu"
        graph.add_task(task_name=name, task=task)
    graph.Dependencies = {"split": ["count1", "count2"], "count1": ["merge"], "count2": ["merge"]}
    job_desc.Name, job_desc.Priority, job_desc.DAG = "graph", 1, graph
    job = sdk().create_job(job_desc).Id
    finished(job)
    at = {name: float(said(job, name)) for name in ("split", "count1", "count2", "merge")}
    assert at["split"] < min(at["count1"], at["count2"]), at
    assert max(at["count1"], at["count2"]) < at["merge"], at


def test_a_job_on_a_fixed_cluster():
    """Many jobs go to one cluster that was made before; it takes them one after the other and is released by hand."""
    client = sdk()
    cluster = client.create_cluster(a_cluster({"group": {"DesiredVMCount": 1}})).Id
    jobs = []
    for number in range(4):
        task = a_task("bash -c 'echo $BATCH_COMPUTE_CLUSTER_ID'", "fixed/")
        del task["AutoCluster"]
        task["ClusterId"] = cluster
        jobs.append(client.create_job(a_job({"cluster": task}, Name=f"fixed-{number}")).Id)
    for job in jobs:
        finished(job)
        assert said(job, "cluster").strip() == cluster
    assert client.get_cluster(cluster).State == "Active"
    client.delete_cluster(cluster)
    wait_for("the end of the cluster", lambda: gone(lambda: client.get_cluster(cluster)))


def test_a_job_on_an_automatic_cluster():
    """An automatic cluster is made when the task starts and released when it has ended."""
    job = run({"auto_cluster": a_task("bash -c 'echo $BATCH_COMPUTE_CLUSTER_ID'", "auto/")})
    cluster = said(job, "auto_cluster").strip()
    assert cluster.startswith("cls-")
    wait_for("the end of the automatic cluster", lambda: gone(lambda: sdk().get_cluster(cluster)))


def test_a_job_attached_to_a_cluster():
    """A job names an existing cluster inside `AutoCluster`: the cluster, which had no machine, asks for those the job needs, releases them when they have nothing to do, and stays."""
    client = sdk()
    cluster = client.create_cluster(a_cluster({"group": {"DesiredVMCount": 0}})).Id
    task = a_task("bash -c 'echo $BATCH_COMPUTE_CLUSTER_ID; sleep 1'", "attach/", InstanceCount=2)
    task["AutoCluster"] = {"ClusterId": cluster, "ImageId": "img-ubuntu", "InstanceType": TYPE}
    job = client.create_job(a_job({"attach_cluster": task})).Id
    grown = wait_for("machines for the job", lambda: client.get_cluster(cluster).Groups.get("attached-1"))
    assert grown.DesiredVMCount == 2 and grown.InstanceType == TYPE, grown
    finished(job)
    assert {said(job, "attach_cluster", number).strip() for number in range(2)} == {cluster}
    wait_for("the release of its machines", lambda: list(client.get_cluster(cluster).Groups) == ["group"])
    left = client.get_cluster(cluster)
    assert left.State == "Active" and left.Groups["group"].DesiredVMCount == 0, left
    client.delete_cluster(cluster)
    wait_for("the end of the cluster", lambda: gone(lambda: client.get_cluster(cluster)))