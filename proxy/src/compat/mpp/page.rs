//! `/mpp/status`: what mpp's page showed, and the state of every backend besides. It loads nothing from
//! anywhere.

use std::fmt::Write as _;
use std::time::Duration;

use adit_common::telemetry::version;

use super::chosen::is_chosen;
use crate::query::view::{BackendView, PoolView, SourceView};

/// Long addresses and reasons break where they must; on a narrow screen each row is a block of its own.
const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:75rem;padding:0 1rem;color:#1c2430;\
overflow-wrap:anywhere}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:#5b6573}dd{margin:0}\
table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d9dee5;vertical-align:top}\
th{color:#5b6573;font-weight:600;white-space:nowrap}\
td:first-child{width:32%}td:nth-child(3){width:28%}td:nth-child(4){min-width:6rem}\
.good{color:#12723b}.fair{color:#855400}.bad{color:#a8271b}\
@media(max-width:45rem){thead{display:none}table,tbody,tr{display:block}\
tr{border-top:1px solid #d9dee5;padding:.5rem 0}\
td,td:first-child,td:nth-child(3){display:grid;grid-template-columns:6.5rem 1fr;gap:.5rem;width:auto;\
border:0;padding:.1rem 0}td:empty{display:none}td::before{content:attr(data-th);color:#5b6573}}\
@media(prefers-color-scheme:dark){body{background:#12161c;color:#dfe5ec}th,dt,td::before{color:#98a3b1}\
tr,td,th{border-color:#2c3440}a{color:#7db3ff}.good{color:#5fcf8d}.fair{color:#e0b15c}.bad{color:#ff8b7e}}";

/// What mpp's page said of a backend, and its state.
const COLUMNS: [&str; 5] = ["Address", "Selected", "State", "Uptime", "Comparison"];

/// The page.
pub(super) fn status(pools: &[PoolView], uptime: Duration) -> String {
    let mut page = format!(
        "<!DOCTYPE html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>adit-proxy</title><style>{STYLE}</style></head><body><h1>adit-proxy</h1><dl>"
    );
    let uptime = Duration::from_secs(uptime.as_secs());
    for (name, value) in [
        ("Uptime", humantime::format_duration(uptime).to_string()),
        ("Version", version::VERSION.to_owned()),
        ("Rust version", version::RUSTC.to_owned()),
    ] {
        entry(&mut page, name, &value);
    }
    page.push_str("</dl>");
    for pool in pools {
        add(&mut page, pool);
    }
    page.push_str("</body></html>\n");
    page
}

fn entry(page: &mut String, name: &str, value: &str) {
    let value = escaped(value);
    // A String takes all that is written to it.
    let _ = write!(page, "<dt>{name}</dt><dd>{value}</dd>");
}

fn add(page: &mut String, pool: &PoolView) {
    let _ = write!(page, "<h2>Pool {}</h2><dl>", escaped(&pool.name));
    let interval = Duration::from_secs_f64(pool.selection_interval_seconds);
    let affinity = match pool.affinity.is_empty() {
        true => "none".to_owned(),
        false => pool.affinity.join(", "),
    };
    for (name, value) in [
        ("Selector strategy", pool.strategy.clone()),
        ("Comparison metric", pool.comparison.clone()),
        (
            "Selection interval",
            humantime::format_duration(interval).to_string(),
        ),
        ("Affinity options", affinity),
    ] {
        entry(page, name, &value);
    }
    for source in &pool.sources {
        entry(page, "Source", &found(source));
    }
    page.push_str("</dl>");
    if pool.backends.is_empty() {
        return page.push_str("<p>No backend has been found.</p>");
    }
    page.push_str("<table><thead><tr>");
    for column in COLUMNS {
        let _ = write!(page, "<th>{column}</th>");
    }
    page.push_str("</tr></thead><tbody>");
    for backend in &pool.backends {
        row(page, backend, is_chosen(pool, backend));
    }
    page.push_str("</tbody></table>");
}

fn row(page: &mut String, backend: &BackendView, is_chosen: bool) {
    let url = escaped(&backend.url);
    let address = match backend.url.starts_with("http") {
        true => format!("<a href=\"{url}/status\" rel=\"noreferrer\">{url}</a>"),
        false => url,
    };
    let selected = if is_chosen { "✓" } else { "" };
    let class = match backend.state {
        "healthy" => "good",
        "down" | "stopping" => "bad",
        _ => "fair",
    };
    let uptime = backend.uptime_seconds.filter(|seconds| *seconds >= 0.0);
    let uptime = uptime.map_or_else(
        || "unavailable".to_owned(),
        |seconds| {
            // Whole seconds of a server's age.
            let whole = Duration::try_from_secs_f64(seconds.floor()).unwrap_or_default();
            humantime::format_duration(whole).to_string()
        },
    );
    let state = format!(
        "<span class=\"{class}\">{}</span>",
        escaped(&backend.reason)
    );
    let comparison = escaped(&backend.score_reason);
    page.push_str("<tr>");
    let cells = [&*address, selected, &state, &uptime, &comparison];
    for (column, cell) in COLUMNS.iter().zip(cells) {
        let _ = write!(page, "<td data-th=\"{column}\">{cell}</td>");
    }
    page.push_str("</tr>");
}

/// What a source has, or why it says nothing.
fn found(source: &SourceView) -> String {
    let SourceView { kind, what, .. } = source;
    let backends = match source.backends {
        1 => "1 backend".to_owned(),
        many => format!("{many} backends"),
    };
    match &source.error {
        Some(why) => format!("{kind} {what}: {backends}; {why}"),
        None => format!("{kind} {what}: {backends}"),
    }
}

/// What others wrote, as text in HTML and in its attributes.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c => out.push(c),
        }
    }
    out
}
