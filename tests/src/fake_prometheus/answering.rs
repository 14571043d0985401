//! What a fake Prometheus does with a request.

use super::fixed::{Ending, Fixed};
use super::journal::Seen;
use super::pages::{self, result_of};
use super::state::{Hangs, Ready, State};
use crate::target::{Request, Step};

/// What is answered although it is not ready.
const UNGATED: [&str; 3] = ["/-/healthy", "/metrics", "/api/v1/status/walreplay"];
const EVENTS: &str = "/api/v1/notifications/live";

pub(super) fn steps(state: &mut State, request: &Request) -> Vec<Step> {
    let seen = Seen::new(request);
    let head_only = seen.method() == "HEAD";
    let id = state.id.clone();
    let delay = match seen.is_probe() {
        true => state.probe_delay,
        false => state.delay,
    };
    let mut answer = answer(state, &seen);
    if !delay.is_zero() {
        answer = answer.after(delay);
    }
    answer.steps(&id, head_only)
}

fn answer(state: &mut State, seen: &Seen<'_>) -> Fixed {
    let queries = seen.path().ends_with("/api/v1/query") || seen.path().ends_with("/query_range");
    if state.hangs == Hangs::Always || (state.hangs == Hangs::OnQueries && queries) {
        return Fixed::nothing(Ending::Stall);
    }
    let Some(path) = seen.path().strip_prefix(&state.prefix) else {
        return Fixed::text(404, "404 page not found\n");
    };
    if let Some(wanted) = &state.authorization
        && seen.field("authorization").as_ref() != Some(wanted)
    {
        return Fixed::text(401, "Unauthorized\n").field("WWW-Authenticate", "Basic");
    }
    if let Some(set) = state.set_for(path, seen) {
        return set;
    }
    if state.ready != Ready::Yes && !UNGATED.contains(&path) {
        return not_ready(state.ready);
    }
    page(state, path, seen)
}

fn not_ready(ready: Ready) -> Fixed {
    let answer = Fixed::text(503, "Service Unavailable\n");
    match ready {
        Ready::Replaying(..) => answer.field("X-Prometheus-Stopping", "false"),
        Ready::Stopping => answer.field("X-Prometheus-Stopping", "true"),
        Ready::Yes | Ready::No => answer,
    }
}

fn page(state: &State, path: &str, seen: &Seen<'_>) -> Fixed {
    let json = |body| Fixed::json(200, &body);
    match path {
        "/-/ready" if !state.first => Fixed::text(200, "Prometheus Server is Ready.\n"),
        "/-/healthy" if !state.first => Fixed::text(200, "Prometheus Server is Healthy.\n"),
        "/-/ready" | "/-/healthy" => Fixed::text(404, "404 page not found\n"),
        "/metrics" => Fixed::status(200)
            .field("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            .body(pages::metrics(state)),
        "/api/v1/status/walreplay" => json(pages::wal_replay(state)),
        "/api/v1/status/buildinfo" => json(pages::build_info(state)),
        "/api/v1/status/runtimeinfo" if !state.first => json(pages::runtime_info(state)),
        "/api/v1/status/tsdb/blocks" => match pages::blocks(state) {
            Some(blocks) => json(blocks),
            None => Fixed::text(404, "404 page not found\n"),
        },
        "/api/v1/query" | "/api/v1/query_range" => query(state, seen),
        EVENTS => Fixed::status(200)
            .field("Content-Type", "text/event-stream")
            .field("Cache-Control", "no-cache")
            .fed(&state.live),
        _ => recognisable(state),
    }
}

fn query(state: &State, seen: &Seen<'_>) -> Fixed {
    if state.first && seen.method() == "POST" {
        return Fixed::text(405, "Method Not Allowed\n").field("Allow", "GET, OPTIONS");
    }
    let query = seen.parameter("query").unwrap_or_default();
    match &state.probe_answer {
        _ if !query.contains("timestamp(up)") => match seen.is_probe() && query == "count(up)" {
            true => Fixed::json(200, &pages::targets(state)),
            false => recognisable(state),
        },
        _ if state.first => {
            let words = "parse error at char 20: unknown function with name \"timestamp\"";
            Fixed::error(400, "bad_data", words)
        }
        Some(answer) => Fixed::json(200, &(answer.0)(&query)),
        None => Fixed::json(200, &pages::age(state)),
    }
}

fn recognisable(state: &State) -> Fixed {
    Fixed::status(200)
        .field("Content-Type", "application/json")
        .body(result_of(&state.id))
}
