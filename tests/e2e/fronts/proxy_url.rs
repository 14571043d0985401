//! Fronts that can be a `proxy_url`: they pass absolute-form requests and CONNECT as they are.

use adit_tests::fronts::{Front, Kind, SCRAPER, Setup};
use adit_tests::pair::{Client, Proxy};
use adit_tests::prometheus::Prometheus;
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Ear, Target};

use super::site::{Site, write_secret};

const CLEAR: &str = "pi:9100";
const SECRET: &str = "tls.example:9443";

/// Two targets, and the flags that offer them.
struct Targets {
    clear: Target,
    secret: Target,
}

impl Targets {
    fn start(front: &Front) -> Self {
        let tls = Ear::tls(front.authority().server(&["tls.example"]));
        Self {
            clear: Target::start(ok(metric("clear"))),
            secret: Target::at(vec![tls], ok(metric("secret"))),
        }
    }

    fn flags(&self) -> [String; 2] {
        [
            format!("--target={CLEAR}=http://{}", self.clear.address()),
            format!("--target={SECRET}=https://{}", self.secret.address()),
        ]
    }
}

/// Prometheus scrapes both by this front, and is told who it must be if it does not say it.
async fn prometheus_scrapes_both(front: &Front) {
    let ca = front.ca_file();
    let port = front.setup.proxy_address.port();
    let job = |name: &str, scheme: &str, target: &str, user: &str| {
        format!(
            "- job_name: {name}\n  scheme: {scheme}\n  \
             proxy_url: 'https://{user}localhost:{port}'\n  tls_config: {{ca_file: {ca}}}\n  \
             static_configs: [{{targets: ['{target}']}}]\n"
        )
    };
    let password = SCRAPER.password.replace(' ', "%20").replace('\'', "%27");
    let user = format!("{}:{password}@", SCRAPER.name);
    let prometheus = Prometheus::patient(
        &(job("clear", "http", CLEAR, &user)
            + &job("secret", "https", SECRET, &user)
            + &job("stranger", "http", CLEAR, "")
            + &job("stranger_tls", "https", SECRET, "")),
    )
    .await;
    for name in ["clear", "secret"] {
        let scrapes = prometheus.scrapes(name, 3).await;
        assert!(scrapes.iter().all(|up| *up == 1.0), "{name}: {scrapes:?}");
        assert_eq!(prometheus.query(name).await.len(), 1, "{name}");
    }
    for name in ["stranger", "stranger_tls"] {
        let why = prometheus.is_down(name).await;
        // HAProxy has a 401 for CONNECT; ours says why in its reason phrase, as Prometheus shows it.
        let words = ["407", "Unauthorized", "no credentials"];
        assert!(words.iter().any(|word| why.contains(word)), "{name}: {why}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_asks_for_the_password_of_a_proxy() {
    let site = Site::start(Kind::Haproxy).await;
    let targets = Targets::start(&site.front);
    let flags = targets.flags();
    let _client = site.client(&flags.each_ref().map(String::as_str)).await;
    prometheus_scrapes_both(&site.front).await;
    let requests = targets.clear.requests();
    assert_eq!(requests[0].field("proxy-authorization"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn haproxy_passes_bytes_and_we_ask() {
    we_ask(Kind::HaproxyTcp).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nginx_passes_bytes_and_we_ask() {
    we_ask(Kind::NginxStream).await;
}

/// The front ends TLS and knows nothing else; clients' tunnels go through it, too.
async fn we_ask(kind: Kind) {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name).display().to_string();
    write_secret(file("token").as_ref(), "a token of which nobody thinks");
    let users = format!(
        "basic_auth_users: {{{}: '{}'}}\n",
        SCRAPER.name,
        SCRAPER.hash()
    );
    write_secret(file("web.yml").as_ref(), &users);
    let token = format!("--auth.token-file={}", file("token"));
    let web = format!("--web.config.file={}", file("web.yml"));
    let proxy = Proxy::start(&[&token, &web]).await;
    let front = Front::start(kind, Setup::of(kind), proxy.address).await;
    let targets = Targets::start(&front);
    let ca = format!("--tls.ca-file={}", front.ca_file());
    let [clear, secret] = targets.flags();
    let _client = Client::start(&[&front.setup.url()], &[&token, &ca, &clear, &secret]).await;
    prometheus_scrapes_both(&front).await;
}
