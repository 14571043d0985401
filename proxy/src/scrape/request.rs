//! The forms of a scrape, read into one: a target, a deadline, and a request fit for the tunnel.

use adit_common::deadline::{Deadline, SCRAPE_TIMEOUT_HEADER, TimeoutRules};
use adit_common::headers::strip_hop_by_hop;
use adit_common::target::{Scheme, Target};
use adit_common::tunnel::coalesce::Coalesced;
use http::header::{AUTHORIZATION, EXPECT, HOST};
use http::uri::{Authority, PathAndQuery};
use http::{HeaderMap, Method, Request, Uri, Version};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};

use super::reply::Refusal;
use crate::carrier::{RequestBody, Sending, Spoilt};
use crate::config::Config;

/// Where path-style scrapes are, below the route prefix.
pub(crate) const PATH_STYLE: &str = "/scrape/";

/// How a scrape was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `GET http://pi:9100/metrics`.
    Absolute,
    /// `GET /scrape/http/pi:9100/metrics`.
    Path,
    /// `CONNECT pi:9443`.
    Connect,
}

impl Form {
    /// The word in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Absolute => "absolute",
            Self::Path => "path",
            Self::Connect => "connect",
        }
    }
}

/// A scrape that can be routed.
#[derive(Debug)]
pub(crate) struct Scrape {
    /// Who is meant.
    pub(crate) target: Target,
    /// Until when an answer is of use.
    pub(crate) deadline: Deadline,
    /// How the scraper speaks: before HTTP/1.1 a body's end can be the connection's.
    pub(crate) version: Version,
    /// Whether the scraper's own body is what broke.
    pub(crate) spoilt: Spoilt,
    /// Method, absolute URI and the fields that pass.
    pub(crate) request: Request<RequestBody>,
}

/// All of a request that may be sent twice.
#[derive(Debug, Clone)]
pub(super) struct Spare {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
}

impl Spare {
    /// A copy, when a target may be asked again (RFC 9110 §9.2.1) and no body is on its way.
    pub(super) fn of(request: &Request<RequestBody>) -> Option<Self> {
        let bodiless = matches!(request.body(), Either::Left(_));
        (request.method().is_safe() && bodiless).then(|| Self {
            method: request.method().clone(),
            uri: request.uri().clone(),
            headers: request.headers().clone(),
        })
    }

    /// The same request.
    pub(super) fn request(&self) -> Request<RequestBody> {
        let mut request = Request::new(Either::Left(Full::default()));
        *request.version_mut() = Version::HTTP_2;
        *request.method_mut() = self.method.clone();
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Reads an absolute-form request (RFC 9112 §3.2.2).
pub(super) fn absolute(
    request: Request<Incoming>,
    rules: &TimeoutRules,
) -> Result<Scrape, Refusal> {
    let (uri, target) = absolute_form(request.uri())?;
    Ok(scrape(request, uri, target, rules))
}

/// Who is meant, and the URI that passes.
pub(crate) fn absolute_form(uri: &Uri) -> Result<(Uri, Target), Refusal> {
    let (Some(scheme), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
        return Err(bad("the request target has no host"));
    };
    let scheme = Scheme::parse(scheme)
        .ok_or_else(|| bad(&format!("scheme {scheme:?} is not http or https")))?;
    let target = target(authority, scheme)?;
    // PushProx' way to ask for TLS at the client.
    if let Some(query) = uri.query().and_then(without_scheme_parameter) {
        let path = uri.path();
        let rest = match query.is_empty() {
            true => path.to_owned(),
            false => format!("{path}?{query}"),
        };
        let rest = rest.parse().map_err(|_| bad("the query is malformed"))?;
        let target = match authority.port() {
            Some(_) => target,
            None => self::target(authority, Scheme::Https)?,
        };
        let uri = rebuild(Scheme::Https, authority.clone(), rest)?;
        return Ok((uri, target));
    }
    let uri = match uri.path_and_query() {
        // `http://pi:9100?x=1` has no path, and an origin-form request must have one.
        Some(rest) if !rest.as_str().starts_with('/') => {
            let rest = format!("/{}", rest.as_str()).parse();
            let rest = rest.map_err(|_| bad("the query is malformed"))?;
            rebuild(scheme, authority.clone(), rest)?
        }
        _ => uri.clone(),
    };
    Ok((uri, target))
}

/// Reads `{prefix}/scrape/{http|https}/{host:port}{path}?{query}`. Path and query behind the
/// target pass byte for byte.
pub(super) fn path_style(request: Request<Incoming>, config: &Config) -> Result<Scrape, Refusal> {
    let (uri, target) = path_form(request.uri(), &config.route_prefix)?;
    let mut scrape = scrape(request, uri, target, &config.timeouts);
    // In this form it is for whoever stands in front, or for us; a target's credentials are the
    // client's to add.
    scrape.request.headers_mut().remove(AUTHORIZATION);
    Ok(scrape)
}

/// Who is meant, and the URI that passes. Whoever calls has seen the prefix and [`PATH_STYLE`].
pub(crate) fn path_form(uri: &Uri, prefix: &str) -> Result<(Uri, Target), Refusal> {
    const EXPECTED: &str = "expected /scrape/{http|https}/HOST:PORT/PATH";
    let start = prefix.len() + PATH_STYLE.len();
    let rest = uri
        .path_and_query()
        .and_then(|text| text.as_str().get(start..))
        .ok_or_else(|| bad(EXPECTED))?;
    let (scheme, rest) = rest.split_once('/').ok_or_else(|| bad(EXPECTED))?;
    let scheme = Scheme::parse(scheme).ok_or_else(|| bad(EXPECTED))?;
    let end = rest.find(['/', '?']).unwrap_or(rest.len());
    let (written, rest) = rest.split_at(end);
    let authority: Authority = decode_brackets(written)
        .parse()
        .map_err(|_| bad(EXPECTED))?;
    let target = target(&authority, scheme)?;
    let rest: PathAndQuery = match rest.starts_with('/') {
        true => rest.parse(),
        false => format!("/{rest}").parse(),
    }
    .map_err(|_| bad(EXPECTED))?;
    if climbs(rest.path()) {
        return Err(bad("the path steps out of the target"));
    }
    Ok((rebuild(scheme, authority, rest)?, target))
}

/// Reads the target of a CONNECT (RFC 9110 §9.3.6): a port is a must.
pub(crate) fn connect(uri: &Uri) -> Result<Target, Refusal> {
    let authority = uri
        .authority()
        .filter(|_| uri.scheme().is_none())
        .ok_or_else(|| bad("expected CONNECT HOST:PORT"))?;
    Target::parse(authority.as_str(), None)
        .map_err(|error| bad(&format!("target {:?}: {error}", authority.as_str())))
}

fn target(authority: &Authority, scheme: Scheme) -> Result<Target, Refusal> {
    Target::parse(authority.as_str(), Some(scheme)).map_err(|error| {
        // Never the authority itself: it may hold a password.
        let host = authority.host();
        bad(&format!("target {host:?}: {error}"))
    })
}

fn rebuild(scheme: Scheme, authority: Authority, rest: PathAndQuery) -> Result<Uri, Refusal> {
    Uri::builder()
        .scheme(scheme.as_str())
        .authority(authority)
        .path_and_query(rest)
        .build()
        .map_err(|_| bad("the request target is malformed"))
}

fn scrape(request: Request<Incoming>, uri: Uri, target: Target, rules: &TimeoutRules) -> Scrape {
    let (mut head, body) = request.into_parts();
    let timeout = rules.timeout(head.headers.get(SCRAPE_TIMEOUT_HEADER));
    strip_hop_by_hop(&mut head.headers);
    // It travels as `:authority`.
    head.headers.remove(HOST);
    // Met here: hyper sends the 100 when the body is first wanted.
    head.headers.remove(EXPECT);
    head.uri = uri;
    let version = std::mem::replace(&mut head.version, Version::HTTP_2);
    // What an upgrade of this connection would need stays on this side.
    head.extensions = http::Extensions::new();
    let spoilt = Spoilt::default();
    Scrape {
        target,
        deadline: Deadline::after(timeout),
        version,
        request: Request::from_parts(head, request_body(body, spoilt.clone())),
        spoilt,
    }
}

fn request_body(body: Incoming, spoilt: Spoilt) -> RequestBody {
    if body.is_end_stream() {
        Either::Left(Full::default())
    } else {
        Either::Right(Coalesced::new(Sending::new(body, spoilt)))
    }
}

/// The query without `_scheme=https`, in its order; `None` when it has none.
fn without_scheme_parameter(query: &str) -> Option<String> {
    const PARAMETER: &str = "_scheme=https";
    if !query.split('&').any(|pair| pair == PARAMETER) {
        return None;
    }
    let rest: Vec<&str> = query.split('&').filter(|pair| *pair != PARAMETER).collect();
    Some(rest.join("&"))
}

/// Go, and fronts that normalise, write the brackets of an IPv6 address percent-encoded in a path.
fn decode_brackets(written: &str) -> String {
    let mut decoded = written.to_owned();
    for (encoded, plain) in [
        ("%5B", "["),
        ("%5b", "["),
        ("%5D", "]"),
        ("%5d", "]"),
        ("%3A", ":"),
        ("%3a", ":"),
    ] {
        if decoded.contains(encoded) {
            decoded = decoded.replace(encoded, plain);
        }
    }
    decoded
}

/// Whether it steps out of the target. A front proxy that resolves it has asked for the credentials of
/// another place than this: `/scrape/http/pi:9100/../../../tunnel`. To some a backslash is a slash, and
/// what follows a semicolon no part of the name: in no reading it may.
fn climbs(path: &str) -> bool {
    if !path.contains("..") && !path.contains("%2") {
        return false;
    }
    let mut path = path.to_ascii_lowercase();
    for (encoded, plain) in [("%2f", "/"), ("%2e", "."), ("%5c", "\\"), ("%3b", ";")] {
        path = path.replace(encoded, plain);
    }
    let readings = [(false, false), (false, true), (true, false), (true, true)];
    readings.into_iter().any(|(slashes, parameters)| {
        let segments = path.split(|c| c == '/' || (slashes && c == '\\'));
        let name = |segment: &'_ str| match parameters {
            true => segment.find(';').unwrap_or(segment.len()),
            false => segment.len(),
        };
        steps_out(segments.map(|segment| &segment[..name(segment)]))
    })
}

fn steps_out<'a>(mut segments: impl Iterator<Item = &'a str>) -> bool {
    let mut depth: usize = 0;
    segments.any(|segment| match segment {
        // To some, two slashes are one.
        "" | "." => false,
        ".." if depth == 0 => true,
        ".." => {
            depth -= 1;
            false
        }
        _ => {
            depth += 1;
            false
        }
    })
}

fn bad(why: &str) -> Refusal {
    Refusal::BadRequest(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_parameter_leaves_and_nothing_else_moves() {
        for (query, rest) in [
            ("_scheme=https", Some("")),
            ("b=2&_scheme=https&a=%2A", Some("b=2&a=%2A")),
            ("_scheme=http", None),
            ("a_scheme=https", None),
            ("_scheme=HTTPS", None),
            ("", None),
        ] {
            assert_eq!(without_scheme_parameter(query).as_deref(), rest, "{query}");
        }
    }

    #[test]
    fn connect_wants_a_port() {
        let read = |uri: &str| connect(&uri.parse().unwrap()).map(|t| t.to_string());
        assert_eq!(read("PI:9443").unwrap(), "pi:9443");
        assert_eq!(read("[FD00::1]:443").unwrap(), "[fd00::1]:443");
        for uri in ["pi", "u:p@pi:1", "pi:0", "/path"] {
            assert!(matches!(read(uri), Err(Refusal::BadRequest(_))), "{uri}");
        }
    }

    #[test]
    fn steps_out_of_a_target_are_found_however_they_are_written() {
        for path in [
            "/..",
            "/a/../..",
            "/a/%2e%2E/../b",
            "/.%2e/a",
            "/x%2F..%2F..%2Fb",
            "/a//../..",
            "/a/./../..",
            "/..\\x",
            "/a/..%5C..%5cx",
            "/..;x/y",
            "/a\\../..",
            "/..%3bx\\y",
        ] {
            assert!(climbs(path), "{path}");
        }
        for path in [
            "/",
            "/a..b/",
            "/.../",
            "/a/./b/../c",
            "/a%2f..",
            "/..a",
            "/%252e%252e/",
            "/a%2Fb",
            "/a;b/../c",
            "/a\\b",
        ] {
            assert!(!climbs(path), "{path}");
        }
    }

    #[test]
    fn brackets_of_a_path_are_read() {
        assert_eq!(decode_brackets("%5Bfd00::1%5D%3A9100"), "[fd00::1]:9100");
        assert_eq!(decode_brackets("pi:9100"), "pi:9100");
    }
}
