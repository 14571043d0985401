//! A Prometheus that has its data from the query side: by remote read, and by federation.

use adit_tests::metrics::Metrics;
use adit_tests::prometheus::{Prometheus, Series};
use adit_tests::scraper;
use adit_tests::wait::{PATIENCE, eventually};

use super::homes::{Homes, last_scrape};

async fn arrives(prometheus: &Prometheus, query: &str, count: usize) -> Vec<Series> {
    eventually(PATIENCE, query, async || {
        let series = prometheus.query(query).await;
        match series.len() == count {
            true => Ok(series),
            false => Err(format!("{} series", series.len())),
        }
    })
    .await
}

/// One server has read by each way, of one backend and of both.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_reads_what_only_the_backends_have() {
    let homes = Homes::start().await;
    let query = homes.side.query;
    for prefix in ["/near", "/far", ""] {
        let outer = Prometheus::start(&format!(
            "- job_name: none\nremote_read:\n\
             - url: http://{query}{prefix}/api/v1/read\n  read_recent: true\n  required_matchers: {{job: room}}\n"
        ))
        .await;
        let series = arrives(&outer, "n{job=\"room\"}", 20).await;
        for (labels, values) in &series {
            assert_eq!(values, &[labels["n"].parse::<f64>().unwrap()]);
        }
        let range = outer.query("count_over_time(room{job=\"room\"}[1h])").await;
        assert!(range[0].1[0] >= 3.0, "{prefix}: {range:?}");
        // Not without the label that is asked for.
        assert_eq!(outer.query("n").await.len(), 0, "{prefix}");
    }
    let metrics = Metrics::of(homes.side.proxy.address).await;
    for pool in ["near", "far", "main"] {
        let series = format!(
            "adit_proxy_query_requests_total{{class=\"remote_read\",code=\"200\",pool=\"{pool}\"}}"
        );
        assert!(metrics.series(&series) >= 2.0, "{series}");
    }
}

/// Answers in chunks of the storage's own, as they come: newer readers ask for them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn streamed_chunks_come_through() {
    let homes = Homes::start().await;
    for (prometheus, prefix) in homes.each() {
        let end = last_scrape(prometheus).await.parse::<f64>().unwrap() * 1000.0;
        let body = snappy(&read_request(end as i64 - 600_000, end as i64, "room"));
        let request = |path: &str| {
            let head = format!(
                "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-protobuf\r\n\
                 Content-Encoding: snappy\r\nX-Prometheus-Remote-Read-Version: 0.1.0\r\n\
                 Content-Length: {}\r\nConnection: close\r\n\r\n",
                body.len()
            );
            [head.as_bytes(), &body].concat()
        };
        let direct = scraper::send(prometheus.address, request("/api/v1/read"))
            .await
            .expect(200);
        let path = format!("{prefix}/api/v1/read");
        let through = scraper::send(homes.side.query, request(&path))
            .await
            .expect(200);
        let kind = through.head.field("content-type");
        assert_eq!(kind, direct.head.field("content-type"));
        let kind = kind.unwrap();
        assert!(
            kind.starts_with("application/x-streamed-protobuf"),
            "{kind}"
        );
        // Chunks that are open have more samples with every scrape.
        let labels = |body: &[u8]| body.windows(4).filter(|part| part == b"room").count();
        assert_eq!(labels(&direct.body), 2, "the name and the job");
        assert_eq!(labels(&through.body), 2);
    }
}

/// `ReadRequest` of one query for one name, which takes streamed chunks.
fn read_request(start: i64, end: i64, name: &str) -> Vec<u8> {
    let varint = |mut value: u64| {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    };
    let field = |number: u8, bytes: &[u8]| {
        let mut field = vec![number << 3 | 2];
        field.extend(varint(bytes.len() as u64));
        field.extend(bytes);
        field
    };
    let number = |field: u8, value: i64| [vec![field << 3], varint(value as u64)].concat();
    // EQ is 0, which is left out.
    let matcher = [field(2, b"__name__"), field(3, name.as_bytes())].concat();
    let query = [number(1, start), number(2, end), field(3, &matcher)].concat();
    // `accepted_response_types: [STREAMED_XOR_CHUNKS]`
    [field(1, &query), number(2, 1)].concat()
}

/// As one literal.
fn snappy(bytes: &[u8]) -> Vec<u8> {
    let length = u8::try_from(bytes.len()).unwrap();
    assert!((61..128).contains(&bytes.len()) || bytes.len() <= 60);
    let tag = match length {
        0..=60 => vec![(length - 1) << 2],
        _ => vec![60 << 2, length - 1],
    };
    [vec![length], tag, bytes.to_vec()].concat()
}

/// A server federates the query side as it would a Prometheus.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_federates_the_query_side() {
    let homes = Homes::start().await;
    let job = |name: &str, prefix: &str| {
        format!(
            "- job_name: {name}\n  metrics_path: {prefix}/federate\n  honor_labels: true\n  \
             params: {{'match[]': ['n{{n=~\"1.\"}}', 'up{{job=\"room\"}}']}}\n  \
             static_configs: [{{targets: ['{}'], labels: {{way: {name}}}}}]\n",
            homes.side.query
        )
    };
    let outer =
        Prometheus::start(&(job("near", "/near") + &job("far", "/far") + &job("both", ""))).await;
    for name in ["near", "far", "both"] {
        let series = arrives(&outer, &format!("n{{way=\"{name}\",job=\"room\"}}"), 10).await;
        for (labels, values) in &series {
            assert_eq!(values, &[labels["n"].parse::<f64>().unwrap()]);
        }
        assert_eq!(
            outer
                .query(&format!("up{{way=\"{name}\",job=\"room\"}}"))
                .await
                .len(),
            1
        );
        outer.is_up(name).await;
    }
}
