//! Log lines on stderr, in logfmt or JSON, under the keys Prometheus' users grep for.
//!
//! `ts=… level=… msg=…`, then the fields of the event, then those of its spans from the inside
//! out. Every value is escaped: names in them come from peers.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer as _;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;

/// The flags of both programs.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct LogFlags {
    /// Least severity logged
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info", help_heading = HEADING)]
    level: LogLevel,

    /// Form of log lines
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt", help_heading = HEADING)]
    format: LogFormat,
}

/// The heading of the flags that every program has.
pub const HEADING: &str = "Program";

impl LogFlags {
    /// Sends this process' events to stderr. Called once, by `main`; a second call changes nothing.
    pub fn install(self) {
        // Tests of the real programs run them; in-process tests may have installed their own.
        let subscriber = subscriber(self.level, self.format, std::io::stderr);
        let _ = tracing::subscriber::set_global_default(subscriber);
    }
}

/// `--log.format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogFormat {
    /// `key=value`, a line an event.
    #[default]
    Logfmt,
    /// An object a line.
    Json,
}

/// `--log.level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum LogLevel {
    /// Every scrape.
    Debug,
    /// Sessions that come and go; scrapes that went well are not told.
    #[default]
    Info,
    /// What an operator should look at.
    Warn,
    /// What an operator must act on.
    Error,
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

fn subscriber<W>(level: LogLevel, format: LogFormat, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = LevelFilter::from(level);
    // What libraries tell at debug is every frame of every tunnel.
    let ours = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_targets(OURS.map(|target| (target, level)));
    let lines = tracing_subscriber::fmt::layer()
        .fmt_fields(Pairs(format))
        .event_format(Line(format))
        .with_writer(writer)
        .with_filter(ours);
    tracing_subscriber::registry().with(lines)
}

/// Crates whose events are logged at the level asked for.
const OURS: [&str; 3] = ["adit_common", "adit_proxy", "adit_client"];

/// Writes a whole event.
struct Line(LogFormat);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let (open, ts, level, close) = match self.0 {
            LogFormat::Logfmt => ("ts=", "", " level=", ""),
            LogFormat::Json => ("{\"ts\":\"", "\"", ",\"level\":\"", "\""),
        };
        out.write_str(open)?;
        SystemTime.format_time(&mut out)?;
        write!(
            out,
            "{ts}{level}{}{close}",
            level_word(*event.metadata().level())
        )?;
        let mut fields = Fields::new(self.0, &mut out);
        event.record(&mut fields);
        fields.result?;
        for span in ctx.event_scope().into_iter().flatten() {
            if let Some(pairs) = span.extensions().get::<FormattedFields<N>>() {
                out.write_str(pairs)?;
            }
        }
        out.write_str(match self.0 {
            LogFormat::Logfmt => "\n",
            LogFormat::Json => "}\n",
        })
    }
}

fn level_word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        Level::DEBUG | Level::TRACE => "debug",
    }
}

/// Writes the fields of a span, each with what separates it from the one before.
struct Pairs(LogFormat);

impl<'a> FormatFields<'a> for Pairs {
    fn format_fields<R: tracing_subscriber::field::RecordFields>(
        &self,
        mut writer: Writer<'a>,
        fields: R,
    ) -> fmt::Result {
        let mut visitor = Fields::new(self.0, &mut writer);
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Fields<'a, 'b> {
    format: LogFormat,
    out: &'a mut Writer<'b>,
    result: fmt::Result,
}

impl<'a, 'b> Fields<'a, 'b> {
    fn new(format: LogFormat, out: &'a mut Writer<'b>) -> Self {
        Self {
            format,
            out,
            result: Ok(()),
        }
    }

    fn pair(&mut self, field: &Field, value: &str, bare: bool) {
        let value = &*bounded(value);
        let key = match field.name() {
            "message" => "msg",
            name => name,
        };
        let result = match self.format {
            LogFormat::Logfmt => {
                write!(self.out, " {key}=").and_then(|()| logfmt_value(self.out, value))
            }
            LogFormat::Json => write!(self.out, ",\"{key}\":").and_then(|()| {
                if bare {
                    self.out.write_str(value)
                } else {
                    json_value(self.out, value)
                }
            }),
        };
        self.result = self.result.and(result);
    }
}

impl Visit for Fields<'_, '_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.pair(field, value, false);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.pair(field, &value.to_string(), true);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.pair(field, &value.to_string(), true);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.pair(field, if value { "true" } else { "false" }, true);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.pair(field, &format!("{value:?}"), false);
    }
}

fn logfmt_value(out: &mut Writer<'_>, value: &str) -> fmt::Result {
    let plain = |c: char| c.is_ascii_graphic() && c != '"' && c != '=' && c != '\\';
    if !value.is_empty() && value.chars().all(plain) {
        out.write_str(value)
    } else {
        json_value(out, value)
    }
}

/// A quoted string without a control character: JSON's escapes, and those above ASCII too. Nor does it
/// turn the direction of writing.
fn json_value(out: &mut Writer<'_>, value: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in value.chars() {
        match c {
            '"' => out.write_str("\\\"")?,
            '\\' => out.write_str("\\\\")?,
            '\n' => out.write_str("\\n")?,
            '\r' => out.write_str("\\r")?,
            '\t' => out.write_str("\\t")?,
            c if c.is_control() || is_layout(c) => write!(out, "\\u{:04x}", u32::from(c))?,
            c => out.write_char(c)?,
        }
    }
    out.write_char('"')
}

/// What turns the direction of writing, or ends a line or paragraph for some who show one.
fn is_layout(c: char) -> bool {
    matches!(
        c,
        '\u{061c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// The most bytes of one value: a peer's name or version may have a megabyte.
const MAX_VALUE: usize = 1024;

/// The value, or its beginning where it is too long for a line.
fn bounded(value: &str) -> Cow<'_, str> {
    match value.len() > MAX_VALUE {
        false => value.into(),
        true => {
            let is_end = |end: &usize| value.is_char_boundary(*end);
            let end = (0..=MAX_VALUE).rev().find(is_end).unwrap_or(0);
            format!("{}… ({} bytes)", &value[..end], value.len()).into()
        }
    }
}

impl FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        <Self as clap::ValueEnum>::from_str(text, true)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(buf);
            Ok(buf.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(format: LogFormat) -> String {
        logged_with(format, || {
            let span = tracing::info_span!("session", names = "pi", n = 3);
            let _in = span.enter();
            tracing::warn!(
                err = "a \"b\"\nlevel=error",
                plain = "x",
                ok = true,
                "client gone"
            );
            tracing::debug!("not at this level");
        })
    }

    fn logged_with(format: LogFormat, say: impl FnOnce()) -> String {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = subscriber(LogLevel::Info, format, move || writer.clone());
        tracing::subscriber::with_default(subscriber, say);
        let bytes = kept.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_line_of_logfmt() {
        let line = logged(LogFormat::Logfmt);
        assert!(line.starts_with("ts=20"), "{line}");
        let rest = &line[line.find(" level").unwrap()..];
        assert_eq!(
            rest,
            " level=warn msg=\"client gone\" err=\"a \\\"b\\\"\\nlevel=error\" plain=x ok=true names=pi n=3\n"
        );
    }

    #[test]
    fn no_value_is_more_than_a_part_of_its_line() {
        for format in [LogFormat::Logfmt, LogFormat::Json] {
            let line = logged_with(format, || {
                tracing::warn!(
                    turned = "a\u{202e}b\u{2028}c",
                    long = "ä".repeat(1 << 20),
                    "x"
                );
            });
            assert!(line.contains("a\\u202eb\\u2028c"), "{line}");
            assert!(
                line.contains("ä… (2097152 bytes)") && line.len() < 1200,
                "{line:.300}"
            );
        }
    }

    #[test]
    fn a_line_of_json() {
        let line = logged(LogFormat::Json);
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(object["level"], "warn");
        assert_eq!(object["msg"], "client gone");
        assert_eq!(object["err"], "a \"b\"\nlevel=error");
        assert_eq!(object["ok"], true);
        assert_eq!(object["names"], "pi");
        assert_eq!(object["n"], 3);
        assert!(object["ts"].as_str().unwrap().ends_with('Z'));
    }
}
