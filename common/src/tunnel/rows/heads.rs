//! e and f: request heads that hyper takes amiss.

use http::header::CONTENT_LENGTH;
use http::{HeaderValue, Method};
use http_body_util::channel::{Channel, Sender};
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::link::{WIDE, link};
use super::*;

/// A tunnel and a scrape in it that takes a second, the sibling of what comes. The client echoes
/// what is connected, and answers anything else with the size of the request's head.
async fn with_sibling(settings: Settings) -> (Tunnel, Incoming) {
    let (proxy, client, _, _) = link(WIDE, WIDE);
    let tunnel = Tunnel::open(settings, (proxy, client), |request| {
        if request.uri().path() == "/open" {
            let (sender, body) = Channel::<Bytes, Infallible>::new(1);
            tokio::spawn(later(sender));
            return Response::new(body.boxed_unsync());
        }
        if request.method() == Method::CONNECT {
            tokio::spawn(echo(request));
            return Response::new(Empty::new().boxed_unsync());
        }
        let headers = request.headers();
        let fields: usize = headers.values().map(HeaderValue::len).sum();
        let size = request.uri().path().len() + fields;
        let mut answer = Response::new(full(size.to_string()));
        if let Some(size) = headers.get("answer-head") {
            let value = "v".repeat(size.to_str().unwrap().parse().unwrap());
            answer.headers_mut().insert("large", value.parse().unwrap());
        }
        answer
    })
    .await;
    let sibling = tunnel.head(get("/open")).await.unwrap();
    (tunnel, sibling.into_body())
}

/// What the sibling still has to say.
const LATER: &str = "later";

async fn later(mut sender: Sender<Bytes, Infallible>) {
    tokio::time::sleep(Duration::from_secs(1)).await;
    // Nobody listens any more when the tunnel died.
    let _ = sender.send_data(LATER.into()).await;
}

async fn echo(request: Request<Incoming>) {
    let through = TokioIo::new(hyper::upgrade::on(request).await.unwrap());
    let (mut from, mut to) = tokio::io::split(through);
    tokio::io::copy(&mut from, &mut to).await.unwrap();
}

/// A request with a path and fields of so many KiB.
fn sized(path: usize, fields: usize) -> Request<Empty<Bytes>> {
    let mut request = get(&format!("/{}", "p".repeat(path * 1024 - 1)));
    for _ in 0..fields {
        let value = HeaderValue::from_str(&"f".repeat(1024)).unwrap();
        request.headers_mut().append("field", value);
    }
    request
}

#[tokio::test(start_paused = true)]
async fn f_long_request_heads() {
    let (mut tunnel, sibling) = with_sibling(Defaults).await;
    let refused = tunnel.head(sized(17, 0)).await.unwrap();
    assert_eq!(refused.status(), 431);
    assert!(tunnel.head(sized(17, 50)).await.is_err());
    assert!(drain(sibling).await.is_err());
    // Of h2's two reasons, which depends on where the frames were cut.
    tunnel.assert_died("GoAway").await;

    let (tunnel, sibling) = with_sibling(Ours).await;
    // http's URIs end at 64 KiB. The proxy forwards heads of 128 KiB and of 100 fields at most.
    for (path, fields) in [(17, 0), (17, 50), (63, 65), (1, 99)] {
        let answer = tunnel.head(sized(path, fields)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let size = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(size, ((path + fields) * 1024).to_string());
    }
    assert_eq!(drain(sibling).await.unwrap(), LATER.len());
    tunnel.assert_alive().await;
}

/// Not in the table: the way back has the same limit by default, and Prometheus takes 1 MB.
#[tokio::test(start_paused = true)]
async fn f_long_answer_heads() {
    let mut request = get("/large");
    request
        .headers_mut()
        .insert("answer-head", 1_000_000.into());

    let (mut tunnel, sibling) = with_sibling(Defaults).await;
    assert!(tunnel.head(request.clone()).await.is_err());
    assert!(drain(sibling).await.is_err());
    tunnel.assert_died("too_many_continuations").await;

    let (tunnel, sibling) = with_sibling(Ours).await;
    let answer = tunnel.head(request).await.unwrap();
    assert_eq!(answer.headers()["large"].len(), 1_000_000);
    assert_eq!(drain(sibling).await.unwrap(), LATER.len());
    tunnel.assert_alive().await;
}

/// The start of an HTTP/2 connection, and a frame with a request's head that is whole.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
const HEADERS: u8 = 1;
const END_HEADERS: u8 = 4;
const END_STREAM: u8 = 1;

fn headers(stream: u8, flags: u8, block: &[u8]) -> Vec<u8> {
    let length = u8::try_from(block.len()).unwrap();
    let mut frame = vec![0, 0, length, HEADERS, END_HEADERS | flags, 0, 0, 0, stream];
    frame.extend_from_slice(block);
    frame
}

/// Whether a client's end is still there after a scrape that takes long and then a CONNECT with
/// `fields`, written by hand: hyper's own HTTP/2 client does not send the one that matters.
async fn survives_connect(client: client_side::Builder<Tasks>, fields: &[u8]) -> bool {
    let (mut proxy, socket) = duplex(64 * 1024);
    let service = service_fn(|_| ready(Ok::<_, Infallible>(Response::new(pending()))));
    let client = tokio::spawn(client.serve_connection(TokioIo::new(socket), service));
    // RFC 7541, A: 0x82 is `:method: GET`, 0x84 `:path: /`, 0x86 `:scheme: http`; 0x41 and 0x42
    // are an authority and a method with what follows.
    let scrape = headers(1, END_STREAM, b"\x82\x84\x86\x41\x02pi");
    let connect = [b"\x42\x07CONNECT\x41\x05pi:22", fields].concat();
    let connect = headers(3, 0, &connect);
    proxy
        .write_all(&[PREFACE, &scrape, &connect].concat())
        .await
        .unwrap();
    settle().await;
    if !client.is_finished() {
        return true;
    }
    // The scrape ends with the connection, which thinks that all is well.
    assert!(client.await.unwrap().is_ok());
    proxy.read_to_end(&mut Vec::new()).await.unwrap();
    false
}

#[tokio::test(start_paused = true)]
async fn e_a_connect_with_a_length_ends_the_connection() {
    let content_length = b"\x5c\x015";
    let (_, client) = defaults();
    assert!(survives_connect(client, b"").await);
    let (_, client) = defaults();
    assert!(!survives_connect(client, content_length).await);
    // No number of ours helps: what comes here must have none, and the proxy sees to that.
    let client = settings::client_end(Tasks::default());
    assert!(!survives_connect(client, content_length).await);
}

#[tokio::test(start_paused = true)]
async fn e_a_connect_without_its_length_passes() {
    let (tunnel, sibling) = with_sibling(Ours).await;
    let mut connect = Request::connect("pi:22").body(Empty::new()).unwrap();
    connect.headers_mut().insert(CONTENT_LENGTH, 5.into());
    // hyper's client keeps it from the tunnel, at the price of the request.
    assert!(tunnel.head(connect.clone()).await.unwrap_err().is_user());

    connect.headers_mut().remove(CONTENT_LENGTH);
    let answer = tunnel.head(connect).await.unwrap();
    assert_eq!(answer.status(), 200);
    let mut through = TokioIo::new(hyper::upgrade::on(answer).await.unwrap());
    through.write_all(b"SSH-2.0-").await.unwrap();
    let mut echo = [0; 8];
    through.read_exact(&mut echo).await.unwrap();
    assert_eq!(&echo, b"SSH-2.0-");
    assert_eq!(drain(sibling).await.unwrap(), LATER.len());
    tunnel.assert_alive().await;
}
