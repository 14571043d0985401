//! Bodies that say whose they are in every line, and whether they are whole.

use std::fmt;
use std::io::Write as _;

use flate2::Crc;

/// Where a target says the label of what it answers, for answers without a body too.
pub(super) const FIELD: &str = "X-Soak";

/// Whose answer to what: target, number of the request, and the how manieth thing the target served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Label {
    pub(super) target: String,
    pub(super) request: u64,
    pub(super) serving: u64,
}

/// What is wrong with a body that should be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Flaw {
    /// Somebody else's, or the answer to something else, in whole or in part.
    Wrong(String),
    /// The end is missing.
    Short(String),
    /// No target says such a thing.
    Garbled(String),
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{};{};{}", self.target, self.request, self.serving)
    }
}

impl Label {
    /// Reads what [`fmt::Display`] wrote.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let label = Self {
            target: parts.next()?.to_owned(),
            request: parts.next()?.parse().ok()?,
            serving: parts.next()?.parse().ok()?,
        };
        parts.next().is_none().then_some(label)
    }
}

/// Bytes that compress as badly as numbers do.
pub(super) struct Noise(Vec<u8>);

impl Noise {
    /// From so many numbers.
    pub(super) fn of(mut random: impl FnMut() -> usize) -> Self {
        let alphabet = b"0123456789abcdef";
        Self((0..4096).map(|_| alphabet[random() % 16]).collect())
    }

    fn line(&self, n: usize) -> &[u8] {
        const LONGEST: usize = 96;
        let start = n * 131 % (self.0.len() - LONGEST);
        &self.0[start..start + 32 + n * 7 % (LONGEST - 32)]
    }
}

/// A body of about `size` bytes.
pub(super) fn body(label: &Label, size: usize, noise: &Noise) -> Vec<u8> {
    // A label, two numbers, the noise.
    const LINE: usize = 80;
    let count = (size / LINE).max(1);
    let mut body = Vec::with_capacity(size + 2 * LINE);
    for n in 1..count {
        // Memory takes what it is given.
        let _ = write!(body, "{label};{n}/{count} ");
        body.extend_from_slice(noise.line(n));
        body.push(b'\n');
    }
    let mut crc = Crc::new();
    crc.update(&body);
    let _ = writeln!(body, "{label};{count}/{count} crc={:08x}", crc.sum());
    body
}

/// Holds a body against the label of its head.
pub(super) fn check(body: &[u8], label: &Label) -> Result<(), Flaw> {
    let prefix = format!("{label};");
    let mut crc = Crc::new();
    let mut lines = body.split_inclusive(|byte| *byte == b'\n');
    for n in 1.. {
        let Some(line) = lines.next() else {
            return Err(Flaw::Short(format!(
                "{} bytes end before line {n}",
                body.len()
            )));
        };
        let told = line.len().min(prefix.len());
        if line[..told] != prefix.as_bytes()[..told] {
            return Err(other(n, line, label));
        }
        if !line.ends_with(b"\n") {
            let words = format!("{} bytes end within line {n}", body.len());
            return Err(Flaw::Short(words));
        }
        // Behind a whole prefix, since the line has an end.
        let rest = String::from_utf8_lossy(&line[told..]);
        let Some((place, said)) = rest.split_once(' ') else {
            return Err(Flaw::Garbled(format!("line {n}: {rest:?}")));
        };
        if let Some((_, count)) = place.split_once('/')
            && place == format!("{count}/{count}")
            && place == format!("{n}/{n}")
        {
            let told = format!("crc={:08x}\n", crc.sum());
            return match (said == told, lines.next()) {
                (true, None) => Ok(()),
                (true, Some(_)) => Err(Flaw::Garbled(format!("more behind its last line {n}"))),
                (false, _) => Err(Flaw::Garbled(format!(
                    "{said:?} in line {n}, and it is {told:?}"
                ))),
            };
        }
        if !place.starts_with(&format!("{n}/")) {
            return Err(Flaw::Garbled(format!("line {place} where {n} was due")));
        }
        crc.update(line);
    }
    unreachable!("a body has fewer lines than there are numbers")
}

/// A line that begins otherwise than it should.
fn other(n: usize, line: &[u8], label: &Label) -> Flaw {
    let line = String::from_utf8_lossy(&line[..line.len().min(120)]).into_owned();
    let mut parts = line.splitn(4, ';');
    let whose: Vec<&str> = parts.by_ref().take(3).collect();
    match Label::parse(&whose.join(";")) {
        Some(other) => Flaw::Wrong(format!("line {n} is of {other}, not of {label}")),
        None => Flaw::Garbled(format!("line {n}: {line:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(target: &str, request: u64, serving: u64) -> Label {
        Label {
            target: target.to_owned(),
            request,
            serving,
        }
    }

    fn noise() -> Noise {
        let mut n = 0;
        Noise::of(|| {
            n += 7;
            n / 3
        })
    }

    #[test]
    fn a_whole_body_is_about_as_long_as_was_asked() {
        let label = label("t01", 12, 3);
        for size in [1, 100, 1000, 100_000] {
            let body = body(&label, size, &noise());
            assert_eq!(check(&body, &label), Ok(()));
            assert!(body.len() <= size * 3 / 2 + 200, "{} of {size}", body.len());
            assert!(body.len() * 4 > size, "{} of {size}", body.len());
        }
        assert_eq!(Label::parse(&label.to_string()), Some(label));
        assert_eq!(Label::parse("t01;12;3;4"), None);
    }

    #[test]
    fn every_shorter_body_is_short() {
        let label = label("t01", 12, 3);
        let body = body(&label, 1000, &noise());
        for end in 0..body.len() {
            let found = check(&body[..end], &label);
            assert!(matches!(found, Err(Flaw::Short(_))), "{end}: {found:?}");
        }
    }

    #[test]
    fn what_belongs_to_another_is_wrong_wherever_it_stands() {
        let mine = label("t01", 12, 3);
        for theirs in [
            label("t02", 12, 3),
            label("t01", 13, 3),
            label("t01", 12, 4),
        ] {
            let (mut mixed, other) = (body(&mine, 2000, &noise()), body(&theirs, 2000, &noise()));
            assert!(matches!(check(&other, &mine), Err(Flaw::Wrong(_))));
            let middle = 1 + mixed.iter().skip(500).position(|b| *b == b'\n').unwrap() + 500;
            mixed.truncate(middle);
            mixed.extend_from_slice(&other[middle..]);
            let found = check(&mixed, &mine);
            assert!(!matches!(found, Ok(()) | Err(Flaw::Short(_))), "{found:?}");
        }
    }

    #[test]
    fn a_changed_lost_or_added_byte_is_noticed() {
        let label = label("t01", 12, 3);
        let whole = body(&label, 1000, &noise());
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_ne!(check(&changed, &label), Ok(()), "changed {at}");
            let mut lost = whole.clone();
            lost.remove(at);
            assert_ne!(check(&lost, &label), Ok(()), "lost {at}");
        }
        let twice = [whole.clone(), whole].concat();
        assert!(matches!(check(&twice, &label), Err(Flaw::Garbled(_))));
    }
}
