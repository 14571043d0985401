//! What is counted under `adit_proxy_query_`, and that it goes with whom it is about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use adit_tests::fake_prometheus::{Ending, FakePrometheus, Fixed, Ready};
use adit_tests::scraper::{self, Answer};
use adit_tests::target::Gate;
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::pool::{Pool, attempts, by, pool};

const HOUR: f64 = 3600.0;
/// Requests that fail leave a backend alone for the rest of the test.
const MAIN: &str = "health: {interval: 100ms, timeout: 20s, warm_up: 0s, ejection: 5m}\n\
                    selection_interval: 100ms\nresponse_hold: 1KiB\n";
/// The budget for retries that fail is what there is at the start.
const SPENT: &str = "path_prefix: /spent\nselection_interval: 100ms\nretry: {budget: 0%}\n\
                     health: {interval: 100ms, timeout: 20s, warm_up: 0s, consecutive_failures: 1000}\n";
const HEDGED: &str = "path_prefix: /hedged\nselection_interval: 100ms\nhedge: {min: 100ms, max: 200ms, budget: 100%}\n\
                      health: {interval: 100ms, timeout: 20s, warm_up: 0s}\n";
const QUERY: &str = "/api/v1/query?query=up";

/// The values on the page by series, less `adit_proxy_query_`; without buckets.
async fn series(pool: &Pool) -> BTreeMap<String, f64> {
    let page = scraper::page(pool.query, "/metrics").await.expect(200);
    let page = page.text();
    let lines = page
        .lines()
        .filter_map(|line| line.strip_prefix("adit_proxy_query_"));
    let of = |line: &str| {
        let (series, value) = line.rsplit_once(' ').unwrap();
        (series.to_owned(), value.parse().unwrap())
    };
    lines
        .map(of)
        .filter(|(series, _)| !series.contains("_bucket{"))
        .collect()
}

/// Waits until no series has `label`.
async fn gone(pool: &Pool, label: &str) {
    eventually(PATIENCE, &format!("{label} is gone"), async || {
        let series = series(pool).await;
        let left: Vec<_> = series.keys().filter(|one| one.contains(label)).collect();
        left.is_empty().then_some(()).ok_or(format!("{left:?}"))
    })
    .await;
}

/// Waits until these are the values of these series.
async fn comes_to(pool: &Pool, wanted: &[(String, f64)]) {
    eventually(PATIENCE, "these values", async || {
        let series = series(pool).await;
        let wrong = wanted
            .iter()
            .filter(|(name, value)| series.get(name) != Some(value));
        let wrong: Vec<_> = wrong
            .map(|(name, value)| (name, value, series.get(name)))
            .collect();
        wrong
            .is_empty()
            .then_some(())
            .ok_or(format!("{wrong:?} in {series:#?}"))
    })
    .await;
}

fn fakes() -> [FakePrometheus; 3] {
    [("a", 3.0), ("b", 2.0), ("c", 1.0)].map(|(id, hours)| {
        FakePrometheus::start_as(id, |state| {
            state.history(hours * HOUR);
            if id == "c" {
                state.ready = Ready::Replaying(1, 4);
            }
        })
    })
}

/// `main` finds its backends in a file of URLs.
fn config(main: &str, others: &[String]) -> String {
    let file =
        "discovery: {grace: 0s, file: [{path: backends.txt, format: lines, refresh: 100ms}]}\n";
    let main = pool("main", &[], &format!("{main}{file}"));
    format!("query:\n  pools:\n{main}{}", others.concat())
}

/// Two that fail, and one that does not.
fn failing_and_well() -> [FakePrometheus; 3] {
    let failing = [("failing", 2.0 * HOUR), ("failing-too", HOUR)].map(|(name, history)| {
        FakePrometheus::start_as(name, |state| {
            state.history(history);
            state.always("/api/v1/query", Fixed::status(502));
        })
    });
    let well = FakePrometheus::start_as("well", |state| state.history(HOUR));
    let [one, other] = failing;
    [one, other, well]
}

/// Three backends of `main`, found in a file, and two pools more: in one all requests fail, in the other
/// the first is slow.
struct Scene {
    pool: Pool,
    folder: Arc<TempDir>,
    a: FakePrometheus,
    b: FakePrometheus,
    c: FakePrometheus,
    /// What they are called.
    names: [String; 3],
    _others: [FakePrometheus; 4],
}

/// A query that is under way until its answer may come.
struct UnderWay {
    gate: Gate,
    answer: JoinHandle<Answer>,
}

/// A series of `main` and of a backend in it, with more labels between the two.
fn of(metric: &str, backend: &str, more: &str) -> String {
    format!("{metric}{{backend=\"{backend}\"{more},pool=\"main\"}}")
}

fn read(backend: &str, code: &str) -> String {
    let more = format!(",class=\"read\",code=\"{code}\"");
    of("backend_requests_total", backend, &more)
}

fn discovered(pool: &str, source: &str) -> String {
    format!("discovery_backends{{pool={pool:?},source={source:?}}}")
}

impl Scene {
    /// Everybody is known, and `a` is the first.
    async fn start() -> Self {
        let [a, b, c] = fakes();
        let [failing, failing_too, well] = failing_and_well();
        let slow = FakePrometheus::start_as("slow", |state| {
            state.history(2.0 * HOUR);
            state.delay = Duration::from_secs(20);
        });
        let other = |name: &str, two: [&FakePrometheus; 2], keys: &str| {
            let both = two.map(|one| (one.id(), one.url()));
            pool(name, &both, keys)
        };
        let others = [
            other("spent", [&failing, &failing_too], SPENT),
            other("hedged", [&slow, &well], HEDGED),
        ];
        let folder = Pool::folder();
        list(&folder, &[&a, &b, &c]);
        let pool = Pool::in_folder(Arc::clone(&folder), &config(MAIN, &others)).await;
        let names = [&a, &b, &c].map(|fake| fake.address().to_string());
        let scene = Self {
            pool,
            folder,
            a,
            b,
            c,
            names,
            _others: [failing, failing_too, slow, well],
        };
        scene.is_known().await;
        scene
    }

    async fn is_known(&self) {
        let (pool, [a, b, c]) = (&self.pool, &self.names);
        pool.is(c, "starting").await;
        pool.is_first(a).await;
        let known = |said: &Value| said["score"].is_number() && said["state"] == "healthy";
        for one in [a, b] {
            pool.comes_to(one, "known", known).await;
        }
        pool.is_first(a).await;
        eventually(PATIENCE, "scores in the other pools", async || {
            let series = series(pool).await;
            let scores = series
                .keys()
                .filter(|one| one.starts_with("backend_data_score{") && !one.contains("\"main\""));
            let count = scores.count();
            (count == 4).then_some(()).ok_or(count.to_string())
        })
        .await;
        let first = [("failing", "spent"), ("slow", "hedged")].map(|(name, pool)| {
            let labels = format!("{{backend=\"{name}\",pool=\"{pool}\"}}");
            (format!("backend_selected{labels}"), 1.0)
        });
        comes_to(pool, &first).await;
    }

    /// Something of everything, and one query that does not end.
    async fn things_happen(&self) -> UnderWay {
        let (pool, [a_is, b_is, _]) = (&self.pool, &self.names);
        // Five are answered by the first, and then three are not.
        for _ in 0..5 {
            assert_eq!(by(&pool.ask().await.expect(200)), *a_is);
        }
        let bad = Fixed::status(502);
        self.a.set(|state| state.always("/api/v1/query", bad));
        for _ in 0..3 {
            let answer = pool.ask().await.expect(200);
            assert_eq!((by(&answer), attempts(&answer)), (b_is.clone(), "2".into()));
        }
        pool.is_first(b_is).await;
        // One breaks off behind what is held of it.
        let long = Fixed::status(200)
            .body(vec![b'x'; 64 << 10])
            .cut(32 << 10, Ending::Reset);
        self.b.set(|state| state.once("/api/v1/query", long));
        let cut = pool.ask().await;
        assert!(cut.head.status == 200 && cut.is_cut(), "{:?}", cut.end);
        // One is under way.
        let gate = Gate::default();
        let behind = Fixed::status(200).behind(&gate);
        self.b.set(|state| state.once("/api/v1/query", behind));
        let query = pool.query;
        let answer = tokio::spawn(async move { scraper::page(query, QUERY).await });
        // Ten more than there were requests is not to be had when all fail: two of them are sent once.
        let mut sent = Vec::new();
        for _ in 0..12 {
            let answer = scraper::page(pool.query, &format!("/spent{QUERY}")).await;
            sent.push(attempts(&answer.expect(502)));
        }
        assert_eq!(sent, [["2"; 10].as_slice(), &["1"; 2]].concat());
        let hedged = scraper::page(pool.query, &format!("/hedged{QUERY}")).await;
        assert_eq!(by(&hedged.expect(200)), "well");
        UnderWay { gate, answer }
    }

    /// What is counted then.
    fn counted(&self) -> Vec<(String, f64)> {
        let [a, b, c] = &self.names;
        let total = |name: &str| name.to_owned();
        vec![
            (
                total(r#"requests_total{class="read",code="200",pool="main"}"#),
                9.0,
            ),
            (read(a, "200"), 5.0),
            (read(a, "502"), 3.0),
            (read(b, "200"), 4.0),
            (of("backend_request_duration_seconds_count", a, ""), 8.0),
            (of("backend_request_duration_seconds_count", b, ""), 4.0),
            (of("backend_requests_in_flight", a, ""), 0.0),
            (of("backend_requests_in_flight", b, ""), 1.0),
            (of("truncated_total", b, ""), 1.0),
            (of("truncated_total", a, ""), 0.0),
            (
                format!(r#"retries_total{{from="{a}",pool="main",reason="bad-gateway"}}"#),
                3.0,
            ),
            (
                total(r#"retries_total{from="failing",pool="spent",reason="bad-gateway"}"#),
                10.0,
            ),
            (total(r#"retries_denied_total{pool="spent"}"#), 2.0),
            (total(r#"hedges_total{pool="hedged",result="second"}"#), 1.0),
            (of("backend_ejections_total", a, ""), 1.0),
            (of("backend_ejections_total", b, ""), 0.0),
            (total(r#"panic_mode{pool="main"}"#), 0.0),
            (of("backend_wal_replay_ratio", c, ""), 0.25),
            (discovered("main", "file"), 3.0),
            (
                total(r#"discovery_errors_total{pool="main",source="file"}"#),
                0.0,
            ),
            (discovered("spent", "static"), 2.0),
        ]
    }

    /// How everybody is then.
    fn states(&self) -> Vec<(String, f64)> {
        let [a, b, c] = &self.names;
        let mut states = Vec::new();
        for (name, state) in [(a, "healthy"), (b, "healthy"), (c, "starting")] {
            let well = f64::from(state == "healthy");
            states.push((of("backend_up", name, ""), well));
            states.push((of("backend_selected", name, ""), f64::from(name == b)));
            for other in [
                "unknown", "starting", "warming", "healthy", "degraded", "stopping", "down",
            ] {
                let labels = format!("{{backend=\"{name}\",pool=\"main\",state=\"{other}\"}}");
                states.push((format!("backend_state{labels}"), f64::from(other == state)));
            }
        }
        states
    }

    /// What is about so much, or at least.
    async fn measures(&self) {
        let [a, b, c] = &self.names;
        let now = series(&self.pool).await;
        let value = |name: &str| {
            *now.get(name)
                .unwrap_or_else(|| panic!("no {name} in {now:#?}"))
        };
        for (name, hours) in [(a, 3.0), (b, 2.0)] {
            for metric in ["backend_history_seconds", "backend_data_score"] {
                let seconds = value(&of(metric, name, ""));
                assert!((seconds - hours * HOUR).abs() < 60.0, "{metric}: {seconds}");
            }
            assert_eq!(value(&of("backend_staleness_seconds", name, "")), 3.0);
            assert!(value(&of("backend_clock_skew_seconds", name, "")).abs() < 10.0);
            let probes =
                format!("backend_probes_total{{backend=\"{name}\",pool=\"main\",result=\"ok\"}}");
            assert!(value(&probes) >= 1.0);
        }
        let labels = format!("{{backend=\"{c}\",pool=\"main\",result=\"not-ready\"}}");
        assert!(value(&format!("backend_probes_total{labels}")) >= 1.0);
        // What is not known has no series.
        assert_eq!(now.get(&of("backend_history_seconds", c, "")), None);
        assert_eq!(now.get(&of("backend_wal_replay_ratio", a, "")), None);
        assert!(value(r#"selections_total{pool="main"}"#) >= 3.0);
        for reason in ["first", "state"] {
            let changes = format!("primary_changes_total{{pool=\"main\",reason=\"{reason}\"}}");
            assert!(value(&changes) >= 1.0, "{reason}");
        }
        let affinity = now
            .iter()
            .filter(|(name, _)| name.starts_with("affinity_total{"));
        let primary = affinity.filter(|(name, _)| name.contains(r#"pool="main""#));
        let primary = primary.filter(|(name, _)| name.contains(r#"type="primary""#));
        let primary = primary.map(|(_, count)| count).sum::<f64>();
        assert_eq!(primary, 10.0, "{now:#?}");
        // `query=up` of the one that is under way.
        assert_eq!(value("buffered_bytes"), 8.0);
    }

    /// `b` leaves, with a request under way: its series are there until that is over, and not a moment
    /// longer.
    async fn one_leaves(&self, under_way: UnderWay) {
        let (pool, [a_is, b_is, _]) = (&self.pool, &self.names);
        list(&self.folder, &[&self.a, &self.c]);
        comes_to(pool, &[(discovered("main", "file"), 2.0)]).await;
        pool.comes_to(b_is, "gone", Value::is_null).await;
        let in_flight = of("backend_requests_in_flight", b_is, "");
        assert_eq!(series(pool).await.get(&in_flight), Some(&1.0));
        under_way.gate.open();
        assert_eq!(by(&under_way.answer.await.unwrap().expect(200)), *b_is);
        gone(pool, &format!("\"{b_is}\"")).await;
        comes_to(pool, &[(read(a_is, "200"), 5.0), (read(a_is, "502"), 3.0)]).await;
    }

    /// A reload takes two pools away, and leaves the third as it is.
    async fn pools_leave(&self) {
        let (pool, [a, ..]) = (&self.pool, &self.names);
        pool.reload(&config(MAIN, &[])).await;
        for name in ["spent", "hedged"] {
            gone(pool, &format!("pool=\"{name}\"")).await;
        }
        let left = [
            (read(a, "200"), 5.0),
            (of("backend_ejections_total", a, ""), 1.0),
        ];
        comes_to(pool, &left).await;
    }

    /// Another makes it anew, under its name. What it counts goes on, and what it shows is there.
    async fn one_is_made_anew(&self) {
        let (pool, [a, _, c]) = (&self.pool, &self.names);
        let total = r#"requests_total{class="read",code="200",pool="main"}"#;
        let before = series(pool).await[total];
        pool.reload(&config(&MAIN.replace("1KiB", "2KiB"), &[]))
            .await;
        self.a.set(|state| state.as_usual());
        pool.is_first(a).await;
        assert_eq!(by(&pool.ask().await.expect(200)), *a);
        let errors = r#"discovery_errors_total{pool="main",source="file"}"#;
        let there = [
            (total.to_owned(), before + 1.0),
            (of("backend_up", a, ""), 1.0),
            (of("backend_selected", a, ""), 1.0),
            (of("backend_wal_replay_ratio", c, ""), 0.25),
            (discovered("main", "file"), 2.0),
            (errors.to_owned(), 0.0),
        ];
        comes_to(pool, &there).await;
        let labels = format!("{{backend=\"{a}\",pool=\"main\",result=\"ok\"}}");
        let probes = format!("adit_proxy_query_backend_probes_total{labels}");
        pool.grows(&probes, 3.0).await;
        comes_to(pool, &there).await;
    }
}

/// The file in which `main` finds its backends.
fn list(folder: &TempDir, fakes: &[&FakePrometheus]) {
    let urls: String = fakes.iter().map(|fake| fake.url() + "\n").collect();
    std::fs::write(folder.path().join("backends.txt"), urls).unwrap();
}

/// Facts §5.6: all of it, after something of everything has happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_happens_is_counted_and_goes_with_whom_it_was_about() {
    let scene = Scene::start().await;
    let under_way = scene.things_happen().await;
    let wanted = [scene.counted(), scene.states()].concat();
    comes_to(&scene.pool, &wanted).await;
    scene.measures().await;
    scene.one_leaves(under_way).await;
    scene.pools_leave().await;
    scene.one_is_made_anew().await;
}
