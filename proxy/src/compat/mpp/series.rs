//! mpp's seven metrics, out of our own.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use adit_common::telemetry::version;
use prometheus::proto::{Metric, MetricFamily};

use super::chosen::is_chosen;
use crate::query::view::PoolView;

/// In the text format. `families` are ours, as they are gathered.
pub(super) fn exposition(families: &[MetricFamily], pools: &[PoolView]) -> String {
    let mut text = String::new();
    let selected = pools.iter().flat_map(|pool| {
        let backends = pool.backends.iter();
        backends.filter(|backend| is_chosen(pool, backend))
    });
    let selected = selected.count();
    let of = |name: &str| {
        let name = format!("adit_proxy_query_{name}");
        let family = families.iter().find(move |family| family.name() == name);
        family.map_or(&[][..], MetricFamily::get_metric)
    };
    let counter = |metric: &Metric| metric.get_counter().get_value();
    family(
        &mut text,
        "mpp_build_info",
        "gauge",
        "A metric with a constant '1' value, labelled by what was built.",
        [(
            format!(
                "branch=\"{}\",goversion=\"none\",revision=\"{}\",version=\"{}\"",
                version::BRANCH,
                version::REVISION,
                version::VERSION
            ),
            1.0,
        )],
    );
    #[allow(clippy::cast_precision_loss, reason = "backends are few")]
    family(
        &mut text,
        "mpp_selected_backends",
        "gauge",
        "Backends to which the next request may go first.",
        [(String::new(), selected as f64)],
    );
    let selections: f64 = of("selections_total").iter().map(counter).sum();
    family(
        &mut text,
        "mpp_selection_events",
        "counter",
        "How often backends were compared.",
        [(String::new(), selections)],
    );
    let milliseconds = |metric: &Metric| metric.get_histogram().get_sample_sum() * 1000.0;
    for (name, help, metrics, label, ours, value) in [
        (
            "mpp_requests",
            "Requests to a backend.",
            of("backend_requests_total"),
            "backend",
            "backend",
            &counter as &dyn Fn(&Metric) -> f64,
        ),
        (
            "mpp_retries",
            "Requests sent to another backend since this one had failed.",
            of("retries_total"),
            "backend",
            "from",
            &counter,
        ),
        (
            "mpp_response_milliseconds",
            "Time until the heads of a backend's answers, in all.",
            of("backend_request_duration_seconds"),
            "backend",
            "backend",
            &milliseconds,
        ),
    ] {
        family(
            &mut text,
            name,
            "counter",
            help,
            sums(metrics, label, ours, value),
        );
    }
    let hits = of("affinity_total")
        .iter()
        .filter(|m| label(m, "result") == "hit");
    let hits: Vec<Metric> = hits.cloned().collect();
    let help = "Callers who stayed with their backend.";
    let hits = sums(&hits, "type", "type", &counter);
    family(&mut text, "mpp_affinity_hits", "counter", help, hits);
    text
}

fn label<'a>(metric: &'a Metric, name: &str) -> &'a str {
    let labels = metric.get_label().iter();
    let mut found = labels.filter(|label| label.name() == name);
    found.next().map_or("", |label| label.value())
}

/// By one label of ours, under another name.
fn sums(
    metrics: &[Metric],
    theirs: &str,
    ours: &str,
    value: &dyn Fn(&Metric) -> f64,
) -> Vec<(String, f64)> {
    let mut sums = BTreeMap::new();
    for metric in metrics {
        *sums.entry(label(metric, ours)).or_insert(0.0) += value(metric);
    }
    let sums = sums.into_iter();
    sums.map(|(name, sum)| (format!("{theirs}=\"{}\"", escaped(name)), sum))
        .collect()
}

fn family(
    text: &mut String,
    name: &str,
    kind: &str,
    help: &str,
    series: impl IntoIterator<Item = (String, f64)>,
) {
    // A String takes all that is written to it.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    for (labels, value) in series {
        let _ = match labels.is_empty() {
            true => writeln!(text, "{name} {value}"),
            false => writeln!(text, "{name}{{{labels}}} {value}"),
        };
    }
}

/// A label's value in the text format.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\");
    text.replace('"', "\\\"").replace('\n', "\\n")
}
