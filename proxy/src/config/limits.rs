//! What anybody can make us hold, and for how long. One home for every number: its key in the file, its
//! default with the reason, and its bounds. Fixed at the start.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use adit_common::registration::MAX_NAMES;
use adit_common::tunnel::settings::{MAX_MESSAGE, MAX_REQUEST_HEAD, MAX_STREAMS, MESSAGE_SIZE};
use serde::Deserialize;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
/// Tests wait for limits, too; below this an honest peer on a slow line has no chance.
const SHORTEST: Duration = Duration::from_millis(100);
/// A table of so many costs gigabytes.
const MOST: usize = 1_000_000;
/// The most bytes a key may give to something: 64 GiB, or a part of what 32 bits can address.
const MOST_BYTES: usize = match 1_usize.checked_shl(36) {
    Some(bytes) => bytes,
    None => 1 << 30,
};
/// Streams that no scrape has: the registration, and what we tell the client.
const OWN_STREAMS: usize = 8;

/// A row for each limit: its key, its kind, its default, what it may be.
macro_rules! limits {
    ($($(#[$doc:meta])* $key:ident: $kind:ident = $default:expr, $range:expr;)*) => {
        /// What anybody can make us hold, and for how long.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct Limits {
            $($(#[$doc])* pub(crate) $key: <$kind as Kind>::Held,)*
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($key: $default,)* }
            }
        }

        impl Limits {
            /// Every key, which is the limit's word in metrics as well.
            pub(crate) const KEYS: &[&str] = &[$(stringify!($key),)*];

            /// Those that are not the default: key and value.
            pub(super) fn changed(&self) -> Vec<String> {
                let default = Self::default();
                let mut changed = Vec::new();
                $(if self.$key != default.$key {
                    changed.push(format!("{} {}", stringify!($key), $kind::show(self.$key)));
                })*
                changed
            }
        }

        /// As written.
        #[derive(Debug, Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        pub(crate) struct FileLimits {
            $($key: Option<$kind>,)*
        }

        impl FileLimits {
            /// What is meant.
            ///
            /// # Errors
            /// Which key is out of which bounds.
            pub(super) fn resolve(self) -> Result<Limits, String> {
                let default = Limits::default();
                let limits = Limits {
                    $($key: bounded(
                        concat!("limits.", stringify!($key)),
                        self.$key,
                        default.$key,
                        $range,
                    )?,)*
                };
                limits.check()?;
                Ok(limits)
            }
        }
    };
}

limits! {
    /// Connections in all: clients hold one each, a Prometheus some. Over it the kernel's queue waits.
    connections: Count = 16_384, 1..=MOST;
    /// Connections from one address, or one /64 of IPv6. Sites behind one carrier's NAT share an
    /// address, and a Prometheus holds a connection for every target it scrapes by CONNECT; but
    /// nobody alone shall be able to fill us. Whoever is on this machine, and trusted proxies, have none.
    connections_per_address: Count = 4096, 1..=MOST;
    /// Sessions of one credential. A token may be shared by all the sites of a company, each with two
    /// sessions while it moves from one tunnel to the next.
    sessions_per_credential: Count = 10_000, 1..=MOST;
    /// Names of one session. The registry holds an entry for each.
    names_per_session: Count = MAX_NAMES, 1..=MAX_NAMES;
    /// Scrapes under way in all. Each may hold a stream's window (512 KiB) at worst.
    scrapes: Count = 4096, 1..=MOST;
    /// Scrapes under way at one client. Half of the streams its tunnel allows.
    scrapes_per_client: Count = 128, 1..=MAX_STREAMS as usize - OWN_STREAMS;
    /// CONNECT streams at one client; they live as long as their TLS connection.
    connects_per_client: Count = 120, 1..=MAX_STREAMS as usize - OWN_STREAMS;
    /// Scrapes that wait for a name to return, in all: those of a restart's first seconds. Each
    /// holds its connection and its head.
    waiting: Count = 2048, 1..=MOST;
    /// The same for one name: as many as may then be under way at its client.
    waiting_per_name: Count = 128, 1..=MOST;
    /// For the TLS handshake: four flights over a bad line, and no longer, since it costs us most.
    handshake_time: Time = 10 * SECOND, SHORTEST..=2 * MINUTE;
    /// From the first byte of a request's head to its last, and for the first byte of a
    /// connection. A scrape's own deadline starts behind it.
    head_time: Time = 10 * SECOND, SHORTEST..=2 * MINUTE;
    /// Bytes of a request's head: at most what the tunnel passes on, which is what a long
    /// `/federate?match[]=…` needs.
    request_head: Size = MAX_REQUEST_HEAD, 4096..=MAX_REQUEST_HEAD;
    /// Bytes of a WebSocket message, in one frame or several: some HTTP/2 frames, of which a client gathers
    /// 64 KiB, and a newer one may gather more.
    tunnel_message: Size = MAX_MESSAGE, MESSAGE_SIZE..=16 * MAX_MESSAGE;
    /// How long a connection may be idle between requests. Go's transport, and so Prometheus,
    /// closes its own after five minutes: ours must not be the first to.
    idle_time: Time = 6 * MINUTE, SHORTEST..=60 * MINUTE;
    /// For the whole of an answer that is no scrape's.
    page_time: Time = 30 * SECOND, SECOND..=10 * MINUTE;
    /// From the upgrade to a registration we understand.
    registration_time: Time = 10 * SECOND, SHORTEST..=5 * MINUTE;
    /// How long a CONNECT may be without a byte either way; Prometheus closes idle connections
    /// to targets after five minutes.
    connect_idle_time: Time = 15 * MINUTE, SHORTEST..=24 * 60 * MINUTE;
    /// Queries under way in all. Each holds its body, and the start of its answer.
    queries: Count = 1024, 1..=MOST;
    /// Bytes of queries and answers that are held so that another backend can be asked: 25 of the
    /// largest bodies a pool takes by default, thousands of those that people send.
    query_memory: Size = 256 << 20, 1 << 20..=MOST_BYTES;
}

impl Limits {
    fn check(&self) -> Result<(), String> {
        let streams = MAX_STREAMS as usize - OWN_STREAMS;
        let (scrapes, connects) = (self.scrapes_per_client, self.connects_per_client);
        if scrapes + connects > streams {
            return Err(format!(
                "limits: scrapes_per_client ({scrapes}) and connects_per_client ({connects}) are above \
                 {streams} together, which is what a tunnel carries"
            ));
        }
        Ok(())
    }
}

/// What is written, or else the default, within its bounds.
///
/// # Errors
/// Which key is out of which bounds.
pub(crate) fn bounded<K: Kind>(
    key: &str,
    written: Option<K>,
    default: K::Held,
    range: RangeInclusive<K::Held>,
) -> Result<K::Held, String> {
    let held = written.map_or(default, Kind::held);
    if !range.contains(&held) {
        let [held, least, most] = [held, *range.start(), *range.end()].map(K::show);
        return Err(format!("{key}: {held} is not between {least} and {most}"));
    }
    Ok(held)
}

/// How a limit is written.
pub(crate) trait Kind {
    /// What it is then.
    type Held: Copy + PartialOrd;
    fn held(self) -> Self::Held;
    fn show(held: Self::Held) -> String;
}

/// `4096`
#[derive(Debug, Deserialize)]
pub(crate) struct Count(usize);

impl Kind for Count {
    type Held = usize;

    fn held(self) -> usize {
        self.0
    }

    fn show(held: usize) -> String {
        held.to_string()
    }
}

/// `10s`
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Time(Duration);

impl TryFrom<String> for Time {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let time = humantime::parse_duration(&text);
        let time = time.map_err(|error| format!("expected a duration like 10s: {error}"))?;
        Ok(Self(time))
    }
}

impl Kind for Time {
    type Held = Duration;

    fn held(self) -> Duration {
        self.0
    }

    fn show(held: Duration) -> String {
        humantime::format_duration(held).to_string()
    }
}

/// `64KiB`, or bytes.
#[derive(Debug, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Size(usize);

const UNITS: [(&str, usize); 3] = [("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl TryFrom<String> for Size {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let unit = UNITS.iter().find_map(|(unit, bytes)| {
            let number = text.strip_suffix(unit)?;
            Some((number.trim_end(), *bytes))
        });
        let (number, bytes) = unit.unwrap_or((&text, 1));
        let number = number.parse::<usize>().ok();
        number
            .and_then(|number| number.checked_mul(bytes))
            .map(Self)
            .ok_or("expected a size like 64KiB")
    }
}

impl Kind for Size {
    type Held = usize;

    fn held(self) -> usize {
        self.0
    }

    fn show(held: usize) -> String {
        size(held).to_string()
    }
}

/// Bytes, as they are written in the file.
pub(crate) fn size(bytes: usize) -> impl fmt::Display {
    let unit = UNITS.iter().find(|(_, unit)| bytes.is_multiple_of(*unit));
    let (unit, each) = unit.copied().unwrap_or(("B", 1));
    format!("{}{unit}", bytes / each)
}

#[cfg(test)]
mod tests {
    use adit_common::config_file;

    use super::*;

    fn read(text: &str) -> Result<Limits, String> {
        config_file::parse::<FileLimits>(text)?.resolve()
    }

    #[test]
    fn what_is_not_written_is_the_default() {
        assert_eq!(read("").unwrap(), Limits::default());
        let limits = read("connections: 20000\nhead_time: 1m 30s\nrequest_head: 64KiB\n").unwrap();
        let expected = Limits {
            connections: 20_000,
            head_time: Duration::from_secs(90),
            request_head: 64 << 10,
            ..Limits::default()
        };
        assert_eq!(limits, expected);
        assert_eq!(
            limits.changed(),
            [
                "connections 20000",
                "head_time 1m 30s",
                "request_head 64KiB"
            ]
        );
        assert_eq!(
            read("request_head: 5000\n").unwrap().changed(),
            ["request_head 5000B"]
        );
    }

    #[test]
    fn every_default_is_within_its_bounds_and_has_a_key() {
        // Through the same check as what is written.
        assert!(FileLimits::default().resolve().is_ok());
        assert_eq!(Limits::KEYS.len(), 19);
        for key in Limits::KEYS {
            let error = read(&format!("{key}: -1\n")).unwrap_err();
            assert!(!error.contains("unknown key"), "{error}");
        }
    }

    #[test]
    fn the_documents_have_every_limit_with_its_default() {
        let page = include_str!("../../../docs/limits.md");
        let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
        let rows: Vec<(&str, &str)> = rows
            .filter_map(|row| row.split_once("` | "))
            .filter_map(|(key, rest)| Some((key, rest.split(" | ").next()?)))
            .filter(|(key, _)| Limits::KEYS.contains(key))
            .collect();
        let keys: Vec<&str> = rows.iter().map(|(key, _)| *key).collect();
        assert_eq!(keys, Limits::KEYS);
        let written: String = rows
            .iter()
            .map(|(key, default)| format!("{key}: {default}\n"))
            .collect();
        assert_eq!(read(&written).unwrap(), Limits::default());
    }

    #[test]
    fn a_wrong_limit_names_its_key_and_what_would_be_right() {
        for (text, says) in [
            (
                "connections: 0\n",
                "limits.connections: 0 is not between 1 and 1000000",
            ),
            (
                "names_per_session: 1025\n",
                "limits.names_per_session: 1025 is not between 1 and 1024",
            ),
            (
                "head_time: 0s\n",
                "limits.head_time: 0s is not between 100ms and 2m",
            ),
            (
                "request_head: 129KiB\n",
                "limits.request_head: 129KiB is not between 4KiB and 128KiB",
            ),
            (
                "scrapes_per_client: 200\n",
                "scrapes_per_client (200) and connects_per_client (120) are above 248 together",
            ),
            ("head_time: soon\n", "expected a duration like 10s"),
            ("request_head: 64kb\n", "expected a size like 64KiB"),
            ("connections: many\n", ":1:14: "),
            ("connection: 1\n", "did you mean \"connections\"?"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
