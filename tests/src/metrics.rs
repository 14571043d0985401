//! A program's `/metrics` page as numbers, and what a program holds by them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::scraper;
use crate::wait::{PATIENCE, eventually};

/// What a proxy has because somebody else is there.
const PROXY: &[&str] = &[
    "adit_proxy_sessions",
    "adit_proxy_connections",
    "adit_proxy_scrapes_in_flight",
    "adit_proxy_connects_open",
    "adit_proxy_tasks",
    "process_open_fds",
];
/// The same of a client.
const CLIENT: &[&str] = &[
    "adit_client_sessions",
    "adit_client_scrapes_in_flight",
    "adit_client_connects_open",
    "adit_client_tasks",
    "process_open_fds",
];
/// Within a few seconds everything is given back; more, because other tests share the cores.
pub const SOON: Duration = Duration::from_secs(10);
/// How often in a row a program must say the same to be at rest.
const AT_REST: usize = 4;

/// The samples of a page, by series as they stand there: `up` or `up{job="x"}`.
#[derive(Debug, Clone)]
pub struct Metrics(BTreeMap<String, f64>);

impl Metrics {
    /// Those of the program whose pages are at `server`.
    ///
    /// # Panics
    /// When it has no such page, or a line of it is no sample.
    pub async fn of(server: SocketAddr) -> Self {
        let page = scraper::page(server, "/metrics").await.expect(200).text();
        Self::parse(&page)
    }

    /// Those of a page that was asked for elsewhere.
    ///
    /// # Panics
    /// When a line of it is no sample.
    pub fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        let parsed =
            samples.map(|line| sample(line).unwrap_or_else(|| panic!("{line:?} is no sample")));
        Self(parsed.collect())
    }

    /// All series of a metric together; zero when there is none yet.
    pub fn sum(&self, metric: &str) -> f64 {
        let of_it = |series: &str| {
            series
                .strip_prefix(metric)
                .is_some_and(|labels| labels.is_empty() || labels.starts_with('{'))
        };
        let values = self.0.iter().filter(|(series, _)| of_it(series));
        values.map(|(_, value)| value).sum()
    }

    /// By how much each series has grown since, those that have; of counters and gauges alike.
    pub fn grown_since(&self, before: &Self) -> BTreeMap<String, f64> {
        let grown = self
            .0
            .iter()
            .map(|(series, value)| (series.clone(), value - before.series(series)));
        grown.filter(|(_, by)| *by > 0.0).collect()
    }

    /// One series; zero when there is none yet.
    pub fn series(&self, series: &str) -> f64 {
        self.0.get(series).copied().unwrap_or(0.0)
    }
}

/// What a program holds: tunnels, connections, scrapes, tasks, file descriptors. The connection its
/// page was asked for on is in it, each time.
#[derive(Debug, Clone)]
pub struct Held {
    server: SocketAddr,
    gauges: &'static [&'static str],
    values: Vec<f64>,
}

impl Held {
    /// What the proxy at `server` holds once it is at rest.
    ///
    /// # Panics
    /// When it never is.
    pub async fn by_proxy(server: SocketAddr) -> Self {
        Self::at_rest(server, PROXY).await
    }

    /// What the client whose pages are at `server` holds once it is at rest.
    ///
    /// # Panics
    /// When it never is.
    pub async fn by_client(server: SocketAddr) -> Self {
        Self::at_rest(server, CLIENT).await
    }

    async fn at_rest(server: SocketAddr, gauges: &'static [&'static str]) -> Self {
        let mut last = Self::now(server, gauges).await;
        let mut same = 1;
        eventually(PATIENCE, "a program at rest", async || {
            let next = Self::now(server, gauges).await;
            same = if next.values == last.values {
                same + 1
            } else {
                1
            };
            last = next;
            if same >= AT_REST {
                Ok(last.clone())
            } else {
                Err(last.to_string())
            }
        })
        .await
    }

    async fn now(server: SocketAddr, gauges: &'static [&'static str]) -> Self {
        let metrics = Metrics::of(server).await;
        Self {
            server,
            gauges,
            values: gauges.iter().map(|gauge| metrics.sum(gauge)).collect(),
        }
    }

    /// Waits until the program holds exactly the same again, and gives how long that took.
    ///
    /// # Panics
    /// When it does not [`SOON`], with `after`.
    pub async fn again(&self, after: &str) -> Duration {
        self.again_but_for(0, after).await
    }

    /// The same, where each of them may have become more or less by so many: connections of its own that
    /// a program keeps.
    ///
    /// # Panics
    /// When it does not [`SOON`], with `after`.
    pub async fn again_but_for(&self, some: usize, after: &str) -> Duration {
        let started = Instant::now();
        eventually(SOON, &format!("{self} after {after}"), async || {
            let now = Self::now(self.server, self.gauges).await;
            let mut both = now.values.iter().zip(&self.values);
            if both.all(|(now, before)| (now - before).abs() <= some as f64) {
                Ok(())
            } else {
                Err(now.to_string())
            }
        })
        .await;
        started.elapsed()
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (gauge, value) in self.gauges.iter().zip(&self.values) {
            write!(f, "{gauge} {value}; ")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read_by_series_and_by_metric() {
        let page =
            "# HELP up Up.\n# TYPE up gauge\nup{job=\"a b\"} 1\nup{job=\"c\"} 2\nup_x 4\nz 1e3\n";
        let metrics = Metrics::parse(page);
        assert_eq!(metrics.series("up{job=\"a b\"}"), 1.0);
        assert_eq!(metrics.sum("up"), 3.0);
        assert_eq!(metrics.sum("z"), 1000.0);
        assert_eq!(metrics.sum("nothing"), 0.0);
    }
}
