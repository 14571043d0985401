//! Messages that are larger than any of ours.

use futures_util::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::goodbye::{End, Ending, Farewell};
use super::rows::within;
use super::settings::MAX_MESSAGE;
use super::stream::TunnelStream;
use super::watchdog::Liveness;

/// The head of a masked binary frame (RFC 6455 §5.2), whose mask changes nothing.
fn head(first: u8, length: usize) -> Vec<u8> {
    let mut head = vec![first, 0x80 | 127];
    head.extend((length as u64).to_be_bytes());
    head.extend([0; 4]);
    head
}

const ALONE: u8 = 0x82;
const FIRST: u8 = 0x02;
const LAST: u8 = 0x80;

/// Writes these bytes to a proxy's stream; gives how its read ended, and what it said.
async fn told(bytes: Vec<u8>) -> (std::io::Result<usize>, Ending, Option<Message>) {
    let (ours, mut theirs) = duplex(4 << 20);
    let ending = Ending::default();
    let liveness = Liveness::default();
    let traffic = Default::default();
    let mut tunnel = TunnelStream::new(ours, Role::Server, liveness, traffic, ending.clone()).await;
    theirs.write_all(&bytes).await.unwrap();
    let mut buffer = vec![0; 2 * MAX_MESSAGE];
    let read = within(tunnel.read(&mut buffer)).await;
    // As hyper leaves it: nothing is shut down.
    drop(tunnel);
    let mut peer = WebSocketStream::from_raw_socket(theirs, Role::Client, None).await;
    let said = within(peer.next()).await.and_then(Result::ok);
    (read, ending, said)
}

#[tokio::test(start_paused = true)]
async fn the_largest_message_is_read() {
    let mut bytes = head(ALONE, MAX_MESSAGE);
    bytes.extend(vec![7; MAX_MESSAGE]);
    let (read, ending, said) = told(bytes).await;
    assert_eq!(read.unwrap(), MAX_MESSAGE);
    assert_eq!((ending.end(), said), (None, None));
}

#[tokio::test(start_paused = true)]
async fn a_larger_one_ends_the_tunnel_and_is_told_so() {
    // Said by its head alone, before any of it is held; and by the second frame of it.
    let declared = head(ALONE, MAX_MESSAGE + 1);
    let mut gathered = head(FIRST, MAX_MESSAGE);
    gathered.extend(vec![7; MAX_MESSAGE]);
    gathered.extend(head(LAST, 1));
    gathered.push(7);
    for bytes in [declared, head(ALONE, 1 << 62), gathered] {
        let (read, ending, said) = told(bytes).await;
        assert_eq!(read.unwrap_err().kind(), std::io::ErrorKind::InvalidData);
        let Some(End::Own(goodbye)) = ending.end() else {
            panic!("{ending:?}");
        };
        assert_eq!(goodbye.farewell, Farewell::TooBig);
        let Some(Message::Close(Some(frame))) = said else {
            panic!("{said:?}");
        };
        assert_eq!(frame.code, CloseCode::Size);
        assert_eq!(
            frame.reason.as_str(),
            "a message over 1048576 bytes (tunnel_message)"
        );
    }
}
