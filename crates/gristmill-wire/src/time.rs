//! The three time formats of the wire, each written and read by hand over one calendar.
//!
//! | Form | Example | Where |
//! |---|---|---|
//! | stamp | `2016-11-01T15:25:02.837728Z` | every `...Time` of the API: always 27 characters |
//! | HTTP date | `Wed, 11 Nov 2015 10:00:00 GMT` | `Date`, `Last-Modified` |
//! | OSS date | `2015-11-11T10:00:00.000Z` | bodies of the object store |
//!
//! Invariants
//! - What is written has a fixed length: years outside 0000 to 9999 are clamped.
//! - Reading accepts no other zone than UTC and never panics; what cannot be read is `None`.
//!
//! Sources: `reference/api.md` 4.1, `reference/oss-gateway.md`. Nobody here asks what time it is.

use gristmill_model::Timestamp;
use jiff::{
    civil::{Date, DateTime, Time},
    tz::Offset,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const WEEKDAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Microseconds at 0000-01-01T00:00:00Z.
const FIRST: i64 = -62_167_219_200_000_000;
/// Microseconds at 9999-12-30T22:00:00Z, the last that the calendar surely knows in every zone.
const LAST: i64 = 253_402_207_200_000_000;

/// The 27 characters of the API: `2016-11-01T15:25:02.837728Z`.
pub fn stamp(time: Timestamp) -> String {
    let (date, clock) = civil(time);
    format!("{}T{}.{:06}Z", day(date), seconds(clock), clock.subsec_nanosecond() / 1_000)
}

/// Reads what [`stamp`] writes; nothing else.
pub fn parse_stamp(text: &str) -> Option<Timestamp> {
    let fraction = text.strip_suffix('Z')?.get(19..)?.strip_prefix('.')?;
    if text.len() != 27 {
        return None;
    }
    let micros = i64::from(digits(fraction)?);
    Some(Timestamp(parse_to_the_second(text.get(..19)?)?.0 + micros))
}

/// The date of HTTP headers: `Wed, 11 Nov 2015 10:00:00 GMT`.
pub fn http_date(time: Timestamp) -> String {
    let (date, clock) = civil(time);
    let weekday = WEEKDAYS[date.weekday().to_monday_zero_offset() as usize];
    let month = MONTHS[date.month() as usize - 1];
    format!("{weekday}, {:02} {month} {:04} {} GMT", date.day(), date.year(), seconds(clock))
}

/// Reads the date of an HTTP header. The weekday is not checked; the zone is one of `GMT`,
/// `UTC`, `+0000`.
pub fn parse_http_date(text: &str) -> Option<Timestamp> {
    let (weekday, rest) = text.trim().split_once(',')?;
    if !WEEKDAYS.contains(&weekday) {
        return None;
    }
    let mut words = rest.split_ascii_whitespace();
    let mut word = || words.next();
    let (day, month, year, clock, zone) = (word()?, word()?, word()?, word()?, word()?);
    if words.next().is_some() || !["GMT", "UTC", "+0000"].contains(&zone) || year.len() != 4 {
        return None;
    }
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    timestamp(digits(year)?, month as u32, digits(day)?, clock)
}

/// The date of object-store bodies: `2015-11-11T10:00:00.000Z`. The fraction is always zero, as
/// object times are whole seconds.
pub fn oss_date(time: Timestamp) -> String {
    let (date, clock) = civil(time);
    format!("{}T{}.000Z", day(date), seconds(clock))
}

/// The end of a temporary key: `2015-11-11T10:00:00Z`.
pub fn second_stamp(time: Timestamp) -> String {
    let (date, clock) = civil(time);
    format!("{}T{}Z", day(date), seconds(clock))
}

/// Reads an ISO date in UTC with any number of fraction digits, or none:
/// `2015-11-11T10:00:00.000Z`, `2015-11-11T10:00:00Z`.
pub fn parse_iso_date(text: &str) -> Option<Timestamp> {
    let whole = parse_to_the_second(text.get(..19)?)?;
    let fraction = text.get(19..)?.strip_suffix('Z')?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let fraction = fraction.strip_prefix('.')?;
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let micros = fraction.bytes().chain(std::iter::repeat(b'0')).take(6);
    Some(Timestamp(whole.0 + micros.fold(0, |sum, b| sum * 10 + i64::from(b - b'0'))))
}

/// A time in a body: the 27 characters, or the empty text while there is none
/// (`reference/api.md` 4.1). Reading is lenient as the official clients are: what is not a time
/// is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct WireTime(pub Option<Timestamp>);

impl From<Timestamp> for WireTime {
    fn from(time: Timestamp) -> Self {
        Self(Some(time))
    }
}

impl From<Option<Timestamp>> for WireTime {
    fn from(time: Option<Timestamp>) -> Self {
        Self(time)
    }
}

impl Serialize for WireTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.map(stamp).unwrap_or_default())
    }
}

impl<'de> Deserialize<'de> for WireTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
        Ok(Self(parse_iso_date(&text)))
    }
}

fn civil(time: Timestamp) -> (Date, Time) {
    let time = jiff::Timestamp::from_microsecond(time.0.clamp(FIRST, LAST))
        .expect("the calendar knows every time between the first and the last");
    let at = Offset::UTC.to_datetime(time);
    (at.date(), at.time())
}

fn day(date: Date) -> String {
    format!("{:04}-{:02}-{:02}", date.year(), date.month(), date.day())
}

fn seconds(clock: Time) -> String {
    format!("{:02}:{:02}:{:02}", clock.hour(), clock.minute(), clock.second())
}

/// `YYYY-MM-DDTHH:MM:SS`.
fn parse_to_the_second(text: &str) -> Option<Timestamp> {
    let (date, clock) = text.split_once('T')?;
    let mut parts = date.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if parts.next().is_some() || [year.len(), month.len(), day.len()] != [4, 2, 2] {
        return None;
    }
    timestamp(digits(year)?, digits(month)?, digits(day)?, clock)
}

/// The point at year, month, day and `HH:MM:SS`.
fn timestamp(year: u32, month: u32, day: u32, clock: &str) -> Option<Timestamp> {
    let mut parts = clock.split(':');
    let mut two = || parts.next().filter(|part| part.len() == 2).and_then(digits);
    let (hour, minute, second) = (two()?, two()?, two()?);
    if parts.next().is_some() {
        return None;
    }
    let small = |number: u32| i8::try_from(number).ok();
    let date = Date::new(i16::try_from(year).ok()?, small(month)?, small(day)?).ok()?;
    let clock = Time::new(small(hour)?, small(minute)?, small(second)?, 0).ok()?;
    let at = Offset::UTC.to_timestamp(DateTime::from_parts(date, clock)).ok()?;
    Some(Timestamp(at.as_microsecond()))
}

/// Up to nine ASCII digits, and nothing else, as a number.
fn digits(text: &str) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= 9 && text.bytes().all(|b| b.is_ascii_digit());
    if plain { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GUIDE: Timestamp = Timestamp(1_478_013_902_837_728);

    #[test]
    fn the_end_of_a_temporary_key_has_no_fraction() {
        let text = "2015-11-11T10:00:00Z";
        let time = parse_iso_date(text).expect("a time");
        assert_eq!(second_stamp(Timestamp(time.0 + 999_999)), text);
    }

    #[test]
    fn each_form_shows_the_same_moment() {
        assert_eq!(stamp(GUIDE), "2016-11-01T15:25:02.837728Z");
        assert_eq!(http_date(GUIDE), "Tue, 01 Nov 2016 15:25:02 GMT");
        assert_eq!(oss_date(GUIDE), "2016-11-01T15:25:02.000Z");
        assert_eq!(stamp(Timestamp(0)), "1970-01-01T00:00:00.000000Z");
        assert_eq!(http_date(Timestamp(-1)), "Wed, 31 Dec 1969 23:59:59 GMT");
    }

    #[test]
    fn the_ends_of_time_keep_the_length() {
        for end in [i64::MIN, FIRST, LAST, i64::MAX] {
            assert_eq!(stamp(Timestamp(end)).len(), 27, "{end}");
            assert_eq!(http_date(Timestamp(end)).len(), 29, "{end}");
        }
    }

    #[test]
    fn near_misses_are_not_times() {
        for text in [
            "",
            "2016-11-01T15:25:02Z",
            "2016-11-01T15:25:02.837Z",
            "2016-11-01T15:25:02.837728",
            "2016-11-01 15:25:02.837728Z",
            "2016-13-01T15:25:02.837728Z",
            "2016-02-30T15:25:02.837728Z",
            "2016-11-01T24:25:02.837728Z",
            "2016-11-01T15:25:60.837728Z",
            "+016-11-01T15:25:02.837728Z",
            "2016-11-01T15:25:02.83772+Z",
            "２016-11-01T15:25:02.8377Z",
        ] {
            assert_eq!(parse_stamp(text), None, "{text}");
        }
        for text in [
            "",
            "Wed, 11 Nov 2015 10:00:00",
            "Wed, 11 Nov 2015 10:00:00 CET",
            "Wed, 11 Nov 15 10:00:00 GMT",
            "Wed, 31 Nov 2015 10:00:00 GMT",
            "11 Nov 2015 10:00:00 GMT",
            "Wed, 11 Nov 2015 10:00:00 GMT x",
        ] {
            assert_eq!(parse_http_date(text), None, "{text}");
        }
    }

    #[test]
    fn dates_of_other_writers_are_read() {
        let ten = Timestamp(1_447_236_000_000_000);
        assert_eq!(parse_http_date("Wed, 11 Nov 2015 10:00:00 GMT"), Some(ten));
        assert_eq!(parse_http_date("Wed, 11 Nov 2015 10:00:00 +0000"), Some(ten));
        assert_eq!(parse_iso_date("2015-11-11T10:00:00Z"), Some(ten));
        assert_eq!(parse_iso_date("2015-11-11T10:00:00.5Z"), Some(Timestamp(ten.0 + 500_000)));
        assert_eq!(parse_iso_date("2015-11-11T10:00:00.Z"), None);
    }

    #[test]
    fn a_time_that_is_not_set_is_the_empty_text() {
        let text = serde_json::to_string(&[WireTime(None), GUIDE.into()]).expect("plain");
        assert_eq!(text, r#"["","2016-11-01T15:25:02.837728Z"]"#);
        let back: Vec<WireTime> = serde_json::from_str(&text).expect("plain");
        assert_eq!(back, [WireTime(None), GUIDE.into()]);
        assert_eq!(serde_json::from_str::<WireTime>("null").expect("plain"), WireTime(None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn what_is_written_is_read_back(micros in FIRST..LAST) {
            let time = Timestamp(micros);
            let second = Timestamp(micros - micros.rem_euclid(1_000_000));
            prop_assert_eq!(parse_stamp(&stamp(time)), Some(time));
            prop_assert_eq!(parse_iso_date(&stamp(time)), Some(time));
            prop_assert_eq!(parse_http_date(&http_date(time)), Some(second));
            prop_assert_eq!(parse_iso_date(&oss_date(time)), Some(second));
        }

        #[test]
        fn any_text_is_read_without_a_panic(text in "\\PC{0,40}") {
            let _ = (parse_stamp(&text), parse_http_date(&text), parse_iso_date(&text));
        }
    }
}
