"""What was promised and what was seen, and whether it fits.

A `History` is a list of facts that a client of the region collected; it is kept outside the region.
`complaints` looks at nothing else, so a test can plant a loss into a history and see that it is found.

Rules
- Every acknowledged job ends `Finished`, with every instance `Finished` and no retry used up: all that
  went wrong in a storm is infrastructure.
- A result is accepted once: what was seen of a finished instance (end, machine, output object) never changes.
- Output object and standard output of an instance are of one and the same run.
- A token makes one job. Nothing exists that was not asked for.
"""

import json


class History:
    """Facts in the order in which they were learnt; each a dict with `fact`."""

    def __init__(self, facts=()):
        self.facts = list(facts)

    def add(self, fact, **members):
        self.facts.append({"fact": fact, **members})

    def of(self, fact):
        return [each for each in self.facts if each["fact"] == fact]

    def save(self, path):
        with open(path, "w") as file:
            for each in self.facts:
                file.write(json.dumps(each) + "\n")


def complaints(history):
    """Everything that does not fit, as sentences; empty when all is well."""
    found = []
    promised = {}
    for fact in history.of("acknowledged"):
        job, token = fact["job"], fact["token"]
        if token in promised and promised[token]["job"] != job:
            found.append(f"token {token} made two jobs: {promised[token]['job']} and {job}")
        promised[token] = fact
    jobs = {fact["job"]: fact for fact in promised.values()}
    found += end_states(history, jobs)
    found += single_results(history)
    found += one_run_each(history, jobs)
    for fact in history.of("listed"):
        if fact["job"] not in jobs and fact["token"] not in promised:
            found.append(f"job {fact['job']} exists and nobody asked for it")
    return found


def end_states(history, jobs):
    """Every promised job and instance has a last sight, and it is `Finished`."""
    last = {fact["job"]: fact for fact in history.of("job")}
    instances = {(fact["job"], fact["task"], fact["number"]): fact for fact in history.of("instance")}
    for job, promise in jobs.items():
        state = last.get(job, {}).get("state", "never seen")
        if state != "Finished":
            yield f"job {job} is {state}: {last.get(job, {}).get('message', '')}"
        for task, count in promise["tasks"].items():
            for number in range(count):
                seen = instances.get((job, task, number))
                if seen is None:
                    yield f"instance {job}/{task}/{number} was never seen"
                elif (seen["state"], seen["retries"]) != ("Finished", 0):
                    yield f"instance {job}/{task}/{number} is {seen['state']} with {seen['retries']} retries: {seen['why']}"


def single_results(history):
    """What was once seen of a finished instance is what is seen ever after."""
    first = {}
    for fact in history.of("instance"):
        key = (fact["job"], fact["task"], fact["number"])
        before = first.get(key)
        if before is None:
            if fact["state"] == "Finished":
                first[key] = fact
            continue
        for member in ("state", "ended", "machine", "output"):
            if fact[member] != before[member]:
                yield f"instance {'/'.join(map(str, key))}: {member} was {before[member]!r} and is {fact[member]!r}"


def one_run_each(history, jobs):
    """Output and log of a finished instance name the instance and the same run."""
    for fact in history.of("instance"):
        if fact["state"] != "Finished" or fact["job"] not in jobs:
            continue
        name = f"{fact['job']} {fact['task']} {fact['number']}"
        if not fact["output"].startswith(name + " "):
            yield f"the output of {name} is {fact['output']!r}"
        elif fact["output"] != fact["log"]:
            yield f"output and log of {name} are of two runs: {fact['output']!r} and {fact['log']!r}"


# --- the checker's own test ---------------------------------------------------------------------


def a_good_history():
    history = History()
    for token, job in (("t0", "job-A"), ("t1", "job-B"), ("t1", "job-B")):
        history.add("acknowledged", token=token, job=job, tasks={"a": 2})
    for job in ("job-A", "job-B", "job-A"):
        history.add("listed", job=job, token="")
        history.add("job", job=job, state="Finished", message="")
        for number in range(2):
            output = f"{job} a {number} run-{job}-{number}"
            history.add("instance", job=job, task="a", number=number, state="Finished", retries=0, why="",
                        ended=f"end-{number}", machine="10.0.0.1", output=output, log=output)
    return history


def planted():
    """Histories with one thing wrong each, and a word of the complaint about it."""
    def without(history, **members):
        return History(f for f in history.facts if not all(f.get(k) == v for k, v in members.items()))

    def changed(history, which, **members):
        facts = [dict(fact) for fact in history.facts]
        matching = [fact for fact in facts if all(fact.get(k) == v for k, v in which.items())]
        matching[-1].update(members)
        return History(facts)

    good = a_good_history()
    instance = {"fact": "instance", "job": "job-A", "number": 1}
    yield without(good, fact="job", job="job-B"), "never seen"
    yield without(good, fact="instance", job="job-B", number=0), "never seen"
    yield changed(good, {"fact": "job", "job": "job-A"}, state="Running"), "is Running"
    yield changed(good, {"fact": "job", "job": "job-A"}, state="Failed", message="lost"), "is Failed: lost"
    yield changed(good, instance, state="Waiting"), "is Waiting"
    yield changed(good, instance, retries=1), "1 retries"
    yield changed(good, instance, ended="later"), "ended was"
    yield changed(good, instance, machine="10.0.0.2"), "machine was"
    other = "job-A a 1 run-other"
    yield changed(good, instance, output=other, log=other), "output was"
    yield changed(good, instance, log=other), "two runs"
    yield changed(good, instance, output="", log=""), "is ''"
    yield changed(good, {"fact": "acknowledged", "token": "t1"}, job="job-A"), "two jobs"
    stranger = History(good.facts)
    stranger.add("listed", job="job-C", token="")
    yield stranger, "nobody asked"


def test_the_checker():
    """A good history is good, and every planted loss is found."""
    assert complaints(a_good_history()) == [], complaints(a_good_history())
    count = 0
    for history, word in planted():
        found = complaints(history)
        assert any(word in each for each in found), (word, found)
        count += 1
    print(f"the checker found {count} of {count} planted losses")
