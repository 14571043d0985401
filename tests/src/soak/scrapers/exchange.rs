//! One scrape, as a scraper makes it.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::stream::{Came, Times, Watched};
use crate::scraper::{Answer, Connection, End, Head};

/// For a connection on the loopback, which is there or is not.
const DIAL: Duration = Duration::from_secs(5);

/// How an answer may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::soak) enum Form {
    Absolute,
    /// By HTTP/1.0, where a body may end with the connection.
    Old,
    Path,
    /// In clear, by a scraper that speaks HTTP with the target itself.
    Connect,
}

/// What is asked.
#[derive(Debug, Clone)]
pub(in crate::soak) struct Order {
    pub(in crate::soak) number: u64,
    /// Its index among the places.
    pub(in crate::soak) place: usize,
    /// The same of the proxies.
    pub(in crate::soak) proxy: usize,
    pub(in crate::soak) form: Form,
    pub(in crate::soak) method: &'static str,
    pub(in crate::soak) gzip: bool,
    /// What the scraper says it will wait.
    pub(in crate::soak) deadline: Duration,
    /// It leaves after so long, whatever has come.
    pub(in crate::soak) leaves: Option<Duration>,
    /// It reads so many bytes a second.
    pub(in crate::soak) rate: Option<u32>,
    /// Its connection may be used again.
    pub(in crate::soak) keep: bool,
}

/// What came of it.
#[derive(Debug)]
pub(in crate::soak) enum Outcome {
    /// No connection.
    NoConnection(io::Error),
    /// Some of an answer, or all; or the end of the connection.
    Answer(Answer),
    /// It left first.
    Left,
    /// It waited for an end in vain.
    Endless,
}

/// A scrape that is over.
#[derive(Debug)]
pub(in crate::soak) struct Exchange {
    pub(in crate::soak) order: Order,
    pub(in crate::soak) outcome: Outcome,
    /// Before the request was written.
    pub(in crate::soak) began: Instant,
    /// Of the answer; from the target itself, for CONNECT.
    pub(in crate::soak) came: Came,
    /// For CONNECT: when the proxy had answered it, if it did.
    pub(in crate::soak) opened: Option<Instant>,
    pub(in crate::soak) ended: Instant,
    /// By a connection that had been used before.
    pub(in crate::soak) again: bool,
}

/// A connection that may be used again.
pub(super) struct Kept {
    stream: Watched,
    times: Times,
}

/// Makes the scrape, on `kept` or on a connection of its own, and gives back what may be used again.
/// Waits `patience` for its end.
pub(super) async fn exchange(
    order: Order,
    proxy: SocketAddr,
    authority: &str,
    kept: Option<Kept>,
    patience: Duration,
) -> (Exchange, Option<Kept>) {
    let mut exchange = Exchange::new(order, kept.is_some());
    let opened = match kept {
        Some(kept) => Ok(kept),
        None => Kept::open(proxy, exchange.order.rate).await,
    };
    let mut left = None;
    match opened {
        Err(error) => exchange.outcome = Outcome::NoConnection(error),
        Ok(mut kept) => {
            exchange.began = Instant::now();
            kept.times.reset();
            let times = kept.times.clone();
            let limit = exchange.order.leaves.unwrap_or(Duration::MAX).min(patience);
            let making = async {
                let outcome = make(&mut exchange, &mut kept, authority).await;
                (outcome, kept)
            };
            // Dropped in the middle, it takes its connection with it.
            match timeout(limit, making).await {
                Ok((outcome, kept)) => {
                    exchange.outcome = outcome;
                    left = Some(kept);
                }
                Err(_) if limit < patience => exchange.outcome = Outcome::Left,
                Err(_) => {}
            }
            exchange.came = times.came();
        }
    }
    exchange.ended = Instant::now();
    let left = left.filter(|_| exchange.leaves_a_connection());
    (exchange, left)
}

impl Exchange {
    fn new(order: Order, again: bool) -> Self {
        let now = Instant::now();
        Self {
            order,
            outcome: Outcome::Endless,
            began: now,
            came: Came::default(),
            opened: None,
            ended: now,
            again,
        }
    }

    /// Whether the connection is good for another scrape.
    fn leaves_a_connection(&self) -> bool {
        let Outcome::Answer(answer) = &self.outcome else {
            return false;
        };
        let closes = answer.head.field("connection");
        self.order.keep
            && self.order.rate.is_none()
            && matches!(self.order.form, Form::Absolute | Form::Path)
            && answer.end == End::Complete
            && !closes.is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

impl Kept {
    async fn open(proxy: SocketAddr, rate: Option<u32>) -> io::Result<Self> {
        let stream = timeout(DIAL, TcpStream::connect(proxy)).await??;
        stream.set_nodelay(true)?;
        let times = Times::default();
        Ok(Self {
            stream: Watched::new(stream, times.clone(), rate),
            times,
        })
    }
}

async fn make(exchange: &mut Exchange, kept: &mut Kept, authority: &str) -> Outcome {
    let request = request(&exchange.order, authority);
    let Kept { stream, times } = kept;
    if exchange.order.form != Form::Connect {
        return Outcome::Answer(Connection::over(stream).exchange(request).await);
    }
    let connect = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    let head = match said(stream, &connect).await {
        Ok(head) => head,
        Err(error) => return Outcome::Answer(nothing(&error)),
    };
    exchange.opened = Some(Instant::now());
    let mut connection = Connection::over(stream);
    if head.status != 200 {
        let (body, end) = connection.body(&head).await;
        let took = exchange.began.elapsed();
        return Outcome::Answer(Answer {
            head,
            body,
            end,
            took,
        });
    }
    times.reset();
    Outcome::Answer(connection.exchange(request).await)
}

/// The head of an answer, and no byte behind it.
async fn said(stream: &mut Watched, request: &str) -> io::Result<Head> {
    stream.write_all(request.as_bytes()).await?;
    let mut raw = Vec::new();
    while !raw.ends_with(b"\r\n\r\n") {
        raw.push(stream.read_u8().await?);
    }
    let raw = String::from_utf8_lossy(&raw).into_owned();
    let mut first = raw.lines().next().unwrap_or("").splitn(3, ' ').skip(1);
    let status = first.next().and_then(|text| text.parse().ok());
    let fields = raw.lines().skip(1).filter_map(|line| line.split_once(':'));
    Ok(Head {
        status: status.unwrap_or(0),
        reason: first.next().unwrap_or("").to_owned(),
        fields: fields
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect(),
        raw,
    })
}

fn nothing(error: &io::Error) -> Answer {
    Answer {
        head: Head::default(),
        body: Vec::new(),
        end: End::Cut(error.to_string()),
        took: Duration::ZERO,
    }
}

fn request(order: &Order, authority: &str) -> String {
    // What a client offers by POST unless it is told otherwise.
    let page = if order.method == "POST" {
        "federate"
    } else {
        "metrics"
    };
    let path = format!("/{page}?n={}", order.number);
    let (method, host) = (order.method, authority);
    let (target, version) = match order.form {
        Form::Absolute => (format!("http://{authority}{path}"), "1.1"),
        Form::Old => (format!("http://{authority}{path}"), "1.0"),
        Form::Path => (format!("/scrape/http/{authority}{path}"), "1.1"),
        Form::Connect => (path, "1.1"),
    };
    let gzip = match order.gzip {
        true => "Accept-Encoding: gzip\r\n",
        false => "",
    };
    let length = match method {
        "POST" => "Content-Length: 0\r\n",
        _ => "",
    };
    let close = match order.keep {
        true => "",
        false => "Connection: close\r\n",
    };
    let seconds = order.deadline.as_secs_f64();
    format!(
        "{method} {target} HTTP/{version}\r\nHost: {host}\r\nUser-Agent: soak\r\n{gzip}{length}{close}\
         X-Prometheus-Scrape-Timeout-Seconds: {seconds:.3}\r\n\r\n"
    )
}
