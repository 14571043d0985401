//! However a target is written, it is the same target.

use adit_tests::pair::Pair;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper;
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_spelling_of_a_target_reaches_it() {
    let target = Target::start(ok(metric("reached")));
    let flags: Vec<String> = [
        "pi:9100",
        "10.1.2.3:9100",
        "[fd00::1]:9100",
        "web.example:80",
    ]
    .iter()
    .map(|name| format!("--target={name}=http://{}", target.address()))
    .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let pair = Pair::start(&flags).await;
    for uri in [
        "http://pi:9100/metrics",
        "http://PI:9100/metrics",
        "http://pi.:9100/metrics",
        "HTTP://pi:9100/metrics",
        "http://10.1.2.3:9100/metrics",
        "http://[fd00::1]:9100/metrics",
        "http://[FD00:0:0::0001]:9100/metrics",
        "http://web.example:80/metrics",
        "http://web.example/metrics",
        "http://web.example:/metrics",
        "http://Web.Example/metrics",
    ] {
        let answer = pair.scrape(uri).await;
        assert_eq!(answer.head.status, 200, "{uri}: {answer:?}");
        assert_eq!(answer.text(), metric("reached"), "{uri}");
    }
    for (path, asked) in [
        ("/scrape/http/PI:9100/metrics", "/metrics"),
        ("/scrape/http/[fd00::1]:9100/metrics", "/metrics"),
        ("/scrape/http/web.example/metrics", "/metrics"),
        ("/scrape/http/pi:9100/", "/"),
        ("/scrape/http/pi:9100", "/"),
        ("/scrape/http/pi:9100?x=1", "/?x=1"),
    ] {
        let answer = scraper::page(pair.proxy.address, path).await;
        assert_eq!(answer.head.status, 200, "{path}: {answer:?}");
        assert_eq!(target.requests().last().unwrap().path(), asked, "{path}");
    }
    for (uri, asked) in [("http://pi:9100", "/"), ("http://pi:9100?x=1", "/?x=1")] {
        pair.scrape(uri).await.expect(200);
        assert_eq!(target.requests().last().unwrap().path(), asked, "{uri}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_scrapes_addresses_capitals_and_default_ports() {
    let target = Target::start(ok(metric("reached")));
    let flags: Vec<String> = ["127.0.0.1:9100", "[::1]:9100", "pi:9100", "web.example:80"]
        .iter()
        .map(|name| format!("--target={name}=http://{}", target.address()))
        .collect();
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let pair = Pair::start(&flags).await;
    let names = ["127.0.0.1:9100", "[::1]:9100", "PI:9100", "web.example"];
    let jobs: String = names
        .iter()
        .enumerate()
        .map(|(n, name)| {
            let url = pair.proxy.url();
            format!("- job_name: j{n}\n  proxy_url: {url}\n  static_configs: [{{targets: ['{name}']}}]\n")
        })
        .collect();
    let prometheus = Prometheus::start(&jobs).await;
    for n in 0..names.len() {
        prometheus.is_up(&format!("j{n}")).await;
    }
}
