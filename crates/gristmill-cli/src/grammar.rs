//! The words of the command line: commands, aliases, options, in the user's language.
//!
//! Names, aliases and short letters are the official tool's (`reference/bcs-cli.md` 5-14), so that
//! scripts go on working. Options and arguments mix in any order; a value may begin with `-` and
//! hold `=`. An option nobody knows is an error here, not one more argument.
//!
//! Start at [`tree`]. [`SUBMIT`] is also the list of keys that a `job.cfg` may hold.

use crate::words::{Language, Text, help as h};
use clap::{Arg, ArgAction, Command};

/// An option with or without a value.
pub struct Opt {
    /// `--long`.
    pub long: &'static str,
    /// `-s`, or none.
    pub short: Option<char>,
    /// What its value is called; `None` for a flag.
    pub value: Option<&'static str>,
    /// Its help.
    pub help: Text,
}

const fn opt(short: char, long: &'static str, value: &'static str, help: Text) -> Opt {
    Opt { long, short: if short == ' ' { None } else { Some(short) }, value: Some(value), help }
}

const fn flag(short: char, long: &'static str, help: Text) -> Opt {
    Opt { long, short: if short == ' ' { None } else { Some(short) }, value: None, help }
}

/// The options of `sub` that describe a job.
pub const SUBMIT: &[Opt] = &[
    opt('n', "nodes", "N", h::O_NODES),
    opt('p', "pack", "PATHS", h::O_PACK),
    opt('e', "env", "PAIRS", h::O_ENV),
    opt('r', "read_mount", "MOUNTS", h::O_READ_MOUNT),
    opt('w', "write_mount", "PAIRS", h::O_WRITE_MOUNT),
    opt('m', "mount", "MOUNTS", h::O_MOUNT),
    opt('c', "cluster", "CLUSTER", h::O_CLUSTER),
    opt('i', "image", "IMAGE", h::O_IMAGE),
    opt('t', "type", "TYPE", h::O_TYPE),
    opt(' ', "timeout", "SECONDS", h::O_TIMEOUT),
    opt(' ', "retry", "N", h::O_RETRY),
    opt(' ', "priority", "N", h::O_PRIORITY),
    flag('f', "force", h::O_FORCE),
    flag(' ', "auto_release", h::O_AUTO_RELEASE),
    opt('d', "description", "TEXT", h::O_JOB_DESCRIPTION),
    opt(' ', "log_mapping", "PAIRS", h::O_LOG_MAPPING),
    opt(' ', "docker", "IMAGE", h::O_DOCKER),
    opt('u', "user_data", "PAIRS", h::O_USER_DATA),
    opt(' ', "disk", "DISKS", h::O_DISK),
    opt(' ', "resource_type", "TYPE", h::O_RESOURCE_TYPE),
    opt(' ', "spot_price_limit", "PRICE", h::O_SPOT_PRICE_LIMIT),
    flag(' ', "reserve_on_fail", h::O_RESERVE_ON_FAIL),
    opt(' ', "nas_access_group", "NAMES", h::O_NAS_ACCESS_GROUP),
    opt(' ', "nas_file_system", "NAMES", h::O_NAS_FILE_SYSTEM),
    flag(' ', "no_cache_support", h::O_NO_CACHE_SUPPORT),
    flag(' ', "lock", h::O_LOCK),
    opt(' ', "locale", "NAME", h::O_LOCALE),
    opt(' ', "vpc_cidr_block", "CIDR", h::O_VPC_CIDR_BLOCK),
    opt(' ', "vpc_id", "ID", h::O_VPC_ID),
    opt(' ', "notification_endpoint", "URL", h::O_NOTIFICATION_ENDPOINT),
    opt(' ', "notification_topic", "NAME", h::O_NOTIFICATION_TOPIC),
    opt(' ', "notification_events", "EVENTS", h::O_NOTIFICATION_EVENTS),
];

/// The options of `set`, each with the key it changes.
pub const SETTINGS: &[(Opt, &str)] = &[
    (opt('r', "region", "REGION", h::O_SET_REGION), "region"),
    (opt('o', "osspath", "PATH", h::O_SET_OSSPATH), "osspath"),
    (opt(' ', "endpoint", "URL", h::O_ENDPOINT), "endpoint"),
    (opt(' ', "oss_endpoint", "URL", h::O_OSS_ENDPOINT), "oss_endpoint"),
    (opt('l', "locale", "NAME", h::O_SET_LOCALE), "locale"),
    (opt('i', "image", "IMAGE", h::O_SET_IMAGE), "defaultimage"),
    (opt('t', "type", "TYPE", h::O_SET_TYPE), "defaulttype"),
    (opt('s', "ssl", "BOOL", h::O_SET_SSL), "ssl"),
    (opt('u', "qsubuser", "NAME", h::O_SET_QSUBUSER), "qsubuser"),
    (opt(' ', "vpc_cidr_block", "CIDR", h::O_SET_CIDR), "vpc_cidr_block"),
    (opt('g', "god", "BOOL", h::O_SET_GOD), "god"),
    (opt(' ', "networktype", "TYPE", h::O_SET_NETWORK), "localhostnetworktype"),
];

/// The options of `cc`.
pub const CLUSTER: &[Opt] = &[
    opt('i', "image", "IMAGE", h::O_IMAGE),
    opt('t', "type", "TYPE", h::O_TYPE),
    opt('n', "nodes", "N", h::O_MACHINES),
    opt('d', "description", "TEXT", h::O_CLUSTER_DESCRIPTION),
    opt('u', "user_data", "PAIRS", h::O_USER_DATA),
    opt('e', "env", "PAIRS", h::O_ENV),
    opt('m', "mount", "MOUNTS", h::O_MOUNT),
    opt(' ', "disk", "DISKS", h::O_DISK),
    opt(' ', "resource_type", "TYPE", h::O_RESOURCE_TYPE),
    opt(' ', "spot_price_limit", "PRICE", h::O_SPOT_PRICE_LIMIT),
    opt(' ', "vpc_cidr_block", "CIDR", h::O_VPC_CIDR_BLOCK),
    opt(' ', "vpc_id", "ID", h::O_VPC_ID),
    flag(' ', "show_json", h::O_SHOW_JSON),
];

/// The options of `ca` and `ua` that describe an app.
pub const APP: &[Opt] = &[
    opt(' ', "file", "FILE", h::O_FILE),
    opt(' ', "docker", "IMAGE", h::O_DOCKER),
    opt('i', "image", "IMAGE", h::O_IMAGE),
    opt('e', "env", "PAIRS", h::O_ENV),
    opt(' ', "inputs", "PARAMETERS", h::O_APP_INPUTS),
    opt(' ', "outputs", "PARAMETERS", h::O_APP_OUTPUTS),
    opt('r', "resource_type", "SETTING", h::O_RESOURCE_TYPE),
    opt('t', "type", "SETTING", h::O_APP_TYPE),
    opt('n', "nodes", "SETTING", h::O_NODES),
    opt(' ', "min_disk_size", "SETTING", h::O_MIN_DISK_SIZE),
    opt('d', "disk_type", "SETTING", h::O_DISK_TYPE),
    opt(' ', "max_retry_count", "SETTING", h::O_RETRY),
    opt(' ', "timeout", "SETTING", h::O_TIMEOUT),
    opt(' ', "description", "TEXT", h::O_APP_DESCRIPTION),
    flag(' ', "daemonize", h::O_DAEMONIZE),
    flag(' ', "show_json", h::O_SHOW_JSON),
];

/// The options of `asub` that every app has.
pub const APP_JOB: &[Opt] = &[
    opt(' ', "description", "TEXT", h::O_JOB_DESCRIPTION),
    opt('r', "resource_type", "TYPE", h::O_RESOURCE_TYPE),
    opt('t', "type", "TYPE", h::O_TYPE),
    opt('n', "nodes", "N", h::O_NODES),
    opt(' ', "min_disk_size", "GB", h::O_MIN_DISK_SIZE),
    opt('d', "disk_type", "TYPE", h::O_DISK_TYPE),
    opt(' ', "max_retry_count", "N", h::O_RETRY),
    opt(' ', "timeout", "SECONDS", h::O_TIMEOUT),
    opt('c', "cluster", "ID", h::O_APP_CLUSTER),
    opt(' ', "config", "PAIRS", h::O_APP_CONFIG),
    flag(' ', "show_json", h::O_SHOW_JSON),
];

/// Options of `qsub` with a value that are accepted and ignored.
const PBS_VALUES: [(&str, char); 18] = [
    ("pbs_additional", 'W'),
    ("pbs_path", 'w'),
    ("pbs_variables", 'v'),
    ("pbs_users", 'u'),
    ("pbs_prescript", 'T'),
    ("pbs_array", 't'),
    ("pbs_shells", 'S'),
    ("pbs_rerunable", 'r'),
    ("pbs_queue", 'q'),
    ("pbs_proxy", 'P'),
    ("pbs_priority", 'p'),
    ("pbs_mail_users", 'M'),
    ("pbs_mail", 'm'),
    ("pbs_keep", 'k'),
    ("pbs_account", 'A'),
    ("pbs_date", 'a'),
    ("pbs_root", 'D'),
    ("pbs_seconds", 'b'),
];

/// The same without a value.
const PBS_FLAGS: [(&str, char); 7] = [
    ("pbs_z", 'z'),
    ("pbs_x11", 'X'),
    ("pbs_x", 'x'),
    ("pbs_interactive", 'I'),
    ("pbs_hold", 'f'),
    ("pbs_prefix", 'C'),
    ("pbs_checkpoint", 'c'),
];

/// The whole grammar.
pub fn tree(language: Language) -> Command {
    Words { language, line: None }.tree()
}

/// The grammar as far as this command line needs it: commands that it does not name are there without
/// their options, of which there are too many to make for each start.
pub fn tree_for(line: &[String], language: Language) -> Command {
    Words { language, line: Some(line) }.tree()
}

/// Builds commands with help in one language.
#[derive(Clone, Copy)]
struct Words<'a> {
    language: Language,
    /// The words of the command line, if commands that are not among them may be incomplete.
    line: Option<&'a [String]>,
}

impl Words<'_> {
    fn tree(self) -> Command {
        let (words, language) = (self, self.language);
        let top = words
            .command("bcs", &[], h::ABOUT, &[], &[])
            .version(env!("CARGO_PKG_VERSION"))
            .disable_version_flag(true)
            .arg(words.version_flag())
            .subcommand_help_heading(h::COMMANDS.plain(language))
            .after_help(h::AFTER.plain(language));
        top.subcommands(words.settings_commands())
            .subcommands(words.job_commands())
            .subcommands(words.job_changes())
            .subcommands(words.cluster_commands())
            .subcommands(words.app_commands())
            .subcommands(words.resource_commands())
            .subcommand(words.oss())
            .subcommands(words.projects())
            .subcommands(words.batch_system())
            .subcommand(words.command(
                "completion",
                &[],
                h::C_COMPLETION,
                &[("shell!", h::A_SHELL)],
                &[],
            ))
    }

    /// Whether somebody may ask for this command.
    fn is_named(self, name: &str, aliases: &[&str]) -> bool {
        let names = |word: &String| word == name || aliases.contains(&word.as_str());
        self.line.is_none_or(|line| line.iter().any(names))
    }

    /// A command. An argument's name ends in `!` when it must be there, in `...` when it may be
    /// there several times.
    fn command(
        self,
        name: &'static str,
        aliases: &'static [&'static str],
        about: Text,
        arguments: &[(&'static str, Text)],
        options: &[Opt],
    ) -> Command {
        let (arguments, options) =
            if self.is_named(name, aliases) { (arguments, options) } else { (&[][..], &[][..]) };
        let template = format!(
            "{{about-with-newline}}\n{} {{usage}}\n\n{{all-args}}{{after-help}}",
            h::USAGE.plain(self.language)
        );
        Command::new(name)
            .aliases(aliases.iter().copied())
            .about(with_aliases(about.plain(self.language), aliases))
            .help_template(template)
            .disable_help_flag(true)
            .disable_help_subcommand(true)
            .args_override_self(true)
            .args(
                arguments
                    .iter()
                    .enumerate()
                    .map(|(at, (name, help))| self.argument(name, *help).display_order(at)),
            )
            .args(options.iter().map(|option| self.option(option)))
            .arg(
                Arg::new("help")
                    .short('h')
                    .long("help")
                    .action(ArgAction::Help)
                    .help(h::HELP.plain(self.language))
                    .help_heading(h::OPTIONS.plain(self.language)),
            )
    }

    fn argument(self, name: &'static str, help: Text) -> Arg {
        let (bare, many) = match name.strip_suffix("...") {
            Some(bare) => (bare, true),
            None => (name, false),
        };
        let (bare, required) = match bare.strip_suffix('!') {
            Some(bare) => (bare, true),
            None => (bare, false),
        };
        let argument = Arg::new(bare)
            .value_name(bare)
            .required(required)
            .help(help.plain(self.language))
            .help_heading(h::ARGUMENTS.plain(self.language));
        if many { argument.action(ArgAction::Append) } else { argument }
    }

    fn option(self, option: &Opt) -> Arg {
        let argument = Arg::new(option.long)
            .long(option.long)
            .help(option.help.plain(self.language))
            .help_heading(h::OPTIONS.plain(self.language));
        let argument = match option.value {
            Some(name) => {
                argument.value_name(name).allow_hyphen_values(true).action(ArgAction::Set)
            }
            None => argument.action(ArgAction::SetTrue),
        };
        match option.short {
            Some(letter) => argument.short(letter),
            None => argument,
        }
    }

    fn version_flag(self) -> Arg {
        Arg::new("version")
            .short('V')
            .long("version")
            .action(ArgAction::Version)
            .help(h::VERSION.plain(self.language))
            .help_heading(h::OPTIONS.plain(self.language))
    }

    fn settings_commands(self) -> Vec<Command> {
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

    fn job_commands(self) -> Vec<Command> {
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

    fn job_changes(self) -> Vec<Command> {
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

    fn cluster_commands(self) -> Vec<Command> {
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

    fn app_commands(self) -> Vec<Command> {
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

    fn resource_commands(self) -> Vec<Command> {
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
    fn projects(self) -> Vec<Command> {
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
    fn batch_system(self) -> Vec<Command> {
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

    fn oss(self) -> Command {
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

/// `Submit a job [sub]`; clap's own list of aliases speaks English only.
fn with_aliases(about: &str, aliases: &[&str]) -> String {
    if aliases.is_empty() { about.to_owned() } else { format!("{about} [{}]", aliases.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_has_no_clashes_in_either_language() {
        tree(Language::English).debug_assert();
        tree(Language::Chinese).debug_assert();
    }

    fn line(words: &str) -> Vec<String> {
        ["bcs"].into_iter().chain(words.split(' ')).map(String::from).collect()
    }

    fn sub(words: &[&str]) -> clap::ArgMatches {
        let words = ["bcs", "sub"].iter().chain(words);
        let matches = tree(Language::English).try_get_matches_from(words).unwrap();
        matches.subcommand().unwrap().1.clone()
    }

    #[test]
    fn options_and_arguments_mix_in_any_order() {
        let written =
            sub(&["-n", "3", "python main.py", "--env=a:b=c", "my-job", "-f", "--timeout", "-5"]);
        let text = |name: &str| written.get_one::<String>(name).map(String::as_str);
        assert_eq!(text("cmd"), Some("python main.py"));
        assert_eq!(text("job_name"), Some("my-job"));
        assert_eq!(text("nodes"), Some("3"));
        assert_eq!(text("env"), Some("a:b=c"), "a value may hold the equals sign");
        assert_eq!(text("timeout"), Some("-5"), "a value may begin with a dash");
        assert!(written.get_flag("force"));
    }

    #[test]
    fn the_last_of_an_option_given_twice_counts() {
        assert_eq!(sub(&["x", "-n", "1", "-n", "2"]).get_one::<String>("nodes").unwrap(), "2");
    }

    #[test]
    fn official_names_and_aliases_are_known() {
        for (words, command) in [
            ("sub x", "submit"),
            ("j", "job"),
            ("ch 1", "check"),
            ("l 1", "log"),
            ("sj 1", "stop_job"),
            ("rj 1", "restart_job"),
            ("dj 1 -y", "delete_job"),
            ("uj 1 -p 3", "update_job"),
            ("me", "config"),
            ("set -l zh", "config"),
            ("c", "cluster"),
            ("cc n", "create_cluster"),
            ("dc x", "delete_cluster"),
            ("uc x -n 1", "update_cluster"),
            ("ssh c g i-x -- ls -l", "ssh"),
            ("t", "instance_type"),
            ("it", "instance_type"),
            ("r", "resource_type"),
            ("d", "disk_type"),
            ("e", "event"),
            ("i", "image"),
            ("ci n m-1 -p windows", "create_image"),
            ("di img-1 -y", "delete_image"),
            ("rci c g i-1", "recreate_cluster_instance"),
            ("dci c g i-1,i-2 -y", "delete_cluster_instance"),
            ("o ls", "oss"),
            ("cj {}", "create_job"),
            ("gen dir -t python", "gen"),
            ("p create n -t shell", "project"),
            ("project st -d", "project"),
            ("qsub -l nodes=2 -q fast -V run.pbs", "qsub"),
            ("qstat -u a,b -i", "qstat"),
            ("qdel 31.console", "qdel"),
            ("qhost", "qhost"),
            ("c cls-1 group i-1 -b", "cluster"),
        ] {
            let line = line(words);
            let matches = tree(Language::English).try_get_matches_from(&line).unwrap();
            assert_eq!(matches.subcommand_name(), Some(command), "{words}");
            let as_needed = tree_for(&line, Language::English).try_get_matches_from(&line).unwrap();
            assert_eq!(as_needed, matches, "{words}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for words in ["sub x --nodse 3", "frobnicate", "uj 1", "oss frobnicate", "login"] {
            let line = line(words);
            let refused = |tree: Command| tree.try_get_matches_from(&line).unwrap_err().to_string();
            let said = refused(tree(Language::English));
            assert_eq!(refused(tree_for(&line, Language::English)), said, "{words}");
        }
    }
}
