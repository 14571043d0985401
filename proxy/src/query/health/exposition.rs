//! Prometheus' text format, as far as strategies need it: some names out of a page that may be large.
//!
//! <https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>

use std::mem::take;

/// A longer line is none of those.
const LONGEST: usize = 16 << 10;
/// Beyond it no time in seconds is meant: an empty storage says ±9.2e15 (or e18).
const SECONDS: f64 = 1e12;

/// What was found so far. Feed it with pieces, then [`Self::finish`].
#[derive(Debug, Default)]
pub(super) struct Exposition {
    /// The beginning of a line.
    line: Vec<u8>,
    /// That line is too long.
    skip: bool,
    found: Found,
}

/// As they stand there.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Found {
    lowest_seconds: Option<f64>,
    lowest_millis: Option<f64>,
    head_min_seconds: Option<f64>,
    pub(super) head_series: Option<f64>,
    /// By type, added.
    appended: Option<f64>,
    /// Prometheus 1.
    ingested: Option<f64>,
    started: Option<f64>,
    pub(super) version: Option<String>,
}

impl Exposition {
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            self.hold(&bytes[..end]);
            self.end();
            bytes = &bytes[end + 1..];
        }
        self.hold(bytes);
    }

    /// The page has ended, with or without a line's end.
    pub(super) fn finish(mut self) -> Found {
        self.end();
        self.found
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.skip |= self.line.len() + bytes.len() > LONGEST;
        match self.skip {
            true => self.line.clear(),
            false => self.line.extend_from_slice(bytes),
        }
    }

    fn end(&mut self) {
        let line = take(&mut self.line);
        if !take(&mut self.skip)
            && let Ok(text) = str::from_utf8(&line)
        {
            self.found.line(text);
        }
        // The allocation is for the next one.
        self.line = line;
        self.line.clear();
    }
}

impl Found {
    /// Its oldest sample.
    pub(super) fn oldest(&self) -> Option<f64> {
        let lowest = self
            .lowest_seconds
            .or(self.lowest_millis.map(|ms| ms / 1000.0));
        time(lowest.or(self.head_min_seconds))
    }

    /// Samples since its start, as mpp counts them.
    pub(super) fn ingested_samples(&self) -> Option<f64> {
        self.ingested.or(self.appended)
    }

    /// When its process was started.
    pub(super) fn started(&self) -> Option<f64> {
        time(self.started)
    }

    fn line(&mut self, line: &str) {
        let Some(sample) = Sample::parse(line) else {
            return;
        };
        let one = match sample.name {
            "prometheus_tsdb_lowest_timestamp_seconds" => &mut self.lowest_seconds,
            "prometheus_tsdb_lowest_timestamp" => &mut self.lowest_millis,
            "prometheus_tsdb_head_min_time_seconds" => &mut self.head_min_seconds,
            "process_start_time_seconds" => &mut self.started,
            "prometheus_tsdb_head_series" => return self.head_series = count(sample.value),
            "prometheus_tsdb_head_samples_appended_total" => {
                if let Some(more) = count(sample.value) {
                    *self.appended.get_or_insert(0.0) += more;
                }
                return;
            }
            "prometheus_local_storage_ingested_samples_total" => {
                return self.ingested = count(sample.value);
            }
            "prometheus_build_info" => return self.version = sample.label("version"),
            _ => return,
        };
        *one = Some(sample.value);
    }
}

/// A time that is one.
fn time(seconds: Option<f64>) -> Option<f64> {
    seconds.filter(|seconds| seconds.is_finite() && seconds.abs() <= SECONDS)
}

/// A number of things.
fn count(value: f64) -> Option<f64> {
    (value.is_finite() && value >= 0.0).then_some(value)
}

/// One line: `name{labels} value timestamp`.
struct Sample<'a> {
    name: &'a str,
    /// Between the braces.
    labels: &'a str,
    value: f64,
}

impl<'a> Sample<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let line = line.trim_start_matches([' ', '\t']);
        // A comment, an empty line, or nobody's business here.
        if !line.starts_with('p') {
            return None;
        }
        let (name, rest) = line.split_at(line.find(['{', ' ', '\t'])?);
        let (labels, rest) = match rest.strip_prefix('{') {
            Some(rest) => {
                let end = end_of_labels(rest)?;
                (&rest[..end], &rest[end + 1..])
            }
            None => ("", rest),
        };
        let value = rest.split_ascii_whitespace().next()?.parse().ok()?;
        Some(Self {
            name,
            labels,
            value,
        })
    }

    /// Of `name="value"`, as written: none of ours has anything to unescape.
    fn label(&self, wanted: &str) -> Option<String> {
        let mut rest = self.labels;
        loop {
            let (name, after) = rest.split_once('=')?;
            let after = after.trim_start().strip_prefix('"')?;
            let end = end_of_value(after)?;
            if name.trim() == wanted {
                return Some(after[..end].to_owned());
            }
            rest = after[end + 1..].trim_start().trim_start_matches(',');
        }
    }
}

/// Where the braces close: those in a value's quotes do not count.
fn end_of_labels(text: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.as_bytes().get(at)? {
            b'}' => return Some(at),
            b'"' => at += 1 + end_of_value(&text[at + 1..])? + 1,
            _ => at += 1,
        }
    }
}

/// Where the quotes close: those behind a backslash do not.
fn end_of_value(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.bytes().position(|byte| {
        let closes = byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        closes
    })
}
