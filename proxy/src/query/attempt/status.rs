//! What an answer's status means: whether it is the answer, or somebody else is asked.
//!
//! The table is `facts/query.md` §3.2. What it does not have is passed on.

use http::{HeaderMap, StatusCode};

use super::error_body::Said;

/// What an answer says of the backend that gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mark {
    /// It does what it is asked.
    Answered,
    /// It cannot be asked by this way.
    Failed,
    /// It starts, or it stops: whether it stops, when it says so.
    NotReady(Option<bool>),
    /// Neither good nor bad.
    Nothing,
}

/// What to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It goes to the caller.
    Commit(Mark),
    /// Another backend may know better.
    Retry(Retry),
}

/// Why another backend is asked although this one sent an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Retry {
    /// The word in metrics.
    pub(super) reason: &'static str,
    pub(super) mark: Mark,
    /// One retry for this is enough: it may be the request's own doing.
    pub(super) once: bool,
}

struct Row {
    status: u16,
    says: Says,
    then: Verdict,
}

enum Says {
    /// Whatever it says.
    Anything,
    /// In a field of the head (Prometheus 3.0): that it stops, or that it does not.
    Stopping(bool),
    /// No JSON, but this text.
    Text(&'static str),
    /// No JSON: it is not from Prometheus' API.
    Else,
    /// `errorType`
    Kind(&'static str),
    /// `errorType`, and a part of `error`.
    Words(&'static str, &'static str),
}

const fn retry(reason: &'static str, mark: Mark) -> Verdict {
    Verdict::Retry(Retry {
        reason,
        mark,
        once: false,
    })
}

const fn row(status: u16, says: Says, then: Verdict) -> Row {
    Row { status, says, then }
}

/// The first that fits.
const ROWS: [Row; 15] = [
    row(503, Says::Stopping(true), retry("stopping", Mark::NotReady(Some(true)))),
    row(503, Says::Stopping(false), retry("not-ready", Mark::NotReady(Some(false)))),
    row(503, Says::Text("Service Unavailable"), retry("not-ready", Mark::NotReady(None))),
    // It was not evaluated; elsewhere the queue may be shorter.
    row(503, Says::Words("timeout", "query timed out in query queue"), retry("queue", Mark::Answered)),
    // Another would evaluate it for as long again.
    row(503, Says::Kind("timeout"), Verdict::Commit(Mark::Answered)),
    // Whoever cancels here no longer reads answers: it was somebody else.
    row(503, Says::Kind("canceled"), retry("canceled", Mark::Nothing)),
    row(499, Says::Kind("canceled"), retry("canceled", Mark::Nothing)),
    // Something in front of it: its own would be JSON.
    row(503, Says::Else, retry("unavailable", Mark::Failed)),
    row(500, Says::Kind("unavailable"), retry("unavailable", Mark::NotReady(None))),
    row(
        500,
        Says::Kind("internal"),
        Verdict::Retry(Retry { reason: "internal", mark: Mark::Nothing, once: true }),
    ),
    row(502, Says::Anything, retry("bad-gateway", Mark::Failed)),
    row(504, Says::Anything, retry("gateway-timeout", Mark::Failed)),
    row(429, Says::Anything, retry("too-many-requests", Mark::Answered)),
    // Other errors of a server are passed on, and held neither for nor against it.
    row(500, Says::Anything, Verdict::Commit(Mark::Nothing)),
    row(503, Says::Anything, Verdict::Commit(Mark::Nothing)),
];

/// Whether the body has to be looked at, or would be kept for the case that nobody knows better.
pub(super) fn is_in_question(status: StatusCode) -> bool {
    ROWS.iter().any(|row| row.status == status.as_u16())
}

/// What to do with an answer whose body says this.
pub(super) fn judge(status: StatusCode, headers: &HeaderMap, said: &Said) -> Verdict {
    let stopping = headers
        .get("x-prometheus-stopping")
        .and_then(|value| value.to_str().ok()?.trim().parse::<bool>().ok());
    let fits = |row: &&Row| {
        row.status == status.as_u16()
            && match (&row.says, said) {
                (Says::Anything, _) => true,
                (Says::Stopping(which), _) => stopping == Some(*which),
                (Says::Text(text), Said::Else(body)) => body.trim() == *text,
                (Says::Else, Said::Else(_)) => true,
                (Says::Kind(wanted), Said::Api { kind, .. }) => kind == wanted,
                (Says::Words(wanted, part), Said::Api { kind, words }) => {
                    kind == wanted && words.contains(part)
                }
                _ => false,
            }
    };
    match ROWS.iter().find(fits) {
        Some(row) => row.then,
        None => Verdict::Commit(passed_on(status)),
    }
}

/// What an answer says of its backend that is passed on whatever it is. Who says that a request is
/// wrong, or forbidden, is well.
pub(super) fn passed_on(status: StatusCode) -> Mark {
    match status.is_server_error() {
        true => Mark::Nothing,
        false => Mark::Answered,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, stopping: Option<&'static str>, said: &Said) -> Verdict {
        let mut headers = HeaderMap::new();
        if let Some(stopping) = stopping {
            headers.insert("x-prometheus-stopping", stopping.parse().unwrap());
        }
        judge(StatusCode::from_u16(status).unwrap(), &headers, said)
    }

    fn api(kind: &str, words: &str) -> Said {
        Said::Api {
            kind: kind.to_owned(),
            words: words.to_owned(),
        }
    }

    fn text(text: &str) -> Said {
        Said::Else(text.to_owned())
    }

    /// Cases 23 and 24: every row of the table.
    #[test]
    fn every_row_means_what_prometheus_means() {
        let plain = text("Service Unavailable");
        let again = |reason, mark| retry(reason, mark);
        for (status, said, verdict) in [
            (503, plain.clone(), again("not-ready", Mark::NotReady(None))),
            (503, text("Service Unavailable\n"), again("not-ready", Mark::NotReady(None))),
            (503, text("<h1>503 Service Unavailable"), again("unavailable", Mark::Failed)),
            (503, text(""), again("unavailable", Mark::Failed)),
            (500, api("unavailable", "TSDB not ready"), again("unavailable", Mark::NotReady(None))),
            (503, api("timeout", "query timed out in query queue"), again("queue", Mark::Answered)),
            (
                503,
                api("timeout", "query timed out in expression evaluation"),
                Verdict::Commit(Mark::Answered),
            ),
            (503, api("canceled", "query was canceled"), again("canceled", Mark::Nothing)),
            (499, api("canceled", "query was canceled"), again("canceled", Mark::Nothing)),
            (502, text("<html>"), again("bad-gateway", Mark::Failed)),
            (502, Said::Unread, again("bad-gateway", Mark::Failed)),
            (504, text(""), again("gateway-timeout", Mark::Failed)),
            (429, text("slow down"), again("too-many-requests", Mark::Answered)),
            (503, Said::Unread, Verdict::Commit(Mark::Nothing)),
            (500, Said::Unread, Verdict::Commit(Mark::Nothing)),
            (500, text("panic"), Verdict::Commit(Mark::Nothing)),
            (503, api("else", ""), Verdict::Commit(Mark::Nothing)),
        ] {
            assert_eq!(judged(status, None, &said), verdict, "{status} {said:?}");
            assert!(is_in_question(StatusCode::from_u16(status).unwrap()));
        }
        let Verdict::Retry(internal) = judged(500, None, &api("internal", "mmap")) else {
            panic!("an internal error is asked again");
        };
        assert!(internal.once);
        for (said, reason, stopping) in [("true", "stopping", true), ("false", "not-ready", false)] {
            let verdict = judged(503, Some(said), &Said::Unread);
            assert_eq!(verdict, again(reason, Mark::NotReady(Some(stopping))));
        }
    }

    #[test]
    fn what_every_backend_would_say_is_passed_on() {
        for status in [200, 204, 304, 301, 400, 401, 403, 404, 405, 406, 408, 413, 422] {
            let found = judged(status, None, &api("unavailable", "Service Unavailable"));
            assert_eq!(found, Verdict::Commit(Mark::Answered), "{status}");
            assert!(!is_in_question(StatusCode::from_u16(status).unwrap()));
        }
        for status in [501, 505, 507, 520] {
            let found = judged(status, None, &text(""));
            assert_eq!(found, Verdict::Commit(Mark::Nothing), "{status}");
        }
    }
}
