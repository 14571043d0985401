//! `/mpp/health`, `/mpp/metrics`, `/mpp/status`, and the field in every answer.

use std::net::SocketAddr;

use adit_tests::fake_prometheus::{FakePrometheus, Fixed, Ready, result_of};
use adit_tests::metrics::Metrics;
use adit_tests::pair::Proxy;
use adit_tests::program::{Program, debian};
use adit_tests::scraper;
use adit_tests::wait::{PATIENCE, eventually};

use super::{Endpoints, LISTEN};

const QUERY: &str = "/api/v1/query?query=up";
/// Every metric of mpp's own.
const SERIES: [(&str, &str); 7] = [
    ("mpp_build_info", "gauge"),
    ("mpp_selected_backends", "gauge"),
    ("mpp_selection_events", "counter"),
    ("mpp_requests", "counter"),
    ("mpp_retries", "counter"),
    ("mpp_response_milliseconds", "counter"),
    ("mpp_affinity_hits", "counter"),
];

async fn start(endpoints: &Endpoints, flags: &[&str]) -> (Proxy, SocketAddr) {
    let file = endpoints.flag();
    let all = [
        &["--compat.mpp", LISTEN, &*file, "--selection-interval=100ms"][..],
        flags,
    ]
    .concat();
    let proxy = Proxy::start(&all).await;
    let query = proxy.query.unwrap();
    (proxy, query)
}

/// Waits until the page says all of it, and gives it.
async fn says(query: SocketAddr, path: &str, parts: &[&str]) -> String {
    eventually(PATIENCE, path, async || {
        let page = scraper::page(query, path).await.text();
        match parts.iter().find(|part| !page.contains(**part)) {
            None => Ok(page),
            Some(part) => Err(format!("no {part:?} in {page}")),
        }
    })
    .await
}

/// Case 4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_pages_are_exact_paths_and_all_else_is_passed_on() {
    let backend = FakePrometheus::start("a");
    let endpoints = Endpoints::new(&[&backend.url()]);
    let (_proxy, query) = start(&endpoints, &[]).await;
    let health = says(query, "/mpp/health", &["OK"]).await;
    assert_eq!(health, "OK");
    let answer = scraper::page(query, "/mpp/health?x=y").await.expect(200);
    assert_eq!(answer.text(), "OK");
    assert_eq!(answer.head.field("MPP.ServedBy"), None);
    for path in ["/mpp/health/", "/mpp/", "/mpp/metrics/x", "/MPP/status"] {
        let passed = scraper::page(query, path).await.expect(200);
        assert_eq!(passed.text(), result_of("a"), "{path}");
        assert_eq!(backend.journal().of(path).len(), 1, "{path}");
    }
    assert!(backend.journal().of("/mpp/health").is_empty());
}

/// Case 4: whoever does not come from mpp has none of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_switch_there_is_nothing_of_mpps() {
    let backend = FakePrometheus::start("a");
    let flag = format!("--query.backend={}", backend.url());
    let proxy = Proxy::start(&[LISTEN, &flag]).await;
    let query = proxy.query.unwrap();
    for path in ["/mpp/health", "/mpp/metrics", "/mpp/status", QUERY] {
        let passed = scraper::page(query, path).await.expect(200);
        assert_eq!(passed.text(), result_of("a"), "{path}");
        assert_eq!(passed.head.field("MPP.ServedBy"), None, "{path}");
    }
}

/// Case 4: `scheme://host`, as mpp had it, and no path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_says_who_gave_it() {
    let backend = FakePrometheus::start_as("a", |state| state.prefix = "/prom".into());
    let endpoints = Endpoints::new(&[&format!("{}/prom", backend.url())]);
    let (_proxy, query) = start(&endpoints, &[]).await;
    let answer = scraper::page(query, QUERY).await.expect(200);
    assert_eq!(answer.head.field("mpp.servedby"), Some(backend.url()));
    assert_eq!(answer.text(), result_of("a"));
}

/// Case 4, M12: mpp's own was `OK` whatever happened.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_health_is_no_constant() {
    let backend = FakePrometheus::start_as("a", |state| state.ready = Ready::Replaying(3, 10));
    let endpoints = Endpoints::new(&[&backend.url()]);
    let (_proxy, query) = start(&endpoints, &[]).await;
    let page = says(query, "/mpp/status", &["starting (3/10"]).await;
    assert!(page.contains(&backend.url()), "{page}");
    let health = scraper::page(query, "/mpp/health").await.expect(503);
    assert!(health.text().contains("pool main has no backend"));
    // Who is tried all the same is selected: mpp said 0 while it went on asking.
    says(query, "/mpp/metrics", &["mpp_selected_backends 1\n"]).await;
}

/// Case 4: all seven are there by their names, with what they count, and Prometheus can read them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_metrics_are_all_there_and_can_be_read() {
    let good = FakePrometheus::start("a");
    let bad = FakePrometheus::start_as("b", |state| {
        state.always("/api/v1/query", Fixed::status(502))
    });
    let endpoints = Endpoints::new(&[&good.url(), &bad.url()]);
    let (_proxy, query) = start(&endpoints, &["--routing-strategy=random"]).await;
    says(query, "/mpp/metrics", &["mpp_selected_backends 2"]).await;
    let mut cookie = String::new();
    // Of so many by chance some were the bad one's first.
    eventually(PATIENCE, "a retry", async || {
        let request =
            format!("GET {QUERY} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{cookie}\r\n");
        let answer = scraper::send(query, request).await.expect(200);
        let metrics = scraper::page(query, "/mpp/metrics").await.expect(200);
        let metrics = Metrics::parse(&metrics.text());
        if metrics.sum("mpp_retries") == 0.0 {
            return Err(format!("{metrics:?}"));
        }
        // From the first retry on with the cookie of who has answered.
        if let Some(set) = answer.head.field("set-cookie") {
            let value = set.split(';').next().unwrap();
            assert!(value.starts_with("MPP.Route="), "{set}");
            cookie = format!("Cookie: {value}\r\n");
        }
        match metrics.sum("mpp_affinity_hits") {
            0.0 => Err(format!("{metrics:?}")),
            _ => Ok(()),
        }
    })
    .await;
    let page = scraper::page(query, "/mpp/metrics").await.expect(200);
    let kind = page.head.field("content-type").unwrap();
    assert!(kind.starts_with("text/plain"), "{kind}");
    let text = page.text();
    for (name, kind) in SERIES {
        let says = format!("# TYPE {name} {kind}\n");
        assert_eq!(text.matches(&says).count(), 1, "{name}");
        assert!(Metrics::parse(&text).sum(name) > 0.0, "{name}: {text}");
    }
    let names = [&good, &bad].map(|backend| backend.address().to_string());
    let metrics = Metrics::parse(&text);
    let of =
        |name: &str, at: usize| metrics.series(&format!("{name}{{backend=\"{}\"}}", names[at]));
    assert!(of("mpp_requests", 0) > 0.0 && of("mpp_requests", 1) > 0.0);
    assert!(of("mpp_response_milliseconds", 0) > 0.0);
    assert_eq!(of("mpp_retries", 0), 0.0);
    assert!(of("mpp_retries", 1) > 0.0, "{metrics:?}");
    assert!(metrics.series("mpp_affinity_hits{type=\"cookie\"}") > 0.0);
    // And ours, once.
    assert_eq!(text.matches("# TYPE adit_proxy_build_info ").count(), 1);
    promtool_reads(&text).await;
}

/// Its lint knows what mpp's names are not called as one would: nothing else may be said.
async fn promtool_reads(text: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("metrics");
    std::fs::write(&file, text).unwrap();
    let script = format!(
        "{} check metrics <{}",
        debian("promtool", "prometheus").display(),
        file.display()
    );
    let checked = Program::run("/bin/sh", &["-c", &script]).await;
    // 3: read, and something said of names.
    assert_eq!(checked.status.code(), Some(3), "{checked:?}");
    for line in checked.stderr.lines().chain(checked.stdout.lines()) {
        let name = line.split(' ').next().unwrap();
        assert!(SERIES.iter().any(|(known, _)| *known == name), "{line}");
    }
}

/// Case 4: what mpp's page showed, for each backend in whatever state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn its_status_has_all_fields_of_mpps() {
    let first = FakePrometheus::start("a");
    let second = FakePrometheus::start_as("b", |state| state.ready = Ready::Stopping);
    let endpoints = Endpoints::new(&[&first.url(), &second.url()]);
    let interval = "--selection-interval=1500ms";
    let file = endpoints.flag();
    let proxy = Proxy::start(&[
        "--compat.mpp",
        LISTEN,
        &file,
        interval,
        "--routing-strategy=minimum-history:2m",
        "--affinity-options=cookies,sourceip",
    ])
    .await;
    let query = proxy.query.unwrap();
    let page = says(query, "/mpp/status", &[">healthy", ">stopping"]).await;
    let field = |name: &str| {
        let (_, rest) = page.split_once(&format!("<dt>{name}</dt><dd>")).unwrap();
        rest.split_once("</dd>").unwrap().0.to_owned()
    };
    assert!(field("Uptime").ends_with('s'));
    assert!(!field("Version").is_empty());
    assert!(!field("Rust version").is_empty(), "in place of Go's");
    assert_eq!(field("Selector strategy"), "min-history:2m");
    assert!(field("Comparison metric").starts_with("history"));
    assert_eq!(field("Selection interval"), "1s 500ms");
    assert_eq!(
        field("Affinity options"),
        "cookie MPP.Route, source-address"
    );
    assert!(field("Source").ends_with(": 2 backends"));
    let columns = page.split("<th>").skip(1);
    let columns: Vec<&str> = columns.map(|th| th.split('<').next().unwrap()).collect();
    assert_eq!(
        columns,
        ["Address", "Selected", "State", "Uptime", "Comparison"]
    );
    let row = |backend: &FakePrometheus| {
        let rows = page.split("<tr>").skip(2);
        let mut found = rows.filter(|row| row.contains(&backend.url()));
        found.next().unwrap().to_owned()
    };
    let [healthy, stopping] = [row(&first), row(&second)];
    assert!(healthy.contains("✓") && !stopping.contains("✓"), "{page}");
    assert!(healthy.contains("1day"), "{healthy}");
    assert!(stopping.contains("unavailable"), "{stopping}");
    // Nothing is loaded from anywhere, and nothing runs.
    assert!(
        !page.contains("<script") && !page.contains("src="),
        "{page}"
    );
    assert!(!page.contains("<link"), "{page}");
}
