//! What was broken in mpp, M1 to M17 of the list in `docs/migrating-from-mpp.md`: each has a test that shows
//! it of us, whose doc comment has its number.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use adit_tests::binaries;
use adit_tests::fake_prometheus::{FakePrometheus, Fixed};
use adit_tests::log;
use adit_tests::metrics::Metrics;
use adit_tests::program::Program;
use adit_tests::prometheus::Prometheus;
use adit_tests::scraper;
use adit_tests::wait::{PATIENCE, eventually};

use super::{Endpoints, LISTEN, started};
use crate::query::pool::all_are_known;

/// How many there are.
const FAULTS: u32 = 17;

/// M1: mpp ended at its start with every Prometheus since 2.0, whose metric is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_default_strategy_starts_and_serves_with_a_prometheus_of_today() {
    let servers = [Prometheus::start("").await, Prometheus::start("").await];
    let urls = servers
        .each_ref()
        .map(|server| format!("http://{}", server.address));
    let endpoints = Endpoints::new(&urls.each_ref().map(String::as_str));
    let (proxy, query) = started(&[&endpoints.flag()]).await;
    let answer = scraper::page(query, "/api/v1/query?query=1%2B1").await;
    let answer = answer.expect(200);
    assert!(answer.text().contains("\"2\""), "{answer:?}");
    let by = answer.head.field("MPP.ServedBy").unwrap();
    assert!(urls.contains(&by), "{by}");
    // It answers before anybody was compared.
    let selected = "adit_proxy_query_backend_selected";
    eventually(PATIENCE, selected, async || {
        let now = Metrics::of(proxy.address).await.sum(selected);
        (now == 1.0).then_some(()).ok_or(now.to_string())
    })
    .await;
}

/// M16: Grafana keeps no cookies. Who is alike is not taken in turns for want of one: everybody is with
/// the first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_cookies_everybody_stays_with_one_backend() {
    let backends = ["a", "b"].map(FakePrometheus::start);
    let urls = backends.each_ref().map(FakePrometheus::url);
    let endpoints = Endpoints::new(&urls.each_ref().map(String::as_str));
    let (proxy, query) = started(&[&endpoints.flag(), "--selection-interval=100ms"]).await;
    proxy.program.lines("to=healthy", 2).await;
    all_are_known(query).await;
    let mut served = BTreeSet::new();
    for _ in 0..50 {
        let answer = scraper::page(query, "/api/v1/query?query=up").await;
        let answer = answer.expect(200);
        assert_eq!(answer.head.field("set-cookie"), None, "{answer:?}");
        served.insert(answer.head.field("MPP.ServedBy"));
    }
    assert_eq!(served.len(), 1, "{served:?}");
}

/// M17: mpp wanted a folder for whatever is larger than 1 MiB, and its own image has none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn large_answers_need_no_folder_for_temporary_files() {
    const BYTES: usize = 8 << 20;
    let backend = FakePrometheus::start_as("a", |state| {
        let body = vec![b'x'; BYTES];
        state.always("/federate", Fixed::status(200).body(body));
    });
    let endpoints = Endpoints::new(&[&backend.url()]);
    let mut command = Command::new(binaries::path("adit-proxy"));
    command
        .args(["--compat.mpp", LISTEN, "--web.listen-address=127.0.0.1:0"])
        .arg(endpoints.flag())
        .env("TMPDIR", endpoints.folder.path().join("nowhere"));
    let program = Program::start(&command);
    let line = log::line(&program.line("roles=query").await).unwrap();
    let query = line["address"].parse().unwrap();
    let answer = scraper::page(query, "/federate").await;
    assert_eq!(answer.head.status, 200, "{:?}", answer.head);
    assert!(!answer.is_cut() && answer.body.len() == BYTES);
    // And what it has open is no file.
    let open = std::fs::read_dir(format!("/proc/{}/fd", program.id())).unwrap();
    for file in open {
        let Ok(path) = std::fs::read_link(file.unwrap().path()) else {
            continue;
        };
        assert!(!path.starts_with("/tmp"), "{path:?}");
    }
}

/// M15: mpp wrote a line for each look at its backends, and at ten a second that is all one sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selection_that_changes_nothing_is_no_line_of_the_log() {
    let backends = ["a", "b"].map(FakePrometheus::start);
    let urls = backends.each_ref().map(FakePrometheus::url);
    let endpoints = Endpoints::new(&urls.each_ref().map(String::as_str));
    let (proxy, _query) = started(&[&endpoints.flag(), "--selection-interval=20ms"]).await;
    proxy.program.lines("to=healthy", 2).await;
    let selections = async || {
        let metrics = Metrics::of(proxy.address).await;
        metrics.sum("adit_proxy_query_selections_total")
    };
    // Where data are alike the first may be another one once more, by its name.
    let (before, looked) = (proxy.program.log(), selections().await);
    eventually(PATIENCE, "fifty selections", async || {
        let now = selections().await;
        if now >= looked + 50.0 {
            Ok(())
        } else {
            Err(now.to_string())
        }
    })
    .await;
    let after = proxy.program.log();
    let new = after.strip_prefix(&before).unwrap().lines();
    let new: Vec<&str> = new.filter(|line| !line.is_empty()).collect();
    assert!(new.len() <= 1, "{new:#?}");
    for line in after.lines() {
        let line = log::line(line).unwrap();
        assert!(!line["msg"].contains("unchanged"), "{line:?}");
    }
}

/// M15: mpp ended with 0 when it could not listen.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_taken_ends_the_program_with_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let ended = Program::run(
        binaries::path("adit-proxy"),
        &[
            "--compat.mpp",
            "--endpoints-file=/e",
            "--web.listen-address=127.0.0.1:0",
            &format!("--query.listen-address={address}"),
        ],
    )
    .await;
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    assert!(ended.stderr.contains(&address.to_string()), "{ended:?}");
}

/// M15: what two threads share is behind a lock or atomic, or it does not compile. That holds for all of
/// safe Rust, so it holds where nothing else is allowed.
#[test]
fn there_is_no_data_race_since_all_of_it_is_safe_rust() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).unwrap();
    assert!(manifest.contains("[workspace.lints.rust]"));
    assert!(manifest.contains("\nunsafe_code = \"forbid\"\n"));
    for program in ["common", "proxy", "client"] {
        let path = root().join(program).join("Cargo.toml");
        let manifest = std::fs::read_to_string(path).unwrap();
        assert!(
            manifest.contains("[lints]\nworkspace = true"),
            "{program}: it has lints of its own"
        );
    }
}

fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().expect("the workspace").to_owned()
}

/// Every Rust file below a folder.
fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

/// `M7` of `Case 24, M7: words`: the numbers of a text.
fn numbers(text: &str) -> BTreeSet<u32> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric());
    let number = |word: &str| word.strip_prefix('M')?.parse::<u32>().ok();
    let found = words.filter_map(number);
    found
        .filter(|number| (1..=FAULTS).contains(number))
        .collect()
}

/// Each test of a file whose doc comment has numbers.
fn tests_of(text: &str) -> Vec<(String, BTreeSet<u32>)> {
    let mut found = Vec::new();
    let (mut comment, mut is_test) = (String::new(), false);
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            comment += words;
        } else if line.starts_with("#[") {
            is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
        } else {
            let name = line.trim_start_matches("async ").strip_prefix("fn ");
            let name = name.and_then(|rest| rest.split('(').next());
            let numbers = numbers(&comment);
            if let Some(name) = name
                && is_test
                && !numbers.is_empty()
            {
                found.push((name.to_owned(), numbers));
            }
            (comment, is_test) = (String::new(), false);
        }
    }
    found
}

/// All of them: by name, what they show.
fn tests() -> BTreeMap<String, BTreeSet<u32>> {
    let mut files = Vec::new();
    for folder in ["tests/e2e/query", "proxy/src"] {
        sources(&root().join(folder), &mut files);
    }
    let mut all: BTreeMap<String, BTreeSet<u32>> = BTreeMap::new();
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        for (name, numbers) in tests_of(&text) {
            all.entry(name).or_default().extend(numbers);
        }
    }
    all
}

#[test]
fn only_tests_count_and_only_by_their_doc_comments() {
    let text = "/// M1.\nfn no_test() {}\n\n    /// Case 7, M2:\n    /// and M3.\n    #[test]\n    \
                #[cfg(unix)]\n    fn a() {}\n// M4\n#[test]\nfn b() {}\n/// M5, M18, MM6, 1M7.\n\
                #[tokio::test(flavor = \"multi_thread\")]\nasync fn c() {}\n";
    let found = tests_of(text);
    assert_eq!(
        found,
        [
            ("a".to_owned(), BTreeSet::from([2, 3])),
            ("c".to_owned(), BTreeSet::from([5]))
        ]
    );
}

/// And the page says which they are.
#[test]
fn each_fault_of_mpps_has_a_test_that_shows_we_do_not_have_it() {
    let tests = tests();
    let shown: BTreeSet<u32> = tests.values().flatten().copied().collect();
    let missing: Vec<u32> = (1..=FAULTS).filter(|n| !shown.contains(n)).collect();
    assert!(
        missing.is_empty(),
        "no test has M{missing:?} in its comment"
    );

    let page = std::fs::read_to_string(root().join("docs/migrating-from-mpp.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| M"));
    let rows: Vec<Vec<&str>> = rows.map(|row| row.split(" | ").collect()).collect();
    assert_eq!(rows.len(), 17, "a row for each");
    for (number, row) in (1..=FAULTS).zip(rows) {
        assert_eq!(numbers(row[0]), BTreeSet::from([number]), "{row:?}");
        let named: Vec<&str> = row[3].split('`').skip(1).step_by(2).collect();
        assert!(!named.is_empty(), "M{number} names no test");
        for name in named {
            let of = tests.get(name);
            assert!(
                of.is_some_and(|numbers| numbers.contains(&number)),
                "M{number}: there is no such test with this number: {name} ({of:?})"
            );
        }
    }
}
