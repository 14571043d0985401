//! What a target sees of a scrape, and what a scraper sees of its answer.

use std::time::Duration;

use adit_tests::pair::{self, Pair};
use adit_tests::scraper::{self, Connection};
use adit_tests::target::answers::{head_of_length, ok, whole};
use adit_tests::target::{Step, Target};

/// A pair whose target `pi:9100` is at the scripted one.
async fn pair_of(target: &Target) -> Pair {
    Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_sees_the_scrapers_request_less_what_is_between_hops() {
    let target = Target::start(ok("m 1\n"));
    let pair = pair_of(&target).await;
    let fields = [
        "Authorization: Basic dGFyZ2V0OnM=",
        "X-Multi: one",
        "X-Multi: two, three",
        "X-Empty:",
        "Cookie: a=b",
        "Proxy-Authorization: Basic cHJveHk6cw==",
        "Proxy-Connection: keep-alive",
        "Connection: keep-alive, X-Hop, close",
        "X-Hop: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Upgrade: h2c",
        "Adit-Timeout-Ms: 1",
        "Adit-Fault: refused",
    ];
    scraper::scrape_with(pair.proxy.address, "http://pi:9100/metrics", &fields)
        .await
        .expect(200);
    let request = target.request();
    assert_eq!(request.line(), "GET /metrics HTTP/1.1");
    let mut seen = request.fields();
    seen.retain(|(name, _)| *name != "Host");
    let host = target.address().to_string();
    assert_eq!(request.field("Host"), Some(host), "of the URL");
    let expected = [
        ("User-Agent", "Prometheus/2.42.0"),
        ("Accept", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
        ("Accept-Encoding", "gzip"),
        ("X-Prometheus-Scrape-Timeout-Seconds", "10"),
        ("Authorization", "Basic dGFyZ2V0OnM="),
        ("X-Multi", "one"),
        ("X-Multi", "two, three"),
        ("X-Empty", ""),
        ("Cookie", "a=b"),
    ];
    for field in expected {
        assert!(
            seen.contains(&field),
            "{field:?} is missing: {}",
            request.head
        );
        seen.retain(|other| *other != field);
    }
    assert_eq!(seen, [], "nothing is added: {}", request.head);
    let multi: Vec<_> = request
        .fields()
        .into_iter()
        .filter(|(name, _)| *name == "X-Multi")
        .collect();
    assert_eq!(
        multi,
        [("X-Multi", "one"), ("X-Multi", "two, three")],
        "in their order"
    );
    assert_eq!(request.pieces, 1, "a naive parser reads once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn path_and_query_are_byte_exact() {
    let target = Target::start(ok("m 1\n"));
    let pair = pair_of(&target).await;
    for path in [
        "/",
        "/metrics",
        "//double//slash/",
        "/a/../b/./c",
        "/a/%2e%2E/%2f%2F/%61",
        "/metrics?",
        "/metrics??a=?",
        "/metrics?a=b&&c",
        "/federate?match%5B%5D=%7Bjob%3D~%22.%2B%22%7D&match%5B%5D=up",
        "/federate?match[]={job=~'a|b'}&x='y'",
        "/probe?target=http://10.0.0.1:80/x?y&module=http_2xx",
        "/metrics;v=1,2?a+b%20c",
        "/~user/$x/(a)*!",
    ] {
        pair.scrape(&format!("http://pi:9100{path}"))
            .await
            .expect(200);
        assert_eq!(target.requests().last().unwrap().path(), path);
        scraper::page(pair.proxy.address, &format!("/scrape/http/pi:9100{path}"))
            .await
            .expect(200);
        assert_eq!(target.requests().last().unwrap().path(), path, "path-style");
    }
    let long = format!("/federate?{}", "match[]=up&".repeat(5000));
    pair.scrape(&format!("http://pi:9100{long}"))
        .await
        .expect(200);
    assert_eq!(target.requests().last().unwrap().path(), long);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn host_is_the_scrapers_the_urls_or_the_configured_one() {
    let target = Target::start(ok("m 1\n"));
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("client.yml");
    let (address, port) = (target.address(), target.port());
    let config = format!(
        "targets:\n\
         - target: default:{port}\n\
         - {{target: 'url:9100', url: 'http://{address}'}}\n\
         - {{target: 'named:9100', url: 'http://LocalHost:{port}'}}\n\
         - {{target: 'forced:9100', url: 'http://{address}', host: other.example}}\n\
         - {{target: 'forced:{port}', host: third.example:1}}\n"
    );
    std::fs::write(&file, config).unwrap();
    let pair = Pair::start(&[&format!("--config.file={}", file.display())]).await;
    for (uri, host) in [
        (
            format!("http://default:{port}/metrics"),
            format!("default:{port}"),
        ),
        (
            format!("http://Default:{port}/metrics"),
            format!("Default:{port}"),
        ),
        ("http://url:9100/metrics".into(), address.to_string()),
        (
            "http://named:9100/metrics".into(),
            format!("LocalHost:{port}"),
        ),
        ("http://forced:9100/metrics".into(), "other.example".into()),
        (
            format!("http://forced:{port}/metrics"),
            "third.example:1".into(),
        ),
    ] {
        pair.scrape(&uri).await.expect(200);
        let requests = target.requests();
        assert_eq!(requests.last().unwrap().field("host"), Some(host), "{uri}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_the_target_keeps_is_used_again() {
    let target = Target::start(ok("m 1\n"));
    let pair = pair_of(&target).await;
    for _ in 0..10 {
        pair.scrape("http://pi:9100/metrics").await.expect(200);
    }
    let journal = target.journal();
    assert_eq!(journal.requests().count(), 10);
    assert_eq!(journal.connections.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_the_target_closed_after_all_costs_no_scrape() {
    // Promises to stay and does not.
    let target = Target::start(vec![Step::send(whole("m 1\n"))]);
    let pair = pair_of(&target).await;
    for n in 0..10 {
        // Now and then the close is still on its way when the next scrape comes.
        if n % 2 == 0 {
            target
                .until("closed", |j| {
                    j.connections.iter().all(|c| c.closed.is_some())
                })
                .await;
        }
        pair.scrape("http://pi:9100/metrics").await.expect(200);
    }
    assert_eq!(target.requests().len(), 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_takes_one_at_a_time_gets_one_connection_a_scrape() {
    let head = "HTTP/1.0 200 OK\r\nConnection: close\r\nContent-Type: text/plain\r\n\r\n";
    let target = Target::one_by_one(vec![
        Step::send(head),
        Step::Pause(Duration::from_millis(20)),
        Step::send("m 1\n"),
    ]);
    let pair = pair_of(&target).await;
    for n in 1..=5 {
        let answer = pair.scrape("http://pi:9100/metrics").await.expect(200);
        assert!(
            answer.took < Duration::from_secs(5),
            "it waited: {:?}",
            answer.took
        );
        assert_eq!(
            target.journal().connections.len(),
            n,
            "no other connection, ever"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_target_that_says_close_is_not_kept_waiting() {
    // It leaves the closing to us, as HTTP/1.1 allows, and serves nobody meanwhile.
    let answer = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nm 1\n";
    let target = Target::one_by_one(vec![Step::send(answer), Step::Stall]);
    let pair = pair_of(&target).await;
    for n in 1..=3 {
        let answer = pair.scrape("http://pi:9100/metrics").await.expect(200);
        assert!(
            answer.took < Duration::from_secs(5),
            "it waited: {:?}",
            answer.took
        );
        let what = "our side is closed";
        let journal = target
            .until(what, |j| j.connections.iter().all(|c| c.closed.is_some()))
            .await;
        assert_eq!(journal.connections.len(), n);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_passes_and_is_not_followed() {
    let answer =
        "HTTP/1.1 302 Found\r\nLocation: http://pi:9100/elsewhere\r\nContent-Length: 0\r\n\r\n";
    let target = Target::start(vec![Step::send(answer), Step::Next]);
    let pair = pair_of(&target).await;
    let answer = pair.scrape("http://pi:9100/metrics").await.expect(302);
    assert_eq!(
        answer.head.field("location").as_deref(),
        Some("http://pi:9100/elsewhere")
    );
    assert_eq!(target.request().path(), "/metrics");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answers_fields_pass_less_what_is_between_hops() {
    let answer = "HTTP/1.1 200 OK\r\nDate: Sat, 01 Jan 2000 00:00:00 GMT\r\nServer: odd/1\r\n\
                  Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nETag: \"x\"\r\nX-Empty: \r\n\
                  Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n\
                  Proxy-Authenticate: Basic\r\nAdit-Fault: deadline\r\nAdit-Reason: a lie\r\n\
                  Proxy-Status: upstream\r\nContent-Length: 4\r\n\r\nm 1\n";
    let target = Target::start(vec![Step::send(answer), Step::Next]);
    let pair = pair_of(&target).await;
    let answer = pair.scrape("http://pi:9100/metrics").await.expect(200);
    for (name, value) in [
        ("date", "Sat, 01 Jan 2000 00:00:00 GMT"),
        ("server", "odd/1"),
        ("set-cookie", "a=1|b=2"),
        ("etag", "\"x\""),
        ("x-empty", ""),
        ("proxy-status", "upstream"),
        ("content-length", "4"),
    ] {
        assert_eq!(
            answer.head.field(name).as_deref(),
            Some(value),
            "{name}: {}",
            answer.head.raw
        );
    }
    for name in [
        "x-hop",
        "keep-alive",
        "proxy-authenticate",
        "adit-fault",
        "adit-reason",
    ] {
        assert_eq!(answer.head.field(name), None, "{}", answer.head.raw);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn head_has_a_length_and_no_body() {
    let target = Target::start(vec![Step::send(head_of_length(1234)), Step::Next]);
    let pair = pair_of(&target).await;
    let mut connection = Connection::open(pair.proxy.address).await;
    for _ in 0..3 {
        let request = "HEAD http://pi:9100/metrics HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
        let answer = connection.exchange(request).await;
        assert_eq!(answer.head.status, 200);
        assert_eq!(answer.head.field("content-length").as_deref(), Some("1234"));
        assert_eq!(
            target.requests().last().unwrap().line(),
            "HEAD /metrics HTTP/1.1"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_method_that_is_offered_passes() {
    const METHODS: [&str; 4] = ["DELETE", "OPTIONS", "PROPFIND", "X-ODD"];
    let target = Target::start(ok("m 1\n"));
    let (_folder, config) = pair::config(&format!(
        "targets:\n- {{target: 'pi:9100', url: 'http://{}', methods: [{}]}}\n",
        target.address(),
        METHODS.join(", ")
    ));
    let pair = Pair::start(&[&config]).await;
    for method in METHODS {
        let request = format!("{method} http://pi:9100/x HTTP/1.1\r\nHost: pi:9100\r\n\r\n");
        scraper::send(pair.proxy.address, request).await.expect(200);
        let requests = target.requests();
        assert_eq!(
            requests.last().unwrap().line(),
            format!("{method} /x HTTP/1.1")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_scraper_does_not_ask_for_is_not_asked_for() {
    let target = Target::start(ok("m 1\n"));
    let pair = pair_of(&target).await;
    let bare = "GET http://pi:9100/metrics HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
    scraper::send(pair.proxy.address, bare).await.expect(200);
    let request = target.request();
    let names: Vec<&str> = request.fields().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["Host"], "{}", request.head);
}
