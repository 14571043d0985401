//! A client's tunnels: moved before they break, dialled again, and refused.

use std::net::SocketAddr;
use std::time::Duration;

use adit_common::tunnel::goodbye::{End, Farewell};
use adit_tests::binaries;
use adit_tests::metrics::Metrics;
use adit_tests::pair::{self, Client};
use adit_tests::scraper;
use adit_tests::scripted_proxy::{ScriptedProxy, ScriptedTunnel, text};
use adit_tests::target::answers::{chunk, head_of_chunks, metric, ok, whole};
use adit_tests::target::{Gate, Request, Step, Target};
use adit_tests::wait::{PATIENCE, eventually};
use tokio::time::{Instant, timeout};

const TARGET: &str = "http://pi:9100/metrics";

/// Half a body under `/slow`, and the rest when the gate opens; all of it elsewhere.
fn gated(gate: &Gate) -> Target {
    let gate = gate.clone();
    Target::start(move |request: &Request| match request.path() {
        "/slow" => vec![
            Step::send(head_of_chunks() + &chunk("one 1\n")),
            Step::Wait(gate.clone()),
            Step::send(chunk("two 2\n") + "0\r\n\r\n"),
            Step::Next,
        ],
        _ => ok(metric("quick")),
    })
}

/// The next tunnel, accepted.
async fn accepted(proxy: &ScriptedProxy) -> ScriptedTunnel {
    let mut tunnel = proxy.tunnel().await;
    tunnel.registration().await.expect("what is offered");
    tunnel.accept().await;
    tunnel
}

/// A series of the client's for that proxy.
async fn series(web: SocketAddr, name: &str, proxy: &ScriptedProxy) -> f64 {
    let series = format!("{name}{{proxy=\"{}\"}}", proxy.url());
    Metrics::of(web).await.series(&series)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_tunnel_is_there_before_the_last_one_is_closed() {
    let gate = Gate::default();
    let target = gated(&gate);
    let proxy = ScriptedProxy::start().await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = Client::launch(&[&proxy.url()], &[&flag]).await;
    let mut old = accepted(&proxy).await;
    pair::ready(client.web).await;
    let slow = old.begin("http://pi:9100/slow").await;
    target.nth_request(1).await;

    let asked = Instant::now();
    old.going_away().await;
    // Asked twice is asked once.
    old.going_away().await;
    let mut new = accepted(&proxy).await;
    assert!(asked.elapsed() < Duration::from_secs(5), "{asked:?}");
    eventually(PATIENCE, "both count", async || {
        let both = series(client.web, "adit_client_sessions", &proxy).await;
        if both == 2.0 {
            Ok(())
        } else {
            Err(format!("{both:?}"))
        }
    })
    .await;

    // Both serve, what was under way goes on, and the registration stays open.
    for tunnel in [&mut old, &mut new] {
        let (status, body) = tunnel.scrape(TARGET).await;
        assert_eq!((status.as_u16(), body), (200, metric("quick")));
        assert!(tunnel.is_open());
    }
    gate.open();
    assert_eq!(text(slow).await, "one 1\ntwo 2\n");
    old.close(Farewell::GoingAway, "the proxy is stopping")
        .await;
    scraper::page(client.web, "/-/ready").await.expect(200);
    assert_eq!(new.scrape(TARGET).await.0.as_u16(), 200);
    let moves = series(client.web, "adit_client_moves_total", &proxy).await;
    assert_eq!(moves, 1.0);

    // And no third: the end of the old one was no loss.
    let third = timeout(Duration::from_secs(2), proxy.tunnel()).await;
    assert!(third.is_err(), "{third:?}");
    client.stop().await;
    let end = new.closed().await;
    assert!(matches!(&end, End::Peer(said) if said.reason == "the client is stopping"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_stops_while_it_moves_closes_both_tunnels() {
    let proxy = ScriptedProxy::start().await;
    let client = Client::launch(&[&proxy.url()], &["--target=pi:9100"]).await;
    let mut old = accepted(&proxy).await;
    old.going_away().await;
    let new = accepted(&proxy).await;
    client.stop().await;
    for tunnel in [old, new] {
        let end = tunnel.closed().await;
        assert!(
            matches!(&end, End::Peer(said) if said.farewell == Farewell::GoingAway),
            "{end}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn there_are_never_more_than_two() {
    let gate = Gate::default();
    let target = gated(&gate);
    let proxy = ScriptedProxy::start().await;
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = Client::launch(&[&proxy.url()], &[&flag]).await;
    let mut first = accepted(&proxy).await;
    let slow = first.begin("http://pi:9100/slow").await;
    first.going_away().await;
    let mut second = accepted(&proxy).await;
    second.going_away().await;

    // The first makes room: nothing new is sent by it, and what is under way finishes.
    assert_eq!(first.registration().await, None);
    let third = timeout(Duration::from_secs(3), proxy.tunnel()).await;
    assert!(third.is_err(), "a third beside two");
    assert_eq!(second.scrape(TARGET).await.0.as_u16(), 200);
    gate.open();
    assert_eq!(text(slow).await, "one 1\ntwo 2\n");
    first.closed().await;
    let mut third = accepted(&proxy).await;
    assert_eq!(third.scrape(TARGET).await.0.as_u16(), 200);
    assert!(second.is_open());
    client.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_successor_does_not_listen_yet_the_old_tunnel_serves() {
    let proxy = ScriptedProxy::start().await;
    let target = Target::start(ok(metric("quick")));
    let flag = format!("--target=pi:9100=http://{}", target.address());
    let client = binaries::Client::launch(&proxy.url(), &[&flag]).await;
    let mut old = accepted(&proxy).await;
    let log = &client.program;
    log.line("msg=registered").await;
    old.going_away().await;
    let line = log.line("asks for the next tunnel").await;
    assert!(line.contains("level=info"), "{line}");
    // Nobody answers the next two upgrades.
    for attempt in 1..=2 {
        proxy.refuse("503 Service Unavailable").await;
        let lines = log.lines("no next tunnel yet", attempt).await;
        let line = &lines[attempt - 1];
        assert!(
            line.contains("503") && line.contains("level=info"),
            "{line}"
        );
        assert_eq!(old.scrape(TARGET).await.0.as_u16(), 200);
    }
    let _new = accepted(&proxy).await;
    log.lines("msg=registered", 2).await;
    old.close(Farewell::GoingAway, "the proxy is stopping")
        .await;
    let line = log.line("tunnel closed").await;
    assert!(line.contains("the proxy is stopping"), "{line}");
    assert!(!client.program.log().contains("level=warn"), "no failure");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_that_is_closed_or_cut_is_dialled_again_within_a_second() {
    let proxy = ScriptedProxy::start().await;
    let client = binaries::Client::launch(&proxy.url(), &["--target=pi:9100"]).await;
    let mut tunnel = accepted(&proxy).await;
    // A tunnel that does not even last a second is left to the back-off.
    let lives = Duration::from_millis(1100);
    for (index, (how, level)) in [
        ("close", "info"),
        ("finish", "info"),
        ("cut", "warn"),
        ("close", "info"),
    ]
    .into_iter()
    .enumerate()
    {
        tokio::time::sleep(lives).await;
        match how {
            "close" => tunnel.close(Farewell::GoingAway, "elsewhere").await,
            "finish" => tunnel.finish().await,
            _ => tunnel.cut().await,
        }
        let over = Instant::now();
        let lines = client.program.lines("tunnel ended", index + 1).await;
        let line = &lines[index];
        assert!(line.contains(&format!("level={level}")), "{how}: {line}");
        tunnel = accepted(&proxy).await;
        if how != "cut" {
            assert!(over.elapsed() < Duration::from_secs(2), "{how}: {over:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_not_let_in_says_so_after_each_reload_and_waits_long() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.yml");
    std::fs::write(&file, "targets: [{target: pi:9100}]\n").unwrap();
    let config = format!("--config.file={}", file.display());
    for (status, words) in [
        (401, "Unauthorized"),
        (403, "Forbidden"),
        (407, "Proxy Authentication Required"),
    ] {
        let proxy = Target::start(move |_: &Request| {
            let answer = String::from_utf8(whole("no token was given\nmore\n")).unwrap();
            let answer = answer.replacen("200 OK", &format!("{status} {words}"), 1);
            vec![Step::send(answer)]
        });
        let url = format!("http://{}", proxy.address());
        let client = binaries::Client::launch(&url, &[&config]).await;
        for attempt in 1..=2 {
            let lines = client.program.lines("does not let us in", attempt).await;
            let line = &lines[attempt - 1];
            for part in [
                "level=warn",
                &format!("status={status}"),
                "reason=\"no token was given\"",
                &format!("proxy={url}"),
            ] {
                assert!(line.contains(part), "{part} not in {line}");
            }
            let wait = line.split("retry_in=").nth(1).unwrap();
            let seconds: f64 = wait.split('s').next().unwrap().parse().unwrap();
            assert!((240.0..=360.0).contains(&seconds), "{line}");
            // Whoever puts the secret right tells the client, and does not wait.
            post(client.web, "/-/reload").await.expect(200);
        }
        assert_eq!(scraper::page(client.web, "/-/ready").await.head.status, 503);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_other_refusal_is_tried_again_soon() {
    let proxy = Target::start(|_: &Request| {
        vec![Step::send(
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n",
        )]
    });
    let url = format!("http://{}", proxy.address());
    let client = binaries::Client::launch(&url, &["--target=pi:9100"]).await;
    let lines = client.program.lines("msg=\"no tunnel\"", 2).await;
    assert!(lines.iter().all(|line| line.contains("502")), "{lines:?}");
}

/// Asks a page to do what it does.
pub(crate) async fn post(web: SocketAddr, path: &str) -> scraper::Answer {
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    scraper::send(web, request).await
}
