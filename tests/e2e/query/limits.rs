//! As much as may be, and what is said to whoever is one too many.

use adit_tests::fake_prometheus::{FakePrometheus, Fixed, result_of};
use adit_tests::pair::Client;
use adit_tests::scraper::{self, Answer};
use adit_tests::target::Gate;
use adit_tests::wait::{PATIENCE, eventually};
use tokio::task::JoinHandle;

use super::asks::{Ask, IN_ORDER, all_well, in_order, words};
use super::pool::{self, Pool, attempts, by};

const QUERY: &str = "/api/v1/query";
const ASK: &str = "GET /api/v1/query?query=up";

/// One that is not answered before the gate opens.
async fn under_way(pool: &Pool, ask: &Ask, at: &FakePrometheus, n: usize) -> JoinHandle<Answer> {
    let (bytes, query) = (ask.bytes(), pool.query);
    let asking = tokio::spawn(async move { scraper::send(query, bytes).await });
    let path = ask.path();
    at.until("one more is under way", |journal| {
        journal.of(path).len() == n
    })
    .await;
    asking
}

fn held(fake: &FakePrometheus, path: &str) -> Gate {
    let gate = Gate::default();
    let answer = Fixed::text(200, &result_of(fake.id())).behind(&gate);
    fake.set(|state| state.always(path, answer));
    gate
}

/// One too many: told by its key, and counted by it.
async fn refused(pool: &Pool, ask: &Ask, limit: &str, why: &str) {
    let series = format!("adit_proxy_limits_reached_total{{limit=\"{limit}\"}}");
    let before = pool.metrics().await.series(&series);
    let answer = ask.to(pool).await.expect(429);
    assert_eq!(answer.head.field("retry-after").as_deref(), Some("1"));
    let words = words(&answer);
    assert!(words.contains(why) && words.contains(limit), "{words}");
    assert_eq!(pool.metrics().await.series(&series), before + 1.0);
}

async fn with_limits(limits: &str, fakes: &[&FakePrometheus], keys: &str) -> Pool {
    let named: Vec<_> = fakes.iter().map(|fake| (fake.id(), fake.url())).collect();
    let main = pool::pool("main", &named, &format!("{IN_ORDER}{keys}"));
    let pool = Pool::with(&format!("limits: {limits}\nquery:\n  pools:\n{main}")).await;
    all_well(&pool, fakes).await;
    pool
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_many_queries_are_under_way_and_no_more() {
    let a = FakePrometheus::start("a");
    let pool = with_limits("{queries: 2}", &[&a], "").await;
    let gate = held(&a, QUERY);
    let ask = Ask::get(ASK);
    let first = under_way(&pool, &ask, &a, 1).await;
    let second = under_way(&pool, &ask, &a, 2).await;
    let why = "2 queries are under way, which is the most (queries)";
    refused(&pool, &ask, "queries", why).await;
    // What we answer ourselves is no query.
    scraper::page(pool.query, "/-/healthy").await.expect(200);
    gate.open();
    for asking in [first, second] {
        asking.await.unwrap().expect(200);
    }
    ask.to(&pool).await.expect(200);
    assert_eq!(ask.arrived(&a), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn so_much_is_held_and_no_more() {
    let a = FakePrometheus::start("a");
    let pool = with_limits("{query_memory: 1MiB}", &[&a], "").await;
    let large = Ask {
        body: vec![7; 700 << 10],
        ..Ask::remote_read()
    };
    let gate = held(&a, large.path());
    let first = under_way(&pool, &large, &a, 1).await;
    let gauge = "adit_proxy_query_buffered_bytes";
    assert_eq!(pool.metrics().await.sum(gauge), (700 << 10) as f64);
    let why = "1MiB of requests and answers are held";
    refused(&pool, &large, "query_memory", why).await;
    // An answer for which there is no room is passed on as it comes.
    let body = vec![b'x'; 3 << 20];
    a.set(|state| state.always(QUERY, Fixed::status(200).body(body.clone()).chunked()));
    let answer = Ask::get(ASK).to(&pool).await.expect(200);
    assert!(answer.body == body);
    gate.open();
    first.await.unwrap().expect(200);
    large.to(&pool).await.expect(200);
    assert_eq!(pool.metrics().await.sum(gauge), 0.0);
    assert_eq!(large.arrived(&a), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_backend_has_so_many_and_the_next_one_the_rest() {
    let (a, b) = (FakePrometheus::start("a"), FakePrometheus::start("b"));
    let pool = in_order(&[&a, &b], "backend_requests: 1\n").await;
    let gates = [held(&a, QUERY), held(&b, QUERY)];
    let ask = Ask::get(ASK);
    let first = under_way(&pool, &ask, &a, 1).await;
    let second = under_way(&pool, &ask, &b, 1).await;
    let why = "every backend of pool main has 1 requests under way (the pool's backend_requests)";
    refused(&pool, &ask, "backend_requests", why).await;
    let busy = "adit_proxy_query_retries_total{from=\"a\",pool=\"main\",reason=\"busy\"}";
    assert_eq!(pool.metrics().await.series(busy), 1.0);
    gates.iter().for_each(Gate::open);
    for (asking, who) in [(first, "a"), (second, "b")] {
        let answer = asking.await.unwrap().expect(200);
        assert_eq!((by(&answer), attempts(&answer)), (who.into(), "1".into()));
    }
    assert_eq!((ask.arrived(&a), ask.arrived(&b)), (1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_carries_so_many() {
    let a = FakePrometheus::start("a");
    let backends = [("pi", "tunnel://pi:9090".to_owned())];
    // It is probed once.
    let keys = "health: {interval: 10m, timeout: 20s, warm_up: 0s}\n";
    let main = pool::pool("main", &backends, keys);
    let limits = "limits: {scrapes_per_client: 1}\n";
    let pool = Pool::with(&format!("{limits}query:\n  pools:\n{main}")).await;
    let target = format!("--target=pi:9090={}", a.url());
    let _client = Client::start(&[&pool.proxy.url()], &[&target]).await;
    pool.is("pi", "healthy").await;
    let ask = Ask::get("GET /api/v1/labels");
    eventually(PATIENCE, "its first probe is over", async || {
        let answer = ask.to(&pool).await;
        match answer.head.status {
            200 => Ok(()),
            _ => Err(format!("{answer:?}")),
        }
    })
    .await;
    let gate = held(&a, QUERY);
    let ask = Ask::get(ASK);
    let first = under_way(&pool, &ask, &a, 1).await;
    let why = "pi: as much is under way at the client of pi as may be";
    refused(&pool, &ask, "scrapes_per_client", why).await;
    gate.open();
    first.await.unwrap().expect(200);
}
