//! What may be asked of a target: by which methods, below which paths, and whether as raw bytes.

use http::Method;

use crate::config::path::{Prefix, Segments};
use crate::config::{TargetConfig, UpstreamUrl};

/// What may be asked of one target. The default is what reads: GET, HEAD, and POST where
/// Prometheus' API takes a query that is too long for a URL.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    /// Nothing: those that read.
    methods: Option<Vec<Method>>,
    /// Nothing: every path.
    paths: Option<Vec<Prefix>>,
    /// Its URL has a path, which nothing may climb out of.
    confined: bool,
    /// Nothing: where nothing else is restricted.
    connect: Option<bool>,
    /// Nobody has named it: one port of all.
    unnamed: bool,
}

/// Prometheus' paths that only read, also by POST (its `web/api/v1/api.go`; `/federate` parses a
/// form, and remote read is a POST).
const READ_API: [&[&str]; 9] = [
    &["api", "v1", "query"],
    &["api", "v1", "query_range"],
    &["api", "v1", "query_exemplars"],
    &["api", "v1", "series"],
    &["api", "v1", "labels"],
    &["api", "v1", "format_query"],
    &["api", "v1", "parse_query"],
    &["api", "v1", "read"],
    &["federate"],
];

impl Rules {
    /// As a target's settings say.
    pub(crate) fn of(config: &TargetConfig) -> Self {
        let confined = match &config.url {
            Some(UpstreamUrl::Http { prefix, .. }) => !prefix.is_empty(),
            _ => false,
        };
        Self {
            methods: config.methods.clone(),
            paths: config.paths.clone(),
            confined,
            connect: config.connect,
            unnamed: false,
        }
    }

    /// For a port that nobody has named. What speaks no HTTP, a database or a shell, is nothing to be
    /// had by the way.
    pub(crate) fn any_port() -> Self {
        Self {
            unnamed: true,
            ..Self::default()
        }
    }

    /// Whether a request may be sent on; else why not, to follow the target's name.
    pub(crate) fn request(&self, method: &Method, path: &str) -> Result<(), String> {
        let not_offered = || Err(format!("method {method} is not offered"));
        let may_read = matches!(*method, Method::GET | Method::HEAD);
        match &self.methods {
            Some(methods) if !methods.contains(method) => return not_offered(),
            None if !may_read && *method != Method::POST => return not_offered(),
            _ => {}
        }
        let reads_only = self.methods.is_none() && !may_read;
        if self.paths.is_none() && !self.confined && !reads_only {
            return Ok(());
        }
        let segments = Segments::of(path)
            .map_err(|why| format!("path {} is not offered: it {why}", shown(path)))?;
        let below: Vec<&[String]> = match &self.paths {
            None => vec![segments.as_slice()],
            Some(paths) => {
                let below = paths.iter().filter_map(|prefix| segments.below(prefix));
                below.collect()
            }
        };
        if below.is_empty() {
            return Err(format!("path {} is not offered", shown(path)));
        }
        // Below a prefix that is offered as well as by itself: a Prometheus may have one, too.
        if reads_only && !reads(segments.as_slice()) && !below.into_iter().any(reads) {
            return Err(format!(
                "method {method} is not offered for path {}",
                shown(path)
            ));
        }
        Ok(())
    }

    /// Whether bytes may go both ways, which nobody can look into; else why not.
    pub(crate) fn connect(&self) -> Result<(), &'static str> {
        let restricted = self.methods.is_some() || self.paths.is_some() || self.confined;
        match self.connect {
            _ if self.unnamed => Err("CONNECT is offered for targets that are named: --target"),
            Some(true) => Ok(()),
            None if !restricted => Ok(()),
            Some(false) => Err("CONNECT is not offered"),
            None => Err("CONNECT is not offered where methods or paths are chosen"),
        }
    }
}

fn reads(segments: &[String]) -> bool {
    READ_API.iter().any(|path| segments == *path)
}

/// Enough of a path to know it by.
fn shown(path: &str) -> String {
    const MOST: usize = 100;
    match path.chars().nth(MOST) {
        None => path.to_owned(),
        Some(_) => path.chars().take(MOST).chain("...".chars()).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(methods: &[&str], paths: &[&str]) -> Rules {
        let methods: Vec<Method> = methods.iter().map(|m| m.parse().unwrap()).collect();
        let paths: Vec<Prefix> = paths.iter().map(|p| p.parse().unwrap()).collect();
        Rules {
            methods: (!methods.is_empty()).then_some(methods),
            paths: (!paths.is_empty()).then_some(paths),
            ..Rules::default()
        }
    }

    fn may(rules: &Rules, request: &str) -> bool {
        let (method, path) = request.split_once(' ').unwrap();
        rules.request(&method.parse().unwrap(), path).is_ok()
    }

    #[test]
    fn what_reads_is_offered_by_default_and_nothing_else() {
        let rules = Rules::default();
        for request in [
            "GET /metrics",
            "HEAD /metrics",
            "GET /any/../path%2f",
            "POST /api/v1/query",
            "POST /api/v1/query_range",
            "POST /api/v1/query_exemplars",
            "POST /api/v1/series",
            "POST /api/v1/labels",
            "POST /api/v1/format_query",
            "POST /api/v1/parse_query",
            "POST /api/v1/read",
            "POST /federate",
        ] {
            assert!(may(&rules, request), "{request}");
        }
        for request in [
            "POST /metrics",
            "POST /-/reload",
            "POST /-/quit",
            "POST /api/v1/write",
            "POST /api/v1/admin/tsdb/delete_series",
            "POST /api/v1/query/",
            "POST /api/v1/query/x",
            "POST /x/api/v1/query",
            "POST /-/quit/../../api/v1/query",
            "POST /-/quit/..%2f../api/v1/query",
            "POST /-/quit;/api/v1/query",
            "POST //api/v1/query",
            "PUT /api/v1/query",
            "DELETE /metrics",
            "OPTIONS /metrics",
            "TRACE /metrics",
            "PATCH /metrics",
            "get /metrics",
            "X-ODD /metrics",
        ] {
            assert!(!may(&rules, request), "{request}");
        }
    }

    #[test]
    fn methods_that_are_given_are_those() {
        let rules = rules(&["GET", "DELETE"], &[]);
        for request in ["GET /x", "DELETE /x", "DELETE /a/../b"] {
            assert!(may(&rules, request), "{request}");
        }
        for request in ["HEAD /x", "POST /api/v1/query", "delete /x"] {
            assert!(!may(&rules, request), "{request}");
        }
    }

    #[test]
    fn paths_that_are_given_are_those_and_below() {
        let rules = rules(&[], &["/metrics", "/prometheus/"]);
        for request in [
            "GET /metrics",
            "HEAD /metrics/node",
            "GET /prometheus/graph",
            "POST /prometheus/api/v1/query",
            "POST /prometheus/federate",
        ] {
            assert!(may(&rules, request), "{request}");
        }
        for request in [
            "GET /",
            "GET /debug",
            "GET /metrics/../debug",
            "GET /metrics/%2e%2e/debug",
            "GET /metrics\\..\\debug",
            "GET /metrics%2f..%2fdebug",
            "GET //metrics",
            "POST /metrics",
            "POST /api/v1/query",
            "POST /prometheus/x/api/v1/query",
            "DELETE /metrics",
        ] {
            assert!(!may(&rules, request), "{request}");
        }
        assert!(may(&self::rules(&["PUT"], &["/a"]), "PUT /a/b"));
        assert!(!may(&self::rules(&["PUT"], &["/a"]), "PUT /b"));
    }

    #[test]
    fn nothing_climbs_out_of_a_url_with_a_path() {
        let rules = Rules {
            confined: true,
            ..Rules::default()
        };
        for request in ["GET /metrics", "GET /", "POST /api/v1/query", "GET /a/./b"] {
            assert!(may(&rules, request), "{request}");
        }
        for request in ["GET /../admin", "GET /a/../../admin", "GET /%2e%2e/admin"] {
            assert!(!may(&rules, request), "{request}");
        }
        assert!(rules.connect().is_err());
    }

    #[test]
    fn bytes_pass_where_nothing_is_restricted_or_when_told() {
        let with = |rules: Rules, connect| Rules { connect, ..rules };
        let chosen = || rules(&["GET"], &[]);
        let below = || rules(&[], &["/metrics"]);
        for (rules, passes) in [
            (Rules::default(), true),
            (with(Rules::default(), Some(false)), false),
            (with(Rules::default(), Some(true)), true),
            (chosen(), false),
            (with(chosen(), Some(true)), true),
            (below(), false),
            (with(below(), Some(true)), true),
            (with(below(), Some(false)), false),
        ] {
            assert_eq!(rules.connect().is_ok(), passes, "{rules:?}");
        }
    }

    #[test]
    fn a_refusal_names_what_is_not_offered() {
        let says = |rules: &Rules, method: Method, path| rules.request(&method, path).unwrap_err();
        let default = Rules::default();
        let words = says(&default, Method::DELETE, "/metrics");
        assert_eq!(words, "method DELETE is not offered");
        let words = says(&default, Method::POST, "/-/reload");
        assert_eq!(words, "method POST is not offered for path /-/reload");
        let below = rules(&[], &["/metrics"]);
        let words = says(&below, Method::GET, "/debug");
        assert_eq!(words, "path /debug is not offered");
        let words = says(&below, Method::GET, "/metrics/../debug");
        assert_eq!(
            words,
            "path /metrics/../debug is not offered: it has a segment \"..\""
        );
        let long = says(&below, Method::GET, &"/x".repeat(5000));
        assert!(long.len() < 200, "{long}");
    }
}
