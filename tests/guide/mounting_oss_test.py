"""挂载OSS: prefixes and objects of the object store as files."""

import here
from here import BUCKET, SECOND, a_task, bcs, bucket, finished, job_in, run, said

SHELL = "bash -c '{}'"


def sh(text, prefix, **members):
    return a_task(SHELL.format(text), prefix, **members)


def test_a_data_directory_by_the_sdk():
    """`InputMapping` shows a prefix as a directory; what is written below an `OutputMapping` is uploaded when the task ends."""
    bucket().put_object("dirs/in/data.txt", b"grain\n")
    task = sh("cat /home/admin/mydir/data.txt; mkdir -p /home/admin/out/sub; tr a-z A-Z < /home/admin/mydir/data.txt > /home/admin/out/sub/flour.txt", "dirs/",
              InputMapping={f"oss://{BUCKET}/dirs/in/": "/home/admin/mydir/"}, OutputMapping={"/home/admin/out/": f"oss://{BUCKET}/dirs/out/"})
    assert said(run({"my-task": task}), "my-task") == "grain\n"
    assert bucket().get_object("dirs/out/sub/flour.txt").read() == b"GRAIN\n"


def test_a_data_directory_by_the_command_line():
    """`bcs sub -r` mounts a prefix."""
    bucket().put_object("cli-dirs/word", b"by the command line")
    job = job_in(bcs("sub", "cat /home/admin/mydir/word", "mounted", "-r", f"oss://{BUCKET}/cli-dirs/:/home/admin/mydir/"))
    finished(job)
    task = here.sdk().list_tasks(job, "", 10).Items[0].TaskName
    assert said(job, task) == "by the command line"


def test_an_input_mapping_never_changes_the_store():
    """Whatever a program does below a mount for reading, no object changes or goes; it sees its own changes, and the next run sees the objects again."""
    store = bucket()
    store.put_object("ro/keep.txt", b"kept\n")
    store.put_object("ro/drop.txt", b"dropped\n")
    mapping = {f"oss://{BUCKET}/ro/": "/home/admin/mydir/"}
    change = "cd /home/admin/mydir && echo mine > keep.txt; echo new > new.txt; rm -f drop.txt; cat keep.txt new.txt; ls"
    job = run({"change": sh(change, "ro-logs/", InputMapping=mapping), "again": sh("cd /home/admin/mydir; cat *", "ro-logs/", InputMapping=mapping)}, {"change": ["again"]})
    assert said(job, "change").split() == ["mine", "new", "keep.txt", "new.txt"]
    assert said(job, "again") == "dropped\nkept\n"
    assert store.get_object("ro/keep.txt").read() == b"kept\n"
    assert not store.object_exists("ro/new.txt") and store.object_exists("ro/drop.txt")


def test_objects_are_readable_and_executable():
    """What lies in the store has permission to read and to execute, and none to write."""
    bucket().put_object("bin/hello.sh", b"#!/bin/sh\necho hello from the store\n")
    task = sh("stat -c %A /home/admin/bin/hello.sh; /home/admin/bin/hello.sh", "bin-logs/", InputMapping={f"oss://{BUCKET}/bin/": "/home/admin/bin/"})
    mode, words = said(run({"my-task": task}), "my-task").splitlines()
    assert words == "hello from the store"
    assert mode[1] == "r" and mode[3] == "x" and "w" not in mode, mode


def test_a_directory_of_programs():
    """A program that lies in the store is mounted with its directory and named in the command line."""
    bucket().put_object("myprograms/main.py", b"print('ground')\n")
    task = a_task("python3 /home/admin/myprograms/main.py", "programs/", InputMapping={f"oss://{BUCKET}/myprograms/": "/home/admin/myprograms/"})
    assert said(run({"my-task": task}), "my-task") == "ground\n"


def test_files_of_two_buckets_in_one_directory():
    """Single objects of several buckets appear in one directory, and single files go back to several buckets."""
    bucket().put_object("data/file1", b"one\n")
    bucket(SECOND).put_object("data/file2", b"two\n")
    task = sh("cat /home/data/file1 /home/data/file2; mkdir -p /home/output; cp /home/data/file1 /home/output/output1; cp /home/data/file2 /home/output/output2", "files/")
    task["InputMapping"] = {f"oss://{BUCKET}/data/file1": "/home/data/file1", f"oss://{SECOND}/data/file2": "/home/data/file2"}
    task["OutputMapping"] = {"/home/output/output1": f"oss://{BUCKET}/output/file1", "/home/output/output2": f"oss://{SECOND}/output/file2"}
    assert said(run({"my-task": task}), "my-task") == "one\ntwo\n"
    assert bucket().get_object("output/file1").read() == b"one\n"
    assert bucket(SECOND).get_object("output/file2").read() == b"two\n"


def test_the_same_mapping_cannot_be_both():
    """`InputMapping` and `OutputMapping` must not be the same pair."""
    task = sh("true", "both/", InputMapping={f"oss://{BUCKET}/both/": "/home/admin/both/"}, OutputMapping={"/home/admin/both/": f"oss://{BUCKET}/both/"})
    try:
        here.sdk().create_job(here.a_job({"my-task": task}))
    except Exception as error:
        assert "Mapping" in str(error), error
        return
    raise AssertionError("the same pair was taken for input and output")


def test_names_in_the_character_set_of_the_program():
    """With `Locale` GBK a program sees names in GBK; in the store they are UTF-8."""
    bucket().put_object("names/谷物.txt", b"millet\n")
    task = a_task("python3 -c \"import os; print(os.listdir(b'/home/admin/names'))\"", "names-logs/", InputMapping={f"oss://{BUCKET}/names/": "/home/admin/names/"})
    task["Parameters"]["InputMappingConfig"] = {"Locale": "GBK", "Lock": False}
    assert repr("谷物.txt".encode("gbk")) in said(run({"my-task": task}), "my-task")
