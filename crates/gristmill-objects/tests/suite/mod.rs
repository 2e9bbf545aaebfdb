//! The behaviour every store must show, as one suite: each function is a sentence about stores.
//!
//! [`every_store`] needs [`ObjectStore`] only and runs on remote stores too; [`every_local_store`]
//! needs [`LocalStore`]. Both want an empty bucket `suite` and leave it empty.

#![allow(dead_code, reason = "not every user of the suite runs all of it")]

use futures::StreamExt;
use gristmill_model::AccountId;
use gristmill_objects::*;
use std::collections::BTreeMap;

/// The bucket the suite works in.
pub const BUCKET: &str = "suite";

/// Runs what holds for every store.
pub async fn every_store(store: &dyn ObjectStore) {
    what_is_put_can_be_read_back(store).await;
    keys_are_flat(store).await;
    a_put_replaces_the_whole_object(store).await;
    ranges_are_cut_to_the_object(store).await;
    a_changed_object_is_not_read_as_the_old_one(store).await;
    a_reader_keeps_its_version(store).await;
    a_broken_body_leaves_nothing(store).await;
    a_put_may_refuse_to_overwrite(store).await;
    missing_things_are_named(store).await;
    a_listing_is_in_byte_order(store).await;
    a_delimiter_folds_keys(store).await;
    parts_become_one_object(store).await;
    an_aborted_upload_is_gone(store).await;
    wrong_parts_are_refused(store).await;
    odd_keys_survive(store).await;
    sizes_around_the_boundaries_survive(store).await;
    clear(store).await;
}

/// Runs what holds for stores of our own.
pub async fn every_local_store(store: &dyn LocalStore) {
    every_store(store).await;
    buckets_belong_to_accounts(store).await;
    a_bucket_with_content_stays(store).await;
    a_bucket_made_anew_gets_nothing_that_was_meant_for_another_account(store).await;
    settings_are_kept_word_for_word(store).await;
    a_copy_is_independent(store).await;
    appends_grow_one_object(store).await;
    headers_change_without_the_bytes(store).await;
    an_upload_may_say_at_its_end_what_it_did_not_at_its_beginning(store).await;
    uploads_and_parts_are_listed(store).await;
    a_part_may_be_a_range_of_an_object(store).await;
    the_stat_counts(store).await;
    many_small_objects_are_put_as_one_by_one(store).await;
    clear(store).await;
}

async fn many_small_objects_are_put_as_one_by_one(store: &dyn LocalStore) {
    let stored = headers(&[("content-type", "text/plain")]);
    let small = |bucket: &str, key: &str, bytes: &'static [u8]| SmallPut {
        bucket: bucket.into(),
        key: key.into(),
        headers: stored.clone(),
        bytes: bytes.into(),
    };
    put(store, "many/replaced", &vec![7; 40_000]).await;
    let puts = vec![
        small(BUCKET, "many/empty", b""),
        small("no-such-bucket", "many/lost", b"x"),
        small(BUCKET, "many/words", b"words"),
        small(BUCKET, "", b"a key has at least one byte"),
        small(BUCKET, "many/replaced", b"new"),
        small(BUCKET, "many/words", b"the last one stays"),
    ];
    let outcomes = store.put_many(puts).await.expect("the store is whole");
    let told: Vec<bool> = outcomes.iter().map(Result::is_ok).collect();
    assert_eq!(told, [true, false, true, false, true, true]);
    assert!(matches!(outcomes[1], Err(ObjectError::NoSuchBucket { .. })), "{outcomes:?}");
    assert_eq!(read(store, "many/empty").await, b"");
    assert_eq!(read(store, "many/words").await, b"the last one stays");
    assert_eq!(read(store, "many/replaced").await, b"new");
    let options = PutOptions { headers: stored.clone(), ..PutOptions::default() };
    let alone = store.put(BUCKET, "many/alone", options, body_of("new")).await.expect("puts");
    let among = store.head(BUCKET, "many/replaced").await.expect("heads");
    assert_eq!(among, ObjectInfo { key: among.key.clone(), ..alone });
}

async fn what_is_put_can_be_read_back(store: &dyn ObjectStore) {
    let headers = headers(&[("content-type", "text/plain"), ("x-oss-meta-owner", "alice")]);
    let options = PutOptions { headers: headers.clone(), ..PutOptions::default() };
    let body = body_of("hello gristmill");
    let put = store.put(BUCKET, "logs/run-1", options, body).await.expect("puts");
    assert_eq!(put.etag, "5D05470A3CB4CB8076915B5DAB0DF827");
    let got = store.get(BUCKET, "logs/run-1", GetOptions::default()).await.expect("gets");
    assert_eq!((got.range.clone(), got.info.size), (0..15, 15));
    assert_eq!(got.info.crc64, Some(17_346_265_302_628_625_600));
    assert_eq!(got.info.kind, "Normal");
    assert_eq!(subset(&got.info.headers, &headers), headers);
    assert_eq!(collect(got.body).await.expect("reads"), "hello gristmill");
    let head = store.head(BUCKET, "logs/run-1").await.expect("heads");
    assert_eq!((head.etag, head.size), (put.etag, 15));
    assert_eq!(subset(&head.headers, &headers), headers);
}

async fn keys_are_flat(store: &dyn ObjectStore) {
    let keys = ["flat", "flat/", "flat//x", "flat/b", "flat/./b", "flat/../b"];
    for key in keys {
        put(store, key, key.as_bytes()).await;
    }
    for key in keys {
        assert_eq!(read(store, key).await, key.as_bytes(), "{key}");
    }
    store.delete(BUCKET, "flat").await.expect("deletes");
    assert_eq!(list(store, "flat", None).await.0.len(), keys.len() - 1);
    clear(store).await;
}

async fn a_put_replaces_the_whole_object(store: &dyn ObjectStore) {
    put(store, "twice", &vec![1; 300_000]).await;
    put(store, "twice", b"short").await;
    assert_eq!(read(store, "twice").await, b"short");
    put(store, "twice", &vec![2; 200_000]).await;
    assert_eq!(read(store, "twice").await, vec![2; 200_000]);
}

async fn ranges_are_cut_to_the_object(store: &dyn ObjectStore) {
    let bytes: Vec<u8> = (0..200_000u32).map(|n| (n % 251) as u8).collect();
    for (key, bytes) in [("range/small", &bytes[..100]), ("range/large", &bytes[..])] {
        put(store, key, bytes).await;
        let size = bytes.len() as u64;
        for range in [0..1, 3..57, 0..size, size - 1..size + 10, size..size + 1, 10..10] {
            let options = GetOptions { range: Some(range.clone()), if_match: None };
            let got = store.get(BUCKET, key, options).await.expect("gets");
            let cut = range.start as usize..range.end.min(size) as usize;
            assert_eq!(got.info.size, size);
            assert_eq!(got.range, cut.start as u64..cut.end as u64, "{key} {range:?}");
            assert_eq!(collect(got.body).await.expect("reads"), bytes[cut], "{key} {range:?}");
        }
        let beyond = GetOptions { range: Some(size + 1..size + 2), if_match: None };
        assert_eq!(code(store.get(BUCKET, key, beyond).await), "InvalidRange");
    }
}

async fn a_changed_object_is_not_read_as_the_old_one(store: &dyn ObjectStore) {
    let old = put(store, "version", b"old").await;
    let options = GetOptions { range: None, if_match: Some(old.etag) };
    assert!(store.get(BUCKET, "version", options.clone()).await.is_ok());
    put(store, "version", b"new").await;
    let outcome = store.get(BUCKET, "version", options).await;
    assert!(matches!(outcome.map(drop), Err(ObjectError::Changed { .. })));
}

async fn a_reader_keeps_its_version(store: &dyn ObjectStore) {
    let old = vec![b'o'; 3_000_000];
    put(store, "open", &old).await;
    let mut got = store.get(BUCKET, "open", GetOptions::default()).await.expect("gets");
    let mut read = got.body.next().await.expect("has bytes").expect("reads").to_vec();
    put(store, "open", b"new").await;
    store.delete(BUCKET, "open").await.expect("deletes");
    while let Some(chunk) = got.body.next().await {
        read.extend_from_slice(&chunk.expect("reads on"));
    }
    assert!(read == old, "the open reader saw {} bytes", read.len());
}

async fn a_broken_body_leaves_nothing(store: &dyn ObjectStore) {
    let halves = [Ok(vec![0; 100_000].into()), Err(std::io::Error::other("the sender left"))];
    let body = futures::stream::iter(halves).boxed();
    let options = PutOptions { length: Some(200_000), ..PutOptions::default() };
    assert!(store.put(BUCKET, "broken", options, body).await.is_err());
    let wrong = PutOptions { content_md5: Some([0; 16]), ..PutOptions::default() };
    assert!(store.put(BUCKET, "broken", wrong, body_of("body")).await.is_err());
    let outcome = store.head(BUCKET, "broken").await;
    assert!(matches!(outcome, Err(ObjectError::NoSuchKey { .. })), "{outcome:?}");
}

async fn a_put_may_refuse_to_overwrite(store: &dyn ObjectStore) {
    let options = PutOptions { forbid_overwrite: true, ..PutOptions::default() };
    let first = store.put(BUCKET, "once", options.clone(), body_of("first")).await;
    assert!(first.is_ok(), "{first:?}");
    assert_eq!(
        code(store.put(BUCKET, "once", options, body_of("second")).await),
        "FileAlreadyExists"
    );
    assert_eq!(read(store, "once").await, b"first");
}

async fn missing_things_are_named(store: &dyn ObjectStore) {
    let key = store.get(BUCKET, "no-such", GetOptions::default()).await.map(drop);
    assert!(matches!(&key, Err(ObjectError::NoSuchKey { key, .. }) if key == "no-such"), "{key:?}");
    let bucket = store.get("no-such-bucket", "key", GetOptions::default()).await.map(drop);
    assert!(matches!(&bucket, Err(ObjectError::NoSuchBucket { .. })), "{bucket:?}");
    let body = body_of(vec![0; 1000]);
    let bucket = store.put("no-such-bucket", "key", PutOptions::default(), body).await;
    assert!(matches!(&bucket, Err(ObjectError::NoSuchBucket { .. })), "{bucket:?}");
    let head = store.head("no-such-bucket", "key").await;
    assert!(matches!(&head, Err(ObjectError::NoSuchBucket { .. })), "{head:?}");
    store.delete(BUCKET, "no-such").await.expect("deleting nothing succeeds");
    let body = body_of("part");
    let upload = store.put_part(BUCKET, "key", "no-such", 1, PutOptions::default(), body).await;
    assert!(matches!(upload, Err(ObjectError::NoSuchUpload { .. })));
}

async fn a_listing_is_in_byte_order(store: &dyn ObjectStore) {
    clear(store).await;
    let mut keys: Vec<String> = (0..25).map(|n| format!("key-{n}")).collect();
    keys.extend(["Z", "z", "é", "中文", "~", "a b", "a+b", "a%2Fb", "a&b<c>"].map(str::to_owned));
    for key in &keys {
        put(store, key, b"x").await;
    }
    keys.sort();
    let (found, _) = list(store, "", None).await;
    assert_eq!(found, keys);
    clear(store).await;
}

async fn a_delimiter_folds_keys(store: &dyn ObjectStore) {
    for key in ["a", "a/1", "a/2", "a/b/3", "b/4", "c"] {
        put(store, key, b"x").await;
    }
    let (keys, folded) = list(store, "", Some("/")).await;
    assert_eq!((keys, folded), (strings(&["a", "c"]), strings(&["a/", "b/"])));
    let (keys, folded) = list(store, "a/", Some("/")).await;
    assert_eq!((keys, folded), (strings(&["a/1", "a/2"]), strings(&["a/b/"])));
    clear(store).await;
}

async fn parts_become_one_object(store: &dyn ObjectStore) {
    let parts = [vec![b'1'; 150_000], vec![b'2'; PART_SIZE_MIN as usize], vec![b'3'; 10]];
    let options = PutOptions { headers: headers(&[("x-oss-meta-a", "b")]), ..Default::default() };
    let upload = store.create_upload(BUCKET, "big", options).await.expect("begins");
    let mut refs = vec![];
    for (part, number) in parts.iter().zip([1, 2, 7]) {
        put_part(store, "big", &upload, number, b"an earlier attempt").await;
        refs.push(put_part(store, "big", &upload, number, part).await);
    }
    assert!(matches!(store.head(BUCKET, "big").await, Err(ObjectError::NoSuchKey { .. })));
    let whole = parts.concat();
    let info = store.complete_upload(BUCKET, "big", &upload, &refs).await.expect("completes");
    assert!(info.etag.ends_with("-3"), "{}", info.etag);
    assert_eq!(info.crc64, Some(Sum::of(&whole).crc64));
    assert!(read(store, "big").await == whole);
    let middle = GetOptions { range: Some(149_990..252_405), if_match: Some(info.etag) };
    let got = store.get(BUCKET, "big", middle).await.expect("gets");
    assert_eq!(got.info.headers.get("x-oss-meta-a").map(String::as_str), Some("b"));
    assert!(collect(got.body).await.expect("reads") == whole[149_990..252_405]);
    let again = store.complete_upload(BUCKET, "big", &upload, &refs).await;
    assert!(matches!(again, Err(ObjectError::NoSuchUpload { .. })), "{again:?}");
}

async fn an_aborted_upload_is_gone(store: &dyn ObjectStore) {
    let upload = begin(store, "aborted").await;
    put_part(store, "aborted", &upload, 1, b"part").await;
    store.abort_upload(BUCKET, "aborted", &upload).await.expect("aborts");
    let again = store.abort_upload(BUCKET, "aborted", &upload).await;
    assert!(matches!(again, Err(ObjectError::NoSuchUpload { .. })), "{again:?}");
    let late = store.put_part(BUCKET, "aborted", &upload, 2, Default::default(), body_of("x"));
    assert!(matches!(late.await, Err(ObjectError::NoSuchUpload { .. })));
}

async fn wrong_parts_are_refused(store: &dyn ObjectStore) {
    let upload = begin(store, "wrong").await;
    let first = put_part(store, "wrong", &upload, 1, b"too small").await;
    let second = put_part(store, "wrong", &upload, 2, b"tail").await;
    let complete = async |parts: &[PartRef]| {
        code(store.complete_upload(BUCKET, "wrong", &upload, parts).await)
    };
    assert_eq!(complete(&[first.clone(), second.clone()]).await, "EntityTooSmall");
    assert_eq!(complete(&[second.clone(), first.clone()]).await, "InvalidPartOrder");
    assert_eq!(complete(&[PartRef { number: 3, ..first.clone() }]).await, "InvalidPart");
    assert_eq!(complete(&[PartRef { number: 2, ..first }]).await, "InvalidPart");
    let body = body_of("x");
    let zero = store.put_part(BUCKET, "wrong", &upload, 0, PutOptions::default(), body).await;
    assert_eq!(code(zero), "InvalidArgument");
    store.complete_upload(BUCKET, "wrong", &upload, &[second]).await.expect("the last is enough");
    assert_eq!(read(store, "wrong").await, b"tail");
}

async fn odd_keys_survive(store: &dyn ObjectStore) {
    let long = "长".repeat(341);
    for key in ["a b", "a+b", "a%20b", "a?b#c", "é/中文/😀", "a//b", "a/../b", "\"<&>'\"", &long]
    {
        put(store, key, key.as_bytes()).await;
        assert_eq!(read(store, key).await, key.as_bytes(), "{key}");
    }
    let key = "x".repeat(1024);
    let refused = store.put(BUCKET, &key, PutOptions::default(), body_of("x")).await;
    assert_eq!(code(refused), "InvalidObjectName");
    clear(store).await;
}

async fn sizes_around_the_boundaries_survive(store: &dyn ObjectStore) {
    for size in [0, 1, 16_383, 16_384, 16_385, 65_536, 1_048_575, 1_048_577, 2_500_000] {
        let bytes: Vec<u8> = (0..size).map(|n: u32| (n % 253) as u8).collect();
        let info = put(store, "sized", &bytes).await;
        assert_eq!(info.etag, Sum::of(&bytes).etag(), "{size}");
        assert!(read(store, "sized").await == bytes, "{size}");
    }
}

async fn buckets_belong_to_accounts(store: &dyn LocalStore) {
    let (me, other) = (AccountId(7), AccountId(8));
    store.create_bucket("mine", me, BucketAcl::Private).await.expect("makes");
    let again = store.create_bucket("mine", me, BucketAcl::PublicRead).await.expect("again");
    assert_eq!(again.acl, BucketAcl::PublicRead);
    let taken = store.create_bucket("mine", other, BucketAcl::Private).await;
    assert_eq!(code(taken), "BucketAlreadyExists");
    let names = |buckets: Vec<BucketInfo>| buckets.into_iter().map(|b| b.name).collect::<Vec<_>>();
    assert_eq!(names(store.list_buckets(me).await.expect("lists")), ["mine"]);
    assert!(store.list_buckets(other).await.expect("lists").is_empty());
    store.set_bucket_acl("mine", BucketAcl::PublicReadWrite).await.expect("sets");
    assert_eq!(store.bucket("mine").await.expect("is there").acl, BucketAcl::PublicReadWrite);
    store.delete_bucket("mine").await.expect("deletes");
    assert!(matches!(store.bucket("mine").await, Err(ObjectError::NoSuchBucket { .. })));
}

async fn a_bucket_with_content_stays(store: &dyn LocalStore) {
    store.create_bucket("full", AccountId(7), BucketAcl::Private).await.expect("makes");
    let options = PutOptions::default();
    store.put("full", "key", options.clone(), body_of("x")).await.expect("puts");
    assert_eq!(code(store.delete_bucket("full").await), "BucketNotEmpty");
    store.delete("full", "key").await.expect("deletes");
    let upload = store.create_upload("full", "key", options).await.expect("begins");
    assert_eq!(code(store.delete_bucket("full").await), "BucketNotEmpty");
    store.abort_upload("full", "key", &upload).await.expect("aborts");
    store.delete_bucket("full").await.expect("deletes");
}

async fn a_bucket_made_anew_gets_nothing_that_was_meant_for_another_account(
    store: &dyn LocalStore,
) {
    let (me, other) = (AccountId(7), AccountId(8));
    for appends in [false, true] {
        store.create_bucket("anew", me, BucketAcl::Private).await.expect("makes");
        let (send, chunks) = futures::channel::mpsc::unbounded();
        let (options, body) = (PutOptions::default(), chunks.boxed());
        let mut sent = match appends {
            false => store.put("anew", "key", options, body),
            true => store.append("anew", "key", 0, options, body),
        };
        assert!(futures::poll!(&mut sent).is_pending(), "it waits for its body");
        store.delete_bucket("anew").await.expect("deletes");
        store.create_bucket("anew", other, BucketAcl::Private).await.expect("makes");
        send.unbounded_send(Ok("bytes".into())).expect("is waited for");
        drop(send);
        let outcome = sent.await;
        assert!(matches!(outcome, Err(ObjectError::NoSuchBucket { .. })), "{outcome:?}");
        store.delete_bucket("anew").await.expect("is empty");
    }
}

async fn settings_are_kept_word_for_word(store: &dyn LocalStore) {
    let text = Some("<a> b </a>".to_owned());
    store.set_bucket_setting(BUCKET, "cors", text.clone()).await.expect("sets");
    assert_eq!(store.bucket_setting(BUCKET, "cors").await.expect("reads"), text);
    store.set_bucket_setting(BUCKET, "cors", None).await.expect("removes");
    assert_eq!(store.bucket_setting(BUCKET, "cors").await.expect("reads"), None);
}

async fn a_copy_is_independent(store: &dyn LocalStore) {
    for size in [10, 100_000] {
        let bytes = vec![5; size];
        let info = put(store, "source", &bytes).await;
        let mut source =
            Source { bucket: BUCKET.into(), key: "source".into(), if_match: Some(info.etag) };
        let copy = store.copy(&source, BUCKET, "copy", CopyOptions::default()).await.expect("ok");
        assert_eq!((copy.size, copy.etag), (size as u64, Sum::of(&bytes).etag()));
        let headers = Some(headers(&[("x-oss-meta-new", "1")]));
        let options = CopyOptions { headers, forbid_overwrite: false };
        let onto = store.copy(&source, BUCKET, "source", options).await.expect("onto itself");
        assert_eq!(onto.headers.get("x-oss-meta-new").map(String::as_str), Some("1"));
        assert!(read(store, "source").await == bytes);
        store.delete(BUCKET, "source").await.expect("deletes");
        assert!(read(store, "copy").await == bytes);
        source.key = "copy".into();
        source.if_match = Some("0".into());
        let changed = store.copy(&source, BUCKET, "x", CopyOptions::default()).await;
        assert!(matches!(changed, Err(ObjectError::Changed { .. })), "{changed:?}");
    }
    let source = Source { bucket: BUCKET.into(), key: "nothing".into(), if_match: None };
    let missing = store.copy(&source, BUCKET, "x", CopyOptions::default()).await;
    assert!(matches!(missing, Err(ObjectError::NoSuchKey { .. })), "{missing:?}");
}

async fn appends_grow_one_object(store: &dyn LocalStore) {
    let append = async |position, bytes: &[u8]| {
        let body = body_of(bytes.to_vec());
        store.append(BUCKET, "log", position, PutOptions::default(), body).await
    };
    assert_eq!(code(append(1, b"early").await), "PositionNotEqualToLength");
    let (mut whole, mut etags) = (vec![], vec![]);
    for size in [10, 9, 20_000, 1, 100_000, 70_000] {
        let piece: Vec<u8> = (0..size).map(|n: u32| (n % 249) as u8).collect();
        let info = append(whole.len() as u64, &piece).await.expect("appends");
        whole.extend_from_slice(&piece);
        assert_eq!((info.size, info.kind.as_str()), (whole.len() as u64, "Appendable"));
        assert_eq!(info.crc64, Some(Sum::of(&whole).crc64));
        assert!(read(store, "log").await == whole);
        assert!(!etags.contains(&info.etag));
        etags.push(info.etag);
    }
    assert_eq!(code(append(3, b"late").await), "PositionNotEqualToLength");
    put(store, "log", b"normal").await;
    assert_eq!(code(append(6, b"x").await), "ObjectNotAppendable");
    assert_eq!(read(store, "log").await, b"normal");
}

async fn headers_change_without_the_bytes(store: &dyn LocalStore) {
    put(store, "headed", b"bytes").await;
    let insert = async |key: &str, name: &'static str| {
        let change = Box::new(move |headers: &mut BTreeMap<String, String>| {
            headers.insert(name.to_owned(), "x".to_owned());
        });
        store.change_headers(BUCKET, key, change).await
    };
    let first = insert("headed", "x-oss-meta-a").await.expect("changes");
    let second = insert("headed", "x-oss-meta-b").await.expect("changes");
    assert_eq!(first.headers, headers(&[("x-oss-meta-a", "x")]));
    assert_eq!(second.headers, headers(&[("x-oss-meta-a", "x"), ("x-oss-meta-b", "x")]));
    assert_eq!(store.head(BUCKET, "headed").await.expect("heads").headers, second.headers);
    assert_eq!(read(store, "headed").await, b"bytes");
    let missing = insert("nothing", "x-oss-meta-a").await;
    assert!(matches!(missing, Err(ObjectError::NoSuchKey { .. })), "{missing:?}");
}

async fn an_upload_may_say_at_its_end_what_it_did_not_at_its_beginning(store: &dyn LocalStore) {
    let begun = headers(&[("x-oss-meta-a", "1"), ("x-oss-meta-b", "1")]);
    let options = PutOptions { headers: begun, ..PutOptions::default() };
    let upload = store.create_upload(BUCKET, "ended", options).await.expect("begins");
    let part = put_part(store, "ended", &upload, 1, b"part").await;
    let complete = async |forbid_overwrite| {
        let headers = headers(&[("x-oss-meta-b", "2"), ("x-oss-meta-c", "2")]);
        let options = CompleteOptions { headers, forbid_overwrite };
        let parts = std::slice::from_ref(&part);
        store.complete_upload_with(BUCKET, "ended", &upload, parts, options).await
    };
    put(store, "ended", b"before").await;
    assert_eq!(code(complete(true).await), "FileAlreadyExists");
    assert_eq!(read(store, "ended").await, b"before");
    let info = complete(false).await.expect("completes");
    let all = [("x-oss-meta-a", "1"), ("x-oss-meta-b", "2"), ("x-oss-meta-c", "2")];
    assert_eq!(info.headers, headers(&all));
    assert_eq!(store.head(BUCKET, "ended").await.expect("heads"), info);
    assert_eq!(read(store, "ended").await, b"part");
}

async fn uploads_and_parts_are_listed(store: &dyn LocalStore) {
    let mut ids = vec![];
    for key in ["u/1", "u/1", "u/2", "v", "w/x"] {
        ids.push((key.to_owned(), begin(store, key).await));
    }
    ids.sort();
    for max in [1, 2, 10] {
        let mut options = UploadListOptions { uploads_max: max, ..UploadListOptions::default() };
        let mut found = vec![];
        loop {
            let page = store.list_uploads(BUCKET, options.clone()).await.expect("lists");
            found.extend(page.uploads.into_iter().map(|upload| (upload.key, upload.upload)));
            let Some(next) = page.next else { break };
            (options.after_key, options.after_upload) = next;
        }
        assert_eq!(found, ids, "pages of {max}");
    }
    let options = UploadListOptions {
        prefix: "u/2".into(),
        after_key: ids[0].0.clone(),
        after_upload: ids[0].1.clone(),
        uploads_max: 10,
        ..UploadListOptions::default()
    };
    let page = store.list_uploads(BUCKET, options).await.expect("lists");
    assert_eq!(page.uploads.len(), 1, "a marker before the prefix");
    let options = UploadListOptions {
        delimiter: Some("/".into()),
        uploads_max: 10,
        ..UploadListOptions::default()
    };
    let page = store.list_uploads(BUCKET, options).await.expect("lists");
    assert_eq!(page.common_prefixes, ["u/", "w/"]);
    assert_eq!(page.uploads.len(), 1);

    let (key, id) = &ids[0];
    for number in [3, 1, 2] {
        put_part(store, key, id, number, b"part").await;
    }
    let page = store.list_parts(BUCKET, key, id, 0, 2).await.expect("lists");
    assert_eq!(page.parts.iter().map(|part| part.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(page.next, Some(2));
    let page = store.list_parts(BUCKET, key, id, 2, 2).await.expect("lists");
    assert_eq!((page.parts.len(), page.next), (1, None));
    for (key, id) in &ids {
        store.abort_upload(BUCKET, key, id).await.expect("aborts");
    }
}

async fn a_part_may_be_a_range_of_an_object(store: &dyn LocalStore) {
    put(store, "whole", b"0123456789").await;
    let upload = begin(store, "cut").await;
    let source = Source { bucket: BUCKET.into(), key: "whole".into(), if_match: None };
    let part =
        store.copy_part(&source, Some(2..5), BUCKET, "cut", &upload, 1).await.expect("copies");
    let parts = [PartRef { number: 1, etag: part.etag }];
    store.complete_upload(BUCKET, "cut", &upload, &parts).await.expect("completes");
    assert_eq!(read(store, "cut").await, b"234");
}

async fn the_stat_counts(store: &dyn LocalStore) {
    clear(store).await;
    put(store, "one", b"12345").await;
    put(store, "two", &[0; 20_000]).await;
    let upload = begin(store, "three").await;
    put_part(store, "three", &upload, 1, b"part").await;
    let stat = store.bucket_stat(BUCKET).await.expect("counts");
    assert_eq!(stat, BucketStat { bytes: 20_005, objects: 2, uploads: 1, parts: 1 });
    store.abort_upload(BUCKET, "three", &upload).await.expect("aborts");
    store.delete_many(BUCKET, &strings(&["one", "two", "zero"])).await.expect("deletes");
    assert_eq!(store.bucket_stat(BUCKET).await.expect("counts"), BucketStat::default());
}

// What the sentences are made of.

async fn put<S: ObjectStore + ?Sized>(store: &S, key: &str, bytes: &[u8]) -> ObjectInfo {
    let options = PutOptions { length: Some(bytes.len() as u64), ..PutOptions::default() };
    store.put(BUCKET, key, options, body_of(bytes.to_vec())).await.expect("puts")
}

async fn read<S: ObjectStore + ?Sized>(store: &S, key: &str) -> Vec<u8> {
    let got = store.get(BUCKET, key, GetOptions::default()).await.expect("gets");
    collect(got.body).await.expect("reads").to_vec()
}

async fn begin<S: ObjectStore + ?Sized>(store: &S, key: &str) -> String {
    store.create_upload(BUCKET, key, PutOptions::default()).await.expect("begins")
}

async fn put_part<S: ObjectStore + ?Sized>(
    store: &S,
    key: &str,
    upload: &str,
    number: u32,
    bytes: &[u8],
) -> PartRef {
    let options = PutOptions { length: Some(bytes.len() as u64), ..PutOptions::default() };
    let body = body_of(bytes.to_vec());
    let part = store.put_part(BUCKET, key, upload, number, options, body).await.expect("puts");
    PartRef { number, etag: part.etag }
}

/// Lists everything in pages of three.
async fn list<S: ObjectStore + ?Sized>(
    store: &S,
    prefix: &str,
    delimiter: Option<&str>,
) -> (Vec<String>, Vec<String>) {
    let (mut keys, mut folded, mut after) = (vec![], vec![], String::new());
    loop {
        let (prefix, delimiter) = (prefix.to_owned(), delimiter.map(str::to_owned));
        let options = ListOptions { prefix, delimiter, after, keys_max: 3 };
        let page = store.list(BUCKET, options).await.expect("lists");
        keys.extend(page.objects.into_iter().map(|object| object.key));
        folded.extend(page.common_prefixes);
        match page.next {
            Some(next) => after = next,
            None => return (keys, folded),
        }
    }
}

async fn clear<S: ObjectStore + ?Sized>(store: &S) {
    for key in list(store, "", None).await.0 {
        store.delete(BUCKET, &key).await.expect("deletes");
    }
}

fn code<T>(outcome: Result<T, ObjectError>) -> String {
    match outcome {
        Ok(_) => "ok".into(),
        Err(ObjectError::Refused { code, .. }) => code,
        Err(other) => panic!("another error: {other:?}"),
    }
}

fn headers(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

/// Those of `all` that are named in `wanted`: a remote store adds headers of its own.
fn subset(
    all: &BTreeMap<String, String>,
    wanted: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    all.iter()
        .filter(|(name, _)| wanted.contains_key(*name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn strings(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|text| (*text).to_owned()).collect()
}
