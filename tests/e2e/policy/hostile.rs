//! A proxy that was taken over: it says what it likes in a client's tunnel.

use adit_common::fault::{Fault, Report};
use adit_tests::metrics::Metrics;
use adit_tests::pair::Client;
use adit_tests::scripted_proxy::{ScriptedProxy, ScriptedTunnel, text};
use adit_tests::target::Target;
use adit_tests::target::answers::ok;
use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, Version};
use http_body_util::Empty;

fn request(method: Method, uri: &str, fields: &[(&'static str, &str)]) -> Request<Empty<Bytes>> {
    let mut request = Request::new(Empty::new());
    *request.method_mut() = method;
    *request.uri_mut() = uri.parse().unwrap();
    for (name, value) in fields {
        request.headers_mut().append(*name, value.parse().unwrap());
    }
    request
}

/// A client of a scripted proxy that offers `pi:9100`, which is the target, and every port of `box`.
struct Scene {
    target: Target,
    client: Client,
    tunnel: ScriptedTunnel,
    _proxy: ScriptedProxy,
}

impl Scene {
    async fn start() -> Self {
        let target = Target::start(ok("secret 1\n"));
        let proxy = ScriptedProxy::start().await;
        let flag = format!("--target=pi:9100=http://{}", target.address());
        let flags = [&flag, "--allow-any-port", "--name=box"];
        let client = Client::launch(&[&proxy.url()], &flags).await;
        let mut tunnel = proxy.tunnel().await;
        tunnel.accept().await;
        Self {
            target,
            client,
            tunnel,
            _proxy: proxy,
        }
    }

    /// What the client says of a request it does not send on.
    async fn refused(&mut self, request: Request<Empty<Bytes>>) -> Report {
        let what = format!("{request:?}");
        let answer = self.tunnel.send(request).await.unwrap();
        let report = Report::read_from(answer.headers());
        assert_eq!(text(answer).await, "", "{what}");
        report.unwrap_or_else(|| panic!("{what} was answered"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn targets_in_odd_spellings_are_refused() {
    let mut scene = Scene::start().await;
    let port = scene.target.port();
    let web = scene.client.web.port();
    let local = [
        "localhost",
        "LOCALHOST.",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "[::1]",
        "[0:0::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "0.0.0.0",
        "[::]",
        "box.localhost",
        "pi.",
        "PI",
        "169.254.169.254",
        "2852039166",
        "[fd00:ec2::254]",
        "metadata.google.internal",
        "xbox",
        "box.example",
        "-",
        "_",
    ];
    for host in local {
        for port in [port, web, 80] {
            let uri = format!("http://{host}:{port}/metrics");
            let report = scene.refused(request(Method::GET, &uri, &[])).await;
            assert_eq!(report.fault, Fault::NotOffered, "{uri}: {}", report.reason);
            let connect = format!("{host}:{port}");
            let report = scene.refused(request(Method::CONNECT, &connect, &[])).await;
            assert_eq!(report.fault, Fault::NotOffered, "{connect}");
        }
    }
    // Of what is offered, with something about it.
    for uri in [
        "http://user:pa55word@pi:9100/metrics",
        "http://pi:9100@box:1/metrics",
        "http://pi:09100:1/metrics",
        "http://pi:99999/metrics",
        "http://pi:0/metrics",
        "http://pi..:9100/metrics",
        "http://.pi:9100/metrics",
        "http://pi/metrics",
        "https://pi/metrics",
    ] {
        // Some are nothing that can be said.
        let Ok(uri) = uri.parse::<Uri>() else {
            continue;
        };
        let uri = uri.to_string();
        let report = scene.refused(request(Method::GET, &uri, &[])).await;
        assert_eq!(report.fault, Fault::NotOffered, "{uri}: {}", report.reason);
        assert!(!report.reason.contains("pa55word"), "{}", report.reason);
    }
    assert_eq!(scene.target.journal().connections.len(), 0);
    let metrics = Metrics::of(scene.client.web).await;
    assert_eq!(metrics.sum("adit_client_upstream_dials_total"), 0.0);
    // A name in another spelling is the same name, with the same rules.
    let (status, body) = scene.tunnel.scrape("http://PI.:9100/metrics").await;
    assert_eq!((status, &*body), (StatusCode::OK, "secret 1\n"));
    let report = scene
        .refused(request(Method::DELETE, "http://PI.:9100/metrics", &[]))
        .await;
    assert_eq!(report.reason, "pi:9100: method DELETE is not offered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_pages_are_not_in_the_tunnel() {
    let mut scene = Scene::start().await;
    let web = scene.client.web;
    for host in ["client", "localhost", "127.0.0.1", "adit-client"] {
        for uri in [
            format!("http://{host}/metrics"),
            format!("http://{host}:{}/metrics", web.port()),
        ] {
            let report = scene.refused(request(Method::GET, &uri, &[])).await;
            assert_eq!(report.fault, Fault::NotOffered, "{uri}");
        }
    }
    // Without an authority it is us who are asked, and we know three paths.
    let mut known = 0;
    for method in [Method::GET, Method::POST, Method::PUT, Method::DELETE] {
        for path in [
            "/metrics",
            "/-/reload",
            "/-/ready",
            "/-/healthy",
            "/",
            "/registration/",
            "/status",
            "//registration",
            "/registration/../metrics",
            "/tunnel",
            "/clients",
        ] {
            let mut request = request(method.clone(), path, &[("host", "pi:9100")]);
            *request.version_mut() = Version::HTTP_11;
            let answer = scene.tunnel.send(request).await.unwrap();
            assert_eq!(answer.status(), StatusCode::NOT_FOUND, "{method} {path}");
            assert_eq!(text(answer).await, "");
            known += 1;
        }
    }
    assert_eq!(known, 44);
    assert_eq!(
        scene.target.journal().connections.len(),
        0,
        "whatever `host` says"
    );
}

/// A length with a stream that has no bytes would leave the target waiting for them: it would take
/// the beginning of the next request for a body, and what is in one of its fields for a request.
/// h2 resets the worst of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_is_smuggled_behind_another() {
    let mut scene = Scene::start().await;
    for method in [Method::GET, Method::HEAD] {
        for fields in [
            &[("content-length", "42")][..],
            &[("content-length", "0")],
            &[("content-length", "42"), ("content-length", "0")],
            &[("content-length", "0"), ("content-length", "42")],
            &[("content-length", "42, 42")],
            &[("content-length", "+42")],
            &[("transfer-encoding", "chunked")],
            &[("transfer-encoding", "chunked"), ("content-length", "42")],
            &[("connection", "keep-alive"), ("keep-alive", "x")],
            &[("upgrade", "websocket"), ("connection", "upgrade")],
            &[("expect", "100-continue"), ("content-length", "42")],
        ] {
            let uri = "http://pi:9100/first";
            // Resetting it is as good as making it harmless.
            if let Ok(answer) = scene
                .tunnel
                .send(request(method.clone(), uri, fields))
                .await
            {
                text(answer).await;
            }
            let hidden = [("x-hidden", "DELETE /debug HTTP/1.1")];
            let second = request(Method::GET, "http://pi:9100/second", &hidden);
            let answer = scene.tunnel.send(second).await.unwrap();
            assert_eq!(answer.status(), StatusCode::OK, "{fields:?}");
            assert_eq!(text(answer).await, "secret 1\n", "{fields:?}");
        }
    }
    let requests = scene.target.requests();
    let seconds = requests
        .iter()
        .filter(|request| request.line() == "GET /second HTTP/1.1");
    assert_eq!(seconds.count(), 22);
    for request in &requests {
        assert!(
            ["/first", "/second"].contains(&request.path()),
            "{}",
            request.head
        );
        assert_eq!(request.body.len(), 0, "{}", request.head);
        assert_eq!(request.field("transfer-encoding"), None, "{}", request.head);
        assert_eq!(request.field("upgrade"), None, "{}", request.head);
        let length = request.field("content-length");
        assert!(
            length.is_none_or(|length| length == "0"),
            "{}",
            request.head
        );
    }
}
