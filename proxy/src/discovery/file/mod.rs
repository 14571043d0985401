//! A file of backends: mpp's lines, or Prometheus' `file_sd_configs`.
//!
//! [`paths`] are the files that are meant, [`read`] is their text, whole; [`lines`] and the groups of
//! Prometheus are how it is written. One mistake refuses all of it, and what was said last goes on.

mod paths;
mod read;
pub(super) mod lines;

use std::path::Path;

use self::read::Text;
use super::turns::{self, blocking};
use super::{Found, Report, groups};
use crate::config::query::{FileFormat, FileSource, Manner};

/// Looks at it again and again. It never ends.
pub(super) async fn follow(source: FileSource, report: Report) {
    let mut known = Known::default();
    loop {
        report.say(look(&source, &mut known, &report).await).await;
        turns::next(source.refresh, 0.0).await;
    }
}

/// What was read last, and what came of it: it is seldom new, and parsed once.
#[derive(Debug, Default)]
struct Known {
    texts: Vec<Text>,
    word: Option<Result<Vec<Found>, String>>,
}

async fn look(
    source: &FileSource,
    known: &mut Known,
    report: &Report,
) -> Result<Vec<Found>, String> {
    let texts = read::settled(&source.path, &known.texts, report).await?;
    let texts = match (texts, &known.word) {
        (None, Some(word)) => return word.clone(),
        (texts, _) => texts.unwrap_or_default(),
    };
    let (format, manner) = (source.format, source.manner.clone());
    let parse = move || {
        let word = parsed(&texts, format, &manner);
        (texts, word)
    };
    let (texts, word) = blocking(report, parse).await?;
    known.texts = texts;
    known.word = Some(word.clone());
    word
}

fn parsed(texts: &[Text], format: FileFormat, manner: &Manner) -> Result<Vec<Found>, String> {
    let mut all = Vec::new();
    for Text { path, text } in texts {
        let found = match format {
            FileFormat::Lines => lines::found(text, manner),
            FileFormat::FileSd if is_json(path) => {
                groups::json(text.as_bytes()).and_then(|groups| groups::found(groups, manner))
            }
            FileFormat::FileSd => {
                groups::yaml(text).and_then(|groups| groups::found(groups, manner))
            }
        };
        all.extend(found.map_err(|why| format!("{}{why}", path.display()))?);
    }
    Ok(all)
}

fn is_json(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}

#[cfg(test)]
mod tests;
