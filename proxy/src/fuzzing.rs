//! What the targets in `fuzz/` see of steps that nobody else may call. Never in a program.

use std::net::SocketAddr;
use std::time::Duration;

use adit_common::fault::Fault;
use adit_common::net::socket::Peer;
use adit_common::registration::Registration;
use adit_common::target::Target;
use bytes::{Bytes, BytesMut};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Uri};
use uuid::Uuid;

use crate::config::external::ExternalUrl;
use crate::config::query::url::{BackendUrl, BackendUrlError};
use crate::config::trusted::TrustedProxies;
use crate::listener::{self, Start, start};
use crate::pushprox::wire::answer::{Head, HeadReader, Unreadable};
use crate::pushprox::wire::body::{Body, BodyError, Framing};
use crate::pushprox::wire::request::Instruction;
use crate::{admin, discovery, query, scrape};

/// Reads an absolute-form request target: the URI that passes, and who is meant.
pub fn absolute(uri: &Uri) -> Option<(Uri, Target)> {
    scrape::absolute_form(uri).ok()
}

/// Reads a path-style one below `prefix`.
pub fn path_style(uri: &Uri, prefix: &str) -> Option<(Uri, Target)> {
    scrape::path_form(uri, prefix).ok()
}

/// Reads the target of a CONNECT.
pub fn connect(uri: &Uri) -> Option<Target> {
    scrape::connect_form(uri).ok()
}

/// What the bytes at the start of a connection are, however many there are by now: the end of a header
/// of the PROXY protocol and for whom it is; an error, and what it is instead; nothing, when more will
/// tell.
pub fn proxy_header(bytes: &[u8]) -> Option<Result<(usize, Option<SocketAddr>), &'static str>> {
    match start(bytes) {
        Start::Short => None,
        Start::Other => Some(Err("other")),
        Start::Malformed => Some(Err("malformed")),
        Start::Header(length, source) => Some(Ok((length, source))),
    }
}

/// What a URL of a backend means; an error, when it is none.
pub fn backend_url(text: &str) -> Result<BackendUrl, String> {
    text.parse()
        .map_err(|error: BackendUrlError| error.to_string())
}

/// The backends of a list, by URL, in each of its forms; or what is wrong with it.
pub fn backends(bytes: &[u8]) -> Vec<Result<Vec<BackendUrl>, String>> {
    let urls = |found: Vec<discovery::Found>| found.into_iter().map(|found| found.url).collect();
    let mut all = vec![discovery::fuzzing::json(bytes).map(urls)];
    if let Ok(text) = std::str::from_utf8(bytes) {
        all.push(discovery::fuzzing::lines(text).map(urls));
        all.push(discovery::fuzzing::yaml(text).map(urls));
    }
    all
}

/// Whether a query may be repeated; nothing, when it is not let through.
pub fn is_repeatable(method: &Method, path: &str) -> Option<bool> {
    query::fuzzing::is_repeatable(method, path)
}

/// A query's PromQL, and how long it may take.
pub fn params(query: Option<&str>, form: Option<&[u8]>) -> (Option<String>, Option<Duration>) {
    let params = query::fuzzing::params(query, form);
    (params.query, params.timeout)
}

/// What is understood of a page of metrics that comes in these pieces.
pub fn exposition(pieces: &[&[u8]]) -> String {
    query::fuzzing::exposition(pieces)
}

/// What is understood of a backend's answers.
pub fn said(body: &[u8]) -> String {
    query::fuzzing::said(body)
}

/// The pool that mpp's arguments and variables come to.
pub fn mpp(arguments: Vec<String>, variables: &[(&str, &str)]) -> Result<String, String> {
    let arguments = arguments.into_iter().map(Into::into).collect();
    let variable = |name: &str| {
        let known = variables.iter().find(|(known, _)| *known == name);
        known.map(|(_, value)| (*value).to_owned())
    };
    let translated = crate::compat::mpp::translate(arguments, variable)?;
    Ok(format!("{translated:?}"))
}

/// Where a request of `peer` comes from.
pub fn origin(peer: Peer, headers: &HeaderMap, trusted: &TrustedProxies) -> Peer {
    listener::origin(peer, headers, trusted)
}

/// `/sd/targets` with all that one client offers; by path when there is a place.
pub fn targets_page(offer: &Registration, place: Option<&ExternalUrl>) -> Vec<u8> {
    admin::targets_page(offer, place)
}

/// A scrape as the text a poll is answered with; nothing when it cannot be one.
pub fn instruction(fqdn: &str, port: Option<u16>, head: &Parts, body: &[u8]) -> Option<Vec<u8>> {
    let instruction = Instruction {
        fqdn,
        port,
        head,
        body,
        id: Uuid::nil(),
        timeout: std::time::Duration::from_millis(9800),
    };
    instruction.write().ok()
}

/// A push that was read.
#[derive(Debug, PartialEq)]
pub struct Pushed {
    /// Whose answer it is.
    pub id: Option<Uuid>,
    /// Of the target.
    pub status: StatusCode,
    /// What passes.
    pub headers: HeaderMap,
    /// Length of the head.
    pub length: usize,
    /// How the body's end is told, when that is understood.
    pub framing: Option<String>,
    /// The body, or why it is none.
    pub body: Result<Vec<u8>, String>,
    /// What the client's own error comes to.
    pub fault: Option<Fault>,
}

/// Reads a push that comes in these pieces; `is_measured` when the push has told its length before.
/// The answer is to a scrape by `method`. An error is why there is no head.
pub fn pushed(pieces: &[&[u8]], is_measured: bool, method: &Method) -> Result<Pushed, String> {
    let (mut reader, mut buffer) = (HeadReader::default(), BytesMut::new());
    let mut pieces = pieces.iter().copied();
    let head = loop {
        let piece = pieces.next();
        buffer.extend_from_slice(piece.unwrap_or_default());
        let unreadable = |error: Unreadable| format!("{error:?}");
        match reader.read(&mut buffer).map_err(unreadable)? {
            Some(head) => break head,
            None if piece.is_some() => {}
            None => return Err(unreadable(reader.ended(&buffer))),
        }
    };
    let rest: Vec<Bytes> = std::iter::once(buffer.freeze())
        .chain(pieces.map(Bytes::copy_from_slice))
        .collect();
    let framing = head.framing(method).map_err(|error| error.to_string());
    let body = framing
        .clone()
        .and_then(|framing| read_body(framing, rest, is_measured).map_err(|e| e.to_string()));
    Ok(read(head, framing.ok(), body))
}

fn read(head: Head, framing: Option<Framing>, body: Result<Vec<u8>, String>) -> Pushed {
    let said = body.as_deref().ok().filter(|_| head.own_error);
    let fault =
        said.map(|said| crate::pushprox::wire::fault::fault(&String::from_utf8_lossy(said)));
    Pushed {
        id: head.id,
        status: head.status,
        headers: head.headers,
        length: head.length,
        framing: framing.map(|framing| format!("{framing:?}")),
        body,
        fault,
    }
}

fn read_body(
    framing: Framing,
    pieces: Vec<Bytes>,
    is_measured: bool,
) -> Result<Vec<u8>, BodyError> {
    let length: usize = pieces.iter().map(Bytes::len).sum();
    let mut body = Body::new(framing, is_measured.then_some(length as u64))?;
    let mut out = Vec::new();
    for mut piece in pieces {
        while let Some(data) = body.next(&mut piece)? {
            assert!(!data.is_empty(), "an empty piece");
            out.extend_from_slice(&data);
        }
        assert!(piece.is_empty(), "bytes were left behind");
    }
    out.extend(body.finish()?.unwrap_or_default());
    Ok(out)
}
