//! One request by a connection of its own, as an upgrade wants it.

use std::error::Error;
use std::io;

use adit_common::net::tls;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;

use super::wire::Wire;

/// Most of an answer's head. hyper wants 8 KiB at least.
pub(super) const MAX_HEAD: usize = 16 * 1024;

/// Sends `request`, and drives the connection while `read` makes something of the answer. Dropping
/// the future drops `wire`.
///
/// # Errors
/// Why there is no answer, in words.
pub(super) async fn ask<T, F>(
    wire: Box<dyn Wire>,
    request: Request<Empty<Bytes>>,
    read: impl FnOnce(Response<Incoming>) -> F,
) -> Result<T, String>
where
    F: Future<Output = hyper::Result<T>>,
{
    let (mut sender, connection) = http1::Builder::new()
        .title_case_headers(true)
        .max_buf_size(MAX_HEAD)
        .handshake(TokioIo::new(wire))
        .await
        .map_err(|error| in_words(&error))?;
    let asking = async move { read(sender.send_request(request).await?).await };
    let connection = connection.with_upgrades();
    tokio::pin!(asking, connection);
    let answer = tokio::select! {
        biased;
        answer = &mut asking => answer,
        result = &mut connection => match result {
            // It has handed itself over, or closed behind its answer.
            Ok(()) => asking.await,
            Err(why) => Err(why),
        },
    };
    answer.map_err(|error| in_words(&error))
}

/// The last of the chain is what happened: hyper's own say where.
fn in_words(error: &hyper::Error) -> String {
    if error.is_parse() {
        return format!("what answered does not speak HTTP/1 ({error})");
    }
    let mut cause: &dyn Error = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<io::Error>() {
        Some(io) if io.kind() == io::ErrorKind::UnexpectedEof => CLOSED.to_owned(),
        Some(io) => tls::reason(io),
        None => match cause.downcast_ref::<hyper::Error>() {
            Some(error) if error.is_incomplete_message() || error.is_canceled() => {
                CLOSED.to_owned()
            }
            _ => cause.to_string(),
        },
    }
}

const CLOSED: &str = "it closed the connection without an answer";
