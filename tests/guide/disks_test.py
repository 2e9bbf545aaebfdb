"""挂载磁盘: data disks."""

from here import a_cluster, bcs, finished, gone, job_in, said, sdk, wait_for

LINE = "df --block-size=G --output=size /home/my-data-disk | tail -1; echo grain > /home/my-data-disk/word; cat /home/my-data-disk/word"


def with_disk(size, kind, point, system=None):
    """`Configs` with a data disk, built as the guide's sample does."""
    from batchcompute.resources import Configs
    configs = Configs()
    if system:
        configs.add_system_disk(*system)
    configs.add_data_disk(size, kind, point)
    return configs


def make(configs):
    return sdk().create_cluster(a_cluster({"group": {"DesiredVMCount": 0}}, Configs=configs)).Id


def delete(cluster):
    sdk().delete_cluster(cluster)
    wait_for("the end of the cluster", lambda: gone(lambda: sdk().get_cluster(cluster)))


def refused(configs, member):
    try:
        made = make(configs)
    except Exception as error:
        assert member in str(error), error
        return
    delete(made)
    raise AssertionError("it was taken")


def test_a_data_disk_by_the_sdk():
    """Size, type and mount point together describe a data disk."""
    cluster = make(with_disk(500, "cloud_efficiency", "/home/my-data-disk"))
    disk = sdk().get_cluster(cluster).Configs.Disks.DataDisk
    assert (disk.Size, disk.Type, disk.MountPoint) == (500, "cloud_efficiency", "/home/my-data-disk")
    delete(cluster)


def test_disks_by_the_command_line():
    """`--disk` takes a system disk by type and size, and a data disk with its mount point, which is used like a local directory."""
    job = job_in(bcs("sub", f"bash -c '{LINE}'", "--disk", "system:cloud_efficiency:40,data:cloud_efficiency:500:/home/my-data-disk"))
    finished(job)
    size, word = said(job, sdk().list_tasks(job, "", 10).Items[0].TaskName).split()
    assert 480 <= int(size.strip("G")) <= 500 and word == "grain", (size, word)


def test_the_types_are_the_same():
    """System disk and data disk must be of one type."""
    refused(with_disk(5, "cloud_ssd", "/home/my-data-disk", (40, "cloud_efficiency")), "DataDisk")
    delete(make(with_disk(5, "cloud_ssd", "/home/my-data-disk", (40, "cloud_ssd"))))


def test_a_mount_point_is_needed():
    """A data disk without a mount point is refused; on Windows the point is a drive."""
    refused(with_disk(5, "cloud_efficiency", ""), "MountPoint")
    delete(make(with_disk(5, "cloud_efficiency", "E:")))
