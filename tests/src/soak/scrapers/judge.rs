//! What an answer is worth.

use std::io::Read as _;
use std::time::{Duration, Instant};

use flate2::read::GzDecoder;

use super::exchange::{Exchange, Form, Outcome};
use crate::scraper::{Answer, End};
use crate::soak::body::{self, FIELD, Flaw, Label};
use crate::soak::proxies::DEFAULT_TIMEOUT;
use crate::soak::tally::Violation;
use crate::soak::world::{Done, World};

/// How much later than its deadline an answer may end.
pub(super) const MARGIN: Duration = Duration::from_millis(500);
/// A machine that was so late at anything meanwhile is not relied on.
const MACHINE_LATE: Duration = Duration::from_millis(150);

/// How a scrape ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// With an answer of its target, whole; what kind of.
    Answered(String),
    /// Otherwise; why.
    Failed(String),
    /// With what nobody can tell from a failure, or by the scraper's own doing.
    Excused(String),
    /// As it must not.
    Violated(Violation, String),
}

/// Of the answer itself.
pub(super) fn verdict(world: &World, exchange: &Exchange, done: &[Done]) -> Verdict {
    let answer = match &exchange.outcome {
        Outcome::NoConnection(error) => {
            return Verdict::Failed(format!("no connection: {:?}", error.kind()));
        }
        Outcome::Left => return Verdict::Excused("left by the scraper".into()),
        Outcome::Endless if exchange.order.rate.is_some() || is_unbounded(exchange) => {
            return Verdict::Excused("given up by a slow scraper, or in a CONNECT".into());
        }
        Outcome::Endless => return Verdict::Failed("no end".into()),
        Outcome::Answer(answer) => answer,
    };
    if let End::Cut(_) = &answer.end {
        let by = match answer.head.status {
            0 if exchange.again => "cut before the head, by a kept connection".into(),
            0 => "cut before the head".into(),
            status => format!("cut behind a head with {}", class(status)),
        };
        return Verdict::Failed(by);
    }
    if let Some(ours) = answer.head.field("proxy-status") {
        let place = &world.places[exchange.order.place];
        if answer.head.status == 501 && place.only_by.is_some() {
            return Verdict::Excused("a CONNECT to a PushProx client, which has none".into());
        }
        let error = ours.split("error=").nth(1).unwrap_or("");
        let error = error.split(';').next().unwrap_or("");
        return Verdict::Failed(format!("{} {error}", answer.head.status));
    }
    of_target(world, exchange, answer, done)
}

/// Of an answer that is whole by HTTP, and not one of a proxy's own.
fn of_target(world: &World, exchange: &Exchange, answer: &Answer, done: &[Done]) -> Verdict {
    let order = &exchange.order;
    let place = &world.places[order.place];
    let label = answer
        .head
        .field(FIELD)
        .and_then(|text| Label::parse(&text));
    let Some(label) = label else {
        let words = format!("nobody says who answered: {:?}", answer.head.raw);
        return Verdict::Violated(Violation::Garbled, words);
    };
    if label.request != order.number || !place.may_be(&label.target, exchange.began, exchange.ended)
    {
        let asked = format!("{} was asked for by request {}", place.id, order.number);
        return Verdict::Violated(Violation::WrongTarget, format!("{asked}, {label} answered"));
    }
    let status = answer.head.status;
    let answered = match status {
        200 => "200".to_owned(),
        _ => format!("another status of its target, {}", class(status)),
    };
    if order.method == "HEAD" || matches!(status, 204 | 304) {
        return Verdict::Answered(answered);
    }
    match check(answer, &label) {
        Ok(()) => Verdict::Answered(answered),
        Err(Flaw::Wrong(words)) => Verdict::Violated(Violation::WrongTarget, words),
        Err(Flaw::Garbled(words)) => Verdict::Violated(Violation::Garbled, words),
        Err(Flaw::Short(words)) => match nobody_can_tell(world, exchange, answer, done) {
            Some(why) => Verdict::Excused(why.into()),
            None => Verdict::Violated(Violation::ShortSuccess, words),
        },
    }
}

/// Why what is short could not be told from what is whole.
fn nobody_can_tell(
    world: &World,
    exchange: &Exchange,
    answer: &Answer,
    done: &[Done],
) -> Option<&'static str> {
    if answer.end != End::UntilClose {
        return None;
    }
    let (from, until) = (exchange.began, exchange.ended);
    if world.was_killed(exchange.order.proxy, from, until) {
        // The kernel says FIN for whoever is killed.
        return Some("until close, of a proxy that was killed");
    }
    // hyper's raw streams have no end but a good one: that a target broke off does not cross the
    // tunnel. In TLS, which is what CONNECT is for, the scraper sees it all the same.
    let place = [world.places[exchange.order.place].id.clone()];
    let by_target = done.iter().any(|done| !done.plain)
        || !world.chronicle.is_quiet(&place, until, until - from);
    let in_connect = exchange.order.form == Form::Connect;
    (in_connect && by_target).then_some("until close, broken off by its target in a CONNECT")
}

fn check(answer: &Answer, label: &Label) -> Result<(), Flaw> {
    if answer.head.field("content-encoding").as_deref() != Some("gzip") {
        return body::check(&answer.body, label);
    }
    let mut plain = Vec::new();
    let unpacked = GzDecoder::new(&answer.body[..]).read_to_end(&mut plain);
    // What is there is looked at first: it may be somebody else's.
    body::check(&plain, label)?;
    let whole = unpacked.map_err(|error| Flaw::Short(format!("of its gzip: {error}")))?;
    match whole == plain.len() {
        true => Ok(()),
        false => Err(Flaw::Garbled("more behind its gzip".into())),
    }
}

/// Why an answer was too late, if it was and nobody else is to blame.
pub(super) fn late(world: &World, exchange: &Exchange) -> Option<Verdict> {
    let order = &exchange.order;
    if order.rate.is_some() || order.leaves.is_some() {
        return None;
    }
    let by = match (order.form, exchange.opened) {
        // What follows has no deadline but the scraper's.
        (Form::Connect, Some(opened)) => opened - exchange.began,
        _ => exchange.ended - exchange.began,
    };
    let limit = match order.form {
        Form::Connect => DEFAULT_TIMEOUT,
        Form::Absolute | Form::Old | Form::Path => order.deadline,
    };
    if by <= limit + MARGIN || matches!(exchange.outcome, Outcome::NoConnection(_)) {
        world.tally.late(by.saturating_sub(limit));
        return None;
    }
    let lag = world.lag.worst(exchange.began, exchange.ended);
    if lag > MACHINE_LATE {
        return Some(Verdict::Excused("late, and so was this machine".into()));
    }
    let head = exchange.came.first.map(|at| since(exchange.began, at));
    let last = exchange.came.last.map(|at| since(exchange.began, at));
    let words = format!(
        "deadline {limit:?}, ended after {by:?} (first byte after {head:?}, last after {last:?}; \
         this machine was late by {lag:?} at most)"
    );
    Some(Verdict::Violated(Violation::AfterDeadline, words))
}

/// A CONNECT that is open.
fn is_unbounded(exchange: &Exchange) -> bool {
    exchange.order.form == Form::Connect && exchange.opened.is_some()
}

fn since(from: Instant, at: Instant) -> Duration {
    at.saturating_duration_since(from)
}

fn class(status: u16) -> String {
    format!("{}xx", status / 100)
}
