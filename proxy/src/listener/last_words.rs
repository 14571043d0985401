//! What is said to whoever never gets as far as a request, before the connection is closed.

use bytes::Bytes;
use hyper::ext::ReasonPhrase;

use crate::scrape::Refusal;

/// What hyper says of a head that is larger than it may be: the status alone.
const TOO_LARGE: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
const TOO_LONG: &[u8] =
    b"HTTP/1.1 414 URI Too Long\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The same with words, when `answer` is one of hyper's.
pub(super) fn instead_of(answer: &[u8], request_head: usize) -> Option<Bytes> {
    let refusal = match answer {
        TOO_LARGE => Refusal::HeadTooLarge(request_head),
        TOO_LONG => Refusal::TargetTooLong,
        _ => return None,
    };
    Some(written(&refusal))
}

/// The answer as it is sent, in which it says that it is the last.
pub(super) fn written(refusal: &Refusal) -> Bytes {
    let (answer, body) = refusal.text().into_parts();
    let reason = answer.extensions.get::<ReasonPhrase>();
    let mut text = format!("HTTP/1.1 {} ", answer.status.as_u16()).into_bytes();
    text.extend(reason.map_or(&b""[..], ReasonPhrase::as_bytes));
    text.extend(b"\r\nConnection: close\r\n");
    for (name, value) in &answer.headers {
        text.extend(name.as_str().as_bytes());
        text.extend(b": ");
        text.extend(value.as_bytes());
        text.extend(b"\r\n");
    }
    text.extend(format!("Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes());
    text.into()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_answer_as_it_is_sent() {
        let text = written(&Refusal::HeadTooSlow(Duration::from_secs(10)));
        assert_eq!(
            text,
            "HTTP/1.1 408 the request's head took longer than 10s (head_time)\r\n\
             Connection: close\r\n\
             proxy-status: adit-proxy; error=http_request_error; \
             details=\"the request's head took longer than 10s (head_time)\"\r\n\
             content-type: text/plain; charset=utf-8\r\n\
             Content-Length: 52\r\n\r\n\
             the request's head took longer than 10s (head_time)\n"
        );
    }

    #[test]
    fn only_what_is_hypers_is_replaced() {
        let large = instead_of(TOO_LARGE, 64 << 10).unwrap();
        assert!(large.starts_with(b"HTTP/1.1 431 the request's head is larger than 64KiB"));
        let long = instead_of(TOO_LONG, 64 << 10).unwrap();
        assert!(long.starts_with(b"HTTP/1.1 414 the request target is longer than"));
        for other in [&b""[..], &TOO_LARGE[1..], b"HTTP/1.1 200 OK\r\n\r\n"] {
            assert_eq!(instead_of(other, 64 << 10), None);
        }
    }
}
