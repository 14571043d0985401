//! `/mpp/status`: what mpp's page showed, and the state of every backend besides. It loads nothing from
//! anywhere.

use std::fmt::Write as _;
use std::time::Duration;

use adit_common::telemetry::version;

use super::chosen::is_chosen;
use crate::query::view::{BackendView, PoolView};

const STYLE: &str = "\
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1c2430}\
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}\
dl{display:grid;grid-template-columns:max-content 1fr;gap:.2rem 1rem}dt{color:#5b6573}dd{margin:0}\
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}\
th,td{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #d9dee5;vertical-align:top}\
th{color:#5b6573;font-weight:600}.good{color:#12723b}.bad{color:#a8271b}\
@media(prefers-color-scheme:dark){body{background:#12161c;color:#dfe5ec}th,dt{color:#98a3b1}\
td,th{border-color:#2c3440}a{color:#7db3ff}.good{color:#5fcf8d}.bad{color:#ff8b7e}}";

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
    page.push_str(
        "</dl><div class=\"wide\"><table><thead><tr><th>Address</th><th>Selected</th><th>State</th>\
         <th>Uptime</th><th>Comparison</th></tr></thead><tbody>",
    );
    for backend in &pool.backends {
        row(page, backend, is_chosen(pool, backend));
    }
    page.push_str("</tbody></table></div>");
}

fn row(page: &mut String, backend: &BackendView, is_chosen: bool) {
    let url = escaped(&backend.url);
    let address = match backend.url.starts_with("http") {
        true => format!("<a href=\"{url}/status\" rel=\"noreferrer\">{url}</a>"),
        false => url,
    };
    let selected = if is_chosen { "✓" } else { "" };
    let class = if backend.state == "healthy" {
        "good"
    } else {
        "bad"
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
    let _ = write!(
        page,
        "<tr><td>{address}</td><td>{selected}</td><td class=\"{class}\">{}</td><td>{uptime}</td>\
         <td>{}</td></tr>",
        escaped(&backend.reason),
        escaped(&backend.score_reason),
    );
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
