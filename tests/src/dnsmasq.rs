//! Debian's dnsmasq, with a zone of the test's own. The proxy's own tests have it in by path.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};

const FIRST: u16 = 12_000;
const COUNT: u16 = 8_000;
/// About the golden section of [`COUNT`]: two runs at once start far apart.
const SPREAD: u32 = 4_943;

/// It answers on the loopback until it is dropped.
#[derive(Debug)]
pub struct Dnsmasq {
    child: Child,
    /// Where it answers.
    pub address: SocketAddr,
}

impl Dnsmasq {
    /// Names below `test` are what `records` say, in dnsmasq's own flags, and no others exist there; for
    /// the rest of the world there is nobody to ask. Nothing where there is no dnsmasq.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start(records: &[&str]) -> Option<Self> {
        let Some(program) = program() else {
            skipped();
            return None;
        };
        // Another process may take the port in between.
        let started = (0..16).find_map(|_| Self::at(&program, unused(), records));
        Some(started.expect("a port is free"))
    }

    /// Ends it, and starts it again with other records.
    ///
    /// # Panics
    /// When it does not start.
    pub fn with_others(mut self, records: &[&str]) -> Self {
        self.stop();
        let again = Self::at(
            &program().expect("it was there"),
            self.address.port(),
            records,
        );
        again.expect("nobody takes the port at once")
    }

    fn at(program: &Path, port: u16, records: &[&str]) -> Option<Self> {
        // Killed by the kernel when the test that started it is.
        let mut child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(program)
            .args([
                "--keep-in-foreground",
                "--log-facility=-",
                "--conf-file=/dev/null",
            ])
            .args([
                "--pid-file=",
                "--user=",
                "--no-resolv",
                "--no-hosts",
                "--local=/test/",
            ])
            .args(["--listen-address=127.0.0.1", "--bind-interfaces"])
            .arg(format!("--port={port}"))
            .args(records)
            .stderr(Stdio::piped())
            .spawn()
            .expect("setpriv");
        let log = BufReader::new(child.stderr.take().expect("a pipe"));
        let mut said = Vec::new();
        for line in log.lines().map_while(Result::ok) {
            if line.contains("started, version") {
                let address = (Ipv4Addr::LOCALHOST, port).into();
                return Some(Self { child, address });
            }
            said.push(line);
        }
        child.wait().expect("ended");
        let is_taken = said
            .iter()
            .any(|line| line.contains("Address already in use"));
        assert!(is_taken, "{said:?}");
        None
    }

    /// Nobody answers any more.
    pub fn stop(&mut self) {
        // An error means it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        self.stop();
    }
}

fn program() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|folder| folder.join("dnsmasq"))
        .find(|file| file.is_file())
}

fn skipped() {
    // Past libtest's capture, so that it is seen.
    let missing =
        b"SKIPPED a test of DNS: dnsmasq is not installed (apt-get install dnsmasq-base)\n";
    std::io::Write::write_all(&mut std::io::stderr(), missing).expect("stderr");
}

/// A port of the loopback that nobody has, by UDP and by TCP: below those that the kernel gives to
/// whoever asks for port 0, and none of `ports.rs`, so that it is free again after
/// a stop.
fn unused() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let start = std::process::id().wrapping_mul(SPREAD) % u32::from(COUNT);
        let offset = (start + u32::from(step)) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap_or(0);
        let is_free = UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
        if is_free {
            return port;
        }
    }
}
