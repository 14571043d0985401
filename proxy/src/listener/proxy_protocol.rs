//! The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.9/doc/proxy-protocol.txt): what a load
//! balancer that passes bytes writes before them.
//!
//! Read from trusted proxies alone. They need not write it: what begins otherwise is given back.

use std::io;
use std::net::SocketAddr;

use adit_common::net::socket::Socket;
use bytes::{Bytes, BytesMut};
use ppp::{v1, v2};
use tokio::io::AsyncReadExt as _;

const V1: &[u8] = b"PROXY ";
/// The longest line of version 1, with its end.
const V1_MOST: usize = 107;
/// Before the addresses: the signature, what it is, and how long the rest.
const V2_HEAD: usize = 16;
/// The longest header: addresses, and what else is known, such as the names in a certificate.
const MOST: usize = 4096;

/// What bytes at the start of a connection are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// A header, or something else: more will tell.
    Short,
    /// No header.
    Other,
    /// One of so many bytes, and for whom; nobody, when the proxy asks for itself or does not know.
    Header(usize, Option<SocketAddr>),
    /// One that is malformed.
    Malformed,
}

/// Reads the header if there is one, and gives the socket with all that follows it.
///
/// # Errors
/// When it ends, breaks, or the header is none.
pub(super) async fn read(mut socket: Socket) -> io::Result<(Socket, Option<SocketAddr>)> {
    let mut buffer = BytesMut::new();
    loop {
        if buffer.len() == buffer.capacity() {
            // Few are longer than the first.
            buffer.reserve(if buffer.is_empty() { 256 } else { MOST });
        }
        let read = socket.read_buf(&mut buffer).await?;
        match start(&buffer) {
            Start::Short if read == 0 => return Ok((socket.again(buffer.freeze()), None)),
            Start::Short => {}
            Start::Other => return Ok((socket.again(kept(&buffer)), None)),
            Start::Header(length, source) => {
                return Ok((socket.again(kept(&buffer[length..])), source));
            }
            Start::Malformed => {
                let words = "the PROXY header is malformed";
                return Err(io::Error::new(io::ErrorKind::InvalidData, words));
            }
        }
    }
}

/// No more memory than it needs: it may wait long for whoever reads it.
fn kept(bytes: &[u8]) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

pub(crate) fn start(bytes: &[u8]) -> Start {
    let begins = |signature: &[u8]| {
        let both = bytes.len().min(signature.len());
        bytes[..both] == signature[..both]
    };
    if begins(V1) {
        first_version(bytes)
    } else if begins(v2::PROTOCOL_PREFIX) {
        second_version(bytes)
    } else {
        Start::Other
    }
}

fn first_version(bytes: &[u8]) -> Start {
    let within = &bytes[..bytes.len().min(V1_MOST)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return match within.len() < V1_MOST {
            true => Start::Short,
            false => Start::Malformed,
        };
    };
    let length = end + 1;
    let Ok(header) = v1::Header::try_from(&bytes[..length]) else {
        return Start::Malformed;
    };
    let source = match header.addresses {
        v1::Addresses::Tcp4(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Tcp6(ip) => Some((ip.source_address, ip.source_port).into()),
        v1::Addresses::Unknown => None,
    };
    Start::Header(length, source)
}

fn second_version(bytes: &[u8]) -> Start {
    let Some(head) = bytes.get(..V2_HEAD) else {
        return Start::Short;
    };
    let length = V2_HEAD + usize::from(u16::from_be_bytes([head[14], head[15]]));
    if length > MOST {
        return Start::Malformed;
    }
    let Some(bytes) = bytes.get(..length) else {
        return Start::Short;
    };
    let Ok(header) = v2::Header::try_from(bytes) else {
        return Start::Malformed;
    };
    let source = match (header.command, header.addresses) {
        // Such as a health check of its own.
        (v2::Command::Local, _) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(ip)) => {
            Some((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(ip)) => {
            Some((ip.source_address, ip.source_port).into())
        }
        (v2::Command::Proxy, v2::Addresses::Unix(_) | v2::Addresses::Unspecified) => None,
    };
    Start::Header(length, source)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::UnixStream;

    use super::*;

    /// A header of version 2.
    fn second(command: u8, family: u8, payload: &[u8]) -> Vec<u8> {
        let mut header = v2::PROTOCOL_PREFIX.to_vec();
        header.extend([0x20 | command, family]);
        header.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
        header.extend(payload);
        header
    }

    const IPV4: [u8; 12] = [192, 0, 2, 7, 10, 0, 0, 1, 0x13, 0x88, 0x1f, 0x90];

    fn ipv6() -> Vec<u8> {
        let source: std::net::Ipv6Addr = "2001:db8::1".parse().unwrap();
        let mut payload = source.octets().to_vec();
        payload.extend([0; 16]);
        payload.extend([0x13, 0x88, 0x1f, 0x90]);
        payload
    }

    fn headers() -> Vec<(Vec<u8>, Option<&'static str>)> {
        let with_more = [&IPV4[..], &[0x04, 0, 1, 42]].concat();
        vec![
            (
                b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 8080\r\n".to_vec(),
                Some("192.0.2.7:5000"),
            ),
            (
                b"PROXY TCP6 2001:db8::1 ::1 5000 8080\r\n".to_vec(),
                Some("[2001:db8::1]:5000"),
            ),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n".to_vec(), None),
            (second(1, 0x11, &IPV4), Some("192.0.2.7:5000")),
            (second(1, 0x11, &with_more), Some("192.0.2.7:5000")),
            (second(1, 0x21, &ipv6()), Some("[2001:db8::1]:5000")),
            (second(0, 0x11, &IPV4), None),
            (second(0, 0x00, &[]), None),
            (second(1, 0x00, &[]), None),
            (second(1, 0x31, &[7; 216]), None),
        ]
    }

    #[test]
    fn each_prefix_of_a_header_is_short_and_what_follows_does_not_matter() {
        for (header, source) in headers() {
            let source = source.map(|source| source.parse().unwrap());
            let whole = Start::Header(header.len(), source);
            for end in 0..header.len() {
                assert_eq!(start(&header[..end]), Start::Short, "{end} of {header:?}");
            }
            let mut more = header.clone();
            for _ in 0..3 {
                assert_eq!(start(&more), whole, "{header:?}");
                more.extend(b"GET / HTTP/1.1\r\n\r\n");
            }
        }
    }

    #[test]
    fn requests_and_handshakes_are_no_headers() {
        for bytes in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"POST /poll HTTP/1.1\r\n",
            b"PROPFIND / HTTP/1.1\r\n",
            b"PROXYING / HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\0",
            b"\r\nGET / HTTP/1.1\r\n",
            b"\r\n\r\n\0\r\nQUIT\r",
        ] {
            assert_eq!(start(bytes), Start::Other, "{bytes:?}");
        }
    }

    #[test]
    fn what_is_malformed_is_not_guessed_at() {
        let long = [b"PROXY TCP4 ", &[b'1'; 100][..]].concat();
        let mut version = second(1, 0x11, &IPV4);
        version[12] = 0x11;
        let mut huge = second(1, 0x11, &IPV4);
        huge[14] = 0xff;
        for bytes in [
            &b"PROXY TCP4 192.0.2.7 10.0.0.1 5000\r\n"[..],
            b"PROXY TCP4 192.0.2.700 10.0.0.1 5000 8080\r\n",
            b"PROXY TCP4 2001:db8::1 ::1 5000 8080\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 99999 8080\r\n",
            b"PROXY TCP4 192.0.2.7 10.0.0.1 5000 8080\n",
            b"PROXY UDP4 192.0.2.7 10.0.0.1 5000 8080\r\n",
            b"PROXY \r\n",
            b"PROXY \xff\xff\r\n",
            &long,
            &version,
            &huge,
            &second(2, 0x11, &IPV4),
            &second(1, 0x41, &IPV4),
            &second(1, 0x11, &IPV4[..11]),
        ] {
            assert_eq!(start(bytes), Start::Malformed, "{bytes:?}");
        }
    }

    /// What is read of bytes that are written in these pieces.
    async fn read_pieces(pieces: &[&[u8]]) -> io::Result<(Vec<u8>, Option<SocketAddr>)> {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reading = async {
            let (mut socket, source) = read(ours.into()).await?;
            let mut rest = Vec::new();
            socket.read_to_end(&mut rest).await?;
            Ok((rest, source))
        };
        let writing = async {
            for piece in pieces {
                // Whoever has heard enough may have closed.
                let _ = theirs.write_all(piece).await;
                tokio::task::yield_now().await;
            }
            let _ = theirs.shutdown().await;
        };
        tokio::join!(reading, writing).0
    }

    #[tokio::test]
    async fn byte_by_byte_or_at_once_nothing_behind_it_is_lost() {
        let behind = b"GET /metrics HTTP/1.1\r\n\r\n".repeat(400);
        for (header, source) in headers() {
            let source = source.map(|source| source.parse::<SocketAddr>().unwrap());
            let all = [&header[..], &behind].concat();
            let (rest, found) = read_pieces(&[&all]).await.unwrap();
            assert_eq!((&rest, found), (&behind, source));
            let bytes: Vec<&[u8]> = header.chunks(1).chain([&behind[..]]).collect();
            let (rest, found) = read_pieces(&bytes).await.unwrap();
            assert_eq!((&rest, found), (&behind, source));
        }
        let (rest, found) = read_pieces(&[b"G", b"ET /"]).await.unwrap();
        assert_eq!((&rest[..], found), (&b"GET /"[..], None));
        // It ended within what could have been one.
        let (rest, found) = read_pieces(&[b"PRO"]).await.unwrap();
        assert_eq!((&rest[..], found), (&b"PRO"[..], None));
        assert!(read_pieces(&[b"PROXY x\r\n"]).await.is_err());
    }

    #[tokio::test]
    async fn the_longest_header_is_read_and_one_byte_more_is_malformed() {
        let payload = [&IPV4[..], &[0; MOST - V2_HEAD - 12]].concat();
        let header = second(1, 0x11, &payload);
        let (rest, found) = read_pieces(&[&header, b"x"]).await.unwrap();
        assert_eq!(found, Some("192.0.2.7:5000".parse().unwrap()));
        assert_eq!(rest, b"x");
        let longer = second(1, 0x11, &[&payload[..], b"x"].concat());
        assert!(read_pieces(&[&longer]).await.is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_are_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300), version: bool) {
            let signature = if version { V1 } else { v2::PROTOCOL_PREFIX };
            let signed = [signature, &bytes].concat();
            for bytes in [&bytes, &signed] {
                if let Start::Header(length, _) = start(bytes) {
                    prop_assert!(length <= bytes.len());
                }
            }
        }
    }
}
