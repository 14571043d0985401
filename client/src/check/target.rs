//! One scrape, as a proxy would ask for it: the same policy, the same way, no tunnel.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use adit_common::fault::Report;
use adit_common::headers::TIMEOUT;
use adit_common::net::tls::ClientTls;
use adit_common::tunnel::tasks::Tasks;
use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http1 as client;
use hyper::server::conn::http1 as server;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::duplex;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::Client;
use crate::config::TargetConfig;
use crate::fetch::{Carrier, fetch};

/// Where most have something.
const USUAL: &str = "/metrics";
/// Of an answer on its way; the rest is not read.
const ROOM: usize = 64 * 1024;

/// Asks for its first path; gives the status where it is a good one.
///
/// # Errors
/// In words.
pub(super) async fn ask(
    client: &Arc<Client>,
    target: &TargetConfig,
    time: Duration,
) -> Result<String, String> {
    let offers_get = |methods: &Vec<Method>| methods.contains(&Method::GET);
    if !target.methods.as_ref().is_none_or(offers_get) {
        return Ok("not asked, it offers no GET".to_owned());
    }
    let first = target.paths.as_ref().and_then(|paths| paths.first());
    let path = first.map_or(USUAL.to_owned(), ToString::to_string);
    // What an URL says comes before it.
    let scheme = match target.tls == ClientTls::default() {
        true => "http",
        false => "https",
    };
    let millis = HeaderValue::from(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let request = Request::get(format!("{scheme}://{}{path}", target.target))
        .header(TIMEOUT, millis)
        .body(Empty::new())
        .map_err(|error| format!("{path}: {error}"))?;
    // Our own deadline has a reason to tell; this one is for what has none.
    let answer = timeout(2 * time, exchange(client, request)).await;
    let answer = answer.map_err(|_| "no answer in time".to_owned())?;
    let answer = answer.map_err(|error| error.to_string())?;
    if let Some(report) = Report::read_from(answer.headers()) {
        return Err(report.reason);
    }
    let status = answer.status();
    let says = format!("answers {status} at {path}");
    match status {
        _ if status.is_success() => Ok(says),
        // It was our guess.
        StatusCode::NOT_FOUND if first.is_none() => Ok(says),
        _ if status.is_redirection() => Err(format!("{says}; redirects are not followed")),
        _ => Err(says),
    }
}

/// Up to the head of the answer.
async fn exchange(
    ours: &Arc<Client>,
    request: Request<Empty<Bytes>>,
) -> hyper::Result<Response<Incoming>> {
    let (near, far) = duplex(ROOM);
    let tasks = Tasks::default();
    let _end = tasks.end_on_drop();
    let service = service_fn(|request| {
        let carrier = Carrier {
            tasks: tasks.clone(),
            leaving: CancellationToken::new(),
        };
        let answering = fetch(Arc::clone(ours), carrier, request);
        async { Ok::<_, Infallible>(answering.await) }
    });
    let serving = server::Builder::new().serve_connection(TokioIo::new(far), service);
    let (mut sender, asking) = client::handshake(TokioIo::new(near)).await?;
    let carrying = async {
        // Either ends when the other does; the answer says how.
        let _ = tokio::join!(serving, asking);
    };
    tokio::pin!(carrying);
    let answer = sender.send_request(request);
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        () = &mut carrying => answer.await,
    }
}
