//! Tests of what is offered.

use super::*;
use crate::upstream::Address;

const METRICS: Asked<'static> = Asked::Request(&Method::GET, "/metrics");

fn offer(args: &[&str]) -> Offer {
    let proxy = ["--proxy-url=http://proxy"];
    let config = Config::from_args(proxy.iter().chain(args)).unwrap();
    Offer::new(&config, None).unwrap()
}

fn admitted(offer: &Offer, target: &str) -> Option<Address> {
    let admitted = offer.admit(&target.parse().unwrap(), METRICS);
    admitted.ok().map(|upstream| upstream.address.clone())
}

fn tcp(target: &str) -> Option<Address> {
    Some(Address::Tcp(target.parse().unwrap()))
}

#[test]
fn only_what_is_named_is_offered() {
    let offer = offer(&[
        "--target=pi:9100",
        "--target=nas:80=https://192.168.1.5/x",
        "--target=db:1=unix:/run/db",
        "--name=other",
    ]);
    assert_eq!(admitted(&offer, "pi:9100"), tcp("localhost:9100"));
    assert_eq!(admitted(&offer, "PI.:9100"), tcp("localhost:9100"));
    assert_eq!(admitted(&offer, "nas:80"), tcp("192.168.1.5:443"));
    assert_eq!(
        admitted(&offer, "db:1"),
        Some(Address::Unix("/run/db".into()))
    );
    for target in [
        "pi:9101",
        "nas:443",
        "other:9100",
        "localhost:9100",
        "192.168.1.5:443",
    ] {
        assert_eq!(admitted(&offer, target), None, "{target}");
    }
    let report = offer
        .admit(&"pi:9101".parse().unwrap(), METRICS)
        .unwrap_err();
    assert_eq!(report.reason, "pi:9101 is not offered by this client");
    let told = Registration::from_line(offer.line().trim_ascii_end()).unwrap();
    let names: Vec<&str> = told.names.iter().map(Name::as_str).collect();
    assert_eq!(names, ["db", "nas", "other", "pi"]);
}

#[test]
fn connect_is_for_targets_that_are_named() {
    let offer = offer(&["--allow-any-port", "--name=pi", "--target=pi:9443"]);
    let connect = |target: &str| offer.admit(&target.parse().unwrap(), Asked::Connect);
    assert!(connect("pi:9443").is_ok());
    let report = connect("pi:22").unwrap_err();
    assert!(report.reason.contains("--target"), "{}", report.reason);
}

#[test]
fn any_port_is_of_the_given_names_and_at_localhost() {
    let offer = offer(&[
        "--allow-any-port",
        "--name=pi",
        "--target=nas:1=http://10.0.0.1:2",
    ]);
    assert_eq!(admitted(&offer, "pi:1"), tcp("localhost:1"));
    assert_eq!(admitted(&offer, "pi:65535"), tcp("localhost:65535"));
    assert_eq!(admitted(&offer, "nas:1"), tcp("10.0.0.1:2"));
    assert_eq!(admitted(&offer, "nas:3"), None);
    for port in 1..=2000u16 {
        assert!(admitted(&offer, &format!("pi:{port}")).is_some());
    }
    let kept = offer.any_port.unwrap().known.into_inner().unwrap();
    assert_eq!(kept.len(), MOST_PORTS);
}

#[test]
fn the_host_a_target_is_sent() {
    let offer = offer(&["--target=pi:9100", "--target=nas:80=http://Nas.Local:8080"]);
    let host = |target: &str| upstream(&offer, target).host.clone();
    assert_eq!(host("pi:9100"), None);
    assert_eq!(host("nas:80").unwrap(), "Nas.Local:8080");
}

/// The offer of `args` after the one of `before`, in force.
fn reloaded(before: &Offer, args: &[&str]) -> Offer {
    let proxy = ["--proxy-url=http://proxy"];
    let config = Config::from_args(proxy.iter().chain(args)).unwrap();
    let now = Offer::new(&config, Some(before)).unwrap();
    now.take_over(before);
    now
}

fn upstream(offer: &Offer, target: &str) -> Upstream {
    offer.admit(&target.parse().unwrap(), METRICS).unwrap()
}

#[test]
fn what_leads_to_the_same_place_goes_on_over_a_reload() {
    let before = offer(&["--target=pi:1=http://a:1/y", "--target=pi:2=http://a:2"]);
    let (stays, moves) = (upstream(&before, "pi:1"), upstream(&before, "pi:2"));
    // Another path at the same place is the same place.
    let now = reloaded(
        &before,
        &["--target=pi:1=http://a:1/x", "--target=pi:2=http://b:2"],
    );
    assert!(upstream(&now, "pi:1").continues(&stays));
    assert_eq!(upstream(&now, "pi:1").prefix, "/x");
    assert!(!stays.withdrawn().is_cancelled());
    assert!(!upstream(&now, "pi:2").continues(&moves));
    assert!(moves.withdrawn().is_cancelled());
    // The next reload knows it still.
    reloaded(&now, &["--target=pi:3"]);
    assert!(stays.withdrawn().is_cancelled());
}

/// The offer of a file's targets, after the one of `before` if there is one.
fn of_file(targets: &str, before: Option<&Offer>) -> Result<Offer, SettingsError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("client.yml");
    std::fs::write(folder.path().join("token"), "t0ken").unwrap();
    std::fs::write(&path, format!("proxies: [http://p]\ntargets:\n{targets}")).unwrap();
    let flag = format!("--config.file={}", path.display());
    let offer = Offer::new(&Config::from_args([flag]).unwrap(), before)?;
    if let Some(before) = before {
        offer.take_over(before);
    }
    Ok(offer)
}

#[test]
fn what_is_asked_is_offered_or_named_in_the_refusal() {
    let offer = of_file(
        "- {target: 'pi:1', paths: [/metrics]}\n- {target: 'pi:2', methods: [PUT]}\n\
         - {target: 'pi:3'}\n- {target: 'pi:4', url: 'http://x/prefix'}\n",
        None,
    )
    .unwrap();
    let asked = |target: &str, asked| offer.admit(&target.parse().unwrap(), asked);
    let (get, put) = (Method::GET, Method::PUT);
    for (target, what, refusal) in [
        ("pi:1", Asked::Request(&get, "/metrics"), None),
        (
            "pi:1",
            Asked::Request(&get, "/debug"),
            Some("pi:1: path /debug is not offered"),
        ),
        (
            "pi:1",
            Asked::Request(&put, "/metrics"),
            Some("pi:1: method PUT is not offered"),
        ),
        ("pi:1", Asked::Connect, Some("pi:1: CONNECT is not offered")),
        ("pi:2", Asked::Request(&put, "/x"), None),
        ("pi:2", Asked::Connect, Some("pi:2: CONNECT is not offered")),
        ("pi:3", Asked::Request(&get, "/../x"), None),
        ("pi:3", Asked::Connect, None),
        (
            "pi:4",
            Asked::Request(&get, "/../x"),
            Some("pi:4: path /../x is not offered"),
        ),
        ("pi:4", Asked::Connect, Some("pi:4: CONNECT is not offered")),
        ("pi:5", Asked::Connect, Some("pi:5 is not offered")),
    ] {
        match (asked(target, what), refusal) {
            (Ok(_), None) => {}
            (Err(report), Some(words)) => {
                assert_eq!(report.fault, Fault::NotOffered);
                assert!(report.reason.starts_with(words), "{}", report.reason);
            }
            (got, _) => panic!("{target} {what:?}: {got:?}"),
        }
    }
    let any = self::offer(&["--allow-any-port", "--name=pi"]);
    let asked = |asked| any.admit(&"pi:7".parse().unwrap(), asked);
    assert!(asked(Asked::Connect).is_err());
    assert!(asked(Asked::Request(&get, "/")).is_ok());
    assert!(asked(Asked::Request(&put, "/")).is_err());
    let refused = any.admit(&"pi:8".parse().unwrap(), Asked::Request(&put, "/"));
    assert!(refused.is_err());
    let known = any.any_port.as_ref().unwrap().lock().len();
    assert_eq!(known, 1, "what is refused leaves nothing behind");
}

#[test]
fn streams_of_a_target_that_passes_bytes_no_longer_are_withdrawn() {
    let before = of_file("- {target: 'pi:1'}\n- {target: 'pi:2'}\n", None).unwrap();
    let [closed, stays] = ["pi:1", "pi:2"].map(|target| upstream(&before, target));
    let paths = "- {target: 'pi:1', connect: false}\n- {target: 'pi:2', scrapes: 2}\n";
    let now = of_file(paths, Some(&before)).unwrap();
    assert!(closed.withdrawn().is_cancelled());
    assert!(!stays.withdrawn().is_cancelled());
    let scrapes = upstream(&now, "pi:1");
    of_file(paths, Some(&now)).unwrap();
    assert!(!scrapes.withdrawn().is_cancelled(), "nothing has changed");
}

#[test]
fn credentials_are_read_with_the_rest_and_name_their_file() {
    let bearer = "- {target: 'pi:1', authorization: {credentials_file: token}}\n";
    let offer = of_file(bearer, None).unwrap();
    let sent = upstream(&offer, "pi:1").authorization.clone().unwrap();
    assert_eq!(sent, "Bearer t0ken");
    assert!(!format!("{offer:?}").contains("t0ken"));
    let missing = "- {target: 'pi:1', authorization: {credentials_file: no-such}}\n";
    let error = of_file(missing, None).unwrap_err().to_string();
    assert!(
        error.starts_with("target pi:1: credentials: /") && error.contains("no-such"),
        "{error}"
    );
}

#[test]
fn ports_that_were_asked_for_go_on_while_their_name_is_offered() {
    let before = offer(&["--allow-any-port", "--name=pi", "--name=nas"]);
    let [kept, named, gone] = ["pi:1", "pi:2", "nas:1"].map(|t| upstream(&before, t));
    let now = reloaded(&before, &["--allow-any-port", "--name=pi", "--target=pi:2"]);
    assert!(upstream(&now, "pi:1").continues(&kept));
    assert!(upstream(&now, "pi:2").continues(&named));
    for upstream in [&kept, &named] {
        assert!(!upstream.withdrawn().is_cancelled());
    }
    assert!(gone.withdrawn().is_cancelled());
    // A scrape that looked just before the reload is told as well.
    assert!(upstream(&before, "pi:3").withdrawn().is_cancelled());
    reloaded(&now, &["--target=pi:2"]);
    assert!(kept.withdrawn().is_cancelled());
    assert!(!named.withdrawn().is_cancelled());
}

#[test]
fn more_than_a_proxy_takes_is_refused_here() {
    let names: Vec<String> = (0..1025).map(|n| format!("--name=n{n}")).collect();
    let args = ["--proxy-url=http://proxy", "--target=pi:1"].map(str::to_owned);
    let config = Config::from_args(args.into_iter().chain(names)).unwrap();
    let error = Offer::new(&config, None).unwrap_err().to_string();
    assert!(error.contains("1024 are allowed"), "{error}");
}
