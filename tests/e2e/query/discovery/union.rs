//! All sources at once.

use adit_tests::dnsmasq::Dnsmasq;
use adit_tests::fake_clusters::kubernetes::{FakeKubernetes, SLICES, slice};
use adit_tests::fake_clusters::marathon::{FakeMarathon, app};
use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::pair::{Client, config};
use adit_tests::target::{Request, Step, Target};
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::json;

use super::{World, write};

/// Every source names `common`, each in its own words, and one of its own.
///
/// Case 55.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_found_by_several_is_one_as_the_first_has_it() {
    let fakes = [
        "common",
        "static",
        "file",
        "dns",
        "http",
        "kubernetes",
        "marathon",
        "tunnel",
    ]
    .map(FakePrometheus::start);
    let [common, written, listed, named, at_url, pod, task, offered] = &fakes;
    let srv = |fake: &FakePrometheus| {
        format!("--srv-host=_prom._tcp.test,127.0.0.1.,{},40,7", fake.port())
    };
    let records = [srv(common), srv(named)];
    let Some(dnsmasq) = Dnsmasq::start(&records.each_ref().map(String::as_str)) else {
        return;
    };
    let groups = json!([{"targets": [common.address().to_string(), at_url.address().to_string()],
                         "labels": {"__priority__": "50"}}])
    .to_string();
    let endpoint = Target::start(move |_: &Request| {
        vec![Step::send(format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{groups}",
            groups.len()
        ))]
    });
    let kubernetes = FakeKubernetes::start(None).await;
    for (name, fake) in [("prom-1", common), ("prom-2", pod)] {
        let mut slice = slice(name, &["127.0.0.1"]);
        slice["ports"][0]["port"] = fake.port().into();
        kubernetes.put(SLICES, slice);
    }
    let marathon = FakeMarathon::start(1, "", None).await;
    marathon.put(app(
        "/prom",
        &[("127.0.0.1", common.port()), ("127.0.0.1", task.port())],
    ));
    let pool = format!(
        "backends: [{{url: 'http://127.0.0.1:{0}', name: ours, priority: 3, weight: 9}}, '{1}'], \
         discovery: {{file: [{{path: endpoints, refresh: 100ms, priority: 60}}], \
         dns: [{{name: _prom._tcp.test, type: SRV, server: '{2}', refresh: 100ms}}], \
         http: [{{url: 'http://{3}/', refresh: 100ms}}], \
         kubernetes: [{{kubeconfig: kubeconfig, namespace: monitoring, service: prometheus, port: web, priority: 70}}], \
         marathon: [{{urls: ['{4}'], apps: [/prom], refresh: 100ms, backend: {{priority: 80}}}}], \
         tunnel: [{{labels: {{job: prometheus}}, priority: 90}}]}}",
        common.port(),
        written.url(),
        dnsmasq.address,
        endpoint.address(),
        marathon.url(0),
    );
    let lines = format!("HTTP://127.0.0.1:{}/\n{}\n", common.port(), listed.url());
    let world = World::new(&pool, |folder| {
        write(folder, "endpoints", &lines);
        write(folder, "kubeconfig", &kubernetes.kubeconfig("", "{}"));
    })
    .await;
    let (_folder, file) = config(&format!(
        "targets:\n- target: pi:9090\n  url: {}\n  labels: {{job: prometheus}}\n\
         - target: pi:9100\n  labels: {{job: node}}\n",
        offered.url()
    ));
    let client = Client::start(&[&world.proxy.url()], &[&file]).await;
    let mut expected: Vec<String> = [
        (common, "static"),
        (written, "static"),
        (listed, "file"),
        (named, "dns"),
        (at_url, "http"),
        (pod, "kubernetes"),
        (task, "marathon"),
    ]
    .iter()
    .map(|(fake, source)| format!("{} {source}", fake.url()))
    .collect();
    expected.push("tunnel://pi:9090 tunnel".to_owned());
    world.lists(&expected).await;
    let pool = world.healthy(8).await;
    let ours = pool["backends"].as_array().unwrap().iter();
    let ours: Vec<_> = ours.filter(|backend| backend["name"] == "ours").collect();
    assert_eq!(
        (&ours[0]["priority"], &ours[0]["weight"]),
        (&json!(3), &json!(9))
    );
    // Each source has both of its own, whoever came first; only two of the static ones are apart.
    for source in pool["sources"].as_array().unwrap() {
        let own = if ["static", "tunnel"].contains(&source["kind"].as_str().unwrap()) {
            1
        } else {
            2
        };
        assert_eq!(source["backends"], own, "{source}");
        assert_eq!(source["state"], "answering", "{source}");
    }
    let found = ["discovery_backends", "backend_up"];
    eventually(PATIENCE, "the same in metrics", async || {
        let metrics = world.metrics().await;
        let found = found.map(|name| metrics.sum(&format!("adit_proxy_query_{name}")));
        (found == [13.0, 8.0])
            .then_some(())
            .ok_or(format!("{found:?}"))
    })
    .await;
    // All are healthy, so the lowest priority has it all; when it goes, the next.
    world.answers_of(&["static"]).await;
    client.stop().await;
    drop((endpoint, dnsmasq, kubernetes, marathon));
    world.lists(&expected).await;
    world
        .shows("the tunnel is down", |pool| {
            let all = pool["backends"].as_array().unwrap();
            all.iter()
                .any(|one| one["source"] == "tunnel" && one["state"] == "down")
        })
        .await;
    world.answers_of(&["static"]).await;
}
