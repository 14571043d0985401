//! A request of our own, and its whole answer within bounds.

use std::error::Error;

use bytes::Bytes;
use http::header::{ACCEPT, ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::{Instant, timeout_at};

use crate::query::backend::{Backend, BackendBody, Failure, Question};

/// As servers see us.
const AGENT: HeaderValue = HeaderValue::from_static("adit-probe");

/// An answer, whole.
#[derive(Debug)]
pub(super) struct Said {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// `GET path`.
pub(super) fn get(path: &str) -> Question {
    let mut headers = HeaderMap::new();
    headers.insert(USER_AGENT, AGENT);
    // What is read here is read as it comes.
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    // What /metrics has in other forms is the same.
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/json, text/plain;version=0.0.4, */*;q=0.1"),
    );
    Question {
        method: Method::GET,
        path_and_query: path.to_owned(),
        headers,
        body: Bytes::new(),
        repeatable: true,
    }
}

/// `POST path` with a form.
pub(super) fn post(path: &str, form: String) -> Question {
    let mut question = get(path);
    question.method = Method::POST;
    question.headers.insert(
        CONTENT_TYPE,
        HeaderValue::from_static("application/x-www-form-urlencoded"),
    );
    question.body = form.into();
    question
}

/// Asks, and takes the answer in: `most` bytes of it, until `deadline`.
pub(super) async fn ask(
    backend: &Backend,
    question: Question,
    most: usize,
    deadline: Instant,
) -> Result<Said, Failure> {
    let whole = async {
        let (head, body) = send(backend, question, deadline).await?.into_parts();
        let body = Limited::new(body, most).collect().await;
        let body = body.map_err(|error| broken(error, most))?.to_bytes();
        Ok(Said {
            status: head.status,
            headers: head.headers,
            body,
        })
    };
    timeout_at(deadline, whole)
        .await
        .unwrap_or_else(|_| Err(late()))
}

/// Asks, and waits for the head of the answer.
pub(super) async fn send(
    backend: &Backend,
    question: Question,
    deadline: Instant,
) -> Result<Response<BackendBody>, Failure> {
    timeout_at(deadline, backend.send(question, deadline))
        .await
        .unwrap_or_else(|_| Err(late()))
}

fn late() -> Failure {
    Failure::Deadline("no answer in time".to_owned())
}

fn broken(error: Box<dyn Error + Send + Sync>, most: usize) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => *failure,
        Err(_) => Failure::Truncated(format!("its answer has more than {most} bytes")),
    }
}
