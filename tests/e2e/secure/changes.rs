//! What changes while it runs, and who is not waited for.

use std::time::Duration;

use adit_tests::scraper::{self, Connection};
use adit_tests::wait::{PATIENCE, eventually};
use tokio::net::TcpStream;

use super::{House, OPS, PROMETHEUS, TLS, USERS, authorized};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bad_web_configuration_changes_nothing_and_a_good_one_counts_at_once() {
    let house = House::new(USERS);
    let proxy = house.proxy(&[]).await;
    let ready = |user: &'static str| {
        let address = proxy.address;
        async move { scraper::send(address, authorized("/metrics", user)).await }
    };
    ready(PROMETHEUS).await.expect(200);
    const SUCCESSFUL: &str = "adit_proxy_config_last_reload_successful";
    let successful = async |value: &str| {
        eventually(PATIENCE, "the file is read again", async || {
            let page = ready(PROMETHEUS).await.expect(200).text();
            let line = page
                .lines()
                .find(|line| line.starts_with(SUCCESSFUL))
                .unwrap();
            match line.ends_with(value) {
                true => Ok(()),
                false => Err(line.to_owned()),
            }
        })
        .await;
    };
    house.write("web.yml", "basic_auth_users: {prometheus: nonsense}\n");
    successful(" 0").await;
    let only_prometheus: Vec<&str> = USERS.lines().take(2).collect();
    let more = "\nhttp_server_config: {headers: {X-Frame-Options: deny}}\n";
    house.write("web.yml", &(only_prometheus.join("\n") + more));
    successful(" 1").await;
    ready(OPS).await.expect(401);
    let answer = ready(PROMETHEUS).await;
    assert_eq!(
        answer.head.field("x-frame-options").as_deref(),
        Some("deny")
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn more_requests_than_the_rate_limit_are_told_so() {
    let house = House::new("rate_limit: {interval: 1h, burst: 3}\n");
    let proxy = house.proxy(&[]).await;
    let mut statuses = Vec::new();
    for _ in 0..5 {
        statuses.push(scraper::page(proxy.address, "/-/healthy").await.head.status);
    }
    assert_eq!(statuses, [200, 200, 200, 429, 429]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_speaks_no_tls_is_not_waited_for() {
    let house = House::new(TLS);
    let proxy = house.proxy(&[]).await;
    let stream = TcpStream::connect(proxy.address).await.unwrap();
    let mut connection = Connection::over(stream);
    connection
        .write("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    let (mut stream, _) = connection.into_parts();
    let mut end = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut end);
    let ended = tokio::time::timeout(Duration::from_secs(5), reading).await;
    ended.expect("it is over at once").ok();
    assert!(!end.starts_with(b"HTTP/1.1 200"), "{end:?}");
}
