//! What holds where nothing is written. One home for every default of the query side.

use std::num::NonZero;
use std::time::Duration;

use adit_common::net::tls::ClientTls;

use super::{
    Affinity, Allow, Cookie, DataMetric, Health, Hedge, Manner, MostData, Pool, Retry, Strategy,
};

impl Pool {
    /// With every key at its default.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            hosts: Vec::new(),
            path_prefix: String::new(),
            sources: Vec::new(),
            grace: Duration::from_secs(60),
            selection_interval: Duration::from_secs(10),
            health: Health::default(),
            strategy: Strategy::default(),
            affinity: vec![Affinity::Primary],
            retry: Retry::default(),
            hedge: None,
            allow: Allow::default(),
            request_body: 10 << 20,
            response_hold: 1 << 20,
            timeout: Duration::from_secs(120),
            backend_requests: 256,
        }
    }
}

impl Default for Manner {
    fn default() -> Self {
        Self {
            tls: ClientTls::default(),
            credentials: None,
            priority: 0,
            weight: NonZero::<u32>::MIN,
        }
    }
}

impl Default for Health {
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(5),
            timeout: Duration::from_secs(2),
            rise: 2,
            fall: 2,
            ready_path: "/-/ready".to_owned(),
            query: None,
            max_staleness: Duration::from_secs(120),
            warm_up: Duration::from_secs(30),
            warm_up_targets: 0.9,
            consecutive_failures: 3,
            ejection: Duration::from_secs(10),
            max_ejection: Duration::from_secs(300),
            max_ejected: 0.5,
        }
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self::MostData(MostData::default())
    }
}

impl Strategy {
    /// Who stays with whom where nothing is said: everybody with the one that is best, where one is; where
    /// the key decides, whoever comes from one address; nobody, where the load is to be spread.
    pub fn usual_affinity(&self) -> Vec<Affinity> {
        match self {
            Self::MostData(_) | Self::MinHistory(..) | Self::FirstAvailable { .. } => {
                vec![Affinity::Primary]
            }
            Self::ConsistentHash => vec![Affinity::whole_address()],
            Self::Random | Self::RoundRobin | Self::LeastLoaded => Vec::new(),
        }
    }
}

impl Default for MostData {
    fn default() -> Self {
        Self {
            metric: DataMetric::Auto,
            hysteresis: 0.05,
            hold: 3,
        }
    }
}

impl Affinity {
    /// By the source address: all of one of IPv4, and the network of one of IPv6, of which a machine may
    /// have many.
    pub fn whole_address() -> Self {
        Self::SourceAddress {
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        }
    }
}

impl Default for Cookie {
    fn default() -> Self {
        Self {
            name: "adit_backend".to_owned(),
            path: "/".to_owned(),
            max_age: None,
        }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 3,
            budget: 0.2,
            header_timeout: None,
        }
    }
}

impl Default for Hedge {
    fn default() -> Self {
        Self {
            quantile: 0.95,
            min: Duration::from_millis(250),
            max: Duration::from_secs(5),
            budget: 0.05,
        }
    }
}

impl Default for Allow {
    fn default() -> Self {
        Self {
            write: false,
            admin: false,
            lifecycle: false,
            debug: false,
            unknown: true,
        }
    }
}
