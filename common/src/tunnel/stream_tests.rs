//! [`TunnelStream`] against a plain WebSocket, or against bare bytes, at the other end of a pipe.

use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use proptest::prelude::*;
use tokio::io::{
    AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufStream, DuplexStream, ReadHalf,
    WriteHalf, duplex, split,
};
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};

use super::goodbye::{End, Ending, Farewell, Goodbye};
use super::rows::within;
use super::settings::MESSAGE_SIZE;
use super::stream::TunnelStream;
use super::watchdog::Liveness;

type Tunnel = TunnelStream<DuplexStream>;

async fn tunnel<S>(socket: S, role: Role) -> (TunnelStream<S>, Ending)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let ending = Ending::default();
    let traffic = Default::default();
    let liveness = Liveness::default();
    let tunnel = TunnelStream::new(socket, role, liveness, traffic, ending.clone());
    (tunnel.await, ending)
}

/// A client's stream and the WebSocket at its other end, over a pipe of so many bytes.
async fn with_peer(pipe: usize) -> (Tunnel, WebSocketStream<DuplexStream>, Ending) {
    let (ours, theirs) = duplex(pipe);
    let (tunnel, ending) = tunnel(ours, Role::Client).await;
    let peer = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
    (tunnel, peer, ending)
}

/// A proxy's stream and the bare pipe to it: what is written there is no WebSocket yet.
async fn with_pipe(pipe: usize) -> (Tunnel, DuplexStream, Ending) {
    let (ours, theirs) = duplex(pipe);
    let (tunnel, ending) = tunnel(ours, Role::Server).await;
    (tunnel, theirs, ending)
}

/// What arrives without anybody's doing more.
async fn next(peer: &mut WebSocketStream<DuplexStream>) -> Option<Message> {
    let arrived = timeout(Duration::ZERO, peer.next()).await.ok()?;
    Some(arrived.expect("open").unwrap())
}

/// What arrives when it does.
async fn wait(peer: &mut WebSocketStream<DuplexStream>) -> Message {
    within(peer.next()).await.expect("open").unwrap()
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

#[tokio::test(start_paused = true)]
async fn what_is_flushed_together_is_one_message() {
    let (mut tunnel, mut peer, _) = with_peer(1024).await;
    tunnel.write_all(b"frame head, ").await.unwrap();
    let payload = [
        std::io::IoSlice::new(b"pay"),
        std::io::IoSlice::new(b"load"),
    ];
    assert_eq!(tunnel.write_vectored(&payload).await.unwrap(), 7);
    assert_eq!(next(&mut peer).await, None, "not before the flush");
    tunnel.flush().await.unwrap();
    let message = Message::binary(&b"frame head, payload"[..]);
    assert_eq!(next(&mut peer).await, Some(message));
    // A flush of nothing is nothing.
    tunnel.flush().await.unwrap();
    assert_eq!(next(&mut peer).await, None);
}

#[tokio::test(start_paused = true)]
async fn large_writes_are_split() {
    let (mut tunnel, mut peer, _) = with_peer(1024 * 1024).await;
    let bytes: Vec<u8> = (0..200 * 1024).map(|n| (n % 251) as u8).collect();
    tunnel.write_all(&bytes).await.unwrap();
    tunnel.flush().await.unwrap();
    let mut received = Vec::new();
    for length in [MESSAGE_SIZE, MESSAGE_SIZE, MESSAGE_SIZE, 8 * 1024] {
        let message = next(&mut peer).await.unwrap().into_data();
        assert_eq!(message.len(), length);
        received.extend_from_slice(&message);
    }
    assert_eq!(received, bytes);
}

#[tokio::test(start_paused = true)]
async fn who_does_not_read_is_not_written_to() {
    const PIPE: usize = 4096;
    let (mut tunnel, mut peer, _) = with_peer(PIPE).await;
    let mut accepted = 0;
    while let Ok(wrote) = timeout(Duration::ZERO, tunnel.write(&[b'x'; 1000])).await {
        accepted += wrote.unwrap();
    }
    // One message in the WebSocket and the pipe, one that gathers.
    assert_eq!(accepted, 2 * MESSAGE_SIZE);

    // The blocked writer goes on when the peer reads.
    let writing = tokio::spawn(async move {
        tunnel.write_all(&[b'x'; MESSAGE_SIZE]).await.unwrap();
        tunnel.flush().await.unwrap();
    });
    let mut received = 0;
    while received < 3 * MESSAGE_SIZE {
        received += wait(&mut peer).await.len();
    }
    within(writing).await.unwrap();
    assert_eq!(received, 3 * MESSAGE_SIZE);
}

/// What one end writes: pieces, and whether each is flushed.
fn pieces() -> impl Strategy<Value = Vec<(Vec<u8>, bool)>> {
    let piece = prop::collection::vec(any::<u8>(), 0..300);
    prop::collection::vec((piece, any::<bool>()), 0..12)
}

async fn write(mut tunnel: WriteHalf<Tunnel>, pieces: &[(Vec<u8>, bool)]) {
    for (piece, flush) in pieces {
        tunnel.write_all(piece).await.unwrap();
        if *flush {
            tunnel.flush().await.unwrap();
        }
    }
    tunnel.flush().await.unwrap();
}

async fn read(mut tunnel: ReadHalf<Tunnel>, length: usize, at_once: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buf = vec![0; at_once];
    while bytes.len() < length {
        let n = tunnel.read(&mut buf).await.unwrap();
        bytes.extend_from_slice(&buf[..n]);
    }
    bytes
}

fn joined(pieces: &[(Vec<u8>, bool)]) -> Vec<u8> {
    pieces
        .iter()
        .flat_map(|(piece, _)| piece)
        .copied()
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    /// Eight bytes are less than a WebSocket frame's head with its mask.
    #[test]
    fn bytes_arrive_both_ways_through_an_eight_byte_pipe(
        up in pieces(),
        down in pieces(),
        at_once in 1usize..100,
    ) {
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        let (sent_up, sent_down) = (joined(&up), joined(&down));
        let (got_up, got_down) = runtime.block_on(async {
            let (client, proxy) = duplex(8);
            let (client, _) = tunnel(client, Role::Client).await;
            let (proxy, _) = tunnel(proxy, Role::Server).await;
            let (client_read, client_write) = split(client);
            let (proxy_read, proxy_write) = split(proxy);
            let all = async {
                tokio::join!(
                    read(proxy_read, sent_up.len(), at_once),
                    read(client_read, sent_down.len(), at_once),
                    write(client_write, &up),
                    write(proxy_write, &down),
                )
            };
            // Well before a ping, whose bytes would wake what is stuck.
            let (up, down, (), ()) = timeout(seconds(1), all).await.unwrap();
            (up, down)
        });
        prop_assert_eq!(got_up, sent_up);
        prop_assert_eq!(got_down, sent_down);
    }
}

#[tokio::test(start_paused = true)]
async fn text_is_not_our_protocol() {
    let (mut tunnel, mut peer, ending) = with_peer(1024).await;
    peer.send(Message::text("hello")).await.unwrap();
    let error = within(tunnel.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
    assert!(matches!(ending.end(), Some(End::Protocol(_))), "{ending:?}");
}

#[tokio::test(start_paused = true)]
async fn a_close_frame_ends_it_with_the_peers_words() {
    let (mut tunnel, mut peer, ending) = with_peer(1024).await;
    peer.send(Message::binary(&b"last"[..])).await.unwrap();
    let frame = CloseFrame {
        code: CloseCode::from(4409),
        reason: "another pi took the name".into(),
    };
    peer.close(Some(frame)).await.unwrap();
    let mut bytes = Vec::new();
    within(tunnel.read_to_end(&mut bytes)).await.unwrap();
    assert_eq!(bytes, b"last");
    let goodbye = Goodbye::new(Farewell::Replaced, "another pi took the name");
    assert_eq!(ending.end(), Some(&End::Peer(goodbye)));
}

#[tokio::test(start_paused = true)]
async fn a_cut_connection_is_lost_without_a_word() {
    let (mut tunnel, peer, ending) = with_peer(1024).await;
    drop(peer);
    let error = within(tunnel.read(&mut [0; 8])).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    assert_eq!(
        ending.end(),
        Some(&End::Lost("closed without a word".into()))
    );
}

#[tokio::test(start_paused = true)]
async fn shutting_down_says_our_goodbye_and_waits_a_second_for_silence() {
    for role in [Role::Client, Role::Server] {
        let (ours, theirs) = duplex(1024);
        let (mut tunnel, ending) = tunnel(ours, role).await;
        tunnel.write_all(b"unflushed").await.unwrap();
        ending.say(Goodbye::new(Farewell::BadRegistration, "no name in it"));
        let start = Instant::now();
        // Nobody at the other end reads, and so nobody answers.
        within(tunnel.shutdown()).await.unwrap();
        assert_eq!(start.elapsed(), seconds(1));

        let other = match role {
            Role::Client => Role::Server,
            Role::Server => Role::Client,
        };
        let mut peer = WebSocketStream::from_raw_socket(theirs, other, None).await;
        let message = Message::binary(&b"unflushed"[..]);
        assert_eq!(next(&mut peer).await, Some(message));
        let frame = CloseFrame {
            code: CloseCode::from(4400),
            reason: "no name in it".into(),
        };
        assert_eq!(next(&mut peer).await, Some(Message::Close(Some(frame))));
    }
}

#[tokio::test(start_paused = true)]
async fn shutting_down_hears_the_reason_that_comes_behind_the_end() {
    let (mut tunnel, mut peer, ending) = with_peer(1024).await;
    let saying = tokio::spawn(async move {
        sleep(Duration::from_millis(900)).await;
        let frame = CloseFrame {
            code: CloseCode::from(4409),
            reason: "another pi took the name".into(),
        };
        peer.close(Some(frame)).await.unwrap();
        peer
    });
    within(tunnel.shutdown()).await.unwrap();
    let goodbye = Goodbye::new(Farewell::Replaced, "another pi took the name");
    assert_eq!(ending.end(), Some(&End::Peer(goodbye)));
    saying.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutting_down_after_the_peers_reason_waits_for_nothing() {
    let (mut tunnel, mut peer, ending) = with_peer(1024).await;
    ending.note(End::Protocol("nonsense".into()));
    let start = Instant::now();
    within(tunnel.shutdown()).await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(next(&mut peer).await, Some(Message::Close(None)));
}

#[tokio::test(start_paused = true)]
async fn a_goodbye_is_over_when_the_peer_has_closed() {
    let (mut tunnel, mut peer, ending) = with_peer(1024).await;
    ending.say(Goodbye::new(Farewell::GoingAway, "stopping"));
    // What it had on its way is read, and read away.
    peer.send(Message::binary(&b"on its way"[..]))
        .await
        .unwrap();
    let start = Instant::now();
    let closing = tokio::spawn(async move {
        // Reading the Close frame answers it, and the end of the stream sends the answer.
        while let Some(Ok(_)) = peer.next().await {}
    });
    within(tunnel.shutdown()).await.unwrap();
    closing.await.unwrap();
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// Sends every byte back, until the tunnel ends; what it ended with, and when.
async fn echo(mut tunnel: Tunnel) -> (std::io::Error, Instant) {
    let mut byte = [0];
    loop {
        let read = tunnel.read_exact(&mut byte).await;
        if let Err(error) = read {
            return (error, Instant::now());
        }
        tunnel.write_all(&byte).await.unwrap();
        tunnel.flush().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_pinged_and_pings_are_answered() {
    let (tunnel, mut peer, _) = with_peer(1024).await;
    let start = Instant::now();
    tokio::spawn(echo(tunnel));
    // The answer leaves at the next poll of the peer, and resets the clock.
    for at in [15, 30] {
        let message = wait(&mut peer).await;
        assert_eq!(message, Message::Ping(Bytes::new()));
        assert_eq!(start.elapsed(), seconds(at));
        assert_eq!(next(&mut peer).await, None);
    }
    // So do bytes that come and go.
    sleep(seconds(10)).await;
    peer.send(Message::binary(&b"x"[..])).await.unwrap();
    let echoed = wait(&mut peer).await;
    assert_eq!(echoed, Message::binary(&b"x"[..]));
    let message = wait(&mut peer).await;
    assert_eq!(message, Message::Ping(Bytes::new()));
    assert_eq!(start.elapsed(), seconds(30 + 10 + 15));
    // And the other way round, while nothing is written.
    peer.send(Message::Ping(b"are you there?"[..].into()))
        .await
        .unwrap();
    let message = wait(&mut peer).await;
    assert_eq!(message, Message::Pong(b"are you there?"[..].into()));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_ends_it_at_a_read() {
    let (tunnel, mut pipe, ending) = with_pipe(1024).await;
    let start = Instant::now();
    let echoing = tokio::spawn(echo(tunnel));
    sleep(seconds(40)).await;
    // Not even a frame's head: any byte is a sign of life.
    pipe.write_all(b"\x82").await.unwrap();
    let (error, at) = within(echoing).await.unwrap();
    assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
    assert_eq!(at - start, seconds(40 + 45));
    assert_eq!(ending.end(), Some(&End::Silent(seconds(45))));
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_ends_it_at_a_blocked_write_or_flush() {
    for length in [1, MESSAGE_SIZE, 4 * MESSAGE_SIZE] {
        let (mut tunnel, _pipe, ending) = with_pipe(2).await;
        let start = Instant::now();
        let bytes = vec![b'x'; length];
        let written = within(tunnel.write_all(&bytes)).await;
        let error = match written {
            Ok(()) => within(tunnel.flush()).await.unwrap_err(),
            Err(error) => error,
        };
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed(), seconds(45));
        assert_eq!(ending.end(), Some(&End::Silent(seconds(45))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_peer_ends_it_at_a_blocked_shutdown() {
    // Before it is the Close frame, which alone has two bytes: nothing, what gathers, what waits
    // in the WebSocket.
    for (length, flush) in [(0, false), (1, false), (1, true), (MESSAGE_SIZE + 1, false)] {
        let (mut tunnel, _pipe, ending) = with_pipe(1).await;
        let start = Instant::now();
        tunnel.write_all(&vec![b'x'; length]).await.unwrap();
        if flush {
            let blocked = timeout(Duration::ZERO, tunnel.flush()).await;
            assert!(blocked.is_err());
        }
        let error = within(tunnel.shutdown()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
        assert_eq!(start.elapsed().as_secs(), 45);
        assert_eq!(ending.end(), Some(&End::Silent(seconds(45))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_ping_leaves_though_http2_flushes_nothing() {
    let (ours, theirs) = duplex(1024);
    // As TLS does, this socket keeps what is written until a flush.
    let (mut tunnel, _) = tunnel(BufStream::new(ours), Role::Client).await;
    tokio::spawn(async move { tunnel.read(&mut [0]).await });
    let mut peer = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
    assert_eq!(wait(&mut peer).await, Message::Ping(Bytes::new()));
}
