//! An API server that has what it is given, in lists and watches as Kubernetes' own (1.20 and later):
//! resource versions, pages, bookmarks, 410 in both its forms, RBAC's 403 and what older ones lack.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Either;
use http_body_util::channel::{Channel, Sender};
use rustls::ServerConfig;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

pub use super::objects::{endpoints, pod, slice};
use super::selector::{is_selected, pairs};
use super::serving::{Asked, Body, Record, Serving, json as answer, serve, whole};

/// Slices of the namespace `monitoring`.
pub const SLICES: &str = "/apis/discovery.k8s.io/v1/namespaces/monitoring/endpointslices";
/// The same in servers before 1.25.
pub const BETA_SLICES: &str = "/apis/discovery.k8s.io/v1beta1/namespaces/monitoring/endpointslices";
/// Its endpoints.
pub const ENDPOINTS: &str = "/api/v1/namespaces/monitoring/endpoints";
/// Its pods.
pub const PODS: &str = "/api/v1/namespaces/monitoring/pods";

/// An API server. Dropping it cuts its connections.
#[derive(Debug)]
pub struct FakeKubernetes {
    serving: Serving,
    scheme: &'static str,
    shared: Shared,
    record: Record,
}

/// How watches end that are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// As after `timeoutSeconds`.
    Clean,
    /// In the middle of a line.
    Cut,
    /// With an error, 410, in a line; and what was before is forgotten.
    Expired,
    /// With an error, 500, in a line.
    Error,
}

#[derive(Debug, Clone)]
struct Shared {
    state: Arc<Mutex<State>>,
    /// Counts changes.
    tick: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    version: u64,
    /// Watches from before are told 410.
    oldest: u64,
    /// By an HTTP status, not in a line.
    gone_by_status: bool,
    objects: BTreeMap<(String, String), Value>,
    history: Vec<(u64, String, Value)>,
    absent: BTreeSet<String>,
    forbidden: BTreeSet<String>,
    token: Option<String>,
    page: Option<usize>,
    is_silent: bool,
    ends: Vec<End>,
}

impl FakeKubernetes {
    /// On the loopback, with nothing in it and every kind served.
    pub async fn start(tls: Option<Arc<ServerConfig>>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Shared {
            state: Arc::new(Mutex::new(State {
                version: 100,
                ..State::default()
            })),
            tick: watch::Sender::new(0),
        };
        let record = Record::new();
        let asking = shared.clone();
        let serving = serve(tls, record.clone(), move |asked| {
            let shared = asking.clone();
            async move { shared.answer(&asked) }
        });
        Self {
            serving: serving.await,
            scheme,
            shared,
            record,
        }
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.serving.address.port()
    }

    /// A kubeconfig that leads here, as this user (`{token: …}`), with this said of the cluster
    /// (`certificate-authority: …`).
    pub fn kubeconfig(&self, cluster: &str, user: &str) -> String {
        let (scheme, port) = (self.scheme, self.port());
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: x\ncontexts:\n\
             - {{name: x, context: {{cluster: x, user: x}}}}\nclusters:\n\
             - {{name: x, cluster: {{server: \"{scheme}://127.0.0.1:{port}\", {cluster}}}}}\n\
             users:\n- {{name: x, user: {user}}}\n"
        )
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.shared.state());
        self.shared.tick.send_modify(|tick| *tick += 1);
    }

    /// Adds an object to a collection ([`SLICES`]…), or replaces the one of its name.
    pub fn put(&self, collection: &str, mut object: Value) {
        self.change(|state| {
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            let name = object["metadata"]["name"].as_str().expect("a name");
            let key = (collection.to_owned(), name.to_owned());
            let before = state.objects.insert(key, object.clone());
            let kind = if before.is_some() {
                "MODIFIED"
            } else {
                "ADDED"
            };
            state.happened(collection, kind, object);
        });
    }

    /// Takes one out.
    ///
    /// # Panics
    /// When there is none.
    pub fn delete(&self, collection: &str, name: &str) {
        self.change(|state| {
            let key = (collection.to_owned(), name.to_owned());
            let mut object = state.objects.remove(&key).expect("it is there");
            state.version += 1;
            object["metadata"]["resourceVersion"] = state.version.to_string().into();
            state.happened(collection, "DELETED", object);
        });
    }

    /// Something happens elsewhere in the cluster, and watches of this collection are told so;
    /// gives the version.
    pub fn bookmark(&self, collection: &str) -> String {
        self.change(|state| {
            state.version += 10;
            let version = state.version.to_string();
            let metadata = json!({"resourceVersion": version, "creationTimestamp": null});
            let object = json!({"metadata": metadata, "endpoints": null, "ports": null});
            state.happened(collection, "BOOKMARK", object);
        });
        self.shared.state().version.to_string()
    }

    /// What happened so far is forgotten; who has an older version is told 410, by a status or in a
    /// line.
    pub fn forget(&self, by_status: bool) {
        self.change(|state| {
            state.version += 1;
            state.oldest = state.version;
            state.gone_by_status = by_status;
        });
    }

    /// Ends the watches that are open.
    pub fn end(&self, end: End) {
        if end == End::Expired {
            self.forget(false);
        }
        self.change(|state| state.ends.push(end));
    }

    /// Watches say nothing any more, and do not end.
    pub fn fall_silent(&self, silent: bool) {
        self.change(|state| state.is_silent = silent);
    }

    /// This collection is none of this version's.
    pub fn lack(&self, collection: &str) {
        self.change(|state| {
            state.absent.insert(collection.to_owned());
        });
    }

    /// Nobody may see this collection.
    pub fn forbid(&self, collection: &str) {
        self.change(|state| {
            state.forbidden.insert(collection.to_owned());
        });
    }

    /// It may be seen again.
    pub fn permit(&self, collection: &str) {
        self.change(|state| {
            state.forbidden.remove(collection);
        });
    }

    /// Only who shows this token is let in.
    pub fn demand(&self, token: &str) {
        self.change(|state| state.token = Some(token.to_owned()));
    }

    /// Pages have so many objects at most.
    pub fn page(&self, objects: usize) {
        self.change(|state| state.page = Some(objects));
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.record.all()
    }

    /// Waits until it was asked what `enough` wants.
    ///
    /// # Panics
    /// When it was not for long.
    pub async fn until(&self, what: &str, enough: impl Fn(&[Asked]) -> bool) {
        self.record.until(what, enough).await;
    }
}

impl State {
    fn happened(&mut self, collection: &str, kind: &str, object: Value) {
        let line = json!({"type": kind, "object": object});
        self.history
            .push((self.version, collection.to_owned(), line));
    }

    fn denied(&self, asked: &Asked) -> Option<Response<Body>> {
        if let Some(token) = &self.token
            && asked.authorization() != format!("Bearer {token}")
        {
            return Some(status(401, "Unauthorized", "Unauthorized"));
        }
        if self.forbidden.contains(&asked.path) {
            let (group, plural) = match &*asked.path {
                SLICES | BETA_SLICES => ("discovery.k8s.io", "endpointslices"),
                ENDPOINTS => ("", "endpoints"),
                _ => ("", "pods"),
            };
            let dot = if group.is_empty() { "" } else { "." };
            let message = format!(
                "{plural}{dot}{group} is forbidden: User \"system:serviceaccount:monitoring:adit\" cannot \
                 list resource \"{plural}\" in API group \"{group}\" in the namespace \"monitoring\""
            );
            return Some(status(403, "Forbidden", &message));
        }
        let known = [SLICES, BETA_SLICES, ENDPOINTS, PODS].contains(&&*asked.path);
        if !known || self.absent.contains(&asked.path) {
            let text = "404 page not found\n".to_owned();
            return Some(whole(StatusCode::NOT_FOUND, "text/plain", text));
        }
        None
    }

    fn list(&self, asked: &Asked, query: &HashMap<String, String>) -> Response<Body> {
        let all = self.objects.iter();
        let all = all.filter(|((collection, _), _)| *collection == asked.path);
        let all: Vec<_> = all
            .map(|(_, object)| object)
            .filter(|object| is_selected(object, query))
            .collect();
        let from: usize = query
            .get("continue")
            .map_or(0, |from| from.parse().expect("a token of ours"));
        let limit = query
            .get("limit")
            .map_or(usize::MAX, |limit| limit.parse().expect("a number"));
        let until = from.saturating_add(limit.min(self.page.unwrap_or(usize::MAX)));
        let items: Vec<_> = all.iter().skip(from).take(until - from).collect();
        let mut metadata = json!({"resourceVersion": self.version.to_string()});
        if until < all.len() {
            metadata["continue"] = until.to_string().into();
            metadata["remainingItemCount"] = (all.len() - until).into();
        }
        // As Go writes a list without anything in it.
        let items = if items.is_empty() {
            Value::Null
        } else {
            json!(items)
        };
        answer(
            StatusCode::OK,
            &json!({"kind": "List", "apiVersion": "v1", "metadata": metadata, "items": items}),
        )
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    fn answer(&self, asked: &Asked) -> Response<Body> {
        let query = pairs(&asked.query);
        let state = self.state();
        if let Some(denied) = state.denied(asked) {
            return denied;
        }
        if query.get("watch").map(String::as_str) != Some("true") {
            return state.list(asked, &query);
        }
        let from: u64 = query["resourceVersion"].parse().expect("a version of ours");
        let is_gone = from < state.oldest;
        if is_gone && state.gone_by_status {
            return status(410, "Expired", &too_old(from, state.oldest));
        }
        let seconds = query["timeoutSeconds"].parse().expect("seconds");
        let (sender, body) = Channel::new(16);
        let watching = Watching {
            shared: self.clone(),
            sender,
            collection: asked.path.clone(),
            query,
            from,
            is_gone,
            ends: state.ends.len(),
            until: Instant::now() + Duration::from_secs(seconds),
        };
        drop(state);
        tokio::spawn(watching.run());
        Response::new(Either::Right(body))
    }
}

/// A watch that is open.
struct Watching {
    shared: Shared,
    sender: Sender<Bytes, std::io::Error>,
    collection: String,
    query: HashMap<String, String>,
    from: u64,
    is_gone: bool,
    ends: usize,
    until: Instant,
}

impl Watching {
    async fn run(mut self) {
        let mut ticks = self.shared.tick.subscribe();
        loop {
            ticks.mark_unchanged();
            let (lines, is_silent, end) = self.news();
            if !is_silent {
                for line in lines {
                    let text = format!("{line}\n");
                    if self.sender.send_data(text.into()).await.is_err() {
                        return;
                    }
                }
                match end {
                    None => {}
                    Some(End::Cut) => {
                        let half = Bytes::from_static(b"{\"type\":\"ADDED\",\"obj");
                        if self.sender.send_data(half).await.is_ok() {
                            self.sender.abort(std::io::ErrorKind::Other.into());
                        }
                        return;
                    }
                    Some(_) => return,
                }
            }
            tokio::select! {
                changed = ticks.changed() => if changed.is_err() { return },
                () = sleep_until(self.until), if !is_silent => return,
            }
        }
    }

    /// Lines that were not said yet, whether to say them, and whether it is the end.
    fn news(&mut self) -> (Vec<Value>, bool, Option<End>) {
        let state = self.shared.state();
        let mut lines = Vec::new();
        let mut end = state.ends.get(self.ends).copied();
        if self.is_gone {
            end = Some(End::Expired);
        } else if !state.is_silent {
            for (version, collection, line) in &state.history {
                let is_new = *version > self.from && *collection == self.collection;
                let is_bookmark = line["type"] == "BOOKMARK";
                if is_new && (is_bookmark || is_selected(&line["object"], &self.query)) {
                    lines.push(line.clone());
                }
            }
            self.from = state.version;
        }
        let error = match end {
            Some(End::Expired) => Some((410, "Expired", too_old(self.from, state.oldest))),
            Some(End::Error) => Some((500, "InternalError", "etcd is away".to_owned())),
            _ => None,
        };
        if let Some((code, reason, message)) = error {
            lines.push(json!({"type": "ERROR", "object": status_of(code, reason, &message)}));
        }
        (lines, state.is_silent, end)
    }
}

fn too_old(version: u64, oldest: u64) -> String {
    format!("too old resource version: {version} ({oldest})")
}

fn status_of(code: u16, reason: &str, message: &str) -> Value {
    json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
           "message": message, "reason": reason, "code": code})
}

fn status(code: u16, reason: &str, message: &str) -> Response<Body> {
    let number = StatusCode::from_u16(code).expect("a status");
    answer(number, &status_of(code, reason, message))
}
