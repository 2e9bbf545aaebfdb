//! The files that `tar_src.files` of a project names: patterns like `*`, `lib/*.py`, below one
//! directory. A directory that fits stands for everything in it.

use crate::submit::pack::{Entry, PackError, walk};
use std::{collections::BTreeMap, fs, path::Path};

/// Names inside the archive with the files they come from.
pub fn entries(base: &Path, patterns: &[&str]) -> Result<Vec<Entry>, PackError> {
    let mut found = BTreeMap::new();
    for pattern in patterns {
        let parts: Vec<&str> = pattern.split('/').filter(|part| !part.is_empty()).collect();
        below(base, "", &parts, &mut found)?;
    }
    Ok(found.into_iter().collect())
}

fn below(
    folder: &Path,
    name: &str,
    parts: &[&str],
    found: &mut BTreeMap<String, std::path::PathBuf>,
) -> Result<(), PackError> {
    let failed = |source| PackError::Read { path: folder.to_owned(), source };
    let Some((first, rest)) = parts.split_first() else {
        let mut all = Vec::new();
        walk(folder, name, &mut all)?;
        found.extend(all);
        return Ok(());
    };
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let own = entry.file_name().to_string_lossy().into_owned();
        if !fits(&own, first) {
            continue;
        }
        let (path, name) = (entry.path(), format!("{name}{own}"));
        let is_folder = entry.file_type().map_err(failed)?.is_dir();
        if is_folder {
            below(&path, &format!("{name}/"), rest, found)?;
        } else if rest.is_empty() && fs::metadata(&path).is_ok_and(|target| target.is_file()) {
            found.insert(name, path);
        }
    }
    Ok(())
}

/// Whether a name is of a pattern with `*` and `?`. Hidden files need a dot in the pattern.
fn fits(name: &str, pattern: &str) -> bool {
    if name.starts_with('.') && !pattern.starts_with('.') {
        return false;
    }
    let (name, pattern): (Vec<char>, Vec<char>) =
        (name.chars().collect(), pattern.chars().collect());
    // reached[at]: the first `at` characters of the name fit the pattern read so far.
    let mut reached = vec![false; name.len() + 1];
    reached[0] = true;
    for letter in pattern {
        let mut next = vec![false; name.len() + 1];
        for at in 0..=name.len() {
            next[at] = match letter {
                '*' => reached[at] || (at > 0 && next[at - 1]),
                '?' => at > 0 && reached[at - 1],
                letter => at > 0 && reached[at - 1] && name[at - 1] == letter,
            };
        }
        reached = next;
    }
    reached[name.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_names() {
        for (name, pattern, wanted) in [
            ("main.py", "*", true),
            ("main.py", "*.py", true),
            ("main.py", "m??n.*", true),
            ("main.py", "*.sh", false),
            ("main.py", "main", false),
            (".git", "*", false),
            (".git", ".*", true),
            ("", "*", true),
            ("a", "", false),
        ] {
            assert_eq!(fits(name, pattern), wanted, "{name} {pattern}");
        }
    }

    #[test]
    fn a_directory_that_fits_is_whole_and_nothing_comes_twice() {
        let base = tempfile::tempdir().expect("a directory");
        for name in ["main.py", "lib/a.py", "lib/deep/b.py", "data/x.txt"] {
            let path = base.path().join(name);
            fs::create_dir_all(path.parent().expect("below")).expect("made");
            fs::write(path, name).expect("written");
        }
        let names = |patterns: &[&str]| -> Vec<String> {
            let entries = entries(base.path(), patterns).expect("read");
            entries.into_iter().map(|(name, _)| name).collect()
        };
        assert_eq!(names(&["*", "*/*"]), ["data/x.txt", "lib/a.py", "lib/deep/b.py", "main.py"]);
        assert_eq!(names(&["lib/*.py"]), ["lib/a.py"]);
        assert_eq!(names(&["nothing"]), Vec::<String>::new());
    }
}
