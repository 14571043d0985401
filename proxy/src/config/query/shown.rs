//! What people are told of the query side's settings: for `--check-config`, pages.

use std::fmt;

use super::{Affinity, Cookie, DataMetric, DnsRecords, KubernetesSelect, Pool, Source, Strategy};

impl fmt::Display for Strategy {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MostData(_) => f.write_str("most-data"),
            Self::MinHistory(least, _) => {
                write!(f, "min-history:{}", humantime::format_duration(*least))
            }
            Self::Random => f.write_str("random"),
            Self::RoundRobin => f.write_str("round-robin"),
            Self::FirstAvailable { .. } => f.write_str("first-available"),
            Self::LeastLoaded => f.write_str("least-loaded"),
            Self::ConsistentHash => f.write_str("consistent-hash"),
        }
    }
}

impl Strategy {
    /// What it compares.
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
            Self::Cookie(cookie) if cookie.name == Cookie::default().name => f.write_str("cookie"),
            Self::Cookie(cookie) => write!(f, "cookie {}", cookie.name),
            Self::SourceAddress { .. } => f.write_str("source-address"),
            Self::Header(name) => write!(f, "header {name}"),
        }
    }
}

impl fmt::Display for Source {
    /// Where it is; never by what credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Static(backend) => match &backend.name {
                Some(name) => write!(f, "{name} ({})", backend.url),
                None => backend.url.fmt(f),
            },
            Self::File(file) => write!(f, "file {}", file.path.display()),
            Self::Dns(dns) => match dns.records {
                DnsRecords::Srv => write!(f, "dns {} SRV", dns.name),
                DnsRecords::A => write!(f, "dns {}:{} A", dns.name, dns.port),
                DnsRecords::Aaaa => write!(f, "dns {}:{} AAAA", dns.name, dns.port),
                DnsRecords::Addresses => write!(f, "dns {}:{}", dns.name, dns.port),
            },
            Self::Http(http) => write!(f, "http {}", http.url),
            Self::Kubernetes(cluster) => {
                write!(f, "kubernetes {}/", cluster.namespace)?;
                match &cluster.select {
                    KubernetesSelect::Service(service) => f.write_str(service)?,
                    KubernetesSelect::Pods(selector) => write!(f, "pods {selector}")?,
                }
                if let Some(port) = &cluster.port {
                    write!(f, " port {port}")?;
                }
                match &cluster.kubeconfig {
                    Some(path) => write!(f, " by {}", path.display()),
                    None => Ok(()),
                }
            }
            Self::Marathon(marathon) => {
                write!(f, "marathon {}", marathon.apps.join(" "))?;
                match marathon.tls.insecure_skip_verify {
                    true => f.write_str(" (whoever answers: insecure_skip_verify)"),
                    false => Ok(()),
                }
            }
            Self::Tunnel(tunnel) => {
                f.write_str("tunnel")?;
                tunnel
                    .labels
                    .iter()
                    .try_for_each(|(label, value)| write!(f, " {label}={value:?}"))
            }
        }
    }
}

impl Pool {
    /// How it chooses, as far as that is not what its strategy usually does.
    pub fn besides(&self) -> Option<String> {
        let mut said = Vec::new();
        if self.selection_interval != Self::new("").selection_interval {
            let interval = humantime::format_duration(self.selection_interval);
            said.push(format!("selection_interval {interval}"));
        }
        if self.affinity != self.strategy.usual_affinity() {
            let affinity: Vec<String> = self.affinity.iter().map(ToString::to_string).collect();
            said.push(match affinity.is_empty() {
                true => "affinity none".to_owned(),
                false => format!("affinity {}", affinity.join(" ")),
            });
        }
        (!said.is_empty()).then(|| format!("{}: {}", self.name, said.join(", ")))
    }
}

impl fmt::Display for Pool {
    /// Its name, what it answers to, which way it chooses, and its backends, on a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.name)?;
        if !self.hosts.is_empty() {
            write!(f, " for {}", self.hosts.join(", "))?;
        }
        if !self.path_prefix.is_empty() {
            write!(f, " at {}", self.path_prefix)?;
        }
        write!(f, ": {} of ", self.strategy)?;
        for (index, source) in self.sources.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            write!(f, "{comma}{source}")?;
        }
        Ok(())
    }
}
