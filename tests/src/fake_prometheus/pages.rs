//! What the pages of a Prometheus say.

use serde_json::{Value, json};

use super::state::{Ready, State};

/// The field that every answer has, with the id of who gave it.
pub const SERVED_BY: &str = "X-Fake";

/// What the fake of this id answers to a query, to the byte.
pub fn result_of(id: &str) -> String {
    json!({"status": "success", "data": {"resultType": "scalar", "result": [0, id]}}).to_string()
}

pub(super) fn metrics(state: &State) -> String {
    let mut page = format!(
        "# HELP prometheus_build_info A metric with a constant '1' value.\n\
         # TYPE prometheus_build_info gauge\n\
         prometheus_build_info{{branch=\"HEAD\",version=\"{}\"}} 1\n\
         process_start_time_seconds {:e}\n",
        state.version, state.started
    );
    for (name, value) in [
        (
            "prometheus_tsdb_lowest_timestamp_seconds",
            state.lowest_timestamp,
        ),
        ("prometheus_tsdb_head_min_time_seconds", state.head_min),
        ("prometheus_tsdb_head_max_time_seconds", state.head_max),
        ("prometheus_tsdb_head_series", state.head_series),
        (
            "prometheus_local_storage_ingested_samples_total",
            state.ingested,
        ),
    ] {
        if let Some(value) = value {
            page += &format!("{name} {value:e}\n");
        }
    }
    for (kind, value) in &state.appended {
        let labels = match kind.is_empty() {
            true => String::new(),
            false => format!("{{type=\"{kind}\"}}"),
        };
        page += &format!("prometheus_tsdb_head_samples_appended_total{labels} {value:e}\n");
    }
    page + &state.more_metrics
}

/// Of a query that asks for `timestamp(up)`: age, targets, and its clock, as far as it knows.
pub(super) fn age(state: &State) -> Value {
    let now = state.now();
    let of = |what: &str, value: f64| json!({"metric": {"what": what}, "value": [now, value.to_string()]});
    let mut result = Vec::new();
    if let Some(age) = state.age {
        result.push(of("age", age));
    }
    if state.targets > 0 {
        result.push(of("targets", f64::from(state.targets)));
    }
    result.push(of("now", now));
    vector(&result)
}

/// Of `count(up)`.
pub(super) fn targets(state: &State) -> Value {
    let sample = json!({"metric": {}, "value": [state.now(), state.targets.to_string()]});
    match state.targets {
        0 => vector(&[]),
        _ => vector(&[sample]),
    }
}

fn vector(result: &[Value]) -> Value {
    success(&json!({"resultType": "vector", "result": result}))
}

pub(super) fn wal_replay(state: &State) -> Value {
    let (current, max) = match state.ready {
        Ready::Replaying(current, max) => (current, max),
        _ => (0, 0),
    };
    success(&json!({"min": 0, "max": max, "current": current}))
}

pub(super) fn build_info(state: &State) -> Value {
    success(
        &json!({"version": state.version, "revision": "x", "branch": "HEAD", "goVersion": "go1"}),
    )
}

pub(super) fn runtime_info(state: &State) -> Value {
    let since = std::time::Duration::from_secs_f64(state.started);
    let started = humantime::format_rfc3339_nanos(std::time::UNIX_EPOCH + since);
    success(&json!({"startTime": started.to_string(), "storageRetention": "15d"}))
}

pub(super) fn blocks(state: &State) -> Option<Value> {
    let blocks = state.blocks.as_ref()?.iter().enumerate();
    let blocks: Vec<Value> = blocks
        .map(|(n, block)| {
            json!({
                "ulid": format!("01J{n:023}"),
                "minTime": (block.from * 1000.0) as i64,
                "maxTime": (block.to * 1000.0) as i64,
                "stats": {"numSamples": block.samples, "numSeries": 1000, "numChunks": 1000},
                "version": 1,
            })
        })
        .collect();
    Some(success(&json!({"blocks": blocks})))
}

fn success(data: &Value) -> Value {
    json!({"status": "success", "data": data})
}
