//! Which address of a name answers first: the race of RFC 8305.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tokio::time::{Instant, sleep_until};

/// RFC 8305's "Connection Attempt Delay" at its recommended value.
const STAGGER: Duration = Duration::from_millis(250);

/// Staggered, sixteen are all under way within four seconds; a name with more is a load balancer's,
/// and any of its addresses will do.
const MAX_ADDRESSES: usize = 16;

/// What a failed dial comes down to, where the addresses of a name failed in different ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DialFailure {
    /// The name could not be resolved, in time or at all.
    Dns,
    /// No address of the name may be dialled.
    Forbidden,
    /// Somebody said no, and nobody was still being waited for.
    Refused,
    /// The deadline came, or the kernel's own patience ended, before some address had answered.
    TimedOut,
    /// No route, no permission, no such socket file.
    Unreachable,
}

pub(super) const NO_ANSWER: &str = "no answer in time";

/// The order of attempts (RFC 8305, 4): each address once, families in turn, each family in the
/// resolver's own order, which is RFC 6724's.
pub(super) fn in_turn(mut addresses: Vec<SocketAddr>, prefer: Option<IpAddr>) -> Vec<SocketAddr> {
    let preferred = prefer.and_then(|ip| addresses.iter().position(|one| one.ip() == ip));
    if let Some(at) = preferred {
        addresses[..=at].rotate_right(1);
    }
    let ipv6_leads = preferred.is_none() || addresses[0].is_ipv6();
    let (leading, other): (Vec<_>, Vec<_>) = addresses
        .into_iter()
        .partition(|one| one.is_ipv6() == ipv6_leads);
    let (mut leading, mut other) = (leading.into_iter(), other.into_iter());
    let mut ordered = Vec::new();
    while leading.len() + other.len() > 0 {
        for one in leading.next().into_iter().chain(other.next()) {
            if !ordered.contains(&one) {
                ordered.push(one);
            }
        }
    }
    ordered.truncate(MAX_ADDRESSES);
    ordered
}

/// Runs `connect` on `addresses` in order, staggered, until one succeeds or the deadline comes. The
/// other attempts are dropped before this returns. The error is one for a `DialError`.
pub(super) async fn race<S, F>(
    addresses: &[SocketAddr],
    deadline: Instant,
    connect: impl Fn(SocketAddr) -> F,
) -> Result<(S, SocketAddr), (DialFailure, String)>
where
    F: Future<Output = io::Result<S>>,
{
    let mut outcomes: Vec<Option<io::Error>> = addresses.iter().map(|_| None).collect();
    let mut waiting = addresses.iter().copied().enumerate();
    let mut running = FuturesUnordered::new();
    let mut next_start = Instant::now();
    loop {
        if (running.is_empty() || Instant::now() >= next_start)
            && let Some((index, address)) = waiting.next()
        {
            let attempt = connect(address);
            running.push(async move { (index, attempt.await) });
            next_start = Instant::now() + STAGGER;
        }
        tokio::select! {
            // An answer that is there counts, also at the deadline.
            biased;
            ended = running.next() => match ended {
                Some((index, Ok(stream))) => return Ok((stream, addresses[index])),
                Some((index, Err(error))) => {
                    outcomes[index] = Some(error);
                    next_start = Instant::now();
                }
                None => break,
            },
            () = sleep_until(next_start), if waiting.len() > 0 => {}
            () = sleep_until(deadline) => break,
        }
    }
    let started = addresses.len() - waiting.len();
    Err(failure(addresses, &outcomes, started))
}

/// What to say when `outcomes` is all there is; `None` in the first `started` of them is an attempt
/// that was still waiting.
fn failure(
    addresses: &[SocketAddr],
    outcomes: &[Option<io::Error>],
    started: usize,
) -> (DialFailure, String) {
    let mut kinds = Vec::new();
    let mut reasons = Vec::new();
    for (index, (address, outcome)) in addresses.iter().zip(outcomes).enumerate() {
        let (kind, reason) = match outcome {
            Some(error) => (kind_of(error), super::in_words(error)),
            None if index < started => (DialFailure::TimedOut, NO_ANSWER.to_owned()),
            None => (DialFailure::TimedOut, "not tried in time".to_owned()),
        };
        kinds.push(kind);
        reasons.push(match addresses {
            [_] => reason,
            _ => format!("{}: {reason}", address.ip()),
        });
    }
    let kind = [DialFailure::TimedOut, DialFailure::Refused]
        .into_iter()
        .find(|kind| kinds.contains(kind))
        .unwrap_or(DialFailure::Unreachable);
    (kind, reasons.join("; "))
}

pub(super) fn kind_of(error: &io::Error) -> DialFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialFailure::Refused,
        io::ErrorKind::TimedOut => DialFailure::TimedOut,
        _ => DialFailure::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Mutex;

    use tokio::io::{AsyncReadExt as _, DuplexStream, duplex};
    use tokio::time::timeout_at;

    use super::*;

    fn addresses(ips: &str) -> Vec<SocketAddr> {
        let parse = |ip: &str| SocketAddr::new(ip.parse().expect(ip), 80);
        ips.split_whitespace().map(parse).collect()
    }

    fn after(millis: u64) -> Instant {
        Instant::now() + Duration::from_millis(millis)
    }

    #[test]
    fn families_take_turns() {
        for (resolved, prefer, order) in [
            ("1.0.0.1 1.0.0.2 ::1 ::2", None, "::1 1.0.0.1 ::2 1.0.0.2"),
            ("1.0.0.1 1.0.0.2 1.0.0.3", None, "1.0.0.1 1.0.0.2 1.0.0.3"),
            ("::1 ::2 ::3 1.0.0.1", None, "::1 1.0.0.1 ::2 ::3"),
            ("::1 1.0.0.1 ::1", None, "::1 1.0.0.1"),
            (
                "::1 ::2 1.0.0.1 1.0.0.2",
                Some("1.0.0.2"),
                "1.0.0.2 ::1 1.0.0.1 ::2",
            ),
            (
                "::1 ::2 1.0.0.1 1.0.0.2",
                Some("::2"),
                "::2 1.0.0.1 ::1 1.0.0.2",
            ),
            ("::1 1.0.0.1", Some("1.0.0.9"), "::1 1.0.0.1"),
            ("", Some("::1"), ""),
        ] {
            let prefer = prefer.map(|ip| ip.parse().expect(ip));
            assert_eq!(
                in_turn(addresses(resolved), prefer),
                addresses(order),
                "{resolved}"
            );
        }
        let many = (0..40)
            .map(|n| SocketAddr::from(([10, 0, 0, n], 80)))
            .collect();
        assert_eq!(in_turn(many, None).len(), MAX_ADDRESSES);
    }

    /// Races with a connector that hangs, or refuses where `refused` says so; gives the starting
    /// times in milliseconds and what was said at the end.
    async fn lost_race(ips: &str, refused: &str, limit: u64) -> (Vec<u64>, DialFailure, String) {
        let refused = addresses(refused);
        let begun = Instant::now();
        let starts = Mutex::new(Vec::new());
        let connect = |address| {
            let at = u64::try_from(begun.elapsed().as_millis()).expect("a short test");
            starts.lock().expect("not poisoned").push(at);
            let refuses = refused.contains(&address);
            async move {
                if refuses {
                    return Err(io::ErrorKind::ConnectionRefused.into());
                }
                pending::<io::Result<()>>().await
            }
        };
        let lost = race(&addresses(ips), after(limit), connect).await;
        let (kind, reason) = lost.expect_err("nobody answers");
        (starts.into_inner().expect("not poisoned"), kind, reason)
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_staggered_and_the_deadline_names_them_all() {
        let (starts, kind, reason) = lost_race("::1 1.0.0.1 ::2 1.0.0.2", "", 600).await;
        assert_eq!(starts, [0, 250, 500]);
        assert_eq!(kind, DialFailure::TimedOut);
        assert_eq!(
            reason,
            "::1: no answer in time; 1.0.0.1: no answer in time; ::2: no answer in time; \
             1.0.0.2: not tried in time"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_starts_the_next_at_once() {
        let (starts, kind, reason) = lost_race("::1 1.0.0.1 ::2", "::1 1.0.0.1 ::2", 600).await;
        assert_eq!(starts, [0, 0, 0]);
        assert_eq!(kind, DialFailure::Refused);
        assert!(reason.ends_with("; ::2: connection refused"), "{reason}");

        let (starts, kind, _) = lost_race("::1 1.0.0.1 ::2", "1.0.0.1", 600).await;
        assert_eq!(starts, [0, 250, 250]);
        assert_eq!(kind, DialFailure::TimedOut);
    }

    /// A connector whose attempts hold one end of a pipe each: IPv6 for ever, IPv4 answers.
    fn holding(
        pipes: &Mutex<Vec<Option<DuplexStream>>>,
    ) -> impl Fn(SocketAddr) -> std::pin::Pin<Box<dyn Future<Output = io::Result<DuplexStream>>>>
    {
        move |address| {
            let held = pipes.lock().expect("not poisoned").pop().flatten();
            Box::pin(async move {
                let held = held.ok_or(io::ErrorKind::NotFound)?;
                if address.is_ipv6() {
                    pending::<()>().await;
                }
                Ok(held)
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn losers_are_closed_before_the_winner_is_handed_over() {
        let (winner, _far) = duplex(8);
        let (loser, mut far_of_loser) = duplex(8);
        let pipes = Mutex::new(vec![Some(winner), Some(loser)]);
        let won = race(&addresses("::1 1.0.0.1"), after(5000), holding(&pipes)).await;
        let (_stream, address) = won.expect("IPv4 answers");
        assert!(address.is_ipv4());
        assert_eof(&mut far_of_loser).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_dropped_dial_closes_its_attempts() {
        let (loser, mut far) = duplex(8);
        let pipes = Mutex::new(vec![Some(loser)]);
        let alone = addresses("::1");
        let dialling = race(&alone, after(5000), holding(&pipes));
        timeout_at(after(100), dialling)
            .await
            .expect_err("it hangs");
        assert_eof(&mut far).await;
    }

    async fn assert_eof(far: &mut DuplexStream) {
        let mut byte = [0];
        let read = timeout_at(after(1000), far.read(&mut byte)).await;
        assert_eq!(read.expect("closed at once").expect("an end"), 0);
    }
}
