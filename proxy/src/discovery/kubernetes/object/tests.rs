//! What real API servers say, shortened by what nobody reads.

use super::*;

fn read(resource: Resource, text: &str) -> Page {
    page(resource, text.as_bytes()).unwrap()
}

/// Addresses, and ports.
type Told<'a> = (Vec<&'a str>, Vec<(&'a str, u16)>);

/// What each group has.
fn told(object: &Object) -> Vec<Told<'_>> {
    let groups = object.groups.iter();
    groups
        .map(|group| {
            let hosts = group.addresses.iter().map(|address| address.host.as_str());
            let ports = group.ports.iter();
            let ports = ports.map(|port| (port.name.as_deref().unwrap_or(""), port.number));
            (hosts.collect(), ports.collect())
        })
        .collect()
}

const SLICES: &str = r#"{"kind":"EndpointSliceList","apiVersion":"discovery.k8s.io/v1",
"metadata":{"resourceVersion":"2215","continue":"eyJ2IjoibWV0YS5rOHMuaW8vdjEi","remainingItemCount":1},
"items":[{"metadata":{"name":"prometheus-x7k2p","generateName":"prometheus-","namespace":"monitoring",
 "uid":"0d6f","resourceVersion":"2101","generation":4,"creationTimestamp":"2026-11-01T10:00:00Z",
 "labels":{"kubernetes.io/service-name":"prometheus"},"managedFields":[{"manager":"kube-controller-manager"}]},
 "addressType":"IPv4",
 "endpoints":[
  {"addresses":["10.1.0.5"],"conditions":{"ready":true,"serving":true,"terminating":false},
   "targetRef":{"kind":"Pod","namespace":"monitoring","name":"prometheus-0","uid":"a1"},"nodeName":"n1","zone":"z"},
  {"addresses":["10.1.0.6","10.1.0.66"],"conditions":{},"targetRef":null},
  {"addresses":["10.1.0.7"],"conditions":{"ready":null}},
  {"addresses":["10.1.0.8"],"conditions":{"ready":false,"serving":false,"terminating":false}},
  {"addresses":["10.1.0.9"],"conditions":{"ready":false,"serving":true,"terminating":true}},
  {"addresses":["10.1.0.10"],"conditions":{"ready":true,"serving":true,"terminating":true}},
  {"addresses":[],"conditions":{"ready":true}}],
 "ports":[{"name":"dns","port":53,"protocol":"UDP"},{"name":"web","port":9090,"protocol":"TCP"},
  {"name":"","port":10901},{"name":"wrong","port":70000,"protocol":"TCP"}]},
{"metadata":{"name":"prometheus-zz","resourceVersion":"2102"},"addressType":"FQDN",
 "endpoints":null,"ports":[{"name":"any","port":null,"protocol":"TCP"}]}]}"#;

/// Case 50.
#[test]
fn a_slice_gives_what_is_ready_and_does_not_terminate() {
    for resource in [Resource::Slices, Resource::BetaSlices] {
        let page = read(resource, SLICES);
        assert_eq!(page.version, "2215");
        assert_eq!(page.next.as_deref(), Some("eyJ2IjoibWV0YS5rOHMuaW8vdjEi"));
        let [first, second] = &page.objects[..] else {
            panic!("{page:?}");
        };
        assert_eq!(
            (first.name.as_str(), first.version.as_str()),
            ("prometheus-x7k2p", "2101")
        );
        let hosts = vec!["10.1.0.5", "10.1.0.6", "10.1.0.7"];
        assert_eq!(told(first), [(hosts, vec![("web", 9090), ("", 10901)])]);
        let pod = first.groups[0].addresses[0].pod.clone();
        assert_eq!(pod, Some(("prometheus-0".to_owned(), "a1".to_owned())));
        assert!(!first.groups[0].open);
        assert_eq!(told(second), [(vec![], vec![])]);
        assert!(
            second.groups[0].open,
            "a port without a number is all ports"
        );
    }
}

/// Case 50, and M14: every subset, and what is ready of it.
#[test]
fn endpoints_give_all_their_subsets() {
    let text = r#"{"kind":"EndpointsList","apiVersion":"v1","metadata":{"resourceVersion":"317"},"items":[
      {"metadata":{"name":"prometheus","namespace":"monitoring","resourceVersion":"215"},"subsets":[
       {"addresses":[{"ip":"10.1.0.5","nodeName":"n1","targetRef":{"kind":"Pod","name":"prometheus-0","uid":"a1","resourceVersion":"9"}}],
        "notReadyAddresses":[{"ip":"10.1.0.6"}],"ports":[{"name":"web","port":9090,"protocol":"TCP"}]},
       {"addresses":[{"ip":"fd00::5","hostname":"x"}],"ports":[{"port":9091,"protocol":"TCP"}]},
       {"notReadyAddresses":[{"ip":"10.1.0.7"}],"ports":[{"port":9091,"protocol":"TCP"}]}]},
      {"metadata":{"name":"empty","resourceVersion":"216"}}]}"#;
    let page = read(Resource::Endpoints, text);
    assert_eq!((page.version.as_str(), page.next), ("317", None));
    let groups = [
        (vec!["10.1.0.5"], vec![("web", 9090)]),
        (vec!["fd00::5"], vec![("", 9091)]),
        (vec![], vec![("", 9091)]),
    ];
    assert_eq!(told(&page.objects[0]), groups);
    assert_eq!(told(&page.objects[1]), []);
}

fn pod(status: &str, metadata: &str) -> Object {
    let text = format!(
        r#"{{"metadata":{{"resourceVersion":"9"}},"items":[{{
        "metadata":{{"name":"p-0","uid":"u","resourceVersion":"8"{metadata}}},
        "spec":{{"containers":[{{"name":"reloader","image":"x"}},
          {{"name":"prometheus","ports":[{{"name":"udp","containerPort":1,"protocol":"UDP"}},
            {{"name":"web","containerPort":9090,"protocol":"TCP"}}]}},
          {{"name":"thanos","ports":[{{"containerPort":10901}}]}}]}},
        "status":{status}}}]}}"#
    );
    read(Resource::Pods, &text).objects.remove(0)
}

/// Case 52, and M14.
#[test]
fn a_pod_counts_that_runs_is_ready_has_an_address_and_is_not_going() {
    let ready =
        r#""conditions":[{"type":"Initialized","status":"True"},{"type":"Ready","status":"True"}]"#;
    let good = format!(
        r#"{{"phase":"Running","podIP":"10.1.0.5","podIPs":[{{"ip":"10.1.0.5"}}],{ready}}}"#
    );
    let ports = vec![("web", 9090), ("", 10901)];
    let object = pod(&good, "");
    assert_eq!(told(&object), [(vec!["10.1.0.5"], ports.clone())]);
    assert!(object.groups[0].open);
    assert_eq!(
        object.groups[0].addresses[0].pod,
        Some(("p-0".into(), "u".into()))
    );
    let unready = r#""conditions":[{"type":"Ready","status":"False"}]"#;
    for (status, metadata) in [
        (
            good.as_str(),
            r#","deletionTimestamp":"2026-11-01T10:00:00Z""#,
        ),
        (
            &format!(r#"{{"phase":"Pending","podIP":"10.1.0.5",{ready}}}"#),
            "",
        ),
        (
            &format!(r#"{{"phase":"Succeeded","podIP":"10.1.0.5",{ready}}}"#),
            "",
        ),
        (&format!(r#"{{"phase":"Running",{ready}}}"#), ""),
        (&format!(r#"{{"phase":"Running","podIP":"",{ready}}}"#), ""),
        (
            &format!(r#"{{"phase":"Running","podIP":"10.1.0.5",{unready}}}"#),
            "",
        ),
        (r#"{"phase":"Running","podIP":"10.1.0.5"}"#, ""),
        (r#"{"phase":"Pending","conditions":null}"#, ""),
        ("null", ""),
    ] {
        let object = pod(status, metadata);
        assert_eq!(told(&object), [(vec![], ports.clone())], "{status}");
    }
}

#[test]
fn the_lines_of_a_watch() {
    let read = |line: &str| event(Resource::Slices, line.as_bytes()).unwrap();
    let object = r#"{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1",
        "metadata":{"name":"a","resourceVersion":"7"},"endpoints":[{"addresses":["10.0.0.1"]}],"ports":[]}"#;
    for kind in ["ADDED", "MODIFIED"] {
        let Event::Put(put) = read(&format!(r#"{{"type":"{kind}","object":{object}}}"#)) else {
            panic!("{kind}");
        };
        assert_eq!((put.name.as_str(), put.version.as_str()), ("a", "7"));
        assert_eq!(told(&put), [(vec!["10.0.0.1"], vec![])]);
    }
    let gone = read(&format!(r#"{{"type":"DELETED","object":{object}}}"#));
    assert!(matches!(gone, Event::Gone(gone) if gone.name == "a" && gone.version == "7"));
    let bookmark = r#"{"type":"BOOKMARK","object":{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1",
        "metadata":{"resourceVersion":"12746","creationTimestamp":null},"endpoints":null,"ports":null}}"#;
    assert_eq!(read(bookmark), Event::Bookmark("12746".to_owned()));
    let error = r#"{"type":"ERROR","object":{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure",
        "message":"too old resource version: 1 (215)","reason":"Expired","code":410}}"#;
    let Event::Error(status) = read(error) else {
        panic!("an error");
    };
    assert_eq!(
        (status.code, status.message.as_str()),
        (410, "too old resource version: 1 (215)")
    );
    assert_eq!(read(r#"{"type":"NOVEL","object":3}"#), Event::Unknown);
    for line in [
        "",
        "{}",
        r#"{"type":"ADDED"}"#,
        r#"{"type":"ADDED","object":{}}"#,
        "<html>",
    ] {
        assert!(event(Resource::Slices, line.as_bytes()).is_err(), "{line}");
    }
}

#[test]
fn lists_with_nothing_in_them() {
    for text in [
        r#"{"metadata":{"resourceVersion":"1"},"items":null}"#,
        r#"{"metadata":{"resourceVersion":"1","continue":""},"items":[]}"#,
    ] {
        for resource in [Resource::Slices, Resource::Endpoints, Resource::Pods] {
            let page = read(resource, text);
            assert_eq!(
                (page.objects, page.version.as_str(), page.next),
                (vec![], "1", None)
            );
        }
    }
    assert!(page(Resource::Pods, b"<html>").is_err());
}
