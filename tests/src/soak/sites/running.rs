//! A client that is up.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;

use crate::metrics::Metrics;
use crate::pair;
use crate::program::Program;
use crate::scraper;
use crate::soak::program;
use crate::soak::tally::Violation;
use crate::soak::world::World;

/// How a client runs. A program has tasks and file descriptors of its own; the same library in this
/// process costs less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::soak) enum Kind {
    Program,
    Here,
}

/// What may be seen of a client that is up.
#[derive(Debug, Clone, Copy)]
pub(in crate::soak) struct Up {
    /// Where its pages are.
    pub(in crate::soak) web: SocketAddr,
    /// If it is one of its own.
    pub(in crate::soak) process: Option<u32>,
}

/// A client that is up.
pub(super) enum Running {
    Program(Program, SocketAddr),
    Here(pair::Client),
}

/// The settings of all of them.
pub(in crate::soak) fn flags() -> Vec<String> {
    [
        "--tunnel.ping-interval=500ms",
        "--tunnel.dead-after=2s",
        "--shutdown.grace=5s",
    ]
    .map(str::to_owned)
    .to_vec()
}

impl Running {
    /// Dials every URL.
    pub(super) async fn start(kind: Kind, urls: &[String], config: &Path) -> Self {
        let mut flags = flags();
        flags.push(format!("--config.file={}", config.display()));
        match kind {
            Kind::Here => {
                let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
                let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
                Self::Here(pair::Client::launch(&urls, &flags).await)
            }
            Kind::Program => {
                flags.push("--web.listen-address=127.0.0.1:0".to_owned());
                flags.extend(urls.iter().map(|url| format!("--proxy-url={url}")));
                let (program, web) = program::start("adit-client", &flags).await;
                Self::Program(program, web)
            }
        }
    }

    /// What may be seen of it.
    pub(super) fn up(&self) -> Up {
        match self {
            Self::Program(program, web) => Up {
                web: *web,
                process: Some(program.id()),
            },
            Self::Here(client) => Up {
                web: client.web,
                process: None,
            },
        }
    }

    /// Whether a proxy has told it that another instance has a name of its.
    pub(super) async fn was_replaced(&self, urls: &[String]) -> bool {
        let metrics = Metrics::of(self.up().web).await;
        let times = |url: &String| {
            let labels = format!("{{proxy=\"{url}\",reason=\"replaced\"}}");
            metrics.series(&format!("adit_client_tunnels_ended_total{labels}"))
        };
        urls.iter().map(times).sum::<f64>() > 0.0
    }

    /// Has it read its file again, which must succeed.
    pub(super) async fn reload(&self, world: &World, who: &str) {
        let request = "POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
                       Content-Length: 0\r\n\r\n";
        let answer = scraper::send(self.up().web, request).await;
        if answer.head.status != 200 {
            let words = format!("{who}: a reload failed: {}", answer.text());
            world.violation(Violation::BadEnd, &[who.to_owned()], Instant::now(), &words);
        }
    }

    /// Told to stop, or killed. What a program said is kept in `log`.
    pub(super) async fn stop(self, world: &World, who: &str, politely: bool, log: &Path) {
        let (said, status) = match self {
            Self::Here(client) if politely => return client.stop().await,
            Self::Here(client) => return drop(client),
            Self::Program(program, _) if politely => {
                program.signal("TERM");
                let ended = program.finished().await;
                (ended.stderr, ended.status.code())
            }
            Self::Program(mut program, _) => {
                program.kill();
                (program.log(), Some(0))
            }
        };
        program::append(log, &said);
        let panics = program::panics(&said);
        if status != Some(0) || !panics.is_empty() {
            let words = format!("{who} exited with {status:?}; {panics:?}");
            world.violation(Violation::BadEnd, &[who.to_owned()], Instant::now(), &words);
        }
    }
}
