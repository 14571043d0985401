mod by_chance;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::*;
use crate::config::query::Health;

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// A server that was started at 1000 by its own clock, so many seconds ago.
fn well(uptime: f64) -> Probed {
    Probed::Ready(answer(uptime))
}

fn answer(uptime: f64) -> Answer {
    Answer {
        now: Some(1000.0 + uptime),
        age: Some(5.0),
        targets: Some(10.0),
        started: Some(1000.0),
        clock_skew: Some(0.0),
        took: Duration::from_millis(3),
    }
}

fn failed() -> Probed {
    Probed::Failed("connection refused".to_owned())
}

/// One backend of a pool, with a clock that stands until it is moved.
struct One {
    standing: Standing,
    member: Member,
    rules: Health,
    now: Instant,
}

impl One {
    fn of(peers: &Arc<Peers>) -> Self {
        let now = Instant::now();
        Self {
            standing: Standing::new(now),
            member: peers.join(),
            rules: Health::default(),
            now,
        }
    }

    fn alone() -> Self {
        Self::of(&Arc::default())
    }

    /// Five seconds later, and this is what the probe found.
    fn probed(&mut self, outcome: &Probed) -> State {
        self.now += secs(5);
        let Self {
            standing,
            member,
            rules,
            now,
        } = self;
        standing.probed(outcome, rules, member, *now);
        standing.state
    }

    fn failed(&mut self) -> bool {
        let why = "connection reset";
        self.standing
            .failed(why, &self.rules, &self.member, self.now)
    }

    fn tier(&self) -> Tier {
        self.standing.tier(self.now)
    }

    fn explain(&self) -> String {
        self.standing.explain(self.now)
    }
}

#[test]
fn the_first_probe_decides_at_once() {
    let poor = || Probed::Mute("no answer".to_owned());
    for (outcome, state) in [
        (well(1e6), State::Healthy),
        (well(3.0), State::Warming),
        (failed(), State::Down),
        (poor(), State::Degraded),
        (Probed::NotReady(None), State::Starting),
        (Probed::Stopping, State::Stopping),
        (Probed::Unlinked("no client".to_owned()), State::Down),
        (Probed::Unasked, State::Unknown),
    ] {
        assert_eq!(One::alone().probed(&outcome), state, "{outcome:?}");
    }
}

/// Case 19.
#[test]
fn one_lost_probe_does_not_flip_and_two_good_ones_bring_it_back() {
    let mut one = One::alone();
    one.probed(&well(1e6));
    for bad in [failed(), Probed::Mute("it hangs".to_owned())] {
        assert_eq!(one.probed(&bad), State::Healthy);
        assert_eq!(one.probed(&well(1e6)), State::Healthy);
    }
    one.probed(&failed());
    assert_eq!(one.probed(&failed()), State::Down);
    assert_eq!(one.explain(), "down (connection refused)");
    assert_eq!(one.probed(&well(1e6)), State::Down);
    assert_eq!(one.probed(&failed()), State::Down);
    assert_eq!(one.probed(&well(1e6)), State::Down);
    assert_eq!(one.probed(&well(1e6)), State::Healthy);
}

/// Case 15.
#[test]
fn a_replay_is_told_as_far_as_it_is() {
    let mut one = One::alone();
    one.probed(&well(1e6));
    one.probed(&Probed::NotReady(Some((3, 10))));
    assert_eq!(one.explain(), "starting (3/10 WAL segments)");
    assert_eq!(one.tier(), Tier::Out);
    assert_eq!(one.standing.replay, Some((3, 10)));
    // One lost probe does not make it a server that is down.
    assert_eq!(one.probed(&failed()), State::Starting);
    // Ready at last, with a new start.
    assert_eq!(one.probed(&well(8.0)), State::Warming);
    assert_eq!(one.standing.replay, None);
}

/// Case 16.
#[test]
fn a_server_that_stops_is_out_within_one_probe_or_one_request() {
    let mut one = One::alone();
    one.probed(&well(1e6));
    assert_eq!(one.probed(&Probed::Stopping), State::Stopping);
    assert_eq!(one.tier(), Tier::Out);
    assert_eq!(
        one.probed(&well(1e6)),
        State::Healthy,
        "it has changed its mind"
    );

    let told = |one: &mut One, stopping| {
        let (member, now) = (&one.member, one.now);
        one.standing.told_not_ready(stopping, member, now)
    };
    assert!(told(&mut one, true));
    assert_eq!(one.standing.state, State::Stopping);
    assert!(!told(&mut one, true), "that is no news");
    assert!(told(&mut one, false));
    assert_eq!(one.standing.state, State::Starting);
}

/// Case 17.
#[test]
fn old_data_degrades_and_so_does_a_query_that_hangs_or_takes_long() {
    let with = |change: fn(&mut Answer)| {
        let mut answer = answer(1e6);
        change(&mut answer);
        Probed::Ready(answer)
    };
    for (outcome, says) in [
        (
            with(|a| a.age = Some(600.0)),
            "degraded (its newest scrape is 10m old)",
        ),
        (
            with(|a| (a.age, a.targets) = (None, Some(0.0))),
            "degraded (nothing was scraped for minutes)",
        ),
        (
            with(|a| a.took = Duration::from_millis(1500)),
            "degraded (it takes 1.5 s for the smallest query)",
        ),
        (
            Probed::Mute("a query: no answer in time".to_owned()),
            "degraded (a query: no answer",
        ),
    ] {
        let mut one = One::alone();
        one.probed(&outcome);
        assert!(one.explain().starts_with(says), "{}", one.explain());
        assert_eq!(one.tier(), Tier::Poor);
        assert_eq!(one.probed(&well(1e6)), State::Degraded);
        assert_eq!(one.probed(&well(1e6)), State::Healthy);
    }
    // Somebody's own query tells neither.
    let mut one = One::alone();
    assert_eq!(
        one.probed(&with(|a| (a.age, a.targets) = (None, None))),
        State::Healthy
    );
}

/// Case 18.
#[test]
fn a_server_that_was_started_anew_is_not_asked_before_it_has_scraped() {
    let peers = Arc::default();
    let mut other = One::of(&peers);
    other.probed(&well(1e6));
    let mut one = One::of(&peers);
    one.probed(&well(1e6));
    // Between two probes, so that none was lost.
    let anew = |uptime: f64, age: f64, targets: f64| {
        Probed::Ready(Answer {
            now: Some(5000.0 + uptime),
            age: Some(age),
            targets: Some(targets),
            started: Some(5000.0),
            ..answer(0.0)
        })
    };
    assert_eq!(one.probed(&anew(3.0, 1.0, 10.0)), State::Warming);
    assert_eq!(one.explain(), "warming (started 3s ago)");
    assert_eq!(one.tier(), Tier::Raw);
    // Warm enough by the clock; what it has is from before.
    assert_eq!(one.probed(&anew(40.0, 55.0, 10.0)), State::Warming);
    assert!(
        one.explain().contains("nothing was scraped since"),
        "{}",
        one.explain()
    );
    assert_eq!(one.probed(&anew(45.0, 3.0, 5.0)), State::Warming);
    assert!(
        one.explain().contains("5 targets: another one 10"),
        "{}",
        one.explain()
    );
    assert_eq!(one.probed(&anew(50.0, 3.0, 9.0)), State::Healthy);
    // Warm once is warm for good, whatever the others do.
    assert_eq!(one.probed(&anew(55.0, 3.0, 2.0)), State::Healthy);
}

#[test]
fn a_replica_that_scrapes_less_than_others_is_not_raw_for_ever() {
    let peers = Arc::default();
    let mut other = One::of(&peers);
    other.probed(&well(1e6));
    let mut one = One::of(&peers);
    let small = |uptime| {
        let targets = Some(2.0);
        Probed::Ready(Answer {
            targets,
            ..answer(uptime)
        })
    };
    assert_eq!(one.probed(&small(299.0)), State::Warming);
    assert_eq!(one.probed(&small(301.0)), State::Healthy);
}

#[test]
fn a_state_is_in_doubt_from_the_first_probe_that_says_otherwise_until_it_is_decided() {
    let mute = || Probed::Mute("it hangs".to_owned());
    let stale = || {
        let age = Some(600.0);
        Probed::Ready(Answer { age, ..answer(1e6) })
    };
    let mut one = One::alone();
    one.rules.rise = 3;
    for (outcome, state, in_doubt) in [
        (well(1e6), State::Healthy, false),
        (failed(), State::Healthy, true),
        (well(1e6), State::Healthy, false),
        (stale(), State::Healthy, true),
        (mute(), State::Degraded, false),
        (mute(), State::Degraded, false),
        (failed(), State::Degraded, true),
        (failed(), State::Down, false),
        (failed(), State::Down, false),
        (well(1e6), State::Down, true),
        (mute(), State::Down, true),
        (failed(), State::Down, false),
        (well(1e6), State::Down, true),
        (well(1e6), State::Down, true),
        (well(1e6), State::Healthy, false),
        (Probed::Unlinked(String::new()), State::Down, false),
        (Probed::NotReady(None), State::Starting, false),
        (Probed::Stopping, State::Stopping, false),
    ] {
        let found = (one.probed(&outcome), one.standing.is_in_doubt());
        assert_eq!(found, (state, in_doubt), "{outcome:?}");
    }
}

/// Case 59.
#[test]
fn a_lost_tunnel_is_down_at_once_and_no_restart() {
    let unlinked = Probed::Unlinked("the client went away".to_owned());
    for tells_its_start in [true, false] {
        let well = || {
            let mut answer = answer(1e6);
            answer.started = answer.started.filter(|_| tells_its_start);
            Probed::Ready(answer)
        };
        let mut one = One::alone();
        assert_eq!(one.probed(&well()), State::Healthy);
        for _ in 0..2 {
            assert_eq!(one.probed(&unlinked), State::Down);
            assert_eq!(one.tier(), Tier::Out);
        }
        assert_eq!(one.probed(&well()), State::Healthy, "the first good probe");
    }
}

#[test]
fn a_start_that_nobody_tells_is_counted_from_the_return() {
    let quiet = || {
        let started = None;
        Probed::Ready(Answer {
            started,
            ..answer(1e6)
        })
    };
    let mut one = One::alone();
    assert_eq!(one.probed(&quiet()), State::Healthy, "as it was found");
    one.probed(&failed());
    one.probed(&failed());
    one.probed(&quiet());
    assert_eq!(one.probed(&quiet()), State::Warming);
    for _ in 0..4 {
        assert_eq!(one.probed(&quiet()), State::Warming);
    }
    assert_eq!(one.probed(&quiet()), State::Healthy);
}

#[test]
fn failures_in_a_row_leave_it_alone_twice_as_long_each_time() {
    let peers = Arc::default();
    let mut other = One::of(&peers);
    other.probed(&well(1e6));
    let mut one = One::of(&peers);
    one.probed(&well(1e6));
    for expected in [10, 20, 40, 80, 160, 300, 300] {
        assert!(!one.failed() && !one.failed());
        assert_eq!(one.tier(), Tier::Good);
        assert!(one.failed(), "the third");
        assert_eq!(one.tier(), Tier::Apart);
        let until = one.standing.ejected_until.unwrap();
        assert_eq!(until - one.now, secs(expected));
        assert!(
            one.explain().contains("left alone for"),
            "{}",
            one.explain()
        );
        assert!(!one.failed(), "it is left alone already");
        one.now = until;
        assert_eq!(one.tier(), Tier::Good, "its time is over");
    }
    one.now += secs(600);
    assert!(!one.failed() && !one.failed() && one.failed());
    let until = one.standing.ejected_until.unwrap();
    assert_eq!(
        until - one.now,
        secs(10),
        "well for long, and so it starts anew"
    );
}

#[test]
fn an_answer_between_failures_starts_the_count_anew() {
    let peers = Arc::default();
    let mut other = One::of(&peers);
    other.probed(&well(1e6));
    let mut one = One::of(&peers);
    one.probed(&well(1e6));
    for _ in 0..10 {
        assert!(!one.failed() && !one.failed());
        assert!(one.standing.has_failed());
        one.standing.answered();
        assert!(!one.standing.has_failed());
    }
    assert_eq!(one.tier(), Tier::Good);
}

#[test]
fn the_last_healthy_one_is_never_left_alone() {
    let peers = Arc::default();
    let [mut one, mut other] = [One::of(&peers), One::of(&peers)];
    one.probed(&well(1e6));
    for _ in 0..10 {
        assert!(!one.failed(), "the other one is not known to be healthy");
    }
    other.probed(&well(1e6));
    assert!(one.failed());
    for _ in 0..10 {
        assert!(!other.failed(), "half of them are");
    }
    // The pool shrinks.
    drop(other);
    one.now += secs(1);
    let (rules, member, now) = (&one.rules, &one.member, one.now);
    assert!(one.standing.probed(&well(1e6), rules, member, now));
    assert_eq!(one.tier(), Tier::Good);
}

#[test]
fn what_is_learned_is_kept_until_it_is_said_anew() {
    let mut one = One::alone();
    one.probed(&well(500.0));
    let facts = |oldest| Facts {
        oldest,
        started: Some(1000.0),
        version: Some("2.42.0".into()),
        ..Facts::default()
    };
    assert!(one.standing.learned(facts(Some(900.0))));
    assert!(!one.standing.learned(facts(Some(905.0))), "numbers alone");
    assert_eq!(one.standing.data.history(), Some(595.0));
    one.probed(&failed());
    one.probed(&failed());
    assert_eq!(
        one.standing.data.history(),
        Some(595.0),
        "it has them still"
    );
    assert!(one.standing.learned(facts(None)));
    assert_eq!(one.standing.data.history(), None);
}
