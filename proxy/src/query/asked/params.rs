//! What a request says, in its URL and its form, as Prometheus would read it.
//!
//! Nothing is rewritten, and nothing is refused here: what makes no sense is no value, and the backend
//! says what is wrong with it.

use std::borrow::Cow;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderMap, Method};

use super::moment::{seconds, unix_time};

/// Most `match[]` that are looked at.
const MOST_MATCHERS: usize = 256;
/// As far as a request is read for its parameters, URL and form together. A query of that length was
/// written by a program, and is passed on without anybody having looked at it.
pub(super) const MOST_READ: usize = 256 << 10;

/// Of the parameters those that somebody here looks at.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Params {
    /// PromQL.
    pub(crate) query: Option<String>,
    /// `match[]`.
    pub(crate) matchers: Vec<String>,
    /// Unix seconds.
    pub(crate) time: Option<f64>,
    /// Unix seconds.
    pub(crate) start: Option<f64>,
    /// Unix seconds.
    pub(crate) end: Option<f64>,
    /// Seconds.
    pub(crate) step: Option<f64>,
    /// How long its evaluation may take.
    pub(crate) timeout: Option<Duration>,
}

impl Params {
    /// As Go's `Request.Form` has them: of a key's values the form's come before the URL's, and the
    /// first is the one that counts.
    pub(crate) fn read(query: Option<&str>, form: Option<&[u8]>) -> Self {
        let mut params = Self::default();
        let [mut time, mut start, mut end] = [None, None, None];
        let [mut step, mut timeout] = [None, None];
        let form = pairs(form.unwrap_or_default());
        for (key, value) in form.chain(pairs(query.unwrap_or_default().as_bytes())) {
            let slot = match &*key {
                "match[]" if params.matchers.len() < MOST_MATCHERS => {
                    params.matchers.push(value.into_owned());
                    continue;
                }
                "query" => &mut params.query,
                "time" => &mut time,
                "start" => &mut start,
                "end" => &mut end,
                "step" => &mut step,
                "timeout" => &mut timeout,
                _ => continue,
            };
            slot.get_or_insert_with(|| value.into_owned());
        }
        let at = |text: Option<String>| text.and_then(|text| unix_time(&text));
        params.time = at(time);
        params.start = at(start);
        params.end = at(end);
        params.step = step.and_then(|text| seconds(&text));
        let timeout = timeout.and_then(|text| seconds(&text));
        params.timeout = timeout.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        params
    }
}

/// The body of a request like this is a form. Go reads none where the type is missing.
pub(super) fn is_form(method: &Method, headers: &HeaderMap) -> bool {
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    let essence = kind.and_then(|kind| kind.split(';').next());
    method == Method::POST
        && essence.is_some_and(|essence| {
            essence
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        })
}

/// Keys and values, without those that Go leaves out: with a semicolon, or an escape that is none.
fn pairs(text: &[u8]) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    let pieces = text.split(|&byte| byte == b'&');
    let whole = |piece: &&[u8]| !piece.contains(&b';') && escapes_are_whole(piece);
    pieces.filter(whole).flat_map(form_urlencoded::parse)
}

fn escapes_are_whole(piece: &[u8]) -> bool {
    piece.split(|&byte| byte == b'%').skip(1).all(|rest| {
        rest.get(..2)
            .is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn of(query: &str, form: &str) -> Params {
        Params::read(Some(query), Some(form.as_bytes()))
    }

    #[test]
    fn a_form_comes_before_the_url_and_the_first_value_counts() {
        let params = of(
            "query=url&time=5&match[]=c&timeout=9",
            "query=form&query=later&match%5B%5D=a&match[]=b&end=7&step=15s",
        );
        let expected = Params {
            query: Some("form".to_owned()),
            matchers: vec!["a".to_owned(), "b".to_owned(), "c".to_owned()],
            time: Some(5.0),
            start: None,
            end: Some(7.0),
            step: Some(15.0),
            timeout: Some(Duration::from_secs(9)),
        };
        assert_eq!(params, expected);
        assert_eq!(Params::read(None, None), Params::default());
    }

    #[test]
    fn what_is_nonsense_is_no_value() {
        let params = of("time=soon&start=NaN&end=inf&step=-1&timeout=0&query=", "");
        let expected = Params {
            query: Some(String::new()),
            ..Params::default()
        };
        assert_eq!(params, expected);
        for timeout in ["-5", "NaN", "1e300", "5x", "", "0s", "-1m"] {
            assert_eq!(
                of(&format!("timeout={timeout}"), "").timeout,
                None,
                "{timeout}"
            );
        }
        // The first counts, also where it is worth nothing: so it does for Prometheus.
        assert_eq!(of("timeout=x&timeout=5", "").timeout, None);
    }

    #[test]
    fn pairs_that_go_leaves_out_are_left_out() {
        let params = of(
            "query=a%zz&query=b;time=4&query=c%4&query=d+e%2B",
            "time=1%",
        );
        assert_eq!(params.query.as_deref(), Some("d e+"));
        assert_eq!(params.time, None);
    }

    #[test]
    fn matchers_have_a_bound() {
        let many = "match[]=up&".repeat(2 * MOST_MATCHERS);
        assert_eq!(of(&many, &many).matchers.len(), MOST_MATCHERS);
    }

    #[test]
    fn a_form_is_known_by_its_type() {
        for (method, kind, form) in [
            ("POST", "application/x-www-form-urlencoded", true),
            (
                "POST",
                "Application/X-WWW-Form-URLEncoded; charset=UTF-8",
                true,
            ),
            (
                "POST",
                " application/x-www-form-urlencoded ;charset=x",
                true,
            ),
            ("POST", "application/x-www-form-urlencodedx", false),
            ("POST", "application/json", false),
            ("POST", "", false),
            ("GET", "application/x-www-form-urlencoded", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
            assert_eq!(
                is_form(&method.parse().unwrap(), &headers),
                form,
                "{method} {kind}"
            );
        }
        assert!(!is_form(&Method::POST, &HeaderMap::new()));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_read(query in ".*", form in proptest::collection::vec(any::<u8>(), 0..200)) {
            Params::read(Some(&query), Some(&form));
        }

        /// What is written as a form is read as it was, from wherever it stands.
        #[test]
        fn what_is_written_is_read(
            query in ".*",
            matchers in proptest::collection::vec(".*", 0..5),
            time in -1e10..1e10f64,
            step in 0.001..1e6f64,
            in_form in any::<bool>(),
        ) {
            let mut form = form_urlencoded::Serializer::new(String::new());
            form.append_pair("query", &query).append_pair("time", &time.to_string());
            form.append_pair("step", &step.to_string());
            for matcher in &matchers {
                form.append_pair("match[]", matcher);
            }
            let text = form.finish();
            let params = match in_form {
                true => Params::read(None, Some(text.as_bytes())),
                false => Params::read(Some(&text), None),
            };
            let expected = Params {
                query: Some(query),
                matchers,
                time: Some(time),
                step: Some(step),
                ..Params::default()
            };
            prop_assert_eq!(params, expected);
        }
    }
}
