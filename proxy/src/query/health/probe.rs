//! One probe: is it ready, does it answer a query, how old is what it has, and when was it started.

use std::time::{Duration, SystemTime};

use http::StatusCode;
use tokio::time::Instant;

use super::ask::{Said, ask, get, post};
use super::words::unix;
use crate::config::query::Health;
use crate::query::backend::{Backend, Failure, Question};
use crate::query::standing::{Answer, Probed};

/// Age of the newest scrape, number of targets, and the server's clock, in one round trip. Without a
/// time it is evaluated at the server's own. `label_replace` with an empty source sets a label.
const QUERY: &str = concat!(
    r#"label_replace(time() - max(timestamp(up)), "what", "age", "", "")"#,
    r#" or label_replace(count(up), "what", "targets", "", "")"#,
    r#" or label_replace(vector(time()), "what", "now", "", "")"#,
);
/// For servers that know no `timestamp`: Prometheus 1.
const PLAIN: &str = "count(up)";
/// Since Prometheus 3.0.
const STOPPING: &str = "x-prometheus-stopping";
/// The longest answer to a probe's requests.
const MOST: usize = 64 << 10;
/// How long it is remembered that a server does not have something: it may be another version then.
pub(super) const REMEMBERED: Duration = Duration::from_secs(3600);

/// What one server does not understand, found out once.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    /// It takes no POST.
    by_get: bool,
    /// It takes only [`PLAIN`].
    plain: bool,
    /// It has no `runtimeinfo`, as of then.
    no_start: Option<Instant>,
}

/// Probes it once, within `rules.timeout`; with `start`, asks when it was started.
pub(crate) async fn probe_once(backend: &Backend, habits: &mut Habits, start: bool) -> Probed {
    let rules = &backend.rules;
    let deadline = Instant::now() + rules.timeout;
    if !backend.is_linked() {
        return Probed::Unlinked("there is no tunnel to it".to_owned());
    }
    let asked = !rules.ready_path.is_empty();
    if asked && let Some(outcome) = unready(backend, rules, deadline).await {
        return outcome;
    }
    let mut answer = match query(backend, rules, habits, deadline).await {
        Ok(answer) => answer,
        // Nothing was seen of it: it does not even accept, or its first request is not answered.
        Err(Probed::Mute(why)) if !asked => return Probed::Failed(why),
        Err(outcome) => return outcome,
    };
    if start {
        answer.started = started(backend, habits, deadline).await;
    }
    Probed::Ready(answer)
}

/// What is the matter, unless it is ready or does not say.
async fn unready(backend: &Backend, rules: &Health, deadline: Instant) -> Option<Probed> {
    let path = &rules.ready_path;
    let said = match ask(backend, get(path), MOST, deadline).await {
        Ok(said) => said,
        // It has no such page for us: then queries tell.
        Err(Failure::Unaskable(_)) => return None,
        Err(failure) => return Some(out_of_reach(backend, failure).unwrap_or_else(Probed::Failed)),
    };
    match said.status {
        status if status.is_success() => None,
        // It has no such page: then queries tell.
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
            None
        }
        StatusCode::SERVICE_UNAVAILABLE => Some(not_ready(backend, &said, deadline).await),
        _ => Some(Probed::Failed(format!("{path}: {}", said.reason()))),
    }
}

async fn not_ready(backend: &Backend, said: &Said, deadline: Instant) -> Probed {
    if said
        .headers
        .get(STOPPING)
        .is_some_and(|told| told == "true")
    {
        return Probed::Stopping;
    }
    let replay = ask(backend, get("/api/v1/status/walreplay"), MOST, deadline).await;
    Probed::NotReady(replay.ok().and_then(|said| said.replay()))
}

/// Asks a query; what is the matter otherwise.
async fn query(
    backend: &Backend,
    rules: &Health,
    habits: &mut Habits,
    deadline: Instant,
) -> Result<Answer, Probed> {
    loop {
        let (began, ours) = (Instant::now(), unix(SystemTime::now()));
        let question = question(rules, habits, deadline);
        let said = match ask(backend, question, MOST, deadline).await {
            Ok(said) => said,
            Err(Failure::Connect(why) | Failure::Tls(why) | Failure::Unaskable(why)) => {
                return Err(Probed::Failed(why));
            }
            Err(failure) => {
                return Err(out_of_reach(backend, failure)
                    .unwrap_or_else(|why| Probed::Mute(format!("a query: {why}"))));
            }
        };
        let took = began.elapsed();
        match said.status {
            StatusCode::OK => return answer(&said, rules, habits, ours, took),
            StatusCode::METHOD_NOT_ALLOWED if !habits.by_get => habits.by_get = true,
            StatusCode::BAD_REQUEST if rules.query.is_none() && !habits.plain => {
                habits.plain = true;
            }
            _ if is_not_ready(&said) => return Err(not_ready(backend, &said, deadline).await),
            _ => return Err(Probed::Mute(format!("a query: {}", said.reason()))),
        }
    }
}

fn question(rules: &Health, habits: &Habits, deadline: Instant) -> Question {
    const PATH: &str = "/api/v1/query";
    let query = match &rules.query {
        Some(query) => query,
        None if habits.plain => PLAIN,
        None => QUERY,
    };
    // It need not go on when we do not wait for it any more.
    let left = deadline.saturating_duration_since(Instant::now());
    let timeout = format!("{}ms", left.as_millis().max(1));
    let form = form_urlencoded::Serializer::new(String::new())
        .append_pair("query", query)
        .append_pair("timeout", &timeout)
        .finish();
    match habits.by_get {
        true => get(&format!("{PATH}?{form}")),
        false => post(PATH, form),
    }
}

fn answer(
    said: &Said,
    rules: &Health,
    habits: &Habits,
    ours: f64,
    took: Duration,
) -> Result<Answer, Probed> {
    let Some(values) = said.values() else {
        return Err(Probed::Mute(
            "a query: no answer that Prometheus gives".to_owned(),
        ));
    };
    let now = values.now.or(values.at);
    let tells = rules.query.is_none() && !habits.plain;
    Ok(Answer {
        now,
        age: values.age.filter(|_| tells),
        // Without any target there is nothing to count.
        targets: tells.then(|| values.targets.unwrap_or(0.0)),
        started: None,
        clock_skew: now.map(|theirs| theirs - (ours + took.as_secs_f64() / 2.0)),
        took,
    })
}

/// 500 `unavailable` is a storage that is not open yet; 503 without JSON, the gate before the API.
fn is_not_ready(said: &Said) -> bool {
    let kind = said.error_type();
    match said.status {
        StatusCode::SERVICE_UNAVAILABLE => {
            kind == "unavailable" || kind.is_empty() || said.headers.contains_key(STOPPING)
        }
        StatusCode::INTERNAL_SERVER_ERROR => kind == "unavailable",
        _ => false,
    }
}

/// When it was started; nothing where it does not tell.
pub(super) async fn started(
    backend: &Backend,
    habits: &mut Habits,
    deadline: Instant,
) -> Option<f64> {
    if habits.no_start.is_some_and(|at| at.elapsed() < REMEMBERED) {
        return None;
    }
    let said = ask(backend, get("/api/v1/status/runtimeinfo"), MOST, deadline).await;
    let said = said.ok()?;
    let refused = said.status.is_client_error();
    habits.no_start = refused.then(Instant::now);
    said.started()
}

/// What is no word of the server's; its words otherwise.
fn out_of_reach(backend: &Backend, failure: Failure) -> Result<Probed, String> {
    match failure {
        Failure::TunnelLost(why) if !backend.is_linked() => Ok(Probed::Unlinked(why)),
        // By another session than the one that was lost.
        Failure::TunnelLost(why) => {
            backend.probe_now();
            Err(why)
        }
        Failure::Busy(_) => Ok(Probed::Unasked),
        failure => Err(failure.to_string()),
    }
}
