//! Lists of options: those that a file or another module knows, too, and those of other batch systems.

use super::{Opt, flag, opt};
use crate::words::help as h;

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
pub(super) const PBS_VALUES: [(&str, char); 18] = [
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
pub(super) const PBS_FLAGS: [(&str, char); 7] = [
    ("pbs_z", 'z'),
    ("pbs_x11", 'X'),
    ("pbs_x", 'x'),
    ("pbs_interactive", 'I'),
    ("pbs_hold", 'f'),
    ("pbs_prefix", 'C'),
    ("pbs_checkpoint", 'c'),
];
