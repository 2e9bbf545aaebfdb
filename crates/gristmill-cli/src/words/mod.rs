//! Everything the command says to a person, in English and in Chinese, side by side.
//!
//! A [`Text`] holds both languages, so one cannot exist without the other; the tests below check
//! that both name the same `{placeholders}`. Pure functions answer with a [`Complaint`] (which
//! text, with which values) and never choose a language: the session does, when it prints.
//!
//! Start at [`Text`]. Tables: [`messages`] for what commands say, [`help`] for `--help`.

pub mod help;
pub mod messages;
pub mod regions;

use std::{collections::BTreeMap, fmt};

/// A language the command speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English, the default.
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// The configured `locale` first, then the usual variables (`LC_ALL`, `LC_MESSAGES`, `LANG`).
    pub fn choose(locale: Option<&str>, variables: &BTreeMap<String, String>) -> Self {
        let from_environment = ["LC_ALL", "LC_MESSAGES", "LANG"]
            .iter()
            .find_map(|name| variables.get(*name).filter(|value| !value.is_empty()));
        match locale.or(from_environment.map(String::as_str)) {
            Some(name) if name.to_ascii_lowercase().starts_with("zh") => Self::Chinese,
            _ => Self::English,
        }
    }
}

/// One sentence in both languages. `{name}` marks a value to be put in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// English.
    pub en: &'static str,
    /// Simplified Chinese.
    pub zh: &'static str,
}

impl Text {
    /// The sentence as it stands in the table.
    pub fn plain(self, language: Language) -> &'static str {
        match language {
            Language::English => self.en,
            Language::Chinese => self.zh,
        }
    }

    /// The sentence with its values. Values are put in once: braces inside a value stay.
    pub fn fill(self, language: Language, values: &[(&str, &str)]) -> String {
        let mut rest = self.plain(language);
        let mut filled = String::with_capacity(rest.len());
        while let Some(start) = rest.find('{') {
            let (before, from) = rest.split_at(start);
            filled.push_str(before);
            let Some(end) = from.find('}') else { break };
            match values.iter().find(|(name, _)| *name == &from[1..end]) {
                Some((_, value)) => filled.push_str(value),
                None => filled.push_str(&from[..=end]),
            }
            rest = &from[end + 1..];
        }
        filled + rest
    }

    /// A mistake of the user, to be said in a language chosen later.
    pub fn complain<const N: usize>(
        self,
        values: [(&'static str, &dyn fmt::Display); N],
    ) -> Complaint {
        Complaint {
            text: self,
            values: values.into_iter().map(|(name, value)| (name, value.to_string())).collect(),
        }
    }
}

/// Something the user can put right: which sentence, with which values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    text: Text,
    values: Vec<(&'static str, String)>,
}

impl Complaint {
    /// The sentence in one language.
    pub fn say(&self, language: Language) -> String {
        let values: Vec<_> =
            self.values.iter().map(|(name, value)| (*name, value.as_str())).collect();
        self.text.fill(language, &values)
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.say(Language::English))
    }
}

impl std::error::Error for Complaint {}

/// What was being tried when something else went wrong, to be said in a language chosen later.
#[derive(Debug)]
pub struct Trouble {
    /// What was being tried.
    pub complaint: Complaint,
    source: anyhow::Error,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.complaint.fmt(f)
    }
}

impl std::error::Error for Trouble {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// Tells what was being tried.
pub trait Tell<T> {
    /// On failure: `text`, with `what` as its `{what}`, before the cause.
    fn tell(self, text: Text, what: impl fmt::Display) -> anyhow::Result<T>;
}

impl<T, E: Into<anyhow::Error>> Tell<T> for Result<T, E> {
    fn tell(self, text: Text, what: impl fmt::Display) -> anyhow::Result<T> {
        self.map_err(|error| {
            let complaint = text.complain([("what", &what)]);
            Trouble { complaint, source: error.into() }.into()
        })
    }
}

/// Writes a table of texts: constants by name, and `ALL` for the tests.
macro_rules! table {
    ($($name:ident { $en:literal $zh:literal })*) => {
        $(#[doc = $en] pub const $name: Text = Text { en: $en, zh: $zh };)*
        #[cfg(test)]
        pub(super) const ALL: &[(&str, Text)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use table;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn placeholders(sentence: &str) -> BTreeSet<&str> {
        sentence.split('{').skip(1).filter_map(|rest| rest.split('}').next()).collect()
    }

    #[test]
    fn both_languages_say_something_and_name_the_same_values() {
        for (name, text) in messages::ALL.iter().chain(help::ALL) {
            assert!(!text.en.is_empty() && !text.zh.is_empty(), "{name} is empty");
            assert_eq!(placeholders(text.en), placeholders(text.zh), "{name}");
        }
    }

    #[test]
    fn chinese_sentences_are_chinese() {
        for (name, text) in messages::ALL.iter().chain(help::ALL) {
            assert!(text.en.is_ascii(), "{name}: the English side holds other letters");
            assert!(!text.zh.is_ascii(), "{name} is not translated");
        }
    }

    #[test]
    fn a_value_with_braces_is_not_filled_again() {
        let text = Text { en: "no {what} in {place}", zh: "{place} 中没有 {what}" };
        let values = [("what", "{place}"), ("place", "x")];
        assert_eq!(text.fill(Language::English, &values), "no {place} in x");
        assert_eq!(text.fill(Language::Chinese, &values), "x 中没有 {place}");
    }

    #[test]
    fn the_configured_locale_wins_over_the_environment() {
        let variables = BTreeMap::from([("LANG".to_owned(), "zh_CN.UTF-8".to_owned())]);
        assert_eq!(Language::choose(None, &variables), Language::Chinese);
        assert_eq!(Language::choose(Some("en"), &variables), Language::English);
        assert_eq!(Language::choose(None, &BTreeMap::new()), Language::English);
    }
}
