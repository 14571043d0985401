//! The text of files that somebody may be writing.
//!
//! Whoever swaps a file by renaming another one over it is never seen half-way. A file that is written in
//! place is: so a text that is new is taken when a second look finds the same, unless the file has been
//! left alone for a while. Writers that pause for longer than that between two pieces are read half; of
//! a file that has just been emptied nothing is lost by it, since an empty list counts after the grace
//! alone.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use adit_common::config_file;

use super::super::Report;
use super::super::turns::blocking;
use super::paths;

/// Between two looks at a text that is new.
const SETTLES: Duration = Duration::from_millis(50);
/// A file that has not been written to for so long is not being written.
const LEFT_ALONE: Duration = Duration::from_secs(1);
/// So often a text may be another one each time.
const LOOKS: usize = 5;

/// Of all files together.
const MOST_BYTES: usize = 8 << 20;

/// A file and its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text {
    pub(super) path: PathBuf,
    pub(super) text: String,
}

/// Their texts, when nobody is writing them; nothing when they are what is `known`.
///
/// # Errors
/// `PATH: why`.
pub(super) async fn settled(
    pattern: &Path,
    known: &[Text],
    report: &Report,
) -> Result<Option<Vec<Text>>, String> {
    let mut last = None;
    for _ in 0..LOOKS {
        let look = {
            let pattern = pattern.to_owned();
            move || look(&pattern)
        };
        let (all, are_left_alone) = blocking(report, look).await??;
        if all == known {
            return Ok(None);
        }
        let all = Some(all);
        if are_left_alone || all == last {
            return Ok(all);
        }
        last = all;
        tokio::time::sleep(SETTLES).await;
    }
    Err(format!(
        "{}: it was another one each time it was read: swap it by renaming a new one",
        pattern.display()
    ))
}

/// The texts, and whether nobody has written them lately. It blocks.
fn look(pattern: &Path) -> Result<(Vec<Text>, bool), String> {
    let mut all = Vec::new();
    let mut are_left_alone = true;
    let mut bytes = 0;
    for path in paths::meant(pattern)? {
        let failed = |error: std::io::Error| format!("{}: {error}", path.display());
        let about = std::fs::metadata(&path).map_err(failed)?;
        if !about.is_file() {
            // A pipe would hold us until somebody writes.
            return Err(format!("{}: is no file", path.display()));
        }
        are_left_alone &= is_left_alone(about.modified().ok());
        let text = config_file::text(&path).map_err(|error| error.to_string())?;
        bytes += text.len();
        if bytes > MOST_BYTES {
            return Err(format!("{}: over {MOST_BYTES} bytes", pattern.display()));
        }
        all.push(Text { path, text });
    }
    Ok((all, are_left_alone))
}

/// By two clocks, if the file is on another machine: what is of the future is not.
fn is_left_alone(modified: Option<SystemTime>) -> bool {
    let age = modified.and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age >= LEFT_ALONE)
}
