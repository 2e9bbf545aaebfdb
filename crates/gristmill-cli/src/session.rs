//! What every command has at hand: the place it runs in, settings, caches, clients, and a mouth
//! that speaks the user's language.

use crate::{
    caches::Caches,
    client::Client,
    environment::Environment,
    oss_path,
    output::Output,
    settings::Settings,
    store::Store,
    words::{Language, Text, messages as m},
};
use std::io::{self, BufRead};

/// One run of the command.
pub struct Session {
    /// The place.
    pub env: Environment,
    /// Settings in force.
    pub settings: Settings,
    /// Number caches.
    pub caches: Caches,
    /// What it speaks.
    pub language: Language,
    /// Where it speaks.
    pub out: Output,
}

impl Session {
    /// The signed client.
    pub fn client(&self) -> anyhow::Result<Client> {
        let client = Client::new(self.settings.endpoints()?, self.settings.credentials()?);
        Ok(client.with_chance(self.env.clock, self.env.fresh_id))
    }

    /// The object store.
    pub fn store(&self) -> anyhow::Result<Store> {
        let endpoints = self.settings.endpoints()?;
        Store::remote(&endpoints.oss_url, self.settings.oss_credentials()?, self.env.clock)
    }

    /// A path of the object store as the user wrote it.
    pub fn oss_path(&self, written: &str) -> anyhow::Result<oss_path::OssPath> {
        if written.starts_with("oss://") {
            return Ok(oss_path::OssPath::parse(written)?);
        }
        let base = self.settings.osspath()?;
        Ok(oss_path::OssPath::parse(&format!("{base}{}", written.trim_start_matches('/')))?)
    }

    /// Says something to the person.
    pub fn say(&mut self, text: Text, values: &[(&str, &str)]) {
        let line = text.fill(self.language, values);
        self.out.words(&line);
    }

    /// A word in the user's language.
    pub fn word(&self, text: Text) -> &'static str {
        text.plain(self.language)
    }

    /// Asks for a line; `None` when nobody is there to answer.
    pub fn ask(&mut self, question: &str) -> io::Result<Option<String>> {
        if !self.env.asks {
            return Ok(None);
        }
        self.out.ask(question);
        Ok(Some(answer(io::stdin().lock())?.trim().to_owned()))
    }

    /// Asks for a line that is not shown while it is typed.
    pub fn ask_secret(&mut self, question: &str) -> io::Result<Option<String>> {
        if !self.env.asks {
            return Ok(None);
        }
        let hidden = Hidden::begin();
        let answer = self.ask(question);
        drop(hidden);
        self.out.words("");
        match answer {
            Ok(Some(line)) if line.contains(INTERRUPT) => Err(io::ErrorKind::Interrupted.into()),
            answer => answer,
        }
    }

    /// Asks before something is destroyed. Without a person, only `-y` is a yes.
    pub fn confirm(
        &mut self,
        yes: bool,
        text: Text,
        values: &[(&str, &str)],
    ) -> anyhow::Result<()> {
        if yes {
            return Ok(());
        }
        let question = text.fill(self.language, values);
        match self.ask(&format!("{question} [n] "))?.as_deref() {
            Some("y" | "Y" | "yes" | "Yes") => Ok(()),
            Some(_) => Err(m::NOT_CONFIRMED.complain([]).into()),
            None => Err(m::NEEDS_YES.complain([]).into()),
        }
    }
}

/// A line, or what was typed before Ctrl-C, with it.
fn answer(input: impl BufRead) -> io::Result<String> {
    let mut typed = Vec::new();
    for byte in input.bytes() {
        typed.push(byte?);
        if typed.ends_with(b"\n") || typed.ends_with(&[INTERRUPT as u8]) {
            break;
        }
    }
    Ok(String::from_utf8_lossy(&typed).into_owned())
}

/// Ctrl-C.
const INTERRUPT: char = '\u{3}';

/// The terminal without echo, until dropped. Ctrl-C ends the line instead of the process, which
/// would leave the terminal silent.
struct Hidden(Option<rustix::termios::Termios>);

impl Hidden {
    fn begin() -> Self {
        use rustix::termios::{
            LocalModes, OptionalActions, SpecialCodeIndex, tcgetattr, tcsetattr,
        };
        let Ok(before) = tcgetattr(io::stdin()) else { return Self(None) };
        let mut silent = before.clone();
        silent.local_modes.remove(LocalModes::ECHO | LocalModes::ISIG);
        silent.special_codes[SpecialCodeIndex::VEOL] = INTERRUPT as u8;
        match tcsetattr(io::stdin(), OptionalActions::Flush, &silent) {
            Ok(()) => Self(Some(before)),
            Err(_) => Self(None),
        }
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        if let Some(before) = &self.0 {
            let _ = rustix::termios::tcsetattr(
                io::stdin(),
                rustix::termios::OptionalActions::Flush,
                before,
            );
        }
    }
}
