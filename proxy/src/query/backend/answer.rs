//! What passes of a backend's answer, whatever brought it.

use adit_common::headers::strip_hop_by_hop;
use http::{HeaderMap, Response, StatusCode, Version};

use super::Failure;
use crate::outbound::{MOST_FIELDS, MOST_HEAD, too_large};

/// The head as it may go on.
pub(super) fn passing<B>(mut answer: Response<B>) -> Result<Response<B>, Failure> {
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
        let words = "it wants to switch protocols, which nobody asked for";
        return Err(Failure::Reset(words.to_owned()));
    }
    // What is dialled is held to the same while it is read.
    let headers = answer.headers();
    if headers.len() > MOST_FIELDS || size(headers) > MOST_HEAD {
        return Err(Failure::Reset(too_large()));
    }
    strip_hop_by_hop(answer.headers_mut());
    // How the backend speaks to us is no business of whoever asks.
    *answer.version_mut() = Version::HTTP_11;
    Ok(answer)
}

/// In HTTP/1.
fn size(headers: &HeaderMap) -> usize {
    let field = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        name.as_str().len() + value.len() + ": \r\n".len()
    };
    headers.iter().map(field).sum()
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn fields_between_two_hops_and_ours_do_not_pass() {
        let answer = Response::builder()
            .version(Version::HTTP_10)
            .status(404)
            .header("connection", "x-hop")
            .header("x-hop", "1")
            .header("keep-alive", "timeout=5")
            .header("adit-fault", "busy")
            .header("content-length", "5")
            .header("set-cookie", "a=1")
            .header("set-cookie", "b=2")
            .body(())
            .unwrap();
        let answer = passing(answer).unwrap();
        assert_eq!(
            (answer.status().as_u16(), answer.version()),
            (404, Version::HTTP_11)
        );
        let mut names: Vec<&str> = answer
            .headers()
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        assert_eq!(names, ["content-length", "set-cookie", "set-cookie"]);
    }

    #[test]
    fn what_cannot_pass_is_no_answer() {
        let mut switching = Response::new(());
        *switching.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
        let mut many = Response::new(());
        for n in 0..=MOST_FIELDS {
            let name = HeaderName::try_from(format!("x-{n}")).unwrap();
            many.headers_mut()
                .insert(name, HeaderValue::from_static("1"));
        }
        let mut large = Response::new(());
        let value = HeaderValue::try_from("x".repeat(MOST_HEAD)).unwrap();
        large.headers_mut().insert("x-large", value);
        for answer in [switching, many, large] {
            let error = passing(answer).unwrap_err();
            assert!(matches!(error, Failure::Reset(_)), "{error}");
        }
    }
}
