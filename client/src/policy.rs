//! Whether a target is offered, and where it really is. Nobody is trusted with more: the proxy
//! and whoever scrapes through it reach what is written here and nothing else.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use adit_common::fault::{Fault, Report};
use adit_common::name::Name;
use adit_common::net::tls::ClientTls;
use adit_common::registration::{Offered, Registration};
use adit_common::target::Target;
use adit_common::telemetry::version;
use bytes::Bytes;
use tokio_util::sync::CancellationToken;

use crate::config::{Config, SettingsError, TargetConfig, UpstreamUrl};
use crate::tls::Tls;
use crate::upstream::Upstream;

/// What a client offers.
#[derive(Debug)]
pub(crate) struct Offer {
    /// What the proxy is told.
    line: Bytes,
    targets: HashMap<Target, Upstream>,
    /// Every port of these names, at localhost.
    any_port: Option<AnyPort>,
}

#[derive(Debug)]
struct AnyPort {
    names: Vec<Name>,
    tls: Tls,
    /// Made as they are asked for.
    known: Mutex<HashMap<Target, Upstream>>,
    /// For those that are not kept in there, and cancelled when nothing is kept there any more.
    withdrawn: CancellationToken,
}

/// Ports with connections kept for reuse under `--allow-any-port`; further ones work without.
const MOST_PORTS: usize = 1024;

impl Offer {
    /// What `config` offers, with its certificates read, and with the connections to targets that
    /// are as they were in `before`.
    ///
    /// # Errors
    /// Whose TLS settings cannot be used, and why; what a proxy would not take.
    pub(crate) fn new(config: &Config, before: Option<&Self>) -> Result<Self, SettingsError> {
        let line = registration(config).to_line();
        // As the proxy will look at it: too much of something is found before it is told.
        Registration::from_line(line.trim_ascii_end())?;
        let system = Tls::system();
        let mut targets = HashMap::new();
        for target in &config.targets {
            let upstream = Upstream::of(target, tls(target, &system)?);
            let kept = before.and_then(|before| before.find(&target.target));
            let upstream = match kept {
                Some(kept) => upstream.continuing(&kept),
                None => upstream,
            };
            targets.insert(target.target.clone(), upstream);
        }
        Ok(Self {
            line: line.into(),
            targets,
            any_port: config.allow_any_port.then(|| AnyPort {
                names: config.names.clone(),
                tls: system,
                known: Mutex::default(),
                withdrawn: CancellationToken::new(),
            }),
        })
    }

    /// The registration, a line of JSON.
    pub(crate) fn line(&self) -> &Bytes {
        &self.line
    }

    /// How many targets are named.
    pub(crate) fn targets(&self) -> usize {
        self.targets.len()
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
            return Ok(any.upstream(target));
        }
        let words = format!("{target} is not offered by this client");
        Err(Report::new(Fault::NotOffered, words))
    }

    /// In force now instead of `before`: goes on with what is known of its ports, and withdraws all
    /// that is offered no longer, or is somewhere else.
    pub(crate) fn take_over(&self, before: &Self) {
        if let Some(any) = &before.any_port {
            any.withdrawn.cancel();
        }
        for (target, upstream) in before.drain() {
            let goes_on = match (self.targets.get(&target), &self.any_port) {
                (Some(now), _) => now.continues(&upstream),
                (None, Some(any)) => any.adopt(target, &upstream),
                (None, None) => false,
            };
            if !goes_on {
                upstream.withdraw();
            }
        }
    }

    /// The upstream of a target that was named, or asked for.
    fn find(&self, target: &Target) -> Option<Upstream> {
        let asked = || self.any_port.as_ref()?.lock().get(target).cloned();
        self.targets.get(target).cloned().or_else(asked)
    }

    /// Every upstream; those that were asked for are known no longer.
    fn drain(&self) -> Vec<(Target, Upstream)> {
        let mut all: Vec<_> = self
            .targets
            .iter()
            .map(|(target, upstream)| (target.clone(), upstream.clone()))
            .collect();
        if let Some(any) = &self.any_port {
            all.extend(any.lock().drain());
        }
        all
    }
}

impl AnyPort {
    fn upstream(&self, target: &Target) -> Upstream {
        let mut known = self.lock();
        if let Some(upstream) = known.get(target) {
            return upstream.clone();
        }
        let make = |withdrawn| Upstream::localhost(target.port, self.tls.clone(), withdrawn);
        // A scrape that began just before a reload is withdrawn with the others, and known to nobody.
        if known.len() >= MOST_PORTS || self.withdrawn.is_cancelled() {
            return make(self.withdrawn.clone());
        }
        let upstream = make(CancellationToken::new());
        known.insert(target.clone(), upstream.clone());
        upstream
    }

    /// Goes on with an upstream that is what this would make; says whether it does.
    fn adopt(&self, target: Target, before: &Upstream) -> bool {
        if !self.names.contains(&target.name) {
            return false;
        }
        let make = Upstream::localhost(target.port, self.tls.clone(), CancellationToken::new());
        let upstream = make.continuing(before);
        let goes_on = upstream.continues(before);
        let mut known = self.lock();
        // One that was asked for since then stays.
        if goes_on && known.len() < MOST_PORTS && !known.contains_key(&target) {
            known.insert(target, upstream);
            return true;
        }
        false
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, Upstream>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn tls(target: &TargetConfig, system: &Tls) -> Result<Tls, SettingsError> {
    if target.tls == ClientTls::default() {
        return Ok(system.clone());
    }
    Tls::new(&target.tls).map_err(|error| SettingsError::Tls {
        what: format!("target {}: tls", target.target),
        error,
    })
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
        Offer::new(&config, None).unwrap()
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
        let told = Registration::from_line(offer.line().trim_ascii_end()).unwrap();
        let names: Vec<&str> = told.names.iter().map(Name::as_str).collect();
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
        let kept = offer.any_port.unwrap().known.into_inner().unwrap();
        assert_eq!(kept.len(), MOST_PORTS);
    }

    #[test]
    fn the_host_a_target_is_sent() {
        let offer = offer(&["--target=pi:9100", "--target=nas:80=http://Nas.Local:8080"]);
        let host = |target: &str| offer.admit(&target.parse().unwrap()).unwrap().host.clone();
        assert_eq!(host("pi:9100"), None);
        assert_eq!(host("nas:80").unwrap(), "Nas.Local:8080");
    }

    /// The offer of `args` after the one of `before`, in force.
    fn reloaded(before: &Offer, args: &[&str]) -> Offer {
        let proxy = ["--proxy-url=http://proxy"];
        let config = Config::from_args(proxy.iter().chain(args)).unwrap();
        let now = Offer::new(&config, Some(before)).unwrap();
        now.take_over(before);
        now
    }

    fn upstream(offer: &Offer, target: &str) -> Upstream {
        offer.admit(&target.parse().unwrap()).unwrap()
    }

    #[test]
    fn what_leads_to_the_same_place_goes_on_over_a_reload() {
        let before = offer(&["--target=pi:1=http://a:1", "--target=pi:2=http://a:2"]);
        let (stays, moves) = (upstream(&before, "pi:1"), upstream(&before, "pi:2"));
        // Another path at the same place is the same place.
        let now = reloaded(
            &before,
            &["--target=pi:1=http://a:1/x", "--target=pi:2=http://b:2"],
        );
        assert!(upstream(&now, "pi:1").continues(&stays));
        assert_eq!(upstream(&now, "pi:1").prefix, "/x");
        assert!(!stays.withdrawn().is_cancelled());
        assert!(!upstream(&now, "pi:2").continues(&moves));
        assert!(moves.withdrawn().is_cancelled());
        // The next reload knows it still.
        reloaded(&now, &["--target=pi:3"]);
        assert!(stays.withdrawn().is_cancelled());
    }

    #[test]
    fn ports_that_were_asked_for_go_on_while_their_name_is_offered() {
        let before = offer(&["--allow-any-port", "--name=pi", "--name=nas"]);
        let [kept, named, gone] = ["pi:1", "pi:2", "nas:1"].map(|t| upstream(&before, t));
        let now = reloaded(&before, &["--allow-any-port", "--name=pi", "--target=pi:2"]);
        assert!(upstream(&now, "pi:1").continues(&kept));
        assert!(upstream(&now, "pi:2").continues(&named));
        for upstream in [&kept, &named] {
            assert!(!upstream.withdrawn().is_cancelled());
        }
        assert!(gone.withdrawn().is_cancelled());
        // A scrape that looked just before the reload is told as well.
        assert!(upstream(&before, "pi:3").withdrawn().is_cancelled());
        reloaded(&now, &["--target=pi:2"]);
        assert!(kept.withdrawn().is_cancelled());
        assert!(!named.withdrawn().is_cancelled());
    }

    #[test]
    fn more_than_a_proxy_takes_is_refused_here() {
        let names: Vec<String> = (0..1025).map(|n| format!("--name=n{n}")).collect();
        let args = ["--proxy-url=http://proxy", "--target=pi:1"].map(str::to_owned);
        let config = Config::from_args(args.into_iter().chain(names)).unwrap();
        let error = Offer::new(&config, None).unwrap_err().to_string();
        assert!(error.contains("1024 are allowed"), "{error}");
    }
}
