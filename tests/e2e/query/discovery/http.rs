//! A list at a URL.

use std::sync::{Arc, Mutex};

use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::target::{Ear, Request, Step, Target};
use adit_tests::tls::Authority;

use super::{World, write};

/// `sd:pw-of-the-endpoint`
const USER: &str = "Basic c2Q6cHctb2YtdGhlLWVuZHBvaW50";

/// An endpoint that says what it is told to say.
struct Endpoint {
    target: Target,
    says: Arc<Mutex<(u16, String)>>,
}

impl Endpoint {
    fn start(authority: &Authority, list: &str) -> Self {
        let says = Arc::new(Mutex::new((200, list.to_owned())));
        let saying = Arc::clone(&says);
        let script = move |_: &Request| {
            let (status, body) = saying.lock().unwrap().clone();
            vec![Step::send(format!(
                "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            ))]
        };
        let ear = Ear::tls(authority.server(&["127.0.0.1"]));
        let target = Target::at(vec![ear], script);
        Self { target, says }
    }

    fn say(&self, status: u16, body: impl Into<String>) {
        *self.says.lock().unwrap() = (status, body.into());
    }
}

fn list(fakes: &[&FakePrometheus]) -> String {
    let targets: Vec<String> = fakes.iter().map(|it| it.address().to_string()).collect();
    serde_json::json!([{"targets": targets, "labels": {"__path_prefix__": "/p"}}]).to_string()
}

/// Case 56. M13: TLS and users, towards the endpoint and towards what it names, each their own; and what
/// is no list changes nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_behind_a_password_says_where_backends_are() {
    let authority = Authority::new();
    let fakes = ["a", "b"].map(|id| {
        FakePrometheus::start_as(id, |state| {
            state.prefix = "/p".to_owned();
            state.authorization = Some("Bearer t0ken-of-backends".to_owned());
        })
    });
    let [a, b] = &fakes;
    let endpoint = Endpoint::start(&authority, &list(&[a]));
    let pool = format!(
        "discovery: {{grace: 1h, http: [{{url: 'https://{}/sd?team=x', refresh: 100ms, \
         tls: {{ca_file: '{}'}}, basic_auth: {{username: sd, password_file: password}}, \
         backend: {{authorization: {{credentials_file: token}}}}}}]}}",
        endpoint.target.address(),
        authority.ca_file().display()
    );
    let world = World::new(&pool, |folder| {
        write(folder, "password", "pw-of-the-endpoint\n");
        write(folder, "token", "t0ken-of-backends\n");
    })
    .await;
    let found = |fake: &FakePrometheus| format!("{}/p http", fake.url());
    world.lists(&[found(a)]).await;
    world.healthy(1).await;
    world.answers_of(&["a"]).await;
    let request = endpoint.target.nth_request(1).await;
    assert_eq!(request.path(), "/sd?team=x");
    assert_eq!(request.field("authorization").as_deref(), Some(USER));
    for (status, body, says) in [
        (500, "broken".to_owned(), "it answered 500"),
        (200, "[{\"targets\": [\"a:1\"".to_owned(), "its list:1:"),
        (
            200,
            "<html>login</html>".to_owned(),
            "its list:1:1: expected",
        ),
        (302, String::new(), "redirects are not followed"),
        (
            200,
            " ".repeat((8 << 20) + 1),
            "its list has over 8388608 bytes",
        ),
    ] {
        endpoint.say(status, body);
        world
            .shows(says, |pool| {
                let error = pool["sources"][0]["error"].as_str();
                error.is_some_and(|error| error.contains(says))
            })
            .await;
        world.lists(&[found(a)]).await;
    }
    endpoint.say(200, list(&[a, b]));
    world.source("http", "answering").await;
    world.lists(&[found(a), found(b)]).await;
    world.answers_of(&["a", "b"]).await;
    endpoint.say(200, list(&[b]));
    world.lists(&[found(b)]).await;
    a.all_closed().await;
    // A list that is suddenly empty counts after the grace.
    let asked = endpoint.target.requests().len();
    endpoint.say(200, "[]");
    endpoint.target.nth_request(asked + 3).await;
    world.lists(&[found(b)]).await;
    world.answers_of(&["b"]).await;
}
