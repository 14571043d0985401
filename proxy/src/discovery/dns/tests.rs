//! A real DNS server's answers.

use std::net::SocketAddr;

use adit_common::target::Scheme;
use hickory_resolver::proto::rr::Name;
use hickory_resolver::proto::rr::rdata::SRV;
use tokio::task::JoinSet;

use super::dnsmasq::Dnsmasq;
use super::*;
use crate::config::query::Manner;

const ZONE: [&str; 9] = [
    "--host-record=two.test,127.0.0.2,fd00::2",
    "--host-record=three.test,127.0.0.3",
    "--host-record=six.test,fd00::6",
    "--cname=alias.test,two.test",
    "--srv-host=_prom._tcp.test,three.test,9091,20,0",
    "--srv-host=_prom._tcp.test,two.test,9092,10,5",
    "--srv-host=_prom._tcp.test,two.test,9090,10,60",
    "--srv-host=_none._tcp.test",
    "--txt-record=text.test,nothing else",
];

fn source(server: SocketAddr, name: &str, records: DnsRecords) -> DnsSource {
    DnsSource {
        name: name.to_owned(),
        records,
        port: 9090,
        scheme: Scheme::Http,
        path_prefix: "/p".to_owned(),
        server: Some(server),
        refresh: Duration::from_millis(100),
        manner: Manner::default(),
    }
}

fn urls(found: &[Found]) -> Vec<String> {
    found.iter().map(|found| found.url.to_string()).collect()
}

#[tokio::test]
async fn records_are_backends() {
    let Some(dnsmasq) = Dnsmasq::start(&ZONE) else {
        return;
    };
    let (report, _heard) = Report::for_tests();
    use DnsRecords::{A, Aaaa, Addresses, Srv};
    for (name, records, expected) in [
        ("two.test", A, &["http://127.0.0.2:9090/p"][..]),
        ("two.test", Aaaa, &["http://[fd00::2]:9090/p"]),
        (
            "two.test",
            Addresses,
            &["http://127.0.0.2:9090/p", "http://[fd00::2]:9090/p"],
        ),
        ("TWO.test.", A, &["http://127.0.0.2:9090/p"]),
        ("alias.test", A, &["http://127.0.0.2:9090/p"]),
        ("three.test", Addresses, &["http://127.0.0.3:9090/p"]),
        ("six.test", Addresses, &["http://[fd00::6]:9090/p"]),
        ("six.test", A, &[]),
        ("text.test", Addresses, &[]),
        ("nobody.test", Addresses, &[]),
        ("nobody.test", Srv, &[]),
        (
            "_prom._tcp.test",
            Srv,
            &[
                "http://two.test:9090/p",
                "http://two.test:9092/p",
                "http://three.test:9091/p",
            ],
        ),
        ("_none._tcp.test", Srv, &[]),
    ] {
        let found = look(&source(dnsmasq.address, name, records), &report).await;
        assert_eq!(urls(&found.unwrap()), expected, "{name} {records:?}");
    }
}

#[tokio::test]
async fn services_have_priorities_and_weights_and_a_refusal_is_a_failure() {
    let Some(dnsmasq) = Dnsmasq::start(&ZONE) else {
        return;
    };
    let (report, _heard) = Report::for_tests();
    let services = source(dnsmasq.address, "_prom._tcp.test", DnsRecords::Srv);
    let found = look(&services, &report).await.unwrap();
    let manners: Vec<(u32, u32)> = found
        .iter()
        .map(|found| (found.manner.priority, found.manner.weight.get()))
        .collect();
    assert_eq!(manners, [(10, 60), (10, 5), (20, 1)]);
    let refused = source(dnsmasq.address, "prom.example", DnsRecords::A);
    let error = look(&refused, &report).await.unwrap_err();
    assert!(error.contains("A of prom.example.: "), "{error}");
}

#[tokio::test]
async fn a_server_that_is_gone_is_a_failure_until_it_is_back() {
    let Some(mut dnsmasq) = Dnsmasq::start(&ZONE) else {
        return;
    };
    let (report, mut heard) = Report::for_tests();
    let mut task = JoinSet::new();
    task.spawn(follow(
        source(dnsmasq.address, "three.test", DnsRecords::A),
        report,
    ));
    let mut until = async |is_it: fn(&Result<Vec<Found>, String>) -> bool| loop {
        let word = timeout(PATIENCE * 2, heard.recv()).await;
        let (_, word) = word.unwrap().unwrap();
        if is_it(&word) {
            break;
        }
    };
    until(|word| {
        word.as_ref()
            .is_ok_and(|found| urls(found) == ["http://127.0.0.3:9090/p"])
    })
    .await;
    dnsmasq.stop();
    until(|word| {
        word.as_ref()
            .is_err_and(|why| why.contains("A of three.test.: "))
    })
    .await;
    let _again = dnsmasq.with_others(&["--host-record=three.test,127.0.0.4"]);
    until(|word| {
        word.as_ref()
            .is_ok_and(|found| urls(found) == ["http://127.0.0.4:9090/p"])
    })
    .await;
}

#[test]
fn the_same_answer_in_any_order_is_the_same_list() {
    let source = source(([127, 0, 0, 1], 1).into(), "x", DnsRecords::Srv);
    let service = |priority, weight, port, host| {
        let host = Name::from_ascii(host).unwrap();
        RData::SRV(SRV::new(priority, weight, port, host))
    };
    let mut answer = vec![
        service(1, 0, 1, "b."),
        service(0, 7, 2, "a."),
        service(1, 0, 1, "a."),
        service(0, 0, 1, "."),
        service(0, 7, 1, "a."),
    ];
    let list = records::services(answer.clone(), &source).unwrap();
    let expected = [
        "http://a:1/p",
        "http://a:2/p",
        "http://a:1/p",
        "http://b:1/p",
    ];
    assert_eq!(urls(&list), expected);
    answer.reverse();
    assert_eq!(records::services(answer, &source), Ok(list));
    let addresses = ["10.0.0.2", "fd00::1", "10.0.0.1", "10.0.0.2"].map(|ip| ip.parse().unwrap());
    let list = records::addresses(addresses.into(), &source).unwrap();
    let expected = [
        "http://10.0.0.1:9090/p",
        "http://10.0.0.2:9090/p",
        "http://[fd00::1]:9090/p",
    ];
    assert_eq!(urls(&list), expected);
    let no_port = vec![service(0, 0, 0, "a.")];
    let error = records::services(no_port, &source).unwrap_err();
    assert_eq!(error, "x: a:0: \"0\" is no port (1 to 65535)");
}
