"""Runs inside the namespaces: a region, and the chapters of the guide one after the other."""

import importlib.util
import os
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
sys.dont_write_bytecode = True
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "support")]
import here
import official


def chapters(wanted):
    """The modules of the chapters, in the order of their names."""
    for name in sorted(os.listdir(HERE)):
        chapter = name.removesuffix("_test.py")
        if chapter != name and (not wanted or chapter in wanted):
            spec = importlib.util.spec_from_file_location(chapter, os.path.join(HERE, name))
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            yield chapter, module


def examples(module):
    return [(name, test) for name, test in vars(module).items() if name.startswith("test_")]


def run(chapter, name, test):
    """Whether the example works; `here.Skipped` says why it cannot be tried on this machine."""
    assert test.__doc__, f"{name} does not say what it proves"
    try:
        test()
        print(f"ok      {chapter}: {name}", flush=True)
        return "passed"
    except here.Skipped as reason:
        print(f"skipped {chapter}: {name}: {reason}")
        return "skipped"
    except BaseException:
        print(f"FAILED  {chapter}: {name}")
        traceback.print_exc()
        return "failed"


def main():
    counts = {"passed": 0, "failed": 0, "skipped": 0}
    with tempfile.TemporaryDirectory() as directory:
        official.prepare_network(directory, {"127.0.0.1": ["localhost", *here.HOSTS]})
        region = here.start(directory, sys.argv[1])
        try:
            for chapter, module in chapters(sys.argv[2:]):
                for name, test in examples(module):
                    counts[run(chapter, name, test)] += 1
        finally:
            counts["failed"] += region.stop() != 0
            if counts["failed"]:
                print("--- the region said ---", region.log_tail(), sep="\n")
    print(", ".join(f"{count} {name}" for name, count in counts.items()))
    return 1 if counts["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
