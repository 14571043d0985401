//! Objects as controllers and kubelets write them, shortened.

use serde_json::{Value, json};

/// A slice of the service `prometheus` with ready pods at these addresses, at port 9090, named `web`.
pub fn slice(name: &str, addresses: &[&str]) -> Value {
    let endpoints: Vec<_> = addresses
        .iter()
        .map(|address| json!({"addresses": [address], "conditions": {"ready": true}}))
        .collect();
    json!({
        "metadata": {"name": name, "namespace": "monitoring",
                     "labels": {"kubernetes.io/service-name": "prometheus"}},
        "addressType": "IPv4",
        "endpoints": endpoints,
        "ports": [{"name": "web", "port": 9090, "protocol": "TCP"}],
    })
}

/// Endpoints of this name, a subset for each port.
pub fn endpoints(name: &str, subsets: &[(&[&str], u16)]) -> Value {
    let subsets: Vec<_> = subsets
        .iter()
        .map(|(addresses, port)| {
            let addresses: Vec<_> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
            json!({"addresses": addresses, "ports": [{"port": port, "protocol": "TCP"}]})
        })
        .collect();
    json!({"metadata": {"name": name, "namespace": "monitoring"}, "subsets": subsets})
}

/// A pod with the label `app`, which runs and is ready, at this address, at port 9090.
pub fn pod(name: &str, app: &str, address: &str) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "monitoring", "uid": format!("uid-{name}"),
                     "labels": {"app": app}},
        "spec": {"containers": [{"name": "prometheus",
                  "ports": [{"name": "web", "containerPort": 9090, "protocol": "TCP"}]}]},
        "status": {"phase": "Running", "podIP": address,
                   "conditions": [{"type": "Ready", "status": "True"}]},
    })
}
