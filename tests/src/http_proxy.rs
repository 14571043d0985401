//! The HTTP proxies a company puts before its network: Debian's squid and tinyproxy.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::ports;
use crate::program::{Program, debian};
use crate::wait::{PATIENCE, eventually};

/// Who may pass where somebody is asked for.
pub const USER: &str = "worker";
/// And by what.
pub const PASSWORD: &str = "s3cret-hop";
/// `openssl passwd -5 -salt adit s3cret-hop`
const HASH: &str = "$5$adit$FzsUsyID5U5pfcTsc5adi3U01TEZOuIPMl5DDEIkOJ5";
/// What squid resolves to 127.0.0.1, and nobody else.
pub const NAME: &str = "adit.example";

/// Which program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// squid.
    Squid,
    /// tinyproxy.
    Tinyproxy,
}

/// A running HTTP proxy.
#[derive(Debug)]
pub struct HttpProxy {
    /// Where it listens.
    pub address: SocketAddr,
    kind: Kind,
    program: Program,
    folder: TempDir,
}

impl HttpProxy {
    /// On a free port of 127.0.0.1, for everybody or for [`USER`] alone.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start(kind: Kind, asks: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Squid becomes a user of its own.
        let all = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(folder.path(), all).expect("our folder");
        let address = SocketAddr::from(([127, 0, 0, 1], ports::unused()));
        let (config, text) = match kind {
            Kind::Squid => ("squid.conf", squid(address, folder.path(), asks)),
            Kind::Tinyproxy => ("tinyproxy.conf", tinyproxy(address, folder.path(), asks)),
        };
        write(&folder.path().join(config), &text);
        let program = run(kind, folder.path(), address).await;
        Self {
            address,
            kind,
            program,
            folder,
        }
    }

    /// What `--http-proxy` wants.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends it as a power cut would, with all it carries.
    pub fn kill(&mut self) {
        self.program.kill();
    }

    /// Starts it again where it was.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn restart(&mut self) {
        self.program = run(self.kind, self.folder.path(), self.address).await;
    }

    /// How often it was asked for a connection to `destination`. Squid counts those that have ended.
    ///
    /// # Panics
    /// When it keeps no log.
    pub fn connects(&self, destination: &str) -> usize {
        let text = std::fs::read_to_string(self.folder.path().join("log")).expect("its log");
        let asked = format!("CONNECT {destination}");
        text.lines().filter(|line| line.contains(&asked)).count()
    }
}

async fn run(kind: Kind, folder: &Path, address: SocketAddr) -> Program {
    let mut command;
    match kind {
        Kind::Squid => {
            command = Command::new(debian("squid", "squid"));
            command.arg("-N").arg("-f").arg(folder.join("squid.conf"));
        }
        Kind::Tinyproxy => {
            command = Command::new(debian("tinyproxy", "tinyproxy"));
            let config = folder.join("tinyproxy.conf");
            command.arg("-d").arg("-c").arg(config);
        }
    }
    let program = Program::start(&command);
    eventually(
        PATIENCE,
        "an HTTP proxy listens",
        async || match TcpStream::connect(address).await {
            Ok(_) => Ok(()),
            Err(error) => Err(format!("{error}\n{}", program.log())),
        },
    )
    .await;
    program
}

fn squid(address: SocketAddr, folder: &Path, asks: bool) -> String {
    let folder_text = folder.display();
    let hosts = folder.join("hosts");
    write(&hosts, &format!("127.0.0.1 localhost {NAME}\n"));
    let access = match asks {
        false => "http_access allow all\n".to_owned(),
        true => {
            let users: PathBuf = folder.join("users");
            write(&users, &format!("{USER}:{HASH}\n"));
            format!(
                "auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
                 auth_param basic children 1\n\
                 acl known proxy_auth REQUIRED\n\
                 http_access allow known\nhttp_access deny all\n",
                users.display()
            )
        }
    };
    format!(
        "http_port {address}\n{access}pid_filename none\nnetdb_filename none\npinger_enable off\n\
         cache deny all\ncache_mem 8 MB\ncache_log {folder_text}/cache.log\ncoredump_dir {folder_text}\n\
         logformat asked %rm %ru %>Hs\naccess_log stdio:{folder_text}/log asked\nbuffered_logs off\n\
         hosts_file {}\ndns_nameservers 127.0.0.1\nshutdown_lifetime 0 seconds\n\
         visible_hostname squid.test\nmax_filedescriptors 1024\n",
        hosts.display()
    )
}

fn tinyproxy(address: SocketAddr, folder: &Path, asks: bool) -> String {
    let (ip, port) = (address.ip(), address.port());
    let access = match asks {
        false => String::new(),
        true => format!("BasicAuth {USER} {PASSWORD}\n"),
    };
    let log = folder.join("log");
    format!(
        "Listen {ip}\nPort {port}\nTimeout 600\nMaxClients 100\nLogLevel Connect\n\
         LogFile \"{}\"\n{access}",
        log.display()
    )
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("our folder");
}
