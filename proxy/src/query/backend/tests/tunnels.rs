//! A backend behind a client's tunnel: a session over a pipe, and a client that says what the test
//! wants.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adit_common::deadline::Deadline;
use adit_common::fault::{Fault, Report};
use adit_common::headers::TIMEOUT;
use adit_common::registration::{Instance, Registration};
use adit_common::tunnel::goodbye::{End, Ending};
use adit_common::tunnel::settings;
use adit_common::tunnel::tasks::Tasks;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::lab::{PATIENCE, failed, get, open_found, post, registry, send, text, whole, within};
use crate::carrier::{Poll, Session};
use crate::config::Limits;
use crate::config::duplicates::Rules;
use crate::config::query::Manner;
use crate::discovery::Found;
use crate::outbound::MOST_FIELDS;
use crate::query::backend::{Backend, Failure};
use crate::query::standing::Tier;
use crate::registry::Registry;

type Broken = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<BoxBody<Bytes, Broken>>;

/// A client at the other end of a pipe.
struct Client {
    session: Arc<Session>,
    tasks: Tasks,
}

impl Client {
    /// Answers every request like this.
    async fn start<F, T>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> T + Send + Sync + 'static,
        T: Future<Output = Answer> + Send + 'static,
    {
        let (ours, theirs) = tokio::io::duplex(64 * 1024);
        let tasks = Tasks::default();
        let service = service_fn(move |request| {
            let answering = answer(request);
            async { Ok::<_, Infallible>(answering.await) }
        });
        let serving =
            settings::client_end(tasks.clone()).serve_connection(TokioIo::new(theirs), service);
        tasks.spawn(async {
            let _ = serving.await;
        });
        let handshake = settings::proxy_end(tasks.clone()).handshake(TokioIo::new(ours));
        let (sender, connection) = handshake.await.unwrap();
        tasks.spawn(async {
            let _ = connection.await;
        });
        let limits = Limits {
            scrapes_per_client: 2,
            ..Limits::default()
        };
        let offer = Registration::default();
        let ending = Ending::default();
        let session = Session::new(Instance::now(), offer, Some(sender), &limits, ending);
        Self { session, tasks }
    }

    fn register(&self, registry: &Registry) {
        let names = ["pi".parse().unwrap()];
        let claimed = registry.claim(&self.session, &names, &Rules::default());
        claimed.unwrap();
    }

    /// Of those places nobody has.
    fn places(&self) -> usize {
        self.session.scrapes().available_permits()
    }

    /// The tunnel breaks, and its own task has not noticed yet.
    fn cut(&self) {
        self.session.ending().note(End::Lost("cut".to_owned()));
        self.tasks.end();
    }
}

fn behind(registry: &Arc<Registry>, url: &str) -> Arc<Backend> {
    let found = Found::new(url.parse().unwrap(), &Manner::default());
    open_found(&found, registry)
}

/// A backend at a client that answers like this.
async fn reached<F, T>(answer: F) -> (Arc<Backend>, Client, Arc<Registry>)
where
    F: Fn(Request<Incoming>) -> T + Send + Sync + 'static,
    T: Future<Output = Answer> + Send + 'static,
{
    let client = Client::start(answer).await;
    let registry = registry();
    client.register(&registry);
    (behind(&registry, "tunnel://pi:9090"), client, registry)
}

fn full(text: &'static str) -> BoxBody<Bytes, Broken> {
    Full::from(text).map_err(|never| match never {}).boxed()
}

/// A body that the test goes on with, and says of itself that it is no longer wanted.
fn open_body() -> (Sender<Bytes, Broken>, BoxBody<Bytes, Broken>) {
    let (sender, body) = Channel::new(1);
    (sender, body.boxed())
}

#[tokio::test]
async fn a_client_is_asked_for_the_target_with_the_time_there_is() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let client = Client::start(move |request| {
        let tell = tell.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.unwrap().to_bytes();
            tell.send((head, body)).unwrap();
            let mut answer = Response::new(full("ok"));
            let headers = answer.headers_mut();
            headers.insert("adit-news", "1".parse().unwrap());
            headers.insert("keep-alive", "1".parse().unwrap());
            headers.insert("x-kept", "1".parse().unwrap());
            answer
        }
    })
    .await;
    let registry = registry();
    client.register(&registry);
    let backend = behind(&registry, "tunnel://pi:9090/prom/");
    let mut question = post("/api/v1/query?a=%2A", "query=up");
    for (name, value) in [
        ("host", "grafana"),
        ("authorization", "Bearer x"),
        ("adit-timeout-ms", "1"),
        ("content-length", "99"),
    ] {
        question.headers.insert(name, value.parse().unwrap());
    }
    let answer = send(&backend, question).await.unwrap();
    let names: Vec<&str> = answer.headers().keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["content-length", "x-kept"]);
    assert_eq!(answer.version(), http::Version::HTTP_11);
    assert_eq!(whole(answer).await.unwrap(), "ok");
    let (head, body) = told.recv().await.unwrap();
    assert_eq!(head.uri, "http://pi:9090/prom/api/v1/query?a=%2A");
    assert_eq!(body, "query=up");
    assert_eq!(head.headers["content-length"], "8");
    assert_eq!(head.headers["authorization"], "Bearer x");
    assert!(!head.headers.contains_key("host"));
    let asked = Deadline::from_header(head.headers.get(TIMEOUT), Duration::MAX).unwrap();
    let left = asked.granted();
    assert!(left > PATIENCE && left <= PATIENCE * 2, "{left:?}");
}

#[tokio::test]
async fn what_a_client_reports_is_the_failure_it_is() {
    type Is = fn(&Failure) -> bool;
    let connect: Is = |failure| matches!(failure, Failure::Connect(_));
    let reset: Is = |failure| matches!(failure, Failure::Reset(_));
    let unaskable: Is = |failure| matches!(failure, Failure::Unaskable(_));
    let tls: Is = |failure| matches!(failure, Failure::Tls(_));
    for (fault, is) in [
        (Fault::NotOffered, unaskable),
        (Fault::Forbidden, connect),
        (Fault::Unresolved, connect),
        (Fault::Refused, connect),
        (Fault::Unreachable, connect),
        (Fault::Tls, tls),
        (Fault::Certificate, tls),
        (Fault::BrokeOff, reset),
        (Fault::Malformed, reset),
        (Fault::TooLarge, reset),
        (Fault::Oversized, unaskable),
        (Fault::Busy, |failure| matches!(failure, Failure::Busy(_))),
        (Fault::Deadline, |failure| {
            matches!(failure, Failure::Deadline(_))
        }),
        (Fault::Draining, |failure| {
            matches!(failure, Failure::TunnelLost(_))
        }),
    ] {
        let (backend, client, _registry) = reached(move |_| async move {
            let mut answer = Response::new(full(""));
            *answer.status_mut() = http::StatusCode::BAD_GATEWAY;
            Report::new(fault, "pi:9090: the reason").write_to(answer.headers_mut());
            answer
        })
        .await;
        let failure = failed(send(&backend, get("/")).await.map(|_| ()));
        assert!(is(&failure), "{fault}: {failure:?}");
        assert_eq!(failure.to_string(), "pi:9090: the reason");
        assert_eq!(client.places(), 2);
    }
}

#[tokio::test]
async fn an_answers_place_is_taken_until_its_end() {
    let (bodies, mut sending) = mpsc::unbounded_channel();
    let (backend, client, _registry) = reached(move |_| {
        let (sender, body) = open_body();
        bodies.send(sender).unwrap();
        async { Response::new(body) }
    })
    .await;
    let first = send(&backend, get("/")).await.unwrap();
    let second = send(&backend, get("/")).await.unwrap();
    let failure = failed(send(&backend, get("/")).await.map(|_| ()));
    assert!(matches!(failure, Failure::Busy(_)), "{failure:?}");
    // One ends, the other is left.
    let mut sender = sending.recv().await.unwrap();
    sender.send_data("abc".into()).await.unwrap();
    drop(sender);
    let mut body = first.into_body();
    let mut text = Vec::new();
    while let Some(frame) = within("a frame", body.frame()).await {
        text.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert_eq!(
        (&*text, client.places()),
        (&b"abc"[..], 1),
        "held by no one though it is there"
    );
    drop(second);
    assert_eq!(client.places(), 2);
    drop(body);
    assert_eq!(client.places(), 2);
}

/// Case 57, of the cancel: the stream is reset, and the client knows.
#[tokio::test]
async fn the_stream_of_whoever_leaves_is_reset() {
    /// Tells when it is dropped.
    struct Guard(mpsc::UnboundedSender<()>);
    impl Drop for Guard {
        fn drop(&mut self) {
            let _ = self.0.send(());
        }
    }
    let (asked, mut is_asked) = mpsc::unbounded_channel();
    let (left, mut is_left) = mpsc::unbounded_channel();
    let (bodies, mut sending) = mpsc::unbounded_channel();
    let (backend, client, _registry) = reached(move |request| {
        let (asked, guard, bodies) = (asked.clone(), Guard(left.clone()), bodies.clone());
        async move {
            let _guard = guard;
            asked.send(()).unwrap();
            if request.uri().path() == "/stall" {
                std::future::pending::<()>().await;
            }
            let (sender, body) = open_body();
            bodies.send(sender).unwrap();
            Response::new(body)
        }
    })
    .await;
    let deadline = Instant::now() + PATIENCE * 9;
    tokio::select! {
        answer = backend.send(get("/stall"), deadline) => panic!("{:?}", answer.map(|_| ())),
        _ = is_asked.recv() => {}
    }
    within("the end of the request", is_left.recv()).await;
    let mut body = send(&backend, get("/")).await.unwrap().into_body();
    let mut sender = sending.recv().await.unwrap();
    sender.send_data("abc".into()).await.unwrap();
    within("a frame", body.frame()).await.unwrap().unwrap();
    drop(body);
    let refused = async { while sender.send_data("more".into()).await.is_ok() {} };
    within("the end of the body", refused).await;
    assert_eq!(client.places(), 2);
}

/// Case 58, as far as it is this backend: the loss is an answer at once, wherever it comes.
#[tokio::test]
async fn a_tunnel_that_is_lost_ends_what_is_under_way_at_once() {
    let (asked, mut is_asked) = mpsc::unbounded_channel();
    let (bodies, mut sending) = mpsc::unbounded_channel();
    let (backend, client, _registry) = reached(move |request| {
        let (asked, bodies) = (asked.clone(), bodies.clone());
        async move {
            asked.send(()).unwrap();
            if request.uri().path() == "/stall" {
                std::future::pending::<()>().await;
            }
            let (sender, body) = open_body();
            bodies.send(sender).unwrap();
            Response::new(body)
        }
    })
    .await;
    let answer = send(&backend, get("/")).await.unwrap();
    is_asked.recv().await;
    let mut sender = sending.recv().await.unwrap();
    sender.send_data("abc".into()).await.unwrap();
    let cut = async {
        is_asked.recv().await;
        client.cut();
    };
    let (lost, ()) = tokio::join!(send(&backend, get("/stall")), cut);
    for failure in [failed(lost.map(|_| ())), failed(whole(answer).await)] {
        assert!(matches!(failure, Failure::TunnelLost(_)), "{failure:?}");
        assert!(
            failure.to_string().contains("connection lost: cut"),
            "{failure}"
        );
    }
    assert!(!backend.is_linked(), "it is not found again");
    assert_eq!(backend.tier(Instant::now()), Tier::Out);
    let failure = failed(send(&backend, get("/")).await.map(|_| ()));
    assert_eq!(failure.to_string(), "no client for pi");
}

/// What has not left by a session that is ending goes by the next, whatever it is.
#[tokio::test]
async fn a_session_that_is_over_is_passed_by() {
    let answer = |text| move |_| async move { Response::new(full(text)) };
    let (old, new) = (
        Client::start(answer("old")).await,
        Client::start(answer("new")).await,
    );
    let registry = registry();
    let rules = Rules {
        default: crate::config::duplicates::Duplicates::Replicas,
        ..Rules::default()
    };
    // The newest serves.
    for client in [&new, &old] {
        let names = ["pi".parse().unwrap()];
        registry.claim(&client.session, &names, &rules).unwrap();
    }
    let backend = behind(&registry, "tunnel://pi:9090");
    assert_eq!(text(&backend, get("/")).await, "old");
    old.session.close();
    assert_eq!(text(&backend, post("/api/v1/write", "x")).await, "new");
    new.session.close();
    let failure = failed(send(&backend, get("/")).await.map(|_| ()));
    assert!(matches!(failure, Failure::TunnelLost(_)), "{failure:?}");
}

#[tokio::test]
async fn a_target_that_breaks_off_is_told_from_a_tunnel_that_does() {
    let (backend, _client, _registry) = reached(|request| async move {
        let (mut sender, body) = open_body();
        let mut answer = Response::new(body);
        if request.uri().path() == "/short" {
            answer
                .headers_mut()
                .insert("content-length", "10".parse().unwrap());
        }
        tokio::spawn(async move {
            let _ = sender.send_data("abc".into()).await;
            if request.uri().path() == "/broken" {
                sender.abort("broken".into());
            }
        });
        answer
    })
    .await;
    for path in ["/broken", "/short"] {
        let answer = send(&backend, get(path)).await.unwrap();
        let failure = failed(whole(answer).await);
        assert!(
            matches!(failure, Failure::Truncated(_)),
            "{path}: {failure:?}"
        );
    }
    assert_eq!(text(&backend, get("/whole")).await, "abc");
}

#[tokio::test]
async fn what_a_client_may_not_answer_is_no_answer() {
    let (backend, client, _registry) = reached(|request| async move {
        let mut answer = Response::new(full(""));
        for n in 0..=MOST_FIELDS {
            let name = http::HeaderName::try_from(format!("x-{n}")).unwrap();
            answer.headers_mut().insert(name, "1".parse().unwrap());
        }
        if request.uri().path() == "/stall" {
            std::future::pending::<()>().await;
        }
        answer
    })
    .await;
    let failure = failed(send(&backend, get("/")).await.map(|_| ()));
    assert!(matches!(failure, Failure::Reset(_)), "{failure:?}");
    let deadline = Instant::now() + Duration::from_millis(200);
    let failure = failed(backend.send(get("/stall"), deadline).await.map(|_| ()));
    assert!(matches!(failure, Failure::Deadline(_)), "{failure:?}");
    assert_eq!(client.places(), 2);
}

#[tokio::test]
async fn who_polls_holds_no_tunnel_and_keeps_its_poll() {
    let registry = registry();
    let backend = behind(&registry, "tunnel://pi:9090");
    let failure = failed(send(&backend, get("/")).await.map(|_| ()));
    assert_eq!(failure, Failure::TunnelLost("no client for pi".to_owned()));
    let name = "pi".parse().unwrap();
    let mut handed = None;
    registry.park(&name, None, &Rules::default(), 8, |poller| {
        let (poll, receiver) = Poll::for_tests("pi", poller);
        handed = Some(receiver);
        poll
    });
    assert!(!backend.is_linked());
    let failure = failed(send(&backend, get("/")).await.map(|_| ()));
    let words = "pi polls, and does not hold a tunnel";
    assert_eq!(failure, Failure::TunnelLost(words.to_owned()));
    assert!(handed.unwrap().try_recv().is_err(), "it was handed nothing");
    let found = registry.find(&name);
    assert!(
        matches!(found, crate::registry::Found::Here(_)),
        "{found:?}"
    );
}

/// Case 59, as far as it is this backend.
#[tokio::test]
async fn a_link_that_comes_and_goes_is_noticed_however_soon() {
    let (backend, client, registry) = reached(|_| async { Response::new(full("")) }).await;
    assert!(backend.is_linked());
    within("what is so already", backend.link_other_than(false)).await;
    let gone = backend.link_other_than(true);
    let go = async { registry.release(&client.session) };
    within("the loss", async { tokio::join!(gone, go) }).await;
    assert!(!backend.is_linked());
    let back = backend.link_other_than(false);
    let come = async { client.register(&registry) };
    within("the return", async { tokio::join!(back, come) }).await;
    // Somebody else's coming is none of its business.
    let mut unchanged = std::pin::pin!(backend.link_other_than(true));
    let other = Session::for_tests(Instance::now());
    registry
        .claim(&other, &["nas".parse().unwrap()], &Rules::default())
        .unwrap();
    assert!(futures_util::poll!(unchanged.as_mut()).is_pending());
    assert!(super::lab::open("http://127.0.0.1:1").is_linked());
}
