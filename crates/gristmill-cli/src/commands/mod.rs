//! The commands: one function per command, grouped by what they work on.
//!
//! [`run`] reads settings, parses the words, calls the command and turns its outcome into an exit
//! status: 0 success, 1 failure, 2 words that are not understood. Errors are said once, here,
//! with everything that was being tried.

mod act;
mod apps;
mod asub;
mod check;
mod clusters;
mod detail;
mod images;
mod jobs;
mod log;
mod login;
mod machines;
mod oss;
mod project;
mod qsub;
mod resources;
mod ssh;
mod submit;

use crate::{
    caches::Caches,
    client::ClientError,
    environment::Environment,
    grammar,
    output::Output,
    session::Session,
    settings::{Settings, SettingsError},
    submit::pack::PackError,
    words::{Complaint, Language, Trouble, messages as m},
};
use clap::{ArgMatches, error::ErrorKind};
use gristmill_objects::ObjectError;
use std::{io, str::FromStr};

const FAILURE: u8 = 1;
const USAGE: u8 = 2;
/// The reader of our data went away, as a shell reports a program ended by SIGPIPE.
const NOBODY_READS: u8 = 141;

/// What a command did, as an exit status.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Success,
    /// It worked, and what it found is a failure: a watched job failed.
    Failure,
    /// The status of a command elsewhere.
    Status(u8),
}

type Outcome = anyhow::Result<End>;

/// Runs one command line.
pub(crate) async fn run(args: Vec<String>, env: Environment, mut out: Output) -> u8 {
    let settings = match Settings::load(&env) {
        Ok(settings) => settings,
        Err(error) => {
            let language = Language::choose(None, &env.variables);
            out.words(&describe_error(&error.into(), language));
            return FAILURE;
        }
    };
    let language = Language::choose(settings.get("locale").as_deref(), &env.variables);
    let words: Vec<String> =
        std::iter::once("bcs".to_owned()).chain(asub::gathered(args)).collect();
    let matches = match grammar::tree_for(&words, language).try_get_matches_from(&words) {
        Ok(matches) => matches,
        Err(error) => return not_understood(&error, language, &mut out),
    };
    let caches = Caches::of(&env);
    let mut session = Session { env, settings, caches, language, out };
    match dispatch(&matches, &mut session).await {
        Ok(End::Success) => 0,
        Ok(End::Failure) => FAILURE,
        Ok(End::Status(status)) => status,
        Err(error) if is_broken_pipe(&error) => NOBODY_READS,
        Err(error) => {
            let line = describe_error(&error, language);
            session.out.words(&line);
            FAILURE
        }
    }
}

async fn dispatch(matches: &ArgMatches, session: &mut Session) -> Outcome {
    let Some((name, words)) = matches.subcommand() else {
        let help = grammar::tree(session.language).render_help().to_string();
        session.out.data(help.trim_end())?;
        return Ok(End::Success);
    };
    match name {
        "login" => login::login(words, session).await,
        "logout" => login::logout(session),
        "config" => login::config(words, session).await,
        "submit" => submit::submit(words, session).await,
        "create_job" => submit::create(words, session).await,
        "job" => jobs::job(words, session).await,
        "check" => check::check(words, session).await,
        "log" => log::log(words, session).await,
        "stop_job" | "restart_job" | "delete_job" | "update_job" => {
            act::act(name, words, session).await
        }
        "cluster" => clusters::show(words, session).await,
        "create_cluster" => clusters::create(words, session).await,
        "delete_cluster" => clusters::delete(words, session).await,
        "update_cluster" => clusters::update(words, session).await,
        "ssh" => ssh::ssh(words, session).await,
        "image" => images::images(words, session).await,
        "create_image" => images::create(words, session).await,
        "delete_image" => images::delete(words, session).await,
        "recreate_cluster_instance" => machines::recreate(words, session).await,
        "delete_cluster_instance" => machines::delete(words, session).await,
        "app" => apps::show(words, session).await,
        "create_app" => apps::create(words, session).await,
        "update_app" => apps::update(words, session).await,
        "delete_app" => apps::delete(words, session).await,
        "asub" => asub::submit(words, session).await,
        "instance_type" => resources::instance_types(session).await,
        "resource_type" => resources::resource_types(session).await,
        "disk_type" => resources::disk_types(session).await,
        "event" => resources::events(session),
        "oss" => oss::oss(words, session).await,
        "gen" => project::generate(words, session),
        "project" => project::project(words, session).await,
        "qsub" => qsub::submit(words, session).await,
        "qstat" => qsub::status(words, session).await,
        "qdel" => qsub::delete(words, session).await,
        "qhost" => qsub::hosts(session).await,
        "completion" => resources::completion(words, session),
        other => unreachable!("`{other}` is in the grammar but has no command"),
    }
}

/// The text of an option or argument.
fn text<'a>(words: &'a ArgMatches, name: &str) -> Option<&'a str> {
    words.get_one::<String>(name).map(String::as_str)
}

/// The text of an argument that the grammar requires.
fn required<'a>(words: &'a ArgMatches, name: &str) -> &'a str {
    text(words, name).expect("the grammar requires it")
}

/// The number behind an option.
fn number<T: FromStr>(words: &ArgMatches, name: &'static str) -> Result<Option<T>, Complaint> {
    let read = |text: &str| {
        text.parse().map_err(|_| m::NOT_A_COUNT.complain([("option", &name), ("text", &text)]))
    };
    text(words, name).map(read).transpose()
}

/// `--help` is data and a success; anything else is a mistake in the words.
fn not_understood(error: &clap::Error, language: Language, out: &mut Output) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = out.data(error.to_string().trim_end());
            0
        }
        _ => {
            out.words(&usage_text(error, language));
            USAGE
        }
    }
}

fn usage_text(error: &clap::Error, language: Language) -> String {
    use clap::error::{ContextKind, ContextValue};
    let rendered = error.to_string();
    if language == Language::English {
        return rendered.trim_end().to_owned();
    }
    let named =
        [ContextKind::InvalidArg, ContextKind::InvalidSubcommand].into_iter().find_map(|kind| {
            match error.get(kind)? {
                ContextValue::String(text) => Some(text.clone()),
                ContextValue::Strings(texts) => Some(texts.join(" ")),
                _ => None,
            }
        });
    let named = named.unwrap_or_default();
    let sentence = match error.kind() {
        ErrorKind::UnknownArgument => m::USAGE_UNKNOWN,
        ErrorKind::InvalidSubcommand => m::USAGE_NO_COMMAND,
        ErrorKind::MissingRequiredArgument => m::USAGE_MISSING,
        _ => m::USAGE_VALUE,
    };
    sentence.fill(language, &[("what", &named)])
}

/// The whole chain of an error in one line, in the user's language.
fn describe_error(error: &anyhow::Error, language: Language) -> String {
    let mut parts: Vec<String> = Vec::new();
    for cause in error.chain() {
        let part = in_language(cause, language);
        // Transparent wrappers say the same thing twice.
        if parts.last() != Some(&part) {
            parts.push(part);
        }
    }
    m::ERROR.fill(language, &[("text", &parts.join(": "))])
}

/// One link of the chain: what we know how to say, else as it says itself.
fn in_language(cause: &(dyn std::error::Error + 'static), language: Language) -> String {
    if let Some(complaint) = cause.downcast_ref::<Complaint>() {
        return complaint.say(language);
    }
    if let Some(trouble) = cause.downcast_ref::<Trouble>() {
        return trouble.complaint.say(language);
    }
    if let Some(refused) = cause.downcast_ref::<ClientError>() {
        return refused.say(language);
    }
    if let Some(settings) = cause.downcast_ref::<SettingsError>() {
        return settings.complaint().say(language);
    }
    if let Some(complaint) = cause.downcast_ref::<PackError>().and_then(PackError::complaint) {
        return complaint.say(language);
    }
    match cause.downcast_ref::<ObjectError>() {
        Some(ObjectError::NoSuchBucket { bucket }) => {
            m::NO_BUCKET.complain([("bucket", bucket)]).say(language)
        }
        Some(ObjectError::NoSuchKey { bucket, key }) => {
            m::NO_OBJECT.complain([("bucket", bucket), ("key", key)]).say(language)
        }
        Some(ObjectError::Denied { bucket, key, message }) => {
            m::DENIED.complain([("bucket", bucket), ("key", key), ("why", message)]).say(language)
        }
        _ => cause.to_string(),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let broken = |cause: &io::Error| cause.kind() == io::ErrorKind::BrokenPipe;
    error.downcast_ref::<io::Error>().is_some_and(broken)
}
