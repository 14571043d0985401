//! Who stays with whom, and who does not.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::namespace;
use adit_tests::scraper::{self, Answer, Connection};
use tokio::task::JoinSet;

use super::asks::{Ask, all_well};
use super::pool::{self, Pool, QUICK, attempts, by, reason};

fn get(path: &str, fields: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: prom.example\r\n{fields}Connection: close\r\n\r\n")
}

async fn ask(pool: &Pool, fields: &str) -> Answer {
    let request = get("/api/v1/query?query=up", fields);
    scraper::send(pool.query, request).await.expect(200)
}

async fn ask_from(pool: &Pool, host: u8) -> Answer {
    let source = Ipv4Addr::new(127, 0, 0, host);
    let mut connection = Connection::open_from(source, pool.query).await;
    let request = get("/api/v1/query?query=up", "");
    connection.exchange(request).await.expect(200)
}

async fn three(keys: &str) -> ([FakePrometheus; 3], Pool) {
    let fakes = ["a", "b", "c"].map(FakePrometheus::start);
    let pool = Pool::start(&fakes.each_ref(), &format!("{QUICK}{keys}")).await;
    all_well(&pool, &fakes.each_ref()).await;
    (fakes, pool)
}

/// How many were with each.
fn spread(answers: impl IntoIterator<Item = Answer>) -> BTreeMap<String, usize> {
    let mut spread = BTreeMap::new();
    for answer in answers {
        *spread.entry(by(&answer)).or_default() += 1;
    }
    spread
}

/// Case 34, M11.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_stays_by_a_cookie_that_tells_nothing() {
    let fakes = ["a", "b", "c"]
        .map(|id| FakePrometheus::start_as(id, |state| state.prefix = "/prometheus/x".to_owned()));
    let named = fakes.each_ref();
    let named = named.map(|fake| (fake.id(), format!("{}/prometheus/x", fake.url())));
    let keys = format!("{QUICK}strategy: round-robin\naffinity: [cookie]\n");
    let (eu, us) = (
        pool::pool("eu", &named, &format!("{keys}path_prefix: /eu\n")),
        pool::pool("us", &named, &keys),
    );
    let pool = Pool::with(&format!("query:\n  pools:\n{eu}{us}")).await;
    all_well(&pool, &fakes.each_ref()).await;
    let at = async |prefix: &str, fields: &str| {
        let path = format!("{prefix}/api/v1/query?query=up");
        scraper::send(pool.query, get(&path, fields))
            .await
            .expect(200)
    };
    let shown = |answer: &Answer| answer.head.field("set-cookie");
    let pair = |answer: &Answer| {
        let cookie = shown(answer).expect("a cookie");
        cookie.split(';').next().unwrap().to_owned()
    };
    // The other pool's, on the same host: a browser sends it along.
    let other = at("", "").await;
    let path = shown(&other).unwrap();
    assert!(path.contains("; Path=/; "), "{path}");
    let other = pair(&other);

    let mut met = BTreeSet::new();
    for _ in 0..12 {
        let first = at("/eu", "").await;
        let cookie = shown(&first).expect("a cookie");
        let (value, attributes) = cookie.split_once("; ").unwrap();
        assert_eq!(attributes, "Path=/eu; HttpOnly; SameSite=Lax");
        let value = value.strip_prefix("adit_backend=").unwrap();
        assert_eq!(value.len(), 22, "{value}");
        for told in ["0.1", "prom", &by(&first)] {
            let told = told.len() > 1 && value.contains(told);
            assert!(!told, "{value}");
        }
        met.insert(by(&first));
        let cookies = format!("Cookie: x=1; adit_backend={value}; {other}\r\n");
        for _ in 0..6 {
            let again = at("/eu", &cookies).await;
            assert_eq!((by(&again), shown(&again)), (by(&first), None));
            assert_eq!(reason(&again), "cookie");
        }
        // One that is not ours is none.
        let mut tampered = value.to_owned();
        let last = tampered.pop();
        tampered.push(if last == Some('A') { 'B' } else { 'A' });
        for strange in [tampered, other.clone(), "b".to_owned(), String::new()] {
            let field = format!("Cookie: adit_backend={strange}\r\n");
            let answer = at("/eu", &field).await;
            assert!(shown(&answer).is_some(), "{strange}");
            assert_ne!(reason(&answer), "cookie");
        }
    }
    assert_eq!(
        met.len(),
        3,
        "round-robin, as long as nobody stays: {met:?}"
    );
    // It is between the browser and us.
    for fake in &fakes {
        for seen in fake.journal().queries() {
            let cookie = seen.field("cookie").unwrap_or_default();
            assert!(!cookie.contains("adit_backend"), "{cookie}");
            assert!(seen.path().starts_with("/prometheus/x/api/"), "{seen:?}");
        }
    }
    let metrics = pool.metrics().await;
    let hits = "adit_proxy_query_affinity_total{pool=\"eu\",result=\"hit\",type=\"cookie\"}";
    assert_eq!(metrics.series(hits), 72.0);
}

/// Case 35, M3: callers by their own address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_spread_and_each_stays() {
    let (_fakes, pool) = three("strategy: round-robin\naffinity: [source-address]\n").await;
    let mut first = BTreeMap::new();
    for round in 0..3 {
        for host in 1..=40 {
            let by = by(&ask_from(&pool, host).await);
            let before = first.entry(host).or_insert_with(|| by.clone());
            assert_eq!(*before, by, "{host} in round {round}");
        }
    }
    let mut spread: BTreeMap<&String, usize> = BTreeMap::new();
    for by in first.values() {
        *spread.entry(by).or_default() += 1;
    }
    assert!(
        spread.len() == 3 && spread.values().all(|n| *n >= 4),
        "{spread:?}"
    );
    // What a stranger writes is nobody's address.
    let strangers = async |n: u8| ask(&pool, &format!("X-Forwarded-For: 192.0.2.{n}\r\n")).await;
    let mut answers = Vec::new();
    for n in 0..20 {
        answers.push(strangers(n).await);
    }
    assert_eq!(self::spread(answers).len(), 1);
}

/// Case 35, M3: callers by their own IPv6 addresses, of which each has as many as it likes. In a network
/// where all of 2001:db8::/32 is ours.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn addresses_of_ipv6_spread_by_network_and_each_network_stays() {
    const TEST: &str =
        "query::affinity::addresses_of_ipv6_spread_by_network_and_each_network_stays";
    const SETUP: &str = "ip link set lo up && ip -6 route add local 2001:db8::/32 dev lo && \
                         echo 1 >/proc/sys/net/ipv6/ip_nonlocal_bind";
    if !namespace::inside(TEST, &["--net"], SETUP).await {
        return;
    }
    let fakes = ["a", "b", "c"].map(FakePrometheus::start);
    let named = fakes.each_ref().map(|fake| (fake.id(), fake.url()));
    let keys = format!("{QUICK}strategy: round-robin\naffinity: [source-address]\n");
    let config = format!("query:\n  pools:\n{}", pool::pool("main", &named, &keys));
    let listen = "--query.listen-address=[::1]:0";
    let pool = Pool::listening(listen, Pool::folder(), &config).await;
    all_well(&pool, &fakes.each_ref()).await;
    let asked_by = async |network: u16, host: u16| {
        let source = Ipv6Addr::new(0x2001, 0xdb8, 0, network, host, 0, 0, host);
        let mut connection = Connection::open_from(source, pool.query).await;
        let request = get("/api/v1/query?query=up", "");
        by(&connection.exchange(request).await.expect(200))
    };
    let mut spread = BTreeMap::<String, usize>::new();
    for network in 1..=40 {
        let first = asked_by(network, 1).await;
        for host in 2..=4 {
            assert_eq!(asked_by(network, host).await, first, "{host} of {network}");
        }
        *spread.entry(first).or_default() += 1;
    }
    assert!(
        spread.len() == 3 && spread.values().all(|n| *n >= 4),
        "{spread:?}"
    );
}

/// Case 35, M3: callers behind fronts, in chains and by IPv6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_trusted_fronts_it_is_the_callers_address() {
    let fakes = ["a", "b", "c"].map(FakePrometheus::start);
    let named = fakes.each_ref().map(|fake| (fake.id(), fake.url()));
    let keys = format!("{QUICK}strategy: round-robin\naffinity: [source-address]\n");
    let pool = Pool::with(&format!(
        "trusted_proxies: [127.0.0.1, 10.9.0.0/16]\nquery:\n  pools:\n{}",
        pool::pool("main", &named, &keys)
    ))
    .await;
    all_well(&pool, &fakes.each_ref()).await;
    let forwarded = async |chain: &str| {
        let field = format!("X-Forwarded-For: {chain}\r\n");
        by(&ask(&pool, &field).await)
    };
    let mut spread = [BTreeSet::new(), BTreeSet::new()];
    for n in 1..=24 {
        let direct = forwarded(&format!("192.0.2.{n}")).await;
        for chain in [
            format!("192.0.2.{n}"),
            format!("192.0.2.{n}, 10.9.8.7"),
            // Further left anybody may have written anything.
            format!("203.0.113.{n}, 192.0.2.{n}, 10.9.1.1, 10.9.1.2"),
            format!("[::ffff:192.0.2.{n}]:4711"),
        ] {
            assert_eq!(forwarded(&chain).await, direct, "{chain}");
        }
        spread[0].insert(direct);
        // A machine has many addresses of one network.
        let home = forwarded(&format!("2001:db8:0:{n:x}::1")).await;
        let elsewhere = format!("2001:db8:0:{n:x}:ffff:1:2:3, 10.9.8.7");
        assert_eq!(forwarded(&elsewhere).await, home, "{n}");
        spread[1].insert(home);
    }
    for family in spread {
        assert_eq!(family.len(), 3, "{family:?}");
    }
}

/// Case 36, M4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_stays_with_the_dead() {
    let keys = "strategy: round-robin\naffinity: [cookie, source-address]\n\
                retry: {budget: 100%}\n";
    let (mut fakes, pool) = three(keys).await;
    let first = ask_from(&pool, 9).await;
    let gone = by(&first);
    let cookie = |answer: &Answer| {
        let cookie = answer.head.field("set-cookie").expect("a cookie");
        format!("Cookie: {}\r\n", cookie.split(';').next().unwrap())
    };
    let old = cookie(&first);
    let index = fakes.iter().position(|fake| fake.id() == gone).unwrap();
    fakes[index].kill().await;
    // Before anybody has noticed, and afterwards.
    for _ in 0..2 {
        let answer = ask(&pool, &old).await;
        assert_ne!(by(&answer), gone);
        let new = cookie(&answer);
        assert_ne!(new, old);
        for _ in 0..10 {
            let again = ask(&pool, &new).await;
            assert_eq!((by(&again), attempts(&again)), (by(&answer), "1".into()));
            assert_eq!(again.head.field("set-cookie"), None);
        }
        assert_ne!(by(&ask_from(&pool, 9).await), gone);
        pool.is(&gone, "down").await;
    }
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(ask_from(&pool, 9).await);
    }
    assert!(answers.iter().all(|answer| attempts(answer) == "1"));
    assert_eq!(spread(answers).len(), 1, "all with the same other one");
    fakes[index].restart().await;
    pool.is(&gone, "healthy").await;
    assert_eq!(by(&ask_from(&pool, 9).await), gone);
    assert_eq!(by(&ask(&pool, &old).await), gone);
}

/// Case 37, M8.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_has_to_stay() {
    for keys in [
        "strategy: round-robin\naffinity: []\n",
        "strategy: round-robin\naffinity: [  ]\n",
        "strategy: round-robin\n",
    ] {
        let (_fakes, pool) = three(keys).await;
        let mut answers = Vec::new();
        for _ in 0..30 {
            let answer = ask(&pool, "Cookie: adit_backend=x\r\n").await;
            assert_eq!(answer.head.field("set-cookie"), None);
            answers.push(answer);
        }
        let spread = spread(answers);
        assert!(spread.values().all(|n| *n == 10), "{keys}: {spread:?}");
        let metrics = pool.metrics().await;
        assert_eq!(metrics.sum("adit_proxy_query_affinity_total"), 0.0);
    }
}

/// Case 38, M16: as Grafana asks, which keeps no cookies.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_requests_without_cookies_see_one_backend() {
    let day = 86_400.0;
    // Far from each other until one is the first: nobody who is as good as the first takes its place.
    let fakes = [("a", 1.0), ("b", 2.0), ("c", 1.5)]
        .map(|(id, days)| FakePrometheus::start_as(id, |state| state.history(days * day)));
    let pool = Pool::start(&fakes.each_ref(), QUICK).await;
    pool.all_are_known().await;
    pool.is_first("b").await;
    let ask = Ask::form();
    let mut asking = JoinSet::new();
    for host in 1..=4 {
        let (bytes, query) = (ask.bytes(), pool.query);
        asking.spawn(async move {
            let source = Ipv4Addr::new(127, 0, 0, host);
            let mut connection = Connection::open_from(source, query).await;
            let mut answers = Vec::new();
            for _ in 0..250 {
                let answer = connection.exchange(&bytes).await.expect(200);
                assert_eq!(answer.head.field("set-cookie"), None);
                answers.push(answer);
            }
            answers
        });
    }
    let mut more = 0.0;
    while !asking.is_empty() {
        // Scores that are near each other change places all the time.
        more += 300.0;
        fakes[2].set(|state| state.history(1.98 * day + more % 3000.0));
        if let Ok(Some(answers)) =
            tokio::time::timeout(std::time::Duration::from_millis(100), asking.join_next()).await
        {
            let spread = spread(answers.unwrap());
            assert_eq!(spread, BTreeMap::from([("b".to_owned(), 250)]));
        }
    }
    assert_eq!(ask.arrived(&fakes[1]), 1000);
}

/// Case 38: who comes takes its share, and nobody else moves.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fourth_backend_takes_a_quarter_of_the_keys() {
    const KEYS: usize = 400;
    let fakes = ["a", "b", "c", "d"].map(FakePrometheus::start);
    let named = fakes.each_ref().map(|fake| (fake.id(), fake.url()));
    let keys =
        format!("{QUICK}strategy: consistent-hash\naffinity: [{{header: X-Dashboard-Uid}}]\n");
    let of = |n: usize| {
        format!(
            "query:\n  pools:\n{}",
            pool::pool("main", &named[..n], &keys)
        )
    };
    let pool = Pool::with(&of(3)).await;
    all_well(&pool, &[&fakes[0], &fakes[1], &fakes[2]]).await;
    let placed = async || {
        let mut connection = Connection::open(pool.query).await;
        let mut placed = Vec::new();
        for n in 0..KEYS {
            let request = format!(
                "GET /api/v1/query?query=up HTTP/1.1\r\nHost: x\r\nX-Dashboard-Uid: d{n}\r\n\r\n"
            );
            placed.push(by(&connection.exchange(request).await.expect(200)));
        }
        placed
    };
    let three = placed().await;
    assert_eq!(three, placed().await, "each stays");
    pool.reload(&of(4)).await;
    // The pool is another one now, and knows nobody yet.
    pool.is("d", "healthy").await;
    all_well(&pool, &fakes.each_ref()).await;
    let four = placed().await;
    let moved = three
        .iter()
        .zip(&four)
        .filter(|(before, after)| before != after);
    let moved: Vec<_> = moved.collect();
    assert!(moved.iter().all(|(_, after)| *after == "d"), "{moved:?}");
    assert!(
        (60..=140).contains(&moved.len()),
        "{} of {KEYS}",
        moved.len()
    );
}
