//! What a new project holds: for each type a job that runs as it is, and a page that says how to go on.

use super::project;
use serde_json::{Map, Value, json};

/// The types of projects that can be made.
pub const KINDS: [&str; 4] = ["empty", "python", "shell", "java"];

/// What the settings contribute.
pub struct Defaults {
    /// `oss://bucket/prefix/`.
    pub osspath: String,
    /// Image of the automatic cluster.
    pub image: String,
    /// Its machines' type; empty for the region's default.
    pub instance_type: String,
}

/// The files of a new project of this type, by their paths; `None`: there is no such type.
pub fn files(kind: &str, defaults: &Defaults) -> Option<Vec<(&'static str, String)>> {
    let (job, sources): (Value, &[(&'static str, &str)]) = match kind {
        "empty" => (one_task("python3 print.py", defaults), &[("src/print.py", PRINT_PY)]),
        "shell" => (one_task("sh main.sh", defaults), &[("src/main.sh", MAIN_SH)]),
        "java" => (one_task("java Main.java", defaults), &[("src/Main.java", MAIN_JAVA)]),
        "python" => {
            (count_and_merge(defaults), &[("src/count.py", COUNT_PY), ("src/merge.py", MERGE_PY)])
        }
        _ => return None,
    };
    let type_shown = if kind == "empty" { "python" } else { kind };
    let text = |value: &Value| format!("{value:#}\n");
    let mut files = vec![
        ("job.json", text(&job)),
        ("project.json", text(&project(type_shown))),
        ("Readme.md", README.to_owned()),
    ];
    files.extend(sources.iter().map(|(path, source)| (*path, (*source).to_owned())));
    Some(files)
}

fn job(tasks: Value, dependencies: Value) -> Value {
    json!({
        "Name": "cli-job",
        "Description": "made from a template of bcs",
        "Type": "DAG",
        "Priority": 0,
        "JobFailOnInstanceFail": true,
        "DAG": {"Tasks": tasks, "Dependencies": dependencies},
    })
}

fn one_task(command: &str, defaults: &Defaults) -> Value {
    job(json!({"print": task(command, 1, defaults)}), json!({}))
}

/// Three instances write a number each; one that follows reads and adds them.
fn count_and_merge(defaults: &Defaults) -> Value {
    let shared = format!("{}counts/", defaults.osspath);
    let (mut count, mut merge) =
        (task("python3 count.py", 3, defaults), task("python3 merge.py", 1, defaults));
    count["OutputMapping"] = json!({"/home/output/": shared});
    merge["InputMapping"] = Map::from_iter([(shared, "/home/input/".into())]).into();
    job(json!({"count": count, "merge": merge}), json!({"count": ["merge"]}))
}

fn task(command: &str, instances: u32, defaults: &Defaults) -> Value {
    json!({
        "InstanceCount": instances,
        "MaxRetryCount": 0,
        "Timeout": 21_600,
        "ClusterId": "",
        "AutoCluster": {"ImageId": defaults.image, "InstanceType": defaults.instance_type},
        "Parameters": {
            "Command": {"CommandLine": command, "PackagePath": ""},
            "StdoutRedirectPath": "",
            "StderrRedirectPath": "",
        },
        "WriteSupport": true,
    })
}

const PRINT_PY: &str = "\
import os

print('hello from instance', os.environ['BATCH_COMPUTE_DAG_INSTANCE_ID'])
";

const MAIN_SH: &str = "\
#!/bin/sh
echo \"hello from instance $BATCH_COMPUTE_DAG_INSTANCE_ID\"
";

const MAIN_JAVA: &str = "\
public class Main {
    public static void main(String[] words) {
        System.out.println(\"hello from instance \" + System.getenv(\"BATCH_COMPUTE_DAG_INSTANCE_ID\"));
    }
}
";

const COUNT_PY: &str = "\
# Each instance counts something of its own: here, its number.
import os

number = int(os.environ['BATCH_COMPUTE_DAG_INSTANCE_ID'])
with open(f'/home/output/{number}.txt', 'w') as out:
    out.write(str(number + 1))
";

const MERGE_PY: &str = "\
# Runs when all instances of `count` have finished, and sees what they wrote.
import os

total = sum(int(open('/home/input/' + name).read()) for name in os.listdir('/home/input'))
print('total', total)
";

const README: &str = "\
# A project for bcs

| File | Holds |
|---|---|
| `job.json` | the description of the job: tasks, their order, where they run |
| `project.json` | what goes into `worker.tar.gz`: patterns below a directory; `build_script` is run first, if it is there |
| `src/` | the program |

    bcs project status          # what would be submitted, and what is wrong with it
    bcs project build           # makes worker.tar.gz
    bcs project submit          # uploads it and submits the job
    bcs project update -c img=img-ubuntu:type=ecs.sn1.large
    bcs project update -c cls-...

# 项目说明（中文）

| 文件 | 内容 |
|---|---|
| `job.json` | 作业描述：任务、依赖关系、在哪里运行 |
| `project.json` | `worker.tar.gz` 里包含哪些文件；有 `build_script` 时先执行它 |
| `src/` | 程序 |

依次执行 `bcs project status`、`bcs project build`、`bcs project submit`。
";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::project::faults;

    #[test]
    fn every_template_is_a_job_that_can_be_submitted() {
        let defaults = Defaults {
            osspath: "oss://b/p/".into(),
            image: "img-ubuntu".into(),
            instance_type: String::new(),
        };
        for kind in KINDS {
            let files = files(kind, &defaults).expect("a known type");
            let find = |name: &str| &files.iter().find(|(path, _)| *path == name).expect(name).1;
            let job: Value = serde_json::from_str(find("job.json")).expect("JSON");
            assert!(faults(&job).is_empty(), "{kind}");
            assert!(find("project.json").contains("\"base\": \"src\""));
            assert!(files.iter().any(|(path, _)| path.starts_with("src/")), "{kind}");
        }
        assert!(files("wdl", &defaults).is_none());
    }
}
