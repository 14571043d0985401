//! What is counted, what must be zero, and the table at the end.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// What must never be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Violation {
    /// Bytes of another target, or of the answer to another request.
    WrongTarget,
    /// Whole by HTTP, and not by itself.
    ShortSuccess,
    /// Nobody says such a thing: neither a target nor a proxy of ours.
    Garbled,
    /// It began or ended too late, or never.
    AfterDeadline,
    /// What must not be repeated was.
    AskedTwice,
    /// Something is held by a program that nobody uses any more.
    Leaked,
    /// A name that did not come back.
    DeadName,
    /// A program, or a task of ours, ended as it should not.
    BadEnd,
}

impl Violation {
    const ALL: [(Self, &'static str); 8] = [
        (Self::WrongTarget, "wrong target"),
        (Self::ShortSuccess, "short success"),
        (Self::Garbled, "garbled"),
        (Self::AfterDeadline, "answered after deadline"),
        (Self::AskedTwice, "asked twice"),
        (Self::Leaked, "leaked"),
        (Self::DeadName, "dead names"),
        (Self::BadEnd, "ended badly"),
    ];

    /// Its row.
    pub(super) fn as_str(self) -> &'static str {
        let row = Self::ALL.iter().find(|(violation, _)| *violation == self);
        row.map_or("", |(_, words)| words)
    }
}

/// A part of the table, in its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// Scrapes that ended well, by how.
    Answered,
    /// Scrapes that did not, by why.
    Failed,
    /// What nobody is blamed for.
    Excused,
    /// Of those that failed, where no fault explains it.
    Unexplained,
    /// What was done to the network and the targets.
    Faults,
    /// What was done to programs.
    Restarts,
}

impl Part {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Answered, "answered"),
        (Self::Failed, "failed"),
        (Self::Excused, "not judged"),
        (
            Self::Unexplained,
            "of the failed, without a fault that explains it",
        ),
        (Self::Faults, "faults injected"),
        (Self::Restarts, "restarts and changes"),
    ];
}

/// The counts of a run.
#[derive(Debug, Default)]
pub(super) struct Tally {
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    parts: BTreeMap<(Part, String), u64>,
    violations: BTreeMap<Violation, u64>,
    /// How long behind its deadline the last answer of all ended, one that is no violation.
    latest: Duration,
}

impl Tally {
    /// One more of these.
    pub(super) fn count(&self, part: Part, what: impl Into<String>) {
        let mut counts = self.lock();
        *counts.parts.entry((part, what.into())).or_default() += 1;
    }

    /// One more that must not be. Whoever counts it says the rest.
    pub(super) fn violated(&self, violation: Violation) {
        *self.lock().violations.entry(violation).or_default() += 1;
    }

    /// An answer that ended so long behind its deadline, and is no violation.
    pub(super) fn late(&self, by: Duration) {
        let mut counts = self.lock();
        counts.latest = counts.latest.max(by);
    }

    /// All of a part together.
    pub(super) fn sum(&self, part: Part) -> u64 {
        let counts = self.lock();
        let of_it = counts.parts.iter().filter(|((of, _), _)| *of == part);
        of_it.map(|(_, count)| count).sum()
    }

    /// Everything that must be zero.
    pub(super) fn violations(&self) -> u64 {
        self.lock().violations.values().sum()
    }

    /// One line, for now and then.
    pub(super) fn line(&self) -> String {
        format!(
            "{} answered, {} failed, {} faults, {} restarts and changes, {} violations",
            self.sum(Part::Answered),
            self.sum(Part::Failed),
            self.sum(Part::Faults),
            self.sum(Part::Restarts),
            self.violations()
        )
    }

    /// The whole table.
    pub(super) fn table(&self) -> String {
        let scrapes = [Part::Answered, Part::Failed, Part::Excused];
        let scrapes: u64 = scrapes.into_iter().map(|part| self.sum(part)).sum();
        let mut table = row("", "scrapes", scrapes);
        for (part, words) in Part::ALL {
            table.push_str(&row("", words, self.sum(part)));
            for ((of, what), count) in &self.lock().parts {
                if *of == part {
                    table.push_str(&row("  ", what, *count));
                }
            }
        }
        let counts = self.lock();
        let latest = u64::try_from(counts.latest.as_millis()).unwrap_or(u64::MAX);
        table.push_str(&row(
            "",
            "latest end behind a deadline, within the margin, ms",
            latest,
        ));
        for (violation, words) in Violation::ALL {
            let count = counts.violations.get(&violation).copied();
            table.push_str(&row("", words, count.unwrap_or(0)));
        }
        table
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn row(indent: &str, what: &str, count: u64) -> String {
    format!("{:<58}{count:>9}\n", format!("{indent}{what}"))
}

/// Says something to whoever runs this.
#[expect(clippy::print_stdout, reason = "it is what this program is for")]
pub(super) fn say(words: &str) {
    println!("{words}");
}

/// A time as it is typed.
pub(super) fn words(time: Duration) -> String {
    humantime::format_duration(Duration::from_secs(time.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_every_row_that_must_be_zero() {
        let tally = Tally::default();
        tally.count(Part::Answered, "200");
        tally.count(Part::Failed, "cut");
        tally.count(Part::Failed, "cut");
        tally.count(Part::Faults, "stall");
        let zero = tally.table();
        for (_, words) in Violation::ALL {
            let line = zero.lines().find(|line| line.starts_with(words));
            assert!(
                line.is_some_and(|line| line.ends_with(" 0")),
                "{words}: {zero}"
            );
        }
        assert!(zero.starts_with("scrapes") && zero.lines().next().unwrap().ends_with(" 3"));
        assert_eq!(tally.violations(), 0);
        tally.violated(Violation::Leaked);
        assert_eq!(tally.violations(), 1);
        assert_ne!(tally.table(), zero);
    }
}
