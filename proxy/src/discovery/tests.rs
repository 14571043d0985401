//! A pool's sources from their start to their end.

use std::net::SocketAddr;

use tokio::time::timeout;

use super::*;
use crate::config::query::{
    DnsRecords, DnsSource, FileFormat, FileSource, Manner, StaticBackend, TunnelSource,
};
use crate::metrics::Metrics;
use crate::registry::{Memory, Waiting};

/// For whatever comes at once.
const SOON: Duration = Duration::from_secs(30);

fn written(url: &str) -> Source {
    Source::Static(StaticBackend {
        url: url.parse().unwrap(),
        name: Some("ours".to_owned()),
        manner: Manner::default(),
    })
}

fn file(path: &std::path::Path) -> Source {
    Source::File(FileSource {
        path: path.to_owned(),
        format: FileFormat::Lines,
        refresh: Duration::from_millis(100),
        manner: Manner::default(),
    })
}

fn start(sources: &[Source], grace: Duration, metrics: &Metrics) -> Discovery {
    let waiting = Waiting::new(8, 8, metrics.scrapes_waiting.clone());
    let memory = Memory {
        remember: Duration::from_secs(300),
        grace: Duration::from_secs(2),
        startup: Duration::ZERO,
        list: Duration::from_secs(45),
    };
    let registry = Arc::new(Registry::new(memory, Arc::new(waiting)));
    Discovery::start(
        sources,
        grace,
        &registry,
        metrics.query.clone(),
        "main".into(),
    )
}

fn urls(list: &[Listed]) -> Vec<String> {
    list.iter().map(|one| one.found.url.to_string()).collect()
}

async fn becomes(listed: &mut watch::Receiver<Arc<Vec<Listed>>>, expected: &[&str]) {
    let is_it = |list: &Arc<Vec<Listed>>| urls(list) == expected;
    let waited = timeout(SOON, listed.wait_for(is_it)).await.map(|_| ());
    assert!(
        waited.is_ok(),
        "{:?} instead of {expected:?}",
        urls(&listed.borrow())
    );
}

/// What the gauge of a kind of source says; nothing without one.
fn discovered(metrics: &Metrics, kind: &str) -> Option<f64> {
    let families = metrics.registry.gather();
    let family = families
        .iter()
        .find(|family| family.name() == "adit_proxy_query_discovery_backends")?;
    let is_it = |series: &&prometheus::proto::Metric| {
        series.get_label().iter().any(|label| label.value() == kind)
    };
    let series = family.get_metric().iter().find(is_it)?;
    Some(series.get_gauge().get_value())
}

#[tokio::test]
async fn what_is_written_down_is_there_before_any_task_has_run() {
    let metrics = Metrics::new().unwrap();
    let sources = [
        written("http://a:9090"),
        written("http://b:9090"),
        written("http://A:9090/"),
    ];
    let discovery = start(&sources, Duration::ZERO, &metrics);
    let list = Arc::clone(&discovery.listed().borrow());
    assert_eq!(urls(&list), ["http://a:9090", "http://b:9090"]);
    assert_eq!(
        (list[0].source, list[0].found.name.as_deref()),
        ("static", Some("ours"))
    );
    assert_eq!(discovered(&metrics, "static"), Some(3.0));
    assert_eq!(discovery.sources().len(), 3);
}

/// Cases 5, 55 and 56: a file beside a static backend, and what happens to it.
#[tokio::test]
async fn a_list_follows_its_sources_and_goes_with_them() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints");
    std::fs::write(&path, "http://b:9090\nhttp://a:9090\n").unwrap();
    let metrics = Metrics::new().unwrap();
    let grace = Duration::from_millis(500);
    let sources = [written("http://a:9090"), file(&path)];
    let discovery = start(&sources, grace, &metrics);
    let mut listed = discovery.listed();
    becomes(&mut listed, &["http://a:9090", "http://b:9090"]).await;
    assert_eq!(discovered(&metrics, "file"), Some(2.0));
    let before = Arc::clone(&listed.borrow_and_update());
    // The same places in other words, and a comment: no news.
    std::fs::write(&path, "# new\nhttp://B:9090/\nhttp://c:9090\n").unwrap();
    becomes(
        &mut listed,
        &["http://a:9090", "http://b:9090", "http://c:9090"],
    )
    .await;
    assert!(!Arc::ptr_eq(&before, &listed.borrow_and_update()));
    let gone = Instant::now();
    std::fs::remove_file(&path).unwrap();
    becomes(&mut listed, &["http://a:9090"]).await;
    assert!(gone.elapsed() >= grace, "believed for the grace");
    let errors = &metrics.query.discovery_errors;
    assert!(errors.with_label_values(&["main", "file"]).get() > 0);
    let SourceStanding::Failing(why) = discovery.sources()[1].standing.clone() else {
        panic!("{:?}", discovery.sources());
    };
    assert!(why.contains("endpoints: No such file"), "{why}");
    std::fs::write(&path, "http://d:9090\n").unwrap();
    becomes(&mut listed, &["http://a:9090", "http://d:9090"]).await;
    assert_eq!(discovery.sources()[1].standing, SourceStanding::Answering);
    drop(discovery);
    // All tasks are gone, and nobody can say anything any more.
    assert!(timeout(SOON, listed.changed()).await.unwrap().is_err());
    assert_eq!(discovered(&metrics, "file"), None);
}

#[tokio::test]
async fn a_list_that_says_the_same_again_is_no_news() {
    let metrics = Metrics::new().unwrap();
    let now = Instant::now();
    let state = State::new(&[file("x".as_ref())], Duration::from_secs(60), now);
    let journal = Journal::new("main".into(), metrics.query.clone(), &state.views(now), &[]);
    let (tell, mut listed) = watch::channel(Arc::default());
    let (news, heard) = report::channel();
    let report = Report::new(0, news);
    let mut task = JoinSet::new();
    task.spawn(follow::all(
        heard,
        Arc::new(Mutex::new(state)),
        tell,
        journal,
    ));
    let found = |url: &str| vec![Found::new(url.parse().unwrap(), &Manner::default())];
    report.found(found("http://a:9090")).await;
    becomes(&mut listed, &["http://a:9090"]).await;
    let before = Arc::clone(&listed.borrow_and_update());
    report.found(found("http://a:9090/")).await;
    report.failed("no answer".to_owned()).await;
    // Words are heard in turn, on this thread.
    let failures = &metrics.query.discovery_errors;
    while failures.with_label_values(&["main", "file"]).get() == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!listed.has_changed().unwrap());
    assert!(Arc::ptr_eq(&before, &listed.borrow()));
    // The same place, asked as somebody else or as another host, is news.
    report.found(found("http://u:p@a:9090")).await;
    timeout(SOON, listed.changed()).await.unwrap().unwrap();
    assert!(listed.borrow_and_update()[0].found.url.user.is_some());
    report.found(found("http://u:p@a.:9090")).await;
    timeout(SOON, listed.changed()).await.unwrap().unwrap();
}

/// After a reload the new one begins before the old one is gone.
#[tokio::test]
async fn a_pool_that_is_followed_anew_is_not_empty_and_counted_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("endpoints");
    std::fs::write(&path, "http://b:1\n").unwrap();
    let metrics = Metrics::new().unwrap();
    let sources = [written("http://a:1"), file(&path)];
    let old = start(&sources, Duration::from_secs(60), &metrics);
    becomes(&mut old.listed(), &["http://a:1", "http://b:1"]).await;
    // An outage, and somebody takes the other backend out meanwhile.
    std::fs::remove_file(&path).unwrap();
    let new = old.again(&sources[1..], Duration::from_secs(30));
    assert_eq!(urls(&new.listed().borrow()), ["http://b:1"]);
    let mut gone = old.listed();
    drop(old);
    while timeout(SOON, gone.changed()).await.unwrap().is_ok() {}
    assert_eq!(discovered(&metrics, "file"), Some(1.0));
    assert_eq!(discovered(&metrics, "static"), None);
    let mut gone = new.listed();
    drop(new);
    while timeout(SOON, gone.changed()).await.unwrap().is_ok() {}
    assert_eq!(discovered(&metrics, "file"), None);
}

#[tokio::test]
async fn sources_of_all_kinds_are_shown() {
    let metrics = Metrics::new().unwrap();
    let nobody = SocketAddr::from(([127, 0, 0, 1], 1));
    let dns = Source::Dns(DnsSource {
        name: "prom.test".to_owned(),
        records: DnsRecords::A,
        port: 9090,
        scheme: adit_common::target::Scheme::Http,
        path_prefix: String::new(),
        server: Some(nobody),
        refresh: Duration::from_secs(60),
        manner: Manner::default(),
    });
    let tunnel = Source::Tunnel(TunnelSource {
        labels: [("job".to_owned(), "prometheus".to_owned())].into(),
        manner: Manner::default(),
    });
    let sources = [dns, tunnel, file(std::path::Path::new("/nonexistent/x"))];
    let discovery = start(&sources, Duration::from_secs(60), &metrics);
    let all_have_said_something = async {
        let waits = |view: &SourceView| view.standing == SourceStanding::Waiting;
        while discovery.sources().iter().any(waits) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(SOON, all_have_said_something).await.unwrap();
    let views = discovery.sources();
    let standings: Vec<(&str, &str, bool)> = views
        .iter()
        .map(|view| {
            let fails = matches!(view.standing, SourceStanding::Failing(_));
            (view.kind, view.what.as_str(), fails)
        })
        .collect();
    assert_eq!(
        standings,
        [
            ("dns", "prom.test", true),
            ("tunnel", "job=prometheus", false),
            ("file", "/nonexistent/x", true)
        ]
    );
}
