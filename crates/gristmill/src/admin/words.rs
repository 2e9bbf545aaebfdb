//! The help of `gristmill admin` in Chinese. The key is the English text, so that a text without
//! a translation is found by the test below.

use clap::Command;
use gristmill_cli::words::Language;

/// English as in the help, Chinese.
const TEXTS: &[(&str, &str)] = &[
    ("Operate a running region", "管理运行中的区域"),
    ("Where the region's API answers", "区域 API 的地址"),
    (
        "Directory of the region, for its root key; not read when the environment has a key",
        "区域的数据目录，从中读取根密钥；环境变量中有密钥时不读取",
    ),
    ("Print the server's JSON instead of a table", "输出服务器返回的 JSON，而不是表格"),
    (
        "Accounts: who owns jobs, clusters, buckets and images",
        "账号：作业、集群、Bucket 和镜像的所有者",
    ),
    ("Make an account", "新建账号"),
    ("Its name: letters, digits, _ - . @", "账号名：字母、数字、_ - . @"),
    ("List all accounts", "列出所有账号"),
    ("Show an account and how much it has", "显示账号及其拥有的资源数量"),
    ("Number or name of the account", "账号的编号或名称"),
    (
        "Refuse all keys of an account from now on; what it has stays",
        "从现在起拒绝该账号的所有密钥；已有资源保留",
    ),
    ("Let a disabled account be used again", "重新启用账号"),
    (
        "Delete a disabled account that has no jobs, clusters and buckets",
        "删除已停用且没有作业、集群和 Bucket 的账号",
    ),
    ("Apps that everybody may see and call", "所有账号都可见、可调用的 App"),
    ("List published apps, or those of an account", "列出公有 App，或某个账号的 App"),
    ("Only those of this account, published or not", "只列出该账号的 App，无论是否公有"),
    ("Let everybody see and call an app", "把 App 设为公有"),
    ("Leave a published app to its account alone again", "撤回公有 App，仅其所属账号可用"),
    ("Name of the app", "App 名称"),
    ("Number or name of the account it belongs to", "所属账号的编号或名称"),
    ("Images that machines start from", "机器启动所用的镜像"),
    ("Unpack an image and let machines start from it", "解包镜像，供机器启动使用"),
    (
        "Id of the image: m-NAME, or img-ubuntu or img-centos; a plain NAME becomes m-NAME",
        "镜像 ID：m-名称，或 img-ubuntu、img-centos；只写名称时自动加上 m-",
    ),
    (
        "A directory, a tar (plain, gzip, zstd), a container image as a directory or an archive (OCI, docker save), or HOST/NAME:TAG of a registry",
        "目录、tar（可用 gzip 或 zstd 压缩）、容器镜像的目录或归档（OCI、docker save），或镜像仓库中的 HOST/NAME:TAG",
    ),
    ("For this account only; otherwise for all", "只供该账号使用；缺省时供所有账号使用"),
    (
        "Replace an image of the same id; machines that run stay on the old one",
        "替换同一 ID 的镜像；运行中的机器继续使用旧镜像",
    ),
    ("Speak to the registry without encryption", "不加密地访问镜像仓库"),
    (
        "Trust the registry's certificate if it is by an authority in this file (PEM)",
        "信任由该文件（PEM）中的机构签发的镜像仓库证书",
    ),
    ("List imported images", "列出已导入的镜像"),
    ("Show an imported image and who uses it", "显示已导入的镜像及其使用者"),
    ("Id of the image", "镜像 ID"),
    (
        "Look whether an imported image is whole and programs start in it",
        "检查已导入的镜像是否完整、能否启动程序",
    ),
    ("What to run in it as well, behind `--`", "另外要在镜像中执行的命令，写在 `--` 之后"),
    ("How long programs may take, in seconds", "程序最多可运行的秒数"),
    ("Remove an imported image", "删除已导入的镜像"),
    (
        "Also if machines or clusters use it; its files go with the last machine",
        "即使有机器或集群在使用也删除；文件随最后一台机器释放",
    ),
    ("Access keys of accounts", "账号的访问密钥"),
    ("Make an access key; its secret is shown only now", "新建访问密钥；密钥内容只显示这一次"),
    ("Limit it to this policy: JSON, or @FILE", "限制权限的策略：JSON，或 @文件"),
    (
        "Limit it to this action (may be given several times): GetJob, List*, oss:get",
        "只允许该操作（可多次指定）：GetJob、List*、oss:get",
    ),
    (
        "Limit its actions in the object store to this place (may be given several times)",
        "在对象存储中只允许访问该位置（可多次指定）",
    ),
    ("What it is for", "用途说明"),
    ("List access keys", "列出访问密钥"),
    ("Only those of this account", "只列出该账号的密钥"),
    ("Refuse an access key from now on", "从现在起拒绝该访问密钥"),
    ("The access key id", "AccessKeyId"),
    ("Let a disabled access key be used again", "重新启用访问密钥"),
    ("Delete an access key", "删除访问密钥"),
    ("Prices of spot machines", "竞价实例的价格"),
    ("Set the price of a type", "设置某实例类型的价格"),
    ("The instance type", "实例类型"),
    ("The price; three decimals count", "价格，最多三位小数"),
    ("Show all prices", "显示所有价格"),
    ("Remove the price of a type: it passes no limit", "删除某实例类型的价格：不再超过任何上限"),
    ("Machines set aside for an account", "为账号预留的包月机器"),
    ("Set more machines aside", "增加预留的机器"),
    ("How many", "数量"),
    ("Take machines back", "收回预留的机器"),
    ("Show the machines set aside for an account", "显示为账号预留的机器"),
    ("How much an account may use", "账号的配额"),
    ("Show what an account may use and does use", "显示账号的配额与用量"),
    (
        "Bound an account; what is not given is as the settings say",
        "设置账号的配额；未给出的项目采用配置文件中的值",
    ),
    ("Machines of all clusters, prepaid ones aside", "所有集群的机器总数（不含包月）"),
    ("Cores of these machines", "这些机器的核数"),
    ("Jobs that are not deleted", "未删除的作业数"),
    ("Instances of jobs that have not ended", "未结束作业的实例数"),
    ("Make a temporary access key", "签发临时访问密钥"),
    (
        "Copy books and keys of a region, running or not, into a new directory",
        "把区域（运行中或已停止）的账本和密钥复制到新目录",
    ),
    ("The new directory", "新目录"),
    ("Put a copy into an empty data directory", "把备份恢复到空的数据目录"),
    ("The directory with the copy", "备份所在目录"),
    (
        "Look whether the books of a stopped region, or a copy, are whole and add up",
        "检查已停止的区域或备份的账本是否完整、一致",
    ),
    ("Number or name of the account it speaks for", "临时密钥所代表的账号（编号或名称）"),
    (
        "List jobs and clusters whose notifications cannot be delivered now",
        "列出目前无法送达通知的作业和集群",
    ),
    ("How long it lives: 900 to 43200", "有效期（秒）：900 到 43200"),
    (
        "Open a shell on a machine of a fixed cluster, or run a command there",
        "在固定集群的机器上打开 shell 或执行命令",
    ),
    ("The cluster's id", "集群 ID"),
    ("The group's name", "组名"),
    ("The machine's id", "机器 ID"),
    ("With a terminal, also for a command", "为命令也分配终端"),
    (
        "What to run there, behind `--`; without it, a login shell",
        "要执行的命令，写在 `--` 之后；缺省时打开登录 shell",
    ),
];

/// The command with its help in this language.
pub fn translated(command: Command, language: Language) -> Command {
    match language {
        Language::English => command,
        Language::Chinese => in_chinese(command),
    }
}

fn in_chinese(command: Command) -> Command {
    let about = command.get_about().map(ToString::to_string);
    let command = match about.as_deref().and_then(chinese) {
        Some(text) => command.about(text).long_about(text),
        None => command,
    };
    let command = command.mut_args(|arg| {
        match arg.get_help().map(ToString::to_string).as_deref().and_then(chinese) {
            Some(text) => arg.help(text).long_help(text),
            None => arg,
        }
    });
    command.mut_subcommands(in_chinese)
}

fn chinese(english: &str) -> Option<&'static str> {
    let found = TEXTS.iter().find(|(text, _)| *text == english.trim_end_matches('.'));
    found.map(|(_, chinese)| *chinese)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Args, Command};

    /// Every text of the command and of all below it.
    fn texts(command: &Command) -> Vec<String> {
        let about = command.get_about().map(ToString::to_string);
        let args = command.get_arguments().filter(|arg| arg.get_id() != "help");
        let own = about.into_iter().chain(args.filter_map(|arg| Some(arg.get_help()?.to_string())));
        own.chain(command.get_subcommands().flat_map(texts)).collect()
    }

    #[test]
    fn every_help_text_has_its_chinese_and_every_chinese_is_used() {
        let command = crate::admin::Admin::augment_args(Command::new("admin"));
        let used = texts(&command);
        let bare = |text: &String| text.trim_end_matches('.').to_owned();
        let missing: Vec<_> = used.iter().filter(|text| chinese(text).is_none()).collect();
        assert_eq!(missing, Vec::<&String>::new());
        let used: Vec<String> = used.iter().map(bare).collect();
        let unused: Vec<_> =
            TEXTS.iter().filter(|(text, _)| !used.iter().any(|used| used == text)).collect();
        assert_eq!(unused, Vec::<&(&str, &str)>::new());
    }
}
