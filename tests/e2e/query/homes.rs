//! Two real Prometheis of one target, one dialled and one behind a client, and pools of them: `/near`,
//! `/far`, and both.

use std::path::PathBuf;

use adit_tests::pair::Client;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper;
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok, series};
use serde_json::Value;
use tempfile::TempDir;

use super::asking::{QUICK, Side};

/// All of it.
pub(super) struct Homes {
    pub(super) near: Prometheus,
    pub(super) far: Prometheus,
    pub(super) side: Side,
    _client: Client,
    _target: Target,
    _rules: TempDir,
}

impl Homes {
    /// Healthy, with three scrapes of `n` and `room` each.
    pub(super) async fn start() -> Self {
        let target = Target::start(ok(metric("room") + &series("n", 20)));
        let rules = tempfile::tempdir().unwrap();
        let config = scrape_configs(&target, &rule_file(&rules));
        let (near, far) = tokio::join!(Prometheus::start(&config), Prometheus::start(&config));
        let (near_url, tunnel) = (format!("http://{}", near.address), "tunnel://prom:9090");
        let side = Side::start(&format!(
            "query:\n  pools:\n  - {{name: main, {QUICK}, strategy: round-robin, backends: [\
             {{url: '{near_url}', name: near}}, {{url: '{tunnel}', name: far}}]}}\n  \
             - {{name: near, path_prefix: /near, {QUICK}, backends: ['{near_url}']}}\n  \
             - {{name: far, path_prefix: /far, {QUICK}, backends: ['{tunnel}']}}\n"
        ))
        .await;
        let client = side
            .client(&[&format!("--target=prom:9090=http://{}", far.address)])
            .await;
        for prometheus in [&near, &far] {
            prometheus.scrapes("room", 3).await;
        }
        for name in ["near", "far"] {
            side.is(name, "healthy").await;
        }
        for place in [near.address.to_string(), "prom:9090".to_owned()] {
            side.is(&place, "healthy").await;
        }
        Self {
            near,
            far,
            side,
            _client: client,
            _target: target,
            _rules: rules,
        }
    }

    /// Each server, and the path below which the query side has it alone.
    pub(super) fn each(&self) -> [(&Prometheus, &'static str); 2] {
        [(&self.near, "/near"), (&self.far, "/far")]
    }
}

/// When `prometheus` has last scraped: what it says of that moment never changes.
pub(super) async fn last_scrape(prometheus: &Prometheus) -> String {
    let path = "/api/v1/query?query=timestamp(up)";
    let answer = scraper::page(prometheus.address, path).await.expect(200);
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    let value = &answer["data"]["result"][0]["value"][1];
    value.as_str().unwrap().to_owned()
}

fn scrape_configs(target: &Target, rules: &std::path::Path) -> String {
    format!(
        "- job_name: room\n  static_configs: [{{targets: ['{}']}}]\nrule_files: ['{}']\n",
        target.address(),
        rules.display()
    )
}

/// Rules that are not evaluated while a test runs: what is said of them stays the same.
fn rule_file(folder: &TempDir) -> PathBuf {
    let path = folder.path().join("rules.yml");
    let text = "groups:\n- name: rooms\n  interval: 1000h\n  rules:\n  \
                - {record: rooms, expr: count(room)}\n  \
                - {alert: Cold, expr: room < 1, for: 5m, annotations: {summary: 'It is cold'}}\n";
    std::fs::write(&path, text).unwrap();
    path
}
