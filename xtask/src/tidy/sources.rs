//! The text files of the repository, read once. No version control is needed, so an unpacked
//! archive can be checked, too.

use anyhow::{Context, Result};
use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Path below the root, with slashes, and content.
pub type Sources = BTreeMap<String, String>;

/// Directories that are made, not written.
const NOT_OURS: &[&str] =
    &["target", ".git", "node_modules", "gristmill-data", "__pycache__", ".venv", "dist"];

/// Larger files are data, and so is what is not text.
const BYTES_MAX: u64 = 1 << 20;

/// Reads all text files below `root`.
pub fn read(root: &Path) -> Result<Sources> {
    let mut sources = Sources::new();
    let mut open = vec![root.to_owned()];
    while let Some(dir) = open.pop() {
        let entries =
            fs::read_dir(&dir).with_context(|| format!("cannot list {}", dir.display()))?;
        for entry in entries {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() && !NOT_OURS.iter().any(|name| entry.file_name() == *name) {
                open.push(entry.path());
            } else if kind.is_file() && entry.metadata()?.len() <= BYTES_MAX {
                keep_text(&mut sources, root, entry.path());
            }
        }
    }
    Ok(sources)
}

fn keep_text(sources: &mut Sources, root: &Path, path: PathBuf) {
    let Ok(text) = fs::read_to_string(&path) else { return };
    if let Some(name) = path.strip_prefix(root).ok().and_then(Path::to_str) {
        sources.insert(name.to_owned(), text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn made_directories_and_binary_files_are_left_out() {
        let root = tempfile::tempdir().expect("a directory");
        for (name, bytes) in
            [("a/b.rs", b"text".as_slice()), ("target/x.rs", b"x"), ("a/c.bin", &[0xff, 0xfe])]
        {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().expect("inside")).expect("made");
            fs::write(path, bytes).expect("written");
        }
        let sources = read(root.path()).expect("read");
        assert_eq!(sources.keys().collect::<Vec<_>>(), ["a/b.rs"]);
    }
}
