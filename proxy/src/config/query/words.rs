//! Strategies and affinities as the file writes them.

use std::fmt;

use humantime::format_duration;

use super::{Affinity, DataMetric, Strategy};

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MostData(_) => f.write_str("most-data"),
            Self::MinHistory(history, _) => write!(f, "min-history:{}", format_duration(*history)),
            Self::Random => f.write_str("random"),
            Self::RoundRobin => f.write_str("round-robin"),
            Self::FirstAvailable { .. } => f.write_str("first-available"),
            Self::LeastLoaded => f.write_str("least-loaded"),
            Self::ConsistentHash => f.write_str("consistent-hash"),
        }
    }
}

impl Strategy {
    /// What it compares, for people.
    pub fn comparison(&self) -> &'static str {
        match self {
            Self::MostData(most) | Self::MinHistory(_, most) => match most.metric {
                DataMetric::Auto => "history, then stored samples, then series in memory",
                DataMetric::History => "history",
                DataMetric::StoredSamples => "stored samples",
                DataMetric::IngestedSamples => "samples since the server's start",
            },
            Self::Random => "chance",
            Self::RoundRobin => "turns",
            Self::FirstAvailable { .. } => "priority",
            Self::LeastLoaded => "requests under way and latency",
            Self::ConsistentHash => "the caller's key",
        }
    }
}

impl fmt::Display for Affinity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Primary => f.write_str("primary"),
            Self::Cookie(_) => f.write_str("cookie"),
            Self::SourceAddress { .. } => f.write_str("source-address"),
            Self::Header(name) => write!(f, "header {name}"),
        }
    }
}
