use super::lab::{Reply, Script, Server, Watched, now, says};
use crate::query::standing::State;

const BLOCKS: &str = r#"{"status":"success","data":{"blocks":[
    {"ulid":"B","minTime":1700000000500,"maxTime":1700007200000,"stats":{"numSamples":70,"numSeries":3}},
    {"ulid":"A","minTime":1600000000000,"maxTime":1700000000500,"stats":{"numSamples":30}}]}}"#;

#[tokio::test]
async fn what_strategies_compare_comes_of_metrics_and_blocks() {
    let page = format!(
        "# HELP x y\nprometheus_tsdb_lowest_timestamp_seconds {}\n\
         prometheus_tsdb_head_series 433\n\
         prometheus_tsdb_head_samples_appended_total{{type=\"float\"}} 1000\n\
         prometheus_tsdb_head_samples_appended_total{{type=\"histogram\"}} 24\n\
         prometheus_build_info{{goversion=\"go1.24\",version=\"3.6.0\"}} 1",
        now() - 3600.0
    );
    let server = Server::start(Script {
        metrics: says(200, &page),
        blocks: says(200, BLOCKS),
        ..Script::default()
    })
    .await;
    let watched = Watched::alone(server.address);
    let known = watched.comes_to("known", |standing| standing.data.history().is_some());
    let data = known.await.data;
    assert!(
        (3590.0..3700.0).contains(&data.history().unwrap()),
        "{data:?}"
    );
    assert_eq!(data.stored_samples, Some(100.0));
    assert_eq!(data.head_series, Some(433.0));
    assert_eq!(data.ingested_samples, Some(1024.0));
    assert_eq!(data.version.as_deref(), Some("3.6.0"));
    let shown = "adit_proxy_query_backend_history_seconds";
    server.is_asked("/-/ready", 2).await;
    assert!(watched.metric(shown, "").unwrap() > 3000.0);
    // A server that says nothing of it is no worse for it.
    server.now(|script| {
        script.metrics = says(401, "");
        script.blocks = says(200, r#"{"status":"success","data":{"blocks":null}}"#);
    });
    let unknown = watched.comes_to("unknown", |standing| standing.data.head_series.is_none());
    let standing = unknown.await;
    assert_eq!(standing.state, State::Healthy);
    assert_eq!(standing.data.stored_samples, Some(0.0));
    assert_eq!(standing.data.version.as_deref(), Some("3.6.0"));
}

/// Case 9.
#[tokio::test]
async fn an_empty_storage_goes_back_nowhere() {
    let page = "prometheus_tsdb_lowest_timestamp_seconds 9.223372036854776e+15\n\
                prometheus_tsdb_head_min_time_seconds -9.223372036854776e+15\n\
                prometheus_tsdb_lowest_timestamp 9.223372036854776e+18\n\
                prometheus_tsdb_head_series 0\n";
    let server = Server::start(Script {
        metrics: says(200, page),
        ..Script::default()
    })
    .await;
    let watched = Watched::alone(server.address);
    let known = watched.comes_to("known", |standing| standing.data.head_series.is_some());
    let data = known.await.data;
    assert_eq!((data.oldest, data.history()), (None, None));
}

#[tokio::test]
async fn metrics_that_hang_change_nothing_and_blocks_that_are_not_there_are_asked_for_once() {
    let server = Server::start(Script {
        metrics: Reply::Hangs,
        ..Script::default()
    })
    .await;
    let watched = Watched::alone(server.address);
    watched.is(State::Healthy).await;
    server.is_asked("/-/ready", 10).await;
    assert_eq!(watched.backend.standing.borrow().state, State::Healthy);

    let server = Server::start(Script {
        metrics: says(200, ""),
        ..Script::default()
    })
    .await;
    let _watched = Watched::alone(server.address);
    server.is_asked("/metrics", 4).await;
    let seen = server.seen.borrow().clone();
    let blocks = seen.iter().filter(|seen| seen.path.ends_with("/blocks"));
    assert_eq!(blocks.count(), 1);
}
