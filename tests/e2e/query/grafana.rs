//! What Grafana sends to a data source, as recorded: through the query side it is answered as by the
//! server itself, whether that is dialled or behind a client.

use std::io::Read as _;
use std::net::SocketAddr;

use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::scraper::{self, Answer};
use flate2::read::GzDecoder;
use serde_json::Value;

use super::asking::{FORM, QUICK, Side, form, served};
use super::homes::{Homes, last_scrape};

/// What it adds to each of them.
const HEADERS: &str = "User-Agent: Grafana/11.2.0\r\nX-Grafana-Org-Id: 1\r\n\
    X-Datasource-Uid: P1809F7CD0C75ACF3\r\nX-Dashboard-Uid: rYdddlPWk\r\nX-Panel-Id: 3\r\n\
    Fromalert: true\r\nTraceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\r\n\
    Accept-Encoding: gzip\r\nConnection: close\r\n";

fn by_post(path: &str, form: &str) -> String {
    let length = form.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: prometheus:9090\r\n{HEADERS}{FORM}Content-Length: {length}\r\n\r\n{form}"
    )
}

fn by_get(path: &str, form: &str) -> String {
    let query = match form {
        "" => String::new(),
        form => format!("?{form}"),
    };
    format!("GET {path}{query} HTTP/1.1\r\nHost: prometheus:9090\r\n{HEADERS}\r\n")
}

/// By POST, and by GET when the server does not want that (405) or does not understand it (400).
async fn resource(server: SocketAddr, path: &str, form: &str) -> Vec<Answer> {
    let first = scraper::send(server, by_post(path, form)).await;
    let again = matches!(first.head.status, 400 | 405);
    let mut answers = vec![first];
    if again {
        answers.push(scraper::send(server, by_get(path, form)).await);
    }
    answers
}

fn json(answer: &Answer) -> Value {
    let mut body = answer.body.clone();
    if answer.head.field("content-encoding").as_deref() == Some("gzip") {
        body.clear();
        let read = GzDecoder::new(&*answer.body).read_to_end(&mut body);
        read.unwrap_or_else(|error| panic!("{error}: {answer:?}"));
    }
    serde_json::from_slice(&body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

#[track_caller]
fn assert_same(direct: &Answer, through: &Answer, what: &str) {
    let statuses = (direct.head.status, through.head.status);
    assert_eq!(statuses.0, statuses.1, "{what}: {direct:?} {through:?}");
    for name in ["content-type", "content-encoding"] {
        let fields = (direct.head.field(name), through.head.field(name));
        assert_eq!(fields.0, fields.1, "{what}: {name}");
    }
    assert_eq!(json(direct), json(through), "{what}");
}

/// Panels, alerts, variables, the query editor's help, and "Save & test".
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grafana_gets_what_the_server_itself_would_say() {
    let homes = Homes::start().await;
    for (prometheus, prefix) in homes.each() {
        let end = last_scrape(prometheus).await;
        let start = format!("{}", end.parse::<f64>().unwrap() - 300.0);
        let window = [("start", &*start), ("end", &*end)];
        let with = |pairs: &[(&str, &str)]| form(&[pairs, &window].concat());
        let range = with(&[("query", "sum by (n) (n) * time()"), ("step", "0.5")]);
        let posts = [
            ("/api/v1/query_range", range),
            ("/api/v1/query", form(&[("query", "up"), ("time", &end)])),
            (
                "/api/v1/query",
                form(&[("query", "n[5m]"), ("time", &end), ("timeout", "30s")]),
            ),
            // "Save & test".
            ("/api/v1/query", form(&[("query", "1+1"), ("time", "4")])),
            ("/api/v1/query", form(&[("query", "sum("), ("time", &end)])),
            ("/api/v1/query_exemplars", with(&[("query", "n")])),
            ("/api/v1/labels", with(&[("match[]", "n")])),
            (
                "/api/v1/series",
                with(&[("match[]", "n{n=~\"1.*\"}"), ("match[]", "room")]),
            ),
        ];
        let gets = [
            ("/api/v1/label/n/values", with(&[("match[]", "n")])),
            ("/api/v1/label/__name__/values", String::new()),
            ("/api/v1/metadata", form(&[("limit", "100")])),
            ("/api/v1/rules", String::new()),
            ("/api/v1/alerts", String::new()),
            ("/api/v1/targets/metadata", String::new()),
            ("/api/v1/alertmanagers", String::new()),
            ("/api/v1/status/buildinfo", String::new()),
            ("/api/v1/status/flags", String::new()),
            ("/api/v1/status/config", String::new()),
            ("/api/v1/status/walreplay", String::new()),
        ];
        for (path, form) in &posts {
            let direct = scraper::send(prometheus.address, by_post(path, form)).await;
            let request = by_post(&format!("{prefix}{path}"), form);
            let through = scraper::send(homes.side.query, request).await;
            assert_same(&direct, &through, &format!("POST {prefix}{path} {form}"));
            assert_eq!(served(&through).1, "1", "{through:?}");
        }
        for (path, form) in &gets {
            let direct = scraper::send(prometheus.address, by_get(path, form)).await;
            let request = by_get(&format!("{prefix}{path}"), form);
            let through = scraper::send(homes.side.query, request).await;
            assert_eq!(through.head.status, 200, "{prefix}{path}: {through:?}");
            assert_same(&direct, &through, &format!("GET {prefix}{path} {form}"));
        }
        let sum = scraper::send(
            homes.side.query,
            by_post(&format!("{prefix}/api/v1/query"), &posts[3].1),
        );
        let sum = json(&sum.await.expect(200));
        assert_eq!(sum["data"]["result"], serde_json::json!([4, "2"]), "{sum}");
    }
}

/// 405 is what makes Grafana ask by GET, and it comes as from the server; a wrong query is wrong both ways.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn grafana_falls_back_to_get_where_a_server_would_have_it_do_so() {
    let homes = Homes::start().await;
    for (prometheus, prefix) in homes.each() {
        for (path, form, statuses) in [
            ("/api/v1/label/n/values", "match%5B%5D=n", &[405, 200][..]),
            ("/api/v1/metadata", "limit=10", &[405, 200]),
            ("/api/v1/labels", "match%5B%5D=n", &[200]),
            ("/api/v1/series", "match%5B%5D=n%7B", &[400, 400]),
        ] {
            let direct = resource(prometheus.address, path, form).await;
            let through = resource(homes.side.query, &format!("{prefix}{path}"), form).await;
            let seen: Vec<u16> = through.iter().map(|answer| answer.head.status).collect();
            assert_eq!(seen, statuses, "{prefix}{path}: {through:?}");
            assert_eq!(direct.len(), through.len(), "{prefix}{path}: {direct:?}");
            for (direct, through) in direct.iter().zip(&through) {
                match through.head.status {
                    // The words are ours, and Prometheus has none.
                    405 => assert_eq!(direct.head.status, 405, "{direct:?}"),
                    _ => assert_same(direct, through, path),
                }
            }
        }
    }
}

/// What a server makes of a request may depend on all of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_backend_is_sent_what_grafana_has_sent() {
    let fake = FakePrometheus::start("a");
    let url = fake.url();
    let side = Side::start(&format!(
        "query: {{pools: [{{backends: ['{url}'], {QUICK}}}]}}\n"
    ))
    .await;
    side.is(&fake.address().to_string(), "healthy").await;
    let sent =
        "end=1700000000.123&query=sum+by+%28n%29%20(n)&start=1699999000.5&step=15&timeout=60s";
    scraper::send(side.query, by_post("/api/v1/query_range", sent))
        .await
        .expect(200);
    let journal = fake.journal();
    let seen = journal.of("/api/v1/query_range")[0];
    assert_eq!(seen.method(), "POST");
    assert_eq!(String::from_utf8_lossy(seen.body()), sent);
    for line in HEADERS.lines().chain(FORM.lines()) {
        let (name, value) = line.split_once(": ").unwrap();
        match name {
            "Connection" => {}
            _ => assert_eq!(seen.field(name).as_deref(), Some(value), "{name}"),
        }
    }
}
