//! What commands say: results, questions, mistakes.

use super::{Text, table};

table! {
    ERROR { "ERROR: {text}" "错误：{text}" }
    EXEC { "exec: bcs {words}" "执行：bcs {words}" }
    DONE { "done" "完成" }
    DONE_WITH { "{what}: done" "{what}：完成" }
    TOTAL { "Total: {total} (cache {rows} rows)" "共 {total} 条（缓存 {rows} 行）" }

    USAGE_UNKNOWN { "Unknown word {what}. See --help" "无法识别 {what}，请查看 --help" }
    USAGE_NO_COMMAND { "There is no command {what}. See bcs --help" "没有命令 {what}，请查看 bcs --help" }
    USAGE_MISSING { "Missing: {what}. See --help" "缺少 {what}，请查看 --help" }
    USAGE_VALUE { "Wrong or missing value for {what}. See --help" "{what} 的值缺失或不正确，请查看 --help" }

    UNREACHABLE { "could not {doing}: no answer from {url}" "{doing} 失败：{url} 没有应答" }
    REFUSED { "could not {doing}: HTTP Status: {status}, Code: {code}, RequestID: {id}, Message: {message}." "{doing} 失败：HTTP Status: {status}, Code: {code}, RequestID: {id}, Message: {message}." }
    GARBLED { "could not {doing}: the answer is not understood" "{doing} 失败：无法理解应答" }

    NO_LIST { "there is no list yet in which `{id}` is a number: see `bcs {lister}`" "还没有列表，无法确定序号 `{id}`，请先执行 `bcs {lister}`" }

    NO_REGION { "no region is set: log in with `bcs login <region>`, or set endpoint and oss_endpoint" "没有设置地域：请先执行 `bcs login <region>`，或设置 endpoint 和 oss_endpoint" }
    NO_OSSPATH { "no osspath is set: `bcs set -o oss://bucket/prefix/`, or BCS_OSSPATH" "没有设置 osspath：请执行 `bcs set -o oss://bucket/prefix/`，或设置 BCS_OSSPATH" }
    NOT_LOGGED_IN { "no access key: log in with `bcs login <region>`, or set BCS_ACCESS_KEY_ID and BCS_ACCESS_KEY_SECRET" "没有访问密钥：请先执行 `bcs login <region>`，或设置 BCS_ACCESS_KEY_ID 和 BCS_ACCESS_KEY_SECRET" }
    KEY_NEEDED { "an access key id and secret are needed" "需要 AccessKey ID 和 Secret" }
    CANNOT_READ { "could not read `{what}`" "无法读取 `{what}`" }
    CANNOT_WRITE { "could not write `{what}`" "无法写入 `{what}`" }
    CANNOT_PARSE { "`{what}` is not a settings file" "`{what}` 不是有效的设置文件" }
    CANNOT_UPLOAD { "could not upload to {what}" "无法上传到 {what}" }
    CANNOT_DOWNLOAD { "could not download {what}" "无法下载 {what}" }
    ARCHIVE { "the archive" "打包文件" }
    NO_BUCKET { "there is no bucket `{bucket}`" "没有名为 `{bucket}` 的 bucket" }
    NO_OBJECT { "there is no object oss://{bucket}/{key}" "没有对象 oss://{bucket}/{key}" }
    DENIED { "access to oss://{bucket}/{key} is denied: {why}" "无权访问 oss://{bucket}/{key}：{why}" }
    LOGIN_FAILED { "the service did not accept these settings" "服务端没有接受这些设置" }
    LOGIN_DONE { "login success" "登录成功" }
    REGION_KNOWN { "region {region}: {label}" "地域 {region}：{label}" }
    LOGOUT_DONE { "logout success" "已退出登录" }
    DEFAULT_SET { "{key} was not set, it is now {value}" "{key} 未设置，已设为 {value}" }
    OSSPATH_UNREADABLE { "warning: {path} cannot be listed: {why}" "警告：无法列出 {path}：{why}" }
    INVALID_TYPE { "the machine type `{type}` is not available; see `bcs it`" "实例类型 `{type}` 不可用，请查看 `bcs it`" }
    INVALID_LOCALE { "locale must be en, zh or zh_CN, not `{text}`" "locale 必须是 en、zh 或 zh_CN，而不是 `{text}`" }

    INVALID_ID { "Invalid id: {id}" "无效的 ID：{id}" }
    NOT_A_COUNT { "{option} must be a whole number, not `{text}`" "{option} 必须是整数，而不是 `{text}`" }
    NOT_A_NUMBER { "{option} must be a whole number from {first} to {last}, not `{text}`" "{option} 必须是 {first} 到 {last} 的整数，而不是 `{text}`" }
    NOT_A_SWITCH { "{option} must be true or false, not `{text}`" "{option} 必须是 true 或 false，而不是 `{text}`" }
    NOT_A_PRICE { "a price limit must be a number of 0 or more, not `{text}`" "出价上限必须是不小于 0 的数，而不是 `{text}`" }
    INVALID_MOUNT { "`{text}` is not a mount; it should look like oss://bucket/dir/:/local/dir or nas://host:/path:/local/dir" "`{text}` 不是有效的挂载；应形如 oss://bucket/dir/:/local/dir 或 nas://host:/path:/local/dir" }
    INVALID_MAPPING { "`{text}` is not a mapping; it should look like oss://bucket/dir/:/local/dir/" "`{text}` 不是有效的映射；应形如 oss://bucket/dir/:/local/dir/" }
    INVALID_DISK { "Invalid disk format `{text}`, it should look like system:default:40,data:cloud_efficiency:500:/home/data" "磁盘格式无效 `{text}`，应形如 system:default:40,data:cloud_efficiency:500:/home/data" }
    INVALID_CLUSTER { "`{text}` is neither a cluster id nor img=<img-...|m-...>:type=<type>" "`{text}` 既不是集群 ID，也不是 img=<img-...|m-...>:type=<类型>" }
    INVALID_DOCKER { "Invalid docker option format `{text}`, it should look like name@oss://bucket/dockers/ or registry..." "docker 选项格式无效 `{text}`，应形如 name@oss://bucket/dockers/ 或 registry..." }
    INVALID_JOB_EVENT { "Invalid job event: {event}" "无效的作业事件：{event}" }
    LOG_NOT_A_FOLDER { "a log mapping needs a folder that ends in /, not `{path}`" "日志映射的目标必须是以 / 结尾的目录，而不是 `{path}`" }
    VPC_NEEDS_CIDR { "vpc_id needs vpc_cidr_block" "使用 vpc_id 时必须指定 vpc_cidr_block" }
    NO_COMMAND { "Missing required option: cmd" "缺少必填项：cmd" }
    NO_TASKS { "the file holds no task: every [section] except [DEFAULT] is one" "文件中没有任务：除 [DEFAULT] 外每个 [section] 是一个任务" }
    BROKEN_JOB_CFG { "job.cfg cannot be read: {why}" "无法解析 job.cfg：{why}" }
    BROKEN_PERCENT { "`{text}`: write %% for a percent sign, or %(name)s for the value of another key" "`{text}`：百分号请写成 %%，或用 %(name)s 引用其他键的值" }
    UNKNOWN_KEY { "job.cfg: there is no option `{key}`" "job.cfg：没有选项 `{key}`" }
    UNKNOWN_DEPENDENCY { "deps names `{task}`, which is not a task of the file" "deps 中的 `{task}` 不是文件中的任务" }
    NOTHING_TO_PACK { "there is nothing to pack at `{path}`" "`{path}` 处没有可打包的文件" }
    NO_DESCRIPTION { "a description is needed, as JSON or with -f" "需要作业描述：JSON 文本或 -f 文件" }
    NOT_JSON { "the description is not JSON: {why}" "描述不是合法的 JSON：{why}" }

    PACKING { "packing {what}" "正在打包 {what}" }
    PACKED { "packed {files} files, {bytes} bytes" "已打包 {files} 个文件，{bytes} 字节" }
    UPLOADED { "Upload: {from} ==> {to}" "上传：{from} ==> {to}" }
    DOWNLOADED { "Download: {from} ==> {to}" "下载：{from} ==> {to}" }
    COPIED { "Copy: {from} ==> {to}" "复制：{from} ==> {to}" }
    JOB_CREATED { "Job created: {job}" "作业已创建：{job}" }
    JOB_ENDED { "{job} is {state}. {message}" "{job} 状态为 {state}。{message}" }
    WATCH_NEEDS_JOB { "-w needs a job" "-w 需要指定作业" }
    MORE_INSTANCES { "{shown} of {total} instances" "显示 {total} 个实例中的 {shown} 个" }
    MORE_FAILURES { "{count} more failed instances of {task}" "{task} 另有 {count} 个失败的实例" }
    NO_LOGS { "no logs yet" "还没有日志" }
    LOG_TOO_LARGE { "{path} holds {size} bytes; fetch it with -d" "{path} 有 {size} 字节；请用 -d 下载" }
    FOLLOW_LIMIT { "following {shown} of {total} logs; name a task or instance for the others" "跟踪 {total} 个日志中的 {shown} 个；要看其他的请指定任务或实例" }

    ASK_STOP { "Stop {jobs}. Are you sure?" "停止 {jobs}，确定吗？" }
    ASK_RESTART { "Start {jobs} again. Are you sure?" "重新启动 {jobs}，确定吗？" }
    ASK_DELETE { "Stop and delete {jobs}. Are you sure?" "停止并删除 {jobs}，确定吗？" }
    ASK_UPDATE { "Change the priority of {jobs}. Are you sure?" "修改 {jobs} 的优先级，确定吗？" }
    ASK_DELETE_CLUSTER { "Delete {clusters}. Are you sure?" "删除 {clusters}，确定吗？" }
    ASK_UPDATE_CLUSTER { "Change {clusters}. Are you sure?" "修改 {clusters}，确定吗？" }
    ASK_DELETE_OBJECTS { "Delete {count} objects that begin with {path}. Are you sure?" "删除以 {path} 开头的 {count} 个对象，确定吗？" }
    NOT_CONFIRMED { "not confirmed, nothing was done" "未确认，没有执行" }
    NEEDS_YES { "nobody is here to ask: say yes with -y" "无法询问确认，请加 -y" }

    WHY_TASKS { "waits for {tasks}" "正在等待任务 {tasks}" }
    WHY_MANY_TASKS { "waits for {tasks} and {others} other task(s)" "正在等待任务 {tasks} 以及另外 {others} 个任务" }
    WHY_CLUSTER_DELETED { "waits for cluster {cluster}, which was deleted" "集群 {cluster} 已被删除" }
    WHY_STARTING { "waits for cluster {cluster}: {machines} machine(s) starting" "正在等待集群 {cluster}：{machines} 台机器正在启动" }
    WHY_STARTING_AGAIN { "waits for cluster {cluster}: {machines} machine(s) starting; the last said: {said}" "正在等待集群 {cluster}：{machines} 台机器正在启动；上一次的原因：{said}" }
    WHY_REFUSED { "waits for a machine of cluster {cluster}; the provider says: {said}" "正在等待集群 {cluster} 的机器；资源方答复：{said}" }
    WHY_WITHHELD { "waits for machines of cluster {cluster}: {why}" "正在等待集群 {cluster} 的机器：{why}" }
    WHY_RECLAIMED { "waits: the machines of cluster {cluster} are reclaimed: {why}" "集群 {cluster} 的机器正被回收：{why}" }
    WHY_PREPAID { "waits for machines: all that the operator set aside for the account are taken" "正在等待机器：为账号预留的包年包月机器已全部占用" }
    WHY_MACHINES { "waits for machines: the account uses {used} of the {limit} machines it may" "正在等待机器：账号已使用 {used} 台机器，最多 {limit} 台" }
    WHY_CORES { "waits for machines: the account uses {used} of the {limit} cores it may" "正在等待机器：账号已使用 {used} 个核，最多 {limit} 个" }
    WHY_ATTACHED_FULL { "waits for machines of cluster {cluster}: it has the {limit} that attached tasks may have" "正在等待集群 {cluster} 的机器：附加任务最多可用 {limit} 台，已全部占用" }
    WHY_TURN { "waits behind {others} other task(s) on cluster {cluster}" "在集群 {cluster} 上排在 {others} 个其他任务之后" }
    WHY_BUSY { "is next for a machine of cluster {cluster}; all are busy" "下一个轮到它，但集群 {cluster} 的机器都在忙" }
    WHY_PLACING { "is about to be placed" "即将分配到机器" }
    WAITS_FOR_TASKS { "waits for {tasks}" "正在等待 {tasks}" }
    WAITS_FOR_MACHINES { "waits for a machine of its automatic cluster" "正在等待自动集群的机器" }
    WAITS_TYPE_UNKNOWN { "the machine type {type} is not available to this account" "当前账号不能使用实例类型 {type}" }
    WAITS_NO_CLUSTER { "the cluster {cluster} does not exist" "集群 {cluster} 不存在" }
    WAITS_EMPTY_CLUSTER { "the cluster {cluster} has no machines: give it some with `bcs uc {cluster} -n N`" "集群 {cluster} 没有机器：请执行 `bcs uc {cluster} -n N`" }
    WAITS_STARTING_CLUSTER { "the machines of {cluster} are still starting" "集群 {cluster} 的机器正在启动" }
    WAITS_BUSY_CLUSTER { "the machines of {cluster} are busy" "集群 {cluster} 的机器都在忙" }

    NO_SUBCOMMAND { "{command} needs a command; see `bcs {command} --help`" "{command} 需要子命令，请查看 `bcs {command} --help`" }
    UNKNOWN_TEMPLATE { "there is no template `{type}`; there are {known}" "没有模板 `{type}`；可选 {known}" }
    ALREADY_THERE { "`{path}` is there already, nothing was written" "`{path}` 已存在，没有写入" }
    PROJECT_MADE { "project made in {path}; go there and see `bcs project status`" "项目已创建于 {path}；进入该目录执行 `bcs project status`" }
    NO_PROJECT { "this is not the directory of a project: there is no {file}" "当前目录不是项目目录：没有 {file}" }
    BROKEN_FILE { "{file} cannot be read: {why}" "无法解析 {file}：{why}" }
    PROJECT_FAULT { "job.json: {place} is missing or not legal" "job.json：{place} 缺失或不合法" }
    NO_TASK { "there is no task `{task}`" "没有任务 `{task}`" }
    NOTHING_TO_BUILD { "project.json has neither build_script nor tar_src" "project.json 中既没有 build_script 也没有 tar_src" }
    NOT_BUILT { "there is no {file}: run `bcs project build` first" "没有 {file}：请先执行 `bcs project build`" }
    RUNNING { "running {what}" "正在执行 {what}" }
    SCRIPT_FAILED { "`{what}` ended with {status}" "`{what}` 执行失败：{status}" }
    INVALID_RESOURCES { "`{text}` is not a list of resources; it should look like walltime=1:00:00,ncpus=4,mem=8gb" "`{text}` 不是有效的资源列表；应形如 walltime=1:00:00,ncpus=4,mem=8gb" }
    NO_FITTING_TYPE { "no machine type has the cores and memory that are asked for; see `bcs it`" "没有满足所需处理器和内存的实例类型，请查看 `bcs it`" }

    ON_DEMAND_TYPES { "On demand:" "按需实例类型：" }
    SPOT_TYPES { "Spot:" "竞价实例类型：" }
    APP_CREATED { "App created: {app}" "App 已创建：{app}" }
    ASK_UPDATE_APP { "Change {app}. Are you sure?" "修改 {app}，确定吗？" }
    ASK_DELETE_APP { "Delete {apps}. Are you sure?" "删除 {apps}，确定吗？" }
    NO_APP { "NotFound App named {app}" "没有名为 {app} 的 App" }
    NO_PARAMETER { "the app has no parameter `{name}`; it has: {names}" "App 没有参数 `{name}`；它的参数有：{names}" }
    NOT_NUMERIC { "the default of {name} must be a number, not `{text}`" "{name} 的默认值必须是数字，而不是 `{text}`" }
    CLUSTER_CREATED { "Cluster created: {cluster}" "集群已创建：{cluster}" }
    IMAGE_CREATED { "Image created: {image}" "镜像已创建：{image}" }
    INVALID_ECS_IMAGE { "an imported image has an id that begins with m-, not `{id}`" "导入的镜像 ID 以 m- 开头，而不是 `{id}`" }
    INVALID_PLATFORM { "platform must be Linux or Windows, not `{text}`" "平台必须是 Linux 或 Windows，而不是 `{text}`" }
    ASK_DELETE_IMAGE { "Delete {images}. Are you sure?" "删除 {images}，确定吗？" }
    ASK_DELETE_MACHINE { "Remove {machines} from {cluster}. Are you sure?" "从 {cluster} 中删除 {machines}，确定吗？" }
    ASK_RECREATE_MACHINE { "Replace {machines} of {cluster}. Are you sure?" "重建 {cluster} 中的 {machines}，确定吗？" }
    SHELL_ENDED { "the shell ended: {why}" "shell 已结束：{why}" }
    SHELL_LOST { "the connection to the shell is lost" "与 shell 的连接已断开" }
    SHELL_HUNG_UP { "hung up" "已挂断" }
    UNKNOWN_SHELL { "there is no completion for `{shell}`; try bash, zsh or fish" "不支持 `{shell}` 的补全；可选 bash、zsh、fish" }

    INVALID_OSS_PATH { "`{path}` is not a path of the object store; it should look like oss://bucket/key" "`{path}` 不是有效的 OSS 路径；应形如 oss://bucket/key" }
    INVALID_BUCKET { "`{bucket}` is not the name of a bucket" "`{bucket}` 不是有效的 bucket 名" }
    INVALID_RANGE { "`{text}` is not a range of bytes; it should look like 0:100" "`{text}` 不是有效的字节范围；应形如 0:100" }
    NOTHING_THERE { "Not found: {path}" "未找到：{path}" }
    DELETED { "deleted {count} objects below {path}" "已删除 {path} 下的 {count} 个对象" }
    UNSAFE_KEY { "the key `{key}` would leave the target folder" "键 `{key}` 会写到目标目录之外" }
}
