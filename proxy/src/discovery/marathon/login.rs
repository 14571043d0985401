//! What is shown to Marathon: a token that the login gives for the principal, or a user of its own.

use adit_common::secret::Secret;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use serde::Deserialize;
use tokio::time::{Instant, timeout_at};

use super::secret::Principal;
use crate::config::query::PrincipalSecret;
use crate::outbound::Outbound;

/// Most bytes of what a login answers: a token has some hundred.
const MOST: usize = 64 << 10;

/// Logs in, and keeps the token. It lasts for days, and Marathon says when it does not any more.
#[derive(Debug)]
pub(super) struct Login {
    secret: PrincipalSecret,
    /// Instead of the secret's.
    endpoint: Option<String>,
    shown: Option<HeaderValue>,
    warned: bool,
}

impl Login {
    /// With this secret. It is read for each login.
    pub(super) fn new(secret: PrincipalSecret, endpoint: Option<String>) -> Self {
        Self {
            secret,
            endpoint,
            shown: None,
            warned: false,
        }
    }

    /// What is shown, from the last login or a new one.
    pub(super) async fn shown(
        &mut self,
        outbound: &Outbound,
        deadline: Instant,
    ) -> Result<HeaderValue, String> {
        if let Some(shown) = &self.shown {
            return Ok(shown.clone());
        }
        let shown = self.log_in(outbound, deadline).await;
        let shown = shown.map_err(|why| format!("login: {why}"))?;
        Ok(self.shown.insert(shown).clone())
    }

    /// It was refused.
    pub(super) fn forget(&mut self) {
        self.shown = None;
    }

    async fn log_in(
        &mut self,
        outbound: &Outbound,
        deadline: Instant,
    ) -> Result<HeaderValue, String> {
        let secret = self.secret.clone();
        let read = tokio::task::spawn_blocking(move || {
            let principal = Principal::read(&secret)?;
            let body = principal.login()?;
            Ok((principal.login_endpoint, body))
        });
        let Ok(read) = timeout_at(deadline, read).await else {
            return Err("the principal's secret cannot be read in time".to_owned());
        };
        // It neither panics nor is aborted.
        let (endpoint, body) = read.unwrap_or_else(|error| Err(error.to_string()))?;
        let endpoint = self.endpoint.clone().or(endpoint).ok_or(
            "login_endpoint is missing in the principal's secret, and auth_endpoint is not set",
        )?;
        if !self.warned && !endpoint.starts_with("https:") {
            self.warned = true;
            tracing::warn!("marathon: the login is not over https: whoever is on the way sees it");
        }
        ask(outbound, &endpoint, &body, deadline).await
    }
}

async fn ask(
    outbound: &Outbound,
    endpoint: &str,
    body: &Secret,
    deadline: Instant,
) -> Result<HeaderValue, String> {
    #[derive(Deserialize)]
    struct Answer {
        token: String,
    }
    // It may have a user in it, and is not repeated.
    const FORM: &str = "login_endpoint or auth_endpoint: expected http(s)://HOST[:PORT]/PATH";
    let uri: http::Uri = endpoint.parse().map_err(|_| FORM.to_owned())?;
    let is_http = matches!(uri.scheme_str(), Some("http" | "https"));
    if !is_http || uri.authority().is_none_or(|at| at.as_str().contains('@')) {
        return Err(FORM.to_owned());
    }
    let body = Bytes::copy_from_slice(body.expose().as_bytes());
    let request = Request::post(uri)
        .header(CONTENT_TYPE, "application/json")
        .body(Full::new(body))
        .map_err(|error| error.to_string())?;
    let answer = outbound.send(request, deadline).await;
    let answer = answer.map_err(|error| error.to_string())?;
    let status = answer.status();
    // What it says beside the status may repeat what it was sent.
    if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
        return Err(format!("{status}: the principal's secret is not taken"));
    }
    if status != StatusCode::OK {
        return Err(format!("answered {status}"));
    }
    let body = Limited::new(answer.into_body(), MOST).collect();
    let body = match timeout_at(deadline, body).await {
        Ok(Ok(body)) => body.to_bytes(),
        _ => return Err("no whole answer".to_owned()),
    };
    let answer = serde_json::from_slice::<Answer>(&body).ok();
    let shown = answer.and_then(|answer| {
        let mut shown = HeaderValue::try_from(format!("token={}", answer.token)).ok()?;
        shown.set_sensitive(true);
        Some(shown)
    });
    shown.ok_or_else(|| "there is no token in the answer".to_owned())
}
