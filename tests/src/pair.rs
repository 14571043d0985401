//! Proxies and clients in the test's own process: the programs less their flags and signals.

use std::net::SocketAddr;

use adit_common::net::listen::Local;
use adit_common::shutdown::Orders;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::scraper;
use crate::wait::{PATIENCE, eventually, within};

/// A proxy. Dropping it ends it at once.
#[derive(Debug)]
pub struct Proxy {
    /// The first address it listens on.
    pub address: SocketAddr,
    /// The first for queries, if there is one.
    pub query: Option<SocketAddr>,
    running: Running,
}

/// A client. Dropping it ends it at once.
#[derive(Debug)]
pub struct Client {
    /// Where its own pages are.
    pub web: SocketAddr,
    running: Running,
}

/// One of each.
#[derive(Debug)]
pub struct Pair {
    /// The public end.
    pub proxy: Proxy,
    /// The end beside the targets.
    pub client: Client,
}

#[derive(Debug)]
struct Running {
    shutdown: CancellationToken,
    task: JoinHandle<Result<(), String>>,
}

impl Proxy {
    /// On a free port of 127.0.0.1, with more flags.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(flags: &[&str]) -> Self {
        let all = flags_of_a_proxy(flags);
        let config = adit_proxy::Config::from_args(all).expect("flags of the proxy");
        let listeners = config.bind().await.expect("free ports");
        let address = tcp(listeners[0].local());
        let query = listeners.iter().find(|bound| bound.roles().query);
        let query = query.map(|bound| tcp(bound.local()));
        let running = Running::start(|shutdown| async {
            let orders = Orders {
                shutdown,
                ..Orders::default()
            };
            adit_proxy::run(config, listeners, orders)
                .await
                .map_err(|error| error.to_string())
        });
        Self {
            address,
            query,
            running,
        }
    }

    /// What `--proxy-url` and `proxy_url` want.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops it as SIGTERM does; returns when it is drained.
    ///
    /// # Panics
    /// When it does not end, or not well.
    pub async fn stop(self) {
        self.running.stop().await;
    }

    /// Waits until it routes to the client called `name`.
    ///
    /// # Panics
    /// When it never does.
    pub async fn knows(&self, name: &str) {
        knows(self.address, name).await;
    }
}

impl Client {
    /// Of the proxies at `urls`, with more flags; returns when one session is accepted.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn start(urls: &[&str], flags: &[&str]) -> Self {
        let client = Self::launch(urls, flags).await;
        ready(client.web).await;
        client
    }

    /// The same, and returns at once.
    ///
    /// # Panics
    /// When it does not start.
    pub async fn launch(urls: &[&str], flags: &[&str]) -> Self {
        let mut all = vec!["--web.listen-address=127.0.0.1:0".to_owned()];
        all.extend(urls.iter().map(|url| format!("--proxy-url={url}")));
        all.extend(flags.iter().map(|flag| (*flag).to_owned()));
        let config = adit_client::Config::from_args(all).expect("flags of the client");
        let listeners = config.bind().await.expect("free ports");
        let web = tcp(listeners[0].local());
        let running = Running::start(|shutdown| async {
            let orders = Orders {
                shutdown,
                ..Orders::default()
            };
            adit_client::run(config, listeners, orders)
                .await
                .map_err(|error| error.to_string())
        });
        Self { web, running }
    }

    /// Stops it as SIGTERM does; returns when it is drained.
    ///
    /// # Panics
    /// When it does not end, or not well.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}

impl Pair {
    /// Both, with flags for the client.
    pub async fn start(flags: &[&str]) -> Self {
        Self::with(&[], flags).await
    }

    /// Both, with flags for each.
    pub async fn with(proxy: &[&str], client: &[&str]) -> Self {
        let proxy = Proxy::start(proxy).await;
        let client = Client::start(&[&proxy.url()], client).await;
        Self { proxy, client }
    }

    /// A scrape of `uri` through it.
    pub async fn scrape(&self, uri: &str) -> scraper::Answer {
        scraper::scrape(self.proxy.address, uri).await
    }
}

impl Running {
    fn start<F>(run: impl FnOnce(CancellationToken) -> F) -> Self
    where
        F: Future<Output = Result<(), String>> + Send + 'static,
    {
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(run(shutdown.clone()));
        Self { shutdown, task }
    }

    async fn stop(mut self) {
        self.shutdown.cancel();
        let ended = within(PATIENCE, "the end of a run", &mut self.task).await;
        ended.expect("no panic").expect("a good end");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until the client whose pages are at `web` has an accepted session.
///
/// # Panics
/// When it never has.
pub async fn ready(web: SocketAddr) {
    eventually(
        PATIENCE,
        "a client is ready",
        async || match scraper::try_page(web, "/-/ready").await {
            Ok(answer) if answer.head.status == 200 => Ok(()),
            Ok(answer) => Err(format!("{} {}", answer.head.status, answer.text())),
            Err(error) => Err(error.to_string()),
        },
    )
    .await;
}

/// Waits until the proxy at `address` routes to the client called `name`.
///
/// # Panics
/// When it never does.
pub async fn knows(address: SocketAddr, name: &str) {
    let entry = format!("\"{name}\"");
    eventually(PATIENCE, "a proxy knows a client", async || {
        let clients = scraper::page(address, "/clients").await.text();
        if clients.contains(&entry) {
            Ok(())
        } else {
            Err(clients)
        }
    })
    .await;
}

/// A configuration in a folder of its own, for as long as that is held, and the flag that names it.
///
/// # Panics
/// When it cannot be written.
pub fn config(text: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("config.yml");
    std::fs::write(&path, text).expect("a file");
    let flag = format!("--config.file={}", path.display());
    (folder, flag)
}

/// With a free port of 127.0.0.1. Unknown names are answered at once, as they are when a proxy has
/// run for a while, unless `flags` say otherwise.
pub fn flags_of_a_proxy(flags: &[&str]) -> Vec<String> {
    const STARTUP: &str = "--scrape.startup-wait";
    let mut all = vec!["--web.listen-address=127.0.0.1:0".to_owned()];
    if !flags.iter().any(|flag| flag.starts_with(STARTUP)) {
        all.push(format!("{STARTUP}=0s"));
    }
    all.extend(flags.iter().map(|flag| (*flag).to_owned()));
    all
}

fn tcp(local: &Local) -> SocketAddr {
    match local {
        Local::Tcp(address) => *address,
        Local::Unix(path) => panic!("{} is no address", path.display()),
    }
}
