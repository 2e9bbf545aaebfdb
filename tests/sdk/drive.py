"""Runs inside the namespaces: regions of ours, the SDK's own tests, and its constants for regions."""

import os
import sys
import tempfile
import time
import traceback
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.join(os.path.dirname(HERE), "support"), HERE]
import official
import python3
from region import KEY, SECRET, Region

BINARIES, SOURCES = sys.argv[1:]
# The region of the SDK's tests, and another that must not be mixed up with it.
REGION, OTHER = "cn-qingdao", "cn-beijing"
ADDRESS = {REGION: "127.0.0.1", OTHER: "127.0.0.2"}
NAME = "batchcompute.{}.aliyuncs.com"

# Tests that follow a job to its end. The others look at jobs and machines that do not move: as in
# the vendor's set-up, their clusters have a Windows image, which no provider of ours starts.
TO_THE_END = {"testFinishJob", "testAutoCluster", "testConfigs"}

# Tests that cannot pass, each with the reason. One that passes all the same is a failure: strike it.
CANNOT = {}

SLEEP = time.sleep


def sleep_briefly(seconds):
    """The tests wait for times, after which they look for states. Ours are there sooner."""
    SLEEP(min(seconds, 0.2))


def write_settings(windows_image):
    """The file that the vendor's configuration module reads."""
    os.makedirs("/home/admin", exist_ok=True)
    with open("/home/admin/.pythonsdk.ini", "w") as file:
        file.write(f"""[service]
bcs_access_id = {KEY}
bcs_access_key = {SECRET}
endpoint = {NAME.format(REGION)}
region = {REGION}
[oss]
host = oss-{REGION}.aliyuncs.com
bucket = gristmill
[image]
linux = img-ubuntu
windows = {windows_image}
""")


class Outcome(unittest.TestResult):
    """Counts, with the tests that cannot pass taken into account."""

    passed = 0

    def addSuccess(self, test):
        name = test.id().split(".")[-1]
        if name in CANNOT:
            print(f"FAILED  {name} passes; strike it from the list of those that cannot ({CANNOT[name]})")
            self.failures.append((test, ""))
        else:
            self.passed += 1
            print(f"ok      {name}")

    def note(self, test, error):
        name = test.id().split(".")[-1]
        if name in CANNOT:
            print(f"cannot  {name}: {CANNOT[name]}")
            self.skipped.append((test, CANNOT[name]))
        else:
            print(f"FAILED  {name}\n{self._exc_info_to_string(error, test)}")
            self.failures.append((test, ""))

    addFailure = addError = note


def run_the_sdks_tests(directory):
    """All of `test_client.py`; returns what came of them."""
    python3.convert(os.path.join(SOURCES, "tests", "client"), directory)
    sys.path.insert(0, directory)
    os.chdir(directory)  # where the SDK writes its log
    write_settings("img-windows")
    import test_client

    outcome, loader = Outcome(), unittest.TestLoader()
    names = set(loader.getTestCaseNames(test_client.TestClient))
    unknown = (TO_THE_END | set(CANNOT)) - names
    assert not unknown, f"the SDK has no such tests: {unknown}"
    time.sleep = sleep_briefly
    for name in sorted(names):
        test_client.cfg.WINDOWS_IMAGE_ID = "img-ubuntu" if name in TO_THE_END else "img-windows"
        test_client.TestClient(name).run(outcome)
    time.sleep = SLEEP
    return outcome


def constants():
    """The SDK's constants for regions: the names in capitals that hold host names."""
    import batchcompute
    return {name: host for name, host in vars(batchcompute).items() if name.isupper() and str(host).startswith("batchcompute.")}


def every_constant_leads_to_a_region(_regions):
    from batchcompute import Client
    found = constants()
    assert len(found) >= 13, found
    for name, host in found.items():
        listed = Client(host, KEY, SECRET).list_clusters("", 1)
        assert listed.NextMarker is not None, name


def two_regions_are_two_worlds(_regions):
    from batchcompute import CN_BEIJING, CN_QINGDAO, Client
    from batchcompute.resources import ClusterDescription, GroupDescription
    cluster, group = ClusterDescription(), GroupDescription()
    group.DesiredVMCount, group.InstanceType = 0, "ecs.sn1.medium"
    cluster.Name, cluster.ImageId = "only-here", "img-ubuntu"
    cluster.add_group("g", group)
    here, there = Client(CN_QINGDAO, KEY, SECRET), Client(CN_BEIJING, KEY, SECRET)
    made = here.create_cluster(cluster)
    assert made.Id in here.easy_list("clusters")
    assert made.Id not in there.easy_list("clusters")
    here.delete_cluster(made.Id)


def start_regions(directory):
    regions = []
    for name, address in ADDRESS.items():
        home = os.path.join(directory, name)
        os.mkdir(home)
        front = {"GRISTMILL_REGION": name, "GRISTMILL_FRONT_LISTEN": f"{address}:80", "GRISTMILL_FRONT_TLS_LISTEN": f"{address}:443"}
        regions.append(Region(BINARIES, home, front))
        regions[-1].start()
    return regions


def main():
    with tempfile.TemporaryDirectory() as directory:
        official.sh("mount", "-t", "tmpfs", "tmpfs", "/home")
        names = [constant for constant in constants().values() if constant != NAME.format(OTHER)]
        official.prepare_network(directory, {ADDRESS[REGION]: ["localhost", *names], ADDRESS[OTHER]: [NAME.format(OTHER)]})
        regions = start_regions(directory)
        passed = failed = skipped = 0
        try:
            official.trust(directory, NAME.format(REGION))
            for check in (every_constant_leads_to_a_region, two_regions_are_two_worlds):
                try:
                    check(regions)
                    passed += 1
                    print(f"ok      {check.__name__}")
                except Exception:
                    failed += 1
                    print(f"FAILED  {check.__name__}")
                    traceback.print_exc()
            outcome = run_the_sdks_tests(directory)
            passed, failed, skipped = passed + outcome.passed, failed + len(outcome.failures), len(outcome.skipped)
        finally:
            os.chdir("/")
            failed += sum(region.stop() != 0 for region in regions)
            if failed:
                print("--- the region said ---", regions[0].log_tail(), sep="\n")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
