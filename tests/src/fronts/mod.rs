//! Real front proxies before a proxy of ours, each from the file in `examples/` that users copy.
//!
//! 1. [`Setup`] is what a test wants, [`plan`] all that makes a configuration of it.
//! 2. [`example`] reads such a file and puts the test's ports, paths, hashes and timeouts where the
//!    example's are. A place that is not there any more fails the test.
//! 3. [`nginx`], [`caddy`], [`haproxy`] and [`apache`] know where these places are, what else the
//!    program wants, and how it is told to read its files again.
//! 4. [`Front`] runs it, [`contained`] with all it starts. It listens at `localhost`, with a certificate of the test's CA.

mod setup;

mod example;
mod plan;

mod apache;
mod caddy;
mod haproxy;
mod nginx;

mod contained;

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::program::Program;
use crate::scraper::{Answer, Connection};
use crate::tls::Authority;
use crate::wait::{PATIENCE, eventually};

pub use self::setup::Setup;

use self::contained::contained;
use self::plan::Plan;

/// Who may scrape through a front, and see our pages.
pub const SCRAPER: User = User {
    name: "prometheus",
    password: "scraper's secret",
};
/// Whose clients may open tunnels through it.
pub const CLIENT: User = User {
    name: "site",
    password: "client's secret",
};
/// For whom the certificate is: the front itself, and targets that are asked for at it.
const HOSTS: &[&str] = &["localhost", "pi", "nobody"];
/// The cheapest bcrypt: nobody guesses here, and some fronts compute it for each request.
const COST: u32 = 4;

/// A program in front of a proxy, and the example it is set up by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `nginx/adit.conf`.
    Nginx,
    /// `nginx/adit-stream.conf`.
    NginxStream,
    /// `caddy/Caddyfile`.
    Caddy,
    /// `haproxy/haproxy.cfg`.
    Haproxy,
    /// `haproxy/haproxy-tcp.cfg`.
    HaproxyTcp,
    /// `apache/adit.conf`.
    Apache,
}

/// A user of the front's.
#[derive(Debug, Clone, Copy)]
pub struct User {
    /// As it is sent.
    pub name: &'static str,
    /// The same.
    pub password: &'static str,
}

/// One that runs. Dropping it ends it and all it started.
#[derive(Debug)]
pub struct Front {
    /// As it was meant.
    pub setup: Setup,
    kind: Kind,
    /// Where it finds us.
    backend: SocketAddr,
    generation: AtomicU32,
    authority: Authority,
    program: Program,
    folder: TempDir,
}

impl User {
    /// `user:password`, as a header field has it.
    pub fn basic(&self) -> String {
        format!(
            "Basic {}",
            base64(&format!("{}:{}", self.name, self.password))
        )
    }

    /// In bcrypt, as password files have it.
    ///
    /// # Panics
    /// Never: the cost is legal.
    pub fn hash(&self) -> String {
        let hash = bcrypt::hash_with_result(self.password, COST).expect("a cost that is legal");
        // The spelling that all of them know.
        hash.format_for_version(bcrypt::Version::TwoY)
    }
}

impl Front {
    /// Before `backend`; runs when it returns.
    ///
    /// # Panics
    /// When it is not installed or does not start.
    pub async fn start(kind: Kind, setup: Setup, backend: SocketAddr) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // Some give up root before they read passwords.
        let all = Permissions::from_mode(0o755);
        std::fs::set_permissions(folder.path(), all).expect("ours");
        let authority = Authority::new();
        let issued = authority.issue("front", HOSTS);
        let [certificate, key] = [issued.certificate, issued.key]
            .map(|file| std::fs::read_to_string(file).expect("just written"));
        let write = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).expect("written");
        };
        write("cert.pem", &certificate);
        write("key.pem", &key);
        write("both.pem", &format!("{certificate}{key}"));
        for (file, user) in [("scrapers", SCRAPER), ("clients", CLIENT)] {
            write(file, &format!("{}:{}\n", user.name, user.hash()));
        }
        let plan = Plan {
            folder: folder.path(),
            backend,
            setup: &setup,
            realm: realm(0),
        };
        plan.write(kind);
        let program = contained(&plan.command(kind));
        let front = Self {
            setup,
            kind,
            backend,
            generation: AtomicU32::new(0),
            authority,
            program,
            folder,
        };
        front.is_current().await;
        front
    }

    /// The CA of its certificate, as a file.
    pub fn ca_file(&self) -> String {
        self.authority.ca_file().display().to_string()
    }

    /// A folder that lives as long.
    pub fn folder(&self) -> &Path {
        self.authority.folder()
    }

    /// Whose certificate it has.
    pub fn authority(&self) -> &Authority {
        &self.authority
    }

    /// Reads its configuration again, as an operator makes it; returns when the new one serves.
    ///
    /// # Panics
    /// When it does not.
    pub async fn reload(&self) {
        let plan = Plan {
            folder: self.folder.path(),
            backend: self.backend,
            setup: &self.setup,
            realm: realm(self.generation.fetch_add(1, Ordering::Relaxed) + 1),
        };
        plan.write(self.kind);
        match self.kind {
            Kind::Nginx | Kind::NginxStream => self.signal("HUP"),
            Kind::Haproxy | Kind::HaproxyTcp => self.signal("USR2"),
            Kind::Apache => self.signal("USR1"),
            Kind::Caddy => caddy::reload(&plan).await,
        }
        self.is_current().await;
    }

    /// A connection to it.
    pub async fn connect(&self) -> Connection<TlsStream<TcpStream>> {
        self.connect_to(self.setup.address).await
    }

    /// A connection to where it is a `proxy_url`.
    pub async fn connect_to_proxy(&self) -> Connection<TlsStream<TcpStream>> {
        self.connect_to(self.setup.proxy_address).await
    }

    async fn connect_to(&self, address: SocketAddr) -> Connection<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await.expect("it listens");
        Connection::over(self.authority.connect("localhost", stream).await)
    }

    /// What a scraper sends for this path below the prefix, with more fields.
    pub fn request(&self, path: &str, fields: &[&str]) -> String {
        let mut request = format!(
            "GET {}{path} HTTP/1.1\r\nHost: localhost:{}\r\nAuthorization: {}\r\n",
            self.setup.prefix,
            self.setup.address.port(),
            SCRAPER.basic(),
        );
        for field in fields {
            request.push_str(field);
            request.push_str("\r\n");
        }
        request + "\r\n"
    }

    /// What it gets for it, on a connection of its own.
    pub async fn get(&self, path: &str) -> Answer {
        let request = self.request(path, &["Connection: close"]);
        self.connect().await.exchange(request).await
    }

    /// Waits until it listens, and asks by the realm of its generation.
    async fn is_current(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        // They ask nobody, and say in their logs what they do.
        let (words, times) = match self.kind {
            Kind::NginxStream => ("reconfiguring", generation),
            Kind::HaproxyTcp => ("forked", generation + 1),
            _ => ("", 0),
        };
        let said = self.program.lines(words, times as usize).await;
        assert!(said.len() >= times as usize, "{}", self.program.log());
        let realm = realm(generation);
        let what = format!("{:?} asks in the name of {realm}", self.kind);
        eventually(PATIENCE, &what, async || {
            let stream = TcpStream::connect(self.setup.address).await;
            let stream = stream.map_err(|error| error.to_string())?;
            if matches!(self.kind, Kind::NginxStream | Kind::HaproxyTcp) {
                return Ok(());
            }
            // A process that is just being replaced may close it.
            let tls = self.authority.try_connect("localhost", stream).await;
            let mut connection = Connection::over(tls.map_err(|error| error.to_string())?);
            let request = format!(
                "GET {}/-/ready HTTP/1.1\r\nHost: localhost:{}\r\nConnection: close\r\n\r\n",
                self.setup.prefix,
                self.setup.address.port(),
            );
            let answer = connection.exchange(request).await;
            let asks = answer.head.field("www-authenticate").unwrap_or_default();
            match asks.contains(&format!("\"{realm}\"")) {
                true => Ok(()),
                false => Err(format!("{}{}", answer.head.raw, answer.text())),
            }
        })
        .await;
    }

    fn signal(&self, signal: &str) {
        // The program itself is the only child of the process that contains it.
        let id = self.program.id();
        let file = format!("/proc/{id}/task/{id}/children");
        let child = std::fs::read_to_string(&file).expect("it runs");
        let script = format!("kill -{signal} {}", child.trim());
        let status = Command::new("/bin/sh").args(["-c", &script]).status();
        let done = status.is_ok_and(|status| status.success());
        assert!(done, "{script}: {}", self.program.log());
    }
}

fn realm(generation: u32) -> String {
    format!("adit-{generation}")
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}
