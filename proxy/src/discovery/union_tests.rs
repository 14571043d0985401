//! Words of sources over time, and the list made of them.

use std::num::NonZero;

use super::*;
use crate::config::query::{
    FileFormat, FileSource, HttpSource, Manner, StaticBackend, TunnelSource,
};

const GRACE: Duration = Duration::from_secs(60);

fn written(url: &str) -> Source {
    Source::Static(StaticBackend {
        url: url.parse().unwrap(),
        name: None,
        manner: Manner::default(),
    })
}

fn file() -> Source {
    Source::File(FileSource {
        path: "/etc/backends".into(),
        format: FileFormat::Lines,
        refresh: Duration::from_secs(10),
        manner: Manner::default(),
    })
}

fn http(url: &str) -> Source {
    Source::Http(HttpSource {
        url: url.to_owned().into(),
        refresh: Duration::from_secs(60),
        tls: Default::default(),
        credentials: None,
        manner: Manner::default(),
    })
}

fn tunnel() -> Source {
    Source::Tunnel(TunnelSource {
        labels: [("job".to_owned(), "prometheus".to_owned())].into(),
        manner: Manner::default(),
    })
}

fn found(urls: &[&str]) -> Result<Vec<Found>, String> {
    let found = |url: &&str| Found::new(url.parse().unwrap(), &Manner::default());
    Ok(urls.iter().map(found).collect())
}

fn failed() -> Result<Vec<Found>, String> {
    Err("no answer".to_owned())
}

/// Sources, and a clock of their own.
struct World {
    state: State,
    begun: Instant,
    now: Instant,
}

impl World {
    fn new(sources: &[Source]) -> Self {
        let begun = Instant::now();
        Self {
            state: State::new(sources, GRACE, begun),
            begun,
            now: begun,
        }
    }

    fn at(&mut self, seconds: u64) -> &mut Self {
        self.now = self.begun + Duration::from_secs(seconds);
        self
    }

    fn said(&mut self, source: usize, word: Result<Vec<Found>, String>) -> Option<Turn> {
        self.state.said(source, word, self.now)
    }

    fn list(&self) -> Vec<String> {
        let list = self.state.list(self.now);
        list.iter().map(|one| one.found.url.to_string()).collect()
    }

    /// In seconds.
    fn next_change(&self) -> Option<u64> {
        let next = self.state.next_change(self.now)?;
        Some((next - self.begun).as_secs())
    }
}

/// Case 55.
#[test]
fn sources_are_united_and_each_place_stands_once() {
    let mut world = World::new(&[written("http://a:80"), file(), tunnel()]);
    assert_eq!(
        world.list(),
        ["http://a:80"],
        "what is written is there at once"
    );
    let mut heavy = found(&["http://u:p@A/", "http://b:1/x/", "http://B:1/x"]).unwrap();
    heavy[0] = heavy[0].clone().weighing(7, NonZero::new(9).unwrap());
    world.said(1, Ok(heavy));
    world.said(
        2,
        found(&["tunnel://pi:9090", "http://b:1/x", "https://a:80"]),
    );
    assert_eq!(
        world.list(),
        [
            "http://a:80",
            "http://b:1/x",
            "tunnel://pi:9090",
            "https://a:80"
        ]
    );
    let list = world.state.list(world.now);
    let sources: Vec<&str> = list.iter().map(|one| one.source).collect();
    assert_eq!(sources, ["static", "file", "tunnel", "tunnel"]);
    let first = &list[0].found;
    assert_eq!((first.manner.priority, first.manner.weight.get()), (0, 1));
    assert!(
        first.url.user.is_none(),
        "the first to name it decides how it is spoken to"
    );
}

/// Case 56: an outage.
#[test]
fn a_source_that_fails_is_believed_for_the_grace_and_no_longer() {
    let mut world = World::new(&[file(), tunnel()]);
    world.said(0, found(&["http://a:1"]));
    world.said(1, found(&["tunnel://pi:1"]));
    assert_eq!(world.next_change(), None);
    assert_eq!(
        world.at(10).said(0, failed()),
        Some(Turn::Fails("no answer".into()))
    );
    assert_eq!(world.at(20).said(0, failed()), None, "told once");
    assert_eq!(world.next_change(), Some(70), "from the first failure on");
    assert_eq!(world.at(69).list(), ["http://a:1", "tunnel://pi:1"]);
    assert_eq!(world.at(70).list(), ["tunnel://pi:1"]);
    assert_eq!(world.next_change(), None);
    assert_eq!(
        world.at(300).said(0, found(&["http://b:1"])),
        Some(Turn::Answers)
    );
    assert_eq!(world.list(), ["http://b:1", "tunnel://pi:1"]);
}

/// Case 56: an outage of everything.
#[test]
fn outages_never_empty_a_pool() {
    let mut world = World::new(&[file(), tunnel()]);
    world.said(0, found(&["http://a:1"]));
    world.said(1, found(&["tunnel://pi:1"]));
    world.at(10).said(0, failed());
    world.at(20).said(1, failed());
    assert_eq!(world.at(70).list(), ["tunnel://pi:1"]);
    assert_eq!(
        world.at(80).list(),
        ["http://a:1", "tunnel://pi:1"],
        "all that is known"
    );
    assert_eq!(world.at(10_000).list(), ["http://a:1", "tunnel://pi:1"]);
    world.said(1, found(&["tunnel://nas:1"]));
    assert_eq!(
        world.list(),
        ["tunnel://nas:1"],
        "one that answers is enough"
    );
}

/// Case 56: an empty list.
#[test]
fn an_empty_list_counts_when_it_has_been_empty_for_the_grace() {
    let mut world = World::new(&[file()]);
    world.said(0, found(&[]));
    assert_eq!(world.list(), [""; 0]);
    world.at(10).said(0, found(&["http://a:1"]));
    for second in [20, 50, 79] {
        world.at(second).said(0, found(&[]));
        assert_eq!(world.list(), ["http://a:1"], "{second}");
        assert_eq!(world.next_change(), Some(80));
    }
    assert_eq!(
        world.at(80).list(),
        [""; 0],
        "a healthy source empties a pool"
    );
    world.said(0, failed());
    assert_eq!(
        world.list(),
        [""; 0],
        "what was given up does not come back"
    );
    assert_eq!(
        world.at(81).said(0, found(&["http://a:1"])),
        Some(Turn::Answers)
    );
    assert_eq!(world.list(), ["http://a:1"]);
}

/// Case 56: a server that is empty after its own restart.
#[test]
fn an_empty_list_after_an_outage_counts_after_a_grace_of_its_own() {
    let mut world = World::new(&[file()]);
    world.said(0, found(&["http://a:1"]));
    world.at(10).said(0, failed());
    world.at(100).said(0, found(&[]));
    assert_eq!(world.at(159).list(), ["http://a:1"]);
    assert_eq!(world.next_change(), Some(160));
    world.said(0, failed());
    assert_eq!(
        world.at(1000).list(),
        ["http://a:1"],
        "it said so for a moment only"
    );
    world.said(0, found(&[]));
    assert_eq!(world.at(1060).list(), [""; 0]);
}

#[test]
fn a_shorter_list_counts_at_once() {
    let mut world = World::new(&[file()]);
    world.said(0, found(&["http://a:1", "http://b:1"]));
    world.at(1).said(0, found(&["http://b:1"]));
    assert_eq!(world.list(), ["http://b:1"]);
}

#[test]
fn a_list_without_end_is_a_failure() {
    let mut world = World::new(&[file()]);
    let many = |count: usize| {
        let url = |n| {
            Found::new(
                format!("http://a{n}:1").parse().unwrap(),
                &Manner::default(),
            )
        };
        Ok((0..count).map(url).collect())
    };
    world.said(0, many(MOST_FOUND));
    assert_eq!(world.list().len(), MOST_FOUND);
    let turn = world.said(0, many(MOST_FOUND + 1));
    assert_eq!(
        turn,
        Some(Turn::Fails("it has 1025 backends, 1024 are taken".into()))
    );
    assert_eq!(world.list().len(), MOST_FOUND);
}

#[test]
fn each_source_is_shown_with_its_state_and_no_secret() {
    let mut world = World::new(&[
        written("http://u:s3cret@a:1/x"),
        file(),
        http("https://u:s3cret@sd.example/x?token=s3cret"),
        tunnel(),
    ]);
    world.at(5).said(1, found(&["http://a:1/x", "http://b:1"]));
    world.at(10).said(2, failed());
    world.at(20).said(2, Err("another reason".into()));
    let views = world.state.views(world.now);
    let seen: Vec<_> = views
        .iter()
        .map(|view| {
            let since = (view.since - world.begun).as_secs();
            (
                view.kind,
                view.what.as_str(),
                view.backends,
                view.standing.clone(),
                since,
            )
        })
        .collect();
    let failing = SourceStanding::Failing("another reason".into());
    assert_eq!(
        seen,
        [
            ("static", "http://a:1/x", 1, SourceStanding::Answering, 0),
            ("file", "/etc/backends", 2, SourceStanding::Answering, 5),
            ("http", "https://sd.example/x", 0, failing, 10),
            ("tunnel", "job=prometheus", 0, SourceStanding::Waiting, 0),
        ]
    );
}
