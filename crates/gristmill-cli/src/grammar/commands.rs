//! The commands, by what they are about.

use super::{
    Opt, Words, flag, opt,
    options::{APP, APP_JOB, CLUSTER, PBS_FLAGS, PBS_VALUES, SETTINGS, SUBMIT},
};
use crate::words::{Text, help as h};
use clap::{Arg, ArgAction, Command};

impl Words<'_> {
    pub(super) fn settings_commands(self) -> Vec<Command> {
        let login = [
            ("region!", h::A_REGION),
            ("id", h::A_ACCESS_KEY_ID),
            ("secret", h::A_ACCESS_KEY_SECRET),
        ];
        let urls = [
            opt(' ', "endpoint", "URL", h::O_ENDPOINT),
            opt(' ', "oss_endpoint", "URL", h::O_OSS_ENDPOINT),
            opt('o', "osspath", "PATH", h::O_SET_OSSPATH),
        ];
        let settings = self.command("config", &["me", "set"], h::C_CONFIG, &[], &[]);
        vec![
            self.command("login", &[], h::C_LOGIN, &login, &urls),
            self.command("logout", &[], h::C_LOGOUT, &[], &[]),
            settings.args(SETTINGS.iter().map(|(option, _)| self.option(option))),
        ]
    }

    pub(super) fn job_commands(self) -> Vec<Command> {
        let place = [("job", h::A_JOB), ("task", h::A_TASK), ("instance", h::A_INSTANCE)];
        let listing = [
            opt('t', "top", "N", h::O_TOP),
            flag('a', "all", h::O_ALL),
            opt('s', "state", "STATES", h::O_STATE),
            opt('i', "id", "TEXT", h::O_ID),
            opt('n', "name", "TEXT", h::O_NAME),
            flag('d', "description", h::O_DESCRIPTION),
            flag('w', "watch", h::O_WATCH),
            flag(' ', "show_json", h::O_SHOW_JSON_READ),
        ];
        let logs = [("job!", h::A_JOB), ("task", h::A_TASK), ("instance", h::A_INSTANCE)];
        let log = [
            opt('d', "dir_path", "DIR", h::O_LOG_DIR),
            flag('o', "stdout", h::O_LOG_STDOUT),
            flag('e', "stderr", h::O_LOG_STDERR),
            flag('m', "log_mapping", h::O_LOG_MAPPED),
            flag('f', "follow", h::O_FOLLOW),
        ];
        let submit = self.command(
            "submit",
            &["sub"],
            h::C_SUBMIT,
            &[("cmd", h::A_CMD), ("job_name", h::A_JOB_NAME)],
            SUBMIT,
        );
        let more = [
            opt(' ', "file", "FILE", h::O_JOB_CFG),
            flag(' ', "show_json", h::O_SHOW_JSON),
            flag(' ', "show_dag", h::O_SHOW_DAG),
            flag(' ', "watch", h::O_WATCH),
        ];
        vec![
            submit.args(more.iter().map(|option| self.option(option))),
            self.command(
                "create_job",
                &["cj"],
                h::C_CREATE_JOB,
                &[("json", h::A_JSON)],
                &[opt('f', "filePath", "FILE", h::O_FILE)],
            ),
            self.command("job", &["j"], h::C_JOB, &place, &listing),
            self.command("check", &["ch"], h::C_CHECK, &[("job!", h::A_JOB)], &[]),
            self.command("log", &["l"], h::C_LOG, &logs, &log),
        ]
    }

    pub(super) fn job_changes(self) -> Vec<Command> {
        let jobs = [("jobs!", h::A_JOBS)];
        let yes = || flag('y', "yes", h::O_YES);
        let priority =
            Opt { long: "priority", short: Some('p'), value: Some("N"), help: h::O_PRIORITY };
        let update =
            self.command("update_job", &["uj"], h::C_UPDATE, &[("job!", h::A_JOB)], &[yes()]);
        vec![
            self.command("stop_job", &["sj"], h::C_STOP, &jobs, &[yes()]),
            self.command("restart_job", &["rj"], h::C_RESTART, &jobs, &[yes()]),
            self.command("delete_job", &["dj"], h::C_DELETE, &jobs, &[yes()]),
            update.arg(self.option(&priority).required(true)),
        ]
    }

    pub(super) fn cluster_commands(self) -> Vec<Command> {
        let place = [("cluster", h::A_CLUSTER), ("group", h::A_GROUP), ("machine", h::A_MACHINE)];
        let show = [
            flag('l', "log", h::O_CLUSTER_LOG),
            flag('b', "bootstrap_log", h::O_BOOTSTRAP_LOG),
            flag('d', "description", h::O_SHOW_JSON_READ),
            flag(' ', "show_json", h::O_SHOW_JSON_READ),
        ];
        let update = [
            opt('n', "nodes", "N", h::O_MACHINES),
            opt('t', "type", "TYPE", h::O_TYPE),
            opt('i', "image", "IMAGE", h::O_IMAGE),
            opt('m', "mount", "MOUNTS", h::O_MOUNT),
            opt('u', "user_data", "PAIRS", h::O_USER_DATA),
            opt('e', "env", "PAIRS", h::O_ENV),
            opt(' ', "spot_price_limit", "PRICE", h::O_SPOT_PRICE_LIMIT),
            flag('y', "yes", h::O_YES),
            flag(' ', "show_json", h::O_SHOW_JSON),
        ];
        vec![
            self.command("cluster", &["c"], h::C_CLUSTER, &place, &show),
            self.command(
                "create_cluster",
                &["cc"],
                h::C_CREATE_CLUSTER,
                &[("name!", h::A_CLUSTER_NAME)],
                CLUSTER,
            ),
            self.command(
                "delete_cluster",
                &["dc"],
                h::C_DELETE_CLUSTER,
                &[("clusters!", h::A_CLUSTERS)],
                &[flag('y', "yes", h::O_YES)],
            ),
            self.machine_change("recreate_cluster_instance", &["rci"], h::C_RECREATE_MACHINE),
            self.machine_change("delete_cluster_instance", &["dci"], h::C_DELETE_MACHINE),
            self.ssh(),
            self.command(
                "update_cluster",
                &["uc"],
                h::C_UPDATE_CLUSTER,
                &[("cluster!", h::A_CLUSTER), ("group", h::A_GROUP)],
                &update,
            ),
        ]
    }

    fn machine_change(
        self,
        name: &'static str,
        aliases: &'static [&'static str],
        about: Text,
    ) -> Command {
        let place =
            [("cluster!", h::A_CLUSTER), ("group!", h::A_GROUP), ("machines!", h::A_MACHINES)];
        self.command(name, aliases, about, &place, &[flag('y', "yes", h::O_YES)])
    }

    fn ssh(self) -> Command {
        let place =
            [("cluster!", h::A_CLUSTER), ("group!", h::A_GROUP), ("machine!", h::A_MACHINE)];
        let terminal = [flag('t', "terminal", h::O_TERMINAL)];
        let command = Arg::new("command")
            .value_name("command")
            .last(true)
            .num_args(1..)
            .help(h::A_REMOTE_COMMAND.plain(self.language))
            .help_heading(h::ARGUMENTS.plain(self.language));
        self.command("ssh", &[], h::C_SSH, &place, &terminal).arg(command)
    }

    pub(super) fn app_commands(self) -> Vec<Command> {
        let yes = || flag('y', "yes", h::O_YES);
        let show = [
            flag('d', "description", h::O_SHOW_JSON_READ),
            flag(' ', "show_json", h::O_SHOW_JSON_READ),
        ];
        let place = [("app", h::A_APP), ("revision", h::A_REVISION)];
        let update = [("app!", h::A_APP), ("cmd", h::A_CMD)];
        let delete = [("apps!", h::A_APPS), ("revision", h::A_REVISION)];
        let parameter =
            Arg::new("parameter").long("parameter").hide(true).action(ArgAction::Append);
        let asub = [("app!", h::A_APP), ("job_name", h::A_JOB_NAME)];
        vec![
            self.command("app", &["a"], h::C_APP, &place, &show),
            self.command(
                "create_app",
                &["ca"],
                h::C_CREATE_APP,
                &[("app!", h::A_APP), ("cmd!", h::A_CMD)],
                APP,
            ),
            self.command("update_app", &["ua"], h::C_UPDATE_APP, &update, APP)
                .arg(self.option(&yes())),
            self.command("delete_app", &["da"], h::C_DELETE_APP, &delete, &[yes()]),
            self.command("asub", &[], h::C_ASUB, &asub, APP_JOB)
                .arg(parameter)
                .after_help(h::ASUB_AFTER.plain(self.language)),
        ]
    }

    pub(super) fn resource_commands(self) -> Vec<Command> {
        vec![
            self.command(
                "image",
                &["img", "i"],
                h::C_IMAGE,
                &[("image", h::A_IMAGE)],
                &[
                    flag('d', "description", h::O_SHOW_JSON_READ),
                    flag(' ', "show_json", h::O_SHOW_JSON_READ),
                ],
            ),
            self.command(
                "create_image",
                &["ci"],
                h::C_CREATE_IMAGE,
                &[("name!", h::A_IMAGE_NAME), ("ecsImageId!", h::A_ECS_IMAGE)],
                &[
                    opt('p', "platform", "NAME", h::O_PLATFORM),
                    opt('d', "description", "TEXT", h::O_IMAGE_DESCRIPTION),
                    flag(' ', "show_json", h::O_SHOW_JSON),
                ],
            ),
            self.command(
                "delete_image",
                &["di"],
                h::C_DELETE_IMAGE,
                &[("images!", h::A_IMAGES)],
                &[flag('y', "yes", h::O_YES)],
            ),
            self.command("instance_type", &["it", "t"], h::C_INSTANCE_TYPE, &[], &[]),
            self.command("resource_type", &["rt", "r"], h::C_RESOURCE_TYPE, &[], &[]),
            self.command("disk_type", &["d"], h::C_DISK_TYPE, &[], &[]),
            self.command("event", &["e"], h::C_EVENT, &[], &[]),
        ]
    }

    /// `gen` and `project`.
    pub(super) fn projects(self) -> Vec<Command> {
        let kind = opt('t', "type", "TYPE", h::O_TEMPLATE);
        let job = opt('j', "job", "JOB", h::O_FROM_JOB);
        let place = [("name!", h::A_PROJECT), ("location", h::A_LOCATION)];
        let change = [
            opt('c', "cluster", "CLUSTER", h::O_CLUSTER),
            opt(' ', "docker", "IMAGE", h::O_DOCKER),
        ];
        let look = [opt('t', "task", "TASK", h::A_TASK), flag('d', "dag_only", h::O_DAG_ONLY)];
        let project = self
            .command("project", &["p"], h::C_PROJECT, &[], &[])
            .subcommand_required(true)
            .subcommand_help_heading(h::COMMANDS.plain(self.language))
            .subcommand(self.command(
                "create",
                &[],
                h::C_PROJECT_CREATE,
                &place,
                &[opt('t', "type", "TYPE", h::O_TEMPLATE), job],
            ))
            .subcommand(self.command("build", &[], h::C_PROJECT_BUILD, &[], &[]))
            .subcommand(self.command(
                "update",
                &[],
                h::C_PROJECT_UPDATE,
                &[("task", h::A_TASK)],
                &change,
            ))
            .subcommand(self.command("status", &["st"], h::C_PROJECT_STATUS, &[], &look))
            .subcommand(self.command("submit", &[], h::C_PROJECT_SUBMIT, &[], &[]));
        let gen_ = self.command("gen", &[], h::C_GEN, &[("location", h::A_LOCATION)], &[]);
        vec![gen_.arg(self.option(&kind).required(true)), project]
    }

    /// Commands in the manner of PBS.
    pub(super) fn batch_system(self) -> Vec<Command> {
        let submit = [
            opt('d', "work_path", "PATH", h::O_WORK_PATH),
            opt('e', "stderr_path", "PATH", h::O_STDERR_PATH),
            opt('j', "join", "oe|eo|n", h::O_JOIN),
            opt('l', "resource_list", "RESOURCES", h::O_RESOURCE_LIST),
            opt('N', "job_name", "NAME", h::A_JOB_NAME),
            opt('o', "stdout_path", "PATH", h::O_STDOUT_PATH),
            flag('V', "env", h::O_ALL_VARIABLES),
            flag(' ', "show_json", h::O_SHOW_JSON),
            flag(' ', "show_opt", h::O_SHOW_OPT),
        ];
        let look = [
            opt('f', "for_job_id", "JOB", h::O_FOR_JOB),
            opt('j', "job_id", "JOB", h::O_FOR_JOB),
            flag('a', "all", h::O_ALL),
            flag('i', "waiting", h::O_WAITING),
            flag('r', "running", h::O_RUNNING),
            opt('u', "user_list", "USERS", h::O_USERS),
        ];
        let ignored = |name: &'static str, letter| {
            Arg::new(name).short(letter).hide(true).action(ArgAction::Append)
        };
        let ignored_flag = |name: &'static str, letter| {
            Arg::new(name).short(letter).hide(true).action(ArgAction::SetTrue)
        };
        // What other batch systems read and has no meaning here.
        let qsub = self
            .command("qsub", &[], h::C_QSUB, &[("script!", h::A_SCRIPT)], &submit)
            .args(PBS_VALUES.map(|(name, letter)| ignored(name, letter)))
            .args(PBS_FLAGS.map(|(name, letter)| ignored_flag(name, letter)));
        vec![
            qsub,
            self.command("qstat", &[], h::C_QSTAT, &[], &look),
            self.command("qdel", &[], h::C_QDEL, &[("job!", h::A_JOB_NUMBER)], &[]),
            self.command("qhost", &[], h::C_QHOST, &[], &[]),
        ]
    }

    pub(super) fn oss(self) -> Command {
        let path = [("path", h::A_OSS_PATH)];
        let listing = [opt('t', "top", "N", h::O_TOP), opt('n', "name", "TEXT", h::O_NAME)];
        let login = [
            ("region!", h::A_REGION),
            ("id!", h::A_ACCESS_KEY_ID),
            ("secret!", h::A_ACCESS_KEY_SECRET),
        ];
        self.command("oss", &["o"], h::C_OSS, &[], &[])
            .subcommand_help_heading(h::COMMANDS.plain(self.language))
            .subcommand(self.command("ls", &[], h::C_OSS_LS, &path, &listing))
            .subcommand(self.command(
                "cat",
                &[],
                h::C_OSS_CAT,
                &[("path!...", h::A_OSS_PATH)],
                &[opt('r', "byte_range", "RANGE", h::O_BYTE_RANGE)],
            ))
            .subcommand(self.command(
                "upload",
                &["up"],
                h::C_OSS_UPLOAD,
                &[("local!", h::A_LOCAL), ("path", h::A_OSS_PATH)],
                &[],
            ))
            .subcommand(self.command(
                "download",
                &["down"],
                h::C_OSS_DOWNLOAD,
                &[("path!", h::A_OSS_PATH), ("local", h::A_LOCAL)],
                &[],
            ))
            .subcommand(self.command(
                "delete",
                &["del", "rm"],
                h::C_OSS_RM,
                &[("path!", h::A_OSS_PATH)],
                &[flag('y', "yes", h::O_YES)],
            ))
            .subcommand(self.command("mb", &[], h::C_OSS_MB, &[("bucket!", h::A_BUCKET)], &[]))
            .subcommand(self.command(
                "copy",
                &["cp"],
                h::C_OSS_CP,
                &[("source!", h::A_OSS_SOURCE), ("target!", h::A_OSS_TARGET)],
                &[],
            ))
            .subcommand(self.command("pwd", &[], h::C_OSS_PWD, &[], &[]))
            .subcommand(self.command("login", &[], h::C_OSS_LOGIN, &login, &[]).hide(true))
            .subcommand(self.command("logout", &[], h::C_OSS_LOGOUT, &[], &[]).hide(true))
    }
}
