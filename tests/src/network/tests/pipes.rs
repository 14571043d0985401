//! In memory: times are exact.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::time::{Instant, sleep, timeout};

use crate::network::link::pipes;
use crate::network::{BOTH, Cut, DOWN, Ended, Lane, Link, Plan, UP, Way};

const SECOND: Duration = Duration::from_secs(1);
const PIPE: usize = 1024;

fn up(lane: Lane) -> Plan {
    Plan {
        up: lane,
        ..Plan::default()
    }
}

fn plain() -> (DuplexStream, DuplexStream, Link) {
    pipes(PIPE, Plan::default())
}

async fn read(stream: &mut DuplexStream) -> Vec<u8> {
    let mut bytes = vec![0; 1 << 20];
    let n = stream.read(&mut bytes).await.unwrap();
    bytes.truncate(n);
    bytes
}

/// Whether nothing arrives, not even an end, for an hour.
async fn is_silent(stream: &mut DuplexStream) -> bool {
    timeout(3600 * SECOND, stream.read_u8()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn it_carries_both_ways_and_counts() {
    let (mut near, mut far, link) = plain();
    near.write_all(b"question").await.unwrap();
    assert_eq!(read(&mut far).await, b"question");
    far.write_all(b"yes").await.unwrap();
    assert_eq!(read(&mut near).await, b"yes");
    near.shutdown().await.unwrap();
    assert_eq!(read(&mut far).await, b"", "the end");
    far.write_all(b"and no").await.unwrap();
    assert_eq!(read(&mut near).await, b"and no", "the other way is open");
    drop(far);
    assert_eq!(read(&mut near).await, b"");
    assert_eq!(link.end().await, Ended::Closed);
    for (way, bytes) in [(Way::Up, 8), (Way::Down, 9)] {
        assert_eq!((link.taken(way), link.passed(way)), (bytes, bytes));
    }
}

#[tokio::test(start_paused = true)]
async fn a_delay_delays_every_byte_alike_and_can_be_changed() {
    let (mut near, mut far, link) = pipes(PIPE, Plan::each_way(Lane::delayed(SECOND)));
    let start = Instant::now();
    near.write_all(b"1").await.unwrap();
    sleep(SECOND / 2).await;
    near.write_all(b"2").await.unwrap();
    for (byte, millis) in [(b"1", 1000), (b"2", 1500)] {
        assert_eq!(read(&mut far).await, byte);
        assert_eq!(start.elapsed().as_millis(), millis);
    }
    far.write_all(b"3").await.unwrap();
    read(&mut near).await;
    assert_eq!(start.elapsed().as_millis(), 2500, "the way back as well");
    link.change(UP, |lane| lane.delay = Duration::ZERO);
    near.write_all(b"4").await.unwrap();
    read(&mut far).await;
    assert_eq!(start.elapsed().as_millis(), 2500);
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_kept_and_blocks_the_writer() {
    let (mut near, mut far, link) = pipes(PIPE, up(Lane::at_rate(100_000)));
    let start = Instant::now();
    let writing = tokio::spawn(async move {
        near.write_all(&[b'x'; 400_000]).await.unwrap();
        (start.elapsed(), near)
    });
    far.read_exact(&mut [0; 400_000]).await.unwrap();
    let took = start.elapsed().as_secs_f64();
    assert!((3.99..4.01).contains(&took), "{took} s");
    let (wrote, mut near) = writing.await.unwrap();
    // A router's buffer of 64 KiB, and what the pipes hold.
    assert!((3.2..3.6).contains(&wrote.as_secs_f64()), "{wrote:?}");

    let start = Instant::now();
    far.write_all(&[b'x'; 1000]).await.unwrap();
    read(&mut near).await;
    assert_eq!(start.elapsed(), Duration::ZERO, "the other way is free");
    link.change(UP, |lane| lane.rate = None);
    let (all, mut got) = (vec![b'x'; 400_000], vec![0; 400_000]);
    let (wrote, read) = tokio::join!(near.write_all(&all), far.read_exact(&mut got));
    wrote.unwrap();
    read.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO, "and so is this one now");
}

#[tokio::test(start_paused = true)]
async fn writes_are_split_and_joined() {
    let (mut near, mut far, link) = pipes(PIPE, up(Lane::in_pieces(3, SECOND)));
    let start = Instant::now();
    near.write_all(b"abcdefgh").await.unwrap();
    for (piece, seconds) in [(&b"abc"[..], 0), (b"def", 1), (b"gh", 2)] {
        assert_eq!(read(&mut far).await, piece);
        assert_eq!(start.elapsed().as_secs(), seconds);
    }
    sleep(SECOND).await;
    link.change(UP, |lane| *lane = Lane::gathering(SECOND));
    let start = Instant::now();
    for piece in [b"ab", b"cd", b"ef"] {
        near.write_all(piece).await.unwrap();
        sleep(SECOND / 4).await;
    }
    drop(near);
    assert_eq!(read(&mut far).await, b"abcdef");
    assert_eq!(start.elapsed(), SECOND * 3 / 4, "an end does not wait");
    assert_eq!(read(&mut far).await, b"");
}

#[tokio::test(start_paused = true)]
async fn a_stalled_way_blocks_its_writer_and_loses_nothing() {
    let (mut near, mut far, link) = plain();
    near.write_all(b"before").await.unwrap();
    assert_eq!(read(&mut far).await, b"before");
    link.stall(UP);
    let writing = near.write_all(&[b'x'; 4 * PIPE]);
    assert!(timeout(3600 * SECOND, writing).await.is_err(), "blocked");
    assert_eq!((link.taken(Way::Up), link.passed(Way::Up)), (6, 6));
    far.write_all(b"back").await.unwrap();
    assert_eq!(read(&mut near).await, b"back", "the other way passes");
    drop(near);
    assert!(is_silent(&mut far).await, "the end stalls too");
    link.resume(UP);
    let mut rest = Vec::new();
    far.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, [b'x'; PIPE], "what the pipe had taken");
}

#[tokio::test(start_paused = true)]
async fn what_was_under_way_stalls_too() {
    let (mut near, mut far, link) = pipes(PIPE, up(Lane::delayed(SECOND)));
    near.write_all(b"late").await.unwrap();
    sleep(SECOND / 2).await;
    link.stall(BOTH);
    far.write_all(b"later").await.unwrap();
    assert!(is_silent(&mut far).await && is_silent(&mut near).await);
    link.resume(DOWN);
    assert_eq!(read(&mut near).await, b"later");
    assert!(is_silent(&mut far).await);
    link.resume(UP);
    assert_eq!(read(&mut far).await, b"late");
}

#[tokio::test(start_paused = true)]
async fn a_way_that_swallows_takes_all_and_says_nothing_for_good() {
    let (mut near, mut far, link) = plain();
    link.swallow(UP);
    near.write_all(&[b'x'; 64 * PIPE]).await.unwrap();
    far.write_all(b"back").await.unwrap();
    assert_eq!(read(&mut near).await, b"back", "the other way passes");
    link.resume(UP);
    drop(near);
    assert!(is_silent(&mut far).await);
    assert_eq!(link.passed(Way::Up), 0);
    assert_eq!(link.taken(Way::Up), 64 * PIPE as u64);
    // What it had taken before vanishes as well.
    let (mut near, mut far, link) = pipes(PIPE, up(Lane::delayed(SECOND)));
    near.write_all(b"under way").await.unwrap();
    sleep(SECOND / 2).await;
    link.swallow(UP);
    assert!(is_silent(&mut far).await);
    // And neither end learns of the other's being gone.
    let (near, mut far, link) = plain();
    link.swallow(BOTH);
    drop(near);
    far.write_all(&[b'x'; 4 * PIPE]).await.unwrap();
    assert!(is_silent(&mut far).await);
    assert_eq!(link.ended(), None);
}

#[tokio::test(start_paused = true)]
async fn an_end_can_be_said_one_way_only() {
    let (mut near, mut far, link) = plain();
    near.write_all(b"all").await.unwrap();
    link.half_close(Way::Up);
    let mut all = Vec::new();
    far.read_to_end(&mut all).await.unwrap();
    far.write_all(b"answer").await.unwrap();
    assert_eq!(read(&mut near).await, b"answer");
    assert!(is_silent(&mut near).await, "the way back is open");
    assert!(link.ended().is_none());
    drop(far);
    assert_eq!(read(&mut near).await, b"");
    assert_eq!(link.end().await, Ended::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_cut_ends_both_sides_even_of_a_link_that_is_stalled() {
    for how in [Cut::Fin, Cut::Rst] {
        let (mut near, mut far, link) = plain();
        link.stall(BOTH);
        link.cut(how);
        assert_eq!(link.end().await, Ended::Cut);
        assert_eq!(
            (read(&mut near).await, read(&mut far).await),
            (vec![], vec![])
        );
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_is_idle_both_ways_is_cut() {
    let plan = Plan {
        idle: Some((2 * SECOND, Cut::Fin)),
        ..Plan::default()
    };
    let (mut near, mut far, link) = pipes(PIPE, plan);
    for _ in 0..10 {
        sleep(SECOND * 19 / 10).await;
        near.write_all(b"x").await.unwrap();
        read(&mut far).await;
        sleep(SECOND * 19 / 10).await;
        far.write_all(b"x").await.unwrap();
        read(&mut near).await;
    }
    assert_eq!(link.ended(), None);
    let idle = Instant::now();
    assert_eq!(
        (read(&mut near).await, read(&mut far).await),
        (vec![], vec![])
    );
    assert_eq!(idle.elapsed(), 2 * SECOND);
    assert_eq!(link.end().await, Ended::Idle);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_goes_while_written_to_ends_the_link_once_it_is_known() {
    let (near, mut far, link) = plain();
    link.stall(UP);
    drop(near);
    far.write_all(b"into nothing").await.unwrap();
    assert!(is_silent(&mut far).await, "the news stall");
    link.resume(UP);
    assert_eq!(read(&mut far).await, b"");
    assert_eq!(link.end().await, Ended::Reset);
}
