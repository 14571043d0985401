use std::convert::Infallible;

use futures_util::stream::{self, Stream, StreamExt as _};
use http::Request;
use http_body_util::{Empty, Full, StreamBody};
use hyper::body::Frame;
use prometheus::IntGauge;

use super::*;
use crate::config::query::Allow;
use crate::query::asked::classify;

const FORM: &str = "application/x-www-form-urlencoded";

fn memory(most: usize) -> (Memory, IntGauge) {
    let gauge = IntGauge::new("held", "Bytes.").unwrap();
    (Memory::new(most, gauge.clone()), gauge)
}

fn head(line: &str, fields: &[(&str, &str)]) -> Parts {
    let (method, uri) = line.split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in fields {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

async fn taken<B: Body<Data = Bytes>>(
    head: Parts,
    body: B,
    most: usize,
    memory: &Memory,
) -> Result<Asked, Refusal> {
    let path = head.uri.path().to_owned();
    let class = classify(&head.method, &path, &Allow::default()).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    read(head, body, path, class, most, until, memory).await
}

/// A body of pieces, whose length nobody says.
fn pieces<E>(
    pieces: impl Stream<Item = Result<Bytes, E>>,
) -> StreamBody<impl Stream<Item = Result<Frame<Bytes>, E>>> {
    StreamBody::new(pieces.map(|piece| piece.map(Frame::data)))
}

/// As Grafana asks: nothing of it is changed, and all of it is understood.
#[tokio::test]
async fn a_form_stays_as_it_is_and_is_understood() {
    let form = "query=sum%28rate%28up%5B5m%5D%29%29&start=1.5&end=2015-07-01T20%3A10%3A51Z&step=15&timeout=2s";
    let line = "POST /api/v1/query_range?query=x&dedup=%74rue";
    let head = head(
        line,
        &[
            ("host", "adit:9090"),
            ("content-type", FORM),
            ("content-length", "104"),
            ("expect", "100-continue"),
            ("connection", "keep-alive, x-hop"),
            ("x-hop", "1"),
            ("accept-encoding", "gzip"),
            ("x-dashboard-uid", "abc"),
        ],
    );
    let (memory, gauge) = memory(1 << 20);
    let asked = taken(head, Full::from(form), 1 << 10, &memory)
        .await
        .unwrap();
    assert_eq!(asked.body, form);
    assert_eq!(asked.path, "/api/v1/query_range");
    assert_eq!(asked.query.as_deref(), Some("query=x&dedup=%74rue"));
    assert_eq!(asked.params.query.as_deref(), Some("sum(rate(up[5m]))"));
    assert_eq!(
        (asked.params.start, asked.params.end),
        (Some(1.5), Some(1_435_781_451.0))
    );
    let mut fields: Vec<&str> = asked.headers.keys().map(|name| name.as_str()).collect();
    fields.sort_unstable();
    assert_eq!(
        fields,
        ["accept-encoding", "content-type", "x-dashboard-uid"]
    );
    let longest = Duration::from_secs(120);
    assert_eq!(asked.time_allowed(longest), Duration::from_secs(2));
    assert_eq!(
        asked.time_allowed(Duration::from_secs(1)),
        Duration::from_secs(1)
    );

    assert_eq!(gauge.get(), asked.held.bytes() as i64);
    assert!(asked.held.bytes() >= 2 * form.len());
    drop(asked);
    assert_eq!(gauge.get(), 0);
}

#[tokio::test]
async fn a_request_without_a_body_takes_no_memory_but_its_parameters() {
    let (memory, gauge) = memory(100);
    let head = head("GET /federate?match[]=up&match[]=x", &[]);
    let body = Empty::<Bytes>::new();
    let asked = taken(head, body, 0, &memory).await.unwrap();
    assert_eq!(asked.params.matchers, ["up", "x"]);
    assert_eq!(
        asked.time_allowed(Duration::from_secs(9)),
        Duration::from_secs(9)
    );
    assert_eq!(gauge.get(), "match[]=up&match[]=x".len() as i64);
}

/// Whatever is in a body that is none of a read's, it is not looked at.
#[tokio::test]
async fn only_reads_are_looked_into() {
    let (memory, gauge) = memory(1 << 20);
    let head = head("POST /api/v1/read?query=x", &[("content-type", FORM)]);
    let asked = taken(head, Full::from("query=up"), 100, &memory)
        .await
        .unwrap();
    assert_eq!(
        (asked.params.clone(), &*asked.body),
        (Params::default(), &b"query=up"[..])
    );
    assert_eq!(gauge.get(), 8);
}

#[tokio::test]
async fn a_form_too_long_to_look_into_passes_all_the_same() {
    let (memory, gauge) = memory(1 << 20);
    let head = head("POST /api/v1/query", &[("content-type", FORM)]);
    let form = format!("timeout=1s&query={}", "x".repeat(MOST_READ));
    let asked = taken(head, Full::from(form.clone()), 1 << 20, &memory)
        .await
        .unwrap();
    assert_eq!(asked.params, Params::default());
    assert_eq!(asked.body, form);
    assert_eq!(gauge.get(), form.len() as i64);
}

/// Case 30: nothing of a body that says it is too large is read.
#[tokio::test]
async fn a_body_that_announces_too_much_is_not_read() {
    let (memory, gauge) = memory(1 << 20);
    let announced = Announced(101);
    let refused = taken(head("POST /api/v1/query", &[]), announced, 100, &memory).await;
    assert_eq!(refused.unwrap_err(), Refusal::BodyTooLarge(100));
    assert_eq!(gauge.get(), 0);
}

/// Says a length, and is not to be read.
struct Announced(u64);

impl Body for Announced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("it was read");
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        hyper::body::SizeHint::with_exact(self.0)
    }
}

/// Case 30: without a length it is read as far as it may be, and not a piece further.
#[tokio::test]
async fn a_body_that_goes_on_is_refused_at_the_bound() {
    let (memory, gauge) = memory(1 << 20);
    let mut given = 0;
    let endless = stream::repeat_with(|| {
        given += 1;
        Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 40]))
    });
    let refused = taken(
        head("POST /api/v1/query", &[]),
        pieces(endless),
        100,
        &memory,
    )
    .await;
    assert_eq!(refused.unwrap_err(), Refusal::BodyTooLarge(100));
    assert_eq!((given, gauge.get()), (3, 0));
}

#[tokio::test]
async fn a_body_of_exactly_the_bound_is_taken() {
    let (memory, gauge) = memory(100);
    let parts = stream::iter((0..100).map(|n| Ok::<_, Infallible>(vec![n; 1].into())));
    let head = head("POST /api/v1/write", &[]);
    let allow = Allow {
        write: true,
        ..Allow::default()
    };
    let class = classify(&head.method, "/api/v1/write", &allow).unwrap();
    let until = Instant::now() + Duration::from_secs(10);
    let asked = read(
        head,
        pieces(parts),
        "/api/v1/write".into(),
        class,
        100,
        until,
        &memory,
    )
    .await;
    let asked = asked.unwrap();
    assert_eq!(asked.body, (0..100).collect::<Vec<u8>>());
    assert_eq!(gauge.get(), 100);
}

#[tokio::test]
async fn a_body_without_room_for_it_is_refused_and_leaves_nothing_behind() {
    let (memory, gauge) = memory(10_000);
    let other = memory.take(6000).unwrap();
    let body = vec![b'x'; 5000];
    let refused = taken(
        head("POST /api/v1/query", &[]),
        Full::from(body.clone()),
        1 << 20,
        &memory,
    )
    .await;
    let Refusal::Busy { limit, words } = refused.unwrap_err() else {
        panic!("not busy");
    };
    assert_eq!(limit, "query_memory");
    assert!(
        words.contains("10000B") && words.contains("query_memory"),
        "{words}"
    );
    assert_eq!(gauge.get(), 6000);
    drop(other);
    let head = head("POST /api/v1/query", &[]);
    let asked = taken(head, Full::from(body), 1 << 20, &memory)
        .await
        .unwrap();
    assert_eq!(asked.body.len(), 5000);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_no_body() {
    let (memory, gauge) = memory(1 << 20);
    let broken = stream::iter([Ok(Bytes::from_static(b"query=")), Err("gone")]);
    let refused = taken(
        head("POST /api/v1/query", &[]),
        pieces(broken),
        100,
        &memory,
    )
    .await;
    assert_eq!(refused.unwrap_err(), Refusal::BadBody);
    assert_eq!(gauge.get(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_come_is_waited_for_until_its_deadline() {
    let (memory, gauge) = memory(1 << 20);
    let started = Instant::now();
    let stuck =
        stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"query="))]).chain(stream::pending());
    let refused = taken(head("POST /api/v1/query", &[]), pieces(stuck), 100, &memory).await;
    let waited = Duration::from_secs(10);
    assert_eq!(refused.unwrap_err(), Refusal::BodyTooSlow(waited));
    assert_eq!((started.elapsed().as_secs(), gauge.get()), (10, 0));
}

#[test]
fn what_later_steps_test_with_is_what_they_get() {
    let asked = Asked::of("GET /api/v1/query_range?query=up&step=1m");
    assert_eq!(asked.class.kind, Kind::Read);
    assert_eq!(asked.params.query.as_deref(), Some("up"));
    assert_eq!(asked.params.step, Some(60.0));
}
