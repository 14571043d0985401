//! Two of Debian's Prometheus 2.42 behind one address.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use adit_tests::metrics::Metrics;
use adit_tests::prometheus::Prometheus;
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::Value;

use super::pool::{LISTEN, Load, Pool, attempts, backend, by, comes_to, pool, said};

const HOUR: f64 = 3600.0;
const QUERY: &str = "/api/v1/query?query=scraped";
/// Warm soon; everything else as it is without a file.
const WARM: &str = "health: {warm_up: 1s}\n";

fn unix_now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs_f64()
}

/// What both of them scrape.
fn target() -> (Target, String) {
    let target = Target::start(|_: &adit_tests::target::Request| ok(metric("scraped")));
    let job = format!(
        "- job_name: x\n  static_configs: [{{targets: ['{}']}}]\n",
        target.address()
    );
    (target, job)
}

/// Four hours of samples, and none for ten minutes around an hour ago.
fn four_hours() -> String {
    let now = unix_now().floor();
    let seconds = (0..(4 * 240)).map(|n| now - 4.0 * HOUR + f64::from(n) * 15.0);
    let there = seconds.filter(|at| (at - (now - HOUR)).abs() > 300.0 && *at < now - 600.0);
    there
        .map(|at| format!("up{{job=\"x\"}} 1 {at}\nscraped{{job=\"x\"}} 1 {at}\n"))
        .collect()
}

fn url(prometheus: &Prometheus) -> String {
    format!("http://{}", prometheus.address)
}

async fn both_scraped(both: [&Prometheus; 2]) {
    for one in both {
        one.is_up("x").await;
    }
}

/// Case 1. M1: no metric of Prometheus 2 is missing for the default strategy, nor is any a reason to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_and_no_file_start_select_and_serve() {
    let (_target, job) = target();
    let (a, b) = tokio::join!(Prometheus::start(&job), Prometheus::start(&job));
    both_scraped([&a, &b]).await;
    let flags = [&a, &b].map(|one| format!("--query.backend={}", url(one)));
    let proxy = adit_tests::pair::Proxy::start(&[LISTEN, &flags[0], &flags[1]]).await;
    let query = proxy.query.unwrap();
    // At once, whatever is known of them by then.
    let answer = adit_tests::scraper::page(query, QUERY).await.expect(200);
    assert_eq!(attempts(&answer), "1", "{answer:?}");
    for one in [&a, &b] {
        let name = one.address.to_string();
        let known = |said: &Value| said["version"].is_string() && said["score"].is_number();
        let is = comes_to(query, &name, "known", known).await;
        assert_eq!(is["version"], "2.42.0+ds", "{is}");
    }
    let first = eventually(PATIENCE, "a first one", async || {
        let said = said(query).await;
        let first = said["primary"].as_str().map(ToOwned::to_owned);
        first.ok_or_else(|| said.to_string())
    })
    .await;
    for _ in 0..20 {
        let answer = adit_tests::scraper::page(query, QUERY).await.expect(200);
        assert_eq!(by(&answer), first);
        assert_eq!(attempts(&answer), "1");
        let body: Value = serde_json::from_slice(&answer.body).unwrap();
        let sample = &body["data"]["result"][0];
        assert_eq!(sample["metric"]["job"], "x", "{body}");
        assert_eq!(sample["value"][1], "1", "{body}");
    }
}

/// What is told of a server is what it tells itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_real_server_is_what_it_says_itself() {
    let (_target, job) = target();
    let one = Prometheus::with_history(&four_hours(), &job).await;
    // Its history has some, too.
    one.is_up("x").await;
    let keys = "health: {interval: 200ms, warm_up: 1s}\nselection_interval: 200ms\n";
    let pool = Pool::of(&[("one", url(&one))], keys).await;
    let whole =
        |said: &Value| said["state"] == "healthy" && said["head_series"].as_f64() > Some(1.0);
    let is = pool.comes_to("one", "known", whole).await;
    let number = |key: &str| is[key].as_f64().unwrap_or_else(|| panic!("{key}: {is}"));
    let near = |key: &str, value: f64, by: f64| {
        assert!((number(key) - value).abs() <= by, "{key}: {value} in {is}");
    };
    let metrics = Metrics::of(one.address).await;
    let runtime = one.api("/api/v1/status/runtimeinfo").await;
    let started = humantime::parse_rfc3339_weak(runtime["startTime"].as_str().unwrap()).unwrap();
    let uptime = started.elapsed().unwrap().as_secs_f64();
    let build = one.api("/api/v1/status/buildinfo").await;
    let lowest = metrics.series("prometheus_tsdb_lowest_timestamp_seconds");
    assert_eq!(is["version"], build["version"]);
    near("history_seconds", unix_now() - lowest, 10.0);
    near("history_seconds", 4.0 * HOUR, 60.0);
    near("score", number("history_seconds"), 10.0);
    near("uptime_seconds", uptime, 10.0);
    near("staleness_seconds", 1.0, 4.0);
    near("clock_skew_seconds", 0.0, 2.0);
    assert_eq!(is["targets"], 1.0);
    assert_eq!(
        is["head_series"],
        metrics.series("prometheus_tsdb_head_series")
    );
    let appended = metrics.sum("prometheus_tsdb_head_samples_appended_total");
    assert!(
        (1.0..=appended).contains(&number("ingested_samples")),
        "{is}"
    );
    // That is of 3.6.
    assert_eq!(is["stored_samples"], Value::Null);
}

/// M2, and case 10 (M10): what a server has stored is what counts, not what it has counted since its start, and
/// not what it has at one point.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restarted_server_with_older_data_stays_first_and_is_watched_all_the_way() {
    let (_target, job) = target();
    let samples = four_hours();
    let (old, young) = tokio::join!(
        Prometheus::with_history(&samples, &job),
        Prometheus::start(&job)
    );
    let mut old = old;
    both_scraped([&old, &young]).await;
    let quick = "health: {interval: 200ms, warm_up: 2s}\nselection_interval: 200ms\n";
    let backends = [("old", url(&old)), ("young", url(&young))];
    let hour = format!("{quick}strategy: min-history:1h\npath_prefix: /hour\n");
    let pools = pool("main", &backends, quick) + &pool("hour", &backends, &hour);
    let pool = Pool::with(&format!("query:\n  pools:\n{pools}")).await;
    pool.all_are_known().await;
    pool.is_first("old").await;
    // The hole at now - 1 h does not count against it, and the young one does not go back so far.
    let page = adit_tests::scraper::page(pool.query, &format!("/hour{QUERY}")).await;
    assert_eq!(by(&page.expect(200)), "old");
    let eligible = "adit_proxy_query_min_history_eligible{pool=\"hour\"}";
    eventually(PATIENCE, eligible, async || {
        let now = pool.metrics().await.series(eligible);
        (now == 1.0).then_some(()).ok_or(now.to_string())
    })
    .await;

    let load = Load::start(pool.query, 50);
    old.kill();
    pool.is("old", "down").await;
    let mut states = vec!["down".to_owned()];
    old.launch_again();
    eventually(PATIENCE, "healthy again", async || {
        let is = pool.backend("old").await;
        let state = is["state"].as_str().unwrap_or_default().to_owned();
        if states.last() != Some(&state) {
            states.push(state);
        }
        match states.last().is_some_and(|last| last == "healthy") {
            true => Ok(()),
            false => Err(format!("{states:?}: {is}")),
        }
    })
    .await;
    // A small log is read in no time.
    states.retain(|state| state != "starting");
    assert_eq!(states, ["down", "warming", "healthy"]);
    pool.is_first("old").await;
    let (is, other) = (pool.backend("old").await, pool.backend("young").await);
    let more = |key: &str| is[key].as_f64() > other[key].as_f64();
    assert!(
        more("history_seconds") && !more("ingested_samples"),
        "{is} {other}"
    );
    load.stop().await.all_well();
    let answer = adit_tests::scraper::page(pool.query, QUERY)
        .await
        .expect(200);
    assert_eq!(by(&answer), "old", "{answer:?} {}", pool.says().await);
}

/// Case 22.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_two_is_told_to_end_under_a_hundred_queries_a_second_and_none_fails() {
    let (_target, job) = target();
    let (a, b) = tokio::join!(Prometheus::start(&job), Prometheus::start(&job));
    both_scraped([&a, &b]).await;
    let pool = Pool::of(&[("a", url(&a)), ("b", url(&b))], WARM).await;
    pool.all_are_known().await;
    let first = pool.says().await["primary"].clone();
    let (first, other) = match first == "a" {
        true => (("a", &a), "b"),
        false => (("b", &b), "a"),
    };
    let load = Load::start(pool.query, 100);
    let served = "adit_proxy_query_requests_total{class=\"read\",code=\"200\",pool=\"main\"}";
    pool.grows(served, 100.0).await;
    first.1.terminate();
    first.1.ended().await;
    pool.is(first.0, "down").await;
    pool.is_first(other).await;
    pool.grows(served, 100.0).await;
    let tally = load.stop().await.all_well();
    assert!(tally.by.len() == 2 && tally.by[other] >= 100, "{tally:?}");
    let said = pool.says().await;
    assert_eq!(backend(&said, other)["state"], "healthy", "{said}");
    let wait = Duration::from_secs(2);
    assert!(tally.retried < 100 * wait.as_secs() as usize, "{tally:?}");
}
