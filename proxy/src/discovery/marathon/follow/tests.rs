//! [`super::follow`] against a Marathon that says what real ones say.

use std::time::Duration;

use adit_common::net::tls::ClientTls;
use adit_common::secret::Secret;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::*;
use crate::config::query::{Manner, PrincipalSecret};
use crate::discovery::fake_clusters::certificate;
use crate::discovery::fake_clusters::marathon::{
    FakeMarathon, PRINCIPAL_KEY, app, password_secret, principal_key_pkcs1, secret,
};

fn source(urls: Vec<String>) -> MarathonSource {
    MarathonSource {
        urls: urls.into_iter().map(Into::into).collect(),
        apps: vec!["/monitoring/prometheus".to_owned()],
        port: None,
        principal_secret: None,
        auth_endpoint: None,
        tls: ClientTls::default(),
        refresh: Duration::from_millis(50),
        manner: Manner::default(),
    }
}

fn with(source: MarathonSource, secret: &Value) -> MarathonSource {
    let secret = Secret::new(secret.to_string());
    MarathonSource {
        principal_secret: Some(PrincipalSecret::Value(secret)),
        ..source
    }
}

struct Followed {
    news: mpsc::Receiver<(usize, Result<Vec<Found>, String>)>,
    _following: JoinSet<()>,
}

impl Followed {
    fn start(source: MarathonSource) -> Self {
        // No room for more than one: what is told is not old.
        let (sender, news) = mpsc::channel(1);
        let mut following = JoinSet::new();
        following.spawn(follow(source, Report::new(0, sender)));
        Self {
            news,
            _following: following,
        }
    }

    async fn next(&mut self) -> Result<Vec<String>, String> {
        let news = timeout(Duration::from_secs(30), self.news.recv()).await;
        let (_, told) = news.expect("news").expect("it goes on for ever");
        if let Err(why) = &told {
            assert!(!why.contains("s3cret") && !why.contains("t0ken"), "{why}");
        }
        told.map(|found| found.iter().map(|found| found.url.to_string()).collect())
    }

    /// Waits for this, whatever is told before.
    async fn comes(&mut self, wanted: &Result<Vec<&str>, &str>) {
        let mut last = None;
        for _ in 0..100 {
            let next = self.next().await;
            let is_wanted = match (&next, wanted) {
                (Ok(next), Ok(wanted)) => next == wanted,
                (Err(next), Err(wanted)) => next.contains(wanted),
                _ => false,
            };
            if is_wanted {
                return;
            }
            last = Some(next);
        }
        panic!("{wanted:?} does not come, but {last:?}");
    }
}

/// Case 53.
#[tokio::test]
async fn tasks_of_all_apps_are_told_as_they_come_and_go() {
    let server = FakeMarathon::start(1, "", None).await;
    server.put(app(
        "/monitoring/prometheus",
        &[("10.0.0.1", 31000), ("10.0.0.2", 31001)],
    ));
    let mut source = source(vec![server.url(0)]);
    source.apps.push("other app".to_owned());
    let mut followed = Followed::start(source);
    let both = vec!["http://10.0.0.1:31000", "http://10.0.0.2:31001"];
    assert_eq!(followed.next().await.unwrap(), both);
    let asked = server.asked();
    assert_eq!(asked[0].path, "/v2/apps/monitoring/prometheus");
    assert_eq!(asked[0].query, "embed=app.tasks");
    assert_eq!(asked[1].path, "/v2/apps/other%20app");
    assert_eq!(asked[0].authorization(), "");
    server.put(app("/monitoring/prometheus", &[]));
    followed.comes(&Ok(vec![])).await;
    server.put(app("/monitoring/prometheus", &[("10.0.0.3", 31000)]));
    followed.comes(&Ok(vec!["http://10.0.0.3:31000"])).await;
    // What cannot be asked for leaves nothing out.
    for (status, says, why) in [
        (500, "{}", "answered 500"),
        (302, "{}", "answered 302"),
        (200, "<html>", "not what marathon says"),
        (403, "{}", "403 Forbidden"),
    ] {
        server.say(Some((status, says)));
        followed.comes(&Err(why)).await;
    }
    server.say(None);
    followed.comes(&Ok(vec!["http://10.0.0.3:31000"])).await;
}

#[tokio::test]
async fn another_member_is_asked_when_one_is_dead() {
    let mut server = FakeMarathon::start(2, "", None).await;
    server.put(app("/monitoring/prometheus", &[("10.0.0.1", 31000)]));
    let mut followed = Followed::start(source(vec![server.url(0), server.url(1)]));
    let one = vec!["http://10.0.0.1:31000"];
    assert_eq!(followed.next().await.unwrap(), one);
    server.kill(0);
    for _ in 0..5 {
        assert_eq!(followed.next().await.unwrap(), one, "nothing has failed");
    }
    server.kill(1);
    followed.comes(&Err("localhost")).await;
}

/// Case 54.
#[tokio::test]
async fn a_principal_logs_in_and_again_when_the_token_has_expired() {
    let server = FakeMarathon::start(1, "/marathon", None).await;
    server.put(app("/monitoring/prometheus", &[("10.0.0.1", 31000)]));
    server.demand_login();
    for secret in [
        secret(&server.login(), PRINCIPAL_KEY),
        secret(&server.login(), &principal_key_pkcs1()),
        password_secret(&server.login()),
    ] {
        let before = server.logins().0;
        // Without a path it is DC/OS' own.
        let mut followed = Followed::start(with(source(vec![server.url(0)]), &secret));
        let one = vec!["http://10.0.0.1:31000"];
        for _ in 0..3 {
            assert_eq!(followed.next().await.unwrap(), one);
        }
        assert_eq!(
            server.logins(),
            (before + 1, vec![]),
            "one login serves all"
        );
        server.expire();
        for _ in 0..3 {
            assert_eq!(followed.next().await.unwrap(), one, "nothing has failed");
        }
        assert_eq!(server.logins(), (before + 2, vec![]), "and one more");
    }
}

/// Case 54: mpp panicked.
#[tokio::test]
async fn what_cannot_log_in_is_told_and_is_no_panic() {
    let server = FakeMarathon::start(1, "/marathon", None).await;
    server.demand_login();
    let here = || source(vec![server.url(0)]);
    let mut elsewhere = with(here(), &password_secret(&server.url(0)));
    let mut wrong = password_secret(&server.login());
    wrong["uid"] = "s3cret".into();
    let mut nowhere = password_secret("");
    nowhere["login_endpoint"] = Value::Null;
    let says = |source: MarathonSource, why: &'static str| (source, why);
    let mut without = source(vec![server.url(0) + "/marathon"]);
    for (source, why) in [
        says(without.clone(), "set principal_secret_file"),
        says(
            with(here(), &wrong),
            "401 Unauthorized: the principal's secret is not taken",
        ),
        says(with(here(), &nowhere), "login_endpoint is missing"),
        says(with(here(), &json!({"uid": "x"})), "private_key is missing"),
        says(with(here(), &password_secret("s3cret")), "expected http"),
        says(elsewhere.clone(), "login: 401"),
    ] {
        let mut followed = Followed::start(source);
        for _ in 0..2 {
            let error = followed.next().await.unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }
    // What is set goes before what the secret says.
    elsewhere.auth_endpoint = Some(server.login());
    assert_eq!(Followed::start(elsewhere).next().await, Ok(vec![]));
    without.urls = vec!["m1:8080".to_owned().into()];
    let error = Followed::start(without).next().await.unwrap_err();
    assert!(error.contains("expected http"), "{error}");
}

/// Case 54: a token that is refused although it is new is not asked for again and again.
#[tokio::test]
async fn a_second_refusal_is_an_error() {
    let server = FakeMarathon::start(1, "/marathon", None).await;
    server.say(Some((401, "{}")));
    let secret = password_secret(&server.login());
    let mut source = with(source(vec![server.url(0)]), &secret);
    // It is told once, and not asked again meanwhile.
    source.refresh = Duration::from_secs(3600);
    let error = Followed::start(source).next().await.unwrap_err();
    assert!(
        error.contains("does not take the token of a new login"),
        "{error}"
    );
    assert_eq!(server.logins().0, 2);
    assert_eq!(server.asked().len(), 4, "two logins and two calls");
}

/// Case 54, and M13: what is said of TLS holds for Marathon and for the login.
#[tokio::test]
async fn tls_is_towards_marathon_and_the_login() {
    let (tls, ca) = certificate();
    let server = FakeMarathon::start(1, "/marathon", Some(tls)).await;
    server.put(app("/monitoring/prometheus", &[("10.0.0.1", 31000)]));
    server.demand_login();
    let folder = tempfile::tempdir().unwrap();
    let ca_file = folder.path().join("ca.pem");
    std::fs::write(&ca_file, ca).unwrap();
    let trusting = ClientTls {
        ca_file: Some(ca_file),
        ..ClientTls::default()
    };
    let careless = ClientTls {
        insecure_skip_verify: true,
        ..ClientTls::default()
    };
    for tls in [trusting, careless] {
        let mut source = with(
            source(vec![server.url(0)]),
            &secret(&server.login(), PRINCIPAL_KEY),
        );
        source.tls = tls;
        assert_eq!(Followed::start(source).next().await.unwrap().len(), 1);
    }
    let stranger = with(
        source(vec![server.url(0)]),
        &secret(&server.login(), PRINCIPAL_KEY),
    );
    let error = Followed::start(stranger).next().await.unwrap_err();
    assert!(error.contains("login: tls with localhost"), "{error}");
}

#[tokio::test]
async fn a_user_in_the_url_is_shown_to_marathon() {
    let server = FakeMarathon::start(1, "", None).await;
    let url = server.url(0).replace("http://", "http://u:s3cret@");
    assert_eq!(Followed::start(source(vec![url])).next().await, Ok(vec![]));
    assert_eq!(server.asked()[0].authorization(), "Basic dTpzM2NyZXQ=");
}
