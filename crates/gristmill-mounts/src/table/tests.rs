//! Keys become paths by the rules of the reference; a second, simpler model agrees.

use super::*;
use gristmill_objects::memory::MemoryStore;
use proptest::prelude::*;
use std::collections::BTreeMap;

const MOUNTED: Timestamp = Timestamp(5);

fn info(key: &str) -> ObjectInfo {
    ObjectInfo {
        key: key.to_owned(),
        size: key.len() as u64,
        etag: format!("E-{key}"),
        last_modified: Timestamp(9),
        crc64: None,
        kind: "Normal".to_owned(),
        headers: BTreeMap::new(),
    }
}

fn table(locale: &str) -> Table {
    Table::new(
        locale.parse().expect("known"),
        MOUNTED,
        vec![("in/".to_owned(), SourceKind::Prefix)],
    )
}

/// Enters keys (given relative to the source) as pages of `page` keys.
fn fill(table: &mut Table, keys: &BTreeSet<String>, page: usize) {
    let infos: Vec<ObjectInfo> = keys.iter().map(|key| info(&format!("in/{key}"))).collect();
    let mut fill = Recursive::new(table, 0);
    infos.chunks(page).for_each(|chunk| fill.page(table, chunk));
    fill.finish(table);
}

fn keys(list: &[&str]) -> BTreeSet<String> {
    list.iter().map(|key| (*key).to_owned()).collect()
}

/// Every path a program can see, directories with a slash.
fn paths(table: &Table) -> BTreeSet<String> {
    let found = table.files_below(table.source_root(0)).into_iter();
    found
        .map(|(path, ino)| {
            let path = String::from_utf8(path).expect("a test with UTF-8 names");
            if table.is_directory(ino) { path + "/" } else { path }
        })
        .collect()
}

fn find(table: &mut Table, path: &str) -> Option<Attributes> {
    let mut at = table.attributes(table.source_root(0))?;
    for name in path.split('/') {
        match table.lookup(at.ino, name.as_bytes()) {
            Known::Found(found) => at = found,
            Known::Missing | Known::Unknown => return None,
        }
    }
    Some(at)
}

#[test]
fn keys_become_paths_by_the_rules_of_the_reference() {
    let mut table = table("UTF-8");
    let all =
        keys(&["", "/x", "a", "a/b", "c//d", "dir/", "e", "f/../g", "h/./i", "j\0k", "z/y/x"]);
    fill(&mut table, &all, 3);
    let expected = ["a/", "a/b", "c/", "dir/", "e", "f/", "h/", "z/", "z/y/", "z/y/x"];
    assert_eq!(paths(&table), keys(&expected));
    let (hidden, examples) = table.hidden();
    assert_eq!(hidden, 6, "{examples:?}");
    assert!(examples.contains(&"in/a".to_owned()), "{examples:?}");
}

#[test]
fn attributes_come_from_the_listing() {
    let mut table = table("UTF-8");
    fill(&mut table, &keys(&["d/", "e/file"]), 10);
    let file = find(&mut table, "e/file").expect("there");
    assert_eq!((file.kind, file.modified), (Kind::File { size: 9 }, Timestamp(9)));
    assert_eq!(find(&mut table, "e").expect("there").modified, Timestamp(9));
    assert_eq!(find(&mut table, "d").expect("there").modified, MOUNTED);
    let pin = table.pin(file.ino).expect("a file").expect("unchanged");
    assert_eq!((pin.key.as_str(), pin.etag.as_ref(), pin.size), ("in/e/file", "E-in/e/file", 9));
}

#[test]
fn a_directory_the_listing_has_passed_is_final() {
    let mut table = table("UTF-8");
    let mut fill = Recursive::new(&table, 0);
    fill.page(&mut table, &[info("in/a/1"), info("in/b/1")]);
    let a = table.child(table.source_root(0), "a").expect("entered");
    assert!(table.is_complete(a));
    assert_eq!(table.lookup(a, b"2"), Known::Missing);
    let b = table.child(table.source_root(0), "b").expect("entered");
    assert_eq!(table.lookup(b, b"1"), Known::Unknown);
    assert_eq!(table.put_file(a, "2", &info("in/a/2")), None, "made after the listing");
    assert_eq!(table.entries(a, 0, 10).len(), 1);
}

#[test]
fn a_file_that_was_shown_stays_a_file() {
    let mut table = table("UTF-8");
    let root = table.source_root(0);
    let shown = table.put_file(root, "a", &info("in/a")).expect("new");
    table.decide(shown);
    assert_eq!(table.put_directory(root, "a"), None);
    let unseen = table.put_file(root, "b", &info("in/b")).expect("new");
    assert_eq!(table.put_directory(root, "b"), Some(unseen));
    table.complete(root);
    assert!(matches!(find(&mut table, "a").expect("there").kind, Kind::File { .. }));
    assert_eq!(find(&mut table, "b").expect("there").kind, Kind::Directory);
}

#[test]
fn a_directory_reached_by_its_raw_name_has_numbers_of_its_own() {
    let mut table = table("GBK");
    fill(&mut table, &keys(&["日/志"]), 10);
    let raw = find(&mut table, "日").expect("both spellings work");
    let root = table.source_root(0);
    let Known::Found(shown) = table.lookup(root, &[0xC8, 0xD5]) else { panic!("shown in GBK") };
    assert_ne!(raw.ino, shown.ino);
    assert_eq!(find(&mut table, "日").expect("again").ino, raw.ino);
    let (below, same) = (table.entries(raw.ino, 0, 9), table.entries(shown.ino, 0, 9));
    assert_eq!(below[0].name, same[0].name);
    assert_ne!(below[0].attributes.ino, same[0].attributes.ino);
    assert_eq!(table.key(below[0].attributes.ino).as_deref(), Some("in/日/志"));
}

#[test]
fn a_changed_object_is_stale_for_good() {
    let mut table = table("UTF-8");
    fill(&mut table, &keys(&["a"]), 10);
    let ino = find(&mut table, "a").expect("there").ino;
    assert!(table.mark_changed(ino));
    assert!(!table.mark_changed(ino), "only the first time");
    assert_eq!(table.pin(ino), Some(Err(ObjectGone)));
}

/// The rules of the reference, written down a second time as simply as possible.
fn model(keys: &BTreeSet<String>) -> BTreeSet<String> {
    let bad = |part: &str| matches!(part, "" | "." | "..") || part.len() > 255;
    let mut directories = BTreeSet::new();
    for key in keys {
        let parts: Vec<&str> = key.split('/').collect();
        let legal = parts[..parts.len() - 1].iter().take_while(|part| !bad(part)).count();
        for depth in 1..=legal {
            directories.insert(parts[..depth].join("/") + "/");
        }
    }
    let is_file =
        |key: &&String| !key.split('/').any(bad) && !directories.contains(&format!("{key}/"));
    let files: Vec<String> = keys.iter().filter(is_file).cloned().collect();
    directories.into_iter().chain(files).collect()
}

fn any_keys() -> impl Strategy<Value = BTreeSet<String>> {
    let part = prop_oneof![
        8 => "[ab-]{1,2}",
        1 => Just(String::new()),
        1 => Just(".".to_owned()),
        1 => Just("..".to_owned()),
        1 => Just("x".repeat(256)),
    ];
    let key = proptest::collection::vec(part, 1..5)
        .prop_map(|parts| parts.join("/"))
        .prop_filter("the store takes it", |key| key.len() < 1_000);
    proptest::collection::btree_set(key, 0..30)
}

proptest! {
    #[test]
    fn any_keys_become_the_tree_of_the_model(keys in any_keys(), page in 1_usize..7) {
        let mut table = table("UTF-8");
        fill(&mut table, &keys, page);
        prop_assert_eq!(paths(&table), model(&keys));
    }

    /// Listing directory by directory shows the same as listing everything.
    #[test]
    fn both_ways_of_listing_agree(keys in any_keys()) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        let store = MemoryStore::with_bucket(std::sync::Arc::new(|| Timestamp(9)), "bkt");
        let mut table = table("UTF-8");
        runtime.block_on(async {
            for key in keys.iter().filter(|key| !key.starts_with('/')) {
                put(&store, &format!("in/{key}")).await;
            }
            let mut todo = vec![table.source_root(0)];
            while let Some(directory) = todo.pop() {
                list_alone(&store, &mut table, directory).await;
                let entries = table.entries(directory, 0, usize::MAX);
                todo.extend(entries.iter().map(|entry| entry.attributes.ino).filter(|ino| table.is_directory(*ino)));
            }
        });
        let keys = keys.into_iter().filter(|key| !key.starts_with('/')).collect();
        prop_assert_eq!(paths(&table), model(&keys));
    }
}

async fn put(store: &MemoryStore, key: &str) {
    use gristmill_objects::{ObjectStore, PutOptions};
    let body = Box::pin(futures::stream::empty());
    store.put("bkt", key, PutOptions::default(), body).await.expect("memory takes it");
}

async fn list_alone(store: &MemoryStore, table: &mut Table, directory: Ino) {
    use gristmill_objects::{ListOptions, ObjectStore};
    let mut after = String::new();
    loop {
        let prefix = table.key(directory).expect("a directory");
        let delimiter = Some("/".to_owned());
        let options = ListOptions { prefix, delimiter, after, keys_max: 2 };
        let page = store.list("bkt", options).await.expect("memory does not fail");
        table.put_page(directory, &page);
        match page.next {
            Some(next) => after = next,
            None => break,
        }
    }
    table.complete(directory);
}
