//! Requests, each with what is odd about it. HIDDEN stands for another request, LONG for many bytes.

/// No head we understand. One answer, 400 if not said otherwise; nothing behind it is read.
pub(super) const REFUSED: &[(&str, &str)] = &[
    (
        "two lengths",
        "Content-Length: 0\r\nContent-Length: 60\r\n\r\nHIDDEN",
    ),
    ("a list of one length", "Content-Length: 5, 5\r\n\r\nabcde"),
    ("a list of lengths", "Content-Length: 0, 60\r\n\r\nHIDDEN"),
    ("a length with a sign", "Content-Length: +0\r\n\r\nHIDDEN"),
    ("a length below zero", "Content-Length: -1\r\n\r\nHIDDEN"),
    (
        "a length in hexadecimal",
        "Content-Length: 0x0\r\n\r\nHIDDEN",
    ),
    ("a length in two words", "Content-Length: 0 0\r\n\r\nHIDDEN"),
    ("an empty length", "Content-Length: \r\n\r\nHIDDEN"),
    (
        "a length of 2^64",
        "Content-Length: 18446744073709551616\r\n\r\nHIDDEN",
    ),
    (
        "a folded field",
        "X: a\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    ("a folded length", "Content-Length:\r\n 5\r\n\r\nabcde"),
    ("a fold with a tab", "X: a\r\n\tb\r\n\r\n"),
    (
        "xchunked",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked, identity",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "identity, chunked",
        "Transfer-Encoding: identity, chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "gzip, chunked",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked, chunked",
        "Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked and identity",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "identity and chunked",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "a vertical tab and chunked",
        "Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked in quotes",
        "Transfer-Encoding: \"chunked\"\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "identity",
        "Transfer-Encoding: identity\r\nContent-Length: 0\r\n\r\nHIDDEN",
    ),
    (
        "an empty coding",
        "Transfer-Encoding: \r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked with a parameter",
        "Transfer-Encoding: chunked;q=1\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "chunked and a space above ASCII",
        "Transfer-Encoding: chunked\u{a0}\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "a space before the colon",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    (
        "a tab before the colon",
        "Content-Length\t: 60\r\n\r\nHIDDEN",
    ),
    ("no colon", "Transfer-Encoding\r\n\r\nHIDDEN"),
    (
        "a space before the name",
        " Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nHIDDEN",
    ),
    ("NUL in a value", "X: a\0b\r\n\r\n"),
    ("NUL in a name", "X\0: a\r\n\r\n"),
    (
        "a bare CR",
        "X: a\rTransfer-Encoding: chunked\r\n\r\nHIDDEN",
    ),
    (
        "a Host that is none",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: a b\x01\r\n\r\n",
    ),
    (
        "two Hosts",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: pi:9100\r\nHost: nas:9100\r\n\r\nHIDDEN",
    ),
    ("no Host", "GET http://pi:9100/a HTTP/1.1\r\n\r\nHIDDEN"),
    ("HTTP/0.9", "GET http://pi:9100/a\r\n"),
    (
        "chunks in HTTP/1.0",
        "POST http://pi:9100/a HTTP/1.0\r\nHost: pi\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nHIDDEN",
    ),
    (
        "HTTP/1.2",
        "GET http://pi:9100/a HTTP/1.2\r\nHost: pi\r\n\r\n",
    ),
    (
        "HTTP/2.0",
        "GET http://pi:9100/a HTTP/2.0\r\nHost: pi\r\n\r\n",
    ),
    (
        "a small http/1.1",
        "GET http://pi:9100/a http/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "two spaces",
        "GET  http://pi:9100/a HTTP/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "tabs for spaces",
        "GET\thttp://pi:9100/a\tHTTP/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "a space in the target",
        "GET http://pi:9100/a x HTTP/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "lines that end in CR",
        "GET http://pi:9100/a HTTP/1.1\rHost: pi:9100\r\r",
    ),
    (
        "NUL in the target",
        "GET http://pi:9100/a\0b HTTP/1.1\r\nHost: pi\r\n\r\n",
    ),
    (
        "a ClientHello",
        "\x16\x03\x01\x02\0\x01\0\x01\x7c\x03\x03aaaaaaaaaaaaaaaa\r\n\r\n",
    ),
];

/// A head we understand and a body we do not: the target hears nothing of either.
pub(super) const BAD_CHUNKS: &[(&str, &str)] = &[
    ("0x", "0x3\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("a plus", "+3\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("a minus", "-3\r\nabc\r\n0\r\n\r\nHIDDEN"),
    (
        "over 64 bits",
        "ffffffffffffffff1\r\nabc\r\n0\r\n\r\nHIDDEN",
    ),
    ("LF in an extension", "3;\nabc\r\n0\r\n\r\nHIDDEN"),
    ("an endless extension", "3;LONG\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("LF behind the size", "3\nabc\r\n0\r\n\r\nHIDDEN"),
    ("more data than said", "3\r\nabcd\r\n0\r\n\r\nHIDDEN"),
    ("LF behind the data", "3\r\nabc\n0\r\n\r\nHIDDEN"),
    ("a space before the size", " 3\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("no size", "\r\nabc\r\n0\r\n\r\nHIDDEN"),
    ("NUL in a trailer", "3\r\nabc\r\n0\r\nX\0: 60\r\n\r\nHIDDEN"),
    ("LF behind the last", "3\r\nabc\r\n0\n\nHIDDEN"),
];

/// What can be read in one way only: it is, and what passes on is written anew.
pub(super) const TAKEN: &[(&str, &str)] = &[
    (
        "one length twice",
        "Content-Length: 2\r\nContent-Length: 2\r\n\r\nab",
    ),
    ("CHUNKED", "Transfer-Encoding: CHUNKED\r\n\r\n0\r\n\r\n"),
    (
        "a chunk with an extension",
        "Transfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "a space behind a size",
        "Transfer-Encoding: chunked\r\n\r\n3 \r\nabc\r\n0\r\n\r\n",
    ),
    (
        "trailers that frame",
        "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nContent-Length: 60\r\n\r\n",
    ),
    (
        "names with underscores",
        "Transfer_Encoding: chunked\r\nContent_Length: 5\r\n\r\n",
    ),
    (
        "a length called hop-by-hop",
        "Connection: Content-Length\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "chunks called hop-by-hop",
        "Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ),
    (
        "Expect",
        "Expect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
    ),
    (
        "Upgrade to h2c",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQ\r\n\
         Content-Length: 0\r\n\r\n",
    ),
    (
        "Upgrade to a WebSocket",
        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nContent-Length: 0\r\n\r\n",
    ),
    (
        "LF behind a field",
        "X: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "only LF",
        "GET http://pi:9100/a HTTP/1.1\nHost: pi:9100\n\n",
    ),
    (
        "empty lines first",
        "\r\n\r\nGET http://pi:9100/a HTTP/1.1\r\nHost: pi:9100\r\n\r\n",
    ),
    (
        "GET with a body",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: pi:9100\r\nContent-Length: 3\r\n\r\nabc",
    ),
    // RFC 9112 §3.2.2: the request target counts.
    (
        "another Host",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: nas:9100\r\n\r\n",
    ),
    (
        "an empty Host",
        "GET http://pi:9100/a HTTP/1.1\r\nHost: \r\n\r\n",
    ),
    (
        "a fragment",
        "GET http://pi:9100/a#@nas:9100/ HTTP/1.1\r\nHost: pi:9100\r\n\r\n",
    ),
];
