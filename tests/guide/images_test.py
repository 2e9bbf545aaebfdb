"""集群镜像: images of one's own, from the guide's steps 3.2 to 3.5.

Where the guide buys a server, installs software on it and takes a snapshot, the operator imports a directory
with the software. What follows, registering and using it, is the guide's.
"""

import json
import os
import shutil
import subprocess
import tempfile

import here
from here import KEY, SECRET, TYPE, Skipped, a_cluster, a_job, a_task, bcs, finished, gone, job_in, running_machines, said, sdk, wait_for

SOFTWARE = "#!/bin/sh\necho my-software 1.0\n"


def admin(*words):
    region = here.region
    where = ["--endpoint", f"http://127.0.0.1:{region.api}", "--data-dir", region.data, "--json"]
    environment = dict(os.environ, GRISTMILL_ROOT_ACCESS_KEY_ID=KEY, GRISTMILL_ROOT_ACCESS_KEY_SECRET=SECRET, LANG="C.UTF-8")
    command = [region.program, "admin", *words[:2], *where, *words[2:]]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    return done.returncode, done.stdout, done.stderr


def imported(image="m-software"):
    """Imports a root with a shell and the software, once."""
    busybox = shutil.which("busybox")
    if not busybox or subprocess.run(["ldd", busybox], capture_output=True).returncode == 0:
        raise Skipped("no busybox without libraries")
    if admin("image", "show", image)[0] == 0:
        return image
    with tempfile.TemporaryDirectory() as top:
        os.makedirs(os.path.join(top, "bin"))
        shutil.copy(busybox, os.path.join(top, "bin/busybox"))
        for name in ("sh", "cat", "echo"):
            os.symlink("busybox", os.path.join(top, "bin", name))
        with open(os.path.join(top, "bin/my-software"), "w") as file:
            file.write(SOFTWARE)
        os.chmod(file.name, 0o755)
        status, _, error = admin("image", "import", image, top)
        assert status == 0, error
    return image


def registered(name, image="m-software"):
    from batchcompute.resources import ImageDescription
    description = ImageDescription()
    description.Name, description.Platform, description.EcsImageId, description.Description = name, "Linux", imported(image), "own"
    return sdk().create_image(description).Id


def listed(kind=""):
    return sdk().list_images("", 100, kind).Items


def test_the_base_images():
    """The service has images of its own that can be used as they are; they are listed by their type."""
    found = {image.Id: image.Type for image in listed("System")}
    assert found["img-ubuntu"] == "System" and found["img-centos"] == "System", found


def test_validating_an_image():
    """Before it is registered, an image is tried: whether what was installed runs, and whether the image is whole."""
    image = imported()
    status, out, error = admin("image", "check", image, "--", "my-software")
    assert status == 0 and json.loads(out)["Fault"] == "", (out, error)
    assert "my-software 1.0" in error, error
    status, _, error = admin("image", "check", image, "--", "not-installed")
    assert status != 0 and "127" in error, error
    assert admin("image", "check", image)[0] == 0


def test_registering_an_image():
    """An image m-... is registered and has an id img-... then; it is listed as the account's own, and deleted."""
    image = registered("register")
    assert image.startswith("img-"), image
    own = {one.Id: one for one in listed()}
    assert own[image].Type == "Self" and own[image].EcsImageId == "m-software", own
    assert image not in {one.Id for one in listed("System")}
    assert sdk().get_image(image).Platform == "Linux"
    sdk().delete_image(image)
    assert gone(lambda: sdk().get_image(image))


def test_a_job_from_a_registered_image():
    """A job names a registered image, and its machines have what was installed in it."""
    image = registered("job")
    task = a_task("my-software", "images/job/")
    task["AutoCluster"] = {"InstanceType": TYPE, "ImageId": image}
    job = sdk().create_job(a_job({"only": task})).Id
    finished(job)
    assert said(job, "only") == "my-software 1.0\n"
    task = a_task("my-software", "images/ecs/")
    task["AutoCluster"] = {"InstanceType": TYPE, "ECSImageId": "m-software"}
    job = sdk().create_job(a_job({"only": task})).Id
    finished(job)
    assert said(job, "only") == "my-software 1.0\n"
    sdk().delete_image(image)


def test_a_cluster_from_a_registered_image():
    """A cluster names a registered image for all its machines or for a group."""
    image = registered("cluster")
    groups = {"own": {"DesiredVMCount": 1, "ImageId": image}, "base": {"DesiredVMCount": 1}}
    cluster = sdk().create_cluster(a_cluster(groups)).Id
    running_machines(cluster, 2)
    sdk().delete_cluster(cluster)
    cluster = sdk().create_cluster(a_cluster({"own": {"DesiredVMCount": 1}}, ImageId=image)).Id
    running_machines(cluster, 1)
    task = a_task("my-software", "images/cluster/", ClusterId=cluster)
    del task["AutoCluster"]
    job = sdk().create_job(a_job({"only": task})).Id
    finished(job)
    assert said(job, "only") == "my-software 1.0\n"
    sdk().delete_cluster(cluster)
    sdk().delete_image(image)


def test_an_image_by_the_command_line():
    """`bcs` submits a job to machines of an own image."""
    image = registered("bcs")
    text = bcs("sub", "my-software", "bcs-image", "-i", image, "-t", TYPE)
    job = job_in(text)
    finished(job)
    [task] = [task.TaskName for task in sdk().list_tasks(job, "", 10).Items]
    assert said(job, task) == "my-software 1.0\n"
    sdk().delete_image(image)


def test_an_image_that_was_not_imported():
    """Only base images and registered ones made from them can be used: a machine of one that was never made says so."""
    from batchcompute.resources import ImageDescription
    description = ImageDescription()
    description.Name, description.Platform, description.EcsImageId = "nobody", "Linux", "m-nobody-made-it"
    image = sdk().create_image(description).Id
    task = a_task("my-software", "images/never/")
    task["AutoCluster"] = {"InstanceType": TYPE, "ImageId": image}
    job = sdk().create_job(a_job({"only": task})).Id
    wait_for("the reason", lambda: "was not imported" in sdk().get_job(job).Message, 60)
    sdk().stop_job(job)
    sdk().delete_image(image)
