//! What can be known without a network.

use std::path::Path;

use adit_common::net::tls::ClientTls;
use adit_common::secret::Secret;

use super::Step;
use crate::config::auth::Basic;
use crate::config::{Config, SettingsError, TargetConfig, UpstreamUrl};
use crate::policy::Offer;
use crate::routes::Routes;
use crate::tls::Tls;

/// Reads every file that `config` names; whether all can be used. It blocks.
pub fn files(config: &Config, tell: &mut dyn FnMut(&Step)) -> bool {
    let mut all = true;
    for step in steps(config) {
        all &= step.is_ok();
        tell(&step);
    }
    all
}

fn steps(config: &Config) -> impl Iterator<Item = Step> {
    let (auth, hop) = (&config.auth, &config.http_proxy);
    let password = |basic: &Option<Basic>| basic.as_ref().map(|basic| basic.password_file.clone());
    let secrets = [
        ("auth.token_file", auth.token_file.clone()),
        ("auth.basic.password_file", password(&auth.basic)),
        ("http_proxy.password_file", password(&hop.basic)),
    ];
    let secrets = secrets
        .into_iter()
        .filter_map(|(what, path)| Some(secret(what, &path?)));
    let tls = [("tls", &config.tls), ("http_proxy.tls", &hop.tls)];
    let tls = tls
        .into_iter()
        .filter_map(|(what, settings)| certificates(what, settings));
    let proxies = config.proxies.iter().map(|proxy| {
        let alone = Config {
            proxies: vec![proxy.clone()],
            ..config.clone()
        };
        let way = Routes::new(&alone).map(|routes| match routes.hop(proxy) {
            Some(hop) => format!("by the HTTP proxy {}", hop.url),
            None => String::new(),
        });
        Step::new(
            format!("proxy {proxy}"),
            way.map_err(|error| error.to_string()),
        )
    });
    let targets = config.targets.iter().map(|target| one(config, target));
    secrets
        .chain(tls)
        .chain(proxies)
        .chain(targets)
        .chain(whole(config))
}

fn secret(what: &str, path: &Path) -> Step {
    let read = Secret::read(path).map_err(|error| error.to_string());
    Step::new(what, read.map(|_| path.display().to_string()))
}

/// Nothing where nothing is said.
fn certificates(what: &str, settings: &ClientTls) -> Option<Step> {
    if *settings == ClientTls::default() {
        return None;
    }
    let files = [&settings.ca_file, &settings.cert_file, &settings.key_file];
    let files: Vec<String> = files
        .into_iter()
        .flatten()
        .map(|path| path.display().to_string())
        .collect();
    let read = Tls::new(settings).map_err(|error| error.to_string());
    Some(Step::new(what, read.map(|_| files.join(", "))))
}

/// A target, with the files that are its own.
fn one(config: &Config, target: &TargetConfig) -> Step {
    let alone = Config {
        targets: vec![target.clone()],
        ..config.clone()
    };
    let what = format!("target {}", target.target);
    let came = Offer::new(&alone, None).map(|_| place(target));
    let came = came.map_err(|error| {
        let error = error.to_string();
        let rest = error
            .strip_prefix(&what)
            .map(|rest| rest.trim_start_matches([':', ' ']));
        rest.unwrap_or(&error).to_owned()
    });
    Step::new(what, came)
}

fn place(target: &TargetConfig) -> String {
    match &target.url {
        None => format!("localhost:{}", target.target.port),
        Some(UpstreamUrl::Unix(path)) => format!("unix:{}", path.display()),
        Some(UpstreamUrl::Http {
            scheme,
            authority,
            prefix,
            ..
        }) => format!("{}://{authority}{prefix}", scheme.as_str()),
    }
}

/// All of it together: more than a proxy takes is found here. What is wrong with one target has been
/// said of that.
fn whole(config: &Config) -> Option<Step> {
    let offered = Offer::new(config, None);
    if let Err(SettingsError::Tls { .. } | SettingsError::Secret { .. }) = &offered {
        return None;
    }
    let targets = config.targets.len();
    let any = match config.allow_any_port {
        true => ", and every port of the names",
        false => "",
    };
    let came = offered.map(|_| format!("{targets} targets{any}"));
    Some(Step::new("offer", came.map_err(|error| error.to_string())))
}
