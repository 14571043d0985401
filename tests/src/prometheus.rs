//! Debian's Prometheus, asked through its own API.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tempfile::TempDir;

use crate::ports;
use crate::program::{Program, debian};
use crate::scraper;
use crate::wait::{PATIENCE, eventually};

/// How often a port is tried that another process may have taken meanwhile.
const ATTEMPTS: usize = 5;

/// A running Prometheus, with its own folder.
#[derive(Debug)]
pub struct Prometheus {
    /// Where it listens.
    pub address: SocketAddr,
    program: Program,
    folder: TempDir,
}

/// What it says of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scraped {
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Why it is down.
    pub last_error: String,
    /// The instance label.
    pub instance: String,
}

/// One series: its labels and its values, oldest first.
pub type Series = (BTreeMap<String, String>, Vec<f64>);

impl Prometheus {
    /// Scraping every second whatever `scrape_configs` says, YAML from the first column. A busy machine
    /// may take longer than a scrape then may: where each must succeed, [`Self::patient`].
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start(scrape_configs: &str) -> Self {
        Self::with_interval("1s", scrape_configs).await
    }

    /// The same every three seconds, and with as much time for each.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn patient(scrape_configs: &str) -> Self {
        Self::with_interval("3s", scrape_configs).await
    }

    /// The same, with another interval; a scrape may take as long.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn with_interval(interval: &str, scrape_configs: &str) -> Self {
        Self::over(None, interval, scrape_configs).await
    }

    /// Scraping every second, over the samples of a page that has a time with each, as promtool makes blocks
    /// of them: `name{labels} value seconds`.
    ///
    /// # Panics
    /// When one of the two is not installed, or does not take it.
    pub async fn with_history(samples: &str, scrape_configs: &str) -> Self {
        Self::over(Some(samples), "1s", scrape_configs).await
    }

    async fn over(samples: Option<&str>, interval: &str, scrape_configs: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("prometheus.yml");
        let config = format!(
            "global: {{scrape_interval: {interval}, scrape_timeout: {interval}}}\n\
             scrape_configs:\n{scrape_configs}\n"
        );
        std::fs::write(&file, config).expect("written");
        if let Some(samples) = samples {
            make_blocks(samples, folder.path()).await;
        }
        for _ in 0..ATTEMPTS {
            let address = SocketAddr::from(([127, 0, 0, 1], ports::unused()));
            let program = Program::start(&command(address, folder.path()));
            // It has bound its port before it says so; on somebody else's it ends.
            if program.line_or_end("Server is ready").await.is_some() {
                return Self {
                    address,
                    program,
                    folder,
                };
            }
            let log = program.log();
            assert!(
                log.contains("address already in use"),
                "Prometheus ended:\n{log}"
            );
        }
        panic!("Prometheus found no free port in {ATTEMPTS} attempts");
    }

    /// Has it end as its init system would.
    ///
    /// # Panics
    /// When it has ended already.
    pub fn terminate(&self) {
        self.program.signal("TERM");
    }

    /// Waits until it has said that it ends.
    ///
    /// # Panics
    /// When it does not.
    pub async fn ended(&self) {
        self.program.line("See you next time!").await;
    }

    /// Starts it again where it was, over the data it has, and returns when it is ready. What still
    /// runs of it is killed first.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.launch_again();
        self.program.line("Server is ready").await;
    }

    /// Starts it again over its data and where it was, when it has ended, and returns at once.
    pub fn launch_again(&mut self) {
        self.kill();
        self.program = Program::start(&command(self.address, self.folder.path()));
    }

    /// Ends it as a power cut would, and gives the moment.
    pub fn kill(&mut self) -> Instant {
        self.program.kill()
    }

    /// What it says of the only target of `job`.
    ///
    /// # Panics
    /// When it has no such job.
    pub async fn target(&self, job: &str) -> Scraped {
        let mut targets = self.targets(job).await;
        assert_eq!(targets.len(), 1, "targets of {job}: {targets:?}");
        targets.remove(0)
    }

    /// What it says of all targets of `job`, in the order of their instances.
    ///
    /// # Panics
    /// When its API does not answer.
    pub async fn targets(&self, job: &str) -> Vec<Scraped> {
        let data = self.api("/api/v1/targets?state=active").await;
        let active = data["activeTargets"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or("").to_owned();
        let mut targets: Vec<Scraped> = active
            .iter()
            .filter(|target| target["labels"]["job"] == job)
            .map(|target| Scraped {
                health: text(&target["health"]),
                last_error: text(&target["lastError"]),
                instance: text(&target["labels"]["instance"]),
            })
            .collect();
        targets.sort_by(|a, b| a.instance.cmp(&b.instance));
        targets
    }

    /// Waits until the only target of `job` has been scraped well.
    ///
    /// # Panics
    /// When it never is.
    pub async fn is_up(&self, job: &str) {
        self.becomes(job, "up").await;
    }

    /// Waits until a scrape of the only target of `job` has failed, and says why.
    ///
    /// # Panics
    /// When none fails.
    pub async fn is_down(&self, job: &str) -> String {
        self.becomes(job, "down").await.last_error
    }

    async fn becomes(&self, job: &str, health: &str) -> Scraped {
        let what = format!("{job} is {health}");
        eventually(PATIENCE, &what, async || {
            match self.targets(job).await.as_slice() {
                [target] if target.health == health => Ok(target.clone()),
                targets => Err(format!("{targets:?}")),
            }
        })
        .await
    }

    /// The series of an instant or range selector; `up{job="x"}[5m]` gives every scrape.
    ///
    /// # Panics
    /// When the query is none.
    pub async fn query(&self, query: &str) -> Vec<Series> {
        let data = self
            .api(&format!("/api/v1/query?query={}", percent_encoded(query)))
            .await;
        let number = |pair: &Value| {
            let text = pair[1].as_str().unwrap_or("");
            text.parse()
                .unwrap_or_else(|_| panic!("{pair} is no sample"))
        };
        let result = data["result"].as_array().cloned().unwrap_or_default();
        let one = |series: &Value| {
            let labels = series["metric"].as_object().cloned().unwrap_or_default();
            let labels = labels
                .into_iter()
                .map(|(k, v)| (k, v.as_str().unwrap_or("").to_owned()));
            let values = match series["values"].as_array() {
                Some(values) => values.iter().map(number).collect(),
                None => vec![number(&series["value"])],
            };
            (labels.collect(), values)
        };
        result.iter().map(one).collect()
    }

    /// Every value of `up` of `job` so far, once there are `count` of them.
    ///
    /// # Panics
    /// When there never are.
    pub async fn scrapes(&self, job: &str, count: usize) -> Vec<f64> {
        let query = format!("up{{job=\"{job}\"}}[1h]");
        let what = format!("{count} scrapes of {job}");
        eventually(PATIENCE, &what, async || {
            let series = self.query(&query).await;
            let values: Vec<f64> = series.into_iter().flat_map(|(_, values)| values).collect();
            if values.len() >= count {
                Ok(values)
            } else {
                Err(format!("{values:?}"))
            }
        })
        .await
    }

    /// What its API answers: the value of `data`.
    ///
    /// # Panics
    /// When it does not.
    pub async fn api(&self, path: &str) -> Value {
        let answer = scraper::page(self.address, path).await.expect(200);
        let json: Value = serde_json::from_slice(&answer.body).expect("the api speaks json");
        json["data"].clone()
    }
}

fn command(address: SocketAddr, folder: &Path) -> Command {
    let mut command = Command::new(debian("prometheus", "prometheus"));
    let file = folder.join("prometheus.yml");
    command
        .arg(format!("--config.file={}", file.display()))
        .arg(format!(
            "--storage.tsdb.path={}",
            folder.join("data").display()
        ))
        .arg(format!("--web.listen-address={address}"))
        // No second thoughts about the machine's memory: many run side by side.
        .env("GOMAXPROCS", "1");
    command
}

async fn make_blocks(samples: &str, folder: &Path) {
    let page = folder.join("samples");
    std::fs::write(&page, format!("{samples}# EOF\n")).expect("written");
    let data = folder.join("data");
    let [page, data] = [page, data].map(|path| path.display().to_string());
    let args = ["tsdb", "create-blocks-from", "openmetrics", &page, &data];
    let made = Program::run(debian("promtool", "prometheus"), &args).await;
    assert!(made.status.success(), "promtool: {made:?}");
}

fn percent_encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}
