//! Where a name may lead: the client resolves it, and looks before it dials.
//!
//! In a network of its own, where 169.254.169.254 answers, and with a hosts file of its own, which
//! the test rewrites: a name that changes its answer is what DNS rebinding is.

use std::fmt::Write as _;
use std::path::Path;

use adit_tests::metrics::Metrics;
use adit_tests::namespace;
use adit_tests::pair::Pair;
use adit_tests::target::answers::whole;
use adit_tests::target::{Ear, Step, Target};

const TEST: &str = "policy::names::a_name_never_leads_to_metadata_whatever_it_led_to_before";
/// The test's own, inside.
const HOSTS: &str = "/etc/hosts";
const METADATA: &str = "169.254.169.254";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_name_never_leads_to_metadata_whatever_it_led_to_before() {
    let hosts = tempfile::NamedTempFile::new().unwrap();
    let setup = format!(
        "ip link set lo up && ip addr add {METADATA}/32 dev lo && \
         mount --bind {} {HOSTS}",
        hosts.path().display()
    );
    if namespace::inside(TEST, &["--net", "--mount"], &setup).await {
        inside(Path::new(HOSTS)).await;
    }
}

/// The names and what they lead to, from now on.
fn write(hosts: &Path, names: &[(&str, &[&str])]) {
    let mut text = String::new();
    for (name, addresses) in names {
        for address in *addresses {
            writeln!(text, "{address} {name}").unwrap();
        }
    }
    // In place: it is mounted.
    std::fs::write(hosts, text).unwrap();
}

/// Closes after each answer, so that each scrape dials.
fn closing(body: &str) -> Vec<Step> {
    vec![Step::send(whole(body))]
}

async fn inside(hosts: &Path) {
    let good = Target::start(closing("good 1\n"));
    let port = good.port();
    let ear = std::net::TcpListener::bind((METADATA, port)).unwrap();
    let metadata = Target::at(vec![Ear::Tcp(ear)], closing("key 1\n"));
    let names = ["nas", "mixed", "mapped", "local", "zero", "many"];
    let mut flags: Vec<String> = names
        .iter()
        .map(|name| format!("--target={name}:1=http://{name}.example:{port}"))
        .collect();
    flags.push(format!("--target=written:1=http://{METADATA}:{port}"));
    flags.push(format!("--target=number:1=http://2852039166:{port}"));
    let lead = |nas: &'static [&'static str]| {
        write(
            hosts,
            &[
                ("nas.example", nas),
                ("mixed.example", &[METADATA, "127.0.0.1"]),
                ("mapped.example", &["::ffff:169.254.169.254"]),
                ("local.example", &["169.254.1.1", "fe80::1"]),
                ("zero.example", &["0.0.0.0"]),
                ("many.example", &["169.254.1.1", METADATA, "224.0.0.1"]),
            ],
        );
    };
    lead(&["127.0.0.1"]);
    let flags: Vec<&str> = flags.iter().map(String::as_str).collect();
    let pair = Pair::start(&flags).await;
    let scrape = async |name: &str| pair.scrape(&format!("http://{name}:1/metrics")).await;

    // It is there for who writes it.
    assert_eq!(scrape("written").await.expect(200).text(), "key 1\n");
    let dialled = metadata.journal().connections.len();
    for round in 0..3 {
        lead(&["127.0.0.1"]);
        assert_eq!(
            scrape("nas").await.expect(200).text(),
            "good 1\n",
            "{round}"
        );
        // The name changes its answer; what answered last is asked first, if it still may be.
        lead(&[METADATA]);
        let words = "169.254.169.254 is a metadata address, and dialled only when written as such";
        let answer = scrape("nas").await.refusal(403, words);
        assert!(
            answer.head.reason.contains("nas:1"),
            "{}",
            answer.head.reason
        );
        let connect = "CONNECT nas:1 HTTP/1.1\r\nHost: nas:1\r\n\r\n";
        let answer = adit_tests::scraper::send(pair.proxy.address, connect).await;
        answer.refusal(403, words);
        // The others of a name are tried all the same.
        assert_eq!(scrape("mixed").await.expect(200).text(), "good 1\n");
    }
    for (name, part) in [
        ("mapped", "a metadata address"),
        ("local", "169.254.1.1 is a link-local address"),
        ("zero", "0.0.0.0 is an unspecified address"),
        ("many", "224.0.0.1 is a multicast address"),
        ("number", "169.254.169.254 is a metadata address"),
    ] {
        scrape(name).await.refusal(403, part);
    }
    assert_eq!(
        metadata.journal().connections.len(),
        dialled,
        "not once more"
    );
    let metrics = Metrics::of(pair.client.web).await;
    let forbidden = metrics.series("adit_client_faults_total{fault=\"forbidden\"}");
    assert_eq!(forbidden, 11.0);
}
