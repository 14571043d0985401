use adit_common::tunnel::goodbye::Goodbye;

use super::*;
use crate::session::Stages;

fn said(farewell: Farewell) -> End {
    End::Peer(Goodbye::new(farewell, "words"))
}

#[tokio::test(start_paused = true)]
async fn how_soon_is_dialled_again_after_each_end() {
    let second = Duration::from_secs(1);
    for (end, range) in [
        (said(Farewell::GoingAway), Duration::ZERO..second),
        (End::Lost("reset".into()), Duration::ZERO..second),
        (End::Silent(second), Duration::ZERO..second),
        (said(Farewell::Other(1011)), Duration::ZERO..second),
        (said(Farewell::Replaced), 240 * second..361 * second),
        (said(Farewell::BadRegistration), 240 * second..361 * second),
        (said(Farewell::Denied), 240 * second..361 * second),
    ] {
        let accepted = Instant::now();
        tokio::time::advance(31 * second).await;
        for _ in 0..20 {
            let mut backoff = Backoff::default();
            for _ in 0..10 {
                backoff.next_wait();
            }
            let ended = Ended {
                end: end.clone(),
                accepted: Some(accepted),
            };
            let wait = wait_after(&ended, &mut backoff);
            assert!(range.contains(&wait), "{end}: {wait:?}");
        }
    }
}

fn keeper() -> Keeper {
    let args = ["--proxy-url=http://proxy", "--target=pi:9100"];
    let config = crate::Config::from_args(args).unwrap();
    let proxy = config.proxies[0].clone();
    let (client, _) = Client::new(config).unwrap();
    let slots = Arc::new(Semaphore::new(2));
    Keeper::new(client, proxy, CancellationToken::new(), slots)
}

fn stages() -> Stages {
    let gauge = prometheus::IntGauge::new("sessions", "Sessions.").unwrap();
    Stages::new(gauge, CancellationToken::new())
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_is_succeeded_when_the_next_is_accepted_and_not_before() {
    let mut keeper = keeper();
    let (old, new) = (stages(), stages());
    let (tunnel, _old_end) = Tunnel::for_tests(old.clone());
    old.accept();
    old.going_away().cancel();
    assert!(keeper.attend(tunnel).await.time <= Duration::from_secs(1));
    let (tunnel, new_end) = Tunnel::for_tests(new.clone());
    {
        let attending = keeper.attend(tunnel);
        tokio::pin!(attending);
        let mut while_attending = async |time| {
            let never = tokio::time::timeout(time, &mut attending).await;
            assert!(never.is_err(), "it serves on: {never:?}");
        };
        while_attending(Duration::from_secs(3600)).await;
        assert!(!old.succeeded().is_cancelled(), "the next may never be");
        new.accept();
        while_attending(Duration::from_secs(1)).await;
        assert!(old.succeeded().is_cancelled());
        assert!(!new.succeeded().is_cancelled());
        let end = End::Silent(Duration::from_secs(45));
        let accepted = new.accepted_at();
        new_end.send_replace(Some(Ended { end, accepted }));
        attending.await;
    }
    assert_eq!(
        keeper
            .client
            .metrics
            .moves
            .with_label_values(&["http://proxy"])
            .get(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_early_when_the_configuration_changes() {
    let mut keeper = keeper();
    let start = Instant::now();
    keeper.pause(REFUSED_WAIT.into()).await;
    assert_eq!(start.elapsed(), REFUSED_WAIT);
    let start = Instant::now();
    keeper.client.settings.send_modify(|_| {});
    keeper.pause(REFUSED_WAIT.into()).await;
    assert!(start.elapsed() <= AFTER_RELOAD, "{:?}", start.elapsed());
    // It does not lengthen one either.
    let start = Instant::now();
    keeper.client.settings.send_modify(|_| {});
    keeper.pause(Duration::ZERO.into()).await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_reason_is_news_until_something_changes_and_stays_known_to_who_asks() {
    let mut keeper = keeper();
    let denied = |reason: &str| Unopened::Denied {
        by: By::Proxy,
        status: http::StatusCode::FORBIDDEN,
        reason: reason.to_owned(),
    };
    for reason in ["no token", "no token", "wrong token"] {
        let wait = keeper.unopened(&denied(reason));
        assert!(wait.denied && wait.time > REFUSED_WAIT / 2);
        assert_eq!(keeper.denied.as_deref(), Some(reason));
    }
    let known = keeper.client.troubles.to_string();
    let expected = "http://proxy: the proxy answered 403 Forbidden: wrong token\n";
    assert_eq!(known, expected);
    keeper.client.settings.send_modify(|_| {});
    keeper.pause(REFUSED_WAIT.into()).await;
    assert_eq!(keeper.denied, None);

    let end = End::Peer(Goodbye::new(Farewell::Denied, "not your name"));
    let accepted = None;
    let wait = keeper.lost(&Ended { end, accepted });
    assert!(wait.denied);
    assert_eq!(keeper.denied.as_deref(), Some("not your name"));
    let stages = stages();
    let (tunnel, end) = Tunnel::for_tests(stages.clone());
    stages.accept();
    let attending = keeper.attend(tunnel);
    let second = tokio::time::timeout(Duration::from_secs(1), attending).await;
    assert!(second.is_err(), "it serves");
    assert_eq!(keeper.denied, None);
    assert_eq!(keeper.client.troubles.to_string(), "");
    drop(end);
}

#[test]
fn a_busy_proxy_is_obeyed_within_bounds() {
    let seconds = Duration::from_secs;
    for (after, least, most) in [
        (None, 0, 0),
        (Some(seconds(10)), 10, 12),
        (Some(seconds(u64::MAX)), 300, 360),
    ] {
        for _ in 0..100 {
            let wait = asked_wait(after);
            assert!(
                (seconds(least)..=seconds(most)).contains(&wait),
                "{after:?}: {wait:?}"
            );
        }
    }
}

#[test]
fn one_that_is_not_let_in_waits_about_five_minutes() {
    let waits: Vec<u64> = (0..1000).map(|_| refused_wait().as_secs()).collect();
    assert!(waits.iter().all(|wait| (240..=360).contains(wait)));
    assert!(waits.iter().any(|wait| *wait < 270) && waits.iter().any(|wait| *wait > 330));
}
