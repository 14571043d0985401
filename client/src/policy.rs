//! Whether a target is offered, and where it really is. Nobody is trusted with more: the proxy
//! and whoever scrapes through it reach what is written here and nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use adit_common::fault::{Fault, Report};
use adit_common::name::Name;
use adit_common::net::tls::{ClientTls, Connector, TlsError};
use adit_common::registration::{Offered, Registration};
use adit_common::target::Target;
use adit_common::telemetry::version;

use crate::config::{Config, UpstreamUrl};
use crate::upstream::Upstream;

/// What a client offers.
#[derive(Debug)]
pub(crate) struct Offer {
    registration: Registration,
    targets: HashMap<Target, Upstream>,
    /// Every port of these names, at localhost.
    any_port: Option<AnyPort>,
}

#[derive(Debug)]
struct AnyPort {
    names: Vec<Name>,
    connector: Connector,
    /// Made as they are asked for.
    upstreams: Mutex<HashMap<u16, Upstream>>,
}

/// Ports with connections kept for reuse under `--allow-any-port`; further ones work without.
const MOST_PORTS: usize = 1024;

impl Offer {
    /// What `config` offers, with its certificates read.
    ///
    /// # Errors
    /// Whose TLS settings cannot be used, and why.
    pub(crate) fn new(config: &Config) -> Result<Self, (String, TlsError)> {
        let plain = ClientTls::default();
        // Built once: reading the system's roots takes milliseconds.
        let default = plain.build().map_err(|error| ("tls".to_owned(), error))?;
        let mut targets = HashMap::new();
        for target in &config.targets {
            let connector = match target.tls == plain {
                true => default.clone(),
                false => target
                    .tls
                    .build()
                    .map_err(|error| (format!("target {}: tls", target.target), error))?,
            };
            targets.insert(target.target.clone(), Upstream::of(target, connector));
        }
        Ok(Self {
            registration: registration(config),
            targets,
            any_port: config.allow_any_port.then(|| AnyPort {
                names: config.names.clone(),
                connector: default,
                upstreams: Mutex::default(),
            }),
        })
    }

    /// What the proxy is told.
    pub(crate) fn registration(&self) -> &Registration {
        &self.registration
    }

    /// Where a target really is, if it is offered.
    ///
    /// # Errors
    /// [`Fault::NotOffered`], naming the target.
    pub(crate) fn admit(&self, target: &Target) -> Result<Upstream, Report> {
        if let Some(upstream) = self.targets.get(target) {
            return Ok(upstream.clone());
        }
        if let Some(any) = &self.any_port
            && any.names.contains(&target.name)
        {
            return Ok(any.upstream(target.port));
        }
        let words = format!("{target} is not offered by this client");
        Err(Report::new(Fault::NotOffered, words))
    }
}

impl AnyPort {
    fn upstream(&self, port: u16) -> Upstream {
        let mut known = self
            .upstreams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(upstream) = known.get(&port) {
            return upstream.clone();
        }
        let upstream = Upstream::localhost(port, self.connector.clone());
        if known.len() < MOST_PORTS {
            known.insert(port, upstream.clone());
        }
        upstream
    }
}

/// The hosts of targets route by themselves, or nobody could reach them.
fn registration(config: &Config) -> Registration {
    let mut names = config.names.clone();
    names.extend(config.targets.iter().map(|t| t.target.name.clone()));
    names.sort_unstable();
    names.dedup();
    let targets = config.targets.iter().map(|target| Offered {
        target: target.target.clone(),
        scheme: match &target.url {
            Some(UpstreamUrl::Http { scheme, .. }) => Some(*scheme),
            _ => None,
        },
        labels: target.labels.clone(),
    });
    Registration {
        names,
        targets: targets.collect(),
        any_port: config.allow_any_port,
        labels: config.labels.clone(),
        version: version::VERSION.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::Address;

    fn offer(args: &[&str]) -> Offer {
        let proxy = ["--proxy-url=http://proxy"];
        let config = Config::from_args(proxy.iter().chain(args)).unwrap();
        Offer::new(&config).unwrap()
    }

    fn admitted(offer: &Offer, target: &str) -> Option<Address> {
        let admitted = offer.admit(&target.parse().unwrap());
        admitted.ok().map(|upstream| upstream.address.clone())
    }

    fn tcp(target: &str) -> Option<Address> {
        Some(Address::Tcp(target.parse().unwrap()))
    }

    #[test]
    fn only_what_is_named_is_offered() {
        let offer = offer(&[
            "--target=pi:9100",
            "--target=nas:80=https://192.168.1.5/x",
            "--target=db:1=unix:/run/db",
            "--name=other",
        ]);
        assert_eq!(admitted(&offer, "pi:9100"), tcp("localhost:9100"));
        assert_eq!(admitted(&offer, "PI.:9100"), tcp("localhost:9100"));
        assert_eq!(admitted(&offer, "nas:80"), tcp("192.168.1.5:443"));
        assert_eq!(
            admitted(&offer, "db:1"),
            Some(Address::Unix("/run/db".into()))
        );
        for target in [
            "pi:9101",
            "nas:443",
            "other:9100",
            "localhost:9100",
            "192.168.1.5:443",
        ] {
            assert_eq!(admitted(&offer, target), None, "{target}");
        }
        let report = offer.admit(&"pi:9101".parse().unwrap()).unwrap_err();
        assert_eq!(report.reason, "pi:9101 is not offered by this client");
        let names: Vec<&str> = offer.registration.names.iter().map(Name::as_str).collect();
        assert_eq!(names, ["db", "nas", "other", "pi"]);
    }

    #[test]
    fn any_port_is_of_the_given_names_and_at_localhost() {
        let offer = offer(&[
            "--allow-any-port",
            "--name=pi",
            "--target=nas:1=http://10.0.0.1:2",
        ]);
        assert_eq!(admitted(&offer, "pi:1"), tcp("localhost:1"));
        assert_eq!(admitted(&offer, "pi:65535"), tcp("localhost:65535"));
        assert_eq!(admitted(&offer, "nas:1"), tcp("10.0.0.1:2"));
        assert_eq!(admitted(&offer, "nas:3"), None);
        for port in 1..=2000u16 {
            assert!(admitted(&offer, &format!("pi:{port}")).is_some());
        }
        let kept = offer.any_port.unwrap().upstreams.into_inner().unwrap();
        assert_eq!(kept.len(), MOST_PORTS);
    }

    #[test]
    fn the_host_a_target_is_sent() {
        let offer = offer(&["--target=pi:9100", "--target=nas:80=http://Nas.Local:8080"]);
        let host = |target: &str| offer.admit(&target.parse().unwrap()).unwrap().host.clone();
        assert_eq!(host("pi:9100"), None);
        assert_eq!(host("nas:80").unwrap(), "Nas.Local:8080");
    }
}
