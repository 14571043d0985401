//! Who scrapes: some dozens, each one scrape after the other, at either proxy, in every form, with
//! deadlines and habits of their own.
//!
//! [`exchange`] is one scrape, over a [`stream`] that knows when bytes came; [`judge`] holds its
//! answer against what was asked for.

mod exchange;
mod judge;
mod stream;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::chance::Chance;
use super::tally::{Part, Violation, say};
use super::world::{Done, World};

use self::exchange::{Exchange, Form, Kept, Order, Outcome};
use self::judge::{MARGIN, Verdict};

/// Longest rest between two scrapes of one scraper, in seconds.
const REST: f64 = 0.8;
/// How much longer than its deadline and the margin a scraper waits, to see whether what is late
/// comes at all.
const BEYOND: Duration = Duration::from_secs(3);
/// A slow scraper reads for longer than its deadline.
const SLOW_BEYOND: Duration = Duration::from_secs(10);
/// Where nothing was done for so long, nothing is an excuse: a client's longest back-off.
const NO_EXCUSE: Duration = Duration::from_secs(40);
/// Failures without an excuse that are shown.
const SHOWN: u64 = 20;

/// What all scrapers share.
#[derive(Debug)]
pub(super) struct Scrapers {
    world: Arc<World>,
    next: AtomicU64,
    unexplained: AtomicU64,
}

impl Scrapers {
    pub(super) fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self {
            world: Arc::clone(world),
            next: AtomicU64::new(1),
            unexplained: AtomicU64::new(0),
        })
    }

    /// One scraper, until `stop`; the scrape under way is finished.
    pub(super) async fn keep(self: Arc<Self>, number: usize, stop: CancellationToken) {
        let mut chance = self.world.chance(&format!("scraper {number}"));
        let mut kept: HashMap<usize, Kept> = HashMap::new();
        while !stop.is_cancelled() {
            let order = self.draw(&mut chance);
            let proxy = order.proxy;
            let by = match order.rate.is_none() && order.form != Form::Connect {
                true => kept.remove(&proxy),
                false => None,
            };
            let (exchange, left) = self.exchange(order, by).await;
            self.judge(&exchange);
            kept.extend(left.map(|left| (proxy, left)));
            let _ = stop
                .run_until_cancelled(sleep(chance.time(0.0..REST)))
                .await;
        }
    }

    /// One scrape as plain as can be of a target by a proxy; what is wrong with it, if anything is.
    pub(super) async fn plain(&self, place: usize, proxy: usize, path: bool) -> Option<String> {
        let order = Order {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            place,
            proxy,
            form: if path { Form::Path } else { Form::Absolute },
            method: "GET",
            gzip: true,
            deadline: Duration::from_secs(5),
            leaves: None,
            rate: None,
            keep: false,
        };
        let (exchange, _) = self.exchange(order, None).await;
        match self.judge(&exchange) {
            Verdict::Answered(_) => None,
            other => Some(format!("{other:?}: {}", told(&exchange.outcome))),
        }
    }

    fn draw(&self, chance: &mut Chance) -> Order {
        let world = &self.world;
        let place = chance.number(0..world.places.len());
        let proxy = chance.number(0..world.proxies.len());
        let only_by = world.places[place].only_by;
        let form = chance.weighed(&[
            (55, Form::Absolute),
            (8, Form::Old),
            (22, Form::Path),
            (15, Form::Connect),
        ]);
        // PushProx's clients have no CONNECT; it is asked for now and then all the same.
        let form = match (form, only_by) {
            (Form::Connect, Some(_)) if chance.often(0.8) => Form::Absolute,
            _ => form,
        };
        let deadline = chance.time(0.2..5.0);
        let leaves = chance.often(0.08).then(|| chance.time(0.0..1.0));
        let rate = chance.often(0.06).then(|| chance.size(5_000..500_000));
        Order {
            number: self.next.fetch_add(1, Ordering::Relaxed),
            place,
            proxy: only_by.unwrap_or(proxy),
            form,
            method: chance.weighed(&[(83, "GET"), (5, "HEAD"), (12, "POST")]),
            // Without it the released PushProx client asks for it by itself, and passes what it could
            // unpack of a cut body on as if it were all.
            gzip: only_by.is_some() || chance.often(0.7),
            deadline,
            leaves,
            rate: rate.map(|rate| u32::try_from(rate).unwrap_or(u32::MAX)),
            keep: chance.often(0.7) && form != Form::Old,
        }
    }

    async fn exchange(&self, order: Order, kept: Option<Kept>) -> (Exchange, Option<Kept>) {
        let proxy = self.world.proxies[order.proxy];
        let authority = self.world.places[order.place].authority();
        let patience = match (order.rate, order.form) {
            (Some(_), _) => order.deadline + SLOW_BEYOND,
            // Nobody else ends it.
            (None, Form::Connect) => order.deadline.max(super::proxies::DEFAULT_TIMEOUT) + BEYOND,
            (None, _) => order.deadline + MARGIN + BEYOND,
        };
        exchange::exchange(order, proxy, &authority, kept, patience).await
    }

    fn judge(&self, exchange: &Exchange) -> Verdict {
        let done = self.world.ledger.take(exchange.order.number);
        let verdict = judge::verdict(&self.world, exchange, &done);
        self.count(exchange, &verdict, &done);
        if let Some(late) = judge::late(&self.world, exchange) {
            self.count(exchange, &late, &done);
        }
        if exchange.order.method == "POST" && done.len() > 1 {
            let words = "a POST came to its target more than once".to_owned();
            let asked_twice = Verdict::Violated(Violation::AskedTwice, words);
            self.count(exchange, &asked_twice, &done);
        }
        verdict
    }

    fn count(&self, exchange: &Exchange, verdict: &Verdict, done: &[Done]) {
        let tally = &self.world.tally;
        match verdict {
            Verdict::Answered(how) => tally.count(Part::Answered, how),
            Verdict::Excused(why) => tally.count(Part::Excused, why),
            Verdict::Failed(why) => {
                tally.count(Part::Failed, why);
                self.explain(exchange, why, done);
            }
            Verdict::Violated(violation, words) => {
                let place = &self.world.places[exchange.order.place];
                let whom = self.world.concerned(place, exchange.order.proxy);
                let details = format!("  {words}\n{}", self.details(exchange, done));
                let from = exchange.began;
                self.world.violation(*violation, &whom, from, &details);
            }
        }
    }

    /// A scrape that failed although nobody had done anything to anybody who has to do with it.
    fn explain(&self, exchange: &Exchange, why: &str, done: &[Done]) {
        let world = &self.world;
        let place = &world.places[exchange.order.place];
        let whom = world.concerned(place, exchange.order.proxy);
        let quiet = world.chronicle.is_quiet(&whom, exchange.ended, NO_EXCUSE);
        let plain = done.iter().all(|done| done.plain);
        let lag = world.lag.worst(exchange.began, exchange.ended);
        // One that has no time to speak of needs no other excuse.
        let hasty = exchange.order.deadline < Duration::from_secs(1);
        if quiet && plain && !hasty && lag < Duration::from_millis(500) {
            world.tally.count(Part::Unexplained, why);
            if self.unexplained.fetch_add(1, Ordering::Relaxed) < SHOWN {
                let details = self.details(exchange, done);
                say(&format!("UNEXPLAINED: {why}\n{details}"));
            }
        }
    }

    fn details(&self, exchange: &Exchange, done: &[Done]) -> String {
        let chronicle = &self.world.chronicle;
        let place = &self.world.places[exchange.order.place];
        let mut text = format!(
            "  {} of {} at p{}: {:?}\n  from {:.3}s to {:.3}s; {}\n",
            exchange.order.method,
            place.authority(),
            exchange.order.proxy,
            exchange.order,
            chronicle.seconds(exchange.began),
            chronicle.seconds(exchange.ended),
            told(&exchange.outcome),
        );
        for done in done {
            let at = chronicle.seconds(done.at);
            text.push_str(&format!("  the target at {at:.3}s: {}\n", done.what));
        }
        text
    }
}

/// An answer in words, without its body.
fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Answer(answer) => format!(
            "{} bytes behind {:?}, {:?}",
            answer.body.len(),
            answer.head.raw,
            answer.end
        ),
        other => format!("{other:?}"),
    }
}
