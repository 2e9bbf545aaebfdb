//! `bcs oss`: list, show, upload, download, delete, make buckets.

use super::{End, Outcome, number, required, text};
use crate::{
    progress::Bar,
    session::Session,
    words::{Tell, messages as m},
};
use clap::ArgMatches;
use futures::TryStreamExt;
use std::path::{Component, Path, PathBuf};

/// How many objects are deleted at once.
const DELETES_AT_ONCE: usize = 16;

/// `bcs oss <command>`.
pub(super) async fn oss(words: &ArgMatches, session: &mut Session) -> Outcome {
    let Some((name, words)) = words.subcommand() else {
        let mut tree = crate::grammar::tree(session.language);
        let help = tree
            .find_subcommand_mut("oss")
            .expect("it is in the grammar")
            .render_help()
            .to_string();
        session.out.data(help.trim_end())?;
        return Ok(End::Success);
    };
    match name {
        "ls" => list(words, session).await,
        "cat" => cat(words, session).await,
        "upload" => upload(words, session).await,
        "download" => download(words, session).await,
        "delete" => delete(words, session).await,
        "copy" => copy(words, session).await,
        "mb" => make_bucket(words, session).await,
        "pwd" => show_path(session),
        "login" => login(words, session),
        "logout" => logout(session),
        other => unreachable!("`oss {other}` is in the grammar but has no command"),
    }
}

async fn list(words: &ArgMatches, session: &mut Session) -> Outcome {
    let below = session.oss_path(text(words, "path").unwrap_or(""))?;
    let top = number::<usize>(words, "top")?.unwrap_or(usize::MAX);
    let listing = session.store()?.all(&below, Some("/")).await?;
    let folders = listing.common_prefixes.iter().map(|prefix| (prefix.clone(), None));
    // The object that marks the folder itself is not in the folder.
    let files = listing.objects.iter().filter(|object| object.key != below.key);
    let files = files.map(|object| (object.key.clone(), Some(object.size)));
    let base = below.key.rfind('/').map_or(0, |slash| slash + 1);
    let is_wanted = |name: &str| text(words, "name").is_none_or(|part| name.contains(part));
    let entries = folders.chain(files).map(|(key, size)| (key[base..].to_owned(), size));
    for (name, size) in entries.filter(|(name, _)| is_wanted(name)).take(top) {
        let line = size.map_or_else(|| name.clone(), |bytes| format!("{name} ({})", human(bytes)));
        session.out.data(&line)?;
    }
    Ok(End::Success)
}

/// A size for a person; exact below 1 kB.
fn human(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        size /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes}B") } else { format!("{size:.1}{}", UNITS[unit]) }
}

async fn cat(words: &ArgMatches, session: &mut Session) -> Outcome {
    let range = text(words, "byte_range").map(byte_range).transpose()?;
    let store = session.store()?;
    for written in words.get_many::<String>("path").expect("the grammar requires it") {
        let path = session.oss_path(written)?;
        let mut body = store.open(&path, range.clone()).await?;
        while let Some(chunk) = body.try_next().await.tell(m::CANNOT_READ, &path)? {
            session.out.raw(&chunk)?;
        }
    }
    Ok(End::Success)
}

/// `a:b`, or `b` for the first bytes; the end is excluded.
fn byte_range(written: &str) -> anyhow::Result<std::ops::Range<u64>> {
    let broken = || m::INVALID_RANGE.complain([("text", &written)]);
    let (start, end) = written.split_once(':').unwrap_or(("0", written));
    let number = |text: &str| text.trim().parse::<u64>().map_err(|_| broken());
    let (start, end) = (number(start)?, number(end)?);
    if start < end { Ok(start..end) } else { Err(broken().into()) }
}

async fn upload(words: &ArgMatches, session: &mut Session) -> Outcome {
    let written = required(words, "local");
    let local = session.env.path(written);
    let to = session.oss_path(text(words, "path").unwrap_or(""))?;
    let name = local.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut files = Vec::new();
    if local.is_dir() {
        let folder =
            to.with_key(if to.is_folder() { to.key.clone() } else { format!("{}/", to.key) });
        let below = name
            .filter(|_| !written.ends_with('/'))
            .map_or_else(String::new, |name| format!("{name}/"));
        for relative in files_below(&local).tell(m::CANNOT_READ, local.display())? {
            let key = format!("{}{below}{}", folder.key, relative.to_string_lossy());
            files.push((local.join(&relative), to.with_key(key)));
        }
    } else {
        let key = if to.is_folder() {
            format!("{}{}", to.key, name.unwrap_or_default())
        } else {
            to.key.clone()
        };
        files.push((local, to.with_key(key)));
    }
    let store = session.store()?;
    for (from, to) in files {
        let size = from.metadata().tell(m::CANNOT_READ, from.display())?.len();
        let bar = Bar::bytes(to.base_name(), size, session.out.bars);
        let sent = store.upload(&from, &to, None, &bar).await;
        bar.clear();
        sent.tell(m::CANNOT_UPLOAD, &to)?;
        session.say(m::UPLOADED, &[("from", &from.display().to_string()), ("to", &to.to_string())]);
    }
    Ok(End::Success)
}

/// Regular files below a folder, relative to it, in order. Links to folders are not followed.
fn files_below(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::new()];
    while let Some(relative) = open.pop() {
        for entry in std::fs::read_dir(folder.join(&relative))? {
            let entry = entry?;
            let path = relative.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                open.push(path);
            } else if entry.path().is_file() {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

async fn download(words: &ArgMatches, session: &mut Session) -> Outcome {
    let from = session.oss_path(required(words, "path"))?;
    let written = text(words, "local").unwrap_or("./");
    let local = session.env.path(written);
    let store = session.store()?;
    let mut files = Vec::new();
    if from.is_folder() {
        let listing = store.all(&from, None).await?;
        for object in listing.objects.into_iter().filter(|object| !object.key.ends_with('/')) {
            let relative = inside(&object.key[from.key.len()..])
                .ok_or_else(|| m::UNSAFE_KEY.complain([("key", &object.key)]))?;
            files.push((from.with_key(object.key), local.join(relative), object.size));
        }
    } else {
        let size = store.head(&from).await?.map_or(0, |info| info.size);
        let is_folder = written.ends_with('/') || local.is_dir();
        let target = if is_folder { local.join(from.base_name()) } else { local };
        files.push((from.clone(), target, size));
    }
    if files.is_empty() {
        return Err(m::NOTHING_THERE.complain([("path", &from)]).into());
    }
    for (from, to, size) in files {
        let bar = Bar::bytes(from.base_name(), size, session.out.bars);
        let done = store.download(&from, &to, &bar).await;
        bar.clear();
        done.tell(m::CANNOT_DOWNLOAD, &from)?;
        session
            .say(m::DOWNLOADED, &[("from", &from.to_string()), ("to", &to.display().to_string())]);
    }
    Ok(End::Success)
}

/// The rest of a key as a path that stays below the target folder.
fn inside(key: &str) -> Option<PathBuf> {
    let path: PathBuf = key.split('/').filter(|part| !part.is_empty()).collect();
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    (is_plain && !path.as_os_str().is_empty() && !key.contains('\0')).then_some(path)
}

async fn delete(words: &ArgMatches, session: &mut Session) -> Outcome {
    let path = session.oss_path(required(words, "path"))?;
    let store = session.store()?;
    let doomed = store.all(&path, None).await?.objects;
    if doomed.is_empty() {
        return Err(m::NOTHING_THERE.complain([("path", &path)]).into());
    }
    let count = doomed.len().to_string();
    session.confirm(
        words.get_flag("yes"),
        m::ASK_DELETE_OBJECTS,
        &[("count", &count), ("path", &path.to_string())],
    )?;
    let doomed = doomed.into_iter().map(|object| path.with_key(object.key));
    let (store, path_shown) = (&store, path.to_string());
    futures::stream::iter(doomed.map(Ok))
        .try_for_each_concurrent(
            DELETES_AT_ONCE,
            |doomed| async move { store.delete(&doomed).await },
        )
        .await?;
    session.say(m::DELETED, &[("count", &count), ("path", &path_shown)]);
    Ok(End::Success)
}

/// Copies through this machine, which every store allows. A prefix keeps the names below it.
async fn copy(words: &ArgMatches, session: &mut Session) -> Outcome {
    let from = session.oss_path(required(words, "source"))?;
    let to = session.oss_path(required(words, "target"))?;
    let store = session.store()?;
    let mut objects = Vec::new();
    if from.is_folder() {
        let below = if to.is_folder() { to.key.clone() } else { format!("{}/", to.key) };
        for object in store.all(&from, None).await?.objects {
            let target = to.with_key(format!("{below}{}", &object.key[from.key.len()..]));
            objects.push((from.with_key(object.key), target));
        }
    } else {
        let key =
            if to.is_folder() { format!("{}{}", to.key, from.base_name()) } else { to.key.clone() };
        objects.push((from.clone(), to.with_key(key)));
    }
    if objects.is_empty() {
        return Err(m::NOTHING_THERE.complain([("path", &from)]).into());
    }
    for (from, to) in objects {
        store.copy(&from, &to).await?;
        session.say(m::COPIED, &[("from", &from.to_string()), ("to", &to.to_string())]);
    }
    Ok(End::Success)
}

async fn make_bucket(words: &ArgMatches, session: &mut Session) -> Outcome {
    let written = required(words, "bucket");
    let bucket = written.trim_start_matches("oss://").trim_end_matches('/');
    if bucket.is_empty() || bucket.contains('/') {
        return Err(m::INVALID_BUCKET.complain([("bucket", &written)]).into());
    }
    session.store()?.make_bucket(bucket).await?;
    session.say(m::DONE_WITH, &[("what", bucket)]);
    Ok(End::Success)
}

fn show_path(session: &mut Session) -> Outcome {
    let path = session.settings.osspath()?;
    session.out.data(&path)?;
    Ok(End::Success)
}

fn login(words: &ArgMatches, session: &mut Session) -> Outcome {
    for (argument, key) in [("region", "oss_region"), ("id", "oss_id"), ("secret", "oss_key")] {
        session.settings.set(key, required(words, argument));
    }
    session.settings.save()?;
    session.say(m::DONE, &[]);
    Ok(End::Success)
}

fn logout(session: &mut Session) -> Outcome {
    for key in ["oss_region", "oss_id", "oss_key", "osspath"] {
        session.settings.remove(key);
    }
    session.settings.save()?;
    session.say(m::DONE, &[]);
    Ok(End::Success)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_would_leave_the_folder_are_refused() {
        assert_eq!(inside("a//b"), Some(PathBuf::from("a/b")));
        for key in ["../x", "a/../../x", "..", "", "/", "a/./../b"] {
            assert_eq!(inside(key), None, "{key}");
        }
    }

    #[test]
    fn a_range_is_from_to_or_a_length() {
        assert_eq!(byte_range("2:5").unwrap(), 2..5);
        assert_eq!(byte_range("5").unwrap(), 0..5);
        assert!(byte_range("5:2").is_err());
        assert!(byte_range("a").is_err());
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!(
            [human(0), human(1023), human(12_288), human(5 << 30)],
            ["0B", "1023B", "12.0kB", "5.0GB"]
        );
    }
}
