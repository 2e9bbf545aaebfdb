//! Lists: what the query asks for and the envelope of the answer (`reference/api.md` 4.3, 7.6).
//!
//! A marker is the sort key of the last item of the page before, so it stays valid while items
//! come and go. On the wire it is opaque and uses only letters, digits, `_` and `-`, which every
//! client signs alike.
//!
//! Invariants
//! - `NextMarker` is always there and always text; empty on the last page.
//! - A marker is never `0` or `None`: clients send those for the start.

use crate::{
    api::query::Query,
    error::{ApiError, quote},
};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use gristmill_model::{ClusterId, JobState};
use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// How many items a page has when the client does not say.
pub const ITEMS_DEFAULT: usize = 50;

/// The most items of a page; who asks for more gets this many.
pub const ITEMS_MAX: usize = 100;

/// Where a page starts: behind the item with this key, or at the start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Marker(Option<String>);

impl Marker {
    /// The page behind the item with this sort key.
    pub fn after(key: impl fmt::Display) -> Self {
        Self(Some(key.to_string()))
    }

    /// Reads what a client sent. Empty, `0` and `None` are the start.
    pub fn parse(text: &str) -> Result<Self, ApiError> {
        if matches!(text, "" | "0" | "None") {
            return Ok(Self(None));
        }
        let key = text.strip_prefix('m').and_then(|text| URL_SAFE_NO_PAD.decode(text).ok());
        match key.and_then(|key| String::from_utf8(key).ok()) {
            Some(key) => Ok(Self(Some(key))),
            None => Err(unknown_marker(text)),
        }
    }

    /// The sort key, if the page does not start at the start. A key of the wrong kind is
    /// `InvalidMarker`: the marker was made by another list.
    pub fn key<K: FromStr>(&self) -> Result<Option<K>, ApiError> {
        let Some(key) = &self.0 else { return Ok(None) };
        key.parse().map(Some).map_err(|_| unknown_marker(&self.to_string()))
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            None => Ok(()),
            Some(key) => write!(f, "m{}", URL_SAFE_NO_PAD.encode(key)),
        }
    }
}

fn unknown_marker(text: &str) -> ApiError {
    ApiError::invalid("Marker", format_args!("{} is not one of ours", quote(text)))
}

/// What a list is sorted by. Ids sort by creation, so both are the same for jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OrderBy {
    /// By id.
    Id,
    /// By time of creation, oldest first.
    #[default]
    CreationTime,
}

/// What the query of a list asks for. Members that a list does not have stay at their default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListQuery {
    /// Where the page starts.
    pub marker: Marker,
    /// The most items of the page: 1 to [`ITEMS_MAX`].
    pub items_max: usize,
    /// Only things in this state.
    pub state: Option<JobState>,
    /// Only jobs or tasks on this cluster.
    pub cluster: Option<ClusterId>,
    /// The order.
    pub order_by: OrderBy,
    /// Whether the order is turned around.
    pub is_reverse: bool,
}

impl ListQuery {
    /// `GET /clusters`, `/images`, `/apps` and machines: marker and count.
    pub fn plain(query: &Query<'_>) -> Result<Self, ApiError> {
        Ok(Self {
            marker: Marker::parse(query.get("Marker").unwrap_or_default())?,
            items_max: items_max(query)?,
            state: None,
            cluster: None,
            order_by: OrderBy::default(),
            is_reverse: false,
        })
    }

    /// `GET /jobs`: also state, cluster and order.
    pub fn jobs(query: &Query<'_>) -> Result<Self, ApiError> {
        let (order_by, is_reverse) = (order_by(query)?, is_reverse(query)?);
        Ok(Self { order_by, is_reverse, ..Self::tasks(query)? })
    }

    /// `GET /jobs/{job}/tasks`: also state and cluster.
    pub fn tasks(query: &Query<'_>) -> Result<Self, ApiError> {
        Ok(Self { cluster: cluster(query)?, ..Self::instances(query)? })
    }

    /// `GET /jobs/{job}/tasks/{task}/instances`: also state.
    pub fn instances(query: &Query<'_>) -> Result<Self, ApiError> {
        Ok(Self { state: state(query)?, ..Self::plain(query)? })
    }
}

/// 0 means not given, as in the Java SDK; any larger number is clamped.
fn items_max(query: &Query<'_>) -> Result<usize, ApiError> {
    let Some(text) = query.get("MaxItemCount") else { return Ok(ITEMS_DEFAULT) };
    if !text.bytes().all(|b| b.is_ascii_digit()) {
        return Err(ApiError::invalid(
            "MaxItemCount",
            format_args!("must be a whole number in [0, {ITEMS_MAX}]"),
        ));
    }
    match text.parse().unwrap_or(usize::MAX) {
        0 => Ok(ITEMS_DEFAULT),
        count => Ok(count.min(ITEMS_MAX)),
    }
}

fn state(query: &Query<'_>) -> Result<Option<JobState>, ApiError> {
    use JobState::{Failed, Finished, Running, Stopped, Waiting};
    let Some(text) = query.get("State") else { return Ok(None) };
    [Waiting, Running, Finished, Failed, Stopped]
        .into_iter()
        .find(|state| state.name() == text)
        .map(Some)
        .ok_or_else(|| {
            ApiError::invalid("State", "must be one of Waiting, Running, Finished, Failed, Stopped")
        })
}

fn cluster(query: &Query<'_>) -> Result<Option<ClusterId>, ApiError> {
    let Some(text) = query.get("ClusterId") else { return Ok(None) };
    let reason = |_| ApiError::invalid("ClusterId", format_args!("{} is no id", quote(text)));
    text.parse().map(Some).map_err(reason)
}

fn order_by(query: &Query<'_>) -> Result<OrderBy, ApiError> {
    match query.get("OrderBy") {
        None | Some("CreationTime") => Ok(OrderBy::CreationTime),
        Some("Id") => Ok(OrderBy::Id),
        Some(_) => Err(ApiError::invalid("OrderBy", "must be Id or CreationTime")),
    }
}

fn is_reverse(query: &Query<'_>) -> Result<bool, ApiError> {
    match query.get("IsReverse").map(str::to_ascii_lowercase).as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ApiError::invalid("IsReverse", "must be True or False")),
    }
}

/// Which images a list shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ImageKind {
    /// Those of the region, readable by everybody.
    System,
    /// Those of the account.
    #[default]
    Own,
}

impl ImageKind {
    /// `Type` of `GET /images`: `System` or `Self`; another value is ignored
    /// (`reference/api.md` 10).
    pub fn of(query: &Query<'_>) -> Self {
        match query.get("Type") {
            Some("System") => Self::System,
            _ => Self::Own,
        }
    }
}

/// The envelope of every paged list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct List<T> {
    /// The items of this page.
    pub items: Vec<T>,
    /// Where the next page starts; empty when there is none.
    pub next_marker: String,
}

impl<T> List<T> {
    /// A page. `last_key` is the sort key of its last item when more follow.
    pub fn page(items: Vec<T>, last_key: Option<impl fmt::Display>) -> Self {
        let next_marker = last_key.map(|key| Marker::after(key).to_string()).unwrap_or_default();
        Self { items, next_marker }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use gristmill_model::{InstanceNo, JobId};

    fn jobs(raw: &str) -> Result<ListQuery, Code> {
        ListQuery::jobs(&Query::parse(raw).expect("legal")).map_err(|error| error.code)
    }

    #[test]
    fn nothing_given_is_the_first_fifty_oldest_first() {
        for raw in ["", "Marker&MaxItemCount", "Marker=0", "Marker=None", "RegionId=x&ProjectId"] {
            let query = jobs(raw).expect("legal");
            assert_eq!((query.items_max, query.marker), (50, Marker::default()), "{raw}");
            assert_eq!((query.order_by, query.is_reverse), (OrderBy::CreationTime, false));
        }
    }

    #[test]
    fn counts_are_clamped_or_refused() {
        for (text, wanted) in
            [("1", 1), ("100", 100), ("200", 100), ("0", 50), ("99999999999999999999999", 100)]
        {
            let query = jobs(&format!("MaxItemCount={text}")).expect("legal");
            assert_eq!(query.items_max, wanted, "{text}");
        }
        for text in ["-1", "1.5", "x", "0x10", "%2B1", "1%20"] {
            let code = jobs(&format!("MaxItemCount={text}"));
            assert_eq!(code, Err(Code::Invalid("MaxItemCount".into())), "{text}");
        }
    }

    #[test]
    fn filters_and_order_are_read() {
        let query =
            jobs("State=Running&ClusterId=cls-hr2rbl6qt5gki7392b8001&OrderBy=Id&IsReverse=True")
                .expect("legal");
        assert_eq!(query.state, Some(JobState::Running));
        assert_eq!(query.cluster.expect("given").to_string(), "cls-hr2rbl6qt5gki7392b8001");
        assert_eq!((query.order_by, query.is_reverse), (OrderBy::Id, true));
        for (raw, member) in [
            ("State=Placed", "State"),
            ("State=running", "State"),
            ("ClusterId=c1", "ClusterId"),
            ("OrderBy=Name", "OrderBy"),
            ("IsReverse=yes", "IsReverse"),
            ("Marker=1", "Marker"),
            ("Marker=m!", "Marker"),
            ("Marker=m_w", "Marker"),
        ] {
            assert_eq!(jobs(raw), Err(Code::Invalid(member.into())), "{raw}");
        }
    }

    #[test]
    fn a_list_ignores_filters_it_does_not_have() {
        let query = Query::parse("State=x&ClusterId=y&OrderBy=z&IsReverse=w").expect("legal");
        assert!(ListQuery::plain(&query).is_ok());
    }

    #[test]
    fn an_unknown_kind_of_image_is_ignored() {
        for (raw, wanted) in [
            ("Type=System", ImageKind::System),
            ("Type=Self", ImageKind::Own),
            ("", ImageKind::Own),
        ] {
            assert_eq!(ImageKind::of(&Query::parse(raw).expect("legal")), wanted, "{raw}");
        }
        let other = Query::parse("Type=Other").expect("legal");
        assert_eq!(ImageKind::of(&other), ImageKind::Own);
    }

    #[test]
    fn markers_come_back_as_the_key_they_hold() {
        let job: JobId = "job-0000000058524720000077E900007257".parse().expect("legal");
        for key in ["0", "img-6.ki", "task_1-x", "日志", ""] {
            let text = Marker::after(key).to_string();
            let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b == b'-';
            assert!(text.bytes().all(plain) && !text.is_empty(), "{text}");
            assert_ne!(text, "0");
            let back = Marker::parse(&text).and_then(|marker| marker.key::<String>());
            assert_eq!(back.expect("ours").as_deref(), Some(key));
        }
        let marker = Marker::parse(&Marker::after(job).to_string()).expect("ours");
        assert_eq!(marker.key(), Ok(Some(job)));
        let foreign = marker.key::<u32>().map_err(|error| error.code);
        assert_eq!(foreign, Err(Code::Invalid("Marker".into())));
    }

    #[test]
    fn the_last_page_has_an_empty_marker() {
        let last = List::page(vec![1, 2], None::<InstanceNo>);
        assert_eq!(
            serde_json::to_string(&last).expect("plain"),
            r#"{"Items":[1,2],"NextMarker":""}"#
        );
        assert_ne!(List::page(vec![1], Some(InstanceNo(0))).next_marker, "");
    }
}
