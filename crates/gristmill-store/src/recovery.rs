//! What a restart finds: the last checkpoint, the events after it, and the effects not known to
//! be done.
//!
//! Everything is read once, in one pass, before the first write. The journal must continue the
//! checkpoint without a gap; anything else is damage and is said so instead of being skipped.

use crate::{
    batch,
    error::StoreError,
    journal,
    store::{EffectId, Seq},
};
use gristmill_model::{Effect, Event};
use rusqlite::Connection;

/// The books as they were when the last server ended, however it ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// The last checkpoint: key and value, ordered by key.
    pub entities: Vec<(String, Vec<u8>)>,
    /// The event the checkpoint reaches to; 0 when there was none.
    pub through: Seq,
    /// What happened after the checkpoint, in order.
    pub events: Vec<Event>,
    /// What they take in the journal.
    pub journal_bytes: u64,
    /// Effects that are not known to be done, oldest first.
    pub outbox: Vec<(EffectId, Effect)>,
    /// The number the next event gets.
    pub next_seq: Seq,
}

pub(crate) fn read(connection: &Connection) -> Result<Recovered, StoreError> {
    let through = through(connection)
        .map_err(|source| StoreError::read("the mark of the checkpoint", source))?;
    let events = events(connection, through)?;
    Ok(Recovered {
        entities: entities(connection)
            .map_err(|source| StoreError::read("the checkpoint", source))?,
        through: Seq(through.cast_unsigned()),
        next_seq: Seq(through.cast_unsigned() + events.len() as u64 + 1),
        events,
        journal_bytes: journal_bytes(connection)
            .map_err(|source| StoreError::read("the journal", source))?,
        outbox: outbox(connection)?,
    })
}

fn through(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("SELECT through FROM checkpoint", [], |row| row.get(0))
}

/// Rows before the checkpoint go when it is written, or at the next one.
fn journal_bytes(connection: &Connection) -> rusqlite::Result<u64> {
    let bytes: i64 =
        connection.query_row("SELECT COALESCE(SUM(LENGTH(record)), 0) FROM batch", [], |row| {
            row.get(0)
        })?;
    Ok(bytes.cast_unsigned())
}

fn entities(connection: &Connection) -> rusqlite::Result<Vec<(String, Vec<u8>)>> {
    let mut rows = connection.prepare("SELECT key, value FROM entity ORDER BY key")?;
    rows.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn events(connection: &Connection, through: i64) -> Result<Vec<Event>, StoreError> {
    let read = |source| StoreError::read("the journal", source);
    let mut statement = connection
        .prepare("SELECT seq, format, record FROM journal WHERE seq > ?1 ORDER BY seq")
        .map_err(read)?;
    let mut rows = statement.query([through]).map_err(read)?;
    let mut events = Vec::new();
    while let Some(row) = rows.next().map_err(read)? {
        let (seq, wanted) = (row.get(0).map_err(read)?, through + events.len() as i64 + 1);
        if seq != wanted {
            let what = format!("event {wanted} is missing from the journal, {seq} follows");
            return Err(StoreError::Corrupt { what, source: None });
        }
        let record = row
            .get_ref(2)
            .map_err(read)?
            .as_str()
            .map_err(|cause| StoreError::corrupt(format!("event {seq} is not text"), cause))?;
        events.push(journal::decode_event(seq, row.get(1).map_err(read)?, record)?);
    }
    batches(connection, through, &mut events)?;
    Ok(events)
}

/// The events in batches, which follow those in rows of their own. A batch lies on one side of the
/// checkpoint or is cut by it.
fn batches(
    connection: &Connection,
    through: i64,
    events: &mut Vec<Event>,
) -> Result<(), StoreError> {
    let read = |source| StoreError::read("the journal", source);
    let mut statement = connection
        .prepare("SELECT seq, record FROM batch WHERE seq + events - 1 > ?1 ORDER BY seq")
        .map_err(read)?;
    let mut rows = statement.query([through]).map_err(read)?;
    while let Some(row) = rows.next().map_err(read)? {
        let (seq, next): (i64, i64) =
            (row.get(0).map_err(read)?, through + events.len() as i64 + 1);
        if seq > next {
            let what = format!("event {next} is missing from the journal, {seq} follows");
            return Err(StoreError::Corrupt { what, source: None });
        }
        let record =
            row.get_ref(1).map_err(read)?.as_blob().map_err(|cause| {
                StoreError::corrupt(format!("event {seq} is not a batch"), cause)
            })?;
        let known = usize::try_from(next - seq).unwrap_or(0);
        events.extend(batch::decode(seq, record)?.into_iter().skip(known));
    }
    Ok(())
}

fn outbox(connection: &Connection) -> Result<Vec<(EffectId, Effect)>, StoreError> {
    let read = |source| StoreError::read("the outbox", source);
    let mut statement =
        connection.prepare("SELECT id, format, record FROM outbox ORDER BY id").map_err(read)?;
    let mut rows = statement.query([]).map_err(read)?;
    let mut effects = Vec::new();
    while let Some(row) = rows.next().map_err(read)? {
        let id: i64 = row.get(0).map_err(read)?;
        let record: String = row.get(2).map_err(read)?;
        let effect = journal::decode_effect(id, row.get(1).map_err(read)?, &record)?;
        effects.push((EffectId(id.cast_unsigned()), effect));
    }
    Ok(effects)
}
