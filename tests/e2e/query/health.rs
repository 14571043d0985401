//! How backends are, as it is told, and who is asked then.

use std::time::{Duration, Instant};

use adit_tests::binaries;
use adit_tests::fake_prometheus::{FakePrometheus, Fixed, Hangs, Ready};
use adit_tests::metrics::{Held, Metrics};
use adit_tests::ports;
use adit_tests::scraper::{self, Connection};
use adit_tests::wait::{PATIENCE, eventually, within};
use serde_json::Value;

use super::pool::{LISTEN, Load, Pool, QUICK, attempts, backend, by, comes_to, pool, reason, said};

const HOUR: f64 = 3600.0;
/// Less than what hangs, and more than what does not.
const AT_ONCE: Duration = Duration::from_secs(15);
/// Nobody is probed a second time unless something has happened.
const SELDOM: &str =
    "health: {interval: 10m, timeout: 20s, warm_up: 0s}\nselection_interval: 100ms\n";

/// Two, of which the first goes back further, so that everybody asks it.
fn two() -> [FakePrometheus; 2] {
    [("a", 2.0 * HOUR), ("b", HOUR)]
        .map(|(id, seconds)| FakePrometheus::start_as(id, |state| state.history(seconds)))
}

/// The same, known and chosen.
async fn with_two(keys: &str) -> ([FakePrometheus; 2], Pool) {
    let both = two();
    let pool = Pool::start(&[&both[0], &both[1]], keys).await;
    pool.all_are_known().await;
    pool.is_first("a").await;
    (both, pool)
}

fn queries(fake: &FakePrometheus) -> usize {
    fake.journal().queries().len()
}

fn why(said: &Value) -> &str {
    said["reason"].as_str().unwrap_or_default()
}

/// Case 14. M6: it takes connections and its pages are there, and queries hang: nobody waits for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_hangs_on_queries_keeps_nobody_waiting_and_is_degraded() {
    let hanging = |id: &str| {
        FakePrometheus::start_as(id, |state| {
            state.hangs = Hangs::OnQueries;
            state.history(2.0 * HOUR);
        })
    };
    let ([long, short], well) = (
        ["long", "short"].map(hanging),
        FakePrometheus::start("well"),
    );
    let of = |name: &str, fake: &FakePrometheus, prefix: &str, timeout: &str| {
        let keys = format!(
            "path_prefix: {prefix}\nselection_interval: 100ms\n\
             health: {{interval: 100ms, timeout: {timeout}, warm_up: 0s}}\n"
        );
        let backends = [(fake.id(), fake.url()), (well.id(), well.url())];
        pool(name, &backends, &keys)
    };
    let pools = of("short", &short, "/short", "2s") + &of("long", &long, "/long", "1m");
    let began = Instant::now();
    let proxy = Pool::with(&format!("query:\n  pools:\n{pools}")).await;
    scraper::page(proxy.query, "/-/healthy").await.expect(200);
    // The first probe of the one that hangs takes a minute in this pool.
    let first = "adit_proxy_query_backend_up{backend=\"well\",pool=\"long\"}";
    eventually(PATIENCE, first, async || {
        let now = proxy.metrics().await.series(first);
        (now == 1.0).then_some(()).ok_or(now.to_string())
    })
    .await;
    let path = "/long/api/v1/query?query=up";
    let answer = scraper::page(proxy.query, path).await.expect(200);
    assert_eq!(
        (by(&answer), attempts(&answer)),
        ("well".into(), "1".into())
    );
    assert!(began.elapsed() < AT_ONCE, "{:?}", began.elapsed());
    // And here it is known by now how it is.
    let is = proxy.is("short", "degraded").await;
    assert_eq!(is["tier"], "poor", "{is}");
    assert!(why(&is).starts_with("degraded (a query: "), "{is}");
    let answer = scraper::page(proxy.query, "/short/api/v1/query?query=up").await;
    assert_eq!(by(&answer.expect(200)), "well");
    scraper::page(proxy.query, "/-/ready").await.expect(200);
    assert_eq!([queries(&short), queries(&long)], [0, 0]);
    short.set(|state| state.hangs = Hangs::Never);
    proxy.is("short", "healthy").await;
}

/// Case 15. M7: who reads its write-ahead log says so, and nobody hears of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_replays_its_log_is_starting_so_far_and_callers_hear_nothing_of_it() {
    let (both, pool) = with_two(SELDOM).await;
    let [a, b] = &both;
    // The first that hears of it is a query.
    a.set(|state| state.ready = Ready::Replaying(3, 10));
    let answer = pool.ask().await.expect(200);
    assert_eq!((by(&answer), attempts(&answer)), ("b".into(), "2".into()));
    let is = pool
        .comes_to("a", "3 of 10", |said| said["wal_segments"] == 10)
        .await;
    assert_eq!(is["state"], "starting", "{is}");
    assert_eq!(is["reason"], "starting (3/10 WAL segments)");
    assert_eq!(is["wal_segments_replayed"], 3, "{is}");
    let ratio = "adit_proxy_query_backend_wal_replay_ratio{backend=\"a\",pool=\"main\"}";
    eventually(PATIENCE, ratio, async || {
        let now = pool.metrics().await.series(ratio);
        (now == 0.3).then_some(()).ok_or(now.to_string())
    })
    .await;
    let retries = pool.metrics().await;
    let retried = "adit_proxy_query_retries_total{from=\"a\",pool=\"main\",reason=\"not-ready\"}";
    assert_eq!(retries.series(retried), 1.0, "{retries:?}");
    // It is out from then on.
    let before = (queries(a), queries(b));
    for _ in 0..20 {
        let answer = pool.ask().await.expect(200);
        assert_eq!((by(&answer), attempts(&answer)), ("b".into(), "1".into()));
    }
    assert_eq!((queries(a), queries(b)), (before.0, before.1 + 20));
}

/// Case 15.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_is_followed_to_its_end_under_load() {
    let (both, pool) = with_two(QUICK).await;
    let [a, _] = &both;
    let load = Load::start(pool.query, 100);
    for read in [3, 7, 10] {
        a.set(|state| state.ready = Ready::Replaying(read, 10));
        let is = pool
            .comes_to("a", "further", |said| said["wal_segments_replayed"] == read)
            .await;
        assert_eq!(is["reason"], format!("starting ({read}/10 WAL segments)"));
    }
    a.set(|state| {
        state.started = state.now();
        state.ready = Ready::Yes;
    });
    let is = pool.is_first("a").await;
    assert_eq!(is["wal_segments"], Value::Null, "{is}");
    let page = scraper::page(pool.query, "/metrics").await.expect(200);
    assert!(!page.text().contains("query_backend_wal_replay_ratio{"));
    pool.grows("adit_proxy_query_selections_total{pool=\"main\"}", 3.0)
        .await;
    let tally = load.stop().await.all_well();
    assert_eq!(tally.by.len(), 2, "{tally:?}");
}

/// Case 16.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_stops_is_drained_within_one_probe() {
    let (both, pool) = with_two(QUICK).await;
    let [a, _] = &both;
    // It still answers whatever else is asked.
    let stopping = Fixed::text(503, "Service Unavailable\n").field("X-Prometheus-Stopping", "true");
    let load = Load::start(pool.query, 100);
    let probes = |result: &str| {
        let labels = format!("{{backend=\"a\",pool=\"main\",result=\"{result}\"}}");
        format!("adit_proxy_query_backend_probes_total{labels}")
    };
    a.set(|state| state.to_probes("/-/ready", stopping));
    let is = pool.is("a", "stopping").await;
    assert_eq!(is["reason"], "stopping (it says that it stops)");
    pool.is_first("b").await;
    // What was under way at that moment.
    pool.comes_to("a", "idle", |said| said["requests_in_flight"] == 0)
        .await;
    // One probe was enough, also among many.
    let before = queries(a);
    pool.grows(&probes("stopping"), 3.0).await;
    let metrics = pool.metrics().await;
    assert_eq!(metrics.series(&probes("failed")), 0.0, "{metrics:?}");
    let tally = load.stop().await.all_well();
    assert_eq!(tally.retried, 0, "{tally:?}");
    // Those that had chosen it by then, and had yet to be sent.
    assert!(queries(a) <= before + 5, "{} of {before}", queries(a));
    assert!(tally.by["b"] > 0, "{tally:?}");
}

/// Case 17.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_with_old_data_is_degraded_and_asked_only_when_nobody_is_better() {
    let (both, pool) = with_two(QUICK).await;
    let [a, b] = &both;
    a.set(|state| state.age = Some(600.0));
    let is = pool.is("a", "degraded").await;
    assert_eq!(is["reason"], "degraded (its newest scrape is 10m old)");
    assert_eq!(is["staleness_seconds"], 600.0);
    pool.is_first("b").await;
    assert_eq!(by(&pool.ask().await.expect(200)), "b");
    // By its own clock, whatever ours says.
    b.set(|state| state.clock_skew = 7200.0);
    let is = pool
        .comes_to("b", "ahead", |said| {
            said["clock_skew_seconds"].as_f64() > Some(7000.0)
        })
        .await;
    assert_eq!(is["state"], "healthy", "{is}");
    // Nobody is better: it is asked, and that is no panic.
    b.set(|state| state.age = Some(900.0));
    pool.is("b", "degraded").await;
    let answer = pool.ask().await.expect(200);
    assert_eq!(reason(&answer), "most-data");
    assert_eq!(pool.says().await["panic"], false);
    scraper::page(pool.query, "/-/ready").await.expect(200);
    a.set(|state| state.age = Some(3.0));
    pool.is_first("a").await;
}

/// Case 18: Prometheus is ready before it has scraped anything, and whoever asked it would see nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_was_restarted_is_not_asked_before_it_has_scraped_what_it_should() {
    let keys = "health: {interval: 100ms, timeout: 20s, warm_up: 20s}\nselection_interval: 100ms\n\
                most_data: {hold: 1}\n";
    let ([mut a, b], pool) = with_two(keys).await;
    let load = Load::start(pool.query, 50);
    a.kill().await;
    pool.is("a", "down").await;
    let before = queries(&a);
    let started = |ago: f64| {
        move |state: &mut adit_tests::fake_prometheus::State| state.started = state.now() - ago
    };
    // What it shows is from before its start. One thing changes at a time from here on: a probe asks more
    // than once, and what it hears may be from before a change and from behind it.
    a.set(|state| state.age = Some(300.0));
    a.set(started(1.0));
    a.restart().await;
    let is = pool.is("a", "warming").await;
    assert!(why(&is).starts_with("warming (started "), "{is}");
    assert_eq!(is["tier"], "raw", "{is}");
    // Later.
    a.set(started(30.0));
    let says = |part: &'static str| move |said: &Value| why(said).contains(part);
    let nothing = "nothing was scraped since then";
    pool.comes_to("a", nothing, says(nothing)).await;
    a.set(|state| state.targets = 1);
    pool.comes_to("a", "one target", |said| said["targets"] == 1.0)
        .await;
    a.set(|state| state.age = Some(1.0));
    let few = "scrapes 1 targets: another one 3";
    pool.comes_to("a", few, says(few)).await;
    assert_eq!(queries(&a), before, "it was asked");
    assert_eq!(by(&pool.ask().await.expect(200)), "b");
    a.set(|state| state.targets = 3);
    pool.is_first("a").await;
    a.until("queries again", |journal| journal.queries().len() > before)
        .await;
    load.stop().await.all_well();
    assert!(queries(&b) > 0);
}

/// Case 19.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_lost_probe_does_not_flip_and_two_do_and_two_good_ones_bring_it_back() {
    let (both, pool) = with_two(QUICK).await;
    let [a, _] = &both;
    let probes = |result: &str| {
        let labels = format!("{{backend=\"a\",pool=\"main\",result=\"{result}\"}}");
        format!("adit_proxy_query_backend_probes_total{labels}")
    };
    let lose = |times: usize| {
        a.set(|state| {
            for _ in 0..times {
                state.once_to_probes("/-/ready", Fixed::status(500));
            }
        });
    };
    let since = pool.backend("a").await["since_seconds"].as_f64().unwrap();
    let began = Instant::now();
    for lost in [1.0, 2.0, 3.0] {
        lose(1);
        eventually(PATIENCE, "a lost probe", async || {
            let now = pool.metrics().await.series(&probes("failed"));
            (now == lost).then_some(()).ok_or(now.to_string())
        })
        .await;
        pool.grows(&probes("ok"), 2.0).await;
    }
    let between = began.elapsed().as_secs_f64();
    let is = pool.backend("a").await;
    assert_eq!(is["state"], "healthy", "{is}");
    let lasted = is["since_seconds"].as_f64().unwrap() - since;
    assert!(lasted >= between, "{between}: {is}");
    assert_eq!(by(&pool.ask().await.expect(200)), "a");
    let metrics = pool.metrics().await;
    assert_eq!(metrics.series(&probes("failed")), 3.0);

    a.set(|state| state.to_probes("/-/ready", Fixed::status(500)));
    let is = pool.is("a", "down").await;
    assert!(why(&is).contains("/-/ready: 500"), "{is}");
    assert_eq!(by(&pool.ask().await.expect(200)), "b");
    let ok = pool.metrics().await.series(&probes("ok"));
    a.set(|state| state.as_usual());
    pool.is("a", "healthy").await;
    assert!(pool.metrics().await.series(&probes("ok")) >= ok + 2.0);
}

/// Case 20. M12: that nobody can be asked is said by every page, and all of them are asked nevertheless.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_all_are_down_all_are_tried_and_everybody_can_see_it() {
    let (both, pool) = with_two(QUICK).await;
    let [a, b] = &both;
    let panics = "adit_proxy_query_panic_mode{pool=\"main\"}";
    assert_eq!(pool.metrics().await.series(panics), 0.0);
    scraper::page(pool.query, "/-/ready").await.expect(200);
    for fake in [a, b] {
        fake.set(|state| state.to_probes("/-/ready", Fixed::status(500)));
    }
    for fake in [a, b] {
        pool.is(fake.id(), "down").await;
    }
    eventually(PATIENCE, panics, async || {
        let now = pool.metrics().await.series(panics);
        (now == 1.0).then_some(()).ok_or(now.to_string())
    })
    .await;
    // It has more data, and takes over from the one that was last to go.
    pool.comes_to("a", "selected", |said| said["selected"] == true)
        .await;
    let answer = pool.ask().await.expect(200);
    assert_eq!(reason(&answer), "panic");
    assert_eq!(pool.says().await["panic"], true);
    let unready = scraper::page(pool.query, "/-/ready").await.expect(503);
    assert!(unready.text().contains("pool main"), "{unready:?}");
    scraper::page(pool.query, "/-/healthy").await.expect(200);
    let metrics = pool.metrics().await;
    assert_eq!(metrics.sum("adit_proxy_query_backend_up"), 0.0);
    let explained = scraper::page(pool.query, "/api/v1/explain?query=up").await;
    let explained: Value = serde_json::from_slice(&explained.expect(200).body).unwrap();
    assert_eq!(explained["data"]["panic"], true, "{explained}");
    // Whoever does not answer then is followed by the next.
    let first = by(&answer);
    let (first, other) = if first == "a" { (a, b) } else { (b, a) };
    first.set(|state| state.always("/api/v1/query", Fixed::status(502)));
    let answer = pool.ask().await.expect(200);
    assert_eq!(
        (by(&answer), attempts(&answer)),
        (other.id().into(), "2".into())
    );
    assert!(reason(&answer).starts_with("panic"), "{answer:?}");
    other.set(|state| state.as_usual());
    pool.is_first(other.id()).await;
    assert_eq!(by(&pool.ask().await.expect(200)), other.id());
    eventually(PATIENCE, panics, async || {
        let now = pool.metrics().await.series(panics);
        (now == 0.0).then_some(()).ok_or(now.to_string())
    })
    .await;
    scraper::page(pool.query, "/-/ready").await.expect(200);
}

/// Case 21: callers who leave are nothing that a backend has done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_callers_who_leave_are_held_against_nobody_and_leave_nothing() {
    const CALLERS: usize = 100;
    /// What we ask ourselves now and then may take a connection more, which is kept.
    const OWN: usize = 6;
    let [a, b] = two();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.yml");
    let backends = [(a.id(), a.url()), (b.id(), b.url())];
    let keys = "health: {interval: 10m, timeout: 20s, warm_up: 0s}\nselection_interval: 200ms\n";
    let config = format!("query:\n  pools:\n{}", pool("main", &backends, keys));
    std::fs::write(&file, config).unwrap();
    let query = std::net::SocketAddr::from(([127, 0, 0, 1], ports::unused()));
    let listen = format!("--query.listen-address={query}");
    let proxy =
        binaries::Proxy::start(&[&listen, &format!("--config.file={}", file.display())]).await;
    let first = |said: &Value| said["selected"] == true && said["score"].is_number();
    comes_to(query, "a", "the first", first).await;
    comes_to(query, "b", "known", |said| said["score"].is_number()).await;
    comes_to(query, "a", "the first", first).await;
    let ask = "GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    scraper::send(query, ask).await.expect(200);
    let before = Held::by_proxy(proxy.address).await;
    let connections = a.journal().open();

    let asked = queries(&a);
    a.set(|state| state.hangs = Hangs::OnQueries);
    let mut callers = Vec::new();
    for _ in 0..CALLERS {
        let mut caller = Connection::open(query).await;
        caller.write(ask).await;
        callers.push(caller);
    }
    a.until("a hundred queries", |journal| {
        journal.queries().len() == asked + CALLERS
    })
    .await;
    drop(callers);
    let left = |journal: &adit_tests::fake_prometheus::Journal<'_>| {
        let queries = journal.queries();
        queries.iter().filter(|seen| seen.left.is_some()).count() == CALLERS
    };
    a.until("a hundred withdrawn", left).await;
    eventually(PATIENCE, "their connections closed", async || {
        let journal = a.journal();
        let (open, probes) = (journal.open(), journal.probes().len());
        (open <= connections + OWN)
            .then_some(())
            .ok_or_else(|| format!("{open} open, {connections} before, {probes} probes"))
    })
    .await;
    a.set(|state| state.hangs = Hangs::Never);
    before.again_but_for(OWN, "a hundred callers left").await;

    let said = said(query).await;
    for name in ["a", "b"] {
        let is = backend(&said, name);
        assert_eq!(
            (&is["state"], &is["tier"]),
            (&"healthy".into(), &"good".into())
        );
        assert_eq!(is["requests_in_flight"], 0, "{is}");
    }
    let metrics = Metrics::of(query).await;
    assert_eq!(metrics.sum("adit_proxy_query_backend_ejections_total"), 0.0);
    assert_eq!(metrics.sum("adit_proxy_query_retries_total"), 0.0);
    let canceled = "adit_proxy_query_backend_requests_total\
                    {backend=\"a\",class=\"read\",code=\"canceled\",pool=\"main\"}";
    assert_eq!(metrics.series(canceled), CALLERS as f64, "{metrics:?}");
    assert_eq!(queries(&b), 0);
    let answer = scraper::send(query, ask).await.expect(200);
    assert_eq!(by(&answer), "a");
}

/// Two servers and no file: what the flags start is watched with the defaults.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_that_returns_is_in_rotation_soon_with_the_defaults() {
    let [mut a, b] = two();
    let flags = [&a, &b].map(|fake| format!("--query.backend={}", fake.url()));
    let proxy = adit_tests::pair::Proxy::start(&[LISTEN, &flags[0], &flags[1]]).await;
    let query = proxy.query.unwrap();
    let name = a.address().to_string();
    let (health, good) = (
        |state: &'static str| move |said: &Value| said["state"] == state,
        "healthy",
    );
    comes_to(query, &name, good, health(good)).await;
    comes_to(query, &b.address().to_string(), good, health(good)).await;
    a.kill().await;
    // A request that finds it gone has it probed; the second probe follows soon.
    let asking = async {
        loop {
            scraper::page(query, "/api/v1/query?query=up")
                .await
                .expect(200);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let began = Instant::now();
    tokio::select! {
        _ = comes_to(query, &name, "down", health("down")) => {}
        () = asking => {}
    }
    let fell = began.elapsed();
    let probed = a.journal().probes().len();
    a.restart().await;
    let first = a.until("a probe", |journal| journal.probes().len() > probed);
    within(PATIENCE, "the next probe", first).await;
    let began = Instant::now();
    comes_to(query, &name, good, health(good)).await;
    // Ten seconds by the interval, at the least four and a half.
    assert!(
        began.elapsed() < Duration::from_secs(4),
        "{:?}",
        began.elapsed()
    );
    adit_tests::turn::measured(
        "down, and healthy after the first probe",
        [fell, began.elapsed()],
    );
}
