//! A second Prometheus, behind the client: federated, and asked.

use std::time::Duration;

use adit_tests::pair::{self, Pair};
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper;
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::wait::{PATIENCE, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_behind_the_client_is_federated_with_its_own_labels() {
    let target = Target::start(ok(metric("temperature")));
    let job = |name| {
        format!(
            "- job_name: {name}\n  static_configs: [{{targets: ['{}']}}]\n",
            target.address()
        )
    };
    let inner = Prometheus::start(&(job("kitchen") + &job("cellar") + &job("attic"))).await;
    for name in ["kitchen", "cellar", "attic"] {
        inner.is_up(name).await;
    }
    let pair = Pair::start(&[&format!("--target=home:9090=http://{}", inner.address)]).await;
    let outer = Prometheus::start(&format!(
        "- job_name: federate\n  proxy_url: {}\n  metrics_path: /federate\n  honor_labels: true\n  \
         params: {{'match[]': ['{{job=\"kitchen\"}}', '{{__name__=~\"temp.*\",job=\"cellar\"}}']}}\n  \
         static_configs: [{{targets: ['home:9090']}}]",
        pair.proxy.url()
    ))
    .await;
    outer.is_up("federate").await;
    let series = eventually(PATIENCE, "federated series arrive", async || {
        let series = outer.query("temperature").await;
        if series.len() == 2 {
            Ok(series)
        } else {
            Err(format!("{series:?}"))
        }
    })
    .await;
    for (labels, values) in &series {
        assert_eq!(
            labels["instance"],
            target.address().to_string(),
            "its own, not home:9090"
        );
        assert_eq!(values, &[1.0]);
    }
    let mut jobs: Vec<&str> = series.iter().map(|(labels, _)| &*labels["job"]).collect();
    jobs.sort_unstable();
    assert_eq!(jobs, ["cellar", "kitchen"]);
    assert_eq!(
        outer.query("up{job=\"kitchen\"}").await.len(),
        1,
        "the first match[] has no name"
    );
    assert_eq!(
        outer.query("up{job=\"cellar\"}").await.len(),
        0,
        "the second has one"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_by_post_with_a_form_of_64_kilobytes_works() {
    let prometheus = Prometheus::start("- job_name: none").await;
    let pair = Pair::start(&[&format!("--target=home:9090=http://{}", prometheus.address)]).await;
    let form = format!("query=40%2B2&time=4&comment={}", "x".repeat(64 * 1024));
    for framing in ["length", "chunks"] {
        let fields = "POST http://home:9090/api/v1/query HTTP/1.1\r\nHost: home:9090\r\n\
                      Content-Type: application/x-www-form-urlencoded\r\n";
        let request = if framing == "length" {
            format!("{fields}Content-Length: {}\r\n\r\n{form}", form.len())
        } else {
            let chunk = format!("{:x}\r\n{form}\r\n0\r\n\r\n", form.len());
            format!("{fields}Transfer-Encoding: chunked\r\n\r\n{chunk}")
        };
        let answer = scraper::send(pair.proxy.address, request).await.expect(200);
        let text = answer.text();
        assert!(
            text.contains("\"success\"") && text.contains("\"42\""),
            "{framing}: {text}"
        );
        assert!(
            answer.took < Duration::from_secs(5),
            "{framing}: {:?}",
            answer.took
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_sent_to_a_target_arrives_as_it_was() {
    let target = Target::start(ok("done"));
    let (_folder, config) = pair::config(&format!(
        "targets:\n- {{target: 'gate:9091', url: 'http://{}', methods: [PUT, POST, PATCH]}}\n",
        target.address()
    ));
    let pair = Pair::start(&[&config]).await;
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    for method in ["PUT", "POST", "PATCH"] {
        let head = format!(
            "{method} http://gate:9091/metrics/job/x HTTP/1.1\r\nHost: gate:9091\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let request = [head.as_bytes(), &body].concat();
        scraper::send(pair.proxy.address, request).await.expect(200);
        let requests = target.requests();
        let got = requests.last().unwrap();
        assert_eq!(got.line(), format!("{method} /metrics/job/x HTTP/1.1"));
        assert!(
            got.body == body,
            "{} bytes of {}",
            got.body.len(),
            body.len()
        );
    }
}
