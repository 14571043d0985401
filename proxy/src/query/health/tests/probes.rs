use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::lab::{Reply, Script, Server, Watched, backend, rules, says, started, values};
use crate::config::query::Health;
use crate::query::backend::Failure;
use crate::query::health::{Habits, probe_once};
use crate::query::standing::{Probed, State, Tier};

/// One probe of a server with this script.
async fn found(script: Script, rules: Health) -> (Probed, Server) {
    let server = Server::start(script).await;
    let backend = backend(server.address, rules, &Arc::default());
    let found = probe_once(&backend, &mut Habits::default(), true).await;
    (found, server)
}

#[tokio::test]
async fn a_probe_asks_whether_it_is_ready_and_what_it_has_and_when_it_was_started() {
    let (Probed::Ready(answer), server) = found(Script::default(), rules()).await else {
        panic!("not ready");
    };
    assert_eq!((answer.age, answer.targets), (Some(2.0), Some(10.0)));
    assert!(answer.clock_skew.unwrap().abs() < 10.0, "{answer:?}");
    let uptime = answer.now.unwrap() - answer.started.unwrap();
    assert!((99_000.0..101_000.0).contains(&uptime), "{uptime}");

    let seen = server.seen.borrow().clone();
    let paths: Vec<String> = seen
        .iter()
        .map(|seen| format!("{} {}", seen.method, seen.path))
        .collect();
    assert_eq!(
        paths,
        [
            "GET /-/ready",
            "POST /api/v1/query",
            "GET /api/v1/status/runtimeinfo"
        ]
    );
    assert!(seen.iter().all(|seen| seen.agent == "adit-probe"));
    let form: Vec<(String, String)> = form_urlencoded::parse(seen[1].body.as_bytes())
        .into_owned()
        .collect();
    assert!(
        form[0].1.contains("time() - max(timestamp(up))"),
        "{form:?}"
    );
    let timeout = form[1]
        .1
        .strip_suffix("ms")
        .unwrap()
        .parse::<u64>()
        .unwrap();
    assert!(
        form[1].0 == "timeout" && (1..=10_000).contains(&timeout),
        "{form:?}"
    );
    // `time` would be ours, not the server's.
    assert_eq!(form.len(), 2);
}

#[tokio::test]
async fn what_is_answered_and_what_follows() {
    let stopping: &[(&str, &str)] = &[("X-Prometheus-Stopping", "true")];
    let starting: &[(&str, &str)] = &[("X-Prometheus-Stopping", "false")];
    let gate = |headers| Reply::Says(503, headers, "Service Unavailable".to_owned());
    let json = |kind: &str, error: &str| {
        serde_json::json!({"status": "error", "errorType": kind, "error": error}).to_string()
    };
    let ready = |ready| Script {
        ready,
        ..Script::default()
    };
    let query = |query| Script {
        query,
        ..Script::default()
    };
    let mute = |why: &str| Probed::Mute(format!("a query: {why}"));
    let replay = |current| {
        let data =
            format!(r#"{{"status":"success","data":{{"min":5,"max":15,"current":{current}}}}}"#);
        Script {
            replay: says(200, &data),
            ..ready(gate(starting))
        }
    };
    for (script, expected) in [
        (ready(gate(stopping)), Probed::Stopping),
        (ready(gate(starting)), Probed::NotReady(None)),
        (ready(gate(&[])), Probed::NotReady(None)),
        (replay(8), Probed::NotReady(Some((3, 10)))),
        (replay(99), Probed::NotReady(Some((10, 10)))),
        (
            ready(says(502, "")),
            Probed::Failed("/-/ready: 502 Bad Gateway".to_owned()),
        ),
        // Ready a moment ago, and no more.
        (query(gate(stopping)), Probed::Stopping),
        (query(gate(&[])), Probed::NotReady(None)),
        (
            query(says(500, &json("unavailable", "TSDB not ready"))),
            Probed::NotReady(None),
        ),
        (
            query(says(503, &json("timeout", "query timed out"))),
            mute("503 Service Unavailable: query timed out"),
        ),
        (query(says(401, "Unauthorized")), mute("401 Unauthorized")),
        (
            query(says(200, "<html>")),
            mute("no answer that Prometheus gives"),
        ),
        (
            query(says(200, &"x".repeat(70_000))),
            mute("its answer has more than 65536 bytes"),
        ),
    ] {
        let shown = format!("{script:?}");
        assert_eq!(found(script, rules()).await.0, expected, "{shown:.200}");
    }
}

#[tokio::test]
async fn a_server_without_the_page_or_with_a_query_of_its_own_is_judged_by_its_answer() {
    let plain = says(
        200,
        r#"{"status":"success","data":{"resultType":"scalar","result":[17.5,"1"]}}"#,
    );
    let script = Script {
        ready: says(404, ""),
        query: plain,
        runtime: says(404, ""),
        ..Script::default()
    };
    for ready_path in ["/-/ready", ""] {
        let rules = Health {
            query: Some("1".to_owned()),
            ready_path: ready_path.to_owned(),
            ..rules()
        };
        let (Probed::Ready(answer), _server) = found(script.clone(), rules).await else {
            panic!("not ready");
        };
        assert_eq!(answer.now, Some(17.5));
        assert_eq!(
            (answer.age, answer.targets, answer.started),
            (None, None, None)
        );
    }
}

/// Prometheus 1 knows no `timestamp()` and takes no POST.
#[tokio::test]
async fn what_a_server_does_not_understand_is_found_out_once() {
    let server = Server::start(Script {
        query: says(405, ""),
        ..Script::default()
    })
    .await;
    let backend = backend(server.address, rules(), &Arc::default());
    let mut habits = Habits::default();
    let probe = probe_once(&backend, &mut habits, false).await;
    assert!(matches!(probe, Probed::Mute(_)), "{probe:?}");
    server.now(|script| script.query = says(400, ""));
    let probe = probe_once(&backend, &mut habits, false).await;
    assert!(matches!(probe, Probed::Mute(_)), "{probe:?}");
    server.now(|script| script.query = values(1.0, 1));
    let probe = probe_once(&backend, &mut habits, false).await;
    assert!(
        matches!(&probe, Probed::Ready(answer) if answer.targets.is_none()),
        "{probe:?}"
    );
    let seen = server.seen.borrow().clone();
    let last = seen.last().unwrap();
    assert!(
        last.path.starts_with("/api/v1/query?query=count%28up%29"),
        "{last:?}"
    );
}

#[tokio::test]
async fn nobody_there_or_nobody_who_answers() {
    let (Probed::Ready(_), server) = found(Script::default(), rules()).await else {
        panic!("not ready");
    };
    let address = server.address;
    server.end();
    let gone = backend(address, rules(), &Arc::default());
    let probe = probe_once(&gone, &mut Habits::default(), true).await;
    assert!(matches!(probe, Probed::Failed(_)), "{probe:?}");

    let short = || Health {
        timeout: Duration::from_millis(300),
        ..rules()
    };
    let script = Script {
        ready: Reply::Hangs,
        ..Script::default()
    };
    let (probe, _server) = found(script, short()).await;
    assert_eq!(probe, Probed::Failed("no answer in time".to_owned()));
    // When it was started is not worth the probe.
    let script = Script {
        runtime: Reply::Hangs,
        ..Script::default()
    };
    let (probe, _server) = found(
        script,
        Health {
            timeout: Duration::from_secs(2),
            ..rules()
        },
    )
    .await;
    assert!(
        matches!(&probe, Probed::Ready(answer) if answer.started.is_none()),
        "{probe:?}"
    );
}

/// Cases 14 and 60: each with its own deadline, and nobody waits for another.
#[tokio::test]
async fn one_that_hangs_on_queries_is_degraded_and_keeps_nobody_waiting() {
    let hung = Server::start(Script {
        query: Reply::Hangs,
        ..Script::default()
    })
    .await;
    let well = Server::start(Script::default()).await;
    let peers = Arc::default();
    let timeout = Duration::from_secs(8);
    let began = Instant::now();
    let hung = Watched::of(hung.address, Health { timeout, ..rules() }, &peers);
    let others = [0, 1, 2].map(|_| Watched::of(well.address, rules(), &peers));
    for other in &others {
        other.is(State::Healthy).await;
    }
    assert!(began.elapsed() < timeout, "{:?}", began.elapsed());
    let standing = hung.is(State::Degraded).await;
    assert_eq!(&*standing.why, "a query: no answer in time");
    assert_eq!(standing.tier(tokio::time::Instant::now()), Tier::Poor);
    assert!(began.elapsed() >= timeout);
}

/// Cases 15 and 18.
#[tokio::test]
async fn a_start_is_followed_from_the_replay_until_it_is_warm() {
    let replay = |current| {
        says(
            200,
            &format!(r#"{{"status":"success","data":{{"min":0,"max":10,"current":{current}}}}}"#),
        )
    };
    let server = Server::start(Script {
        ready: Reply::Says(503, &[("X-Prometheus-Stopping", "false")], String::new()),
        replay: replay(3),
        runtime: started(1),
        ..Script::default()
    })
    .await;
    let watched = Watched::alone(server.address);
    let standing = watched.is(State::Starting).await;
    assert_eq!(
        standing.explain(tokio::time::Instant::now()),
        "starting (3/10 WAL segments)"
    );
    server.now(|script| script.replay = replay(7));
    watched
        .comes_to("7/10", |standing| standing.replay == Some((7, 10)))
        .await;
    assert_eq!(
        watched.metric("adit_proxy_query_backend_wal_replay_ratio", ""),
        Some(0.7)
    );
    server.now(|script| script.ready = says(200, ""));
    let standing = watched.is(State::Warming).await;
    assert_eq!(standing.tier(tokio::time::Instant::now()), Tier::Raw);
    assert!(standing.why.starts_with("started "), "{}", standing.why);
    assert_eq!(
        watched.metric("adit_proxy_query_backend_wal_replay_ratio", ""),
        None
    );
    // A minute later.
    server.now(|script| script.runtime = started(61));
    server.now(|script| script.metrics = says(200, "up 1\n"));
    watched.is(State::Healthy).await;
}

/// Case 16.
/// Nobody waits for two intervals to be sure of it, here two hours.
#[tokio::test]
async fn what_is_in_doubt_is_decided_soon() {
    let hour = Duration::from_secs(3600);
    let rules = Health {
        interval: hour,
        ..rules()
    };
    let server = Server::start(Script::default()).await;
    let watched = Watched::of(server.address, rules, &Arc::default());
    watched.is(State::Healthy).await;
    server.now(|script| script.query = says(500, ""));
    watched.backend.probe_now();
    watched.is(State::Degraded).await;
    server.now(|script| script.query = values(2.0, 10));
    watched.backend.probe_now();
    watched.is(State::Healthy).await;
}

#[tokio::test]
async fn a_server_that_stops_is_out_within_one_probe() {
    let server = Server::start(Script::default()).await;
    let watched = Watched::alone(server.address);
    watched.is(State::Healthy).await;
    server.now(|script| {
        script.ready = Reply::Says(503, &[("X-Prometheus-Stopping", "true")], String::new());
    });
    // One may have been answered before, and the last is not judged yet.
    server.is_asked("/-/ready", 3).await;
    assert_eq!(watched.backend.standing.borrow().state, State::Stopping);
    server.end();
    watched.is(State::Down).await;
    assert_eq!(
        watched.metric("adit_proxy_query_backend_state", "down"),
        Some(1.0)
    );
    assert_eq!(watched.metric("adit_proxy_query_backend_up", ""), Some(0.0));
}

/// Case 17.
#[tokio::test]
async fn old_data_degrades() {
    let server = Server::start(Script {
        query: values(600.0, 10),
        ..Script::default()
    })
    .await;
    let watched = Watched::alone(server.address);
    let standing = watched.is(State::Degraded).await;
    assert_eq!(&*standing.why, "its newest scrape is 10m old");
    assert_eq!(
        watched.metric("adit_proxy_query_backend_staleness_seconds", ""),
        Some(600.0)
    );
    server.now(|script| script.query = values(1.0, 10));
    watched.is(State::Healthy).await;
    assert!(watched.told.load(Ordering::SeqCst) >= 2);
}

/// Requests tell sooner than probes.
#[tokio::test]
async fn a_request_that_fails_has_it_probed_at_once() {
    let hour = Duration::from_secs(3600);
    let slow = Health {
        interval: hour,
        ..rules()
    };
    let server = Server::start(Script::default()).await;
    let watched = Watched::of(server.address, slow, &Arc::default());
    watched.is(State::Healthy).await;
    let backend = &watched.backend;
    // As Prometheus 2 does, or anybody in between: the probe decides.
    server.now(|script| script.ready = says(503, ""));
    backend.not_ready(None);
    watched.is(State::Starting).await;
    server.now(|script| script.ready = says(200, ""));
    backend.failed(&Failure::Connect("connection refused".to_owned()));
    watched.is(State::Healthy).await;
    // It says so itself: at once, and the probe that follows agrees or not.
    backend.not_ready(Some(true));
    assert_eq!(backend.standing.borrow().state, State::Stopping);
    watched.is(State::Healthy).await;
    // What we have no place for is nothing that a backend did.
    backend.answered();
    assert!(!backend.failed(&Failure::Busy(String::new())));
    // Nor is what only this request was refused.
    for _ in 0..10 {
        assert!(!backend.failed(&Failure::Unaskable("not offered".to_owned())));
    }
    assert!(!backend.standing.borrow().has_failed());
}

/// Case 21, at this height: what counts is what a backend did, and never the last of a pool.
#[tokio::test]
async fn failed_requests_leave_it_alone_and_are_counted_once() {
    let server = Server::start(Script::default()).await;
    let peers = Arc::default();
    let [one, other] = [0, 1].map(|_| Watched::of(server.address, rules(), &peers));
    one.is(State::Healthy).await;
    other.is(State::Healthy).await;
    let reset = Failure::Reset("connection reset".to_owned());
    let ejected: Vec<bool> = (0..4).map(|_| one.backend.failed(&reset)).collect();
    assert_eq!(ejected, [false, false, true, false]);
    let tier = |watched: &Watched| {
        let now = tokio::time::Instant::now();
        watched.backend.standing.borrow().tier(now)
    };
    assert_eq!(tier(&one), Tier::Apart);
    for _ in 0..10 {
        assert!(!other.backend.failed(&reset));
    }
    assert_eq!(tier(&other), Tier::Good);
    server.is_asked("/-/ready", 4).await;
    assert_eq!(tier(&one), Tier::Apart, "probes do not end it");
    assert_eq!(
        one.metric("adit_proxy_query_backend_ejections_total", ""),
        Some(1.0)
    );
    other.backend.answered();
    assert!(!other.backend.standing.borrow().has_failed());
    let metrics = other.ends().await;
    let left = metrics.registry.gather();
    let left = left
        .iter()
        .filter(|family| family.name().contains("_query_backend_"));
    assert_eq!(
        left.map(|family| family.name()).collect::<Vec<_>>(),
        [""; 0]
    );
}
