//! Marathon's members, any of which answers for all.

use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::time::{Instant, timeout_at};

use super::app::{App, parse};
use super::login::Login;
use crate::config::query::MarathonSource;
use crate::config::query::url::{BackendUrl, Way};
use crate::outbound::Outbound;

/// For a call, login included.
const TIME: Duration = Duration::from_secs(10);
/// How long a member that failed is asked last.
const REST: Duration = Duration::from_secs(30);
/// Most bytes of an app with its tasks.
const MOST: usize = 16 << 20;
/// Where DC/OS has Marathon, when the URL does not say.
const DCOS: &str = "/marathon";

/// What may stand in a path as it is, slashes between an id's parts included.
const PATH: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'/');

/// All members, and what is shown to them.
#[derive(Debug)]
pub(super) struct Members {
    outbound: Outbound,
    members: Vec<Member>,
    login: Option<Login>,
}

#[derive(Debug)]
struct Member {
    /// For people, without the user.
    name: String,
    /// What is put before `/v2`.
    base: String,
    /// Who asks, where there is no login.
    user: Option<HeaderValue>,
    resting_until: Option<Instant>,
}

/// Why one of them gave no app.
enum Trouble {
    /// Another may.
    Member(String),
    /// Neither would another.
    All(String),
}

impl Members {
    /// Those of the source. It blocks: files of certificates are read.
    ///
    /// # Errors
    /// What in the source cannot be used.
    pub(super) fn new(source: &MarathonSource) -> Result<Self, String> {
        let outbound = Outbound::new(&source.tls).map_err(|error| error.to_string())?;
        let has_secret = source.principal_secret.is_some();
        let members = source
            .urls
            .iter()
            .map(|url| Member::new(url.expose(), has_secret));
        let login = source
            .principal_secret
            .clone()
            .map(|secret| Login::new(secret, source.auth_endpoint.clone()));
        Ok(Self {
            outbound,
            members: members.collect::<Result<_, _>>()?,
            login,
        })
    }

    /// An app with its tasks; nothing, when Marathon has none of that id.
    ///
    /// # Errors
    /// No member could say, and why the last could not.
    pub(super) async fn app(&mut self, id: &str) -> Result<Option<App>, String> {
        let now = Instant::now();
        let mut order: Vec<_> = (0..self.members.len()).collect();
        // Those that rest may have come back when nobody else is left.
        order.sort_by_key(|member| {
            let until = self.members[*member].resting_until;
            until.filter(|until| *until > now)
        });
        let mut troubles = Vec::new();
        for member in order {
            match self.ask(member, id).await {
                Ok(app) => {
                    self.members[member].resting_until = None;
                    return Ok(app);
                }
                Err(Trouble::All(why)) => return Err(why),
                Err(Trouble::Member(why)) => {
                    let member = &mut self.members[member];
                    tracing::debug!(member = member.name, %why, "marathon: member failed");
                    member.resting_until = Some(Instant::now() + REST);
                    troubles.push(format!("{}: {why}", member.name));
                }
            }
        }
        match troubles.is_empty() {
            true => Err("there are no urls of marathon".to_owned()),
            false => Err(troubles.join("; ")),
        }
    }

    async fn ask(&mut self, member: usize, id: &str) -> Result<Option<App>, Trouble> {
        let deadline = Instant::now() + TIME;
        let mut answer = self.call(member, id, deadline).await?;
        if answer.status() == StatusCode::UNAUTHORIZED
            && let Some(login) = &mut self.login
        {
            login.forget();
            answer = self.call(member, id, deadline).await?;
        }
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::NOT_FOUND => return Ok(None),
            status @ StatusCode::UNAUTHORIZED => {
                return Err(Trouble::All(match &mut self.login {
                    Some(login) => {
                        login.forget();
                        format!("{status}: marathon does not take the token of a new login")
                    }
                    None => format!("{status}: marathon wants a login: set principal_secret_file"),
                }));
            }
            status @ StatusCode::FORBIDDEN => {
                return Err(Trouble::All(format!("{status}: app {id}")));
            }
            status => return Err(Trouble::Member(format!("answered {status}"))),
        }
        let body = Limited::new(answer.into_body(), MOST).collect();
        let body = match timeout_at(deadline, body).await {
            Err(_) => return Err(Trouble::Member("no whole answer in time".to_owned())),
            Ok(Err(error)) => return Err(Trouble::Member(error.to_string())),
            Ok(Ok(body)) => body.to_bytes(),
        };
        parse(&body).map(Some).map_err(Trouble::Member)
    }

    async fn call(
        &mut self,
        member: usize,
        id: &str,
        deadline: Instant,
    ) -> Result<Response<Incoming>, Trouble> {
        let member = &self.members[member];
        let shown = match &mut self.login {
            Some(login) => {
                let shown = login.shown(&self.outbound, deadline).await;
                Some(shown.map_err(Trouble::All)?)
            }
            None => member.user.clone(),
        };
        let id = utf8_percent_encode(id.trim_matches('/'), PATH);
        let uri = format!("{}/v2/apps/{id}?embed=app.tasks", member.base);
        let mut request = Request::get(uri).header(ACCEPT, "application/json");
        if let Some(shown) = shown {
            request = request.header(AUTHORIZATION, shown);
        }
        let request = request.body(Full::<Bytes>::default());
        let request = request.map_err(|error| Trouble::All(error.to_string()))?;
        let answer = self.outbound.send(request, deadline).await;
        answer.map_err(|error| Trouble::Member(error.to_string()))
    }
}

impl Member {
    fn new(url: &str, has_secret: bool) -> Result<Self, String> {
        const FORM: &str = "urls of marathon: expected http(s)://HOST:PORT[/PATH]";
        let url: BackendUrl = url.parse().map_err(|_| FORM.to_owned())?;
        let Way::Direct(scheme) = url.way else {
            return Err(FORM.to_owned());
        };
        let prefix = match url.prefix.as_str() {
            "" if has_secret => DCOS,
            prefix => prefix,
        };
        Ok(Self {
            name: url.to_string(),
            base: format!("{scheme}://{}{prefix}", url.authority),
            user: url.user.as_ref().and_then(|user| user.to_value()),
            resting_until: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_where_its_url_says() {
        for (url, has_secret, base) in [
            ("http://m1:8080", false, "http://m1:8080"),
            ("https://m1/", false, "https://m1"),
            ("https://m1", true, "https://m1/marathon"),
            (
                "https://m1/service/marathon/",
                true,
                "https://m1/service/marathon",
            ),
            ("http://u:s3cret@m1:8080", false, "http://m1:8080"),
        ] {
            let member = Member::new(url, has_secret).unwrap();
            assert_eq!(member.base, base);
            assert_eq!(member.user.is_some(), url.contains('@'));
            assert!(!format!("{member:?}").contains("s3cret"));
        }
        for url in ["m1:8080", "tunnel://m1:8080", "http://u:s3cret@", ""] {
            let error = Member::new(url, false).unwrap_err();
            assert!(
                error.contains("expected http") && !error.contains("s3cret"),
                "{error}"
            );
        }
    }
}
