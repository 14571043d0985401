//! Where a [`Config`] comes from: what was typed, and what the file says now.

use std::ffi::OsString;
use std::path::Path;
use std::sync::Arc;

use adit_common::config_file::{self, Parsed};
use adit_common::name::Name;
use adit_common::net::tls::ClientTls;
use adit_common::target::Target;
use adit_common::tunnel::watchdog::Liveness;
use adit_common::web_config::Web;
use clap::Parser;

use super::auth::{Auth, Basic, FileAuth};
use super::file::{File, FileTarget};
use super::http_proxy::{FileHttpProxy, HttpProxy};
use super::url::{name_flag, target_flag};
use super::{Config, ProxyUrl, Source, TargetConfig, UpstreamUrl};
use crate::flags::{FlagError, Flags};

impl Flags {
    /// What is meant by flags and file.
    ///
    /// # Errors
    /// What is missing or contradicts, with the way out.
    pub fn config(self) -> Result<Config, FlagError> {
        let web = Web::open(self.web_config_file.clone()).map_err(FlagError::Web)?;
        self.check_exposure(&web)?;
        read(&Arc::new(self), &Arc::new(web))
    }

    /// Safe by default: what can be seen from elsewhere asks who is there.
    fn check_exposure(&self, web: &Web) -> Result<(), FlagError> {
        let beyond = self.web_listen_address.iter().find(|a| !a.is_loopback());
        match beyond {
            Some(address) if !self.allow_anonymous && !web.current().asks() => {
                Err(meaning(format!(
                    "--web.listen-address={address} is reachable beyond this machine and asks \
                     nobody who they are: give --web.config.file=FILE with basic_auth_users, or \
                     take whoever comes with --allow-anonymous"
                )))
            }
            _ => Ok(()),
        }
    }
}

impl Config {
    /// From what would be typed behind the program's name.
    ///
    /// # Errors
    /// As the program would print them.
    pub fn from_args<I>(args: I) -> Result<Self, FlagError>
    where
        I: IntoIterator,
        I::Item: Into<OsString>,
    {
        let name = std::iter::once(OsString::from("adit-client"));
        Flags::try_parse_from(name.chain(args.into_iter().map(Into::into)))?.config()
    }
}

/// It blocks.
fn read(flags: &Arc<Flags>, web: &Arc<Web>) -> Result<Config, FlagError> {
    let (file, directory) = match &flags.config_file {
        Some(path) => (
            config_file::read::<File>(path)?,
            path.parent().unwrap_or(Path::new("")),
        ),
        None => (File::default(), Path::new("")),
    };
    let allow_any_port = flags.allow_any_port || file.allow_any_port;
    let targets = flags.targets(file.targets, directory)?;
    if targets.is_empty() && !allow_any_port {
        let words = "nothing may be scraped: give --target=HOST:PORT for each target, or \
                     --allow-any-port for every port of this host";
        return Err(meaning(words));
    }
    let mut names = match flags.name.is_empty() {
        true => file.names,
        false => flags.name.clone(),
    };
    if names.is_empty() && allow_any_port {
        names.push(host_name()?);
    }
    let liveness = Liveness::new(flags.tunnel_ping_interval, flags.tunnel_dead_after)
        .map_err(|error| meaning(error.to_string()))?;
    Ok(Config {
        listen: flags.web_listen_address.clone(),
        web: Arc::clone(web),
        proxies: flags.proxies(file.proxies)?,
        names,
        targets,
        allow_any_port,
        labels: file.labels,
        tls: flags.tls(file.tls.resolve(directory))?,
        auth: flags.auth(file.auth.resolve(directory))?,
        http_proxy: flags.http_proxy(file.http_proxy, directory)?,
        liveness,
        shutdown_grace: flags.shutdown_grace,
        source: source(flags, web),
    })
}

/// What reads it once more.
fn source(flags: &Arc<Flags>, web: &Arc<Web>) -> Source {
    let has_file = flags.config_file.is_some();
    let (flags, web) = (Arc::clone(flags), Arc::clone(web));
    Source::new(has_file, move || {
        read(&flags, &web).map_err(|error| error.to_string())
    })
}

/// What flags and file say of one thing.
impl Flags {
    fn proxies(&self, file: Vec<Parsed<ProxyUrl>>) -> Result<Vec<ProxyUrl>, FlagError> {
        let proxies: Vec<ProxyUrl> = match self.proxy_url.is_empty() {
            true => file.into_iter().map(|url| url.0).collect(),
            false => each("--proxy-url", &self.proxy_url, str::parse::<ProxyUrl>)?,
        };
        if proxies.is_empty() {
            return Err(meaning("no proxy: give --proxy-url=URL"));
        }
        for (index, proxy) in proxies.iter().enumerate() {
            if proxies[..index].iter().any(|other| other.is_same(proxy)) {
                return Err(meaning(format!("proxy {proxy} is given twice")));
            }
        }
        Ok(proxies)
    }

    /// Sorted.
    fn targets(
        &self,
        file: Vec<FileTarget>,
        directory: &Path,
    ) -> Result<Vec<TargetConfig>, FlagError> {
        let mut targets: Vec<TargetConfig> = match self.target.is_empty() {
            true => file
                .into_iter()
                .map(|t| t.resolve(directory).map_err(meaning))
                .collect::<Result<_, _>>()?,
            false => each("--target", &self.target, target_flag)?
                .into_iter()
                .map(TargetConfig::from)
                .collect(),
        };
        if let Some(twice) = duplicate(&mut targets) {
            return Err(meaning(format!("target {twice} is given twice")));
        }
        for target in &targets {
            check_tls(&format!("target {}: tls", target.target), &target.tls)?;
        }
        Ok(targets)
    }

    fn tls(&self, file: ClientTls) -> Result<ClientTls, FlagError> {
        let tls = ClientTls {
            ca_file: self.tls_ca_file.clone().or(file.ca_file),
            cert_file: self.tls_cert_file.clone().or(file.cert_file),
            key_file: self.tls_key_file.clone().or(file.key_file),
            server_name: self.tls_server_name.clone().or(file.server_name),
            ..file
        };
        check_tls("tls", &tls)?;
        Ok(tls)
    }

    fn http_proxy(&self, file: FileHttpProxy, directory: &Path) -> Result<HttpProxy, FlagError> {
        let flag = each("--http-proxy", self.http_proxy.as_slice(), str::parse)?.pop();
        let meant = file.resolve(directory, flag);
        let meant = meant.map_err(|error| meaning(format!("http_proxy: {error}")))?;
        check_tls("http_proxy: tls", &meant.tls)?;
        Ok(meant)
    }

    fn auth(&self, file: FileAuth) -> Result<Auth, FlagError> {
        let basic = Basic::of(
            self.auth_username.clone().or(file.basic.username),
            self.auth_password_file.clone().or(file.basic.password_file),
        );
        Ok(Auth {
            token_file: self.auth_token_file.clone().or(file.token_file),
            basic: basic.map_err(|error| meaning(format!("auth: {error}")))?,
        })
    }
}

impl From<(Target, Option<UpstreamUrl>)> for TargetConfig {
    fn from((target, url): (Target, Option<UpstreamUrl>)) -> Self {
        Self::new(target, url)
    }
}

/// Parsed here and not by clap, which quotes what it was given: a URL may hold a password.
fn each<T, E: std::fmt::Display>(
    flag: &str,
    texts: &[String],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Result<Vec<T>, FlagError> {
    let one = |text: &String| {
        parse(text).map_err(|error| meaning(format!("{flag} {:?}: {error}", masked(text))))
    };
    texts.iter().map(one).collect()
}

/// With what stands where a URL has its user and password masked.
fn masked(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((before, host)) => {
            let scheme = before.find("://").map_or(0, |at| at + 3);
            format!("{}***@{host}", &before[..scheme])
        }
        None => text.to_owned(),
    }
}

fn meaning(words: impl Into<String>) -> FlagError {
    FlagError::Meaning(words.into())
}

/// Sorts them on the way.
fn duplicate(targets: &mut [TargetConfig]) -> Option<Target> {
    targets.sort_by(|a, b| a.target.cmp(&b.target));
    targets
        .windows(2)
        .find(|pair| pair[0].target == pair[1].target)
        .map(|pair| pair[0].target.clone())
}

/// Half a certificate is found now and not at the first handshake.
fn check_tls(what: &str, tls: &ClientTls) -> Result<(), FlagError> {
    if tls.cert_file.is_some() != tls.key_file.is_some() {
        let words = format!("{what}: a certificate and its key go together, one is missing");
        return Err(meaning(words));
    }
    Ok(())
}

pub(crate) fn host_name() -> Result<Name, FlagError> {
    let host = hostname::get().map_err(|error| error.to_string());
    host.and_then(|host| host.into_string().map_err(|_| "not text".to_owned()))
        .and_then(|host| name_flag(&host))
        .map_err(|error| {
            meaning(format!(
                "this host has no usable name, give --name: {error}"
            ))
        })
}
