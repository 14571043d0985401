//! The WebSocket as a byte stream, for HTTP/2 to run over.
//!
//! * Written bytes gather until a flush and leave as one binary message (RFC 6455 §5.6), so that
//!   a frame's head and its payload share one.
//! * Received payloads are handed on as they are and copied once, into the reader's buffer.
//! * Every buffer is bounded: one message gathering, one in the WebSocket being written.
//! * Closing sends our Close frame and depends on no answer: for a second at most what the peer
//!   still sends is read, where one of the two has a reason to tell.
//! * Pings, their answers and the end after silence happen here, whatever the task waits for.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::goodbye::{End, Ending, Farewell, Goodbye};
use super::settings::{self, MAX_MESSAGE, MESSAGE_SIZE};
use super::traffic::{Counted, Traffic};
use super::watchdog::{Liveness, Verdict, Watchdog};

/// The byte stream of one tunnel.
///
/// Dropping it closes the socket at once, without a Close frame; shutting it down sends one.
#[derive(Debug)]
pub struct TunnelStream<S> {
    websocket: WebSocketStream<Counted<S>>,
    /// What is left of the message that was received last.
    incoming: Bytes,
    /// What the next message will hold.
    outgoing: BytesMut,
    watchdog: Watchdog,
    traffic: Arc<Traffic>,
    ending: Ending,
    max_message: usize,
    /// A ping waits in the WebSocket for a flush that HTTP/2 may not ask for.
    unflushed: bool,
    closing: Closing,
}

/// How far a shutdown has come.
#[derive(Debug)]
enum Closing {
    /// Not begun.
    No,
    /// Our Close frame is being written.
    Sending,
    /// It has left; the peer has a moment to hear it, or to say its own.
    Lingering(Pin<Box<Sleep>>),
}

/// How long what the peer still sends is read after our Close frame. A socket that is dropped with
/// unread bytes is reset, and a frame with its reason is lost on the way; and when HTTP/2 ended
/// without one, the reason comes behind it.
const LINGER: Duration = Duration::from_secs(1);

impl<S: AsyncRead + AsyncWrite + Unpin> TunnelStream<S> {
    /// Over a socket whose upgrade is done, and which gives first what arrived with the upgrade's
    /// last byte, as hyper's `Upgraded` does.
    pub async fn new(
        socket: S,
        role: Role,
        liveness: Liveness,
        traffic: Arc<Traffic>,
        ending: Ending,
    ) -> Self {
        Self::with_limit(socket, role, liveness, traffic, ending, MAX_MESSAGE).await
    }

    /// The same, whose peer's messages have `max_message` bytes at most: not less than
    /// [`MESSAGE_SIZE`], which is what a peer sends.
    pub async fn with_limit(
        socket: S,
        role: Role,
        liveness: Liveness,
        traffic: Arc<Traffic>,
        ending: Ending,
        max_message: usize,
    ) -> Self {
        let socket = Counted::new(socket, Arc::clone(&traffic));
        let config = Some(settings::websocket(max_message));
        let websocket = WebSocketStream::from_raw_socket(socket, role, config).await;
        Self {
            websocket,
            incoming: Bytes::new(),
            outgoing: BytesMut::new(),
            watchdog: Watchdog::new(liveness),
            traffic,
            ending,
            max_message,
            unflushed: false,
            closing: Closing::No,
        }
    }

    /// For an operation that is pending: looks at the clock, and leaves a waker with it.
    fn poll_pending<T>(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        loop {
            let (received, sent) = (self.traffic.received(), self.traffic.sent());
            match self.watchdog.poll(cx, received, sent) {
                Verdict::Wait => break,
                Verdict::Ping => self.ping(cx)?,
                Verdict::Dead => {
                    let silent = End::Silent(self.watchdog.dead_after());
                    self.ending.note(silent);
                    return Poll::Ready(Err(self.ended(io::ErrorKind::TimedOut)));
                }
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.websocket).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(error))),
                Poll::Pending => {}
            }
        }
        Poll::Pending
    }

    /// Queues a ping, unless a write is blocked: then the peer has something to answer already.
    fn ping(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        // A tunnel with nothing to do gives its buffer back: thousands of them mostly are idle.
        if self.outgoing.is_empty() {
            self.outgoing = BytesMut::new();
        }
        match Pin::new(&mut self.websocket).poll_ready(cx) {
            Poll::Ready(Ok(())) => {
                let ping = Message::Ping(Bytes::new());
                if let Err(error) = Pin::new(&mut self.websocket).start_send(ping) {
                    return Err(self.broken(error));
                }
                self.unflushed = true;
                Ok(())
            }
            Poll::Ready(Err(error)) => Err(self.broken(error)),
            Poll::Pending => Ok(()),
        }
    }

    /// Hands what has gathered to the WebSocket.
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.outgoing.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.websocket).poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(error)) => return Poll::Ready(Err(self.broken(error))),
            Poll::Pending => return self.poll_pending(cx),
        }
        let message = Message::Binary(self.outgoing.split().freeze());
        match Pin::new(&mut self.websocket).start_send(message) {
            Ok(()) => Poll::Ready(Ok(())),
            Err(error) => Poll::Ready(Err(self.broken(error))),
        }
    }

    fn has_more_to_say_or_hear(&self) -> bool {
        self.ending.goodbye().is_some() || self.ending.end().is_none()
    }

    /// Hands our Close frame to the WebSocket; nothing when the peer has closed already.
    fn poll_say(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<()>>> {
        ready!(self.poll_send(cx))?;
        match Pin::new(&mut self.websocket).poll_ready(cx) {
            Poll::Ready(Ok(())) => {}
            Poll::Ready(Err(_)) => return Poll::Ready(Ok(None)),
            Poll::Pending => return self.poll_pending(cx),
        }
        let frame = self.ending.goodbye().map(|goodbye| CloseFrame {
            code: CloseCode::from(goodbye.farewell.code()),
            reason: goodbye.reason.clone().into(),
        });
        let said = Pin::new(&mut self.websocket).start_send(Message::Close(frame));
        Poll::Ready(Ok(said.ok()))
    }

    /// Room in the message that gathers; zero never.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        if self.outgoing.len() >= MESSAGE_SIZE {
            ready!(self.poll_send(cx))?;
        }
        Poll::Ready(Ok(MESSAGE_SIZE - self.outgoing.len()))
    }

    fn on_message(&mut self, message: Message) -> io::Result<Received> {
        match message {
            Message::Binary(payload) => {
                self.incoming = payload;
                Ok(Received::Data)
            }
            Message::Ping(_) | Message::Pong(_) => Ok(Received::Nothing),
            Message::Close(frame) => {
                let goodbye = frame.map_or_else(
                    || Goodbye::from_close(1005, ""),
                    |frame| Goodbye::from_close(frame.code.into(), &frame.reason),
                );
                self.ending.note(End::Peer(goodbye));
                Ok(Received::End)
            }
            Message::Text(_) | Message::Frame(_) => {
                let text = "a text message where binary ones are spoken";
                self.ending.note(End::Protocol(text.into()));
                Err(self.ended(io::ErrorKind::InvalidData))
            }
        }
    }

    /// Nothing more is read of a message that is larger than it may be, so this is the end. Its
    /// reason is told if it can be written at once: HTTP/2 shuts down nothing that has failed.
    fn too_big(&mut self, cx: &mut Context<'_>) -> io::Error {
        let words = format!("a message over {} bytes (tunnel_message)", self.max_message);
        self.ending.say(Goodbye::new(Farewell::TooBig, words));
        if let Poll::Ready(Ok(Some(()))) = self.poll_say(cx) {
            let _ = Pin::new(&mut self.websocket).poll_flush(cx);
        }
        self.ended(io::ErrorKind::InvalidData)
    }

    fn broken(&self, error: WsError) -> io::Error {
        match error {
            WsError::Io(error) => {
                self.ending.note(End::Lost(error.to_string()));
                error
            }
            WsError::ConnectionClosed | WsError::AlreadyClosed => {
                self.ending.note(End::Lost("closed".into()));
                io::ErrorKind::BrokenPipe.into()
            }
            // tungstenite names a missing close handshake a protocol error; for us it is the way
            // every cut connection ends.
            WsError::Protocol(error) if error.to_string().contains("closing handshake") => {
                self.ending.note(End::Lost("closed without a word".into()));
                io::ErrorKind::UnexpectedEof.into()
            }
            error => {
                self.ending.note(End::Protocol(error.to_string()));
                io::Error::new(io::ErrorKind::InvalidData, error)
            }
        }
    }

    fn ended(&self, kind: io::ErrorKind) -> io::Error {
        match self.ending.end() {
            Some(end) => io::Error::new(kind, end.to_string()),
            None => kind.into(),
        }
    }
}

enum Received {
    Data,
    Nothing,
    End,
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for TunnelStream<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.incoming.is_empty() {
            match Pin::new(&mut this.websocket).poll_next(cx) {
                Poll::Ready(Some(Ok(message))) => {
                    if let Received::End = this.on_message(message)? {
                        return Poll::Ready(Ok(()));
                    }
                }
                Poll::Ready(Some(Err(WsError::Capacity(_)))) => {
                    return Poll::Ready(Err(this.too_big(cx)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(this.broken(error))),
                Poll::Ready(None) => {
                    this.ending.note(End::Lost("closed".into()));
                    return Poll::Ready(Ok(()));
                }
                Poll::Pending => return this.poll_pending(cx),
            }
        }
        let n = this.incoming.len().min(buf.remaining());
        buf.put_slice(&this.incoming[..n]);
        this.incoming.advance(n);
        if this.incoming.is_empty() {
            // An empty slice would still keep the WebSocket's read buffer alive.
            this.incoming = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for TunnelStream<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let mut room = ready!(this.poll_room(cx))?;
        let mut written = 0;
        for buf in bufs {
            let n = buf.len().min(room);
            this.outgoing.extend_from_slice(&buf[..n]);
            written += n;
            room -= n;
            if room == 0 {
                break;
            }
        }
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_send(cx))?;
        match Pin::new(&mut this.websocket).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                this.unflushed = false;
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(this.broken(error))),
            Poll::Pending => this.poll_pending(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            match &mut this.closing {
                Closing::No => {
                    if ready!(this.poll_say(cx))?.is_none() {
                        return Poll::Ready(Ok(()));
                    }
                    this.closing = Closing::Sending;
                }
                Closing::Sending => match Pin::new(&mut this.websocket).poll_flush(cx) {
                    Poll::Pending => return this.poll_pending(cx),
                    Poll::Ready(Ok(())) if this.has_more_to_say_or_hear() => {
                        this.closing = Closing::Lingering(Box::pin(sleep(LINGER)));
                    }
                    Poll::Ready(_) => return Poll::Ready(Ok(())),
                },
                Closing::Lingering(timer) => match Pin::new(&mut this.websocket).poll_next(cx) {
                    Poll::Ready(Some(Ok(message))) => {
                        // Only a Close frame matters now, for what it says.
                        let _ = this.on_message(message);
                    }
                    Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Ok(())),
                    Poll::Pending => return timer.as_mut().poll(cx).map(Ok),
                },
            }
        }
    }
}
