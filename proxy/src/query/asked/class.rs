//! Every path of Prometheus' HTTP API, and what may be done with it.
//!
//! The table is Prometheus 3's, with what 1 and 2 had besides. What is refused by default is refused in
//! every spelling by which a server could take it: [`spelling`](super::spelling) has those.

use http::Method;

use super::spelling::segments;
use crate::config::query::Allow;
use crate::query::refusal::Refusal;

/// What kind of thing is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A read of the API.
    Read,
    /// `/api/v1/read`.
    RemoteRead,
    /// `/federate`.
    Federate,
    /// `/api/v1/notifications/live`: server-sent events.
    Stream,
    /// Pages and what belongs to them.
    Ui,
    /// Remote write, OTLP.
    Write,
    /// `/api/v1/admin/…`.
    Admin,
    /// `/-/reload`, `/-/quit`.
    Lifecycle,
    /// `/debug/…`.
    Debug,
    /// None of Prometheus'.
    Unknown,
}

/// What may be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Class {
    pub(crate) kind: Kind,
    /// It may be sent to another backend when one has failed.
    pub(crate) retry: bool,
    /// It may be sent to two.
    pub(crate) hedge: bool,
    /// The beginning of its answer may be held back.
    pub(crate) hold: bool,
    /// It has an end.
    pub(crate) deadline: bool,
}

/// A path of Prometheus'.
#[derive(Debug)]
struct Row {
    /// In lower case. `:` is any one segment, `*` at the end any number of them, or none.
    path: &'static str,
    methods: Methods,
    class: Class,
}

/// With which methods a path is asked for. A preflight (`OPTIONS`) changes nothing anywhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Methods {
    /// `HEAD` too: what a server has for one it has for the other, or says so itself.
    Get,
    /// The parameters in the URL or in a form.
    GetOrPost,
    Post,
    Delete,
    /// For what is refused: whatever the method. Passed on, the backend says which it wants.
    Any,
}

/// A read that goes to two backends when the first is slow.
const CHEAP: Class = Class {
    hedge: true,
    ..PLAIN
};
/// Any other read.
const PLAIN: Class = Class {
    kind: Kind::Read,
    retry: true,
    hedge: false,
    hold: true,
    deadline: true,
};
const REMOTE_READ: Class = Class {
    kind: Kind::RemoteRead,
    ..PLAIN
};
const FEDERATE: Class = Class {
    kind: Kind::Federate,
    ..PLAIN
};
const UI: Class = Class {
    kind: Kind::Ui,
    ..PLAIN
};
/// An event is passed on as it comes, as long as they come.
const STREAM: Class = Class {
    kind: Kind::Stream,
    hold: false,
    deadline: false,
    ..PLAIN
};
/// Nobody knows what it does: it goes out once, and what comes back goes through.
const UNKNOWN: Class = once(Kind::Unknown);
const WRITE: Class = once(Kind::Write);
const ADMIN: Class = once(Kind::Admin);
const LIFECYCLE: Class = once(Kind::Lifecycle);
const DEBUG: Class = once(Kind::Debug);

const TABLE: &[Row] = &[
    row("/api/v1/query", Methods::GetOrPost, CHEAP),
    row("/api/v1/query_range", Methods::GetOrPost, CHEAP),
    row("/api/v1/labels", Methods::GetOrPost, CHEAP),
    row("/api/v1/series", Methods::GetOrPost, CHEAP),
    // Prometheus 1 deletes by it.
    row("/api/v1/series", Methods::Delete, ADMIN),
    row("/api/v1/label/:/values", Methods::Get, CHEAP),
    row("/api/v1/query_exemplars", Methods::GetOrPost, PLAIN),
    row("/api/v1/format_query", Methods::GetOrPost, PLAIN),
    row("/api/v1/parse_query", Methods::GetOrPost, PLAIN),
    row("/api/v1/search/*", Methods::GetOrPost, PLAIN),
    row("/api/v1/metadata", Methods::Get, PLAIN),
    row("/api/v1/targets/*", Methods::Get, PLAIN),
    row("/api/v1/scrape_pools/*", Methods::Get, PLAIN),
    row("/api/v1/rules", Methods::Get, PLAIN),
    row("/api/v1/alerts", Methods::Get, PLAIN),
    row("/api/v1/alertmanagers", Methods::Get, PLAIN),
    row("/api/v1/status/*", Methods::Get, PLAIN),
    row("/api/v1/features", Methods::Get, PLAIN),
    row("/api/v1/notifications", Methods::Get, PLAIN),
    row("/api/v1/openapi.yaml", Methods::Get, PLAIN),
    row("/api/v1/notifications/live", Methods::Get, STREAM),
    row("/api/v1/read", Methods::Post, REMOTE_READ),
    row("/federate", Methods::Get, FEDERATE),
    row("/", Methods::Get, UI),
    row("/graph", Methods::Get, UI),
    row("/query", Methods::Get, UI),
    row("/agent", Methods::Get, UI),
    row("/alerts", Methods::Get, UI),
    row("/rules", Methods::Get, UI),
    row("/targets", Methods::Get, UI),
    row("/service-discovery", Methods::Get, UI),
    row("/alertmanager-discovery", Methods::Get, UI),
    row("/status", Methods::Get, UI),
    row("/tsdb-status", Methods::Get, UI),
    row("/flags", Methods::Get, UI),
    row("/config", Methods::Get, UI),
    row("/starting", Methods::Get, UI),
    row("/version", Methods::Get, UI),
    row("/assets/*", Methods::Get, UI),
    row("/static/*", Methods::Get, UI),
    row("/classic/*", Methods::Get, UI),
    row("/new/*", Methods::Get, UI),
    row("/consoles/*", Methods::Get, UI),
    row("/user/*", Methods::Get, UI),
    row("/manifest.json", Methods::Get, UI),
    row("/favicon.ico", Methods::Get, UI),
    row("/favicon.svg", Methods::Get, UI),
    row("/api/v1/write", Methods::Any, WRITE),
    row("/api/v1/otlp/*", Methods::Any, WRITE),
    // `v2` is what the first releases of Prometheus 2 had.
    row("/api/:/admin/*", Methods::Any, ADMIN),
    row("/-/reload", Methods::Any, LIFECYCLE),
    row("/-/quit", Methods::Any, LIFECYCLE),
    row("/debug/*", Methods::Any, DEBUG),
    // Prometheus 1.
    row("/heap", Methods::Any, DEBUG),
];

/// What may be done with it. `path` is below the pool's prefix, as it was sent.
///
/// # Errors
/// It is refused, or there is no such method for it, or nobody can say what path it is.
pub(crate) fn classify(method: &Method, path: &str, allow: &Allow) -> Result<Class, Refusal> {
    let segments = segments(path)?;
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let rows = || TABLE.iter().filter(|row| row.is_at(&segments));
    let class = match rows().find(|row| row.methods.have(method)) {
        Some(row) => row.class,
        None => match rows().next() {
            Some(row) => {
                return Err(Refusal::Method {
                    what: shown(path),
                    allowed: row.methods.as_str(),
                });
            }
            None => unlisted(method, &segments),
        },
    };
    match class.kind.denied_by(allow) {
        Some(key) => Err(Refusal::Denied {
            what: format!("{method} {}", shown(path)),
            key,
        }),
        None => Ok(class),
    }
}

/// A path that is not in the table; but below another it may be that of a server that has a prefix of
/// its own (`--web.route-prefix`), and is no less refused for it.
fn unlisted(method: &Method, segments: &[&str]) -> Class {
    let below = (1..segments.len()).map(|n| &segments[n..]);
    let refused = TABLE.iter().filter(|row| {
        let harmless = row.class.retry;
        !harmless && row.methods.have(method)
    });
    let mut refused = refused.filter(|row| below.clone().any(|path| row.is_at(path)));
    refused.next().map_or(UNKNOWN, |row| row.class)
}

/// As much of a path as anybody wants to read.
fn shown(path: &str) -> String {
    const MOST: usize = 200;
    match path.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &path[..end]),
        None => path.to_owned(),
    }
}

const fn row(path: &'static str, methods: Methods, class: Class) -> Row {
    Row {
        path,
        methods,
        class,
    }
}

const fn once(kind: Kind) -> Class {
    Class {
        kind,
        retry: false,
        hedge: false,
        hold: false,
        deadline: true,
    }
}

impl Kind {
    /// The word in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::RemoteRead => "remote_read",
            Self::Federate => "federate",
            Self::Stream => "stream",
            Self::Ui => "ui",
            Self::Write => "write",
            Self::Admin => "admin",
            Self::Lifecycle => "lifecycle",
            Self::Debug => "debug",
            Self::Unknown => "unknown",
        }
    }

    /// The key that is missing, if one is.
    fn denied_by(self, allow: &Allow) -> Option<&'static str> {
        let (allowed, key) = match self {
            Self::Read | Self::RemoteRead | Self::Federate | Self::Stream | Self::Ui => {
                return None;
            }
            Self::Write => (allow.write, "write"),
            Self::Admin => (allow.admin, "admin"),
            Self::Lifecycle => (allow.lifecycle, "lifecycle"),
            Self::Debug => (allow.debug, "debug"),
            Self::Unknown => (allow.unknown, "unknown"),
        };
        (!allowed).then_some(key)
    }
}

impl Row {
    fn is_at(&self, segments: &[&str]) -> bool {
        let mut segments = segments.iter();
        let pattern = self.path.split('/').filter(|part| !part.is_empty());
        for part in pattern {
            match (part, segments.next()) {
                ("*", _) => return true,
                (":", Some(_)) => {}
                (part, Some(segment)) if part == *segment => {}
                _ => return false,
            }
        }
        segments.next().is_none()
    }
}

impl Methods {
    fn have(self, method: &Method) -> bool {
        match self {
            Self::Get => [Method::GET, Method::HEAD, Method::OPTIONS].contains(method),
            Self::GetOrPost => Self::Get.have(method) || method == Method::POST,
            Self::Post => [Method::POST, Method::OPTIONS].contains(method),
            Self::Delete => method == Method::DELETE,
            Self::Any => true,
        }
    }

    /// For `Allow`.
    fn as_str(self) -> &'static str {
        match self {
            Self::Get | Self::Any => "GET, HEAD, OPTIONS",
            Self::GetOrPost => "GET, HEAD, POST, OPTIONS",
            Self::Post => "POST, OPTIONS",
            Self::Delete => "DELETE",
        }
    }
}

#[cfg(test)]
#[path = "class_tests.rs"]
mod tests;
