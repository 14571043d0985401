//! What a target may be asked, and with whose credentials.

use adit_tests::metrics::Metrics;
use adit_tests::pair::Pair;
use adit_tests::scraper::{self, Answer};
use adit_tests::target::answers::{metric, ok};
use adit_tests::target::{Request, Step, Target};

use super::{offering, pair_with};

async fn ask(pair: &Pair, method: &str, path: &str) -> Answer {
    let request = format!(
        "{method} http://pi:9100{path} HTTP/1.1\r\nHost: pi:9100\r\nContent-Length: 0\r\n\r\n"
    );
    scraper::send(pair.proxy.address, request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_reads_is_offered_by_default() {
    let target = Target::start(ok("m 1\n"));
    let named = format!("--target=pi:9100=http://{}", target.address());
    let pair = Pair::start(&[&named, "--allow-any-port", "--name=box"]).await;
    for (method, path) in [
        ("GET", "/metrics"),
        ("HEAD", "/metrics"),
        ("POST", "/api/v1/query_range?x=1"),
        ("POST", "/federate"),
        ("POST", "/api/v1/read"),
    ] {
        ask(&pair, method, path).await.expect(200);
    }
    let answered = target.requests().len();
    for (method, path, words) in [
        ("POST", "/-/reload", "pi:9100: method POST is not offered"),
        ("POST", "/-/quit", "pi:9100: method POST is not offered"),
        ("POST", "/api/v1/admin/tsdb/snapshot", "is not offered"),
        (
            "DELETE",
            "/metrics",
            "pi:9100: method DELETE is not offered",
        ),
        (
            "PUT",
            "/metrics/job/x",
            "pi:9100: method PUT is not offered",
        ),
        ("OPTIONS", "/metrics", "method OPTIONS"),
        ("TRACE", "/metrics", "method TRACE"),
        ("get", "/metrics", "method get"),
    ] {
        ask(&pair, method, path).await.refusal(403, words);
    }
    // The same of every port, and of a path-style scrape.
    let port = target.port();
    let request = format!("DELETE http://box:{port}/x HTTP/1.1\r\nHost: box\r\n\r\n");
    let answer = scraper::send(pair.proxy.address, request).await;
    answer.refusal(403, "method DELETE is not offered");
    let request = "DELETE /scrape/http/pi:9100/x HTTP/1.1\r\nHost: x\r\n\r\n";
    let answer = scraper::send(pair.proxy.address, request).await;
    answer.refusal(403, "method DELETE is not offered");
    assert_eq!(target.requests().len(), answered, "not one came through");
    let metrics = Metrics::of(pair.client.web).await;
    let refused = metrics.series("adit_client_faults_total{fault=\"not-offered\"}");
    assert_eq!(refused, 10.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_paths_below_those_that_are_given_are_asked_and_byte_for_byte() {
    let target = Target::start(ok("m 1\n"));
    let (pair, _folder) = pair_with(&target, "paths: [/metrics, /probe]").await;
    let fine = [
        "/metrics",
        "/metrics/%6eode?a=%2e%2e/..",
        "/probe/?target=/../x",
        "/m%65trics",
    ];
    for path in fine {
        ask(&pair, "GET", path).await.expect(200);
    }
    for path in [
        "/",
        "/debug/pprof/",
        "/metricsx",
        "/metrics/../debug",
        "/metrics/%2e%2e/debug",
        "/metrics/..%2fdebug",
        "/metrics/..%5cdebug",
        "/metrics/..;/debug",
        "/metrics/%252e%252e/debug",
        "/metrics%00/debug",
        "//metrics",
        "/probe/%2E./debug",
    ] {
        let words = format!("pi:9100: path {path} is not offered");
        ask(&pair, "GET", path).await.refusal(403, &words);
    }
    let requests = target.requests();
    let asked: Vec<&str> = requests.iter().map(|request| request.path()).collect();
    assert_eq!(asked, fine, "as they were written");
    // Nobody can look into bytes.
    let connect = "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
    let answer = scraper::send(pair.proxy.address, connect).await;
    answer.refusal(403, "pi:9100: CONNECT is not offered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_climbs_out_of_a_url_with_a_path() {
    let target = Target::start(ok("m 1\n"));
    let flag = format!("--target=pi:9100=http://{}/node", target.address());
    let pair = Pair::start(&[&flag]).await;
    ask(&pair, "GET", "/metrics").await.expect(200);
    for path in ["/../admin", "/%2e%2e/admin", "/x/../../admin"] {
        ask(&pair, "GET", path).await.refusal(403, "has a segment");
    }
    let connect = "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
    let answer = scraper::send(pair.proxy.address, connect).await;
    answer.refusal(403, "pi:9100: CONNECT is not offered");
    assert_eq!(target.request().path(), "/node/metrics");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_redirect_is_passed_on_and_where_it_leads_is_not_offered() {
    const PLACE: &str = "http://169.254.169.254/latest/meta-data/";
    let target = Target::start(vec![
        Step::send(format!(
            "HTTP/1.1 302 Found\r\nLocation: {PLACE}\r\nContent-Length: 0\r\n\r\n"
        )),
        Step::Next,
    ]);
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    let answer = pair.scrape("http://pi:9100/metrics").await.expect(302);
    assert_eq!(answer.head.field("location").as_deref(), Some(PLACE));
    // Prometheus would follow it, through the proxy.
    pair.scrape(PLACE).await.refusal(502, "169.254.169.254");
    let metrics = Metrics::of(pair.client.web).await;
    assert_eq!(metrics.sum("adit_client_upstream_dials_total"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_only_where_it_is_offered() {
    let target = Target::start(ok("m 1\n"));
    let address = target.address();
    let config = format!(
        "targets:\n- {{target: 'pi:1', url: 'http://{address}'}}\n\
         - {{target: 'pi:2', url: 'http://{address}', connect: false}}\n\
         - {{target: 'pi:3', url: 'http://{address}', methods: [GET]}}\n\
         - {{target: 'pi:4', url: 'http://{address}', methods: [GET], connect: true}}\n"
    );
    let (_folder, flag) = adit_tests::pair::config(&config);
    let pair = Pair::start(&[&flag]).await;
    for (port, status) in [(1, 200), (2, 403), (3, 403), (4, 200), (5, 403)] {
        let mut connection = scraper::Connection::open(pair.proxy.address).await;
        let request = format!("CONNECT pi:{port} HTTP/1.1\r\nHost: pi:{port}\r\n\r\n");
        connection.write(request).await;
        let head = connection.head().await;
        assert_eq!(head.status, status, "{port}: {head:?}");
        assert!(status == 200 || head.reason.contains(&format!("pi:{port}")));
    }
}

/// What the target was sent as `Authorization`, one after the other.
fn authorizations(target: &Target) -> Vec<Option<String>> {
    let field = |request: &Request| request.field("authorization");
    target.requests().iter().map(field).collect()
}

const SCRAPERS: &str = "Authorization: Bearer of-the-scraper";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_scrapers_credentials_pass_in_proxy_form_only() {
    let target = Target::start(ok(metric("m")));
    let pair = Pair::start(&[&format!("--target=pi:9100=http://{}", target.address())]).await;
    let absolute = scraper::request("http://pi:9100/metrics", &[SCRAPERS]);
    scraper::send(pair.proxy.address, absolute)
        .await
        .expect(200);
    let path =
        format!("GET /scrape/http/pi:9100/metrics HTTP/1.1\r\nHost: x\r\n{SCRAPERS}\r\n\r\n");
    scraper::send(pair.proxy.address, path).await.expect(200);
    let expected = [Some("Bearer of-the-scraper".to_owned()), None];
    assert_eq!(authorizations(&target), expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_targets_credentials_are_the_clients_and_change_with_a_reload() {
    for (keys, first, second) in [
        (
            "authorization: {credentials_file: token}",
            "Bearer t0ken",
            "Bearer n3w",
        ),
        (
            "basic_auth: {username: pi, password_file: password}",
            "Basic cGk6czNjcmV0",
            "Basic cGk6bjN3",
        ),
    ] {
        let target = Target::start(ok(metric("m")));
        let (pair, folder) = pair_with(&target, keys).await;
        let scrape = async |fields: &[&str]| {
            let uri = "http://pi:9100/metrics";
            let answer = scraper::scrape_with(pair.proxy.address, uri, fields).await;
            answer.expect(200)
        };
        scrape(&[]).await;
        scrape(&[SCRAPERS, "authorization: Basic dHdvOng="]).await;
        for file in ["token", "password"] {
            std::fs::write(folder.path().join(file), "n3w\n").unwrap();
        }
        scrape(&[]).await;
        reload(&pair).await.expect(200);
        let answer = scrape(&[SCRAPERS]).await;
        assert!(!answer.head.raw.contains("n3w"));
        let sent = [first, first, first, second].map(|value| Some(value.to_owned()));
        assert_eq!(authorizations(&target), sent);
        assert_eq!(target.journal().connections.len(), 1, "kept over it all");

        // A file that is gone changes nothing.
        std::fs::remove_file(folder.path().join("token")).unwrap();
        std::fs::remove_file(folder.path().join("password")).unwrap();
        let answer = reload(&pair).await;
        assert_eq!(answer.head.status, 500);
        assert!(answer.text().contains("target pi:9100: credentials: /"));
        scrape(&[]).await;
        assert_eq!(authorizations(&target)[4].as_deref(), Some(second));
    }
}

async fn reload(pair: &Pair) -> Answer {
    let request =
        "POST /-/reload HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    scraper::send(pair.client.web, request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_restricted_by_a_reload_is_at_once() {
    let target = Target::start(ok("m 1\n"));
    let (pair, folder) = pair_with(&target, "connects: 2").await;
    ask(&pair, "GET", "/debug").await.expect(200);
    let text = offering(&target, "paths: [/metrics]");
    std::fs::write(folder.path().join("config.yml"), text).unwrap();
    reload(&pair).await.expect(200);
    ask(&pair, "GET", "/debug")
        .await
        .refusal(403, "path /debug is not offered");
    ask(&pair, "GET", "/metrics").await.expect(200);
}
