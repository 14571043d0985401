//! d and g: scrapes that were cancelled, and what of them is still under way.

use super::link::{Lane, Switch, WIDE, link};
use super::*;

struct Scene {
    tunnel: Tunnel,
    to_client: Switch,
    to_proxy: Switch,
}

/// Answers `/large` with 64 KiB. Not coalesced in either run: this is about streams and not about
/// frames, and from 256 bytes on a frame is not one of row c.
fn answer(request: Request<Incoming>) -> Response<Answer> {
    Response::new(match request.uri().path() {
        "/large" => pieces(64, &[b'x'; 1024]).boxed_unsync(),
        "/open" => pending(),
        _ => full("ok"),
    })
}

/// A link with an uplink of 10 Mbit/s.
fn uplink() -> ((Socket, Socket), (Switch, Switch)) {
    let uplink = Lane {
        rate: Some(10_000_000 / 8),
        ..WIDE
    };
    let (proxy, client, to_client, to_proxy) = link(WIDE, uplink);
    ((proxy, client), (to_client, to_proxy))
}

impl Scene {
    async fn new(settings: Settings) -> Self {
        let (sockets, switches) = uplink();
        Self::with(Tunnel::open(settings, sockets, answer).await, switches)
    }

    /// With one number changed at the proxy's end.
    async fn but(settings: Settings, change: impl FnOnce(&mut proxy_side::Builder<Tasks>)) -> Self {
        let (sockets, switches) = uplink();
        let tunnel = match settings {
            Defaults => {
                let (mut proxy, client) = defaults();
                change(&mut proxy);
                Tunnel::over(sockets, Endings::default(), proxy, client, answer).await
            }
            Ours => {
                let mut proxy = settings::proxy_end(Tasks::default());
                change(&mut proxy);
                Tunnel::ours(sockets, proxy, answer).await
            }
        };
        Self::with(tunnel, switches)
    }

    /// The library allows itself 1024 resets in a connection's life. At a few dozen a second of the
    /// system's clock that would take too long here; and ours, a million, would hide the rest.
    async fn with_twenty_resets(settings: Settings) -> Self {
        Self::but(settings, |proxy| {
            proxy.max_local_error_reset_streams(20);
        })
        .await
    }

    fn with(tunnel: Tunnel, (to_client, to_proxy): (Switch, Switch)) -> Self {
        Self {
            tunnel,
            to_client,
            to_proxy,
        }
    }

    /// Starts so many scrapes and gives all of them up 50 ms later.
    async fn cancel(&self, scrapes: usize) {
        for _ in 0..scrapes {
            let scrape = self.tunnel.head(get("/large"));
            tokio::spawn(timeout(Duration::from_millis(50), scrape));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The client is suspended while the scrapes come and are given up. Then it has them all at once.
async fn cancelled_while_suspended(settings: Settings, scrapes: usize) -> (Tunnel, Incoming) {
    let scene = Scene::new(settings).await;
    let sibling = scene.tunnel.head(get("/open")).await.unwrap();
    scene.to_client.hold();
    scene.cancel(scrapes).await;
    scene.to_client.release();
    settle().await;
    (scene.tunnel, sibling.into_body())
}

#[tokio::test(start_paused = true)]
async fn d_cancelled_before_the_client_saw_them() {
    let (tunnel, _sibling) = cancelled_while_suspended(Defaults, 20).await;
    tunnel.assert_alive().await;
    let (mut tunnel, sibling) = cancelled_while_suspended(Defaults, 21).await;
    assert!(drain(sibling).await.is_err());
    tunnel.assert_died("ENHANCE_YOUR_CALM").await;

    let (tunnel, mut sibling) = cancelled_while_suspended(Ours, 200).await;
    tunnel.assert_alive().await;
    assert!(
        timeout(Duration::ZERO, sibling.frame()).await.is_err(),
        "still open"
    );
}

impl Scene {
    /// Gives scrapes up while their answers are under way: as many seconds of the uplink as there
    /// are score of scrapes, more or less.
    async fn cancel_in_flight(&self, scrapes: usize) {
        self.to_proxy.hold();
        self.cancel(scrapes).await;
        assert!(self.to_proxy.in_flight() >= scrapes * 64 * 1024);
    }

    /// Everything arrives.
    async fn release(&self) {
        self.to_proxy.release();
        tokio::time::sleep(Duration::from_secs(10)).await;
        assert_eq!(self.to_proxy.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn g_answers_that_arrive_after_their_stream_was_forgotten() {
    let mut with_defaults = Scene::with_twenty_resets(Defaults).await;
    let with_ours = Scene::with_twenty_resets(Ours).await;
    with_defaults.cancel_in_flight(40).await;
    with_ours.cancel_in_flight(40).await;
    // h2 reads the system's clock, which no runtime pauses, and remembers for a second.
    std::thread::sleep(Duration::from_millis(1050));
    with_defaults.release().await;
    with_defaults
        .tunnel
        .assert_died("too_many_internal_resets")
        .await;
    with_ours.release().await;
    with_ours.tunnel.assert_alive().await;
}

#[tokio::test(start_paused = true)]
async fn g_more_cancelled_streams_than_are_remembered() {
    // 50, however young the rest is: each of its frames is one of the 1024 resets.
    let mut scene = Scene::new(Defaults).await;
    scene.cancel_in_flight(75).await;
    scene.release().await;
    scene.tunnel.assert_died("too_many_internal_resets").await;

    let many_remembered = Scene::with_twenty_resets(Ours).await;
    let many_resets = Scene::but(Ours, |proxy| {
        proxy.max_concurrent_reset_streams(50);
    })
    .await;
    for scene in [many_remembered, many_resets] {
        scene.cancel_in_flight(75).await;
        scene.release().await;
        scene.tunnel.assert_alive().await;
    }
}
