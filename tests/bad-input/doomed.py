"""Tasks that are described well and cannot end well: each must fail with the code of its cause
and a message that names what is concerned. And tasks that are only unusual, which must run."""

from bench import a_task


def tasks(cluster):
    """Name, task, code, words of the message."""
    long_text = "x" * 200_000
    command = lambda line, **changes: a_task(cluster, Command__CommandLine=line, **changes)
    reading = lambda source, place="/home/in": command("true", InputMapping={source: place})
    nowhere = "oss://no-such-bucket/out/"
    yield "no_such_program", command("no-such-program --now"), "CommandError", "no-such-program"
    yield "no_such_path", command("/opt/none/run.sh"), "CommandError", "/opt/none/run.sh"
    yield "a_directory", command("/etc"), "CommandError", "/etc"
    yield "an_open_quote", command("sh -c 'exit 0"), "CommandError", "command line"
    yield "a_long_argument", command(f"echo {long_text}"), "CommandError", ""
    yield "a_long_variable", command("true", Command__EnvVars={"LONG": long_text}), "CommandError", ""
    yield "an_exit_code", command("sh -c 'exit 7'"), "NonZeroExit", "7"
    yield "a_signal", command("sh -c 'kill -9 $$'"), "Signalled", "9"
    yield "too_slow", command("sleep 1000", Timeout=1), "Timeout", "time-out"
    yield "no_such_input", reading("oss://standing/none"), "MountError", "oss://standing/none"
    yield "no_such_bucket", reading("oss://no-such-bucket/in/"), "MountError", "no-such-bucket"
    yield "input_over_a_file", reading("oss://standing/dir/", "/etc/passwd"), "MountError", "/etc/passwd"
    yield "input_below_a_file", reading("oss://standing/dir/", "/etc/passwd/in"), "MountError", "/etc/passwd/in"
    yield "input_over_a_directory", reading("oss://standing/dir/object", "/etc"), "MountError", "`/etc`"
    yield "input_over_all_programs", reading("oss://standing/dir/", "/usr"), "CommandError", "`true`"
    writing = command("sh -c 'echo x > /home/out/x'", OutputMapping={"/home/out/": nowhere})
    yield "output_to_no_bucket", writing, "UploadError", "no-such-bucket"
    stdout = command("echo x", Parameters__StdoutRedirectPath=nowhere)
    yield "stream_to_no_bucket", stdout, "UploadError", "no-such-bucket"


def unusual(cluster):
    """Tasks that are as large as they may be, and must run: name and task."""
    deep = "/".join(["d" * 200] * 3)
    outputs = {f"/out/{deep}/{n}": f"oss://standing/{deep}/{n}" for n in range(10_000)}
    entries = [{"Source": "oss://standing/dir/", "Destination": f"/in/{n}"} for n in range(200)]
    yield "outputs_of_12_mb", a_task(cluster, OutputMapping=outputs)
    yield "a_line_of_a_megabyte", a_task(cluster, Command__CommandLine="true" + 10 * (" " + "x" * 100_000))
    yield "variables_of_a_megabyte", a_task(cluster, Command__EnvVars={f"V{n}": "x" * 1000 for n in range(900)})
    yield "many_mounts", a_task(cluster, Mounts={"Entries": entries})


def complaint(instance, code, words):
    result = instance["Result"]
    if (instance["State"], result["ErrorCode"]) != ("Failed", code):
        return f"{instance['State']} {result} and not {code}"
    if words not in result["ErrorMessage"] or not result["ErrorMessage"]:
        return f"`{words}` is not in: {result['ErrorMessage']}"
    return None if len(result["ErrorMessage"]) < 2000 else "the message is too long"
