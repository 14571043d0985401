//! b and c: targets whose answers come in many small pieces.

use http_body_util::channel::Channel;

use super::link::{WIDE, link};
use super::*;

/// A line of metrics, more or less.
const LINE: &[u8] = b"up{job=\"pi\"} 1.0000\n";

async fn over_wide_link<F>(settings: Settings, answer: F) -> Tunnel
where
    F: Fn(Request<Incoming>) -> Response<Answer> + Send + Sync + 'static,
{
    let (proxy, client, _, _) = link(WIDE, WIDE);
    Tunnel::open(settings, (proxy, client), answer).await
}

/// How many of a hundred scrapes a tunnel survives when each has ten empty pieces.
async fn scrapes_with_empty_pieces(settings: Settings) -> (Tunnel, usize) {
    let tunnel = over_wide_link(settings, move |_| {
        let piece = |n| Ok(Frame::data(if n < 10 { Bytes::new() } else { LINE.into() }));
        let body = StreamBody::new(stream::iter((0..=10).map(piece)));
        Response::new(settings.body(body))
    })
    .await;
    for survived in 0..100 {
        match tunnel.scrape("/empty").await {
            Ok(bytes) => assert_eq!(bytes, LINE.len()),
            Err(_) => return (tunnel, survived),
        }
    }
    (tunnel, 100)
}

#[tokio::test(start_paused = true)]
async fn b_the_101st_empty_frame() {
    let (mut tunnel, survived) = scrapes_with_empty_pieces(Defaults).await;
    assert_eq!(survived, 10);
    tunnel.assert_died("too_many_data_frames").await;

    let (tunnel, survived) = scrapes_with_empty_pieces(Ours).await;
    assert_eq!(survived, 100);
    tunnel.assert_alive().await;
}

/// A scrape of 20,000 lines, each a piece, that nobody reads yet.
async fn unread_lines(settings: Settings) -> (Tunnel, Incoming) {
    let tunnel = over_wide_link(settings, move |request| {
        Response::new(match request.uri().path() {
            "/lines" => settings.body(pieces(20_000, LINE)),
            _ => full(LINE),
        })
    })
    .await;
    let answer = tunnel.head(get("/lines")).await.unwrap();
    settle().await;
    (tunnel, answer.into_body())
}

#[tokio::test(start_paused = true)]
async fn c_small_frames_that_nobody_reads() {
    let (mut tunnel, body) = unread_lines(Defaults).await;
    tunnel.assert_died("too_many_data_frames").await;
    assert!(drain(body).await.is_err());

    let (tunnel, body) = unread_lines(Ours).await;
    tunnel.assert_alive().await;
    assert_eq!(drain(body).await.unwrap(), 20_000 * LINE.len());
    tunnel.assert_alive().await;
}

/// As many scrapes as the proxy lets run at once, all of targets that flush every line, one each
/// 50 ms for 20 s, and nobody reads them.
async fn unread_trickles(settings: Settings) -> (Tunnel, Vec<Incoming>) {
    let tunnel = over_wide_link(settings, move |request| {
        Response::new(match request.uri().path() {
            "/trickle" => settings.body(trickle()),
            _ => full(LINE),
        })
    })
    .await;
    let mut bodies = Vec::new();
    for _ in 0..128 {
        bodies.push(tunnel.head(get("/trickle")).await.unwrap().into_body());
    }
    tokio::time::sleep(Duration::from_secs(21)).await;
    (tunnel, bodies)
}

fn trickle() -> Channel<Bytes> {
    let (mut sender, body) = Channel::new(1);
    tokio::spawn(async move {
        for _ in 0..400 {
            if sender.send_data(LINE.into()).await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    body
}

#[tokio::test(start_paused = true)]
async fn c_small_frames_that_come_one_by_one() {
    let (mut tunnel, _bodies) = unread_trickles(Defaults).await;
    tunnel.assert_died("too_many_data_frames").await;

    let (tunnel, bodies) = unread_trickles(Ours).await;
    tunnel.assert_alive().await;
    for body in bodies {
        assert_eq!(drain(body).await.unwrap(), 400 * LINE.len());
    }
}
