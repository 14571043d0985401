//! The main job: a real Prometheus scrapes what it cannot dial, and gets what is there.

use adit_tests::node_exporter::NodeExporter;
use adit_tests::pair::Pair;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper;
use adit_tests::target::answers::{chunk, gzip, head_of_chunks, head_until_close, series, whole};
use adit_tests::target::{Request, Step, Target};
use adit_tests::wait::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_node_exporter_through_the_proxy() {
    let node = NodeExporter::start().await;
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", node.address)]).await;
    let prometheus = Prometheus::start(&format!(
        "- job_name: node\n  proxy_url: {}\n  static_configs: [{{targets: ['pi:9100']}}]",
        pair.proxy.url()
    ))
    .await;
    prometheus.is_up("node").await;
    for (query, least) in [
        ("node_uname_info{job=\"node\",instance=\"pi:9100\"}", 1.0),
        ("scrape_samples_scraped{job=\"node\"}", 100.0),
    ] {
        has(&prometheus, query, |value| value >= least).await;
    }
}

/// Waits until Prometheus has such a sample. A scrape of a busy machine may take longer than its second:
/// then all is stale until the next. And a target is up before its samples are there.
async fn has(prometheus: &Prometheus, query: &str, such: impl Fn(f64) -> bool) {
    eventually(PATIENCE, query, async || {
        let found = prometheus.query(query).await;
        match found.first().is_some_and(|series| such(series.1[0])) {
            true => Ok(()),
            false => Err(format!("{found:?}")),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_body_is_byte_identical_however_its_end_is_told() {
    // Protobuf expositions are binary; texts may have a BOM, CRLF or no last line end.
    let body: String = series("metric", 5000) + "\u{feff}\0\r\n\u{7f}";
    let shapes = [
        ("/length", vec![Step::send(whole(&body))]),
        (
            "/chunks",
            vec![Step::send(
                head_of_chunks() + &chunk(&body[..100]) + &chunk(&body[100..]) + "0\r\n\r\n",
            )],
        ),
        ("/close", vec![Step::send(head_until_close() + &body)]),
    ];
    let steps = shapes.to_vec();
    let target = Target::start(move |request: &Request| {
        let shape = steps.iter().find(|(path, _)| *path == request.path());
        shape.expect("a known path").1.clone()
    });
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    for (path, _) in shapes {
        let direct = scraper::page(target.address(), path).await;
        let through = pair
            .scrape(&format!("http://pi:9100{path}"))
            .await
            .expect(200);
        assert_eq!(direct.body, body.as_bytes(), "{path}");
        assert_eq!(through.body, direct.body, "{path}");
        let of = |answer: &scraper::Answer| answer.head.field("content-type");
        assert_eq!(of(&through), of(&direct), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gzip_passes_as_it_is() {
    let packed = gzip(&series("packed", 1000));
    let answer = [
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            packed.len()
        )
        .into_bytes(),
        packed.clone(),
    ]
    .concat();
    let target = Target::start(vec![Step::send(answer), Step::Next]);
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;

    let answer = pair.scrape("http://pi:9100/metrics").await.expect(200);
    assert_eq!(answer.body, packed);
    assert_eq!(
        answer.head.field("content-encoding").as_deref(),
        Some("gzip")
    );
    assert_eq!(
        answer.head.field("content-length"),
        Some(packed.len().to_string())
    );
    assert_eq!(
        target.request().field("accept-encoding").as_deref(),
        Some("gzip")
    );

    let prometheus = Prometheus::start(&format!(
        "- job_name: packed\n  proxy_url: {}\n  static_configs: [{{targets: ['pi:9100']}}]",
        pair.proxy.url()
    ))
    .await;
    prometheus.is_up("packed").await;
    let query = "scrape_samples_scraped{job=\"packed\"}";
    has(&prometheus, query, |count| count == 1000.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_of_a_scraper_serves_many_clients_in_turn() {
    let (red, blue) = (
        Target::start(vec![Step::send(whole("red 1\n")), Step::Next]),
        Target::start(vec![Step::send(whole("blue 1\n")), Step::Next]),
    );
    let pair = Pair::start(&[&format!("--target=red:9100=http://{}", red.address())]).await;
    let other = format!("--target=blue:9100=http://{}", blue.address());
    let _other = adit_tests::pair::Client::start(&[&pair.proxy.url()], &[&other]).await;
    pair.proxy.knows("blue").await;
    let mut connection = scraper::Connection::open(pair.proxy.address).await;
    for _ in 0..3 {
        for colour in ["red", "blue"] {
            let request = scraper::request(&format!("http://{colour}:9100/metrics"), &[]);
            let answer = connection.exchange(request).await.expect(200);
            assert_eq!(answer.text(), format!("{colour} 1\n"));
        }
        let unknown = scraper::request("http://green:9100/metrics", &[]);
        connection.exchange(unknown).await.expect(502);
    }
}
