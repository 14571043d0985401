//! Every number of the tunnel's WebSocket and of its two HTTP/2 ends, with its reason.
//!
//! The libraries' defaults are made for short connections to strangers and end or wedge a
//! long-lived tunnel in eight known ways; `rows` reproduces each with the defaults and shows it
//! gone with these. Letters name the rows.

use std::time::Duration;

use hyper::client::conn::http2 as proxy_side;
use hyper::server::conn::http2 as client_side;
use hyper_util::rt::TokioTimer;
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;

use super::tasks::Tasks;

/// Bytes of one WebSocket message at most, as we send it: two or three HTTP/2 frames. Larger ones
/// are memmoved after partial writes, smaller ones cost a header each.
pub const MESSAGE_SIZE: usize = 64 * 1024;

/// Bytes of one WebSocket message at most, as we take it where nothing else is said, in one frame or several. Nothing larger
/// than a few HTTP/2 frames is legal here; a newer version may gather more of them.
pub const MAX_MESSAGE: usize = 1024 * 1024;

/// What one stream may have in flight. At 50 ms of round trip it allows 10 MB/s a scrape; it is
/// also what a scraper that does not read can make the proxy hold.
pub const STREAM_WINDOW: u32 = 512 * 1024;

/// What all streams of a tunnel may have in flight: 32 scrapers that do not read stop nobody
/// else. (c) h2 also derives its budget for small frames from it, half of it in bytes: 16 MiB is
/// what survives. Never the adaptive window, which starts at 64 KiB.
pub const CONNECTION_WINDOW: u32 = 16 * 1024 * 1024;

/// Streams in one tunnel: 256 is twice what the proxy lets scrapes have, the rest is for CONNECT.
pub const MAX_STREAMS: u32 = 256;

/// Request heads through a tunnel. (f) At hyper's 16 KiB a long `/federate?match[]=…` is a 431,
/// and at four times the limit the whole tunnel ends. The proxy refuses scrapes over
/// [`MAX_REQUEST_HEAD`] long before.
pub const MAX_REQUEST_HEAD_LIST: u32 = 256 * 1024;

/// The largest request head the proxy forwards, in bytes as it arrived. HTTP/2 counts 32 bytes
/// more a field, and at most 100 are accepted.
pub const MAX_REQUEST_HEAD: usize = 128 * 1024;

/// Heads of targets' answers. Prometheus takes 1 MB heads, so we do.
pub const MAX_RESPONSE_HEAD_LIST: u32 = 2 * 1024 * 1024;

/// The largest head of a target's answer that the client sends, counted as HTTP/2 counts.
pub const MAX_RESPONSE_HEAD: usize = MAX_RESPONSE_HEAD_LIST as usize - 16 * 1024;

/// What one stream may have waiting to be sent: hyper's 400 KiB and 1 MiB times 64 scrapes would
/// be most of the memory of a small machine.
const SEND_BUFFER: usize = 128 * 1024;

/// The WebSocket of either end; the other end's messages have `max_message` bytes at most.
pub fn websocket(max_message: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        // Allocated at once and for good: the default of 128 KiB was four fifths of an idle tunnel.
        .read_buffer_size(4 * 1024)
        // Written through: what is held back must be ours, where it is bounded and counted.
        .write_buffer_size(0)
        // One message being written, one ping and one pong.
        .max_write_buffer_size(MESSAGE_SIZE + 1024)
        .max_message_size(Some(max_message))
        .max_frame_size(Some(max_message))
}

/// The proxy's end: an HTTP/2 client.
pub fn proxy_end(tasks: Tasks) -> proxy_side::Builder<Tasks> {
    let mut builder = proxy_side::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_RESPONSE_HEAD_LIST)
        .max_send_buf_size(SEND_BUFFER)
        // (a, h) Liveness is the watchdog's.
        .keep_alive_interval(None)
        // (g) Data of cancelled scrapes may arrive for as long as the link is slow. A stream that
        // was forgotten meanwhile is answered with a reset by the library, and 1024 of those in a
        // tunnel's lifetime end it.
        .reset_stream_duration(Duration::from_secs(120))
        .max_concurrent_reset_streams(4096)
        .max_local_error_reset_streams(1 << 20);
    builder
}

/// The client's end: an HTTP/2 server.
pub fn client_end(tasks: Tasks) -> client_side::Builder<Tasks> {
    let mut builder = client_side::Builder::new(tasks);
    builder
        .timer(TokioTimer::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(MAX_REQUEST_HEAD_LIST)
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(None)
        // (d) A client that was suspended finds all the scrapes cancelled meanwhile at once; at 20
        // the default takes that for an attack. The proxy is who we dialled.
        .max_pending_accept_reset_streams(10_000)
        .max_local_error_reset_streams(1 << 20)
        // The answer's head is the target's, not ours.
        .auto_date_header(false);
    builder
}
