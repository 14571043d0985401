//! Why there is no answer, in words an operator can act on.

use std::io;

use adit_common::net::dial::DialError;
use adit_common::net::tls::{TlsError, certificate_refusal, reason};
use hyper_util::client::legacy::Error;

use super::connection::Past;
use super::{MOST_FIELDS, MOST_HEAD};

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboundError {
    /// Nobody could be reached.
    #[error("{0}")]
    Connect(String),
    /// TLS failed.
    #[error("{0}")]
    Tls(String),
    /// It closed before the head of its answer was whole, or that was none.
    #[error("{0}")]
    Reset(String),
    /// Time was up.
    #[error("no answer in time")]
    Deadline,
}

impl OutboundError {
    /// Its connection was gone before the request had been taken to it.
    pub(super) fn gone() -> Self {
        Self::Reset("it closed the connection before it had answered".to_owned())
    }

    /// Of what the library says, and the connection it was on, if there was one.
    pub(super) fn new(error: &Error, past: Option<&Past>) -> Self {
        if let Some(refusal) = certificate_refusal(error) {
            return Self::Tls(format!("it refuses us: {refusal}"));
        }
        let mut root: &dyn std::error::Error = error;
        let mut when = "before it had answered";
        while let Some(cause) = root.source() {
            root = cause;
            if let Some(dial) = cause.downcast_ref::<DialError>() {
                return Self::Connect(dial.to_string());
            }
            if let Some(tls) = cause.downcast_ref::<TlsError>() {
                return Self::Tls(tls.to_string());
            }
            let Some(http) = cause.downcast_ref::<hyper::Error>() else {
                continue;
            };
            if http.is_parse_too_large() {
                return Self::Reset(too_large());
            }
            if http.is_parse() {
                return Self::Reset(format!("it does not answer in HTTP: {http}"));
            }
            if http.is_incomplete_message() && past.is_some_and(Past::is_answering) {
                when = "in the middle of its answer's head";
            }
        }
        if error.is_connect() {
            return Self::Connect(root.to_string());
        }
        Self::Reset(match root.downcast_ref::<io::Error>() {
            Some(error) => format!("it broke off {when}: {}", reason(error)),
            None => format!("it closed the connection {when}"),
        })
    }
}

/// Of an answer whose head is not read to its end.
pub(crate) fn too_large() -> String {
    format!(
        "the head of its answer is over {MOST_HEAD} bytes, or has more than {MOST_FIELDS} fields"
    )
}
