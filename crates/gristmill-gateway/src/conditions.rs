//! Conditions and ranges of a read (`reference/oss-gateway.md` 10).
//!
//! A range that is not fully inside the object is ignored and the whole object answered, unless the
//! caller asks for the standard behaviour: that is how the hosted store does it, and clients rely
//! on it.

use crate::{fault::Fault, headers::text};
use gristmill_objects::ObjectInfo;
use gristmill_wire::time::parse_http_date;
use http::HeaderMap;
use std::ops::Range;

/// What conditions say about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer it.
    Go,
    /// 304.
    NotModified,
    /// 412, by this condition.
    Failed(&'static str),
}

impl Verdict {
    /// A fault where a 304 makes no sense.
    pub fn or_fault(self) -> Result<(), Fault> {
        match self {
            Self::Go => Ok(()),
            Self::NotModified => Err(Fault::precondition_failed("If-None-Match")),
            Self::Failed(condition) => Err(Fault::precondition_failed(condition)),
        }
    }
}

/// Judges by `<prefix>if-match`, `-none-match`, `-modified-since`, `-unmodified-since`.
pub(crate) fn judge(info: &ObjectInfo, headers: &HeaderMap, prefix: &str) -> Verdict {
    let value = |name: &str| text(headers, &format!("{prefix}{name}"));
    let date = |name: &str| value(name).and_then(parse_http_date);
    // Dates on the wire have whole seconds.
    let modified = info.last_modified.0.div_euclid(1_000_000);
    match (value("if-match"), date("if-unmodified-since")) {
        (Some(tags), _) if !names(tags, &info.etag) => return Verdict::Failed("If-Match"),
        (None, Some(date)) if modified > date.0.div_euclid(1_000_000) => {
            return Verdict::Failed("If-Unmodified-Since");
        }
        _ => {}
    }
    match (value("if-none-match"), date("if-modified-since")) {
        (Some(tags), _) if names(tags, &info.etag) => Verdict::NotModified,
        (None, Some(date)) if modified <= date.0.div_euclid(1_000_000) => Verdict::NotModified,
        _ => Verdict::Go,
    }
}

fn names(tags: &str, etag: &str) -> bool {
    let same = |tag: &str| {
        let tag = tag.trim().trim_start_matches("W/").trim_matches('"');
        tag == "*" || tag.eq_ignore_ascii_case(etag)
    };
    tags.split(',').any(same)
}

/// A range as it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Span {
    /// `a-b`, both included.
    Between(u64, u64),
    /// `a-`.
    From(u64),
    /// `-n`.
    Last(u64),
}

/// What a range means for an object of a certain size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Cut {
    /// The range is ignored.
    Whole,
    /// 206.
    Part(Range<u64>),
    /// 416.
    Outside,
}

impl Span {
    /// Reads the first range of `bytes=…`; `None` when there is none that can be read.
    pub fn parse(text: &str) -> Option<Self> {
        let first = text.trim().strip_prefix("bytes=")?.split(',').next()?.trim();
        let (from, to) = first.split_once('-')?;
        let number = |text: &str| text.parse::<u64>().ok();
        match (from, to) {
            ("", last) => number(last).map(Self::Last),
            (from, "") => number(from).map(Self::From),
            (from, to) => {
                let (from, to) = (number(from)?, number(to)?);
                (from <= to).then_some(Self::Between(from, to))
            }
        }
    }

    /// What it means for `size` bytes.
    pub fn cut(self, size: u64, standard: bool) -> Cut {
        let (start, end) = match self {
            Self::Between(from, to) => (from, to.saturating_add(1)),
            Self::From(from) => (from, size),
            Self::Last(last) => (size.saturating_sub(last), size),
        };
        let inside = match self {
            Self::Last(last) => 0 < last && last <= size,
            _ => start < size && end <= size,
        };
        match (inside, standard) {
            (true, _) => Cut::Part(start..end),
            (false, false) => Cut::Whole,
            (false, true) if start >= size => Cut::Outside,
            (false, true) => Cut::Part(start..end.min(size)),
        }
    }

    /// The bytes to ask the store for before the size is known.
    pub fn guess(self) -> Option<Range<u64>> {
        match self {
            Self::Between(from, to) => Some(from..to.saturating_add(1)),
            Self::From(from) => Some(from..u64::MAX),
            Self::Last(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gristmill_model::Timestamp;
    use std::collections::BTreeMap;

    fn judged(name: &'static str, value: &str) -> Verdict {
        let info = ObjectInfo {
            key: "k".into(),
            size: 1,
            etag: "AB".into(),
            last_modified: Timestamp(1_704_164_645_500_000),
            crc64: None,
            kind: "Normal".into(),
            headers: BTreeMap::new(),
        };
        let headers = [(http::HeaderName::from_static(name), value.parse().expect("a value"))];
        judge(&info, &headers.into_iter().collect(), "")
    }

    #[test]
    fn conditions_are_judged() {
        let (same, before, after) = (
            "Tue, 02 Jan 2024 03:04:05 GMT",
            "Tue, 02 Jan 2024 03:04:04 GMT",
            "Tue, 02 Jan 2124 03:04:06 GMT",
        );
        use Verdict::*;
        for (name, value, right) in [
            ("if-match", "\"ab\"", Go),
            ("if-match", "x, AB", Go),
            ("if-match", "*", Go),
            ("if-match", "\"x\"", Failed("If-Match")),
            ("if-none-match", "AB", NotModified),
            ("if-none-match", "x", Go),
            ("if-modified-since", same, NotModified),
            ("if-modified-since", after, NotModified),
            ("if-modified-since", before, Go),
            ("if-modified-since", "yesterday", Go),
            ("if-unmodified-since", same, Go),
            ("if-unmodified-since", before, Failed("If-Unmodified-Since")),
        ] {
            assert_eq!(judged(name, value), right, "{name}: {value}");
        }
    }

    #[test]
    fn ranges_not_inside_the_object_are_ignored() {
        let cut = |text: &str| Span::parse(text).map_or(Cut::Whole, |span| span.cut(10, false));
        for (text, right) in [
            ("bytes=0-9", Cut::Part(0..10)),
            ("bytes=3-3,5-6", Cut::Part(3..4)),
            ("bytes=9-", Cut::Part(9..10)),
            ("bytes=-10", Cut::Part(0..10)),
            ("bytes=0-10", Cut::Whole),
            ("bytes=10-", Cut::Whole),
            ("bytes=-11", Cut::Whole),
            ("bytes=-0", Cut::Whole),
            ("bytes=5-4", Cut::Whole),
            ("bytes=a-b", Cut::Whole),
            ("chars=1-2", Cut::Whole),
            ("bytes=0-18446744073709551615", Cut::Whole),
        ] {
            assert_eq!(cut(text), right, "{text}");
        }
        assert_eq!(Span::From(0).cut(0, false), Cut::Whole);
    }

    #[test]
    fn the_standard_behaviour_clips_and_refuses() {
        let cut = |text: &str| Span::parse(text).expect("reads").cut(10, true);
        assert_eq!(cut("bytes=5-20"), Cut::Part(5..10));
        assert_eq!(cut("bytes=-20"), Cut::Part(0..10));
        assert_eq!(cut("bytes=10-20"), Cut::Outside);
        assert_eq!(cut("bytes=-0"), Cut::Outside);
    }
}
