//! Before and after: what every program holds when nobody has scraped yet, and whether that is all
//! it holds when the storm is over.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::files;
use super::scrapers::Scrapers;
use super::sites::{Site, Up};
use super::tally::Violation;
use super::world::World;
use crate::metrics::Metrics;

/// A dial that hangs takes 20 s, and the longest back-off behind it 30 s.
const HERE_AGAIN: Duration = Duration::from_secs(90);
/// For what ends by itself when nobody uses it any more.
const GIVEN_BACK: Duration = Duration::from_secs(30);
/// Between two looks at a page.
const LOOK: Duration = Duration::from_millis(300);
/// Looks that must agree.
const SAME: usize = 4;
/// Plain scrapes at once, and the rest between the rounds.
const AT_ONCE: usize = 4;
const REST: Duration = Duration::from_secs(2);

/// What is held at rest.
#[derive(Debug)]
pub(super) struct Base {
    proxies: Vec<Held>,
    clients: BTreeMap<String, Held>,
}

/// What cannot be told from a gauge alone.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Held {
    tasks: f64,
    files: f64,
    connections: f64,
}

/// A gauge that is not what it should be.
#[derive(Debug)]
struct Off {
    violation: Violation,
    words: String,
}

impl Off {
    /// Less is somebody who is missing, more is held by nobody's wish.
    fn by(is: f64, wanted: usize, words: String) -> Self {
        let violation = match is < wanted as f64 {
            true => Violation::DeadName,
            false => Violation::Leaked,
        };
        Self { violation, words }
    }
}

/// Who should be there.
pub(super) struct Expected<'a> {
    pub(super) world: &'a World,
    pub(super) sites: &'a [Arc<Site>],
    /// How many PushProx clients poll each proxy.
    pub(super) pollers: Vec<usize>,
    /// Of the proxies, as they run now.
    pub(super) processes: Vec<u32>,
}

impl Expected<'_> {
    /// Waits until everybody is there and nothing is under way, and measures.
    ///
    /// # Errors
    /// What is missing.
    pub(super) async fn base(&self) -> Result<Base, String> {
        let here = until(HERE_AGAIN, async || self.everybody_is_here().await);
        here.await.map_err(|off| off.words)?;
        let proxies = self.world.proxies.iter();
        let proxies = join_all(proxies.map(|proxy| at_rest(*proxy, "proxy"))).await;
        let clients = self.sites.iter().filter_map(|site| {
            let up = (*site.up.borrow())?;
            let base = async move { (site.id.clone(), at_rest(up.web, "client").await) };
            up.process.map(|_| base)
        });
        let clients = join_all(clients).await.into_iter().collect();
        Ok(Base { proxies, clients })
    }

    /// Waits until everybody is back.
    pub(super) async fn everybody_is_back(&self) {
        let here = until(HERE_AGAIN, async || self.everybody_is_here().await);
        if let Err(off) = here.await {
            self.violated(off.violation, "", &off.words);
        }
    }

    /// Whether everybody is there, once, and nothing is under way.
    async fn everybody_is_here(&self) -> Result<(), Off> {
        for (index, proxy) in self.world.proxies.iter().enumerate() {
            let metrics = Metrics::of(*proxy).await;
            let reachable =
                |place: &&super::world::Place| place.only_by.is_none_or(|only| only == index);
            let mut names: Vec<&str> = self
                .world
                .places
                .iter()
                .filter(reachable)
                .map(|p| &*p.name)
                .collect();
            names.sort_unstable();
            names.dedup();
            let polls = self.pollers[index];
            for (series, wanted) in [
                ("adit_proxy_sessions", self.sites.len()),
                ("adit_proxy_polls", polls),
                ("adit_proxy_names{state=\"here\"}", names.len()),
                ("adit_proxy_scrapes_in_flight", 0),
                ("adit_proxy_scrapes_waiting", 0),
                ("adit_proxy_connects_open", 0),
            ] {
                let is = metrics.series(series);
                if is != wanted as f64 {
                    let words = format!("p{index}: {series} is {is}, not {wanted}");
                    return Err(Off::by(is, wanted, words));
                }
            }
        }
        Ok(())
    }

    /// Holds what everybody has now against the base. Whatever is more must be given back soon.
    pub(super) async fn nothing_is_leaked(&self, base: &Base) {
        for (index, proxy) in self.world.proxies.iter().enumerate() {
            let (base, polls) = (base.proxies[index], self.pollers[index]);
            let given_back = until(GIVEN_BACK, async || {
                // A poller may hold a connection that was for a push.
                let within = held(*proxy, "proxy").await.within(base, 2 * polls);
                within.map_err(|more| format!("{more}\n{}", files::open(self.processes[index])))
            });
            if let Err(more) = given_back.await {
                self.violated(Violation::Leaked, &format!("p{index}"), &more);
            }
        }
        for site in self.sites {
            if let Err(off) = until(GIVEN_BACK, async || of_site(site, base).await).await {
                self.violated(off.violation, &site.id, &off.words);
            }
        }
    }

    /// For so long nothing but plain scrapes of every target by every proxy, all of which succeed.
    pub(super) async fn every_name_answers(&self, scrapers: &Arc<Scrapers>, time: Duration) -> u64 {
        let until = Instant::now() + time;
        let mut ways = Vec::new();
        for (place, of) in self.world.places.iter().enumerate() {
            let proxies = 0..self.world.proxies.len();
            let by = proxies.filter(|proxy| of.only_by.is_none_or(|only| only == *proxy));
            ways.extend(by.map(|proxy| (place, proxy)));
        }
        let mut count = 0;
        let mut dead: BTreeMap<String, String> = BTreeMap::new();
        loop {
            for some in ways.chunks(AT_ONCE) {
                let mut under_way = JoinSet::new();
                for (place, proxy) in some.iter().copied() {
                    let scrapers = Arc::clone(scrapers);
                    let path = count % 2 == 1;
                    count += 1;
                    under_way.spawn(async move {
                        (place, proxy, scrapers.plain(place, proxy, path).await)
                    });
                }
                for (place, proxy, wrong) in under_way.join_all().await {
                    let place = &self.world.places[place];
                    if let Some(wrong) = wrong {
                        let way = format!("{} by p{proxy}", place.authority());
                        dead.insert(way, wrong);
                    }
                }
            }
            if Instant::now() >= until {
                break;
            }
            sleep(REST).await;
        }
        for (way, wrong) in dead {
            self.violated(Violation::DeadName, &way, &wrong);
        }
        count
    }

    fn violated(&self, violation: Violation, whose: &str, words: &str) {
        let whom: Vec<String> = whose.split(' ').map(str::to_owned).collect();
        let details = format!("  {whose} {words}");
        let now = Instant::now();
        self.world.violation(violation, &whom, now, &details);
    }
}

impl Held {
    /// No more than in `base`, but for so many connections, with what serves each.
    fn within(self, base: Self, connections: usize) -> Result<(), String> {
        let more = self.connections - base.connections;
        let is_more = more > connections as f64
            || self.files - self.connections > base.files - base.connections
            || self.tasks > base.tasks + 2.0 * more.max(0.0);
        match is_more {
            true => Err(format!("holds {self:?}, and held {base:?} at first")),
            false => Ok(()),
        }
    }
}

/// A client: its sessions, and nothing under way.
async fn of_site(site: &Site, base: &Base) -> Result<(), Off> {
    let Some(Up { web, process }) = *site.up.borrow() else {
        return Err(Off {
            violation: Violation::DeadName,
            words: "is not up".into(),
        });
    };
    let metrics = Metrics::of(web).await;
    for (metric, wanted) in [
        ("adit_client_sessions", site.relays.len()),
        ("adit_client_scrapes_in_flight", 0),
        ("adit_client_connects_open", 0),
    ] {
        let is = metrics.sum(metric);
        if is != wanted as f64 {
            return Err(Off::by(
                is,
                wanted,
                format!("{metric} is {is}, not {wanted}"),
            ));
        }
    }
    match (base.clients.get(&site.id), process) {
        (Some(base), Some(process)) => {
            let within = held(web, "client").await.within(*base, 0);
            within.map_err(|more| Off {
                violation: Violation::Leaked,
                words: format!("{more}\n{}", files::open(process)),
            })
        }
        _ => Ok(()),
    }
}

/// Of a program of ours. Its own count of connections is a proxy's only.
async fn held(server: SocketAddr, program: &str) -> Held {
    let metrics = Metrics::of(server).await;
    Held {
        tasks: metrics.sum(&format!("adit_{program}_tasks")),
        files: metrics.sum("process_open_fds"),
        connections: metrics.sum(&format!("adit_{program}_connections")),
    }
}

/// The same as soon as it stays so for a while.
async fn at_rest(server: SocketAddr, program: &str) -> Held {
    let mut last = held(server, program).await;
    let mut same = 1;
    let end = Instant::now() + GIVEN_BACK;
    while same < SAME && Instant::now() < end {
        sleep(LOOK).await;
        let next = held(server, program).await;
        same = if next == last { same + 1 } else { 1 };
        last = next;
    }
    last
}

/// Looks again and again; the last error at the deadline.
async fn until<E>(
    deadline: Duration,
    mut look: impl AsyncFnMut() -> Result<(), E>,
) -> Result<(), E> {
    let end = Instant::now() + deadline;
    loop {
        let last = look().await;
        if last.is_ok() || Instant::now() >= end {
            return last;
        }
        sleep(LOOK).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_more_than_at_first_is_leaked_unless_a_connection_explains_it() {
        let held = |tasks: f64, files: f64, connections: f64| Held {
            tasks,
            files,
            connections,
        };
        let base = held(50.0, 40.0, 20.0);
        for (now, spare, is_ok) in [
            (base, 0, true),
            (held(40.0, 39.0, 19.0), 0, true),
            (held(52.0, 41.0, 21.0), 1, true),
            (held(52.0, 41.0, 21.0), 0, false),
            (held(51.0, 40.0, 20.0), 1, false),
            (held(50.0, 41.0, 20.0), 1, false),
        ] {
            assert_eq!(now.within(base, spare).is_ok(), is_ok, "{now:?}");
        }
    }
}
