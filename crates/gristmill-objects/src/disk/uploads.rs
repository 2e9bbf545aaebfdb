//! Rows of unfinished uploads and their parts.

use super::rows::{Content, Outcome, headers_of, key_of, sql_error, text_of};
use crate::{
    PartInfo, UploadInfo, UploadListOptions, UploadListing,
    fold::{Fold, See},
    rules::no_upload,
};
use gristmill_model::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row};
use std::collections::BTreeMap;

/// An unfinished upload.
pub(super) struct Upload {
    pub headers: BTreeMap<String, String>,
    pub forbid_overwrite: bool,
}

/// An upload of this very key.
pub(super) fn upload(conn: &Connection, bucket: i64, key: &str, id: &str) -> Outcome<Upload> {
    let of = |row: &Row| {
        let headers: String = row.get(0)?;
        Ok(Upload { headers: headers_of(&headers)?, forbid_overwrite: row.get(1)? })
    };
    conn.prepare_cached(
        "SELECT headers, forbid_overwrite FROM uploads WHERE bucket = ?1 AND key = ?2 AND id = ?3",
    )
    .and_then(|mut query| query.query_row((bucket, key.as_bytes(), id), of).optional())
    .map_err(|error| sql_error("look up an upload", error))?
    .ok_or_else(|| no_upload(id))
}

pub(super) fn put_upload(
    conn: &Connection,
    bucket: i64,
    info: &UploadInfo,
    upload: &Upload,
) -> Outcome<()> {
    let headers = text_of(&upload.headers);
    let key = info.key.as_bytes();
    let row = (bucket, key, &info.upload, info.initiated.0, headers, upload.forbid_overwrite);
    conn.prepare_cached("INSERT INTO uploads VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
        .and_then(|mut query| query.execute(row))
        .map_err(|error| sql_error("begin an upload", error))?;
    Ok(())
}

/// Removes an upload and the rows of its parts; returns the content of each part by number.
pub(super) fn take_upload(
    conn: &Connection,
    bucket: i64,
    key: &str,
    id: &str,
) -> Outcome<BTreeMap<u32, Content>> {
    let take = || -> rusqlite::Result<_> {
        conn.prepare_cached("DELETE FROM uploads WHERE bucket = ?1 AND key = ?2 AND id = ?3")?
            .execute((bucket, key.as_bytes(), id))?;
        conn.prepare_cached("DELETE FROM parts WHERE upload = ?1 RETURNING number, content")?
            .query_map([id], |row| {
                Ok((row.get(0)?, Content::from_bytes(row.get_ref(1)?.as_blob()?)?))
            })?
            .collect()
    };
    take().map_err(|error| sql_error("end an upload", error))
}

/// Stores a part; returns the files of an earlier part of that number.
pub(super) fn put_part(
    conn: &Connection,
    upload: &str,
    part: &PartInfo,
    content: &Content,
) -> Outcome<Vec<u64>> {
    let write = || -> rusqlite::Result<_> {
        let before = conn
            .prepare_cached(
                "DELETE FROM parts WHERE upload = ?1 AND number = ?2 RETURNING content",
            )?
            .query_row((upload, part.number), |row| Content::from_bytes(row.get_ref(0)?.as_blob()?))
            .optional()?;
        conn.prepare_cached("INSERT INTO parts VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")?.execute((
            upload,
            part.number,
            part.size as i64,
            &part.etag,
            part.last_modified.0,
            part.crc64 as i64,
            content.to_bytes(),
        ))?;
        Ok(before.map_or(vec![], |content| content.files()))
    };
    write().map_err(|error| sql_error("write a part", error))
}

/// Parts after a number, in order.
pub(super) fn parts(
    conn: &Connection,
    upload: &str,
    after: u32,
    parts_max: usize,
) -> Outcome<Vec<PartInfo>> {
    let of = |row: &Row| {
        Ok(PartInfo {
            number: row.get(0)?,
            size: row.get::<_, i64>(1)? as u64,
            etag: row.get(2)?,
            last_modified: Timestamp(row.get(3)?),
            crc64: row.get::<_, i64>(4)? as u64,
        })
    };
    conn.prepare_cached(
        "SELECT number, size, etag, modified, crc64 FROM parts
         WHERE upload = ?1 AND number > ?2 ORDER BY number LIMIT ?3",
    )
    .and_then(|mut query| query.query_map((upload, after, parts_max as i64), of)?.collect())
    .map_err(|error| sql_error("list parts", error))
}

/// One page of uploads.
pub(super) fn uploads(
    conn: &Connection,
    bucket: i64,
    options: &UploadListOptions,
) -> Outcome<UploadListing> {
    let mut fold = Fold::new(&options.prefix, options.delimiter.as_deref(), options.uploads_max);
    let mut listing = UploadListing::default();
    let mut last = String::new();
    // Ids are never empty: after (key, "") means from the first upload of that key on.
    let whole_keys = options.after_upload.is_empty() || options.after_key < options.prefix;
    let mut from = match whole_keys {
        true => (fold.seek(&options.after_key), String::new()),
        false => (options.after_key.clone().into_bytes(), options.after_upload.clone()),
    };
    let mut scan = || -> rusqlite::Result<()> {
        let mut query = conn.prepare_cached(
            "SELECT key, id, initiated FROM uploads
             WHERE bucket = ?1 AND (key, id) > (?2, ?3) ORDER BY key, id",
        )?;
        'page: loop {
            let mut rows = query.query((bucket, &from.0, &from.1))?;
            while let Some(row) = rows.next()? {
                let key = key_of(row, 0)?;
                if !key.starts_with(&options.prefix) {
                    return Ok(());
                }
                let id: String = row.get(1)?;
                match fold.see(&key) {
                    See::Full => return Ok(()),
                    See::Take => {
                        last.clone_from(&id);
                        let initiated = Timestamp(row.get(2)?);
                        listing.uploads.push(UploadInfo { key, upload: id, initiated });
                    }
                    See::Seek(to) => {
                        from = (to, String::new());
                        last.clear();
                        continue 'page;
                    }
                }
            }
            return Ok(());
        }
    };
    scan().map_err(|error| sql_error("list uploads", error))?;
    listing.next = fold.next.map(|key| (key, last));
    listing.common_prefixes = fold.common_prefixes;
    Ok(listing)
}
