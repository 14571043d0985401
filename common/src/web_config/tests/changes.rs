use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;

use crate::web_config::lab::{Client, HASH, Lab, TLS, meet};
use crate::web_config::*;

fn opened(lab: &Lab, text: &str) -> Arc<Web> {
    let path = lab.write("web.yml", text);
    Arc::new(Web::open(Some(path)).unwrap())
}

/// The certificate that the next to come in sees.
async fn shown(web: &Web) -> Vec<u8> {
    let config = web.current();
    let tls = config.tls.as_ref().unwrap();
    let (_, shown, _) = meet(tls, Client::default().config()).await.unwrap();
    shown.to_vec()
}

fn users(names: &[&str]) -> String {
    let lines: String = names.iter().map(|it| format!("  {it}: {HASH}\n")).collect();
    format!("basic_auth_users:\n{lines}")
}

/// What is told of changes, as it comes; time passes by itself while nothing else can happen.
fn told(
    web: &Arc<Web>,
) -> (
    mpsc::UnboundedReceiver<Result<(), String>>,
    tokio::task::JoinHandle<()>,
) {
    let (say, hear) = mpsc::unbounded_channel();
    let fresh = Arc::clone(web).keep_fresh(move |result| say.send(result.clone()).unwrap());
    (hear, tokio::spawn(fresh))
}

async fn next(hear: &mut mpsc::UnboundedReceiver<Result<(), String>>) -> Result<(), String> {
    let next = tokio::time::timeout(Duration::from_secs(60), hear.recv()).await;
    next.expect("told in time").expect("it looks for ever")
}

#[tokio::test]
async fn the_next_to_come_in_sees_the_new_certificate() {
    let lab = Lab::new();
    let web = opened(&lab, TLS);
    let mut follows = web.subscribe();
    let first = shown(&web).await;
    let (mut hear, task) = told(&web);

    let second = lab.serve_as("proxy");
    assert_ne!(first, second.der.to_vec());
    // Between certificate and key there may have been a look: it is bad then, and good later.
    let mut result = next(&mut hear).await;
    if result.is_err() {
        result = next(&mut hear).await;
    }
    assert_eq!(result, Ok(()));
    assert_eq!(shown(&web).await, second.der.to_vec());
    assert!(follows.has_changed().unwrap());
    assert!(follows.borrow_and_update().tls.is_some());
    task.abort();
}

#[tokio::test]
async fn a_ca_that_is_taken_out_lets_nobody_in() {
    let lab = Lab::new();
    let web = opened(
        &lab,
        &format!("{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n"),
    );
    let pair = lab.ca.issue("pi", |_| {});
    let client = Client {
        shows: Some(&pair),
        ..Client::default()
    };
    // The client keeps what it may keep of the session.
    let client = client.config();
    let before = web.current();
    let tls = before.tls.as_ref().unwrap();
    assert!(meet(tls, Arc::clone(&client)).await.is_ok());

    lab.write("ca.pem", &crate::web_config::lab::Ca::new("next").1);
    assert_eq!(web.reread(), Ok(()));
    let after = web.current();
    let error = meet(after.tls.as_ref().unwrap(), client).await.map(drop);
    let error = error.unwrap_err();
    assert_eq!(
        error.to_string(),
        "client certificate is of no CA in client_ca_file"
    );
}

#[tokio::test]
async fn a_change_is_told_once_and_the_last_good_one_stays() {
    let lab = Lab::new();
    let web = opened(&lab, &users(&["prom"]));
    let (mut hear, task) = told(&web);

    lab.write("web.yml", "basic_auth_users: {prom: s3cret}\n");
    let error = next(&mut hear).await.unwrap_err();
    assert!(
        error.contains("web.yml: basic_auth_users \"prom\": expected a bcrypt"),
        "{error}"
    );
    assert!(!error.contains("s3cret"));
    assert_eq!(web.current().users.names().collect::<Vec<_>>(), ["prom"]);

    // Looked at once more, there is nothing to tell.
    assert_eq!(web.look(false), None);

    // Renamed into its place, as Kubernetes and editors do.
    let there = lab.folder.path().join("web.yml");
    let beside = lab.write("web.yml.new", &users(&["prom", "grafana"]));
    std::fs::rename(beside, &there).unwrap();
    assert_eq!(next(&mut hear).await, Ok(()));
    assert_eq!(web.current().users.names().count(), 2);

    std::fs::remove_file(&there).unwrap();
    assert!(next(&mut hear).await.unwrap_err().contains("No such file"));
    assert_eq!(web.current().users.names().count(), 2);

    lab.write("web.yml", &users(&["grafana"]));
    assert_eq!(next(&mut hear).await, Ok(()));
    assert_eq!(web.current().users.names().collect::<Vec<_>>(), ["grafana"]);
    task.abort();
}

#[test]
fn a_look_costs_nothing_where_nothing_has_changed() {
    let lab = Lab::new();
    let web = opened(&lab, TLS);
    let before = web.current();
    assert_eq!(web.look(false), None);
    // Touched only.
    let text = std::fs::read_to_string(lab.folder.path().join("cert.pem")).unwrap();
    lab.write("cert.pem", &text);
    assert_eq!(web.look(false), None);
    assert!(Arc::ptr_eq(&before, &web.current()));
    // Asked for, it is read all the same.
    assert_eq!(web.reread(), Ok(()));
    assert!(!Arc::ptr_eq(&before, &web.current()));
}

/// Before Linux 6.13 both bear the same time.
#[test]
fn what_is_written_twice_within_a_tick_of_the_clock_is_seen() {
    let lab = Lab::new();
    let web = opened(&lab, &users(&["b"]));
    for _ in 0..100 {
        for user in ["a", "b"] {
            // In place, and of the same size.
            lab.write("web.yml", &users(&[user]));
            assert_eq!(web.look(false), Some(Ok(())));
            assert!(web.current().users.get(user).is_some());
        }
    }
}

#[test]
fn a_file_that_is_named_anew_is_followed_also_while_it_is_wrong() {
    let lab = Lab::new();
    let web = opened(&lab, TLS);
    let elsewhere = TLS.replace("key.pem", "next.pem");
    lab.write("web.yml", &elsewhere);
    let error = web.look(false).unwrap().unwrap_err();
    assert!(
        error.contains("key_file \"next.pem\": No such file"),
        "{error}"
    );
    assert_eq!(web.look(false), None);
    let key = std::fs::read_to_string(lab.folder.path().join("key.pem")).unwrap();
    lab.write("next.pem", &key);
    assert_eq!(web.look(false), Some(Ok(())));
    assert_eq!(web.look(false), None);
}

#[test]
fn what_is_fixed_at_the_start_stays_and_is_said() {
    let lab = Lab::new();
    let limit = "rate_limit: {interval: 1h, burst: 2}\n";
    let web = opened(&lab, &format!("{TLS}{limit}{}", users(&["prom"])));
    assert!(web.current().rate_limit.as_ref().unwrap().allow());

    lab.write("web.yml", &users(&["grafana"]));
    let error = web.reread().unwrap_err();
    assert!(
        error.ends_with(
            "web.yml: whether there is TLS and rate_limit changed, which takes a restart; \
             the rest is in force"
        ),
        "{error}"
    );
    let now = web.current();
    assert!(now.tls.is_some());
    assert_eq!(now.users.names().collect::<Vec<_>>(), ["grafana"]);
    // The same bucket, with what was left in it.
    let left = now.rate_limit.as_ref().unwrap();
    assert!(left.allow() && !left.allow());

    // Said again as it was, it is the same bucket still.
    lab.write("web.yml", &format!("{TLS}{limit}"));
    assert_eq!(web.reread(), Ok(()));
    assert!(!web.current().rate_limit.as_ref().unwrap().allow());

    let plain = Lab::new();
    let web = opened(&plain, "");
    plain.write("web.yml", TLS);
    assert!(
        web.reread()
            .unwrap_err()
            .contains("whether there is TLS changed")
    );
    assert!(web.current().tls.is_none());
}

#[tokio::test]
async fn without_a_file_nothing_is_asked_and_nothing_changes() {
    let web = Arc::new(Web::open(None).unwrap());
    assert!(!web.current().asks());
    assert_eq!(web.reread(), Ok(()));
    assert_eq!(web.look(true), None);
    let error = Web::open(Some(Path::new("/nonexistent/web.yml").to_owned())).unwrap_err();
    assert!(
        error.to_string().starts_with("/nonexistent/web.yml: "),
        "{error}"
    );
}
