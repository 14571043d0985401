//! TLS and users at the proxy itself, with what a Prometheus and a client can send.

mod certificates;
mod changes;
mod prometheus;
mod users;

use std::fs;
use std::net::SocketAddr;

use adit_tests::pair::{Client, Proxy};
use adit_tests::scraper::{Answer, Connection};
use adit_tests::tls::Authority;
use tokio::net::TcpStream;

/// `pw-of-prometheus` and `pw-of-ops`.
const USERS: &str = "basic_auth_users:\n  \
    prometheus: $2y$04$qJzForUol1eJmZqAi7OVw.fBZbmBpqynVqN1MFLNBvSMgrsoJNT9W\n  \
    ops: $2y$04$/up3ay1ggPTEgX3ooP34PuLEbazawbpCmvrf8eLbwNDowlQExth3G\n";
const PROMETHEUS: &str = "cHJvbWV0aGV1czpwdy1vZi1wcm9tZXRoZXVz";
const OPS: &str = "b3BzOnB3LW9mLW9wcw==";
const TLS: &str = "tls_server_config: {cert_file: proxy.pem, key_file: proxy-key.pem}\n";
const TOKEN: &str = "token-of-the-client";

struct House {
    authority: Authority,
}

impl House {
    /// With a certificate for the proxy, a token for clients, and this web configuration.
    fn new(web: &str) -> Self {
        let authority = Authority::new();
        authority.issue("proxy", &["localhost", "127.0.0.1"]);
        let house = Self { authority };
        house.write("web.yml", web);
        house.write("token", TOKEN);
        house
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.authority.folder().join(file);
        let next = path.with_extension("next");
        fs::write(&next, text).unwrap();
        fs::rename(&next, &path).unwrap();
    }

    fn flag(&self, flag: &str, file: &str) -> String {
        format!("--{flag}={}", self.authority.folder().join(file).display())
    }

    async fn proxy(&self, more: &[&str]) -> Proxy {
        let web = self.flag("web.config.file", "web.yml");
        let token = self.flag("auth.token-file", "token");
        let mut flags = vec![web.as_str()];
        if !more.iter().any(|flag| flag.starts_with("--config.file")) {
            flags.push(&token);
        }
        flags.extend(more);
        Proxy::start(&flags).await
    }

    async fn client(&self, proxy: &Proxy, more: &[&str]) -> Client {
        let url = format!("https://localhost:{}", proxy.address.port());
        let ca = self.flag("tls.ca-file", "ca.pem");
        let token = self.flag("auth.token-file", "token");
        let mut flags = vec![ca.as_str()];
        if !more.iter().any(|flag| flag.starts_with("--tls.cert")) {
            flags.push(&token);
        }
        flags.extend(more);
        Client::start(&[&url], &flags).await
    }

    /// Over a TLS connection of its own.
    async fn send(&self, server: SocketAddr, request: &str) -> Answer {
        let stream = TcpStream::connect(server).await.unwrap();
        let tls = self.authority.connect("localhost", stream).await;
        Connection::over(tls).exchange(request).await
    }
}

fn authorized(path: &str, user: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Basic {user}\r\n\
         Connection: close\r\n\r\n"
    )
}
