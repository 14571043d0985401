//! Through an HTTP proxy: `CONNECT host:port` (RFC 9110 §9.3.6). The name goes there as it is: who
//! needs such a proxy can often resolve nothing outside.

use bytes::Bytes;
use http::header::{HOST, HeaderValue, PROXY_AUTHORIZATION, USER_AGENT};
use http::{Method, Request, StatusCode};
use http_body_util::Empty;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout_at};

use super::asking::ask;
use super::upgrade::{AGENT, By, Unopened};
use super::wire::Wire;
use crate::config::HttpProxyUrl;

/// Asks the HTTP proxy at the other end of `wire` for a connection to `destination`, by `deadline`.
/// Its errors name the HTTP proxy. Dropping the future drops `wire`.
pub(super) async fn through(
    http_proxy: &HttpProxyUrl,
    authorization: Option<HeaderValue>,
    destination: &str,
    wire: Box<dyn Wire>,
    deadline: Instant,
) -> Result<TokioIo<Upgraded>, Unopened> {
    let by = By::HttpProxy(http_proxy.to_string());
    let failed = |why: String| Unopened::Failed(format!("{by} {why}"));
    let shown = authorization.is_some();
    let request = request(destination, authorization)
        .map_err(|error| failed(format!("CONNECT {destination}: {error}")))?;
    let connecting = ask(wire, request, async |mut answer| match answer.status() {
        status if status.is_success() => Ok(Ok(hyper::upgrade::on(&mut answer).await?)),
        status => Ok(Err(status)),
    });
    match timeout_at(deadline, connecting).await {
        Ok(Ok(Ok(upgraded))) => Ok(TokioIo::new(upgraded)),
        Ok(Ok(Err(status))) => Err(refusal(&by, status, shown)),
        Ok(Err(why)) => Err(failed(why)),
        Err(_) => Err(failed(format!(
            "no answer to CONNECT {destination} in time"
        ))),
    }
}

fn request(
    destination: &str,
    authorization: Option<HeaderValue>,
) -> http::Result<Request<Empty<Bytes>>> {
    let mut request = Request::builder()
        .method(Method::CONNECT)
        .uri(destination)
        .header(HOST, destination)
        .header(USER_AGENT, AGENT);
    if let Some(authorization) = authorization {
        request = request.header(PROXY_AUTHORIZATION, authorization);
    }
    request.body(Empty::new())
}

/// Its page is made for browsers; the status says all.
fn refusal(by: &By, status: StatusCode, shown: bool) -> Unopened {
    let reason = match (status, shown) {
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, true) => "it refused our user or password",
        (StatusCode::PROXY_AUTHENTICATION_REQUIRED, false) => {
            "it wants a user and password: give http_proxy: {username, password_file}"
        }
        (StatusCode::FORBIDDEN | StatusCode::UNAUTHORIZED, _) => "it lets nobody through to there",
        _ => return Unopened::Failed(format!("{by} {status}")),
    };
    Unopened::Denied {
        by: by.clone(),
        status,
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    const DESTINATION: &str = "adit.example:443";

    /// Asks a proxy that reads the request and says `answer`, and closes or not; gives what was
    /// asked, and the outcome.
    async fn ask(
        authorization: Option<&'static str>,
        answer: &[u8],
        closes: bool,
    ) -> (String, Result<TokioIo<Upgraded>, String>) {
        let (near, mut far): (_, DuplexStream) = duplex(256);
        let url = "http://squid:3128".parse().unwrap();
        let authorization = authorization.map(HeaderValue::from_static);
        let deadline = Instant::now() + Duration::from_secs(20);
        let asking = through(&url, authorization, DESTINATION, Box::new(near), deadline);
        let answering = async {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(far.read_u8().await.unwrap());
            }
            // An error: who asked has heard enough.
            let _ = far.write_all(answer).await;
            let open = (!closes).then_some(far);
            (String::from_utf8(head).unwrap(), open)
        };
        let (outcome, (head, _open)) = tokio::join!(asking, answering);
        (head, outcome.map_err(|error| error.to_string()))
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_asked_and_what_comes_right_behind_the_answer() {
        let basic = "Basic dTpw";
        for (authorization, answer) in [
            (None, "HTTP/1.1 200 Connection established\r\n\r\nSSH"),
            // tinyproxy's and old squids' version; RFC 9110 §9.3.6 ignores the length.
            (
                Some(basic),
                "HTTP/1.0 200 OK\r\nContent-Length: 9\r\n\r\nSSH",
            ),
        ] {
            let (asked, outcome) = ask(authorization, answer.as_bytes(), false).await;
            let agent = format!("User-Agent: {AGENT}\r\n");
            let first = format!("CONNECT {DESTINATION} HTTP/1.1\r\nHost: {DESTINATION}\r\n{agent}");
            assert!(asked.starts_with(&first), "{asked}");
            let with = asked.contains("Proxy-Authorization: Basic dTpw\r\n");
            assert_eq!(with, authorization.is_some(), "{asked}");
            let mut behind = [0; 3];
            outcome.unwrap().read_exact(&mut behind).await.unwrap();
            assert_eq!(&behind, b"SSH");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_goes_wrong_names_the_http_proxy_and_ends_by_the_deadline() {
        use super::super::asking::MAX_HEAD;
        let long = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(MAX_HEAD));
        let basic = Some("Basic dTpw");
        for (authorization, answer, closes, says) in [
            (None, "HTTP/1.1 407 No\r\n\r\n", false, "it wants a user"),
            (
                basic,
                "HTTP/1.1 407 No\r\n\r\n",
                true,
                "refused our user or password",
            ),
            (
                basic,
                "HTTP/1.0 403 No\r\n\r\n",
                true,
                "lets nobody through",
            ),
            (
                None,
                "HTTP/1.1 503 No\r\nContent-Length: 9\r\n\r\n",
                false,
                "503 Service",
            ),
            (
                None,
                "HTTP/1.1 302 Found\r\nLocation: http://x\r\n\r\n",
                true,
                "302 Found",
            ),
            (None, "", true, "closed the connection"),
            (None, "HTTP/1.1 200 Conn", true, "closed the connection"),
            (
                None,
                "SSH-2.0-OpenSSH_9.2\r\n",
                false,
                "does not speak HTTP/1",
            ),
            (
                None,
                "\u{15}\u{3}\u{1}\0\u{2}\u{2}\u{16}",
                false,
                "does not speak HTTP/1",
            ),
            (None, &*long, false, "does not speak HTTP/1"),
            (
                None,
                "",
                false,
                "no answer to CONNECT adit.example:443 in time",
            ),
            (None, "HTTP/1.1 200 OK\r\n", false, "no answer to CONNECT"),
        ] {
            let begun = Instant::now();
            let (_, outcome) = ask(authorization, answer.as_bytes(), closes).await;
            let error = outcome
                .err()
                .unwrap_or_else(|| panic!("{answer:?} is taken"));
            let by = "through the HTTP proxy squid:3128: ";
            assert!(error.starts_with(by) && error.contains(says), "{error}");
            assert!(begun.elapsed() <= Duration::from_secs(21), "{answer:?}");
        }
    }
}
