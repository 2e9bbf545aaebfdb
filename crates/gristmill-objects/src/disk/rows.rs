//! Rows of the metadata database: how buckets, objects and their content are written down.
//!
//! Plain functions on a connection. Those that remove content return the files nobody needs any
//! more; whoever commits hands these to the reaper afterwards.

use crate::{
    BucketAcl, BucketInfo, BucketStat, ListOptions, Listing, ObjectError, ObjectInfo,
    fold::{Fold, See},
    rules::{changed, check_key, no_bucket, no_key, same_etag},
};
use gristmill_model::{AccountId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row, ffi::ErrorCode};
use std::{
    collections::{BTreeMap, HashSet},
    io,
};

/// Where the bytes of an object are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    /// In the row of this id in `inline`.
    Inline(i64),
    /// In files, one after the other. No file: no bytes.
    Files(Vec<Piece>),
}

/// The first `length` bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Piece {
    pub file: u64,
    pub length: u64,
}

/// An object with the place of its bytes.
pub(super) struct Object {
    pub info: ObjectInfo,
    pub content: Content,
}

pub(super) type Outcome<T> = Result<T, ObjectError>;

/// An error of the database, told apart from a full disk.
pub(super) fn sql_error(doing: &str, error: rusqlite::Error) -> ObjectError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => ObjectError::Full,
        _ => ObjectError::Io { doing: doing.to_owned(), source: io::Error::other(error) },
    }
}

impl Content {
    /// The files it is made of.
    pub fn files(&self) -> Vec<u64> {
        match self {
            Self::Inline(_) => vec![],
            Self::Files(pieces) => pieces.iter().map(|piece| piece.file).collect(),
        }
    }

    /// A tag, then 8 bytes per number, least significant first.
    pub fn to_bytes(&self) -> Vec<u8> {
        match self {
            Self::Inline(id) => [&[0], &id.to_le_bytes()[..]].concat(),
            Self::Files(pieces) => {
                let numbers = pieces.iter().flat_map(|piece| [piece.file, piece.length]);
                let bytes = numbers.flat_map(u64::to_le_bytes);
                [1].into_iter().chain(bytes).collect()
            }
        }
    }

    pub fn from_bytes(bytes: &[u8]) -> rusqlite::Result<Self> {
        let (tag, rest) = bytes.split_first().ok_or(rusqlite::Error::InvalidQuery)?;
        let (words, odd) = rest.as_chunks::<8>();
        let numbers: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        match (tag, &numbers[..], odd) {
            (0, [id], []) => Ok(Self::Inline(*id as i64)),
            (1, numbers, []) if numbers.len() % 2 == 0 => {
                let pair = |pair: &[u64]| Piece { file: pair[0], length: pair[1] };
                Ok(Self::Files(numbers.chunks_exact(2).map(pair).collect()))
            }
            _ => Err(rusqlite::Error::InvalidQuery),
        }
    }
}

// Buckets.

pub(super) fn bucket_id(conn: &Connection, bucket: &str) -> Outcome<i64> {
    conn.prepare_cached("SELECT id FROM buckets WHERE name = ?1")
        .and_then(|mut query| query.query_row([bucket], |row| row.get(0)).optional())
        .map_err(|error| sql_error("look up a bucket", error))?
        .ok_or_else(|| no_bucket(bucket))
}

/// A bucket that must still be this account's. Another account may have made one of the same name
/// while a body arrived.
pub(super) fn bucket_id_of(conn: &Connection, name: &str, owner: AccountId) -> Outcome<i64> {
    conn.prepare_cached("SELECT id FROM buckets WHERE name = ?1 AND owner = ?2")
        .and_then(|mut query| query.query_row((name, owner.0 as i64), |row| row.get(0)).optional())
        .map_err(|error| sql_error("look up a bucket", error))?
        .ok_or_else(|| no_bucket(name))
}

pub(super) fn bucket(conn: &Connection, name: &str) -> Outcome<BucketInfo> {
    conn.prepare_cached("SELECT name, owner, created, acl FROM buckets WHERE name = ?1")
        .and_then(|mut query| query.query_row([name], bucket_of).optional())
        .map_err(|error| sql_error("look up a bucket", error))?
        .ok_or_else(|| no_bucket(name))
}

/// All buckets.
pub(super) fn buckets(conn: &Connection) -> Outcome<Vec<BucketInfo>> {
    conn.prepare("SELECT name, owner, created, acl FROM buckets")
        .and_then(|mut query| query.query_map([], bucket_of)?.collect())
        .map_err(|error| sql_error("list buckets", error))
}

fn bucket_of(row: &Row) -> rusqlite::Result<BucketInfo> {
    let acl: String = row.get(3)?;
    Ok(BucketInfo {
        name: row.get(0)?,
        owner: AccountId(row.get::<_, i64>(1)? as u64),
        created: Timestamp(row.get(2)?),
        acl: BucketAcl::parse(&acl).ok_or(rusqlite::Error::InvalidQuery)?,
    })
}

pub(super) fn put_bucket(conn: &Connection, info: &BucketInfo) -> Outcome<()> {
    let row = (&info.name, info.owner.0 as i64, info.created.0, info.acl.as_str());
    conn.prepare_cached(
        "INSERT INTO buckets (name, owner, created, acl) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT (name) DO UPDATE SET acl = excluded.acl",
    )
    .and_then(|mut query| query.execute(row))
    .map_err(|error| sql_error("make a bucket", error))?;
    Ok(())
}

pub(super) fn is_empty(conn: &Connection, bucket: i64) -> Outcome<bool> {
    conn.query_row(
        "SELECT NOT EXISTS (SELECT 1 FROM objects WHERE bucket = ?1)
            AND NOT EXISTS (SELECT 1 FROM uploads WHERE bucket = ?1)",
        [bucket],
        |row| row.get(0),
    )
    .map_err(|error| sql_error("look into a bucket", error))
}

pub(super) fn delete_bucket(conn: &Connection, bucket: i64) -> Outcome<()> {
    let delete = || {
        conn.execute("DELETE FROM settings WHERE bucket = ?1", [bucket])?;
        conn.execute("DELETE FROM buckets WHERE id = ?1", [bucket])
    };
    delete().map(drop).map_err(|error| sql_error("delete a bucket", error))
}

pub(super) fn stat(conn: &Connection, bucket: i64) -> Outcome<BucketStat> {
    conn.query_row(
        "SELECT (SELECT coalesce(sum(size), 0) FROM objects WHERE bucket = ?1),
                (SELECT count(*) FROM objects WHERE bucket = ?1),
                (SELECT count(*) FROM uploads WHERE bucket = ?1),
                (SELECT count(*) FROM parts WHERE upload IN
                    (SELECT id FROM uploads WHERE bucket = ?1))",
        [bucket],
        |row| {
            let count = |at| row.get::<_, i64>(at).map(|count| count as u64);
            Ok(BucketStat {
                bytes: count(0)?,
                objects: count(1)?,
                uploads: count(2)?,
                parts: count(3)?,
            })
        },
    )
    .map_err(|error| sql_error("count a bucket", error))
}

pub(super) fn setting(conn: &Connection, bucket: i64, name: &str) -> Outcome<Option<String>> {
    conn.prepare_cached("SELECT text FROM settings WHERE bucket = ?1 AND name = ?2")
        .and_then(|mut query| query.query_row((bucket, name), |row| row.get(0)).optional())
        .map_err(|error| sql_error("read a bucket setting", error))
}

pub(super) fn put_setting(
    conn: &Connection,
    bucket: i64,
    name: &str,
    text: Option<&str>,
) -> Outcome<()> {
    let write = || match text {
        Some(text) => conn
            .execute("INSERT OR REPLACE INTO settings VALUES (?1, ?2, ?3)", (bucket, name, text)),
        None => {
            conn.execute("DELETE FROM settings WHERE bucket = ?1 AND name = ?2", (bucket, name))
        }
    };
    write().map(drop).map_err(|error| sql_error("write a bucket setting", error))
}

// Objects.

/// An object, if it is there.
pub(super) fn object(conn: &Connection, bucket: i64, key: &str) -> Outcome<Option<Object>> {
    let of = |row: &Row| {
        let headers: String = row.get(5)?;
        Ok(Object {
            info: ObjectInfo {
                key: key.to_owned(),
                size: row.get::<_, i64>(0)? as u64,
                etag: row.get(1)?,
                last_modified: Timestamp(row.get(2)?),
                crc64: row.get::<_, Option<i64>>(3)?.map(|crc| crc as u64),
                kind: row.get(4)?,
                headers: headers_of(&headers)?,
            },
            content: Content::from_bytes(row.get_ref(6)?.as_blob()?)?,
        })
    };
    conn.prepare_cached(
        "SELECT size, etag, modified, crc64, kind, headers, content FROM objects
         WHERE bucket = ?1 AND key = ?2",
    )
    .and_then(|mut query| query.query_row((bucket, key.as_bytes()), of).optional())
    .map_err(|error| sql_error("look up an object", error))
}

/// An object that must be there, in the version that is meant.
pub(super) fn version(
    conn: &Connection,
    bucket: &str,
    key: &str,
    if_match: Option<&str>,
) -> Outcome<Object> {
    let object = object(conn, bucket_id(conn, bucket)?, key)?.ok_or_else(|| no_key(bucket, key))?;
    match if_match {
        Some(etag) if !same_etag(etag, &object.info.etag) => Err(changed(bucket, key)),
        _ => Ok(object),
    }
}

/// Writes an object; returns the files that only its predecessor needed.
pub(super) fn put_object(
    conn: &Connection,
    bucket: i64,
    info: &ObjectInfo,
    content: &Content,
) -> Outcome<Vec<u64>> {
    if insert_object(conn, bucket, info, content)? {
        return Ok(vec![]);
    }
    let mut garbage = delete_object(conn, bucket, &info.key)?;
    let needed: HashSet<u64> = content.files().into_iter().collect();
    garbage.retain(|file| !needed.contains(file));
    insert_object(conn, bucket, info, content)?;
    Ok(garbage)
}

/// Writes a small object with its bytes.
pub(super) fn put_small(
    conn: &Connection,
    bucket: &str,
    info: &ObjectInfo,
    bytes: &[u8],
) -> Outcome<Vec<u64>> {
    check_key(&info.key)?;
    let bucket = bucket_id(conn, bucket)?;
    let content = match bytes {
        [] => Content::Files(vec![]),
        bytes => put_inline(conn, bytes)?,
    };
    put_object(conn, bucket, info, &content)
}

/// Whether it was written: there was none of this key.
fn insert_object(
    conn: &Connection,
    bucket: i64,
    info: &ObjectInfo,
    content: &Content,
) -> Outcome<bool> {
    conn.prepare_cached(
        "INSERT INTO objects VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT DO NOTHING",
    )
    .and_then(|mut query| {
        query.execute((
            bucket,
            info.key.as_bytes(),
            info.size as i64,
            &info.etag,
            info.last_modified.0,
            info.crc64.map(|crc| crc as i64),
            &info.kind,
            text_of(&info.headers),
            content.to_bytes(),
        ))
    })
    .map(|written| written > 0)
    .map_err(|error| sql_error("write an object", error))
}

/// Changes the headers of an object only.
pub(super) fn put_headers(conn: &Connection, bucket: i64, info: &ObjectInfo) -> Outcome<()> {
    let row = (bucket, info.key.as_bytes(), text_of(&info.headers));
    conn.prepare_cached("UPDATE objects SET headers = ?3 WHERE bucket = ?1 AND key = ?2")
        .and_then(|mut query| query.execute(row))
        .map_err(|error| sql_error("write headers", error))?;
    Ok(())
}

/// Removes an object if it is there; returns its files.
pub(super) fn delete_object(conn: &Connection, bucket: i64, key: &str) -> Outcome<Vec<u64>> {
    let content = conn
        .prepare_cached("DELETE FROM objects WHERE bucket = ?1 AND key = ?2 RETURNING content")
        .and_then(|mut query| {
            query
                .query_row((bucket, key.as_bytes()), |row| {
                    Content::from_bytes(row.get_ref(0)?.as_blob()?)
                })
                .optional()
        })
        .map_err(|error| sql_error("delete an object", error))?;
    content.map_or(Ok(vec![]), |content| drop_content(conn, &content))
}

fn drop_content(conn: &Connection, content: &Content) -> Outcome<Vec<u64>> {
    if let Content::Inline(id) = content {
        conn.prepare_cached("DELETE FROM inline WHERE id = ?1")
            .and_then(|mut query| query.execute([id]))
            .map_err(|error| sql_error("delete a small object", error))?;
    }
    Ok(content.files())
}

/// Keeps the bytes of a small object.
pub(super) fn put_inline(conn: &Connection, bytes: &[u8]) -> Outcome<Content> {
    conn.prepare_cached("INSERT INTO inline (bytes) VALUES (?1)")
        .and_then(|mut query| query.insert([bytes]))
        .map(Content::Inline)
        .map_err(|error| sql_error("write a small object", error))
}

/// The bytes of a small object.
pub(super) fn inline(conn: &Connection, id: i64) -> Outcome<Vec<u8>> {
    conn.prepare_cached("SELECT bytes FROM inline WHERE id = ?1")
        .and_then(|mut query| query.query_row([id], |row| row.get(0)))
        .map_err(|error| sql_error("read a small object", error))
}

/// One page of keys. A folded prefix costs one seek.
pub(super) fn list(conn: &Connection, bucket: i64, options: &ListOptions) -> Outcome<Listing> {
    let mut fold = Fold::new(&options.prefix, options.delimiter.as_deref(), options.keys_max);
    let mut from = fold.seek(&options.after);
    let mut objects = vec![];
    let mut scan = || -> rusqlite::Result<()> {
        let mut query = conn.prepare_cached(
            "SELECT key, size, etag, modified, crc64, kind FROM objects
             WHERE bucket = ?1 AND key >= ?2 ORDER BY key",
        )?;
        'page: loop {
            let mut rows = query.query((bucket, &from))?;
            while let Some(row) = rows.next()? {
                let key = key_of(row, 0)?;
                if !key.starts_with(&options.prefix) {
                    return Ok(());
                }
                match fold.see(&key) {
                    See::Take => objects.push(listed(row, key)?),
                    See::Full => return Ok(()),
                    See::Seek(to) => {
                        from = to;
                        continue 'page;
                    }
                }
            }
            return Ok(());
        }
    };
    scan().map_err(|error| sql_error("list objects", error))?;
    Ok(Listing { objects, common_prefixes: fold.common_prefixes, next: fold.next })
}

fn listed(row: &Row, key: String) -> rusqlite::Result<ObjectInfo> {
    Ok(ObjectInfo {
        key,
        size: row.get::<_, i64>(1)? as u64,
        etag: row.get(2)?,
        last_modified: Timestamp(row.get(3)?),
        crc64: row.get::<_, Option<i64>>(4)?.map(|crc| crc as u64),
        kind: row.get(5)?,
        headers: BTreeMap::new(),
    })
}

/// All files any row names.
pub(super) fn files(conn: &Connection) -> Outcome<HashSet<u64>> {
    let mut found = HashSet::new();
    let mut scan = |table: &str| -> rusqlite::Result<()> {
        let mut query = conn.prepare(&format!("SELECT content FROM {table}"))?;
        let mut rows = query.query([])?;
        while let Some(row) = rows.next()? {
            found.extend(Content::from_bytes(row.get_ref(0)?.as_blob()?)?.files());
        }
        Ok(())
    };
    // Parts first: between the two queries an upload may move from parts to objects, never back.
    scan("parts")
        .and_then(|()| scan("objects"))
        .map_err(|error| sql_error("find files in use", error))?;
    Ok(found)
}

pub(super) fn key_of(row: &Row, at: usize) -> rusqlite::Result<String> {
    String::from_utf8(row.get(at)?).map_err(|_| rusqlite::Error::InvalidQuery)
}

pub(super) fn headers_of(text: &str) -> rusqlite::Result<BTreeMap<String, String>> {
    serde_json::from_str(text).map_err(|_| rusqlite::Error::InvalidQuery)
}

pub(super) fn text_of(headers: &BTreeMap<String, String>) -> String {
    serde_json::to_string(headers).expect("a map of texts is JSON")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_read_as_it_was_written() {
        let pieces = vec![Piece { file: 1 << 40, length: 7 }, Piece { file: 3, length: 0 }];
        for content in [Content::Inline(5), Content::Files(vec![]), Content::Files(pieces)] {
            assert_eq!(Content::from_bytes(&content.to_bytes()).expect("reads"), content);
        }
        for broken in [&[][..], &[9], &[0, 1], &[1, 1, 2, 3, 4, 5, 6, 7, 8]] {
            assert!(Content::from_bytes(broken).is_err(), "{broken:?}");
        }
    }
}
