"""提交作业: submitting jobs, and what a command line is."""

import os
import tempfile

import here
from here import BUCKET, a_task, bcs, bucket, finished, job_in, package, run, said, sdk

PROGRAM = "print('hello test')\n"


def test_by_command_line_with_a_package():
    """`bcs sub -p` packs a program as worker.tar.gz, uploads it and submits the job that runs it."""
    with tempfile.TemporaryDirectory() as directory:
        with open(os.path.join(directory, "test.py"), "w") as file:
            file.write(PROGRAM)
        job = job_in(bcs("sub", "python3 test.py", "-p", "./test.py", cwd=directory))
    finished(job)
    task = sdk().list_tasks(job, "", 10).Items[0].TaskName
    assert said(job, task) == "hello test\n"


def test_by_the_sdk_with_a_package():
    """A worker.tar.gz in the store, named in `PackagePath`, is the working directory of the command."""
    bucket().put_object_from_file("test/worker.tar.gz", package({"test.py": PROGRAM}))
    task = a_task("python3 test.py", "test/", Timeout=21600)
    task["Parameters"]["Command"]["PackagePath"] = f"oss://{BUCKET}/test/worker.tar.gz"
    assert said(run({"test": task}), "test") == "hello test\n"


def test_a_command_line_is_not_a_shell():
    """A command line is a program with arguments: what a shell would replace stays as it is."""
    assert said(run({"plain": a_task("echo $HOME && ls", "plain/")}), "plain") == "$HOME && ls\n"


def test_a_shell_in_a_command_line():
    """A shell that is named as the program gets its whole script as one argument."""
    job = run({"shell": a_task("/bin/bash -c 'cd /usr/bin && echo $PWD'", "shell/")})
    assert said(job, "shell") == "/usr/bin\n"


def test_a_script_in_a_package():
    """A script of shell commands runs as `sh test.sh`."""
    bucket().put_object_from_file("script/worker.tar.gz", package({"test.sh": "echo one && echo two\n"}))
    task = a_task("sh test.sh", "script/")
    task["Parameters"]["Command"]["PackagePath"] = f"oss://{BUCKET}/script/worker.tar.gz"
    assert said(run({"test": task}), "test") == "one\ntwo\n"


def test_a_job_is_seen_to_its_end_with_the_command_line():
    """`bcs j` lists jobs with their states, `bcs log` shows what they printed."""
    job = job_in(bcs("sub", "echo 123", "seen"))
    finished(job)
    assert "Finished" in bcs("j", job)
    assert job in bcs("j")
    assert "123" in bcs("log", job)
