//! Sizes, as an operator writes them.

use std::str::FromStr;

/// A number of bytes: `64MiB`, `500MB`, `1048576`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size(pub u64);

/// Units, longest first: the end of one is another. Those with an `i` are powers of 1024.
const UNITS: [(&str, u64); 11] = [
    ("kib", 1 << 10),
    ("mib", 1 << 20),
    ("gib", 1 << 30),
    ("kb", 1000),
    ("mb", 1_000_000),
    ("gb", 1_000_000_000),
    ("k", 1000),
    ("m", 1_000_000),
    ("g", 1_000_000_000),
    ("b", 1),
    ("", 1),
];

impl FromStr for Size {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const FORM: &str = "expected a size, as in 64MiB";
        let lower = text.trim().to_ascii_lowercase();
        let unit = UNITS.iter().find(|(unit, _)| lower.ends_with(unit));
        let (unit, factor) = unit.ok_or(FORM)?;
        let digits = lower[..lower.len() - unit.len()].trim_end();
        // `u64::from_str` takes a sign as well.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(FORM);
        }
        let number: u64 = digits.parse().map_err(|_| FORM)?;
        number.checked_mul(*factor).map(Self).ok_or(FORM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("1B", 1),
            ("64MiB", 64 << 20),
            ("64 mib", 64 << 20),
            ("500MB", 500_000_000),
            ("10k", 10_000),
            ("10KB", 10_000),
            ("2GiB", 2 << 30),
            ("3g", 3_000_000_000),
        ] {
            assert_eq!(text.parse(), Ok(Size(bytes)), "{text}");
        }
        for text in [
            "",
            "MiB",
            "-1",
            "+1",
            "1.5MiB",
            "1TiB",
            "64 M B",
            "99999999999GiB",
            "x",
        ] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
    }
}
