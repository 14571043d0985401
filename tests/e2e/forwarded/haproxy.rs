//! The same by the real HAProxy.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;

use adit_tests::ports;
use adit_tests::program::{Program, debian};
use adit_tests::wait::{PATIENCE, eventually};
use tokio::net::TcpStream;

use super::{Guarded, from};

/// HAProxy with a listener for each way to say for whom it asks. It connects from 127.0.0.9.
struct HaProxy {
    _program: Program,
    ports: Vec<u16>,
}

impl HaProxy {
    async fn before(guarded: &Guarded, ways: &[(&str, &str, &str)]) -> Self {
        let backend = guarded.proxy.address;
        let mut config = "global\n  maxconn 100\ndefaults\n  timeout connect 5s\n  \
                          timeout client 30s\n  timeout server 30s\n"
            .to_owned();
        let mut ports = Vec::new();
        for (n, (mode, option, server)) in ways.iter().enumerate() {
            let port = ports::unused();
            config.push_str(&format!(
                "listen way{n}\n  mode {mode}\n  bind 127.0.0.1:{port}\n  {option}\n  \
                 server adit {backend} source 127.0.0.9 {server}\n"
            ));
            ports.push(port);
        }
        let file = guarded.file("haproxy.cfg");
        fs::write(&file, config).unwrap();
        let mut command = Command::new(debian("haproxy", "haproxy"));
        let program = Program::start(command.args(["-db", "-f"]).arg(&file));
        for port in &ports {
            eventually(PATIENCE, "HAProxy listens", async || {
                let connected = TcpStream::connect(("127.0.0.1", *port)).await;
                connected.map(drop).map_err(|error| error.to_string())
            })
            .await;
        }
        Self {
            _program: program,
            ports,
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_says_for_whom_it_asks() {
    let ways = [
        ("tcp", "", "send-proxy"),
        ("tcp", "", "send-proxy-v2"),
        ("tcp", "", "send-proxy-v2 proxy-v2-options unique-id,crc32c"),
        ("http", "option forwardfor", ""),
        // Its own checks, by a header for nobody, are no noise.
        (
            "http",
            "option forwardfor",
            "send-proxy-v2 check inter 100ms",
        ),
    ];
    for trusted in [true, false] {
        let guarded = Guarded::trusting(if trusted { "127.0.0.9" } else { "127.0.0.8" }).await;
        let haproxy = HaProxy::before(&guarded, &ways).await;
        let mut count = 0;
        for (n, (mode, option, server)) in ways.iter().enumerate() {
            let address = format!("127.0.0.{}", 20 + n);
            let to = SocketAddr::from(([127, 0, 0, 1], haproxy.ports[n]));
            let stream = from(&address, to).await;
            let way = format!("{mode} {option} {server}, trusted: {trusted}");
            let answer = guarded
                .knock(stream, b"", &["X-Forwarded-For: 192.0.2.66"])
                .await;
            if server.contains("send-proxy") && !trusted {
                assert_eq!(answer.head.status, 400, "{way}: {answer:?}");
                continue;
            }
            assert_eq!(answer.head.status, 401, "{way}: {answer:?}");
            count += 1;
            let lines = guarded.proxy.program.lines("not let in", count).await;
            let peer = if trusted { &address } else { "127.0.0.9" };
            let line = &lines[count - 1];
            assert!(line.contains(&format!("peer={peer}")), "{way}: {line}");
        }
    }
}
