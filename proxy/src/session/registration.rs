//! What a client offers, read line by line from a stream that stays open.

use adit_common::registration::{
    ACCEPTED_PATH, GOING_AWAY_PATH, MAX_LINE, PATH, Registration, RegistrationError,
};
use bytes::BytesMut;
use http::{Method, Request, StatusCode, Version};
use http_body_util::{BodyExt, Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;

use crate::carrier::RequestBody;

/// The open stream of registrations.
pub(super) struct Registrations {
    body: Incoming,
    buffer: BytesMut,
    /// Up to here the buffer has no line end.
    searched: usize,
    /// Most of one client.
    names: usize,
}

/// Why there is no further registration.
#[derive(Debug, thiserror::Error)]
pub(super) enum RegistrationEnd {
    /// The client ended the stream: it is going.
    #[error("the client is leaving")]
    Closed,
    /// The stream or the tunnel broke.
    #[error("{0}")]
    Lost(#[from] hyper::Error),
    /// What came is none.
    #[error(transparent)]
    Bad(#[from] RegistrationError),
    /// More names than a session may have.
    #[error("the registration has {0} names, {1} are allowed (names_per_session)")]
    Names(usize, usize),
    /// The client does not know what was asked.
    #[error("the client answered {0} when asked for its registration")]
    Status(StatusCode),
}

impl Registrations {
    /// Asks for them, of so many names at most: the first stream of a tunnel.
    pub(super) async fn ask(
        sender: &mut SendRequest<RequestBody>,
        names: usize,
    ) -> Result<Self, RegistrationEnd> {
        let response = sender.send_request(to_client(Method::GET, PATH)).await?;
        if response.status() != StatusCode::OK {
            return Err(RegistrationEnd::Status(response.status()));
        }
        Ok(Self {
            body: response.into_body(),
            buffer: BytesMut::new(),
            searched: 0,
            names,
        })
    }

    /// The next one. Cancel safe: what was read stays.
    pub(super) async fn next(&mut self) -> Result<Registration, RegistrationEnd> {
        loop {
            let unseen = &self.buffer[self.searched..];
            if let Some(end) = unseen.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(self.searched + end + 1);
                self.searched = 0;
                return self.registration(&line[..line.len() - 1]);
            }
            self.searched = self.buffer.len();
            if self.buffer.len() > MAX_LINE {
                return Err(RegistrationError::TooLong.into());
            }
            match self.body.frame().await {
                Some(frame) => {
                    if let Ok(data) = frame?.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                None => return Err(RegistrationEnd::Closed),
            }
        }
    }

    fn registration(&self, line: &[u8]) -> Result<Registration, RegistrationEnd> {
        let registration = match Registration::from_line(line) {
            Ok(registration) => registration,
            // More than any session may have: that is this limit as well.
            Err(RegistrationError::TooMany {
                what: "names",
                found,
                ..
            }) => {
                return Err(RegistrationEnd::Names(found, self.names));
            }
            Err(error) => return Err(error.into()),
        };
        match registration.names.len() {
            found if found > self.names => Err(RegistrationEnd::Names(found, self.names)),
            _ => Ok(registration),
        }
    }
}

/// Tells the client that it is routed to. What it answers does not matter: one that does not
/// know the path yet says 404.
pub(super) async fn accepted(sender: SendRequest<RequestBody>) {
    tell(sender, ACCEPTED_PATH).await;
}

/// Tells the client to open its next tunnel, while this one goes on.
pub(super) async fn going_away(sender: SendRequest<RequestBody>) {
    tell(sender, GOING_AWAY_PATH).await;
}

async fn tell(mut sender: SendRequest<RequestBody>, path: &'static str) {
    let _ = sender.send_request(to_client(Method::POST, path)).await;
}

/// A request for the client itself: its URI has no authority, which h2 allows when the version
/// is HTTP/1.1.
fn to_client(method: Method, path: &'static str) -> Request<RequestBody> {
    let mut request = Request::new(Either::Left(Full::default()));
    *request.method_mut() = method;
    *request.version_mut() = Version::HTTP_11;
    *request.uri_mut() = http::Uri::from_static(path);
    request
}
