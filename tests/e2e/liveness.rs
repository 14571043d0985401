//! Who notices that a network is dead, and who takes a slow one for it: the two ends of a tunnel
//! with the settings they have by default, over pipes in memory and with a paused clock, so that a
//! minute passes at once and the same way in every run. [`super::half_open`] is the same with the
//! programs, over sockets.

use std::convert::Infallible;
use std::time::Duration;

use adit_common::tunnel::goodbye::{End, Ending};
use adit_common::tunnel::settings;
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::tasks::Tasks;
use adit_common::tunnel::watchdog::Liveness;
use adit_tests::network::link::pipes;
use adit_tests::network::{BOTH, DOWN, Lane, Link, Plan, UP, Way};
use bytes::Bytes;
use http::{Method, Request, Response};
use http_body_util::channel::{Channel, Sender};
use http_body_util::{BodyExt as _, Either, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2::SendRequest;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::Role;

type Body = Either<Full<Bytes>, Channel<Bytes>>;

/// What a pipe takes, as a socket's buffer would.
const PIPE: usize = 64 * 1024;
/// Blocks who writes it into a pipe that nobody empties, and is less than one stream's window:
/// it is the pipe alone that blocks.
const UNSENT: &[u8] = &[b'x'; 256 * 1024];

/// The default, and a fifth.
const DEAD: Duration = Duration::from_secs(45);
const FOUND: Duration = Duration::from_secs(54);

/// Both ends, and the network between them.
struct Tunnel {
    link: Link,
    sender: SendRequest<Body>,
    /// Each gives when it was over, and why.
    proxy: JoinHandle<(Instant, Option<End>)>,
    client: JoinHandle<(Instant, Option<End>)>,
    /// Targets, as they are asked.
    targets: mpsc::UnboundedReceiver<Target>,
}

/// One request at its target.
struct Target {
    method: Method,
    /// The body it answers with.
    answer: Sender<Bytes>,
    /// The length of what it was sent, when all of that is there.
    asked: JoinHandle<Option<usize>>,
}

impl Tunnel {
    /// Opens one. The client reads what it is sent, and answers with a body that the test fills.
    async fn open(plan: Plan) -> Self {
        let (client, proxy, link) = pipes(PIPE, plan);
        let (targets, bodies) = mpsc::unbounded_channel();
        let client = tokio::spawn(serve(client, targets));
        let (ending, tasks) = (Ending::default(), Tasks::default());
        let stream = TokioIo::new(stream(proxy, Role::Server, &ending).await);
        let handshake = settings::proxy_end(tasks.clone()).handshake(stream).await;
        let (sender, connection) = handshake.unwrap();
        let proxy = tokio::spawn(async move {
            let _ = connection.await;
            tasks.end();
            (Instant::now(), ending.end().cloned())
        });
        Self {
            link,
            sender,
            proxy,
            client,
            targets: bodies,
        }
    }

    /// A request under way, to its last byte; it gives the length of its answer.
    fn request(&self, method: Method, body: Body) -> JoinHandle<hyper::Result<usize>> {
        let mut sender = self.sender.clone();
        let request = Request::builder().method(method).uri("http://pi:9100/");
        let request = request.body(body).unwrap();
        tokio::spawn(async move {
            sender.ready().await?;
            let answer = sender.send_request(request).await?;
            Ok(answer.into_body().collect().await?.to_bytes().len())
        })
    }
}

/// The client's end.
async fn serve(
    socket: DuplexStream,
    targets: mpsc::UnboundedSender<Target>,
) -> (Instant, Option<End>) {
    let (ending, tasks) = (Ending::default(), Tasks::default());
    let stream = TokioIo::new(stream(socket, Role::Client, &ending).await);
    let service = service_fn(|request: Request<Incoming>| {
        let (answer, body) = Channel::new(1);
        let method = request.method().clone();
        let asked = tokio::spawn(async {
            let body = request.into_body().collect().await;
            body.ok().map(|body| body.to_bytes().len())
        });
        // The test waits for every request that it makes.
        let _ = targets.send(Target {
            method,
            answer,
            asked,
        });
        async { Ok::<_, Infallible>(Response::new(body)) }
    });
    let serving = settings::client_end(tasks.clone()).serve_connection(stream, service);
    let _ = serving.await;
    tasks.end();
    (Instant::now(), ending.end().cloned())
}

async fn stream(socket: DuplexStream, role: Role, ending: &Ending) -> TunnelStream<DuplexStream> {
    let liveness = Liveness::default();
    TunnelStream::new(socket, role, liveness, Default::default(), ending.clone()).await
}

fn nothing() -> Body {
    Either::Left(Full::default())
}

/// What happens in a tunnel while its network dies.
#[derive(Debug, Clone, Copy)]
enum Load {
    Idle,
    /// The client has a body to send.
    Answer,
    /// The proxy has.
    Upload,
}

/// A tunnel whose network loses what goes these ways: [`Link::stall`] blocks the writer as soon as
/// the pipe is full, [`Link::swallow`] never.
async fn half_open(lose: fn(&Link, &[Way]), lost: &[Way], load: Load) {
    let case = format!("{lost:?} lost, {load:?}");
    let mut tunnel = Tunnel::open(Plan::default()).await;
    let (mut upload, uploaded) = Channel::new(1);
    let under_way = match load {
        Load::Idle => None,
        Load::Answer => Some(tunnel.request(Method::GET, nothing())),
        Load::Upload => Some(tunnel.request(Method::POST, Either::Right(uploaded))),
    };
    let mut target = None;
    if under_way.is_some() {
        target = tunnel.targets.recv().await;
    }
    // Not at the moment of a ping, nor of a first byte.
    sleep(Duration::from_secs(20)).await;
    lose(&tunnel.link, lost);
    match (load, &mut target) {
        (Load::Answer, Some(target)) => target.answer.send_data(UNSENT.into()).await.unwrap(),
        (Load::Upload, _) => upload.send_data(UNSENT.into()).await.unwrap(),
        _ => {}
    }
    let (mut proxy, mut client) = (&mut tunnel.proxy, &mut tunnel.client);
    let both = async { tokio::try_join!(&mut proxy, &mut client).unwrap() };
    let (proxy, client) = timeout(Duration::from_secs(3600), both).await.expect(&case);

    // An end that hears nothing notices; the other learns it of that one's end, at once.
    let up = tunnel.link.last_passed(Way::Up);
    let down = tunnel.link.last_passed(Way::Down);
    let silent = Some(End::Silent(DEAD));
    for (end, way, heard, other) in [
        (&proxy, Way::Up, up, &client),
        (&client, Way::Down, down, &proxy),
    ] {
        if lost.contains(&way) {
            let took = end.0 - heard;
            assert!((DEAD..=FOUND).contains(&took), "{case}: {took:?}");
            assert_eq!(end.1, silent, "{case}");
        } else {
            assert_eq!(end.0, other.0, "{case}");
            assert!(matches!(end.1, Some(End::Lost(_))), "{case}: {:?}", end.1);
        }
    }
    if let Some(under_way) = under_way {
        let failed = timeout(Duration::ZERO, under_way).await.expect(&case);
        assert!(failed.unwrap().is_err(), "{case}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_network_is_found_after_45_s_idle_and_with_a_blocked_writer() {
    for lost in [UP, DOWN, BOTH] {
        for load in [Load::Idle, Load::Answer, Load::Upload] {
            half_open(Link::stall, lost, load).await;
            half_open(Link::swallow, lost, load).await;
        }
    }
}

const MBIT: u32 = 1_000_000 / 8;
/// Bodies below half of a stream's window: who receives them has no window to update, and nothing
/// to say but the watchdog's pings. In all they take the link two minutes.
const LENGTH: usize = (1 << 18) - 4096;
const SCRAPES: usize = 64;

/// Large bodies, those of answers up and those of requests down. An answer that came whole is
/// [`LENGTH`] long, one to a request that came whole a byte.
fn busy(tunnel: &Tunnel, ways: &[Way]) -> Vec<(JoinHandle<hyper::Result<usize>>, usize)> {
    let requests = ways.iter().flat_map(|way| [*way; SCRAPES]);
    let request = |way| match way {
        Way::Up => (tunnel.request(Method::GET, nothing()), LENGTH),
        Way::Down => {
            let body = Either::Left(Full::from(vec![b'x'; LENGTH]));
            (tunnel.request(Method::POST, body), 1)
        }
    };
    requests.map(request).collect()
}

/// What targets do meanwhile.
async fn answer(mut targets: mpsc::UnboundedReceiver<Target>) {
    while let Some(mut target) = targets.recv().await {
        tokio::spawn(async move {
            let asked = target.asked.await.unwrap();
            let answer = match (target.method, asked) {
                (Method::GET, Some(0)) => vec![b'x'; LENGTH],
                (Method::POST, Some(LENGTH)) => vec![b'x'],
                // The scrape finds it to be the wrong length.
                _ => Vec::new(),
            };
            let _ = target.answer.send_data(answer.into()).await;
        });
    }
}

/// A link of 1 Mbit/s these ways, with so much queued before it.
async fn slow(ways: &[Way], buffer: usize) {
    let case = format!("{ways:?} slow, {buffer} queued");
    let delay = Duration::from_millis(25);
    let mut plan = Plan::each_way(Lane::delayed(delay));
    for way in ways {
        let lane = Lane {
            delay,
            buffer,
            ..Lane::at_rate(MBIT)
        };
        match way {
            Way::Up => plan.up = lane,
            Way::Down => plan.down = lane,
        }
    }
    let tunnel = Tunnel::open(plan).await;
    let start = Instant::now();
    let scrapes = busy(&tunnel, ways);
    tokio::spawn(answer(tunnel.targets));
    sleep(Duration::from_secs(10)).await;
    for way in ways {
        let queued = tunnel.link.taken(*way) - tunnel.link.passed(*way);
        assert!(queued + PIPE as u64 >= buffer as u64, "{case}: {queued}");
    }
    for (scrape, length) in scrapes {
        assert_eq!(scrape.await.unwrap().unwrap(), length, "{case}");
    }
    let took = start.elapsed().as_secs();
    assert!((130..200).contains(&took), "{case}: {took} s");
    // Nor afterwards.
    sleep(Duration::from_secs(600)).await;
    let over = tunnel.proxy.is_finished() || tunnel.client.is_finished();
    assert!(!over, "{case}");
}

#[tokio::test(start_paused = true)]
async fn a_slow_network_that_is_busy_is_not_taken_for_dead() {
    for ways in [UP, DOWN, BOTH] {
        for buffer in [PIPE, 4 << 20] {
            slow(ways, buffer).await;
        }
    }
}
