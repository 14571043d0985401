//! Where a request really comes from: what trusted fronts say of it is believed, and nobody else.

mod crowds;
mod haproxy;

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use adit_tests::binaries::Proxy;
use adit_tests::metrics::Metrics;
use adit_tests::scraper::{Answer, Connection};
use adit_tests::tls::Authority;
use adit_tests::tunnel::upgrade_request;
use adit_tests::wait::{PATIENCE, eventually, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UnixStream};

/// A proxy that wants a token: whoever has none stands in the log, with their address.
struct Guarded {
    proxy: Proxy,
    folder: tempfile::TempDir,
}

impl Guarded {
    async fn trusting(proxies: &str) -> Self {
        Self::with(&format!("trusted_proxies: [{proxies}]\n"), &[]).await
    }

    async fn with(config: &str, flags: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("proxy.yml"), config).unwrap();
        fs::write(folder.path().join("token"), "a-token").unwrap();
        let of =
            |flag: &str, file: &str| format!("--{flag}={}", folder.path().join(file).display());
        let own = [
            of("config.file", "proxy.yml"),
            of("auth.token-file", "token"),
        ];
        let own = own.iter().map(String::as_str);
        let flags: Vec<&str> = own.chain(flags.iter().copied()).collect();
        let proxy = Proxy::start(&flags).await;
        Self { proxy, folder }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Asks for a tunnel by whatever `stream` leads there, without a token.
    async fn knock<S>(&self, stream: S, before: &[u8], fields: &[&str]) -> Answer
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    {
        let mut request = before.to_vec();
        request.extend(upgrade(fields).as_bytes());
        Connection::over(stream).exchange(request).await
    }

    /// The next line about somebody who was not let in names this address.
    async fn names(&self, count: usize, peer: &str) {
        let lines = self.proxy.program.lines("not let in", count).await;
        let line = lines.get(count - 1).expect("a line for each");
        assert!(line.contains(&format!("peer={peer} ")), "{peer}: {line}");
    }
}

fn upgrade(fields: &[&str]) -> String {
    let mut lines = upgrade_request();
    lines.extend(fields.iter().map(|field| (*field).to_owned()));
    lines.join("\r\n") + "\r\n\r\n"
}

/// A connection from this address of the loopback.
async fn from(address: &str, to: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let address = format!("{address}:0").parse().unwrap();
    socket.bind(address).unwrap();
    within(PATIENCE, "a connection", socket.connect(to))
        .await
        .unwrap()
}

const V1: &[u8] = b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 8080\r\n";
const V1_IPV6: &[u8] = b"PROXY TCP6 2001:db8::1 ::1 5000 8080\r\n";
const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x08\x0a\0\0\x01\x13\x88\x1f\x90";
const V2_LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trusted_fronts_say_for_whom_they_ask() {
    let guarded = Guarded::trusting("127.0.0.2, 127.0.1.0/24").await;
    let to = guarded.proxy.address;
    let xff = |addresses: &str| format!("X-Forwarded-For: {addresses}");
    let lies = xff("192.0.2.66");
    for (n, (peer, before, fields, named)) in [
        ("127.0.0.2", &b""[..], vec![xff("192.0.2.1")], "192.0.2.1"),
        (
            "127.0.1.9",
            b"",
            vec![xff("192.0.2.2:5000")],
            "192.0.2.2:5000",
        ),
        (
            "127.0.0.2",
            b"",
            vec![xff("192.0.2.66, 192.0.2.3, 127.0.1.1")],
            "192.0.2.3",
        ),
        (
            "127.0.0.2",
            b"",
            vec![lies.clone(), xff("[2001:db8::3]:1")],
            "[2001:db8::3]:1",
        ),
        ("127.0.0.2", b"", vec![xff("::ffff:192.0.2.4")], "192.0.2.4"),
        ("127.0.0.2", V1, vec![], "192.0.2.7:5000"),
        ("127.0.0.2", V1_IPV6, vec![], "[2001:db8::1]:5000"),
        ("127.0.0.2", V2, vec![], "192.0.2.8:5000"),
        // The one it names is not trusted, whatever that one writes.
        ("127.0.0.2", V2, vec![lies.clone()], "192.0.2.8:5000"),
        // It asks for itself.
        ("127.0.0.2", V2_LOCAL, vec![xff("192.0.2.5")], "192.0.2.5"),
        (
            "127.0.0.2",
            b"PROXY UNKNOWN\r\n",
            vec![xff("192.0.2.6")],
            "192.0.2.6",
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let fields: Vec<&str> = fields.iter().map(String::as_str).collect();
        let answer = guarded.knock(from(peer, to).await, before, &fields).await;
        assert_eq!(answer.head.status, 401, "{named}: {answer:?}");
        guarded.names(n + 1, named).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_else_is_believed() {
    let guarded = Guarded::trusting("127.0.0.2").await;
    let to = guarded.proxy.address;
    let stranger = from("127.0.0.3", to).await;
    let own = stranger.local_addr().unwrap().to_string();
    let lies = ["X-Forwarded-For: 192.0.2.66", "Forwarded: for=192.0.2.66"];
    let answer = guarded.knock(stranger, b"", &lies).await;
    assert_eq!(answer.head.status, 401);
    guarded.names(1, &own).await;
    // What a trusted one would be believed is no request here.
    for header in [V1, V1_IPV6, V2, V2_LOCAL] {
        let answer = guarded
            .knock(from("127.0.0.3", to).await, header, &[])
            .await;
        assert_eq!(answer.head.status, 400, "{header:?}");
    }
    // Rubbish leaves the front itself, and so does the field that is not read.
    for (n, field) in ["X-Forwarded-For: unknown", "Forwarded: for=192.0.2.66"]
        .into_iter()
        .enumerate()
    {
        let front = from("127.0.0.2", to).await;
        let own = front.local_addr().unwrap().to_string();
        let answer = guarded.knock(front, b"", &[field]).await;
        assert_eq!(answer.head.status, 401);
        guarded.names(n + 2, &own).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_in_pieces_and_one_that_is_malformed() {
    let config = "trusted_proxies: [127.0.0.2]\nlimits: {head_time: 2s}\n";
    let guarded = Guarded::with(config, &[]).await;
    let to = guarded.proxy.address;
    for (n, (header, named)) in [(V1, "192.0.2.7:5000"), (V2, "192.0.2.8:5000")]
        .into_iter()
        .enumerate()
    {
        let mut front = from("127.0.0.2", to).await;
        front.set_nodelay(true).unwrap();
        for piece in header.chunks(5) {
            front.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        guarded.knock(front, b"", &[]).await;
        guarded.names(n + 1, named).await;
    }
    for header in [
        &b"PROXY TCP4 nonsense\r\n"[..],
        b"\r\n\r\n\0\r\nQUIT\n\xff\xff\xff\xff",
    ] {
        let answer = guarded
            .knock(from("127.0.0.2", to).await, header, &[])
            .await;
        assert_eq!(answer.head.status, 0, "closed without a word: {answer:?}");
    }
    // One that does not come, and half of one.
    for part in [&b""[..], b"PROXY TCP4 192."] {
        let mut front = from("127.0.0.2", to).await;
        front.write_all(part).await.unwrap();
        let mut rest = Vec::new();
        let reading = front.read_to_end(&mut rest);
        let _ = within(PATIENCE, "the proxy closes", reading).await;
    }
    let series = "adit_proxy_limits_reached_total{limit=\"head_time\"}";
    // A close is seen before it is counted.
    eventually(PATIENCE, "both are counted", async || {
        match Metrics::of(to).await.series(series) {
            2.0 => Ok(()),
            count => Err(count.to_string()),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_begins_behind_the_header() {
    let authority = Authority::new();
    authority.issue("proxy", &["localhost"]);
    let web = authority.folder().join("web.yml");
    let tls = "tls_server_config: {cert_file: proxy.pem, key_file: proxy-key.pem}\n";
    fs::write(&web, tls).unwrap();
    let flag = format!("--web.config.file={}", web.display());
    let guarded = Guarded::with("trusted_proxies: [127.0.0.2]\n", &[&flag]).await;
    for (n, (header, named)) in [(V1, "192.0.2.7:5000"), (V2, "192.0.2.8:5000"), (b"", "")]
        .into_iter()
        .enumerate()
    {
        let mut front = from("127.0.0.2", guarded.proxy.address).await;
        let own = front.local_addr().unwrap().to_string();
        front.write_all(header).await.unwrap();
        let secured = authority.connect("localhost", front).await;
        let answer = guarded.knock(secured, b"", &[]).await;
        assert_eq!(answer.head.status, 401);
        let named = if named.is_empty() { &own } else { named };
        guarded.names(n + 1, named).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_comes_by_a_unix_socket_may_be_trusted() {
    for (trusted, named) in [("unix", "192.0.2.1"), ("127.0.0.1", "unix")] {
        let sockets = tempfile::tempdir().unwrap();
        let socket = sockets.path().join("adit.sock");
        let flag = format!("--web.listen-address=unix:{}", socket.display());
        let config = format!("trusted_proxies: [{trusted}]\n");
        let guarded = Guarded::with(&config, &[&flag]).await;
        let stream = UnixStream::connect(&socket).await.unwrap();
        guarded
            .knock(stream, b"", &["X-Forwarded-For: 192.0.2.1"])
            .await;
        guarded.names(1, named).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whom_we_trust_is_read_again() {
    let guarded = Guarded::trusting("").await;
    let to = guarded.proxy.address;
    let front = from("127.0.0.2", to).await;
    let own = front.local_addr().unwrap().to_string();
    let mut front = Connection::over(front);
    let request = upgrade(&["X-Forwarded-For: 192.0.2.1"]);
    front.exchange(&request).await;
    guarded.names(1, &own).await;
    fs::write(guarded.file("proxy.yml"), "trusted_proxies: [127.0.0.2]\n").unwrap();
    guarded.proxy.program.signal("HUP");
    guarded.proxy.program.line("configuration reloaded").await;
    // Also on connections that are there.
    front.exchange(&request).await;
    guarded.names(2, "192.0.2.1").await;
}
