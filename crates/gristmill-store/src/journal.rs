//! The written form of events and effects.
//!
//! Format 1 is the serde form of `model::Event` and `model::Effect` as one line of JSON, with the
//! format's number in a column beside it. That ties the model's shapes to the past: a field may be
//! added with a default, everything else needs format 2 here, with a decoder that still reads
//! format 1. `tests/golden/journal-v1.jsonl` holds lines of every variant as they were written and
//! its test fails when one of them can no longer be read.

use crate::error::StoreError;
use gristmill_model::{Effect, Event, Notice};
use serde::{Serialize, de::DeserializeOwned};

/// The format of a single event or effect; `batch` holds many events in a form of its own.
pub(crate) const FORMAT: i64 = 1;

pub(crate) fn encode_event(event: &Event) -> Result<String, StoreError> {
    encode("an event", event)
}

pub(crate) fn encode_effect(effect: &Effect) -> Result<String, StoreError> {
    encode("an effect", effect)
}

pub(crate) fn decode_event(seq: i64, format: i64, record: &str) -> Result<Event, StoreError> {
    decode("event", seq, format, record)
}

pub(crate) fn decode_effect(id: i64, format: i64, record: &str) -> Result<Effect, StoreError> {
    decode("effect", id, format, record)
}

pub(crate) fn decode_notice(id: i64, format: i64, record: &str) -> Result<Notice, StoreError> {
    decode("notice", id, format, record)
}

fn encode<T: Serialize>(what: &'static str, value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|source| StoreError::Encode { what, source })
}

fn decode<T: DeserializeOwned>(
    what: &str,
    number: i64,
    format: i64,
    record: &str,
) -> Result<T, StoreError> {
    match format {
        1 => serde_json::from_str(record).map_err(|source| {
            StoreError::corrupt(format!("{what} {number} cannot be read"), source)
        }),
        _ => Err(StoreError::Corrupt {
            what: format!("{what} {number} has the unknown format {format}"),
            source: None,
        }),
    }
}
