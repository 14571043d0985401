//! An answer to the byte.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use serde_json::Value;

use super::pages::SERVED_BY;
use crate::target::{Feed, Gate, Step};

/// An answer a test makes: `Fixed::status(200).body(page).chunked().cut(10, Ending::Reset)`.
#[derive(Debug, Clone)]
pub struct Fixed {
    before: Vec<Step>,
    /// Before the body is.
    between: Vec<Step>,
    kind: Kind,
}

#[derive(Debug, Clone)]
enum Kind {
    Answer(Answer),
    /// These steps, and nothing around them.
    Raw(Vec<Step>),
}

#[derive(Debug, Clone)]
struct Answer {
    status: u16,
    fields: Vec<(String, String)>,
    body: Bytes,
    length: Length,
    /// Bytes of a piece, and the pause before each.
    pieces: Option<(usize, Duration)>,
    cut: Option<(usize, Ending)>,
    /// What comes behind the body.
    tail: Tail,
}

/// How the end of a body is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Length {
    Said,
    Chunked,
    UntilClose,
}

#[derive(Debug, Clone)]
enum Tail {
    Nothing,
    /// Chunks as the test gives them.
    Fed(Feed),
    /// A chunk without an end.
    Endless,
    /// `x` so many times.
    Flood(u64),
}

/// What happens to the connection behind the last byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It is closed.
    Close,
    /// It is reset.
    Reset,
    /// It stays, and nothing comes.
    Stall,
}

impl Fixed {
    /// With this status and nothing in it.
    pub fn status(status: u16) -> Self {
        Self {
            before: Vec::new(),
            between: Vec::new(),
            kind: Kind::Answer(Answer {
                status,
                fields: Vec::new(),
                body: Bytes::new(),
                length: Length::Said,
                pieces: None,
                cut: None,
                tail: Tail::Nothing,
            }),
        }
    }

    /// JSON, as the API answers.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::status(status)
            .field("Content-Type", "application/json")
            .body(body.to_string())
    }

    /// A failure as the API tells it.
    pub fn error(status: u16, kind: &str, words: &str) -> Self {
        let body = serde_json::json!({"status": "error", "errorType": kind, "error": words});
        Self::json(status, &body)
    }

    /// Text, as Go's `http.Error` writes it.
    pub fn text(status: u16, body: &str) -> Self {
        Self::status(status)
            .field("Content-Type", "text/plain; charset=utf-8")
            .body(body.to_owned())
    }

    /// These bytes instead of any answer, and then the end.
    pub fn raw(bytes: impl Into<Vec<u8>>, ending: Ending) -> Self {
        let mut steps = vec![Step::send(bytes)];
        steps.extend(ending.steps());
        Self::steps_of(steps)
    }

    /// No byte, and the end.
    pub fn nothing(ending: Ending) -> Self {
        Self::steps_of(ending.steps())
    }

    /// These steps.
    pub fn steps_of(steps: Vec<Step>) -> Self {
        Self {
            before: Vec::new(),
            between: Vec::new(),
            kind: Kind::Raw(steps),
        }
    }

    /// One more field.
    #[must_use]
    pub fn field(self, name: &str, value: &str) -> Self {
        self.with(|answer| answer.fields.push((name.to_owned(), value.to_owned())))
    }

    /// With this body.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        self.with(|answer| answer.body = body.into())
    }

    /// In chunks, one for a piece, instead of with a length.
    #[must_use]
    pub fn chunked(self) -> Self {
        self.with(|answer| answer.length = Length::Chunked)
    }

    /// With no length at all: its end is the connection's.
    #[must_use]
    pub fn until_close(self) -> Self {
        self.with(|answer| answer.length = Length::UntilClose)
    }

    /// In pieces of so many bytes, with a pause before each.
    #[must_use]
    pub fn trickling(self, bytes: usize, pause: Duration) -> Self {
        self.with(|answer| answer.pieces = Some((bytes, pause)))
    }

    /// Only so many bytes of its body come; the head says what it would have said.
    #[must_use]
    pub fn cut(self, bytes: usize, ending: Ending) -> Self {
        self.with(|answer| answer.cut = Some((bytes, ending)))
    }

    /// Chunked, and behind the body comes what the test gives: whole chunks
    /// ([`chunk`](crate::target::answers::chunk)).
    #[must_use]
    pub fn fed(self, feed: &Feed) -> Self {
        let feed = feed.clone();
        self.chunked().with(|answer| answer.tail = Tail::Fed(feed))
    }

    /// Chunked, and behind the body comes more, as fast as it is taken, without an end.
    #[must_use]
    pub fn endless(self) -> Self {
        self.chunked().with(|answer| answer.tail = Tail::Endless)
    }

    /// So many times `x` behind its body, as fast as they are taken; they are not held anywhere.
    #[must_use]
    pub fn flood(self, bytes: u64) -> Self {
        self.with(|answer| answer.tail = Tail::Flood(bytes))
    }

    /// Not before so long.
    #[must_use]
    pub fn after(mut self, pause: Duration) -> Self {
        self.before.push(Step::Pause(pause));
        self
    }

    /// Not before the test opens the gate.
    #[must_use]
    pub fn behind(mut self, gate: &Gate) -> Self {
        self.before.push(Step::Wait(gate.clone()));
        self
    }

    /// Its head at once, its body not before the test opens the gate.
    #[must_use]
    pub fn body_behind(mut self, gate: &Gate) -> Self {
        self.between.push(Step::Wait(gate.clone()));
        self
    }

    fn with(mut self, change: impl FnOnce(&mut Answer)) -> Self {
        match &mut self.kind {
            Kind::Answer(answer) => change(answer),
            Kind::Raw(_) => panic!("raw bytes have no parts"),
        }
        self
    }

    /// As steps; by `id`, and without a body where none may be.
    pub(super) fn steps(self, id: &str, head_only: bool) -> Vec<Step> {
        let mut steps = self.before;
        match self.kind {
            Kind::Raw(raw) => steps.extend(raw),
            Kind::Answer(answer) => {
                steps.push(Step::send(answer.head(id)));
                match head_only {
                    true => steps.push(Step::Next),
                    false => {
                        steps.extend(self.between);
                        answer.body_steps(&mut steps);
                    }
                }
            }
        }
        steps
    }
}

impl Answer {
    fn head(&self, id: &str) -> String {
        let status = StatusCode::from_u16(self.status).ok();
        let phrase = status.and_then(|status| status.canonical_reason());
        let mut head = format!(
            "HTTP/1.1 {} {}\r\n{SERVED_BY}: {id}\r\n",
            self.status,
            phrase.unwrap_or("Whatever")
        );
        for (name, value) in &self.fields {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        let length = match self.length {
            Length::Said => {
                let flood = match self.tail {
                    Tail::Flood(bytes) => bytes,
                    _ => 0,
                };
                format!("Content-Length: {}\r\n", self.body.len() as u64 + flood)
            }
            Length::Chunked => "Transfer-Encoding: chunked\r\n".to_owned(),
            Length::UntilClose => "Connection: close\r\n".to_owned(),
        };
        head + &length + "\r\n"
    }

    fn body_steps(self, steps: &mut Vec<Step>) {
        let sent = self.cut.map_or(self.body.len(), |(bytes, _)| bytes);
        let body = self.body.slice(..sent.min(self.body.len()));
        let (size, pause) = self.pieces.unwrap_or((body.len().max(1), Duration::ZERO));
        for piece in body.chunks(size) {
            if self.pieces.is_some() {
                steps.push(Step::Pause(pause));
            }
            steps.push(match self.length {
                Length::Chunked => Step::send(chunk(piece)),
                _ => Step::send(piece),
            });
        }
        if let Some((_, ending)) = self.cut {
            return steps.extend(ending.steps());
        }
        match (self.tail, self.length) {
            (Tail::Fed(feed), _) => steps.push(Step::Feed(feed)),
            (Tail::Endless, _) => {
                steps.push(Step::send(format!("{:x}\r\n", i64::MAX)));
                return steps.push(Step::Flood(u64::MAX));
            }
            (Tail::Flood(bytes), Length::Chunked) => {
                steps.push(Step::send(format!("{bytes:x}\r\n")));
                steps.push(Step::Flood(bytes));
                steps.push(Step::send("\r\n"));
            }
            (Tail::Flood(bytes), _) => steps.push(Step::Flood(bytes)),
            (Tail::Nothing, _) => {}
        }
        match self.length {
            Length::Said => steps.push(Step::Next),
            Length::Chunked => steps.extend([Step::send("0\r\n\r\n"), Step::Next]),
            Length::UntilClose => {}
        }
    }
}

fn chunk(piece: &[u8]) -> Vec<u8> {
    let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
    chunk.extend_from_slice(piece);
    chunk.extend_from_slice(b"\r\n");
    chunk
}

impl Ending {
    fn steps(self) -> Vec<Step> {
        match self {
            Self::Close => Vec::new(),
            Self::Reset => vec![Step::Reset],
            Self::Stall => vec![Step::Stall],
        }
    }
}
