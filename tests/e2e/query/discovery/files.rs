//! Lists that somebody writes.

use adit_tests::fake_prometheus::{FakePrometheus, Fixed};
use adit_tests::tls::Authority;

use super::{World, ask, giver};

fn of_the_file(url: &str) -> String {
    format!("{url} file")
}

/// Case 5. M11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lines_as_people_write_them_are_backends_with_their_prefix_and_user() {
    let below = FakePrometheus::start_as("below", |state| state.prefix = "/prom".to_owned());
    let locked = FakePrometheus::start_as("locked", |state| {
        // grafana:s@cret
        state.authorization = Some("Basic Z3JhZmFuYTpzQGNyZXQ=".to_owned());
    });
    let lines = format!(
        "\u{feff}# ours\r\n\r\n   {}/prom/  \r\n\thttp://grafana:s%40cret@{}\t# the new one\r\n \r\n",
        below.url(),
        locked.address(),
    );
    let pool = "discovery: {grace: 1s, file: [{path: endpoints, refresh: 100ms}]}";
    let world = World::new(pool, |folder| super::write(folder, "endpoints", &lines)).await;
    let prefixed = format!("{}/prom", below.url());
    let both = [of_the_file(&prefixed), of_the_file(&locked.url())];
    world.lists(&both).await;
    world.healthy(2).await;
    world.answers_of(&["below", "locked"]).await;
    let journal = below.journal();
    assert!(!journal.of("/prom/api/v1/query").is_empty());
    // A request that came without the user was answered with 401, and the next would have been asked.
    let journal = locked.journal();
    for seen in journal.queries().iter().chain(&journal.probes()) {
        let user = seen.field("authorization");
        assert_eq!(user.as_deref(), Some("Basic Z3JhZmFuYTpzQGNyZXQ="));
    }
    world.write(
        "endpoints",
        &format!("http://grafana:s%40cret@{}", locked.address()),
    );
    world.lists(&both[1..]).await;
    world.answers_of(&["locked"]).await;
    below.all_closed().await;
    world
        .has_no_series_with(&format!("{}/prom", below.address()))
        .await;
}

/// Case 56: the last list counts for the grace, and then as long as there is no other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_has_vanished_counts_for_the_grace() {
    let [ours, listed] = ["ours", "listed"].map(FakePrometheus::start);
    let url = listed.url();
    let pool = |grace: &str, backends: &str| {
        format!(
            "backends: [{backends}], \
             discovery: {{grace: {grace}, file: [{{path: endpoints, refresh: 100ms}}]}}"
        )
    };
    let of = |fake: &FakePrometheus, source: &str| format!("{} {source}", fake.url());
    let prepare = |folder: &std::path::Path| super::write(folder, "endpoints", &url);
    // Within an hour.
    let world = World::new(&pool("1h", &ours.url()), prepare).await;
    world
        .lists(&[of(&ours, "static"), of(&listed, "file")])
        .await;
    std::fs::remove_file(world.path("endpoints")).unwrap();
    let error = world.source("file", "failing").await;
    assert!(error.contains("endpoints: No such file"), "{error}");
    world
        .lists(&[of(&ours, "static"), of(&listed, "file")])
        .await;
    let errors = "adit_proxy_query_discovery_errors_total{pool=\"main\",source=\"file\"}";
    assert!(world.metrics().await.series(errors) >= 1.0);
    // After a moment.
    let world = World::new(&pool("200ms", &ours.url()), prepare).await;
    world
        .lists(&[of(&ours, "static"), of(&listed, "file")])
        .await;
    std::fs::remove_file(world.path("endpoints")).unwrap();
    world.lists(&[of(&ours, "static")]).await;
    world.write("endpoints", &url);
    world
        .lists(&[of(&ours, "static"), of(&listed, "file")])
        .await;
    // Nobody else is there: an outage empties no pool.
    let world = World::new(&pool("200ms", ""), prepare).await;
    world.lists(&[of(&listed, "file")]).await;
    std::fs::remove_file(world.path("endpoints")).unwrap();
    world.source("file", "failing").await;
    world
        .shows("the grace over", |pool| {
            pool["sources"][0]["since_seconds"].as_f64() > Some(0.5)
        })
        .await;
    world.lists(&[of(&listed, "file")]).await;
    assert_eq!(giver(&ask(world.query()).await.expect(200)), "listed");
}

/// Case 5. M13: Prometheus' own form, with TLS by a CA of ours and a path.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_of_prometheus_may_say_https_and_a_path() {
    let authority = Authority::new();
    let tls = FakePrometheus::start_tls("tls", authority.server(&["127.0.0.1"]));
    tls.set(|state| state.prefix = "/p".to_owned());
    let plain = FakePrometheus::start("plain");
    let groups = |also: &str| {
        format!(
            r#"[{{"targets": ["{}"], "labels": {{"__scheme__": "https", "__path_prefix__": "/p/"}}}}{also}]"#,
            tls.address()
        )
    };
    let pool = format!(
        "discovery: {{file: [{{path: '*.json', format: file_sd, refresh: 100ms, tls: {{ca_file: '{}'}}}}]}}",
        authority.ca_file().display()
    );
    let world = World::new(&pool, |folder| super::write(folder, "a.json", &groups(""))).await;
    let first = of_the_file(&format!("{}/p", tls.url()));
    world.lists(std::slice::from_ref(&first)).await;
    world.healthy(1).await;
    world.answers_of(&["tls"]).await;
    let also = format!(r#", {{"targets": ["{}"]}}"#, plain.address());
    world.write("a.json", &groups(&also));
    let both = [first, of_the_file(&plain.url())];
    world.lists(&both).await;
    world.answers_of(&["tls", "plain"]).await;
    world.write("a.json", "[{\"targets\": ");
    let error = world.source("file", "failing").await;
    assert!(error.contains("a.json:1:"), "{error}");
    world.lists(&both).await;
}

/// M11: the place is the same, who asks there is not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_password_in_the_file_is_used_at_once() {
    let locked = FakePrometheus::start_as("locked", |state| {
        state.authorization = Some("Basic dTpmaXJzdA==".to_owned()); // u:first
    });
    let line = |password: &str| format!("http://u:{password}@{}\n", locked.address());
    let pool = "discovery: {file: [{path: endpoints, refresh: 100ms}]}";
    let world = World::new(pool, |folder| {
        super::write(folder, "endpoints", &line("first"))
    })
    .await;
    world.healthy(1).await;
    locked.set(|state| state.authorization = Some("Basic dTpzZWNvbmQ=".to_owned())); // u:second
    world
        .shows("it is refused", |pool| {
            pool["backends"][0]["state"] != "healthy"
        })
        .await;
    world.write("endpoints", &line("second"));
    world.healthy(1).await;
    assert_eq!(giver(&ask(world.query()).await.expect(200)), "locked");
}

/// What is under way goes on, and is the last that is known of a backend.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_outlives_its_backend_and_leaves_no_series() {
    let [leaves, stays] = ["leaves", "stays"].map(FakePrometheus::start);
    let gate = adit_tests::target::Gate::default();
    leaves.set(|state| {
        let slow = Fixed::json(200, &serde_json::json!({"status": "success"})).behind(&gate);
        state.always("/api/v1/series", slow);
    });
    let pool = "discovery: {grace: 0s, file: [{path: endpoints, refresh: 100ms}]}";
    let world = World::new(pool, |folder| {
        super::write(folder, "endpoints", &leaves.url())
    })
    .await;
    world.healthy(1).await;
    let query = world.query();
    let slow =
        tokio::spawn(
            async move { adit_tests::scraper::page(query, "/api/v1/series?match[]=up").await },
        );
    leaves
        .until("the slow query", |journal| {
            journal.of("/api/v1/series").len() == 1
        })
        .await;
    world.write("endpoints", &stays.url());
    world.lists(&[of_the_file(&stays.url())]).await;
    world.answers_of(&["stays"]).await;
    gate.open();
    let answer = slow.await.unwrap().expect(200);
    assert_eq!(giver(&answer), "leaves");
    leaves.all_closed().await;
    world
        .has_no_series_with(&leaves.address().to_string())
        .await;
}
