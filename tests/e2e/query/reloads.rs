//! Reading the configuration again while it is in use.

use std::path::Path;
use std::time::Instant;

use adit_tests::binaries;
use adit_tests::fake_prometheus::FakePrometheus;
use adit_tests::ports;
use adit_tests::scraper::{self, Answer};
use adit_tests::tls::Authority;
use adit_tests::wait::{PATIENCE, eventually};
use serde_json::Value;

use super::discovery::{Readers, World, giver, pools, seen, write};

async fn reload(world: &World) -> Answer {
    let request = "POST /-/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
    scraper::send(world.proxy.address, request).await
}

/// A pool, and when it was seen.
struct Sight(Value, Instant);

impl Sight {
    fn now(pool: Value) -> Self {
        Self(pool, Instant::now())
    }
}

/// The state of each backend and since when, by its URL.
fn known(pool: &Value) -> Vec<(String, String, f64)> {
    let of = |backend: &Value| {
        let text = |key: &str| backend[key].as_str().unwrap().to_owned();
        (
            text("url"),
            text("state"),
            backend["since_seconds"].as_f64().unwrap(),
        )
    };
    pool["backends"]
        .as_array()
        .unwrap()
        .iter()
        .map(of)
        .collect()
}

/// Asserts that all it knew is known, and nothing began anew. `asked` is when it was asked for.
fn assert_goes_on(before: &Sight, asked: Instant, after: &Value) {
    let between = asked.saturating_duration_since(before.1).as_secs_f64();
    let (before, after) = (known(&before.0), known(after));
    assert_eq!(before.len(), after.len());
    for ((url, state, since), (same, still, later)) in before.iter().zip(&after) {
        assert_eq!((url, state), (same, still));
        let least = since + between;
        assert!(
            *later >= least,
            "{url} was {state} for {since} s, and for {later} s {between} s later"
        );
    }
}

/// Pools are added, changed and taken away while somebody reads, and a file that is no good changes
/// nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pools_come_change_and_go_and_no_read_fails() {
    let [a, b, c] = ["a", "b", "c"].map(FakePrometheus::start);
    let main = |more: &str| format!("name: main, backends: ['{}', '{}'{more}]", a.url(), b.url());
    let below = |name: &str| {
        format!(
            "name: {name}, path_prefix: /{name}, backends: ['{}']",
            c.url()
        )
    };
    let (kept, gone, new) = (below("kept"), below("gone"), below("new"));
    let first = pools(&[&main(""), &kept, &gone]);
    let world = World::with(&first, &[], |_| {}).await;
    world.healthy(2).await;
    let address = world.proxy.address;
    let is_healthy = async |pool: &str| {
        eventually(PATIENCE, "a healthy pool", async || {
            let pool = seen(address, pool).await;
            match pool["backends"][0]["state"] == "healthy" {
                true => Ok(pool),
                false => Err(pool.to_string()),
            }
        })
        .await
    };
    let before = Sight::now(is_healthy("kept").await);
    is_healthy("gone").await;
    let readers = Readers::start(world.query());
    readers.have_read(20).await;
    // No good.
    let was = Sight::now(world.pool().await);
    for broken in [
        "query: {pools: [".to_owned(),
        pools(&[&main(", 'ftp://x'"), &kept]),
        pools(&[&main(""), &main("")]),
        pools(&[&format!("{}, tls: {{}}", main(""))]),
        pools(&[&main(""), &kept]) + "limits: {queries: many}\n",
    ] {
        world.write("proxy.yml", &broken);
        let answer = reload(&world).await;
        assert_eq!(answer.head.status, 500, "{broken}: {}", answer.text());
    }
    assert_goes_on(&was, Instant::now(), &world.pool().await);
    assert_goes_on(&before, Instant::now(), &seen(address, "kept").await);
    let good = "adit_proxy_config_last_reload_successful";
    assert_eq!(world.metrics().await.series(good), 0.0);
    // Good, again and again.
    for round in 0..5 {
        let more = if round % 2 == 0 {
            format!(", '{}'", c.url())
        } else {
            String::new()
        };
        world.write("proxy.yml", &pools(&[&main(&more), &kept, &new]));
        reload(&world).await.expect(200);
        let expected = if round % 2 == 0 { 3 } else { 2 };
        world.healthy(expected).await;
        let reads = readers.count();
        readers.have_read(reads + 20).await;
    }
    assert_eq!(world.metrics().await.series(good), 1.0);
    assert_goes_on(&before, Instant::now(), &seen(address, "kept").await);
    is_healthy("new").await;
    let answer = scraper::page(world.query(), "/new/api/v1/query?query=up").await;
    assert_eq!(giver(&answer.expect(200)), "c");
    assert_eq!(seen(address, "gone").await, Value::Null);
    world.has_no_series_with("pool=\"gone\"").await;
    // Those of a pool that goes on are there, once.
    let metrics = world.metrics().await;
    for pool in ["main", "kept", "new"] {
        for backend in [&a, &b, &c] {
            let labels = format!("{{backend=\"{}\",pool=\"{pool}\"}}", backend.address());
            let is_there = pool == "main" || backend.id() == "c";
            let up = metrics.series(&format!("adit_proxy_query_backend_up{labels}"));
            assert_eq!(up, f64::from(is_there), "{labels}");
        }
    }
    assert!(readers.stop().await > 100);
}

/// Half a household's servers are away when somebody changes a setting: the pool begins anew, and nobody
/// who reads sees that it has to find out who is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_pool_with_a_dead_backend_fails_no_read() {
    let alive = FakePrometheus::start("alive");
    // The first of two, and never there. Probes are rare, as they are by default.
    let text = |timeout: &str| {
        format!(
            "query:\n  pools:\n  - {{name: main, strategy: first-available, timeout: {timeout}, \
             backends: ['http://127.0.0.1:{}', '{}']}}\n",
            ports_of_nobody(),
            alive.url()
        )
    };
    let world = World::with(&text("1m"), &[], |_| {}).await;
    let is_settled = |pool: &Value| {
        let all = pool["backends"].as_array().unwrap();
        all.len() == 2 && all[0]["state"] == "down" && all[1]["state"] == "healthy"
    };
    world.shows("one is down", is_settled).await;
    let readers = Readers::start(world.query());
    readers.have_read(20).await;
    world.write("proxy.yml", &text("30s"));
    reload(&world).await.expect(200);
    readers.have_read(readers.count() + 100).await;
    world.shows("one is down again", is_settled).await;
    readers.stop().await;
}

/// The same port each time it is asked for.
fn ports_of_nobody() -> u16 {
    static PORT: std::sync::OnceLock<u16> = std::sync::OnceLock::new();
    *PORT.get_or_init(ports::unused)
}

/// Those of `--query.backend` stand in no file.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backends_of_flags_go_on() {
    let [a, b] = ["a", "b"].map(FakePrometheus::start);
    let flags = [&a, &b].map(|fake| format!("--query.backend={}", fake.url()));
    let flags = flags.each_ref().map(String::as_str);
    let world = World::with("duplicates: reject\n", &flags, |_| {}).await;
    let before = Sight::now(world.healthy(2).await);
    reload(&world).await.expect(200);
    world.write("proxy.yml", "duplicates: replace\n");
    reload(&world).await.expect(200);
    assert_goes_on(&before, Instant::now(), &world.pool().await);
}

/// M13: what was renewed is used: a password by itself, a CA after a reload.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn renewed_files_of_a_backend_are_used() {
    let [wrong, right] = [Authority::new(), Authority::new()];
    let fake = FakePrometheus::start_tls("fake", right.server(&["127.0.0.1"]));
    fake.set(|state| state.authorization = Some("Basic dTpzZWNvbmQ=".to_owned())); // u:second
    let ca = |authority: &Authority| std::fs::read_to_string(authority.ca_file()).unwrap();
    let pool = format!(
        "backends: [{{url: '{}', tls: {{ca_file: ca.pem}}, \
         basic_auth: {{username: u, password_file: password}}}}]",
        fake.url()
    );
    let world = World::new(&pool, |folder: &Path| {
        write(folder, "ca.pem", &ca(&wrong));
        write(folder, "password", "first");
    })
    .await;
    let says = |words: &'static str| {
        move |pool: &Value| {
            let reason = pool["backends"][0]["reason"].as_str();
            reason.is_some_and(|reason| reason.contains(words))
        }
    };
    world
        .shows("a certificate of nobody's", says("certificate"))
        .await;
    world.write("ca.pem", &ca(&right));
    reload(&world).await.expect(200);
    world.shows("a refusal", says("401")).await;
    world.write("password", "second");
    world.healthy(1).await;
    // One that cannot be used changes nothing.
    world.write(
        "ca.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    assert_eq!(reload(&world).await.head.status, 500);
    world.healthy(1).await;
}

/// By the signal, as an init system does it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sighup_is_a_reload() {
    let [a, b] = ["a", "b"].map(FakePrometheus::start);
    let folder = tempfile::tempdir().unwrap();
    let text = |fake: &FakePrometheus| pools(&[&format!("backends: ['{}']", fake.url())]);
    write(folder.path(), "proxy.yml", &text(&a));
    let file = format!(
        "--config.file={}",
        folder.path().join("proxy.yml").display()
    );
    let flags = [&*file, "--query.listen-address=127.0.0.1:0"];
    let proxy = binaries::Proxy::start(&flags).await;
    let only = async |fake: &FakePrometheus| {
        eventually(PATIENCE, "the only backend", async || {
            let pool = seen(proxy.address, "main").await;
            match pool["backends"][0]["url"] == fake.url() && pool["backends"][1].is_null() {
                true => Ok(()),
                false => Err(pool.to_string()),
            }
        })
        .await;
    };
    write(folder.path(), "proxy.yml", "query: {");
    proxy.program.signal("HUP");
    proxy.program.line("configuration not reloaded").await;
    only(&a).await;
    write(folder.path(), "proxy.yml", &text(&b));
    proxy.program.signal("HUP");
    proxy.program.line("configuration reloaded").await;
    only(&b).await;
    a.all_closed().await;
}
