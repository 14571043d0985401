//! Users: how they are asked, and what each may.

use adit_tests::pair::Client;
use adit_tests::scraper;
use adit_tests::target::Target;
use adit_tests::target::answers::{metric, ok};

use super::{House, OPS, PROMETHEUS, USERS, authorized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_way_asks_by_its_own_field() {
    let house = House::new(USERS);
    let target = Target::start(ok(metric("m")));
    let proxy = house.proxy(&[]).await;
    let _client = Client::start(
        &[&proxy.url()],
        &[
            &house.flag("auth.token-file", "token"),
            &format!("--target=pi:9100=http://{}", target.address()),
        ],
    )
    .await;
    let basic = |field: &str| format!("{field}: Basic {PROMETHEUS}");
    let (ours, theirs) = (basic("Proxy-Authorization"), basic("Authorization"));
    let uri = "http://pi:9100/metrics";
    scraper::scrape_with(proxy.address, uri, &[&ours])
        .await
        .expect(200);
    for fields in [
        &[][..],
        &[theirs.as_str()],
        &["Proxy-Authorization: Basic eDp5"],
        &[ours.as_str(), ours.as_str()],
    ] {
        let answer = scraper::scrape_with(proxy.address, uri, fields)
            .await
            .expect(407);
        assert!(
            answer.head.field("proxy-authenticate").is_some(),
            "{answer:?}"
        );
    }
    // The target's own credentials pass, beside ours.
    let both = [ours.as_str(), "Authorization: Bearer of-the-target"];
    scraper::scrape_with(proxy.address, uri, &both)
        .await
        .expect(200);
    let request = target.requests().pop().unwrap();
    let passed = request.field("authorization");
    assert_eq!(passed.as_deref(), Some("Bearer of-the-target"));
    let connect = "CONNECT pi:9100 HTTP/1.1\r\nHost: pi:9100\r\n\r\n";
    scraper::send(proxy.address, connect).await.expect(407);
    for path in [
        "/metrics",
        "/clients",
        "/-/healthy",
        "/nowhere",
        "/scrape/http/pi:9100/m",
    ] {
        let answer = scraper::page(proxy.address, path).await.expect(401);
        assert!(
            answer.head.field("www-authenticate").is_some(),
            "{answer:?}"
        );
    }
    for (path, status) in [("/metrics", 200), ("/-/healthy", 200), ("/nowhere", 404)] {
        scraper::send(proxy.address, authorized(path, PROMETHEUS))
            .await
            .expect(status);
    }
    let answer = scraper::send(proxy.address, authorized("/scrape/http/pi:9100/m", OPS)).await;
    answer.expect(200);
    assert_eq!(
        target.requests().pop().unwrap().field("authorization"),
        None
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_user_scrapes_and_sees_its_own() {
    let house = House::new(USERS);
    house.write(
        "proxy.yml",
        "auth:\n  scrapers:\n  \
         - {user: prometheus, targets: ['*:9100', nas], pages: [clients, sd]}\n  \
         - {user: ops, pages: [metrics, reload, status]}\n",
    );
    let target = Target::start(ok(metric("m")));
    let token = house.flag("auth.token-file", "token");
    let proxy = house
        .proxy(&[&house.flag("config.file", "proxy.yml"), &token])
        .await;
    let at = |name: &str| format!("--target={name}=http://{}", target.address());
    let targets = ["pi:9100", "pi:9200", "nas:1", "db:5432"].map(at);
    let mut flags: Vec<&str> = targets.iter().map(String::as_str).collect();
    flags.push(&token);
    let _client = Client::start(&[&proxy.url()], &flags).await;
    for (user, target, status) in [
        (PROMETHEUS, "pi:9100", 200),
        (PROMETHEUS, "nas:1", 200),
        (PROMETHEUS, "pi:9200", 403),
        (PROMETHEUS, "db:5432", 403),
        (OPS, "pi:9100", 403),
    ] {
        let uri = format!("http://{target}/metrics");
        let field = format!("Proxy-Authorization: Basic {user}");
        let answer = scraper::scrape_with(proxy.address, &uri, &[&field]).await;
        assert_eq!(answer.head.status, status, "{user} {target}");
        let path = format!("/scrape/http/{target}/metrics");
        let answer = scraper::send(proxy.address, authorized(&path, user)).await;
        assert_eq!(answer.head.status, status, "{user} {target}");
        if status == 403 {
            let connect = format!("CONNECT {target} HTTP/1.1\r\nHost: x\r\n{field}\r\n\r\n");
            let answer = scraper::send(proxy.address, connect).await.expect(403);
            assert!(answer.text().contains(&format!("may not scrape {target}")));
        }
    }
    for (user, path, status) in [
        (PROMETHEUS, "/clients", 200),
        (PROMETHEUS, "/sd/targets", 200),
        (PROMETHEUS, "/metrics", 403),
        (PROMETHEUS, "/-/reload", 403),
        (PROMETHEUS, "/-/ready", 200),
        (OPS, "/metrics", 200),
        (OPS, "/clients", 403),
        (OPS, "/sd/targets?style=path", 403),
    ] {
        let answer = scraper::send(proxy.address, authorized(path, user)).await;
        assert_eq!(answer.head.status, status, "{user} {path}");
    }
    let clients = scraper::send(proxy.address, authorized("/clients", PROMETHEUS))
        .await
        .text();
    // Some port of db is 9100 for all that is known.
    assert!(
        clients.contains("\"nas\"") && clients.contains("\"pi\""),
        "{clients}"
    );
    let sd = scraper::send(proxy.address, authorized("/sd/targets", PROMETHEUS))
        .await
        .text();
    assert!(sd.contains("pi:9100") && sd.contains("nas:1"), "{sd}");
    assert!(!sd.contains("9200") && !sd.contains("db"), "{sd}");
    let metrics = scraper::send(proxy.address, authorized("/metrics", OPS))
        .await
        .text();
    let counted = "adit_proxy_auth_failures_total{reason=\"forbidden\",role=\"scraper\"}";
    assert!(metrics.contains(counted), "{metrics}");
}
