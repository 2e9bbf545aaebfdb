//! The texts of `--help`.

use super::{Text, table};

table! {
    ABOUT { "The command line of the batch computing service." "批量计算服务的命令行工具。" }
    USAGE { "Usage:" "用法:" }
    COMMANDS { "Commands" "命令" }
    ARGUMENTS { "Arguments" "参数" }
    OPTIONS { "Options" "选项" }
    HELP { "Show this help" "显示帮助" }
    VERSION { "Show the version" "显示版本" }
    AFTER { "Data goes to standard output, words to standard error; the exit status is 0 only on success." "数据写到标准输出，提示写到标准错误；只有成功时退出码才是 0。" }

    C_LOGIN { "Check an access key and remember it" "校验并保存访问密钥" }
    C_LOGOUT { "Forget all settings" "清除所有设置" }
    C_CONFIG { "Show or change settings" "查看或修改设置" }
    C_JOB { "List jobs, or show a job, task or instance" "查看作业列表，或作业、任务、实例的详情" }
    C_SUBMIT { "Submit a job" "提交作业" }
    C_CREATE_JOB { "Submit a job from its JSON" "用 JSON 描述提交作业" }
    C_CHECK { "Say why a job waits or failed" "检查作业为何等待或失败" }
    C_LOG { "Show the logs of a job" "查看作业日志" }
    C_STOP { "Stop jobs" "停止作业" }
    C_RESTART { "Start stopped or failed jobs again" "重新启动已停止或失败的作业" }
    C_DELETE { "Delete jobs; running ones are stopped first" "删除作业；运行中的会先停止" }
    C_UPDATE { "Change the priority of a job" "修改作业优先级" }
    C_CLUSTER { "List clusters, or show a cluster or group" "查看集群列表，或集群、组的详情" }
    C_CREATE_CLUSTER { "Make a cluster" "创建集群" }
    C_DELETE_CLUSTER { "Delete clusters" "删除集群" }
    C_UPDATE_CLUSTER { "Change a cluster: machines, image, mounts, variables" "修改集群：机器数量、镜像、挂载、环境变量" }
    C_RECREATE_MACHINE { "Replace machines of a cluster" "重建集群中的机器" }
    C_DELETE_MACHINE { "Remove machines of a cluster; their group gets smaller" "删除集群中的机器，组的数量随之减少" }
    C_CREATE_IMAGE { "Register an image of one's own" "注册自己的镜像" }
    C_DELETE_IMAGE { "Delete images of one's own" "删除自己的镜像" }
    C_SSH { "Open a shell on a machine of a fixed cluster, or run a command there" "在固定集群的机器上打开 shell 或执行命令" }
    C_APP { "List apps, or show an app or one of its revisions" "查看 App 列表，或某个 App、某个版本的详情" }
    C_CREATE_APP { "Make an app" "创建 App" }
    C_UPDATE_APP { "Change an app: adds a revision" "修改 App：增加一个版本" }
    C_DELETE_APP { "Delete apps, or one revision" "删除 App，或其中一个版本" }
    C_ASUB { "Submit a job made from an app" "用 App 提交作业" }
    ASUB_AFTER { "Parameters of the app: --input_NAME VALUE, --input_from_file_NAME FILE (uploaded first), --output_NAME VALUE" "App 的参数：--input_名称 值，--input_from_file_名称 文件（先上传），--output_名称 值" }
    A_APP { "Name of the app, or its number in the last list; `:name` is a public one" "App 名称，或上次列表中的序号；`:名称` 表示公有 App" }
    A_APPS { "Names of apps, separated by commas" "App 名称，多个用逗号隔开" }
    A_REVISION { "Number of a revision" "版本号" }
    O_APP_INPUTS { "name[:type[:localpath[:description[:default]]]],...; the type is String or Number" "name[:type[:localpath[:description[:default]]]],…；type 为 String 或 Number" }
    O_APP_OUTPUTS { "name[:type[:localpath[:description]]],..." "name[:type[:localpath[:description]]],…" }
    O_APP_TYPE { "Type of the machines; every SETTING is default[:overwritable[:description]]" "实例类型；每个 SETTING 的格式为 default[:overwritable[:description]]" }
    O_APP_DESCRIPTION { "Description of the app" "App 的描述" }
    O_APP_CLUSTER { "Fixed cluster to run on, instead of one of its own" "在固定集群上运行，而不是自动集群" }
    O_APP_CONFIG { "Other members of Config: key=value,..." "Config 的其他成员：key=value,…" }
    O_MIN_DISK_SIZE { "Size of the system disk in GB" "系统盘大小（GB）" }
    O_DISK_TYPE { "Type of the system disk" "系统盘类型" }
    O_DAEMONIZE { "The program is started once on a machine and serves call after call" "程序在机器上只启动一次，持续处理每次调用" }
    C_IMAGE { "List images" "查看镜像列表" }
    C_INSTANCE_TYPE { "List machine types" "查看可用实例类型" }
    C_RESOURCE_TYPE { "List resource types" "查看可用资源类型" }
    C_DISK_TYPE { "List disk types" "查看可用磁盘类型" }
    C_EVENT { "List events one can be notified of" "查看可订阅的事件" }
    C_OSS { "Work with the object store" "操作对象存储" }
    C_COMPLETION { "Write a completion script for a shell" "输出命令补全脚本" }
    C_OSS_LS { "List objects" "列出对象" }
    C_OSS_CAT { "Write objects to standard output" "把对象内容写到标准输出" }
    C_OSS_UPLOAD { "Upload a file or directory" "上传文件或目录" }
    C_OSS_DOWNLOAD { "Download an object or everything below a prefix" "下载对象或某前缀下的所有对象" }
    C_OSS_CP { "Copy an object, or everything below a prefix" "复制对象或某前缀下的所有对象" }
    C_OSS_RM { "Delete everything that begins with a path" "删除以某路径开头的所有对象" }
    C_OSS_MB { "Make a bucket" "创建存储空间（bucket）" }
    C_OSS_PWD { "Show the default path" "显示默认路径" }
    C_OSS_LOGIN { "Remember another key for the object store" "为对象存储保存单独的密钥" }
    C_OSS_LOGOUT { "Forget the key and path of the object store" "清除对象存储的密钥和路径" }

    C_GEN { "Make the files of a new project in a directory" "在目录中生成新项目的文件" }
    C_PROJECT { "Make, build and submit projects: run in the project's directory" "创建、打包、提交项目；在项目目录中运行" }
    C_PROJECT_CREATE { "Make a project from a template or from a job" "用模板或已有作业创建项目" }
    C_PROJECT_BUILD { "Run the build script and pack worker.tar.gz" "执行构建脚本并打包 worker.tar.gz" }
    C_PROJECT_UPDATE { "Change where one task, or all, run" "修改一个或全部任务的运行位置" }
    C_PROJECT_STATUS { "Show the job and what is wrong with it" "查看作业描述及其问题" }
    C_PROJECT_SUBMIT { "Upload worker.tar.gz and submit the job" "上传 worker.tar.gz 并提交作业" }
    C_QSUB { "Submit a script with #PBS lines" "提交带 #PBS 行的脚本" }
    C_QSTAT { "List jobs of qsub, or show one" "查看 qsub 作业列表或某个作业" }
    C_QDEL { "Stop and delete a job of qsub" "停止并删除 qsub 作业" }
    C_QHOST { "List the machines of one's clusters" "查看自己集群中的机器" }
    A_PROJECT { "Name of the project, and of its directory" "项目名，也是目录名" }
    A_LOCATION { "Directory (default: this one)" "目录（默认当前目录）" }
    A_SCRIPT { "The script" "脚本文件" }
    A_JOB_NUMBER { "Job id, or the number that qsub printed" "作业 ID，或 qsub 输出的编号" }
    O_TEMPLATE { "empty, python, shell or java" "empty、python、shell 或 java" }
    O_FROM_JOB { "Id of a job to make the project from" "以此作业为蓝本创建项目" }
    O_DAG_ONLY { "Only the order of the tasks" "只看任务依赖图" }
    O_WORK_PATH { "Where the script runs (default: this directory's path)" "脚本的工作目录（默认当前目录的路径）" }
    O_STDERR_PATH { "File for standard error (default: <name>.stderr)" "标准错误输出文件（默认 <作业名>.stderr）" }
    O_STDOUT_PATH { "File for standard output (default: <name>.stdout)" "标准输出文件（默认 <作业名>.stdout）" }
    O_JOIN { "oe or eo: both outputs in one file; n: two files" "oe 或 eo：两种输出写入同一文件；n：分开" }
    O_RESOURCE_LIST { "walltime=h:m:s,nodes=N,ncpus=N,mem=Ngb, or select=N:ncpus=N:mem=Ngb+..." "walltime=时:分:秒,nodes=N,ncpus=N,mem=Ngb，或 select=N:ncpus=N:mem=Ngb+..." }
    O_ALL_VARIABLES { "Give the script all variables of this environment" "把当前环境变量全部传给脚本" }
    O_SHOW_OPT { "Print the options in force, send nothing" "只打印生效的选项，不发送" }
    O_FOR_JOB { "Show this job" "查看此作业" }
    O_WAITING { "Waiting jobs" "等待中的作业" }
    O_RUNNING { "Running jobs" "运行中的作业" }
    O_USERS { "Only jobs of these users, separated by commas" "只看这些用户的作业，多个用逗号隔开" }
    O_BOOTSTRAP_LOG { "Show what the start command said on the machine" "显示启动命令在机器上的输出" }

    A_REGION { "Region, e.g. cn-local" "地域，例如 cn-local" }
    A_ACCESS_KEY_ID { "AccessKey id; asked for when missing" "AccessKey ID；缺省时会提示输入" }
    A_ACCESS_KEY_SECRET { "AccessKey secret; asked for when missing" "AccessKey Secret；缺省时会提示输入" }
    A_JOB { "Job id, or its number in the last list" "作业 ID，或上次列表中的序号" }
    A_JOBS { "Job ids, separated by commas" "作业 ID，多个用逗号隔开" }
    A_TASK { "Task name, or its number in the last list" "任务名，或上次列表中的序号" }
    A_INSTANCE { "Instance number, from 0" "实例编号，从 0 开始" }
    A_CMD { "The program with its arguments; not run by a shell" "程序及参数；不经过 shell 执行" }
    A_JOB_NAME { "Name of the job (default: cli-job)" "作业名（默认 cli-job）" }
    A_JSON { "The description of the job" "作业描述" }
    A_CLUSTER { "Cluster id, or its number in the last list" "集群 ID，或上次列表中的序号" }
    A_CLUSTERS { "Cluster ids, separated by commas" "集群 ID，多个用逗号隔开" }
    A_CLUSTER_NAME { "Name of the cluster" "集群名" }
    A_GROUP { "Group name (default: group)" "组名（默认 group）" }
    A_MACHINES { "Machine ids, separated by commas" "机器 ID，多个用逗号隔开" }
    A_IMAGE { "Image id, or its number in the last list" "镜像 ID，或上次列表中的序号" }
    A_IMAGES { "Image ids, separated by commas" "镜像 ID，多个用逗号隔开" }
    A_IMAGE_NAME { "Name of the image" "镜像名" }
    A_ECS_IMAGE { "Id of the imported image, m-..." "已导入镜像的 ID，m-..." }
    A_MACHINE { "Machine id, or its number in the last list" "机器 ID，或上次列表中的序号" }
    A_REMOTE_COMMAND { "What to run there; without it, a login shell" "要在机器上执行的命令；缺省时打开登录 shell" }
    A_SHELL { "bash, zsh or fish" "bash、zsh 或 fish" }
    A_OSS_PATH { "oss://bucket/key, or relative to the default path" "oss://bucket/key，或相对于默认路径" }
    A_LOCAL { "Local file or directory" "本地文件或目录" }
    A_OSS_SOURCE { "What to copy" "要复制的路径" }
    A_OSS_TARGET { "Where to" "目标路径" }
    A_BUCKET { "Name of the bucket, also as oss://name" "bucket 名，也可写成 oss://name" }

    O_ENDPOINT { "URL of the service; no hosts entries needed" "服务的 URL；无需修改 hosts" }
    O_OSS_ENDPOINT { "URL of the object store (default: one port above the endpoint)" "对象存储的 URL（默认为 endpoint 的下一个端口）" }
    O_SET_REGION { "Region" "地域" }
    O_SET_OSSPATH { "Default path, oss://bucket/prefix/" "默认路径 oss://bucket/prefix/" }
    O_SET_LOCALE { "Language: en, zh or zh_CN" "语言：en、zh 或 zh_CN" }
    O_SET_IMAGE { "Default image" "默认镜像" }
    O_SET_TYPE { "Default machine type" "默认实例类型" }
    O_SET_SSL { "false: plain HTTP for the region's host name" "false：对地域域名使用普通 HTTP" }
    O_SET_QSUBUSER { "User name for qsub jobs" "qsub 作业的用户名" }
    O_SET_CIDR { "Default private network, e.g. 192.168.0.0/16" "默认专有网络网段，例如 192.168.0.0/16" }
    O_SET_GOD { "true: numbers also name what is destroyed" "true：破坏性命令也接受序号" }
    O_SET_NETWORK { "Public or VPC" "Public 或 VPC" }

    O_TOP { "At most so many rows (default: 10)" "最多显示的行数（默认 10）" }
    O_ALL { "All rows" "显示全部" }
    O_STATE { "Only these states, separated by commas" "只看这些状态，多个用逗号隔开" }
    O_ID { "Only ids that contain this" "只看 ID 中含此文本的" }
    O_NAME { "Only names that contain this" "只看名称中含此文本的" }
    O_DESCRIPTION { "Show the description as JSON" "以 JSON 显示描述" }
    O_SHOW_JSON_READ { "Show the service's answer as JSON" "以 JSON 显示服务端应答" }
    O_SHOW_JSON { "Print the request as JSON, send nothing" "只打印请求 JSON，不发送" }
    O_SHOW_DAG { "Draw the tasks and their order, send nothing" "只画出任务依赖图，不发送" }
    O_WATCH { "Watch the job until it ends; the exit status tells how" "持续查看作业直到结束，退出码表示结果" }
    O_YES { "Do not ask" "不询问，直接执行" }
    O_FILE { "Read it from this file" "从文件读取" }

    O_NODES { "Number of instances (default: 1)" "实例个数（默认 1）" }
    O_FORCE { "Go on when an instance fails" "有实例失败时作业继续" }
    O_AUTO_RELEASE { "Delete the job after success" "成功后自动删除作业" }
    O_JOB_DESCRIPTION { "Description of the job" "作业描述文字" }
    O_PACK { "Program to send: a directory, a file, or several with commas" "要打包上传的程序：目录、文件，多个用逗号隔开" }
    O_PRIORITY { "Priority, 0 to 1000 (default: 1)" "优先级 0 到 1000（默认 1）" }
    O_TIMEOUT { "Seconds one run may take (default: 86400)" "单次运行的超时秒数（默认 86400）" }
    O_RETRY { "How often a failed instance is run again (default: 0)" "失败实例的重试次数（默认 0）" }
    O_CLUSTER { "Cluster id, or img=<image>:type=<type> for one made for the job" "集群 ID，或 img=<镜像>:type=<类型> 表示自动集群" }
    O_IMAGE { "Image of the automatic cluster" "自动集群的镜像" }
    O_TYPE { "Machine type of the automatic cluster" "自动集群的实例类型" }
    O_ENV { "Variables, k:v,k2:v2" "环境变量 k:v,k2:v2" }
    O_READ_MOUNT { "Mounts, oss://bucket/dir/:/local/dir/" "只读挂载 oss://bucket/dir/:/local/dir/" }
    O_MOUNT { "Mounts, oss://... or nas://..., with :true or :false for writing" "挂载 oss:// 或 nas://，可加 :true 或 :false 表示可写" }
    O_WRITE_MOUNT { "Outputs, oss://bucket/dir/:/local/dir/" "输出映射 oss://bucket/dir/:/local/dir/" }
    O_LOG_MAPPING { "Log files, /local/file:oss://bucket/dir/" "日志映射 /local/file:oss://bucket/dir/" }
    O_NAS_ACCESS_GROUP { "NAS access groups" "NAS 权限组" }
    O_NAS_FILE_SYSTEM { "NAS file systems" "NAS 文件系统" }
    O_DOCKER { "Container, name@oss://bucket/dockers/ or registry..." "容器镜像 name@oss://bucket/dockers/ 或 registry..." }
    O_USER_DATA { "User data of the machines, k:v,k2:v2" "机器的用户数据 k:v,k2:v2" }
    O_RESOURCE_TYPE { "OnDemand or Spot (default: OnDemand)" "OnDemand 或 Spot（默认 OnDemand）" }
    O_SPOT_PRICE_LIMIT { "Highest price of a spot machine; 0: as the price goes" "竞价实例的最高出价；0 表示随市场价" }
    O_DISK { "Disks, system:<type>:<GB>,data:<type>:<GB>:<dir>" "磁盘 system:<类型>:<GB>,data:<类型>:<GB>:<目录>" }
    O_LOCK { "File locks on mounts" "挂载目录支持文件锁" }
    O_LOCALE { "Character set of file names on mounts" "挂载目录的文件名字符集" }
    O_JOB_CFG { "A job of several tasks, job.cfg" "多任务作业文件 job.cfg" }
    O_NOTIFICATION_ENDPOINT { "Message service to notify" "消息通知的 endpoint" }
    O_NOTIFICATION_TOPIC { "Its topic" "消息通知的主题" }
    O_NOTIFICATION_EVENTS { "Events to notify of, separated by commas" "要通知的事件，多个用逗号隔开" }
    O_RESERVE_ON_FAIL { "Keep the automatic cluster when the job fails" "作业失败时保留自动集群" }
    O_NO_CACHE_SUPPORT { "Mounts without a cache" "挂载不使用缓存" }
    O_VPC_CIDR_BLOCK { "Private network of the machines" "机器的专有网络网段" }
    O_VPC_ID { "Id of the private network" "专有网络 ID" }

    O_LOG_DIR { "Download the logs into this directory" "把日志下载到此目录" }
    O_LOG_STDOUT { "Only standard output" "只看标准输出" }
    O_LOG_STDERR { "Only standard error" "只看标准错误" }
    O_LOG_MAPPED { "Only mapped log files" "只看映射的日志文件" }
    O_FOLLOW { "Follow the output while it is written" "实时跟踪输出" }

    O_PLATFORM { "Linux or Windows (default: Linux)" "Linux 或 Windows（默认 Linux）" }
    O_IMAGE_DESCRIPTION { "Description of the image" "镜像描述文字" }
    O_TERMINAL { "With a terminal, also for a command" "为命令也分配终端" }
    O_MACHINES { "Number of machines" "机器数量" }
    O_CLUSTER_DESCRIPTION { "Description of the cluster" "集群描述文字" }
    O_CLUSTER_LOG { "Show the operation log" "显示操作日志" }
    O_BYTE_RANGE { "Bytes a:b, or the first b" "字节范围 a:b，或前 b 个字节" }
}
