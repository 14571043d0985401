//! A connection to the proxy, used as Go's transport uses one, until a test cuts it.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;

use super::message::{Message, head_end};
use super::{Client, lock};
use crate::wait::{PATIENCE, within};

/// What Go's transport reads at once: behind it a request's body is lost.
const READ: usize = 4096;
/// Longest answer to a poll or a push.
const MAX_ANSWER: usize = 1 << 20;
/// `MaxIdleConnsPerHost` of Go.
const MAX_IDLE: usize = 2;

/// How a connection is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// It is closed.
    Fin,
    /// It is reset.
    Reset,
    /// Nobody says so: a router forgot it, or the power failed.
    Silence,
}

/// What a connection is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Poll,
    Push,
}

/// Streams that were lost by silence; open as long as this is.
pub(super) type Silent = Arc<Mutex<Vec<TcpStream>>>;

/// A connection. Dropped after a cut it ends as the cut says, else by closing.
#[derive(Debug)]
pub(super) struct Wire {
    /// There until it is dropped.
    stream: Option<TcpStream>,
    /// Read, and not yet part of an answer.
    buffer: BytesMut,
    cuts: watch::Receiver<Loss>,
    lost: Option<Loss>,
    silent: Silent,
}

/// An answer whose head is there.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) message: Message,
    /// All of the request had been written when it came.
    clean: bool,
    wire: Wire,
}

impl Client {
    /// Sends a request and waits for the head of its answer, on a connection that is free or new.
    pub(super) async fn request(
        &self,
        to: SocketAddr,
        role: Role,
        request: &[u8],
    ) -> io::Result<Reply> {
        let mut wire = self.wire(to, role).await?;
        let clean = wire.send(request).await?;
        self.reply(wire, clean).await
    }

    /// Waits for the head of an answer. `clean` says that all of the request was written.
    pub(super) async fn reply(&self, mut wire: Wire, clean: bool) -> io::Result<Reply> {
        loop {
            let Some(end) = head_end(&wire.buffer) else {
                wire.more().await?;
                continue;
            };
            let message = Message::parse(&wire.buffer.split_to(end));
            match message.status() {
                101 | 200.. => {
                    return Ok(Reply {
                        message,
                        clean,
                        wire,
                    });
                }
                100.. => self.count(|counters| counters.interim += 1),
                _ => {
                    return Err(error(&format!(
                        "malformed HTTP response {:?}",
                        message.line
                    )));
                }
            }
        }
    }

    /// A connection: the one used last of those that are free and still open, or another.
    pub(super) async fn wire(&self, to: SocketAddr, role: Role) -> io::Result<Wire> {
        let cuts = match role {
            Role::Poll => self.cuts_of_polls.subscribe(),
            Role::Push => self.cuts_of_pushes.subscribe(),
        };
        loop {
            let idle = lock(&self.idle).pop();
            match idle {
                Some(mut wire) if wire.is_open(to) => {
                    wire.cuts = cuts;
                    return Ok(wire);
                }
                Some(_) => {}
                None => break,
            }
        }
        let stream = within(PATIENCE, "a connection to the proxy", self.dial(to)).await?;
        stream.set_nodelay(true)?;
        self.count(|counters| counters.connections += 1);
        Ok(Wire {
            stream: Some(stream),
            buffer: BytesMut::new(),
            cuts,
            lost: None,
            silent: Arc::clone(&self.silent),
        })
    }

    async fn dial(&self, to: SocketAddr) -> io::Result<TcpStream> {
        let Some(local) = self.settings.local else {
            return TcpStream::connect(to).await;
        };
        let socket = match local {
            IpAddr::V4(_) => TcpSocket::new_v4()?,
            IpAddr::V6(_) => TcpSocket::new_v6()?,
        };
        socket.bind(SocketAddr::new(local, 0))?;
        socket.connect(to).await
    }

    /// Does with an answer that was read so far what Go does: the connection is free if that was
    /// all of it, and else it is closed.
    pub(super) fn settle(&self, reply: Reply, whole: bool) {
        if whole && reply.clean && reply.message.keeps_alive() {
            let mut idle = lock(&self.idle);
            // Under the lock: a cut empties the list after it has told the connections.
            let cut = reply.wire.cuts.has_changed().unwrap_or(true);
            if idle.len() < MAX_IDLE && !cut {
                idle.push(reply.wire);
            }
        }
    }

    /// Does with the answer to a push what Go does for a client that does not close it: with a
    /// body, the connection is neither free nor closed.
    pub(super) fn abandon(&self, reply: Reply, body: &[u8]) {
        if body.is_empty() {
            self.settle(reply, true);
        } else {
            lock(&self.leaked).push(reply.wire);
        }
    }
}

impl Reply {
    /// Reads the body until it is `enough` or at its end; and says whether it is at its end.
    pub(super) async fn body(
        &mut self,
        mut enough: impl FnMut(&[u8]) -> bool,
    ) -> io::Result<(Vec<u8>, bool)> {
        if matches!(self.message.status(), 204 | 304) {
            return Ok((Vec::new(), true));
        }
        loop {
            let (body, end) = self.message.body(&self.wire.buffer);
            if let Some(end) = end {
                let _ = self.wire.buffer.split_to(end);
                return Ok((body, true));
            }
            if enough(&body) {
                return Ok((body, false));
            }
            match self.wire.more().await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    return match self.message.until_close() {
                        true => Ok((body, false)),
                        false => Err(error),
                    };
                }
                Err(error) => return Err(error),
            }
        }
    }
}

impl Wire {
    /// Writes; and stops, which `false` says, as soon as the proxy says or ends something.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<bool> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let (read, mut write) = stream.split();
        tokio::select! {
            biased;
            _ = self.cuts.changed() => {}
            written = write.write_all(bytes) => return Ok(written.is_ok()),
            _ = read.readable() => return Ok(false),
        }
        Err(self.cut())
    }

    /// Reads more into the buffer.
    async fn more(&mut self) -> io::Result<()> {
        let stream = self.stream.as_mut().ok_or(io::ErrorKind::NotConnected)?;
        let mut piece = [0; READ];
        tokio::select! {
            biased;
            _ = self.cuts.changed() => {}
            read = stream.read(&mut piece) => {
                let read = read?;
                if read == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                if self.buffer.len() + read > MAX_ANSWER {
                    return Err(error("an endless answer"));
                }
                self.buffer.extend_from_slice(&piece[..read]);
                return Ok(());
            }
        }
        Err(self.cut())
    }

    fn cut(&mut self) -> io::Error {
        self.lost = Some(*self.cuts.borrow());
        io::ErrorKind::ConnectionAborted.into()
    }

    /// Ends so.
    pub(super) fn lose(mut self, loss: Loss) {
        self.lost = Some(loss);
    }

    /// Whether the proxy left it open, and said nothing unasked.
    fn is_open(&self, to: SocketAddr) -> bool {
        let Some(stream) = &self.stream else {
            return false;
        };
        let waits = match stream.try_read(&mut [0]) {
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
            Ok(_) => false,
        };
        waits && self.buffer.is_empty() && stream.peer_addr().is_ok_and(|peer| peer == to)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        let Some(stream) = self.stream.take() else {
            return;
        };
        // A cut counts also where nobody was reading or writing.
        let unseen = self.cuts.has_changed().unwrap_or(false);
        match self.lost.or(unseen.then(|| *self.cuts.borrow())) {
            None | Some(Loss::Fin) => {}
            Some(Loss::Reset) => {
                // Fails on a socket that is reset already.
                let _ = stream.set_zero_linger();
            }
            Some(Loss::Silence) => lock(&self.silent).push(stream),
        }
    }
}

fn error(what: &str) -> io::Error {
    io::Error::other(what.to_owned())
}
