//! Which build this is.

use std::collections::HashMap;

use prometheus::{IntGauge, Opts};

/// The version both programs share.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Which commit it is.
pub const REVISION: &str = env!("ADIT_BUILD_REVISION");
/// And on which branch.
pub const BRANCH: &str = env!("ADIT_BUILD_BRANCH");
/// What it was compiled by.
pub const RUSTC: &str = env!("ADIT_BUILD_RUSTC");

/// What `--version` prints behind the program's name, in the form of Prometheus' own programs.
pub const LONG: &str = concat!(
    "version ",
    env!("CARGO_PKG_VERSION"),
    " (branch: ",
    env!("ADIT_BUILD_BRANCH"),
    ", revision: ",
    env!("ADIT_BUILD_REVISION"),
    ")\n  build date:       ",
    env!("ADIT_BUILD_DATE"),
    "\n  rust version:     ",
    env!("ADIT_BUILD_RUSTC"),
    "\n  platform:         ",
    env!("ADIT_BUILD_PLATFORM"),
);

/// `<namespace>_build_info`, always 1 (a convention of Prometheus' programs).
pub fn build_info(namespace: &str) -> prometheus::Result<IntGauge> {
    let labels = HashMap::from([
        ("version".to_owned(), VERSION.to_owned()),
        ("revision".to_owned(), REVISION.to_owned()),
        ("branch".to_owned(), BRANCH.to_owned()),
        ("rustversion".to_owned(), RUSTC.to_owned()),
    ]);
    let help = "A metric with a constant '1' value, labelled by what was built.";
    let opts = Opts::new("build_info", help)
        .namespace(namespace)
        .const_labels(labels);
    let gauge = IntGauge::with_opts(opts)?;
    gauge.set(1);
    Ok(gauge)
}
