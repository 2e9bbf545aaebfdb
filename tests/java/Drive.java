import com.aliyuncs.batchcompute.main.v20151111.BatchComputeClient;
import com.aliyuncs.batchcompute.pojo.v20151111.AppDescription;
import com.aliyuncs.batchcompute.pojo.v20151111.AppJobDescription;
import com.aliyuncs.batchcompute.pojo.v20151111.AutoCluster;
import com.aliyuncs.batchcompute.pojo.v20151111.Cluster;
import com.aliyuncs.batchcompute.pojo.v20151111.ClusterDescription;
import com.aliyuncs.batchcompute.pojo.v20151111.ClusterInstance;
import com.aliyuncs.batchcompute.pojo.v20151111.Command;
import com.aliyuncs.batchcompute.pojo.v20151111.DAG;
import com.aliyuncs.batchcompute.pojo.v20151111.GroupDescription;
import com.aliyuncs.batchcompute.pojo.v20151111.Image;
import com.aliyuncs.batchcompute.pojo.v20151111.Job;
import com.aliyuncs.batchcompute.pojo.v20151111.JobDescription;
import com.aliyuncs.batchcompute.pojo.v20151111.Parameters;
import com.aliyuncs.batchcompute.pojo.v20151111.Quotas;
import com.aliyuncs.batchcompute.pojo.v20151111.TaskDescription;
import com.aliyuncs.exceptions.ClientException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;

/** Drives a region by the official Java SDK; one line of outcome for each test, `drive: done` at the end. */
public class Drive {
    static final long PATIENCE_MS = 90_000;
    static BatchComputeClient client;

    interface Test {
        void run() throws Exception;
    }

    public static void main(String[] words) {
        BatchComputeClient.addEndpoint("cn-local", words[0]);
        client = new BatchComputeClient("cn-local", words[1], words[2]);
        test("aJobWalksThroughItsStates", Drive::aJobWalksThroughItsStates);
        test("aJobOfTwoTasksRunsToItsEnd", Drive::aJobOfTwoTasksRunsToItsEnd);
        test("jobsAreListedInPages", Drive::jobsAreListedInPages);
        test("aClusterChangesItsSize", Drive::aClusterChangesItsSize);
        test("aSingleMachineIsDeletedAndRecreated", Drive::aSingleMachineIsDeletedAndRecreated);
        test("whatIsNotThereIsSaidSo", Drive::whatIsNotThereIsSaidSo);
        test("quotasAndSystemImagesAreNotEmpty", Drive::quotasAndSystemImagesAreNotEmpty);
        test("anAppIsKeptInRevisions", Drive::anAppIsKeptInRevisions);
        test("aJobOfAnAppRuns", Drive::aJobOfAnAppRuns);
        System.out.println("drive: done");
    }

    static void test(String name, Test test) {
        try {
            test.run();
            System.out.println("ok " + name);
        } catch (Throwable error) {
            error.printStackTrace(System.out);
            System.out.println("FAILED " + name);
        }
    }

    // --- jobs ------------------------------------------------------------------------------

    static void aJobWalksThroughItsStates() throws Exception {
        String job = client.createJob(job("states", task("sleep 600", 3))).getJobId();
        check(job.matches("job-[0-9A-F]{32}"), job);
        check(refusal(() -> client.deleteJob(job)).equals("StateConflict"), "a waiting job was deleted");
        equal(client.listInstances(job, "only", "", 2).getItems().size(), 2);
        client.stopJob(job);
        equal(client.getJob(job).getJob().getState(), "Stopped");
        client.changeJobPriority(job, 10);
        equal(client.getJobDescription(job).getJobDescription().getPriority(), 10);
        client.startJob(job);
        client.stopJob(job);
        client.deleteJob(job);
        equal(refusal(() -> client.getJob(job)), "InvalidResource.NotFound");
    }

    static void aJobOfTwoTasksRunsToItsEnd() throws Exception {
        JobDescription described = job("two", task("true", 2));
        described.getDag().addTask("after", task("true", 1));
        List<String> after = new ArrayList<>();
        after.add("after");
        described.getDag().addDependencies("only", after);
        String job = client.createJob(described).getJobId();
        Job ended = untilItEnds(job);
        equal(ended.getState(), "Finished");
        equal((long) ended.getInstanceMetrics().getFinishedCount(), 3L);
        equal(client.getTask(job, "only").getTask().getState(), "Finished");
        equal(client.getInstance(job, "only", 1).getInstance().getResult().getExitCode(), 0);
        client.deleteJob(job);
    }

    static void jobsAreListedInPages() throws Exception {
        List<String> made = new ArrayList<>();
        for (int number = 0; number < 5; number++) {
            made.add(client.createJob(job("page" + number, task("sleep 600", 1))).getJobId());
        }
        List<String> found = new ArrayList<>();
        String marker = "";
        do {
            var page = client.listJobs(marker, 2);
            check(page.getItems().size() <= 2, "a page is too long");
            page.getItems().forEach(job -> found.add(job.getId()));
            marker = page.getNextMarker();
        } while (!marker.isEmpty());
        equal(found.stream().filter(made::contains).collect(Collectors.toList()), made);
        for (String job : made) {
            client.stopJob(job);
            client.deleteJob(job);
        }
    }

    // --- clusters --------------------------------------------------------------------------

    static void aClusterChangesItsSize() throws Exception {
        String id = client.createCluster(cluster(1)).getClusterId();
        check(id.startsWith("cls-"), id);
        equal(size(id), 1);
        client.changeClusterDesiredVMCount(id, "workers", 2);
        equal(size(id), 2);
        List<ClusterInstance> machines = untilRunning(id, 2);
        ClusterInstance first = machines.get(0);
        equal(client.getClusterInstance(id, "workers", first.getId()).getClusterInstance().getCreationTime(), first.getCreationTime());
        check(client.listClusters("", 100).getItems().stream().map(Cluster::getId).anyMatch(id::equals), "the cluster is not listed");
        int status = client.deleteCluster(id).getStatusCode();
        check(status == 202, "deleting a cluster with machines was answered " + status);
        until("the end of the cluster", () -> refusal(() -> client.getCluster(id)).equals("InvalidResource.NotFound"));
    }

    static void aSingleMachineIsDeletedAndRecreated() throws Exception {
        String id = client.createCluster(cluster(2)).getClusterId();
        try {
            String old = untilRunning(id, 2).get(0).getId();
            client.recreateClusterInstance(id, "workers", old);
            check(!refusal(() -> client.deleteClusterInstance(id, "workers", old)).isEmpty(), "an old machine was deleted");
            until("a new machine in its place", () -> !client.listClusterInstances(id, "workers").getItems().get(0).getId().equals(old));
            String other = untilRunning(id, 2).get(0).getId();
            client.deleteClusterInstance(id, "workers", other);
            check(!refusal(() -> client.deleteClusterInstance(id, "workers", other)).isEmpty(), "a machine was deleted twice");
            equal(size(id), 1);
        } finally {
            client.deleteCluster(id);
        }
    }

    static int size(String id) throws ClientException {
        return client.getCluster(id).getCluster().getGroups().get("workers").getDesiredVMCount();
    }

    static List<ClusterInstance> untilRunning(String id, int count) throws Exception {
        List<ClusterInstance> running = new ArrayList<>();
        until(count + " running machines", () -> {
            running.clear();
            for (ClusterInstance machine : client.listClusterInstances(id, "workers").getItems()) {
                if (machine.getState().equals("Running")) {
                    running.add(machine);
                }
            }
            return running.size() == count;
        });
        return running;
    }

    // --- the rest --------------------------------------------------------------------------

    static void whatIsNotThereIsSaidSo() throws Exception {
        for (Callable<?> call : List.<Callable<?>>of(
                () -> client.getJob("job-00000000000000000000000000000000"),
                () -> client.getCluster("cls-nothere"),
                () -> client.listTasks("job-nothere"),
                () -> client.getImage("img-nothere"),
                () -> client.stopJob("job-nothere"))) {
            equal(refusal(call), "InvalidResource.NotFound");
        }
        equal(refusal(() -> client.createJob(job("bad name", task("true", 1)))), "InvalidName");
    }

    static void quotasAndSystemImagesAreNotEmpty() throws Exception {
        Quotas quotas = client.getQuotas().getQuotas();
        check(!quotas.getAvailableClusterInstanceType().isEmpty(), "no instance types");
        List<Image> images = client.listImages("System", "", 50).getItems();
        check(images.stream().anyMatch(image -> image.getId().equals("img-ubuntu")), "no img-ubuntu");
        check(images.stream().allMatch(image -> image.getType().equals("System")), "an image that is not of the system");
    }

    static void anAppIsKeptInRevisions() throws Exception {
        client.deleteApp("java-app"); // as the SDK's own tests do, whether it is there or not
        equal(client.createApp(app("java-app", "echo ${word}")).getAppName(), "java-app");
        equal(refusal(() -> client.createApp(app("java-app", "true"))), "InvalidResource.AlreadyExisting");
        client.updateApp(app("java-app", "echo again ${word}"));
        var revisions = client.getAppRevisions("java-app").getAppRevisions();
        equal(revisions.size(), 2);
        equal(revisions.get(1).getRevision(), 1);
        equal(client.getAppDetail("java-app", "0").getAppDetail().getName(), "java-app");
        check(client.listApps("Private").getItems().stream().anyMatch(app -> app.getName().equals("java-app")), "the App is not listed");
        client.deleteApp("java-app");
        equal(refusal(() -> client.getApp("java-app")), "InvalidResource.NotFound");
    }

    static void aJobOfAnAppRuns() throws Exception {
        client.createApp(app("java-run", "echo ${word}"));
        AppJobDescription run = new AppJobDescription();
        run.setAppName("java-run");
        run.addInputs("word", "hello");
        JobDescription described = new JobDescription();
        described.setName("of-an-app");
        described.setType("App");
        described.setApp(run);
        String job = client.createJob(described).getJobId();
        equal(untilItEnds(job).getState(), "Finished");
        equal(client.getJobDescription(job).getJobDescription().getApp().getAppName(), "java-run");
        client.deleteJob(job);
        client.deleteApp("java-run");
    }

    // --- builders --------------------------------------------------------------------------

    static TaskDescription task(String commandLine, int instances) {
        Command command = new Command();
        command.setCommandLine(commandLine);
        Parameters parameters = new Parameters();
        parameters.setCommand(command);
        AutoCluster cluster = new AutoCluster();
        cluster.setImageId("img-ubuntu");
        cluster.setInstanceType("ecs.sn1.medium");
        TaskDescription task = new TaskDescription();
        task.setParameters(parameters);
        task.setAutoCluster(cluster);
        task.setInstanceCount(instances);
        return task;
    }

    static JobDescription job(String name, TaskDescription task) {
        DAG dag = new DAG();
        dag.addTask("only", task);
        JobDescription job = new JobDescription();
        job.setName(name);
        job.setType("DAG");
        job.setDag(dag);
        return job;
    }

    static ClusterDescription cluster(int machines) {
        GroupDescription group = new GroupDescription();
        group.setDesiredVMCount(machines);
        group.setInstanceType("ecs.sn1.medium");
        ClusterDescription cluster = new ClusterDescription();
        cluster.setName("java-pool");
        cluster.setImageId("img-ubuntu");
        cluster.addGroup("workers", group);
        return cluster;
    }

    static AppDescription app(String name, String commandLine) {
        AppDescription.InputParameterValue word = new AppDescription.InputParameterValue();
        word.setType("String");
        AppDescription app = new AppDescription();
        app.setName(name);
        app.setCommandLine(commandLine);
        app.setVm(new AppDescription.VM("img-ubuntu"));
        app.addInputParameters("word", word);
        return app;
    }

    // --- helpers ---------------------------------------------------------------------------

    /** The error code that a call is refused with; empty when it is not refused. */
    static String refusal(Callable<?> call) throws Exception {
        try {
            call.call();
            return "";
        } catch (ClientException refused) {
            return refused.getErrCode();
        }
    }

    static Job untilItEnds(String id) throws Exception {
        until("the end of " + id, () -> List.of("Finished", "Failed", "Stopped").contains(client.getJob(id).getJob().getState()));
        Job job = client.getJob(id).getJob();
        System.out.println(id + " is " + job.getState() + " " + job.getMessage());
        return job;
    }

    static void until(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.currentTimeMillis() + PATIENCE_MS;
        while (!condition.call()) {
            check(System.currentTimeMillis() < deadline, what + " did not happen");
            Thread.sleep(100);
        }
    }

    static void check(boolean holds, String otherwise) {
        if (!holds) {
            throw new AssertionError(otherwise);
        }
    }

    static void equal(Object found, Object wanted) {
        check(found.equals(wanted), "found " + found + " instead of " + wanted);
    }
}
