//! What clients offer, as backends.

use adit_common::registration::Instance;
use prometheus::IntGauge;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::*;
use crate::carrier::Session;
use crate::config::duplicates::Rules;
use crate::config::query::Manner;
use crate::registry::{Memory, Waiting};

/// How long a name that left is listed.
const LIST: Duration = Duration::from_secs(45);

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    pairs.iter().map(owned).collect()
}

fn source(wanted: &[(&str, &str)]) -> TunnelSource {
    TunnelSource {
        labels: labels(wanted),
        manner: Manner::default(),
    }
}

fn offered(target: &str, own: &[(&str, &str)]) -> Offered {
    Offered {
        target: target.parse().unwrap(),
        scheme: None,
        labels: labels(own),
    }
}

fn offer(names: &[&str], on_all: &[(&str, &str)], targets: Vec<Offered>) -> Registration {
    Registration {
        names: names.iter().map(|name| name.parse().unwrap()).collect(),
        targets,
        labels: labels(on_all),
        ..Registration::default()
    }
}

fn urls(found: &[Found]) -> Vec<String> {
    found.iter().map(|found| found.url.to_string()).collect()
}

#[test]
fn targets_with_all_of_the_labels_are_backends() {
    let pi = offer(
        &["pi", "raspberry"],
        &[("site", "berlin"), ("job", "node")],
        vec![
            offered("pi:9100", &[]),
            offered("pi:9090", &[("job", "prometheus")]),
            offered("pi:9091", &[("job", "prometheus"), ("site", "rome")]),
            offered("raspberry:9090", &[("job", "prometheus"), ("x", "y")]),
            offered("nas:9090", &[("job", "prometheus")]),
            offered("ä:9090", &[("job", "prometheus")]),
        ],
    );
    let pi = Arc::new(pi);
    let offers: Vec<(Name, Arc<Registration>)> = ["pi", "raspberry", "ä"]
        .map(|name| (name.parse().unwrap(), Arc::clone(&pi)))
        .into();
    let of = |wanted: &[(&str, &str)]| urls(&found(&source(wanted), &offers));
    assert_eq!(
        of(&[("job", "prometheus"), ("site", "berlin")]),
        ["tunnel://pi:9090", "tunnel://raspberry:9090"],
        "the target's own word counts, and only under its own name"
    );
    assert_eq!(of(&[("job", "node")]), ["tunnel://pi:9100"]);
    assert_eq!(
        of(&[("job", "prometheus"), ("x", "y")]),
        ["tunnel://raspberry:9090"]
    );
    assert_eq!(of(&[("x", "")]), [""; 0]);
}

/// A registry that is followed.
struct World {
    registry: Arc<Registry>,
    heard: tokio::sync::mpsc::Receiver<super::super::report::News>,
    begun: Instant,
    _task: JoinSet<()>,
}

impl World {
    fn new() -> Self {
        let memory = Memory {
            remember: Duration::from_secs(300),
            grace: Duration::from_secs(2),
            startup: Duration::ZERO,
            list: LIST,
        };
        let count = IntGauge::new("waiting", "For a test.").unwrap();
        let waiting = Arc::new(Waiting::new(8, 8, count));
        let registry = Arc::new(Registry::new(memory, waiting));
        let (report, heard) = Report::for_tests();
        let mut task = JoinSet::new();
        let wanted = source(&[("job", "prometheus")]);
        task.spawn(follow(wanted, Arc::clone(&registry), report));
        Self {
            registry,
            heard,
            begun: Instant::now(),
            _task: task,
        }
    }

    fn comes(&self, name: &str) -> Arc<Session> {
        let target = offered(&format!("{name}:9090"), &[("job", "prometheus")]);
        let offer = offer(&[name], &[], vec![target]);
        let session = Session::for_tests(Instance::now());
        let names = offer.names.clone();
        session.offers(offer);
        self.registry
            .claim(&session, &names, &Rules::default())
            .unwrap();
        session
    }

    /// The next list, and after how many milliseconds since the start.
    async fn word(&mut self) -> (Vec<String>, u128) {
        let (_, word) = self.heard.recv().await.unwrap();
        (urls(&word.unwrap()), self.begun.elapsed().as_millis())
    }
}

#[tokio::test(start_paused = true)]
async fn clients_that_come_and_go_change_the_list() {
    let mut world = World::new();
    assert_eq!(world.word().await, (vec![], 0), "the first look is at once");
    tokio::time::sleep(Duration::from_secs(1)).await;
    let pi = world.comes("pi");
    let (urls, at) = world.word().await;
    assert_eq!(urls, ["tunnel://pi:9090"]);
    assert!((1000..1002).contains(&at), "at once, not after {at} ms");
    world.registry.release(&pi);
    // That it is listed no longer comes by time alone.
    let (urls, at) = world.word().await;
    assert_eq!(urls, [""; 0]);
    let list = 1000 + LIST.as_millis();
    assert!((list..=list + 5200).contains(&at), "{at} ms");
}

#[tokio::test(start_paused = true)]
async fn however_many_come_they_are_looked_at_now_and_then() {
    let mut world = World::new();
    world.word().await;
    let mut sessions = Vec::new();
    for number in 0..1000 {
        sessions.push(world.comes(&format!("n{number}")));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (mut looks, mut last) = (0, 0);
    while last < 1000 {
        last = world.word().await.0.len();
        looks += 1;
    }
    assert!((9..=12).contains(&looks), "{looks} looks in a second");
}
