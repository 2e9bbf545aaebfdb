//! Number caches: what `bcs j 1` means is the first row of the last list that was printed.
//!
//! One JSON file per kind of thing, shared with the official tool (`reference/bcs-cli.md` 3.2).
//! A number beyond the list means its last entry, below 1 its first; without a list it is taken as
//! an id, or the user is told which command lists. Commands that destroy take numbers in god mode only.

use crate::{
    environment::Environment,
    settings::private_folder,
    words::{Complaint, messages as m},
};
use serde::{Deserialize, Serialize};
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What a cache holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Job ids, by `bcs j`.
    Jobs,
    /// Task names, by `bcs j <job>`.
    Tasks,
    /// Cluster ids, by `bcs c`.
    Clusters,
    /// Group names, by `bcs c <cluster>`.
    Groups,
    /// Machine ids, by `bcs c <cluster> <group>`.
    Machines,
    /// Image ids, by `bcs i`.
    Images,
    /// App names, by `bcs a`; public ones with a colon in front.
    Apps,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Tasks => "tasks",
            Self::Clusters => "clusters",
            Self::Groups => "groups",
            Self::Machines => "cluster_instances",
            Self::Images => "images",
            Self::Apps => "apps",
        }
    }

    /// The command whose list gives numbers to what has an id that is never a number itself.
    fn lister(self) -> Option<&'static str> {
        match self {
            Self::Jobs => Some("j"),
            Self::Clusters => Some("c"),
            Self::Images => Some("i"),
            Self::Tasks | Self::Groups | Self::Machines | Self::Apps => None,
        }
    }
}

#[derive(Serialize, Deserialize)]
struct File {
    data: Vec<String>,
    title: String,
}

/// The caches of one user.
pub struct Caches {
    folder: PathBuf,
}

impl Caches {
    /// Those beside the user's settings.
    pub fn of(environment: &Environment) -> Self {
        Self { folder: environment.config_dir.clone() }
    }

    fn path(&self, kind: Kind) -> PathBuf {
        self.folder.join(format!("clicache_{}.json", kind.name()))
    }

    /// Remembers the rows just printed, in their order.
    pub fn remember(&self, kind: Kind, ids: Vec<String>) -> io::Result<()> {
        let file = File { data: ids, title: kind.name().to_owned() };
        let text = serde_json::to_string(&file).expect("texts are always JSON");
        private_folder(&self.folder)?;
        replace(&self.path(kind), &text)
    }

    fn read(&self, kind: Kind) -> Vec<String> {
        // A missing or foreign cache is no cache; the next list writes a new one.
        fs::read_to_string(self.path(kind))
            .ok()
            .and_then(|text| serde_json::from_str::<File>(&text).ok())
            .map_or_else(Vec::new, |file| file.data)
    }

    /// The id meant by a number of the last list, or the text itself. A number without a list is
    /// refused where ids are never numbers.
    pub fn resolve(&self, kind: Kind, written: &str) -> Result<String, Complaint> {
        let Ok(number) = written.parse::<i64>() else { return Ok(written.to_owned()) };
        let ids = self.read(kind);
        let last = ids.len().saturating_sub(1);
        let index = usize::try_from(number.saturating_sub(1)).unwrap_or(0).min(last);
        match (ids.into_iter().nth(index), kind.lister()) {
            (Some(id), _) => Ok(id),
            (None, None) => Ok(written.to_owned()),
            (None, Some(lister)) => {
                Err(m::NO_LIST.complain([("id", &written), ("lister", &lister)]))
            }
        }
    }

    /// Several ids of things to destroy or change, comma-separated. Numbers, and in god mode
    /// ranges `2-4`, are refused unless `god`: an old list must not destroy the wrong thing.
    pub fn resolve_many(
        &self,
        kind: Kind,
        written: &str,
        god: bool,
    ) -> Result<Vec<String>, Complaint> {
        let mut ids = Vec::new();
        for word in written.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            match range(word) {
                None => ids.push(word.to_owned()),
                Some(_) if !god => return Err(m::INVALID_ID.complain([("id", &word)])),
                Some(numbers) => {
                    for number in numbers {
                        ids.push(self.resolve(kind, &number.to_string())?);
                    }
                }
            }
        }
        ids.dedup();
        if ids.is_empty() { Err(m::INVALID_ID.complain([("id", &written)])) } else { Ok(ids) }
    }
}

/// `3` and `2-4` as numbers; ids are never numbers.
fn range(word: &str) -> Option<std::ops::RangeInclusive<u32>> {
    let number = |text: &str| text.parse::<u32>().ok();
    match word.split_once('-') {
        Some((first, last)) => Some(number(first)?..=number(last)?),
        None => number(word).map(|only| only..=only),
    }
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut draft, text.as_bytes())?;
    draft.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::tests::nowhere;

    fn caches(ids: &[&str]) -> (tempfile::TempDir, Caches) {
        let folder = tempfile::tempdir().unwrap();
        let caches = Caches::of(&nowhere(folder.path()));
        caches.remember(Kind::Jobs, ids.iter().map(|id| (*id).to_owned()).collect()).unwrap();
        (folder, caches)
    }

    #[test]
    fn the_file_is_the_official_one() {
        let (_folder, caches) = caches(&["job-1", "job-2"]);
        let text = fs::read_to_string(caches.path(Kind::Jobs)).unwrap();
        assert_eq!(text, r#"{"data":["job-1","job-2"],"title":"jobs"}"#);
    }

    #[test]
    fn numbers_mean_rows_and_stay_inside_the_list() {
        let (_folder, caches) = caches(&["job-1", "job-2"]);
        for (written, meant) in [
            ("1", "job-1"),
            ("2", "job-2"),
            ("9", "job-2"),
            ("0", "job-1"),
            ("-3", "job-1"),
            ("job-7", "job-7"),
        ] {
            assert_eq!(caches.resolve(Kind::Jobs, written).unwrap(), meant, "{written}");
        }
        let task = caches.resolve(Kind::Tasks, "3").unwrap();
        assert_eq!(task, "3", "without a list a number may be a name");
        let refused = caches.resolve(Kind::Clusters, "3").unwrap_err().to_string();
        assert!(refused.contains("`bcs c`"), "{refused}");
    }

    #[test]
    fn destroying_by_number_needs_god_mode() {
        let (_folder, caches) = caches(&["job-1", "job-2", "job-3"]);
        let refused = caches.resolve_many(Kind::Jobs, "1", false).unwrap_err();
        assert_eq!(refused.to_string(), "Invalid id: 1");
        assert_eq!(
            caches.resolve_many(Kind::Jobs, "2-3,job-9", true).unwrap(),
            ["job-2", "job-3", "job-9"]
        );
        assert_eq!(
            caches.resolve_many(Kind::Jobs, "job-8, job-9", false).unwrap(),
            ["job-8", "job-9"]
        );
        assert!(caches.resolve_many(Kind::Jobs, " , ", false).is_err());
    }

    #[test]
    fn a_broken_cache_is_no_cache() {
        let (_folder, caches) = caches(&["job-1"]);
        fs::write(caches.path(Kind::Jobs), "{").unwrap();
        assert!(caches.resolve(Kind::Jobs, "1").is_err());
    }
}
