//! [`Patient`] over a pair of sockets, with a paused clock.

use std::time::Duration;

use adit_common::net::socket::Socket;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::Semaphore;

use super::*;
use crate::config::Limits;

fn patient() -> (Patient, UnixStream, Clock) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let clock = Clock::start(&Limits::default());
    let permit = Arc::new(Semaphore::new(1)).try_acquire_owned().unwrap();
    let metrics = Metrics::new().unwrap();
    let place = Place::take(permit, &metrics.connections);
    let places = (place, Arc::new(Entry::Exempt));
    let patient = Patient::new(
        Socket::Unix(ours).into(),
        clock.clone(),
        4096,
        &metrics,
        places,
    );
    (patient, theirs, clock)
}

fn reached(patient: &Patient, limit: &str) -> u64 {
    let counters = &patient.limits_reached;
    counters.with_label_values(&[limit]).get()
}

/// All that was written to a peer, once the socket is closed.
async fn heard(mut theirs: UnixStream) -> String {
    let mut text = String::new();
    theirs.read_to_string(&mut text).await.unwrap();
    text
}

async fn fails_after(patient: &mut Patient) -> Duration {
    let start = Instant::now();
    let mut byte = [0];
    loop {
        match patient.read(&mut byte).await {
            Ok(n) => assert_eq!(n, 1),
            Err(error) => {
                assert_eq!(error.kind(), io::ErrorKind::TimedOut);
                return start.elapsed();
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_connection_is_not_kept() {
    let (mut patient, theirs, _clock) = patient();
    assert_eq!(fails_after(&mut patient).await, Duration::from_secs(10));
    assert_eq!(reached(&patient, "head_time"), 1);
    drop(patient);
    // Whoever has not asked would take it for the answer to what they ask next.
    assert_eq!(heard(theirs).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_drips_is_cut_ten_seconds_after_its_first_byte() {
    let (mut patient, mut theirs, _clock) = patient();
    theirs.write_all(b"GET").await.unwrap();
    assert_eq!(fails_after(&mut patient).await, Duration::from_secs(10));
    assert_eq!(reached(&patient, "head_time"), 1);
    drop(patient);
    let text = heard(theirs).await;
    assert!(
        text.starts_with("HTTP/1.1 408 the request's head took longer than 10s (head_time)\r\n"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn nothing_is_said_between_the_bytes_of_an_answer() {
    let (mut patient, mut theirs, clock) = patient();
    // An answer that is not read, and the drip of a next head behind it.
    drop(clock.serve());
    theirs.write_all(b"GET").await.unwrap();
    assert_eq!(patient.read(&mut [0; 8]).await.unwrap(), 3);
    let answer = vec![b'a'; 16 << 20];
    let error = patient.write_all(&answer).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(reached(&patient, "head_time"), 1);
    drop(patient);
    let text = heard(theirs).await;
    assert!(text.bytes().all(|byte| byte == b'a'));
}

const HYPERS: &[u8] = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

#[tokio::test]
async fn an_answer_of_hypers_gets_words_and_a_targets_does_not() {
    for serving in [true, false] {
        let (mut patient, theirs, clock) = patient();
        let served = serving.then(|| clock.serve());
        patient.write_all(HYPERS).await.unwrap();
        patient.flush().await.unwrap();
        drop((patient, served));
        let text = heard(theirs).await;
        match serving {
            true => assert_eq!(text.as_bytes(), HYPERS),
            false => assert!(text.contains("larger than 4KiB (request_head)"), "{text}"),
        }
    }
}

#[tokio::test]
async fn words_that_are_not_read_at_once_come_whole() {
    let (mut patient, mut theirs, clock) = patient();
    let full = {
        let serving = clock.serve();
        let mut full = 0;
        let write = async |patient: &mut Patient| patient.write(&[b'a'; 4096]).await.unwrap();
        while let Ok(n) = tokio::time::timeout(Duration::from_millis(50), write(&mut patient)).await
        {
            full += n;
        }
        drop(serving);
        full
    };
    let writing = tokio::spawn(async move {
        patient.write_all(HYPERS).await.unwrap();
    });
    let mut before = vec![0; full];
    theirs.read_exact(&mut before).await.unwrap();
    let text = heard(theirs).await;
    writing.await.unwrap();
    assert!(
        text.starts_with("HTTP/1.1 431 the request's head"),
        "{text}"
    );
    assert_eq!(text.matches("HTTP/1.1").count(), 1);
    assert!(text.ends_with("fields\n"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn between_requests_a_connection_may_rest() {
    let (mut patient, _theirs, clock) = patient();
    drop(clock.serve());
    assert_eq!(fails_after(&mut patient).await, Duration::from_secs(360));
    assert_eq!(reached(&patient, "idle_time"), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_nobody_reads_ends_after_the_scrapes_deadline() {
    let (mut patient, _theirs, clock) = patient();
    let _serving = clock.serve();
    clock.extend(Instant::now() + Duration::from_secs(3));
    let start = Instant::now();
    let error = patient.write_all(&vec![0; 16 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), Duration::from_secs(4));
}

#[tokio::test(start_paused = true)]
async fn what_is_upgraded_keeps_its_own_time() {
    let (mut patient, mut theirs, clock) = patient();
    let serving = clock.serve();
    clock.upgraded();
    drop(serving);
    let late = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        theirs.write_all(b"x").await.unwrap();
        theirs
    });
    assert_eq!(patient.read(&mut [0]).await.unwrap(), 1);
    late.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_answered_and_is_not_read_has_the_time_of_a_page() {
    let (mut patient, _theirs, clock) = patient();
    drop(clock.serve());
    let start = Instant::now();
    let error = patient.write_all(&vec![0; 16 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    assert_eq!(reached(&patient, "page_time"), 1);
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_an_end_lasts_as_long_as_somebody_reads_it() {
    let (mut patient, mut theirs, clock) = patient();
    let _serving = clock.serve();
    clock.stream();
    let late = tokio::spawn(async move {
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(86_400)).await;
            theirs.write_all(b"x").await.unwrap();
        }
        theirs
    });
    for _ in 0..3 {
        patient.write_all(b"event").await.unwrap();
        assert_eq!(patient.read(&mut [0]).await.unwrap(), 1);
    }
    let _theirs = late.await.unwrap();
    let start = Instant::now();
    let error = patient.write_all(&vec![0; 16 << 20]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert_eq!(start.elapsed(), Duration::from_secs(30));
    assert_eq!(reached(&patient, "page_time"), 1);
}
