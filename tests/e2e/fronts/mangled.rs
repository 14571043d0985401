//! What fronts make of requests for a `proxy_url` that they cannot be. Whatever it is, it must not
//! look like a target that is up.

use adit_tests::fronts::{Kind, SCRAPER, Setup};
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};
use adit_tests::turn::measured;

use super::site::Site;

super::behind_each_front!(below_a_prefix, at_the_root);

async fn below_a_prefix(kind: Kind) {
    mangles(kind, Setup::of(kind)).await;
}

async fn at_the_root(kind: Kind) {
    mangles(kind, Setup::of(kind).without_prefix()).await;
}

async fn mangles(kind: Kind, setup: Setup) {
    let target = Target::start(ok(metric("m")));
    let site = Site::set_up(kind, setup, &[]).await;
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let _client = site.client(&[&offer]).await;
    let mut seen = Vec::new();
    for line in [
        "GET http://pi:9100/metrics",
        "GET http://nobody:9100/metrics",
        "GET http://pi:9100/",
        "GET http://pi:9100/adit/metrics",
        "GET http://pi:9100/adit/-/ready",
        "GET http://pi:9100/clients",
        "GET https://pi:9100/metrics",
        "CONNECT pi:9100",
        "CONNECT nobody:9443",
    ] {
        let host = line.rsplit("//").next().unwrap_or(line);
        let host = host.trim_start_matches("CONNECT ").split('/').next();
        let basic = SCRAPER.basic();
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {}\r\nAuthorization: {basic}\r\n\
             Proxy-Authorization: {basic}\r\nConnection: close\r\n\r\n",
            host.unwrap()
        );
        let answer = site.front.connect().await.exchange(request).await;
        seen.push((line, answer.head.status, answer.head.reason.clone()));
    }
    measured(&format!("{kind:?}"), &seen);
    for (line, status, reason) in seen {
        assert!((400..500).contains(&status), "{line}: {status} {reason}");
    }
    assert_eq!(target.requests().len(), 0);
}
