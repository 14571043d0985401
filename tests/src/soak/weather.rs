//! What happens on the way from a client to a proxy: one fault after the other at every relay, with
//! fair weather between them, until there shall be calm.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::chance::Chance;
use super::world::World;
use crate::network::{BOTH, Cut, DOWN, Lane, Relay, UP, Way};

/// Seconds between two faults at one relay, on average. A client's back-off starts anew only after
/// a minute without trouble, and what never works finds no faults either.
const FAULT_EVERY: f64 = 45.0;
/// A connection is cut as idle after so long, while that is the weather: pings are further apart.
const IDLE: Duration = Duration::from_millis(300);

#[derive(Debug, Clone, Copy)]
enum Kind {
    Delay,
    Throttle,
    Split,
    Join,
    Stall,
    Swallow,
    HalfClose,
    Cut,
    IdleCut,
    Refuse,
    Away,
}

const KINDS: [(u32, Kind); 11] = [
    (10, Kind::Delay),
    (10, Kind::Throttle),
    (8, Kind::Split),
    (8, Kind::Join),
    (16, Kind::Stall),
    (10, Kind::Swallow),
    (10, Kind::HalfClose),
    (16, Kind::Cut),
    (4, Kind::IdleCut),
    (4, Kind::Refuse),
    (4, Kind::Away),
];

/// What becomes of a connection in which something was swallowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Silence {
    /// Its two ends must find out themselves.
    ForGood,
    /// It is reset, as by a kernel's keep-alive.
    FoundOut,
}

/// Makes the weather at one relay, which `who` and its proxy are the ends of.
pub(super) async fn keep(world: Arc<World>, who: String, relay: Arc<Relay>, silence: Silence) {
    let mut chance = world.chance(&format!("{who} weather"));
    loop {
        let next = sleep(chance.until_next(FAULT_EVERY));
        if world.calm.run_until_cancelled(next).await.is_none() {
            return;
        }
        let fault = Fault {
            world: &world,
            who: &who,
            relay: &relay,
            silence,
        };
        fault.pass(&mut chance).await;
        // What began is over in any case: what was swallowed or closed stays so.
        relay.change(BOTH, |lane| *lane = Lane::default());
        relay.resume(BOTH);
        relay.come_back().await;
        world.chronicle.note(&who, "fair weather");
    }
}

struct Fault<'a> {
    world: &'a World,
    who: &'a str,
    relay: &'a Relay,
    silence: Silence,
}

impl Fault<'_> {
    /// One fault, from its beginning until it shall end.
    async fn pass(&self, chance: &mut Chance) {
        let ways = *chance.pick(&[UP, DOWN, BOTH]);
        match chance.weighed(&KINDS) {
            Kind::Delay => {
                let delay = chance.time(0.02..0.4);
                self.lane("delay", BOTH, Lane::delayed(delay));
                self.last(chance.time(1.0..10.0)).await;
            }
            Kind::Throttle => {
                let rate = u32::try_from(chance.size(10_000..1_000_000)).unwrap_or(u32::MAX);
                self.lane("throttle", ways, Lane::at_rate(rate));
                self.last(chance.time(1.0..10.0)).await;
            }
            Kind::Split => {
                let pause = chance.time(0.0..0.002);
                let pieces = Lane::in_pieces(chance.size(1..1000), pause);
                self.lane("writes split", ways, pieces);
                self.last(chance.time(0.5..4.0)).await;
            }
            Kind::Join => {
                let gather = chance.time(0.002..0.1);
                self.lane("writes joined", ways, Lane::gathering(gather));
                self.last(chance.time(1.0..10.0)).await;
            }
            Kind::Stall => {
                self.begin("stall", format!("{ways:?} stall"));
                self.relay.stall(ways);
                self.last(chance.time(0.1..4.0)).await;
            }
            Kind::Swallow => {
                self.begin("swallow", format!("{ways:?} swallow"));
                self.relay.swallow(ways);
                self.last(chance.time(0.5..4.0)).await;
                if self.silence == Silence::FoundOut {
                    self.relay.cut(Cut::Rst);
                }
            }
            Kind::HalfClose => self.half_close(chance).await,
            Kind::Cut => self.cut(how(chance)),
            Kind::IdleCut => self.cut_idle(how(chance), chance.time(2.0..8.0)).await,
            Kind::Refuse => {
                self.relay.refuse().await;
                self.cut(how(chance));
                self.last(chance.time(0.2..5.0)).await;
            }
            Kind::Away => {
                self.relay.go_away().await;
                self.cut(how(chance));
                self.last(chance.time(0.2..5.0)).await;
            }
        }
    }

    fn begin(&self, kind: &str, what: String) {
        self.world.fault(self.who, kind, what);
    }

    async fn last(&self, time: Duration) {
        // Calm ends it sooner.
        let _ = self.world.calm.run_until_cancelled(sleep(time)).await;
    }

    fn lane(&self, kind: &str, ways: &[Way], lane: Lane) {
        self.begin(kind, format!("{ways:?} {lane:?}"));
        self.relay.change(ways, |now| *now = lane);
    }

    fn cut(&self, how: Cut) {
        self.begin(&format!("cut by {how:?}"), format!("cut {how:?}"));
        self.relay.cut(how);
    }

    async fn half_close(&self, chance: &mut Chance) {
        let way = *chance.pick(BOTH);
        self.begin("half-close", format!("{way:?} half-closed"));
        for link in self.open_links() {
            link.half_close(way);
        }
    }

    fn open_links(&self) -> Vec<crate::network::Link> {
        let links = self.relay.links().into_iter();
        links.filter(|link| link.ended().is_none()).collect()
    }

    /// Like a router with a short memory.
    async fn cut_idle(&self, how: Cut, time: Duration) {
        let kind = format!("idle cut by {how:?}");
        self.begin(
            &kind,
            format!("connections idle for {IDLE:?} are cut by {how:?}"),
        );
        let until = Instant::now() + time;
        while Instant::now() < until && !self.world.calm.is_cancelled() {
            for link in self.open_links() {
                let idle = BOTH.iter().map(|way| link.last_passed(*way).elapsed());
                if idle.min().is_some_and(|idle| idle >= IDLE) {
                    link.cut(how);
                    self.world.chronicle.note(self.who, "idle cut");
                }
            }
            sleep(IDLE / 10).await;
        }
    }
}

fn how(chance: &mut Chance) -> Cut {
    *chance.pick(&[Cut::Fin, Cut::Rst])
}
