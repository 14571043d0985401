//! What a program of ours says of itself: log lines, its version, its metrics page.

pub mod logging;
pub mod version;

use prometheus::{Encoder, Registry, TextEncoder};

/// The content type of [`exposition`].
pub const EXPOSITION_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The page Prometheus reads of a registry, and of the process itself.
pub fn exposition(registry: &Registry) -> Vec<u8> {
    let mut page = Vec::with_capacity(16 * 1024);
    let mut families = registry.gather();
    families.extend(process());
    // The only error is one of writing, which a Vec does not have; a family without a metric
    // would be another, and gathering leaves those out.
    if let Err(error) = TextEncoder::new().encode(&families, &mut page) {
        tracing::error!(err = %error, "metrics could not be written");
    }
    page
}

#[cfg(target_os = "linux")]
fn process() -> Vec<prometheus::proto::MetricFamily> {
    use prometheus::core::Collector;
    prometheus::process_collector::ProcessCollector::for_self().collect()
}

#[cfg(not(target_os = "linux"))]
fn process() -> Vec<prometheus::proto::MetricFamily> {
    Vec::new()
}
