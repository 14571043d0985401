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

/// All that arrives is passed on, and it is for us to tell that we are not meant.
async fn at_the_root(kind: Kind) {
    let bodies = mangles(kind, Setup::of(kind).without_prefix()).await;
    // HAProxy would pass it on as it is, and is told not to.
    let ours = bodies.iter().filter(|body| body.contains("is not us"));
    let expected = if kind == Kind::Haproxy { 0 } else { 7 };
    assert_eq!(ours.count(), expected, "{bodies:?}");
}

/// The bodies of the refusals.
async fn mangles(kind: Kind, setup: Setup) -> Vec<String> {
    let target = Target::start(ok(metric("m")));
    let site = Site::set_up(kind, setup, &[]).await;
    let offer = format!("--target=pi:9100=http://{}", target.address());
    let _client = site.client(&[&offer]).await;
    let (mut seen, mut bodies) = (Vec::new(), Vec::new());
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
        let status = answer.head.status;
        seen.push((line, status));
        assert!((400..500).contains(&status), "{line}: {answer:?}");
        bodies.push(answer.text());
    }
    measured(&format!("{kind:?} as a proxy_url"), &seen);
    assert_eq!(target.requests().len(), 0);
    bodies
}
