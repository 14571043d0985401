//! What mpp's settings mean here.

use std::collections::HashMap;
use std::time::Duration;

use adit_common::net::tls::ClientTls;
use adit_common::secret::Secret;
use adit_common::target::Scheme;

use super::arguments::Key;
use crate::config::query::{
    Affinity, Cookie, FileFormat, FileSource, KubernetesSelect, KubernetesSource, Manner,
    MarathonSource, MostData, Pool, PrincipalSecret, Source, Strategy,
};

/// mpp's cookie.
const COOKIE: &str = "MPP.Route";
/// mpp's port.
const PORT: u16 = 9090;
const SELECTION_INTERVAL: Duration = Duration::from_secs(10);

/// What they come to.
#[derive(Debug)]
pub(super) struct Meaning {
    /// Flags of ours.
    pub(super) flags: Vec<String>,
    pub(super) pool: Pool,
    /// The flag by which a secret was given.
    pub(super) bare_secret: Option<String>,
}

type Values = HashMap<Key, (String, String)>;

/// Where it `listens` on an address of its own, mpp's port says nothing.
///
/// # Errors
/// Which setting, and what would be right.
pub(super) fn of(values: &Values, listens: bool) -> Result<Meaning, String> {
    let interval = match values.get(&Key::SelectionInterval) {
        None => SELECTION_INTERVAL,
        Some((spelling, text)) => go_duration(text)
            .filter(|interval| !interval.is_zero())
            .ok_or_else(|| format!("{spelling}: {text:?} is no duration like 10s or 1m30s"))?,
    };
    let strategy = strategy(values)?;
    let sources = sources(values, interval)?;
    if sources.is_empty() {
        return Err(
            "--compat.mpp: nothing says where backends are: give --endpoints-file, \
             --kube-service-name, --kube-pod-label-selector or --marathon-url"
                .to_owned(),
        );
    }
    Ok(Meaning {
        flags: flags(values, listens)?,
        bare_secret: bare_secret(values),
        pool: Pool {
            sources,
            selection_interval: interval,
            affinity: affinity(values, &strategy)?,
            strategy,
            ..Pool::new("main")
        },
    })
}

fn text(values: &Values, key: Key) -> Option<&str> {
    values.get(&key).map(|(_, value)| value.as_str())
}

fn flags(values: &Values, listens: bool) -> Result<Vec<String>, String> {
    let port = match values.get(&Key::Port) {
        None => PORT,
        Some((spelling, text)) => text
            .parse()
            .map_err(|_| format!("{spelling}: {text:?} is no port (1 to 65535)"))?,
    };
    let mut flags = match listens {
        true => Vec::new(),
        false => vec![format!("--query.listen-address=:{port}")],
    };
    if let Some((spelling, text)) = values.get(&Key::Verbose)
        && boolean(spelling, text)?
    {
        flags.push("--log.level=debug".to_owned());
    }
    Ok(flags)
}

fn strategy(values: &Values) -> Result<Strategy, String> {
    let Some((spelling, text)) = values.get(&Key::RoutingStrategy) else {
        return Ok(Strategy::default());
    };
    let wrong = || {
        format!(
            "{spelling}: {text:?} is none of single-most-data, random, minimum-history:DURATION"
        )
    };
    match text.as_str() {
        "single-most-data" => Ok(Strategy::default()),
        "random" => Ok(Strategy::Random),
        text => {
            let history = text.strip_prefix("minimum-history:").ok_or_else(wrong)?;
            let history = go_duration(history).ok_or_else(wrong)?;
            Ok(Strategy::MinHistory(history, MostData::default()))
        }
    }
}

/// Of a single selected backend mpp has nobody stay with another.
fn affinity(values: &Values, strategy: &Strategy) -> Result<Vec<Affinity>, String> {
    let (spelling, text) = match values.get(&Key::AffinityOptions) {
        Some((spelling, text)) => (spelling.as_str(), text.as_str()),
        None => ("--affinity-options", "cookies"),
    };
    let words = text
        .split(',')
        .map(str::trim)
        .filter(|word| !word.is_empty());
    let affinity = words.map(|word| match word {
        "cookies" => Ok(Affinity::Cookie(Cookie {
            name: COOKIE.to_owned(),
            path: "/".to_owned(),
            max_age: None,
        })),
        "sourceip" => Ok(Affinity::SourceAddress {
            ipv4_prefix: 32,
            ipv6_prefix: 64,
        }),
        word => Err(format!(
            "{spelling}: {word:?} is neither cookies nor sourceip"
        )),
    });
    let affinity: Vec<Affinity> = affinity.collect::<Result<_, _>>()?;
    Ok(match strategy {
        Strategy::MostData(_) => vec![Affinity::Primary],
        _ => affinity,
    })
}

/// In mpp's order.
fn sources(values: &Values, refresh: Duration) -> Result<Vec<Source>, String> {
    let mut sources = Vec::new();
    if let Some(path) = text(values, Key::EndpointsFile) {
        sources.push(Source::File(FileSource {
            path: path.into(),
            format: FileFormat::Lines,
            refresh,
            manner: Manner::default(),
        }));
    }
    let service = text(values, Key::KubeServiceName).filter(|name| !name.is_empty());
    let pods = text(values, Key::KubePodLabelSelector).filter(|labels| !labels.is_empty());
    let select = match (service, pods) {
        (Some(service), _) => Some(KubernetesSelect::Service(service.to_owned())),
        (None, Some(pods)) => Some(KubernetesSelect::Pods(pods.to_owned())),
        (None, None) => None,
    };
    if let Some(select) = select {
        let some = |key| text(values, key).filter(|text| !text.is_empty());
        sources.push(Source::Kubernetes(KubernetesSource {
            kubeconfig: some(Key::Kubeconfig).map(Into::into),
            namespace: some(Key::KubeNamespace).unwrap_or("default").to_owned(),
            select,
            port: some(Key::KubePort).map(str::to_owned),
            scheme: Scheme::Http,
            path_prefix: String::new(),
            manner: Manner::default(),
        }));
    }
    sources.extend(marathon(values, refresh)?.map(Source::Marathon));
    Ok(sources)
}

fn marathon(values: &Values, refresh: Duration) -> Result<Option<MarathonSource>, String> {
    let Some((spelling, urls)) = values.get(&Key::MarathonUrl) else {
        return Ok(None);
    };
    let apps = list(text(values, Key::MarathonApps).unwrap_or_default());
    if apps.is_empty() {
        return Err(format!("{spelling}: expected --marathon-apps beside it"));
    }
    let tls = ClientTls {
        insecure_skip_verify: match values.get(&Key::InsecureCerts) {
            Some((spelling, text)) => boolean(spelling, text)?,
            None => false,
        },
        ..ClientTls::default()
    };
    let secret = values.get(&Key::MarathonPrincipalSecret);
    Ok(Some(MarathonSource {
        urls: members(urls).into_iter().map(Into::into).collect(),
        apps,
        port: None,
        principal_secret: secret.map(|(_, json)| PrincipalSecret::Value(Secret::new(json.clone()))),
        auth_endpoint: text(values, Key::MarathonAuthEndpoint).map(str::to_owned),
        tls,
        refresh,
        manner: Manner::default(),
    }))
}

fn bare_secret(values: &Values) -> Option<String> {
    let (spelling, _) = values.get(&Key::MarathonPrincipalSecret)?;
    spelling.starts_with('-').then(|| spelling.clone())
}

fn list(text: &str) -> Vec<String> {
    let words = text.split(',').map(str::trim);
    words
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}

/// `http://a:8080,b:8080/path`: the first scheme and the last path are everybody's.
fn members(text: &str) -> Vec<String> {
    let mut scheme = None;
    let mut path = String::new();
    let mut hosts = Vec::new();
    for member in list(text) {
        // Some write the scheme before each.
        let (own, rest) = match member.split_once("://") {
            Some((own, rest)) => (Some(own.to_owned()), rest),
            None => (None, member.as_str()),
        };
        scheme = scheme.or(own);
        let (host, rest) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        hosts.push(host.to_owned());
        if !rest.is_empty() {
            path = rest.trim_end_matches('/').to_owned();
        }
    }
    let scheme = scheme.as_deref().unwrap_or("http");
    let url = |host: String| format!("{scheme}://{host}{path}");
    hosts.into_iter().map(url).collect()
}

/// As Go's `strconv.ParseBool`.
fn boolean(spelling: &str, text: &str) -> Result<bool, String> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        text => Err(format!("{spelling}: expected true or false, not {text:?}")),
    }
}

/// As Go's `time.ParseDuration`: `1h30m`, `1.5s`, `250ms`, `0`.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..end].parse().ok()?;
        let unit_end = rest[end..]
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .map_or(rest.len(), |at| end + at);
        let unit = match &rest[end..unit_end] {
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" | "μs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        seconds += number * unit;
        rest = &rest[unit_end..];
    }
    Duration::try_from_secs_f64(seconds).ok()
}

#[cfg(test)]
#[path = "meaning_tests.rs"]
mod tests;
