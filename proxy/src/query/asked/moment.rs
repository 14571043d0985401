//! Times and durations as Prometheus takes them.

use std::time::{Duration, UNIX_EPOCH};

/// A duration's units in the order in which they have to come, in milliseconds.
const UNITS: [(&str, u64); 7] = [
    ("y", 365 * 24 * 3_600_000),
    ("w", 7 * 24 * 3_600_000),
    ("d", 24 * 3_600_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1000),
    ("ms", 1),
];

/// Unix seconds, or RFC 3339 with any offset, from 1970 on.
pub(super) fn unix_time(text: &str) -> Option<f64> {
    match text.parse::<f64>() {
        Ok(seconds) => Some(seconds).filter(|seconds| seconds.is_finite()),
        Err(_) => rfc3339(text),
    }
}

fn rfc3339(text: &str) -> Option<f64> {
    let (local, offset) = match text.strip_suffix('Z') {
        Some(local) => (local, 0.0),
        None => {
            let (local, offset) = text.split_at_checked(text.len().checked_sub(6)?)?;
            (local, offset_seconds(offset)?)
        }
    };
    let local = humantime::parse_rfc3339(&format!("{local}Z")).ok()?;
    let since = local.duration_since(UNIX_EPOCH).ok()?;
    Some(since.as_secs_f64() - offset)
}

/// `+02:00`
fn offset_seconds(text: &str) -> Option<f64> {
    let (sign, digits) = match text.as_bytes().first()? {
        b'+' => (1.0, &text[1..]),
        b'-' => (-1.0, &text[1..]),
        _ => return None,
    };
    let (hours, minutes) = digits.split_once(':')?;
    let number = |text: &str, most: f64| {
        let digits = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse::<f64>().ok().filter(|_| digits)?;
        (number <= most).then_some(number)
    };
    Some(sign * (number(hours, 23.0)? * 3600.0 + number(minutes, 59.0)? * 60.0))
}

/// Seconds, or units as in `1h30m`; more than none.
pub(super) fn seconds(text: &str) -> Option<f64> {
    let seconds = match text.parse::<f64>() {
        Ok(seconds) => seconds,
        Err(_) => in_units(text)?.as_secs_f64(),
    };
    (seconds > 0.0 && seconds.is_finite()).then_some(seconds)
}

fn in_units(mut text: &str) -> Option<Duration> {
    let mut sum: u64 = 0;
    let mut units = UNITS.iter();
    while !text.is_empty() {
        let end = text.find(|c: char| !c.is_ascii_digit())?;
        let (number, rest) = text.split_at(end);
        let end = rest.find(|c: char| c.is_ascii_digit());
        let (unit, rest) = rest.split_at(end.unwrap_or(rest.len()));
        let (_, worth) = units.find(|(name, _)| *name == unit)?;
        let part = number.parse::<u64>().ok()?.checked_mul(*worth)?;
        sum = sum.checked_add(part)?;
        text = rest;
    }
    Some(Duration::from_millis(sum))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn times_are_as_prometheus_takes_them() {
        for (text, time) in [
            ("1435781451.781", Some(1_435_781_451.781)),
            ("4", Some(4.0)),
            ("-1", Some(-1.0)),
            ("1e9", Some(1e9)),
            ("2015-07-01T20:10:51.781Z", Some(1_435_781_451.781)),
            ("2015-07-01T22:10:51+02:00", Some(1_435_781_451.0)),
            ("2015-07-01T15:40:51-04:30", Some(1_435_781_451.0)),
            ("2015-07-01", None),
            ("2015-07-01T22:10:51", None),
            ("2015-07-01T22:10:51+24:00", None),
            ("2015-07-01T22:10:51+2:000", None),
            ("2015-07-01T22:10:51+-1:00", None),
            ("2015-07-01T22:10:51ä+02:00", None),
            ("1969-12-31T23:59:59Z", None),
            ("", None),
            ("Z", None),
            ("now", None),
            ("NaN", None),
            ("+Inf", None),
        ] {
            assert_eq!(unix_time(text), time, "{text}");
        }
    }

    #[test]
    fn durations_are_as_prometheus_takes_them() {
        for (text, expected) in [
            ("15", Some(15.0)),
            ("0.5", Some(0.5)),
            ("1m30s", Some(90.0)),
            ("2d", Some(172_800.0)),
            ("1y2w3d4h5m6s7ms", Some(33_019_506.007)),
            ("250ms", Some(0.25)),
            ("0", None),
            ("0s", None),
            ("-5", None),
            ("-5s", None),
            ("5s1m", None),
            ("1m1m", None),
            ("1.5h", None),
            ("s", None),
            ("5 s", None),
            ("1M", None),
            ("", None),
            ("NaN", None),
            ("inf", None),
            ("99999999999999999999y", None),
            ("18446744073709551615y", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_can_be_read(text in ".*", digits in "[0-9ywdhms.:+TZ-]{0,40}") {
            for text in [&text, &digits] {
                unix_time(text);
                seconds(text);
            }
        }
    }
}
