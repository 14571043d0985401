//! Scrapes at a path of ours, which every front passes.

use std::io::Read as _;

use adit_tests::fronts::{CLIENT, Kind, SCRAPER};
use adit_tests::pair::Client;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper::Answer;
use adit_tests::target::answers::{chunk, gzip, halves, head_of_chunks, metric, ok, series};
use adit_tests::target::{Ear, Request, Step, Target};
use adit_tests::tunnel::upgrade_request;
use flate2::read::GzDecoder;

use super::site::Site;

super::behind_each_front!(
    paths_and_queries_pass_byte_for_byte,
    a_body_that_is_cut_stays_cut,
    each_password_opens_its_own_door,
    prometheus_scrapes,
);

async fn paths_and_queries_pass_byte_for_byte(kind: Kind) {
    let target = Target::start(ok(metric("m")));
    let site = Site::start(kind).await;
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let _client = site.client(&[&offer]).await;
    for path in [
        "/metrics",
        "/probe?target=http%3A%2F%2Fa.b%2Fc&module=x+y&m[]=%5B1%5D&=&&q",
        "/a%2Fb/c%20d//e/",
        "/",
        "/metrics?",
        "/a;b=c,d@e:f!$&'()*+~._-",
    ] {
        let scrape = format!("/scrape/http/pi:9100{path}");
        let answer = site.front.get(&scrape).await.expect(200);
        assert_eq!(answer.text(), metric("m"), "{path}");
        let requests = target.requests();
        let request = requests.last().unwrap();
        assert_eq!(request.path(), path);
        assert_eq!(request.field("authorization"), None);
        assert_eq!(request.field("adit-token"), None);
    }
}

/// A front that repairs what was cut makes a success of a failure.
async fn a_body_that_is_cut_stays_cut(kind: Kind) {
    let part = series("half", 200);
    let [(_, length), _, _] = halves(&part);
    let chunks = head_of_chunks() + &chunk(&part);
    let mut zipped = gzip(&part);
    zipped.truncate(zipped.len() / 2);
    let head = head_of_chunks().replace("\r\n\r\n", "\r\nContent-Encoding: gzip\r\n\r\n");
    let zipped = [
        format!("{head}{:x}\r\n", zipped.len()).as_bytes(),
        &zipped,
        b"\r\n",
    ]
    .concat();
    let target = Target::start(move |request: &Request| match request.path() {
        "/length" => vec![Step::send(length.clone())],
        "/chunks" => vec![Step::send(chunks.clone())],
        _ => vec![Step::send(zipped.clone())],
    });
    let site = Site::start(kind).await;
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let _client = site.client(&[&offer]).await;
    let get = async |path: &str| {
        let scrape = format!("/scrape/http/pi:9100{path}");
        site.front.get(&scrape).await
    };
    let told = |answer: &Answer| {
        // Either some of it was on its way already, or all of it was still ours to take back.
        answer.is_cut() || answer.head.status == 502
    };
    for path in ["/length", "/chunks", "/gzip"] {
        let answer = get(path).await;
        // Caddy before 2.8 makes a clean end of chunks that broke off (caddyserver/caddy#5952). What
        // is compressed tells it from inside, and Prometheus asks for that.
        match (kind, path) {
            (Kind::Caddy, "/chunks") => {}
            (Kind::Caddy, "/gzip") if !told(&answer) => {
                let read = GzDecoder::new(&*answer.body).read_to_end(&mut Vec::new());
                assert!(read.is_err(), "{answer:?}");
            }
            _ => assert!(told(&answer), "{path}: {answer:?}"),
        }
    }
}

async fn each_password_opens_its_own_door(kind: Kind) {
    let target = Target::start(ok(metric("m")));
    let site = Site::start(kind).await;
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let _client = site.client(&[&offer]).await;
    let (scraper, client) = (SCRAPER.basic(), CLIENT.basic());
    let port = site.front.setup.address.port();
    let status = async |path: &str, authorization: Option<&str>| {
        let mut request = format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n");
        if let Some(authorization) = authorization {
            request.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        request.push_str("Connection: close\r\n\r\n");
        let answer = site.front.connect().await.exchange(request).await;
        answer.head.status
    };
    let scrape = "/adit/scrape/http/pi:9100/metrics";
    assert_eq!(status(scrape, Some(&scraper)).await, 200);
    assert_eq!(status("/adit/metrics", Some(&scraper)).await, 200);
    for path in [scrape, "/adit/metrics", "/adit/tunnel"] {
        assert_eq!(status(path, None).await, 401, "{path}");
    }
    assert_eq!(status(scrape, Some(&client)).await, 401);
    assert_eq!(status("/adit/metrics", Some(&client)).await, 401);
    assert_eq!(status("/adit/tunnel", Some(&scraper)).await, 401);
    // Let in by the front, and not by us.
    for token in [None, Some("Adit-Token: another")] {
        let mut lines = upgrade_request();
        lines[0] = "GET /adit/tunnel HTTP/1.1".into();
        lines[1] = format!("Host: localhost:{port}");
        lines.push(format!("Authorization: {client}"));
        lines.extend(token.map(str::to_owned));
        let request = lines.join("\r\n") + "\r\n\r\n";
        let answer = site
            .front
            .connect()
            .await
            .exchange(request)
            .await
            .expect(401);
        assert!(answer.text().contains("credentials"), "{}", answer.text());
    }
    // What looks like the one to the front and like the other to us.
    for path in [
        "/adit/scrape/http/pi:9100/../../../tunnel",
        "/adit/scrape/http/pi:9100/%2e%2e/..%2f../tunnel",
        "/adit/tunnel/../scrape/http/pi:9100/metrics",
        "/adit//tunnel",
        "/adit/tunnel/",
        "/ADIT/scrape/http/pi:9100/metrics",
        "/adit/scrape/../../adit/scrape/http/pi:9100/metrics",
    ] {
        let status = status(path, Some(&client)).await;
        assert!((400..500).contains(&status), "{path}: {status}");
    }
    assert_eq!(target.requests().len(), 1, "the scraper's own");
}

async fn prometheus_scrapes(kind: Kind) {
    let site = Site::start(kind).await;
    let clear = Target::start(ok(metric("clear")));
    let authority = site.front.authority();
    let secret = Ear::tls(authority.server(&["tls.example"]));
    let secret = Target::at(vec![secret], ok(metric("secret")));
    let file = site.front.folder().join("client.yml");
    let config = format!(
        "targets:\n- {{target: 'pi:9100', url: 'http://{}', labels: {{site: berlin}}}}\n\
         - target: tls.example:9443\n  url: https://{}\n  \
         tls: {{ca_file: ca.pem, server_name: tls.example}}\n",
        clear.address(),
        secret.address()
    );
    std::fs::write(&file, config).unwrap();
    let _client: Client = site
        .client(&[&format!("--config.file={}", file.display())])
        .await;
    let (host, ca) = (
        format!("localhost:{}", site.front.setup.address.port()),
        site.front.ca_file(),
    );
    let door = format!(
        "basic_auth: {{username: {}, password: \"{}\"}}\n  tls_config: {{ca_file: {ca}}}",
        SCRAPER.name, SCRAPER.password,
    );
    let relabelled = |job: &str, scheme: &str, target: &str| {
        format!(
            "- job_name: {job}\n  scheme: https\n  {door}\n  \
             static_configs: [{{targets: ['{target}']}}]\n  relabel_configs:\n  \
             - {{source_labels: [__address__], target_label: instance}}\n  \
             - source_labels: [__address__, __metrics_path__]\n    separator: ''\n    \
             target_label: __metrics_path__\n    replacement: /adit/scrape/{scheme}/$1\n  \
             - {{target_label: __address__, replacement: '{host}'}}\n",
        )
    };
    let found = format!(
        "- job_name: found\n  {door}\n  http_sd_configs:\n  \
         - url: https://{host}/adit/sd/targets?style=path\n    refresh_interval: 1s\n    {}\n",
        door.replace("\n  ", "\n    "),
    );
    let prometheus = Prometheus::patient(
        &(relabelled("http", "http", "pi:9100")
            + &relabelled("https", "https", "tls.example:9443")
            + &found),
    )
    .await;
    for (job, scrapes) in [("http", 2), ("https", 2), ("found", 4)] {
        let scrapes = prometheus.scrapes(job, scrapes).await;
        assert!(scrapes.iter().all(|up| *up == 1.0), "{job}: {scrapes:?}");
    }
    for (series, count) in [
        ("clear{job='http',instance='pi:9100'}", 1),
        ("secret{job='https',instance='tls.example:9443'}", 1),
        ("clear{job='found',instance='pi:9100',site='berlin'}", 1),
        ("secret{job='found',instance='tls.example:9443'}", 1),
        ("up", 4),
    ] {
        assert_eq!(prometheus.query(series).await.len(), count, "{series}");
    }
}
