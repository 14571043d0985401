//! Where backends are found, all of them at once: the key `discovery`.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use adit_common::config_file::Parsed;
use adit_common::http_config::{FileAuthorization, FileBasicAuth, FileTls};
use adit_common::name::Name;
use adit_common::target::Scheme;
use serde::Deserialize;

use super::clusters::{FileKubernetes, FileMarathon};
use super::manner::{Door, FileManner, Rank, backend, manner, spoken_to};
use super::values::{PathPrefix, ServerUrl, path_prefix, refresh};
use crate::config::limits::{Count, Time, bounded};
use crate::config::query::{
    DnsRecords, DnsSource, FileFormat, FileSource, HttpSource, Source, TunnelSource,
};

/// As written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FileDiscovery {
    /// How long a source that fails is believed what it said last. Default: 1m.
    pub(super) grace: Option<Time>,
    file: Vec<FileFile>,
    dns: Vec<FileDns>,
    http: Vec<FileHttp>,
    kubernetes: Vec<FileKubernetes>,
    marathon: Vec<FileMarathon>,
    tunnel: Vec<FileTunnel>,
}

impl FileDiscovery {
    /// What is meant. It blocks.
    ///
    /// # Errors
    /// Which key of which source, and why.
    pub(super) fn resolve(self, directory: &Path) -> Result<Vec<Source>, String> {
        let mut sources = Vec::new();
        each("file", self.file, &mut sources, |file| {
            file.resolve(directory)
        })?;
        each("dns", self.dns, &mut sources, |dns| dns.resolve(directory))?;
        each("http", self.http, &mut sources, |http| {
            http.resolve(directory)
        })?;
        each("kubernetes", self.kubernetes, &mut sources, |some| {
            some.resolve(directory)
        })?;
        each("marathon", self.marathon, &mut sources, |some| {
            some.resolve(directory)
        })?;
        each("tunnel", self.tunnel, &mut sources, FileTunnel::resolve)?;
        Ok(sources)
    }
}

fn each<F>(
    key: &str,
    written: Vec<F>,
    sources: &mut Vec<Source>,
    resolve: impl Fn(F) -> Result<Source, String>,
) -> Result<(), String> {
    for (index, one) in written.into_iter().enumerate() {
        let source = resolve(one).map_err(|error| format!("discovery.{key}[{index}].{error}"))?;
        if sources.contains(&source) {
            return Err(format!(
                "discovery.{key}[{index}]: stands here twice: keep one"
            ));
        }
        sources.push(source);
    }
    Ok(())
}

spoken_to! {
    /// A file that is read again, every 10s unless it says otherwise.
    struct FileFile {
        path: PathBuf,
        #[serde(default)]
        format: Option<FileFileFormat>,
        #[serde(default)]
        refresh: Option<Time>,
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "snake_case")]
enum FileFileFormat {
    Lines,
    FileSd,
}

impl FileFile {
    fn resolve(mut self, directory: &Path) -> Result<Source, String> {
        let (door, rank) = self.take_manner();
        let is_file_sd =
            ["json", "yml", "yaml"].map(|end| self.path.extension() == Some(end.as_ref()));
        let format = match self.format {
            Some(FileFileFormat::Lines) => FileFormat::Lines,
            Some(FileFileFormat::FileSd) => FileFormat::FileSd,
            // As its name says.
            None if is_file_sd.contains(&true) => FileFormat::FileSd,
            None => FileFormat::Lines,
        };
        if self.path.as_os_str().is_empty() {
            return Err("path: expected a file".to_owned());
        }
        Ok(Source::File(FileSource {
            path: directory.join(self.path),
            format,
            refresh: refresh(self.refresh, 10)?,
            manner: manner(door, rank, directory)?,
        }))
    }
}

spoken_to! {
    /// A name in the DNS, looked up every 30s unless it says otherwise.
    struct FileDns {
        name: String,
        #[serde(default, rename = "type")]
        records: Option<FileRecords>,
        #[serde(default)]
        port: Option<Count>,
        #[serde(default)]
        scheme: Option<Scheme>,
        #[serde(default)]
        path_prefix: Option<Parsed<PathPrefix>>,
        #[serde(default)]
        server: Option<Parsed<Server>>,
        #[serde(default)]
        refresh: Option<Time>,
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum FileRecords {
    A,
    #[serde(rename = "AAAA")]
    Aaaa,
    #[serde(rename = "addresses")]
    Addresses,
    #[serde(rename = "SRV")]
    Srv,
}

/// An address; its port is 53 unless it says otherwise.
#[derive(Debug)]
pub(super) struct Server(SocketAddr);

impl FromStr for Server {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bare = text.parse::<IpAddr>().map(|ip| SocketAddr::new(ip, 53));
        text.parse()
            .or(bare)
            .map(Self)
            .map_err(|_| "expected IP or IP:PORT, as in 127.0.0.1:53")
    }
}

impl FileDns {
    fn resolve(mut self, directory: &Path) -> Result<Source, String> {
        let (door, rank) = self.take_manner();
        let name = Name::parse(&self.name).map_err(|error| format!("name: {error}"))?;
        if name.ip().is_some() {
            return Err("name: an address is written among backends".to_owned());
        }
        let records = match self.records {
            None | Some(FileRecords::Addresses) => DnsRecords::Addresses,
            Some(FileRecords::A) => DnsRecords::A,
            Some(FileRecords::Aaaa) => DnsRecords::Aaaa,
            Some(FileRecords::Srv) => DnsRecords::Srv,
        };
        let port = match (records, self.port) {
            (DnsRecords::Srv, Some(_)) => {
                return Err("port: SRV records have their own: leave it out".to_owned());
            }
            (DnsRecords::Srv, None) => 0,
            (_, None) => return Err("port: addresses have none: give it, or type: SRV".to_owned()),
            (_, port @ Some(_)) => bounded("port", port, 0, 1..=usize::from(u16::MAX))?,
        };
        Ok(Source::Dns(DnsSource {
            name: self.name,
            records,
            port: u16::try_from(port).unwrap_or_default(),
            scheme: self.scheme.unwrap_or(Scheme::Http),
            path_prefix: path_prefix(self.path_prefix),
            server: self.server.map(|server| server.0.0),
            refresh: refresh(self.refresh, 30)?,
            manner: manner(door, rank, directory)?,
        }))
    }
}

/// An endpoint as Prometheus' `http_sd_configs`, asked every minute unless it says otherwise. TLS and
/// credentials are for the endpoint itself.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileHttp {
    url: Parsed<ServerUrl>,
    #[serde(default)]
    refresh: Option<Time>,
    #[serde(default)]
    tls: Option<FileTls>,
    #[serde(default)]
    authorization: Option<FileAuthorization>,
    #[serde(default)]
    basic_auth: Option<FileBasicAuth>,
    #[serde(default)]
    backend: Option<FileManner>,
}

impl FileHttp {
    fn resolve(self, directory: &Path) -> Result<Source, String> {
        let door = Door {
            tls: self.tls,
            authorization: self.authorization,
            basic_auth: self.basic_auth,
        };
        let (tls, credentials) = door.resolve(directory)?;
        Ok(Source::Http(HttpSource {
            url: self.url.0.0.into(),
            refresh: refresh(self.refresh, 60)?,
            tls,
            credentials,
            manner: backend(self.backend, directory)?,
        }))
    }
}

/// Targets that clients offer, as they are labelled; the client says how they are spoken to.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct FileTunnel {
    labels: BTreeMap<String, String>,
    #[serde(default)]
    priority: Option<u32>,
    #[serde(default)]
    weight: Option<Count>,
}

impl FileTunnel {
    fn resolve(self) -> Result<Source, String> {
        if self.labels.is_empty() {
            let words = "labels: without any every target of every client would be a backend";
            return Err(words.to_owned());
        }
        let rank = Rank {
            priority: self.priority,
            weight: self.weight,
        };
        Ok(Source::Tunnel(TunnelSource {
            labels: self.labels,
            manner: manner(Door::default(), rank, Path::new(""))?,
        }))
    }
}
