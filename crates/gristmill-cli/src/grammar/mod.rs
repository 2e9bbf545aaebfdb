//! The words of the command line: commands, aliases, options, in the user's language.
//!
//! Names, aliases and short letters are the official tool's (`reference/bcs-cli.md` 5-14), so that
//! scripts go on working. Options and arguments mix in any order; a value may begin with `-` and
//! hold `=`. An option nobody knows is an error here, not one more argument.
//!
//! Start at [`tree`]. [`SUBMIT`] is also the list of keys that a `job.cfg` may hold.

mod commands;
mod options;

pub use options::{APP, APP_JOB, CLUSTER, SETTINGS, SUBMIT};

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
