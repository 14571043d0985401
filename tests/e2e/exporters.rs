//! Odd exporters: what Prometheus takes from them directly it gets through the tunnel, and what it
//! refuses stays refused. The oracle is Prometheus itself, scraping each shape both ways.

mod shapes;

use std::collections::BTreeMap;

use adit_tests::pair::{Pair, Proxy};
use adit_tests::prometheus::Prometheus;
use adit_tests::target::{Request, Step, Target};
use adit_tests::wait::{PATIENCE, eventually};
use shapes::{BODY, Fate};

fn target() -> Target {
    let shapes: BTreeMap<String, Vec<Step>> = shapes::all()
        .into_iter()
        .map(|shape| (format!("/{}", shape.name), shape.steps))
        .collect();
    Target::start(move |request: &Request| shapes[request.path()].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_odd_answer_has_its_fate() {
    let target = target();
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    let mut wrong = Vec::new();
    for shape in shapes::all() {
        let answer = pair.scrape(&format!("http://pi:9100/{}", shape.name)).await;
        let status = answer.head.status;
        let right = match shape.fate {
            Fate::Whole => status == 200 && !answer.is_cut() && answer.text() == BODY,
            Fate::Passed(expected) => status == expected && !answer.is_cut(),
            Fate::Refused | Fate::OursAlone => {
                status == 502 && answer.head.reason.contains("pi:9100") && !answer.is_cut()
            }
            Fate::Cut => answer.is_cut() || status == 502,
        };
        if !right {
            let head: String = answer.head.raw.chars().take(300).collect();
            let (name, fate, text) = (shape.name, shape.fate, answer.text());
            wrong.push(format!(
                "{name}: {fate:?}: {head:?} {text:?} {:?}",
                answer.end
            ));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Two jobs over all shapes: `direct` and `through`, where `instance` is the shape's name.
fn jobs(target: &Target, proxy: &Proxy) -> String {
    let proxy = format!("  proxy_url: {}\n", proxy.url());
    let ways = [
        ("direct", "", target.address().to_string()),
        ("through", &proxy, "pi:9100".to_owned()),
    ];
    let mut jobs = String::new();
    for (name, proxy, address) in ways {
        jobs.push_str(&format!("- job_name: {name}\n{proxy}  static_configs:\n"));
        for shape in shapes::all() {
            let name = shape.name;
            let labels = format!("{{__metrics_path__: /{name}, instance: {name}}}");
            jobs.push_str(&format!(
                "  - {{targets: ['{address}'], labels: {labels}}}\n"
            ));
        }
    }
    jobs
}

/// The largest value of `metric` so far, by shape: directly, and through the tunnel.
async fn both_ways(prometheus: &Prometheus, metric: &str) -> BTreeMap<String, [f64; 2]> {
    let mut both = BTreeMap::new();
    for (labels, values) in prometheus
        .query(&format!("max_over_time({metric}[1h])"))
        .await
    {
        let of_shape: &mut [f64; 2] = both.entry(labels["instance"].clone()).or_default();
        of_shape[usize::from(labels["job"] == "through")] = values[0];
    }
    both
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_thinks_the_same_of_each_directly_and_through_the_tunnel() {
    let target = target();
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    let prometheus = Prometheus::start(&jobs(&target, &pair.proxy)).await;
    eventually(
        PATIENCE,
        "every shape was scraped twice both ways",
        async || {
            let counts = prometheus.query("count_over_time(up[1h])").await;
            let done = counts.iter().filter(|(_, values)| values[0] >= 2.0).count();
            let wanted = 2 * shapes::all().len();
            if done == wanted {
                Ok(())
            } else {
                Err(format!("{done} of {wanted}"))
            }
        },
    )
    .await;
    let up = both_ways(&prometheus, "up").await;
    let samples = both_ways(&prometheus, "scrape_samples_scraped").await;
    let mut wrong = Vec::new();
    for shape in shapes::all() {
        let (up, samples) = (up[shape.name], samples[shape.name]);
        let right = match shape.fate {
            Fate::OursAlone => up == [1.0, 0.0],
            Fate::Whole => up == [1.0, 1.0] && samples == [1.0, 1.0],
            Fate::Refused | Fate::Cut => up == [0.0, 0.0] && samples == [0.0, 0.0],
            Fate::Passed(_) => up[0] == up[1] && samples[0] == samples[1],
        };
        if !right {
            let (name, fate) = (shape.name, shape.fate);
            wrong.push(format!("{name}: {fate:?}: up {up:?}, samples {samples:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
