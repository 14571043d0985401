//! TLS and users at the query address: who asks is known there, and not to the backends.

use adit_tests::fake_prometheus::{FakePrometheus, result_of};
use adit_tests::pair::{Client, Proxy};
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::{Answer, Connection};
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::tls::Authority;
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::Value;
use tokio::net::TcpStream;

use super::asking::{FORM, LISTEN, QUICK};

/// `pw-of-prometheus`, and `pw-of-ops`.
const WEB: &str = "tls_server_config: {cert_file: proxy.pem, key_file: proxy-key.pem}\n\
    basic_auth_users:\n  \
    grafana: $2y$04$qJzForUol1eJmZqAi7OVw.fBZbmBpqynVqN1MFLNBvSMgrsoJNT9W\n  \
    ops: $2y$04$/up3ay1ggPTEgX3ooP34PuLEbazawbpCmvrf8eLbwNDowlQExth3G\n";
const GRAFANA: &str = "Authorization: Basic Z3JhZmFuYTpwdy1vZi1wcm9tZXRoZXVz\r\n";
const OPS: &str = "Authorization: Basic b3BzOnB3LW9mLW9wcw==\r\n";
/// What backends must be shown: `adit:s3cret`.
const SHOWN: &str = "Basic YWRpdDpzM2NyZXQ=";

/// A proxy with TLS, users, and a client of its own.
struct House {
    authority: Authority,
    proxy: Proxy,
    _client: Client,
}

impl House {
    /// With this query side and these rights, and a client that offers the fake as `prom:9090`.
    async fn start(file: &str, far: &FakePrometheus) -> Self {
        let authority = Authority::new();
        authority.issue("proxy", &["localhost", "127.0.0.1"]);
        let path = |name: &str| authority.folder().join(name);
        for (name, text) in [
            ("web.yml", WEB),
            ("proxy.yml", file),
            ("password", "s3cret\n"),
            ("token", "token-of-the-client\n"),
        ] {
            std::fs::write(path(name), text).unwrap();
        }
        let flag = |flag: &str, name: &str| format!("--{flag}={}", path(name).display());
        let token = flag("auth.token-file", "token");
        let proxy = Proxy::start(&[
            LISTEN,
            &flag("web.config.file", "web.yml"),
            &flag("config.file", "proxy.yml"),
        ])
        .await;
        let client = Client::start(
            &[&format!("https://{}", proxy.address)],
            &[
                &flag("tls.ca-file", "ca.pem"),
                &token,
                &format!("--target=prom:9090=http://{}", far.address()),
            ],
        )
        .await;
        Self {
            authority,
            proxy,
            _client: client,
        }
    }

    async fn send(&self, request: &str) -> Answer {
        let stream = TcpStream::connect(self.proxy.query.unwrap()).await.unwrap();
        let tls = self.authority.connect("localhost", stream).await;
        Connection::over(tls).exchange(request).await
    }

    async fn get(&self, path: &str, user: &str) -> Answer {
        let rest = "Connection: close\r\n\r\n";
        self.send(&format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\n{user}{rest}"
        ))
        .await
    }

    async fn post(&self, path: &str, user: &str) -> Answer {
        let form = "query=up";
        self.send(&format!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\n{user}{FORM}Content-Length: {}\r\n\
             Cookie: grafana_session=abc\r\nConnection: close\r\n\r\n{form}",
            form.len()
        ))
        .await
    }

    /// The pools that `user` sees, each with whether all of its backends are healthy.
    async fn pools(&self, user: &str) -> Vec<(String, bool)> {
        let page = self.get("/api/v1/backends", user).await.expect(200);
        let page: Value = serde_json::from_slice(&page.body).unwrap();
        let pools = page["data"]["pools"].as_array().unwrap().clone();
        let one = |pool: &Value| {
            let backends = pool["backends"].as_array().unwrap();
            let healthy = backends.iter().all(|backend| backend["state"] == "healthy");
            (pool["name"].as_str().unwrap().to_owned(), healthy)
        };
        pools.iter().map(one).collect()
    }

    async fn is_healthy(&self, user: &str, pools: &[&str]) {
        let wanted: Vec<(String, bool)> = pools
            .iter()
            .map(|name| ((*name).to_owned(), true))
            .collect();
        eventually(PATIENCE, "every pool is healthy", async || {
            let seen = self.pools(user).await;
            (seen == wanted)
                .then_some(())
                .ok_or_else(|| format!("{seen:?}"))
        })
        .await;
    }
}

/// What the caller shows us ends with us; a backend is shown what is its own, and nothing else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callers_password_is_shown_to_no_backend_and_each_backend_its_own() {
    let own = FakePrometheus::start_as("own", |state| state.authorization = Some(SHOWN.to_owned()));
    let [open, far] = ["open", "far"].map(FakePrometheus::start);
    let credentials = "basic_auth: {username: adit, password_file: password}";
    let house = House::start(
        &format!(
            "auth: {{clients: [{{names: ['*'], token_file: token}}]}}\nquery:\n  pools:\n  \
             - {{name: far, path_prefix: /far, {QUICK}, backends: ['tunnel://prom:9090']}}\n  \
             - {{name: open, path_prefix: /open, {QUICK}, backends: ['{}']}}\n  \
             - {{name: own, path_prefix: /own, {QUICK}, backends: [{{url: '{}', {credentials}}}]}}\n",
            open.url(),
            own.url()
        ),
        &far,
    )
    .await;
    house.is_healthy(GRAFANA, &["open", "far", "own"]).await;
    for (fake, shown) in [(&far, None), (&open, None), (&own, Some(SHOWN))] {
        let path = format!("/{}/api/v1/query", fake.id());
        let answer = house.post(&path, GRAFANA).await.expect(200);
        assert_eq!(answer.text(), result_of(fake.id()));
        for user in ["", "Authorization: Basic eDp5\r\n"] {
            let answer = house.post(&path, user).await.expect(401);
            assert!(
                answer.head.field("www-authenticate").is_some(),
                "{answer:?}"
            );
        }
        let journal = fake.journal();
        let seen = journal.of("/api/v1/query");
        assert_eq!(seen.len(), 1, "{}", fake.id());
        assert_eq!(
            seen[0].field("authorization").as_deref(),
            shown,
            "{}",
            fake.id()
        );
        for seen in journal.probes().iter().chain(&seen) {
            assert!(
                !seen.request.head.contains("pw-of"),
                "{}",
                seen.request.head
            );
            assert_eq!(
                seen.field("authorization").as_deref(),
                shown,
                "{}",
                fake.id()
            );
        }
    }
}

/// `pools` of `auth.scrapers`: for queries and for what is told of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_asks_and_sees_its_own_pools() {
    let (near, far) = (FakePrometheus::start("near"), FakePrometheus::start("far"));
    let house = House::start(
        &format!(
            "auth:\n  clients: [{{names: ['*'], token_file: token}}]\n  scrapers:\n  \
             - {{user: grafana, pools: [near]}}\n  - {{user: ops, pools: [far], pages: [metrics, status]}}\n\
             query:\n  pools:\n  \
             - {{name: near, path_prefix: /near, {QUICK}, backends: ['{}']}}\n  \
             - {{name: far, path_prefix: /far, {QUICK}, backends: ['tunnel://prom:9090']}}\n",
            near.url()
        ),
        &far,
    )
    .await;
    house.is_healthy(OPS, &["far"]).await;
    for (user, own, other) in [(GRAFANA, "near", "far"), (OPS, "far", "near")] {
        let path = format!("/{own}/api/v1/query");
        let answer = house.post(&path, user).await.expect(200);
        assert_eq!(answer.text(), result_of(own));
        for path in [
            "api/v1/query",
            "api/v1/read",
            "federate",
            "api/v1/notifications/live",
            "graph",
        ] {
            let path = format!("/{other}/{path}");
            let answer = match path.contains("query") || path.contains("read") {
                true => house.post(&path, user).await,
                false => house.get(&path, user).await,
            };
            assert_eq!(answer.head.status, 403, "{path}: {answer:?}");
            assert!(answer.text().contains(other), "{path}: {answer:?}");
        }
    }
    for fake in [&near, &far] {
        assert_eq!(fake.journal().queries().len(), 1, "{}", fake.id());
    }
}

/// A real reader with TLS and a password, and one with a wrong password.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_prometheus_reads_over_tls_with_a_password() {
    let target = Target::start(ok(metric("room")));
    let inner = Prometheus::start(&format!(
        "- job_name: room\n  static_configs: [{{targets: ['{}']}}]",
        target.address()
    ))
    .await;
    inner.is_up("room").await;
    let far = FakePrometheus::start("far");
    let house = House::start(
        &format!(
            "auth: {{clients: [{{names: ['*'], token_file: token}}]}}\n\
             query: {{pools: [{{{QUICK}, backends: ['http://{}']}}]}}\n",
            inner.address
        ),
        &far,
    )
    .await;
    house.is_healthy(GRAFANA, &["main"]).await;
    let (port, ca) = (house.proxy.query.unwrap().port(), house.authority.ca_file());
    let outer = |password: &str| {
        let ca = ca.display();
        let manner = format!(
            "tls_config: {{ca_file: '{ca}'}}\n  basic_auth: {{username: grafana, password: {password}}}\n"
        );
        format!(
            "- job_name: federate\n  scheme: https\n  metrics_path: /federate\n  \
             params: {{'match[]': ['room']}}\n  {manner}  \
             static_configs: [{{targets: ['localhost:{port}']}}]\n\
             remote_read:\n- url: https://localhost:{port}/api/v1/read\n  read_recent: true\n  {manner}"
        )
    };
    let (good, bad) = (outer("pw-of-prometheus"), outer("x"));
    let (good, bad) = tokio::join!(Prometheus::start(&good), Prometheus::start(&bad));
    good.is_up("federate").await;
    assert_eq!(good.query("up{job=\"room\"}").await.len(), 1);
    let why = bad.is_down("federate").await;
    assert!(why.contains("401"), "{why}");
    assert_eq!(bad.query("up{job=\"room\"}").await.len(), 0);
}
