//! Jobs in the manner of PBS (`reference/bcs-cli.md` 16): a script with `#PBS` lines and the options of
//! `qsub` become a description, and a wrapper that runs the script as such scripts expect.
//!
//! ```text
//! #PBS lines ─┐
//! options ────┴─> Wishes ─> description + wrapper script
//! ```
//! Options win over lines. Letters of PBS that mean nothing here are accepted and ignored.
//!
//! Start at [`Wishes::of`].

pub mod resources;

use crate::words::Complaint;
use resources::Resources;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// What jobs of `qsub` begin with, before the user's label.
pub const PREFIX: &str = "qsub-";
/// The wrapper's name in the package.
pub const WRAPPER: &str = "qsub.sh";

/// What is wanted of a script.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Wishes {
    /// `-N`.
    pub name: Option<String>,
    /// `-d`: absolute, or relative to where `qsub` runs.
    pub work_path: Option<String>,
    /// `-o`.
    pub stdout: Option<String>,
    /// `-e`.
    pub stderr: Option<String>,
    /// `-j`: `oe`, `eo` or `n`.
    pub join: Option<String>,
    /// `-l`.
    pub resources: Resources,
    /// `-V`: the script sees the variables of whoever submits it.
    pub all_variables: bool,
    /// The program of the `#!` line.
    pub shell: Option<String>,
}

impl Wishes {
    /// What the lines of a script say.
    pub fn of(script: &str) -> Result<Self, Complaint> {
        let mut wishes = Self::default();
        let first = script.lines().next().and_then(|line| line.strip_prefix("#!"));
        wishes.shell = first.map(str::trim).filter(|shell| !shell.is_empty()).map(str::to_owned);
        for line in script.lines() {
            let words = line.trim().strip_prefix('#').map(str::trim_start);
            let Some(words) = words.and_then(|words| words.strip_prefix("PBS")) else { continue };
            let words = words.trim();
            let (letter, value) = words.split_once(char::is_whitespace).unwrap_or((words, ""));
            wishes.take(letter.trim_start_matches('-'), value.trim())?;
        }
        Ok(wishes)
    }

    /// Takes one option. Unknown letters mean nothing here.
    pub fn take(&mut self, letter: &str, value: &str) -> Result<(), Complaint> {
        let text = || Some(value.to_owned()).filter(|text| !text.is_empty());
        match letter {
            "N" => self.name = text(),
            "d" => self.work_path = text(),
            "o" => self.stdout = text(),
            "e" => self.stderr = text(),
            "j" => self.join = text(),
            "l" => self.resources.add(value)?,
            "V" => self.all_variables = true,
            _ => {}
        }
        Ok(())
    }

    /// The job's name, without prefix and label.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or("job")
    }

    /// Everything as it is in force, for `--show_opt`.
    pub fn shown(&self, place: &Place) -> Value {
        json!({
            "job_name": self.name(),
            "shell": self.shell(),
            "script_name": place.script,
            "work_path": place.work_path,
            "stdout_path": place.stdout,
            "stderr_path": place.stderr,
            "join": self.join(),
            "resource_list": self.resources.shown(),
            "env": self.all_variables,
        })
    }

    fn shell(&self) -> &str {
        self.shell.as_deref().unwrap_or("/bin/bash")
    }

    fn join(&self) -> &str {
        self.join.as_deref().unwrap_or("n")
    }
}

/// Where things are on the machine: absolute paths.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The script's file name.
    pub script: String,
    /// Where it runs.
    pub work_path: String,
    /// Where its standard output goes.
    pub stdout: String,
    /// Where its standard error goes.
    pub stderr: String,
}

impl Place {
    /// As the wishes say, for a `qsub` in this directory.
    pub fn of(wishes: &Wishes, script: &str, directory: &str) -> Self {
        let within = |base: &str, path: &str| match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{}/{path}", base.trim_end_matches('/')),
        };
        let work_path = wishes
            .work_path
            .as_deref()
            .map_or(directory.to_owned(), |path| within(directory, path));
        let file = |wish: &Option<String>, ending: &str| match wish {
            Some(path) => within(directory, path),
            None => within(&work_path, &format!("{}.{ending}", wishes.name())),
        };
        let (stdout, stderr) = (file(&wishes.stdout, "stdout"), file(&wishes.stderr, "stderr"));
        Self { script: script.to_owned(), work_path, stdout, stderr }
    }
}

/// The program that runs the script: a shell script without needs of its own.
pub fn wrapper(wishes: &Wishes, place: &Place, variables: &BTreeMap<String, String>) -> String {
    let mut lines = vec!["#!/bin/sh".to_owned()];
    let mut export = |name: &str, value: &str| {
        lines.push(format!("export {name}={}", quoted(value)));
    };
    if wishes.all_variables {
        variables.iter().filter(|(name, _)| is_name(name)).for_each(|(name, value)| {
            export(name, value);
        });
    }
    for name in ["HOME", "LANG", "LOGNAME", "PATH", "MAIL", "SHELL", "TZ"] {
        export(&format!("PBS_O_{name}"), variables.get(name).map_or("", String::as_str));
    }
    for (name, value) in [
        ("PBS_ENVIRONMENT", "PBS_BATCH"),
        ("PBS_JOBNAME", wishes.name()),
        ("PBS_O_WORKDIR", &place.work_path),
    ] {
        export(name, value);
    }
    let (out, err) = (quoted(&place.stdout), quoted(&place.stderr));
    let to = match wishes.join() {
        "oe" | "eo" => format!("> {out} 2>&1"),
        _ => format!("> {out} 2> {err}"),
    };
    let (work, script) = (quoted(&place.work_path), quoted(&place.script));
    lines.extend([
        "export PBS_JOBID=\"$BATCH_COMPUTE_DAG_JOB_ID\" PBS_O_HOST=\"$(hostname)\"".to_owned(),
        "export PBS_ARRAYID=\"$BATCH_COMPUTE_DAG_INSTANCE_ID\"".to_owned(),
        format!("for file in {out} {err}; do mkdir -p \"$(dirname \"$file\")\" || exit; done"),
        format!("mkdir -p {work} && cp {script} {work}/ && cd {work} || exit"),
        format!("{} {script} {to}", wishes.shell()),
    ]);
    lines.join("\n") + "\n"
}

fn is_name(name: &str) -> bool {
    let mut letters = name.chars();
    letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && letters.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// One word of a shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What the settings and the service contribute.
pub struct Surroundings<'a> {
    /// The label in names of jobs.
    pub user: &'a str,
    /// Who submits, and from where.
    pub description: Value,
    /// The folder of this submission.
    pub run_folder: String,
    /// Image of the automatic cluster.
    pub image: &'a str,
    /// Type of its machines; empty for the region's default.
    pub instance_type: &'a str,
}

/// The body of `POST /jobs`.
pub fn describe(wishes: &Wishes, place: &Place, around: &Surroundings<'_>) -> Value {
    let logs = format!("{}logs/", around.run_folder);
    let mut files = vec![&place.stdout];
    if wishes.join() == "n" {
        files.push(&place.stderr);
    }
    let mapping: BTreeMap<&String, &String> = files.into_iter().map(|file| (file, &logs)).collect();
    let mut task = json!({
        "InstanceCount": wishes.resources.nodes(),
        "MaxRetryCount": 0,
        "ClusterId": "",
        "AutoCluster": {
            "ImageId": around.image,
            "InstanceType": around.instance_type,
            "ResourceType": "OnDemand",
        },
        "LogMapping": mapping,
        "WriteSupport": true,
        "Parameters": {
            "Command": {
                "CommandLine": format!("sh {WRAPPER}"),
                "PackagePath": format!("{}worker.tar.gz", around.run_folder),
            },
            "StdoutRedirectPath": logs,
            "StderrRedirectPath": logs,
        },
    });
    if let Some(seconds) = wishes.resources.seconds {
        task["Timeout"] = seconds.into();
    }
    json!({
        "Name": format!("{PREFIX}{}-{}", around.user, wishes.name()),
        "Description": around.description.to_string(),
        "Type": "DAG",
        "Priority": 1,
        "JobFailOnInstanceFail": true,
        "AutoRelease": false,
        "Notification": {"Topic": {}},
        "DAG": {"Tasks": {"task": task}, "Dependencies": {}},
    })
}

/// `job-…` as `qsub` shows it: a decimal number and the server's name.
pub fn number_of(job: &str) -> String {
    let digits = job.strip_prefix("job-").and_then(|hex| u128::from_str_radix(hex, 16).ok());
    digits.map_or_else(|| job.to_owned(), |number| format!("{number}.console"))
}

/// The id behind such a number; ids stay.
pub fn job_of(written: &str) -> Option<String> {
    if written.starts_with("job-") {
        return Some(written.to_owned());
    }
    let digits = written.split('.').next()?;
    digits.parse::<u128>().ok().map(|number| format!("job-{number:032X}"))
}

/// Label and name of a job of `qsub`.
pub fn owner_and_name(job_name: &str) -> Option<(&str, &str)> {
    job_name.strip_prefix(PREFIX)?.split_once('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = "#!/bin/sh\n#PBS -N align\n# PBS -l select=2:ncpus=2:mem=4gb\n\
        #PBS -o out/align.log\n#PBS -j oe\n#PBS -q fast\necho hi\n#PBS -V\n";

    #[test]
    fn lines_are_read_and_options_win() {
        let mut wishes = Wishes::of(SCRIPT).expect("legal");
        assert_eq!((wishes.name(), wishes.join(), wishes.shell()), ("align", "oe", "/bin/sh"));
        assert!(wishes.all_variables);
        wishes.take("N", "other").expect("legal");
        wishes.take("q", "ignored").expect("legal");
        let place = Place::of(&wishes, "run.pbs", "/home/me");
        assert_eq!(place.work_path, "/home/me");
        assert_eq!(place.stdout, "/home/me/out/align.log");
        assert_eq!(place.stderr, "/home/me/other.stderr");
    }

    #[test]
    fn a_description_keeps_one_file_when_both_are_joined() {
        let wishes = Wishes::of(SCRIPT).expect("legal");
        let place = Place::of(&wishes, "run.pbs", "/home/me");
        let around = Surroundings {
            user: "root",
            description: json!({"type": "qsub"}),
            run_folder: "oss://b/run/".into(),
            image: "img-ubuntu",
            instance_type: "t",
        };
        let job = describe(&wishes, &place, &around);
        let task = &job["DAG"]["Tasks"]["task"];
        assert_eq!(job["Name"], "qsub-root-align");
        assert_eq!(task["LogMapping"], json!({"/home/me/out/align.log": "oss://b/run/logs/"}));
        assert_eq!(task["Parameters"]["Command"]["PackagePath"], "oss://b/run/worker.tar.gz");
        assert!(task.get("Timeout").is_none());
    }

    #[test]
    fn the_wrapper_is_one_word_where_a_word_is_meant() {
        let wishes = Wishes { name: Some("it's".into()), ..Wishes::default() };
        let place = Place::of(&wishes, "my run.sh", "/home/my dir");
        let variables = BTreeMap::from([("PATH".to_owned(), "/bin".to_owned())]);
        let text = wrapper(&wishes, &place, &variables);
        assert!(text.contains("export PBS_JOBNAME='it'\\''s'\n"), "{text}");
        assert!(text.contains("export PBS_O_PATH='/bin'\n"), "{text}");
        assert!(!text.contains("export PATH="), "only -V gives variables");
        let run = "/bin/bash 'my run.sh' > '/home/my dir/it'\\''s.stdout' 2> '/home/my dir/it'\\''s.stderr'\n";
        assert!(text.ends_with(run), "{text}");
    }

    #[test]
    fn numbers_are_ids() {
        let job = "job-0000000000000000000000000000001F";
        assert_eq!(number_of(job), "31.console");
        for written in ["31.console", "31", job] {
            assert_eq!(job_of(written).as_deref(), Some(job));
        }
        assert_eq!(job_of("x.console"), None);
        assert_eq!(owner_and_name("qsub-root-a-b"), Some(("root", "a-b")));
        assert_eq!(owner_and_name("cli-job"), None);
    }
}
