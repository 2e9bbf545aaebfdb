//! Times as people read them: local clock time, how long ago, how long it took.
//!
//! The service's texts (`YYYY-MM-DDTHH:MM:SS.ffffffZ`, empty when not yet) are parsed here;
//! shapes follow the official tool (`reference/bcs-cli.md` 4).

use gristmill_model::Timestamp;
use jiff::tz::TimeZone;

/// A time of the service; `None` for empty or foreign text.
pub fn parse(text: &str) -> Option<Timestamp> {
    let parsed: jiff::Timestamp = text.parse().ok()?;
    Some(Timestamp(parsed.as_microsecond()))
}

/// `2024-01-02 03:04:05` in the zone; empty when the time is not yet known.
pub fn local(time: Option<Timestamp>, zone: &TimeZone) -> String {
    let instant = time.and_then(|time| jiff::Timestamp::from_microsecond(time.0).ok());
    instant.map_or_else(String::new, |instant| {
        instant.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M:%S").to_string()
    })
}

/// `1D2H3m4s`.
pub fn length(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.millis_since(from) / 1000;
    let parts = [
        (seconds / 86400, 'D'),
        (seconds / 3600 % 24, 'H'),
        (seconds / 60 % 60, 'm'),
        (seconds % 60, 's'),
    ];
    let text: String = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, unit)| format!("{count}{unit}"))
        .collect();
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// The elapsed column: from the start to the end, or to now; empty before the start.
pub fn elapsed(start: Option<Timestamp>, end: Option<Timestamp>, now: Timestamp) -> String {
    start.map_or_else(String::new, |start| length(start, end.unwrap_or(now)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_services_times_are_read_and_shown_in_the_zone() {
        let time = parse("2024-01-02T03:04:05.678901Z");
        assert_eq!(time, Some(Timestamp(1_704_164_645_678_901)));
        assert_eq!(local(time, &TimeZone::UTC), "2024-01-02 03:04:05");
        let china = TimeZone::fixed(jiff::tz::offset(8));
        assert_eq!(local(time, &china), "2024-01-02 11:04:05");
        assert_eq!(local(parse(""), &china), "");
    }

    #[test]
    fn lengths_leave_out_what_is_zero() {
        let after = |seconds: i64| length(Timestamp(0), Timestamp(seconds * 1_000_000));
        assert_eq!(after(0), "0s");
        assert_eq!(after(93_784), "1D2H3m4s");
        assert_eq!(after(3600), "1H");
        assert_eq!(after(-5), "0s", "a clock that went backwards");
        assert_eq!(elapsed(None, None, Timestamp(0)), "");
    }
}
