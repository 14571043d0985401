//! A Marathon of several members with DC/OS' login before it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{Response, StatusCode};
use ring::signature::{KeyPair as _, RSA_PKCS1_2048_8192_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::ServerConfig;
use serde_json::{Value, json};

use super::serving::{Asked, Body, Record, Serving, json as answer, serve};

/// A key made for these tests, in PKCS#8.
pub const PRINCIPAL_KEY: &str = include_str!("principal.pem");
/// Where the login is.
const LOGIN: &str = "/acs/api/v1/auth/login";
/// Who logs in.
const UID: &str = "adit";
/// By what, where not with a key.
const PASSWORD: &str = "s3cret-of-adit";

/// Some members that know the same apps. Dropping it cuts their connections.
#[derive(Debug)]
pub struct FakeMarathon {
    members: Vec<Option<Serving>>,
    scheme: &'static str,
    shared: Shared,
    record: Record,
}

#[derive(Debug, Clone, Default)]
struct Shared(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    /// What stands before `/v2`.
    base: String,
    apps: BTreeMap<String, Value>,
    demands_login: bool,
    /// The one that is good.
    token: Option<String>,
    logins: usize,
    /// Why logins were refused.
    refused: Vec<String>,
    /// Instead of what it should say.
    says: Option<(u16, String)>,
}

impl FakeMarathon {
    /// So many members, on the loopback, whose API is below `base`.
    pub async fn start(members: usize, base: &str, tls: Option<Arc<ServerConfig>>) -> Self {
        let scheme = if tls.is_some() { "https" } else { "http" };
        let shared = Shared::default();
        base.clone_into(&mut shared.state().base);
        let record = Record::new();
        let mut started = Vec::new();
        for _ in 0..members {
            let asking = shared.clone();
            let serving = serve(tls.clone(), record.clone(), move |asked| {
                let shared = asking.clone();
                async move { shared.state().answer(&asked) }
            });
            started.push(Some(serving.await));
        }
        Self {
            members: started,
            scheme,
            shared,
            record,
        }
    }

    /// A member's address, without a path.
    ///
    /// # Panics
    /// When it was killed.
    pub fn url(&self, member: usize) -> String {
        let serving = self.members[member].as_ref().expect("it is alive");
        format!("{}://localhost:{}", self.scheme, serving.address.port())
    }

    /// Where to log in.
    pub fn login(&self) -> String {
        self.url(0) + LOGIN
    }

    /// Ends a member.
    pub fn kill(&mut self, member: usize) {
        self.members[member] = None;
    }

    /// Has this app, as `GET /v2/apps/{id}` gives it; its `id` begins with a slash.
    pub fn put(&self, app: Value) {
        let id = app["id"].as_str().expect("an id").to_owned();
        self.shared.state().apps.insert(id, app);
    }

    /// From now on nobody is served who has not logged in.
    pub fn demand_login(&self) {
        self.shared.state().demands_login = true;
    }

    /// Tokens given so far are no longer good.
    pub fn expire(&self) {
        self.shared.state().token = None;
    }

    /// Answers everything but logins with this, until it is nothing.
    pub fn say(&self, what: Option<(u16, &str)>) {
        self.shared.state().says = what.map(|(status, text)| (status, text.to_owned()));
    }

    /// How many logins were good, and why others were not.
    pub fn logins(&self) -> (usize, Vec<String>) {
        let state = self.shared.state();
        (state.logins, state.refused.clone())
    }

    /// What it was asked, in order.
    pub fn asked(&self) -> Vec<Asked> {
        self.record.all()
    }

    /// Waits until it was asked what `enough` wants.
    ///
    /// # Panics
    /// When it was not for long.
    pub async fn until(&self, what: &str, enough: impl Fn(&[Asked]) -> bool) {
        self.record.until(what, enough).await;
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with it")
    }
}

impl State {
    fn answer(&mut self, asked: &Asked) -> Response<Body> {
        if asked.path == LOGIN {
            return self.log_in(asked);
        }
        if let Some((status, text)) = &self.says {
            let status = StatusCode::from_u16(*status).expect("a status");
            return answer_text(status, text);
        }
        let is_known = self
            .token
            .as_ref()
            .is_some_and(|token| asked.authorization() == format!("token={token}"));
        if self.demands_login && !is_known {
            return answer(StatusCode::UNAUTHORIZED, &json!({"title": "Unauthorized"}));
        }
        let id = asked.path.strip_prefix(&format!("{}/v2/apps", self.base));
        match id.and_then(|id| self.apps.get(id)) {
            Some(app) => answer(StatusCode::OK, &json!({"app": app})),
            None => {
                let message = json!({"message": format!("App '{}' does not exist", asked.path)});
                answer(StatusCode::NOT_FOUND, &message)
            }
        }
    }

    fn log_in(&mut self, asked: &Asked) -> Response<Body> {
        let body = serde_json::from_slice(&asked.body).unwrap_or(Value::Null);
        match who(&body) {
            Ok(()) => {
                self.logins += 1;
                let token = format!("t0ken-{}", self.logins);
                self.token = Some(token.clone());
                answer(StatusCode::OK, &json!({"token": token}))
            }
            Err(why) => {
                self.refused.push(why);
                answer(
                    StatusCode::UNAUTHORIZED,
                    &json!({"code": "ERR_INVALID_CREDENTIALS"}),
                )
            }
        }
    }
}

fn answer_text(status: StatusCode, text: &str) -> Response<Body> {
    super::serving::whole(status, "application/json", text.to_owned())
}

fn who(body: &Value) -> Result<(), String> {
    if body["uid"] != UID {
        return Err("another uid".to_owned());
    }
    if body["password"] == PASSWORD {
        return Ok(());
    }
    let token = body["token"].as_str().ok_or("neither token nor password")?;
    let (signed, signature) = token.rsplit_once('.').ok_or("no signature")?;
    let (head, claims) = signed.split_once('.').ok_or("no claims")?;
    let decoded = |text: &str| {
        URL_SAFE_NO_PAD
            .decode(text)
            .map_err(|error| error.to_string())
    };
    let parsed = |text: &str| -> Result<Value, String> {
        serde_json::from_slice(&decoded(text)?).map_err(|error| error.to_string())
    };
    if parsed(head)?["alg"] != "RS256" {
        return Err("another algorithm".to_owned());
    }
    let key = RsaKeyPair::from_pkcs8(&der()).expect("the tests' own key");
    UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key.public_key().as_ref())
        .verify(signed.as_bytes(), &decoded(signature)?)
        .map_err(|_| "a wrong signature")?;
    let claims = parsed(claims)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("it is later")
        .as_secs();
    match claims["exp"].as_u64() {
        Some(exp) if exp > now && exp <= now + 600 && claims["uid"] == UID => Ok(()),
        _ => Err(format!("claims that are not good: {claims}")),
    }
}

fn der() -> Vec<u8> {
    let lines = PRINCIPAL_KEY.lines().filter(|line| !line.starts_with('-'));
    STANDARD.decode(lines.collect::<String>()).expect("PEM")
}

/// The same key in PKCS#1, as `openssl rsa -traditional` writes it.
pub fn principal_key_pkcs1() -> String {
    /// Of what PKCS#8 puts before a key of 2048 bits.
    const HEAD: usize = 26;
    let text = STANDARD.encode(&der()[HEAD..]);
    let lines: Vec<_> = text
        .as_bytes()
        .chunks(64)
        .map(String::from_utf8_lossy)
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN RSA PRIVATE KEY-----\n{lines}\n-----END RSA PRIVATE KEY-----\n")
}

/// A principal's secret as DC/OS writes it, with this key.
pub fn secret(login: &str, key: &str) -> Value {
    json!({"uid": UID, "login_endpoint": login, "private_key": key, "scheme": "RS256"})
}

/// One with a password.
pub fn password_secret(login: &str) -> Value {
    json!({"uid": UID, "login_endpoint": login, "password": PASSWORD})
}

/// An app whose tasks have a port each, at these hosts, as with the network of the host.
pub fn app(id: &str, tasks: &[(&str, u16)]) -> Value {
    let tasks: Vec<_> = tasks
        .iter()
        .enumerate()
        .map(|(n, (host, port))| {
            json!({"id": format!("task.{n}"), "host": host, "ports": [port], "state": "TASK_RUNNING"})
        })
        .collect();
    json!({"id": id, "instances": tasks.len(), "tasks": tasks,
           "portDefinitions": [{"port": 10000, "protocol": "tcp", "name": "web"}], "requirePorts": false})
}
