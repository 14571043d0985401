//! The course of one scrape: whatever happens to it, and in whatever order, it ends once, in one
//! way, and the first event that ends it decides which.

/// How a scrape ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Terminal {
    /// The target's answer was passed on whole, whatever its status.
    Answered,
    /// The target gave none, or broke it off; or its client would not ask it.
    TargetError,
    /// What carried the scrape ended first.
    CarrierLost,
    /// The scraper left.
    ScraperGone,
    /// Time was up.
    Deadline,
    /// It never had a carrier: nobody of that name, or more than we hold.
    Refused,
}

impl Terminal {
    /// All of them, for metrics.
    pub(crate) const ALL: [Self; 6] = [
        Self::Answered,
        Self::TargetError,
        Self::CarrierLost,
        Self::ScraperGone,
        Self::Deadline,
        Self::Refused,
    ];

    /// The word in metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::TargetError => "target-error",
            Self::CarrierLost => "carrier-lost",
            Self::ScraperGone => "scraper-gone",
            Self::Deadline => "deadline",
            Self::Refused => "refused",
        }
    }
}

/// What can happen to a scrape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Event {
    /// A carrier was found and has the request.
    Sent,
    /// The carrier gave it back: not a byte of it had left.
    Unsent,
    /// There is no carrier, or no room at it.
    Refused,
    /// The head of the target's answer came, and goes on to the scraper.
    Head,
    /// The client reported instead why there is none.
    Fault,
    /// The body is whole.
    End,
    /// The body ended too early, by the target's doing.
    BrokeOff,
    /// The carrier ended.
    Lost,
    /// The scraper left.
    Gone,
    /// Time is up.
    Expired,
}

/// What follows from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// It goes on.
    Continue,
    /// It starts anew, with another carrier.
    Again,
    /// It has just ended.
    End(Terminal),
    /// Too late, or never possible there: nothing follows.
    Nothing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Looking for a carrier, or waiting for one.
    Routing,
    /// With a carrier; the scraper has not a byte of an answer.
    Sent,
    /// The head was passed on: from here nothing can be taken back.
    Streaming,
    Over,
}

/// How far a scrape has come.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Course {
    state: State,
    /// Its method is safe (RFC 9110 §9.2.1) and all of it is at hand: it may be sent once more.
    repeatable: bool,
}

impl Course {
    /// Of a scrape that was just read.
    pub(crate) fn new() -> Self {
        Self {
            state: State::Routing,
            repeatable: false,
        }
    }

    /// It may be sent a second time when its carrier is lost.
    pub(crate) fn allow_repeating(&mut self) {
        self.repeatable = true;
    }

    /// Takes an event into account.
    pub(crate) fn on(&mut self, event: Event) -> Step {
        use Event as E;
        use State as S;
        use Terminal as T;
        match (self.state, event) {
            (S::Over, _) => Step::Nothing,
            (_, E::Gone) => self.end(T::ScraperGone),
            (_, E::Expired) => self.end(T::Deadline),
            (S::Routing, E::Sent) => self.go(S::Sent),
            (S::Routing, E::Refused) => self.end(T::Refused),
            (S::Sent, E::Unsent) => self.go(S::Routing),
            // Found, and then no room at it, or it cannot take such a request.
            (S::Sent, E::Refused) => self.end(T::Refused),
            (S::Sent, E::Head) => self.go(S::Streaming),
            (S::Sent, E::Fault | E::BrokeOff) => self.end(T::TargetError),
            (S::Sent, E::Lost) if self.repeatable => {
                self.repeatable = false;
                self.state = S::Routing;
                Step::Again
            }
            (S::Sent | S::Streaming, E::Lost) => self.end(T::CarrierLost),
            (S::Streaming, E::End) => self.end(T::Answered),
            (S::Streaming, E::BrokeOff) => self.end(T::TargetError),
            (S::Routing | S::Sent | S::Streaming, _) => Step::Nothing,
        }
    }

    fn go(&mut self, state: State) -> Step {
        self.state = state;
        Step::Continue
    }

    fn end(&mut self, terminal: Terminal) -> Step {
        self.state = State::Over;
        Step::End(terminal)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EVENTS: [Event; 10] = [
        Event::Sent,
        Event::Unsent,
        Event::Refused,
        Event::Head,
        Event::Fault,
        Event::End,
        Event::BrokeOff,
        Event::Lost,
        Event::Gone,
        Event::Expired,
    ];

    fn course(repeatable: bool) -> Course {
        let mut course = Course::new();
        if repeatable {
            course.allow_repeating();
        }
        course
    }

    fn run(repeatable: bool, events: &[Event]) -> Vec<Step> {
        let mut course = course(repeatable);
        events.iter().map(|event| course.on(*event)).collect()
    }

    #[test]
    fn what_ends_a_scrape_where() {
        use Event as E;
        use Terminal as T;
        for (events, repeatable, terminal) in [
            (&[E::Sent, E::Head, E::End][..], false, T::Answered),
            (
                &[E::Sent, E::Unsent, E::Sent, E::Head, E::End],
                false,
                T::Answered,
            ),
            (
                &[E::Sent, E::Lost, E::Sent, E::Head, E::End],
                true,
                T::Answered,
            ),
            (&[E::Sent, E::Lost], false, T::CarrierLost),
            (&[E::Sent, E::Lost, E::Sent, E::Lost], true, T::CarrierLost),
            (&[E::Sent, E::Head, E::Lost], true, T::CarrierLost),
            (&[E::Sent, E::Lost, E::Refused], true, T::Refused),
            (&[E::Sent, E::Fault], true, T::TargetError),
            (&[E::Sent, E::BrokeOff], true, T::TargetError),
            (&[E::Sent, E::Head, E::BrokeOff], true, T::TargetError),
            (&[E::Refused], false, T::Refused),
            (&[E::Gone], false, T::ScraperGone),
            (&[E::Sent, E::Head, E::Expired], false, T::Deadline),
        ] {
            let last = *run(repeatable, events).last().unwrap();
            assert_eq!(last, Step::End(terminal), "{events:?}");
        }
    }

    /// Every order of every selection of events, up to six of them: 187,300 courses.
    #[test]
    fn every_order_of_events_ends_at_most_once_and_the_first_end_stays() {
        let mut orders: Vec<Vec<Event>> = vec![vec![]];
        let mut seen = 0u32;
        while let Some(order) = orders.pop() {
            for repeatable in [false, true] {
                holds(repeatable, &order);
            }
            seen += 1;
            if order.len() < 6 {
                let rest = EVENTS.iter().filter(|event| !order.contains(event));
                orders.extend(rest.map(|event| [&order[..], &[*event]].concat()));
            }
        }
        assert_eq!(seen, 187_301);
    }

    /// What holds of every course.
    fn holds(repeatable: bool, events: &[Event]) {
        let steps = run(repeatable, events);
        let end = steps.iter().position(|step| matches!(step, Step::End(_)));
        if let Some(end) = end {
            let after = &steps[end + 1..];
            assert!(
                after.iter().all(|step| *step == Step::Nothing),
                "{events:?}"
            );
        }
        // Who left, or ran out of time, ends it wherever it is.
        let first = events
            .iter()
            .position(|event| matches!(event, Event::Gone | Event::Expired));
        if let Some(first) = first {
            assert!(end.is_some_and(|end| end <= first), "{events:?}");
        }
        let again: Vec<usize> = (0..steps.len())
            .filter(|n| steps[*n] == Step::Again)
            .collect();
        assert!(again.len() <= usize::from(repeatable), "{events:?}");
        let head =
            (0..steps.len()).find(|n| events[*n] == Event::Head && steps[*n] == Step::Continue);
        if let (Some(again), Some(head)) = (again.first(), head) {
            assert!(again < &head, "a byte had been passed on: {events:?}");
        }
        // An answer is only one that was asked for, begun and ended.
        if steps.contains(&Step::End(Terminal::Answered)) {
            assert!(
                head.is_some() && events.contains(&Event::Sent),
                "{events:?}"
            );
        }
    }

    proptest! {
        #[test]
        fn and_however_often_each_comes(
            repeatable: bool,
            events in proptest::collection::vec(proptest::sample::select(&EVENTS[..]), 0..40),
        ) {
            holds(repeatable, &events);
        }
    }
}
