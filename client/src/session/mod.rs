//! One tunnel, from our end: the proxy asks, we answer.
//!
//! A request without an authority is for us; one with an authority is for a target.
//!
//! * `GET /registration` — what we offer, now and whenever it changes ([`body`]).
//! * `POST /accepted` — the proxy routes to us from now on.
//! * `POST /going-away` — it wants us to open the next tunnel; this one serves on until it closes it.
//!
//! [`stages`] is what a session tells its keeper of the last two, and what it is told.

mod body;
mod stages;

use std::convert::Infallible;
use std::sync::Arc;

use adit_common::registration::{ACCEPTED_PATH, GOING_AWAY_PATH, PATH};
use adit_common::tunnel::goodbye::{End, Ending, Farewell, Goodbye};
use adit_common::tunnel::settings;
use adit_common::tunnel::stream::TunnelStream;
use adit_common::tunnel::tasks::Tasks;
use http::{Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

pub(crate) use self::stages::Stages;

use self::body::ClientBody;
use crate::Client;
use crate::fetch;

/// What answering a request in a tunnel needs.
struct Session {
    client: Arc<Client>,
    proxy: String,
    tasks: Tasks,
    stages: Stages,
}

/// Serves until the tunnel ends, and says why it did. Everything in it ends with it, and when the
/// future is dropped.
pub(crate) async fn serve(
    client: &Arc<Client>,
    proxy: &str,
    stream: TunnelStream<TokioIo<Upgraded>>,
    ending: Ending,
    stages: &Stages,
) -> End {
    let _ended = stages.end_on_drop();
    let tasks = Tasks::default();
    let _end = tasks.end_on_drop();
    let session = Arc::new(Session {
        client: Arc::clone(client),
        proxy: proxy.to_owned(),
        tasks: tasks.clone(),
        stages: stages.clone(),
    });
    let service = service_fn(|request| {
        let session = Arc::clone(&session);
        async move { Ok::<_, Infallible>(session.answer(request).await) }
    });
    let connection =
        settings::client_end(tasks.clone()).serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let result = tokio::select! {
        result = &mut connection => result,
        () = stages.leaving().cancelled() => {
            // The registration has ended by the same token: the proxy routes nothing more here.
            let reason = match client.stop.draining().is_cancelled() {
                true => "the client is stopping",
                false => "the client has no more use for this tunnel",
            };
            ending.say(Goodbye::new(Farewell::GoingAway, reason));
            connection.as_mut().graceful_shutdown();
            connection.as_mut().await
        }
    };
    tasks.end();
    tasks.ended().await;
    let fallback = match result {
        // HTTP/2 ended in good order and the WebSocket said nothing: the same in fewer words.
        Ok(()) => End::Peer(Goodbye::new(Farewell::GoingAway, "")),
        Err(error) => End::Lost(error.to_string()),
    };
    ending.end().cloned().unwrap_or(fallback)
}

impl Session {
    async fn answer(&self, request: Request<Incoming>) -> Response<ClientBody> {
        if request.uri().authority().is_none() {
            return self.ours(&request);
        }
        let client = Arc::clone(&self.client);
        let carrier = fetch::Carrier {
            tasks: self.tasks.clone(),
            leaving: self.stages.leaving().clone(),
        };
        let answer = fetch::fetch(client, carrier, request).await;
        answer.map(|answer| ClientBody::Answer { answer })
    }

    fn ours(&self, request: &Request<Incoming>) -> Response<ClientBody> {
        let mut response = Response::new(ClientBody::Empty);
        match (request.method(), request.uri().path()) {
            (&Method::GET, PATH) => {
                let leaving = self.stages.leaving().clone();
                *response.body_mut() = ClientBody::registrations(&self.client, leaving);
            }
            (&Method::POST, ACCEPTED_PATH) => {
                if self.stages.accept() {
                    tracing::info!(proxy = self.proxy, "registered");
                }
            }
            (&Method::POST, GOING_AWAY_PATH) => self.stages.going_away().cancel(),
            _ => *response.status_mut() = StatusCode::NOT_FOUND,
        }
        response
    }
}
