//! Why a tunnel ended: what an end says when it closes, and what the other makes of it.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::fault::one_line;

/// What an end says in its Close frame. Codes from 4000 on are ours (RFC 6455 §7.4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Farewell {
    /// Going away: stopping, or the other end shall come back by itself.
    GoingAway,
    /// What the client offered was not understood, or is over a limit.
    BadRegistration,
    /// A message was larger than any of ours (RFC 6455 §7.4.1).
    TooBig,
    /// What was offered is not for the credentials that were shown, or those are revoked.
    Denied,
    /// Another instance took the name; this one must not fight for it.
    Replaced,
    /// A code of a newer version, or of a front proxy.
    Other(u16),
}

impl Farewell {
    /// The code in the Close frame.
    pub fn code(self) -> u16 {
        match self {
            Self::GoingAway => 1001,
            Self::TooBig => 1009,
            Self::BadRegistration => 4400,
            Self::Denied => 4403,
            Self::Replaced => 4409,
            Self::Other(code) => code,
        }
    }

    fn from_code(code: u16) -> Self {
        match code {
            1001 => Self::GoingAway,
            1009 => Self::TooBig,
            4400 => Self::BadRegistration,
            4403 => Self::Denied,
            4409 => Self::Replaced,
            code => Self::Other(code),
        }
    }

    /// A word for metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GoingAway => "going-away",
            Self::TooBig => "too-big",
            Self::BadRegistration => "bad-registration",
            Self::Denied => "denied",
            Self::Replaced => "replaced",
            Self::Other(_) => "closed",
        }
    }

    /// Whether dialling again soon would only be refused again.
    pub fn is_final(self) -> bool {
        matches!(self, Self::BadRegistration | Self::Denied | Self::Replaced)
    }
}

/// A farewell with its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Goodbye {
    /// Which one.
    pub farewell: Farewell,
    /// In words, for the other end's log.
    pub reason: String,
}

/// Most a Close frame carries besides its code (RFC 6455 §5.5: 125 bytes in all).
const MAX_REASON: usize = 123;

impl Goodbye {
    /// One printable line, cut to what a Close frame holds.
    pub fn new(farewell: Farewell, reason: impl fmt::Display) -> Self {
        let mut reason = one_line(&reason.to_string());
        reason.truncate(MAX_REASON);
        Self { farewell, reason }
    }

    /// As received.
    pub fn from_close(code: u16, reason: &str) -> Self {
        Self::new(Farewell::from_code(code), reason)
    }
}

/// Why a tunnel ended, as this end saw it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// Nothing was received for so long.
    Silent(Duration),
    /// The other end said goodbye.
    Peer(Goodbye),
    /// We did.
    Own(Goodbye),
    /// The connection broke or was closed without a word.
    Lost(String),
    /// What came was not our protocol.
    Protocol(String),
}

impl End {
    /// A word for metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Silent(_) => "silent",
            Self::Peer(goodbye) | Self::Own(goodbye) => goodbye.farewell.as_str(),
            Self::Lost(_) => "lost",
            Self::Protocol(_) => "protocol",
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Silent(after) => write!(f, "nothing received for {after:?}"),
            Self::Peer(goodbye) if goodbye.reason.is_empty() => {
                write!(f, "closed by the other end ({})", goodbye.farewell.code())
            }
            Self::Peer(goodbye) => write!(f, "closed by the other end: {}", goodbye.reason),
            Self::Own(goodbye) => f.write_str(&goodbye.reason),
            Self::Lost(why) => write!(f, "connection lost: {why}"),
            Self::Protocol(why) => write!(f, "protocol error: {why}"),
        }
    }
}

/// Shared by a tunnel's stream and its owner: what to say at the end, and why it came.
///
/// The first of each stays; later ones are consequences.
#[derive(Debug, Clone, Default)]
pub struct Ending {
    cells: Arc<Cells>,
}

#[derive(Debug, Default)]
struct Cells {
    end: OnceLock<End>,
    goodbye: OnceLock<Goodbye>,
}

impl Ending {
    /// Notes why the tunnel ended, unless that is known.
    pub fn note(&self, end: End) {
        let _ = self.cells.end.set(end);
    }

    /// Decides what our Close frame will say, unless that is decided.
    pub fn say(&self, goodbye: Goodbye) {
        let _ = self.cells.goodbye.set(goodbye.clone());
        self.note(End::Own(goodbye));
    }

    /// Why the tunnel ended, when it has.
    pub fn end(&self) -> Option<&End> {
        self.cells.end.get()
    }

    pub(crate) fn goodbye(&self) -> Option<&Goodbye> {
        self.cells.goodbye.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_come_back_as_they_went() {
        for farewell in [
            Farewell::GoingAway,
            Farewell::BadRegistration,
            Farewell::Replaced,
            Farewell::Other(1011),
        ] {
            assert_eq!(Farewell::from_code(farewell.code()), farewell);
        }
    }

    #[test]
    fn a_reason_fits_its_frame_and_line() {
        let goodbye = Goodbye::new(Farewell::Replaced, format!("a\nb{}", "é".repeat(200)));
        assert_eq!(goodbye.reason.len(), MAX_REASON);
        assert!(goodbye.reason.starts_with("a?b?"));
    }

    #[test]
    fn the_first_reason_stays() {
        let ending = Ending::default();
        ending.note(End::Silent(Duration::from_secs(45)));
        ending.say(Goodbye::new(Farewell::GoingAway, "stopping"));
        ending.note(End::Lost("reset".into()));
        assert_eq!(
            ending.end().unwrap().to_string(),
            "nothing received for 45s"
        );
        assert_eq!(ending.goodbye().unwrap().reason, "stopping");
    }
}
