//! Answers that many tests want.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::script::Step;

/// A body Prometheus likes: one series with the value 1, called `name`.
pub fn metric(name: &str) -> String {
    format!("# TYPE {name} gauge\n{name} 1\n")
}

/// A body of so many lines, each a series.
pub fn series(name: &str, count: usize) -> String {
    (0..count)
        .map(|n| format!("{name}{{n=\"{n}\"}} {n}\n"))
        .collect()
}

/// A whole answer with a length; the connection stays.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<Step> {
    vec![Step::send(whole(body)), Step::Next]
}

/// The bytes of [`ok`].
pub fn whole(body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut answer = head_of_length(body.len()).into_bytes();
    answer.extend_from_slice(body);
    answer
}

/// A head that promises so many bytes.
pub fn head_of_length(length: usize) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {length}\r\n\r\n"
    )
}

/// A head that promises chunks.
pub fn head_of_chunks() -> String {
    "HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nTransfer-Encoding: chunked\r\n\r\n"
        .to_owned()
}

/// A head that promises nothing: the body ends with the connection.
pub fn head_until_close() -> String {
    "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: text/plain; version=0.0.4\r\n\r\n"
        .to_owned()
}

/// One chunk.
pub fn chunk(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n", body.len())
}

/// How the end of a body is told, each with a head and the first part of a body behind it.
pub fn halves(part: &str) -> [(&'static str, String); 3] {
    [
        ("content-length", head_of_length(part.len() * 2) + part),
        ("chunked", head_of_chunks() + &chunk(part)),
        ("end of connection", head_until_close() + part),
    ]
}

/// The body, compressed as an exporter does it.
///
/// # Panics
/// Never: memory takes what it is given.
pub fn gzip(body: &str) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder
        .write_all(body.as_bytes())
        .expect("memory can be written");
    encoder.finish().expect("memory can be written")
}
