//! What is learned from the store, and at what price in requests.

use super::*;
use crate::{
    table::Kind,
    testing::{BUCKET, Faults, FaultyStore},
};
use std::sync::atomic::Ordering::Relaxed;

fn prefix(key: &str) -> Source {
    Source { bucket: BUCKET.to_owned(), key: key.to_owned(), kind: SourceKind::Prefix }
}

fn object(key: &str) -> Source {
    Source { kind: SourceKind::Object, ..prefix(key) }
}

async fn open(store: &Arc<FaultyStore>, sources: Vec<Source>, limits: TreeLimits) -> Tree {
    let opened = Tree::open(store.remote(), sources, Locale::UTF_8, limits, Timestamp(1)).await;
    opened.expect("the sources can be opened")
}

/// Finds a path like `0/dir/file`.
async fn find(tree: &Tree, path: &str) -> Option<Attributes> {
    let mut at = tree.attributes(crate::table::ROOT)?;
    for name in path.split('/') {
        at = tree.lookup(at.ino, name.as_bytes()).await.expect("the store answers")?;
    }
    Some(at)
}

/// No listing of everything beyond the first page.
fn lazy() -> TreeLimits {
    TreeLimits { entries_max: 0, ..TreeLimits::default() }
}

#[tokio::test]
async fn ten_thousand_objects_cost_eleven_requests() {
    let store = FaultyStore::new();
    for number in 0..10_000 {
        store.fill(&format!("in/file-{number:05}"), "x").await;
    }
    let tree = open(&store, vec![prefix("in/")], TreeLimits::default()).await;
    let root = find(&tree, "0").await.expect("the source").ino;
    tree.list(root).await.expect("the store answers");
    assert_eq!(tree.entries(root, 0, usize::MAX).len(), 10_000);
    assert!(find(&tree, "0/file-09999").await.is_some());
    assert_eq!(find(&tree, "0/nothing").await, None);
    assert!(store.requests.load(Relaxed) <= 11, "{:?}", store.requests);
}

#[tokio::test]
async fn a_thousand_objects_in_many_directories_cost_two_requests() {
    let store = FaultyStore::new();
    for number in 0..1_000 {
        store.fill(&format!("in/{}/{}/f-{number}", number % 10, number % 100), "x").await;
    }
    let tree = open(&store, vec![prefix("in/")], TreeLimits::default()).await;
    let everything = tree.everything().await.expect("the store answers");
    assert_eq!(everything.iter().filter(|(_, ino)| tree.pin(*ino).is_some()).count(), 1_000);
    assert!(store.requests.load(Relaxed) <= 2, "{:?}", store.requests);
}

#[tokio::test]
async fn sources_appear_under_their_numbers() {
    let store = FaultyStore::new();
    store.fill("one.txt", "1").await;
    store.fill("dir/two", "22").await;
    let tree = open(
        &store,
        vec![object("one.txt"), prefix("dir"), prefix("none/")],
        TreeLimits::default(),
    )
    .await;
    assert_eq!(find(&tree, "0/object").await.expect("there").kind, Kind::File { size: 1 });
    assert_eq!(find(&tree, "1/two").await.expect("there").kind, Kind::File { size: 2 });
    assert_eq!(find(&tree, "2").await.expect("there").kind, Kind::Directory);
    assert_eq!(find(&tree, "3").await, None);
}

#[tokio::test]
async fn a_wrong_source_fails_the_mount_with_the_stores_word() {
    let store = FaultyStore::new();
    let open = |source| {
        Tree::open(store.remote(), vec![source], Locale::UTF_8, TreeLimits::default(), Timestamp(1))
    };
    let error = open(object("none")).await.err().expect("no such object");
    assert_eq!(error.to_string(), "could not open the input oss://bkt/none");
    assert!(matches!(error.source, ObjectError::NoSuchKey { .. }));
    let nowhere = Source { bucket: "nowhere".to_owned(), ..prefix("x/") };
    assert!(matches!(
        open(nowhere).await.err().expect("no such bucket").source,
        ObjectError::NoSuchBucket { .. }
    ));
    store.set(Faults { denied: Some("secret".to_owned()), ..Faults::default() });
    let error = open(prefix("secret/")).await.err().expect("denied");
    assert!(matches!(error.source, ObjectError::Denied { .. }));
}

#[tokio::test]
async fn beyond_the_limit_names_and_directories_are_asked_for_alone() {
    let store = FaultyStore::new();
    for number in 0..2_000 {
        store.fill(&format!("in/a/f-{number:05}"), "x").await;
    }
    for key in ["in/z", "in/z/below", "in/zz/deep/file", "in/x~2"] {
        store.fill(key, "yy").await;
    }
    let tree = open(&store, vec![prefix("in/")], lazy()).await;
    assert_eq!(find(&tree, "0/z").await.expect("there").kind, Kind::Directory);
    assert_eq!(find(&tree, "0/zz/deep/file").await.expect("there").kind, Kind::File { size: 2 });
    assert_eq!(find(&tree, "0/none").await, None);
    assert!(find(&tree, "0/x~2").await.is_some());
    assert_eq!(store.requests.load(Relaxed), 1 + 6 * 2, "two for each name");
    let a = find(&tree, "0/a").await.expect("there").ino;
    tree.list(a).await.expect("the store answers");
    assert_eq!(tree.entries(a, 0, usize::MAX).len(), 2_000);
}

#[tokio::test]
async fn a_directory_is_listed_once_however_many_ask() {
    let store = FaultyStore::new();
    for number in 0..1_500 {
        store.fill(&format!("in/{number:05}"), "x").await;
    }
    store.set(Faults { delay: std::time::Duration::from_millis(2), ..Faults::default() });
    let tree = open(&store, vec![prefix("in/")], lazy()).await;
    let root = find(&tree, "0").await.expect("there").ino;
    let before = store.requests.load(Relaxed);
    futures::future::join_all((0..20).map(|_| tree.list(root))).await;
    assert_eq!(store.requests.load(Relaxed) - before, 2);
}

#[tokio::test]
async fn faults_of_the_store_are_not_seen() {
    let store = FaultyStore::new();
    for number in 0..3_000 {
        store.fill(&format!("in/d{}/{number}", number % 7), "x").await;
    }
    store.set(Faults { errors_percent: 30, ..Faults::default() });
    let tree = open(&store, vec![prefix("in/")], TreeLimits::default()).await;
    assert_eq!(tree.everything().await.expect("patience").len(), 3_000 + 7 + 1);
    assert!(tree.remote().meter().retries.load(Relaxed) > 0);
}

#[tokio::test]
async fn gbk_names_are_found_without_a_listing() {
    let store = FaultyStore::new();
    store.fill("in/日志/文件", "x").await;
    let locale = "GBK".parse().expect("known");
    let tree = Tree::open(store.remote(), vec![prefix("in/")], locale, lazy(), Timestamp(1)).await;
    let tree = tree.expect("opened");
    let root = find(&tree, "0").await.expect("there").ino;
    let directory =
        tree.lookup(root, &[0xC8, 0xD5, 0xD6, 0xBE]).await.expect("answers").expect("there");
    let file =
        tree.lookup(directory.ino, "文件".as_bytes()).await.expect("answers").expect("there");
    assert_eq!(tree.pin(file.ino).expect("a file").expect("unchanged").key, "in/日志/文件");
}

#[test]
fn second_names_are_recognised() {
    for (name, expected) in
        [("x~2", true), ("x~", false), ("~2", false), ("2", false), ("x2", false)]
    {
        assert_eq!(may_be_renamed(name.as_bytes()), expected, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_listing_that_fails_is_told_with_the_others() {
    let store = FaultyStore::new();
    for number in 0..1_001 {
        store.fill(&format!("in/{number}"), "x").await;
    }
    let tree = open(&store, vec![prefix("in/")], lazy()).await;
    let root = find(&tree, "0").await.expect("the source").ino;
    store.set(Faults { errors_percent: 100, ..Faults::default() });
    let (patience, since) = (store.remote().patience().give_up_after, tokio::time::Instant::now());
    let told = futures::future::join_all((0..5).map(|_| tree.list(root))).await;
    assert!(told.iter().all(|answer| answer.as_ref().is_err_and(ObjectError::is_transient)));
    assert!(since.elapsed() < patience * 2, "{:?}", since.elapsed());
    store.set(Faults::default());
    tree.list(root).await.expect("it is asked anew");
    assert_eq!(tree.entries(root, 0, usize::MAX).len(), 1_001);
}
