//! Apps as versions of Marathon from 0.11 to 1.11 give them, shortened by what nobody reads.

use serde_json::{Value, json};

use super::*;

fn urls(app: Value, port: Option<&str>) -> Vec<String> {
    let text = json!({"app": app}).to_string();
    let found = parse(text.as_bytes())
        .unwrap()
        .backends(port, &Manner::default());
    found.iter().map(|found| found.url.to_string()).collect()
}

/// With this beside the tasks, which have two ports of their own and an address.
fn app(mut with: Value) -> Value {
    with["id"] = "/monitoring/prometheus".into();
    with["tasks"] = json!([{
        "id": "prometheus.1", "host": "agent-1", "state": "TASK_RUNNING",
        "ports": [31000, 31001], "servicePorts": [10000, 10001],
        "ipAddresses": [{"ipAddress": "172.17.0.2", "protocol": "IPv4"}],
        "healthCheckResults": [{"alive": true, "consecutiveFailures": 0}],
    }]);
    with
}

/// Case 53.
#[test]
fn where_a_task_is_depends_on_version_and_network() {
    let mapping = json!([
        {"containerPort": 9095, "hostPort": 0, "protocol": "udp", "name": "gossip"},
        {"containerPort": 9090, "hostPort": 0, "protocol": "tcp", "name": "web", "labels": {}},
    ]);
    for (what, app, by_default, by_name) in [
        (
            "1.5, host",
            json!({"networks": [{"mode": "host"}], "requirePorts": false, "portDefinitions": [
                {"port": 10000, "protocol": "tcp", "name": "web"}, {"port": 10001, "protocol": "tcp"}]}),
            "http://agent-1:31000",
            "http://agent-1:31000",
        ),
        (
            "1.5, host, ports that are required",
            json!({"networks": [{"mode": "host"}], "requirePorts": true, "portDefinitions": [
                {"port": 9091, "protocol": "tcp"}, {"port": 9090, "protocol": "udp,tcp", "name": "web"}]}),
            "http://agent-1:9091",
            "http://agent-1:9090",
        ),
        (
            "1.5, bridge",
            json!({"networks": [{"mode": "container/bridge"}], "container": {"portMappings": mapping}}),
            "http://agent-1:31001",
            "http://agent-1:31001",
        ),
        (
            "1.5, container",
            json!({"networks": [{"mode": "container", "name": "dcos"}],
                   "container": {"type": "MESOS", "portMappings": mapping}}),
            "http://172.17.0.2:9090",
            "http://172.17.0.2:9090",
        ),
        (
            "1.4, bridge, a port that was chosen",
            json!({"ipAddress": null, "container": {"docker": {"network": "BRIDGE", "portMappings": [
                {"containerPort": 9090, "hostPort": 9999, "protocol": "tcp", "name": "web"}]}}}),
            "http://agent-1:9999",
            "http://agent-1:9999",
        ),
        (
            "1.4, user",
            json!({"ipAddress": {"networkName": "dcos", "discovery": {"ports": []}},
                   "container": {"docker": {"network": "USER", "portMappings": mapping}}}),
            "http://172.17.0.2:9090",
            "http://172.17.0.2:9090",
        ),
        (
            "1.4, an address for each task",
            json!({"container": null, "ipAddress": {"discovery": {"ports": [
                {"number": 9090, "name": "web", "protocol": "tcp"}]}}}),
            "http://172.17.0.2:9090",
            "http://172.17.0.2:9090",
        ),
    ] {
        assert_eq!(urls(self::app(app.clone()), None), [by_default], "{what}");
        assert_eq!(
            urls(self::app(app.clone()), Some("web")),
            [by_name],
            "{what}"
        );
        assert_eq!(urls(self::app(app), Some("no-such")), [""; 0], "{what}");
    }
    // 0.11: the task's are all there is.
    let old = app(json!({"ports": [10000, 10001]}));
    assert_eq!(urls(old.clone(), None), ["http://agent-1:31000"]);
    assert_eq!(urls(old.clone(), Some("1")), ["http://agent-1:31001"]);
    for port in ["2", "web"] {
        assert_eq!(urls(old.clone(), Some(port)), [""; 0]);
    }
}

/// Case 53: mpp took every task, and panicked at one without a port.
#[test]
fn tasks_that_are_of_no_use_are_left_out() {
    let good = app(json!({}))["tasks"][0].clone();
    let with = |key: &str, value: Value| {
        let mut task = good.clone();
        task[key] = value;
        urls(json!({"tasks": [task]}), None).len()
    };
    assert_eq!(with("slaveId", json!("x")), 1);
    assert_eq!(
        with("state", Value::Null),
        1,
        "an old version does not tell"
    );
    assert_eq!(with("healthCheckResults", Value::Null), 1);
    assert_eq!(with("healthCheckResults", json!([])), 1);
    assert_eq!(
        with("healthCheckResults", json!([null, {"alive": true}])),
        1
    );
    for state in [
        "TASK_STAGING",
        "TASK_STARTING",
        "TASK_KILLING",
        "TASK_UNREACHABLE",
    ] {
        assert_eq!(with("state", json!(state)), 0, "{state}");
    }
    assert_eq!(
        with(
            "healthCheckResults",
            json!([{"alive": true}, {"alive": false}])
        ),
        0
    );
    for none in [Value::Null, json!([]), json!([0]), json!([70000])] {
        assert_eq!(with("ports", none.clone()), 0, "{none}");
    }
    for none in [Value::Null, json!(""), json!("a b")] {
        assert_eq!(with("host", none.clone()), 0, "{none}");
    }
    let mut in_container = app(json!({"networks": [{"mode": "container"}],
        "container": {"portMappings": [{"containerPort": 9090}]}}));
    in_container["tasks"][0]["ipAddresses"] = json!([{"ipAddress": "fd00::2"}]);
    assert_eq!(urls(in_container.clone(), None), ["http://[fd00::2]:9090"]);
    in_container["tasks"][0]["ipAddresses"] = Value::Null;
    assert_eq!(urls(in_container, None), [""; 0]);
    for none in [json!({}), json!({"tasks": null}), json!({"tasks": [{}]})] {
        assert_eq!(urls(none, None), [""; 0]);
    }
}

#[test]
fn what_is_no_app_is_no_panic() {
    for text in [
        "",
        "[]",
        "{}",
        "<html>",
        r#"{"app": 3}"#,
        r#"{"message": "no"}"#,
    ] {
        let why = parse(text.as_bytes()).unwrap_err();
        assert!(why.contains("not what marathon says"), "{why}");
    }
}
