"""The processes of a region's machines, for tests that end them.

A process that was started but has not executed its program yet still has its parent's command line. In a sandbox that is
a user's program: whoever kills it harms a job, not a machine, and the job is right to fail.
"""

import os


def agents(region):
    """Agents, their spawners, and the first processes of sandboxes: their process ids, in order."""
    def is_one(process, words):
        return b"agent" in words and any(region.data.encode() in word for word in words) and not is_in_sandbox(process)
    return sorted(process for process, words in command_lines() if is_one(process, words))


def mounters(region):
    """Processes that serve inputs: children of agents."""
    parents = set(agents(region))
    return [process for process, words in command_lines() if b"mounter" in words and parent(process) in parents]


def send(process, number):
    """Whether the process was still there to get the signal."""
    try:
        os.kill(process, number)
    except ProcessLookupError:
        return False
    return True


def is_in_sandbox(process):
    """Whether it has a first process of a sandbox above it. One that has ended is nowhere."""
    try:
        with open(f"/proc/{process}/status") as file:
            numbers = next(line for line in file if line.startswith("NSpid:")).split()[1:]
    except OSError:
        return True
    return len(numbers) > 1 and numbers[-1] != "1"


def command_lines():
    """The words of each process."""
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/cmdline", "rb") as file:
                yield int(name), file.read().split(b"\0")
        except OSError:
            continue  # it has ended


def parent(process):
    try:
        with open(f"/proc/{process}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[1])
    except OSError:
        return 0  # it has ended
