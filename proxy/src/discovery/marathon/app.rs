//! An app as Marathon describes it, from 0.11 to 1.11, and the backends among its tasks.
//!
//! Which ports there are stands in one of five places, by version and network; as Prometheus' own
//! discovery reads them.

use std::net::Ipv6Addr;

use serde::{Deserialize, Deserializer};

use crate::config::query::Manner;
use crate::config::query::url::BackendUrl;
use crate::discovery::Found;

/// An app with its tasks.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct App {
    #[serde(deserialize_with = "nullable")]
    container: Container,
    #[serde(deserialize_with = "nullable")]
    networks: Vec<Network>,
    ip_address: Option<IpAddress>,
    #[serde(deserialize_with = "nullable")]
    port_definitions: Vec<PortDefinition>,
    #[serde(deserialize_with = "nullable")]
    require_ports: bool,
    #[serde(deserialize_with = "nullable")]
    tasks: Vec<Task>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Container {
    /// From 1.5 on.
    #[serde(deserialize_with = "nullable")]
    port_mappings: Vec<PortMapping>,
    #[serde(deserialize_with = "nullable")]
    docker: Docker,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Docker {
    /// Until 1.4.
    #[serde(deserialize_with = "nullable")]
    port_mappings: Vec<PortMapping>,
    /// `HOST`, `BRIDGE` or `USER`.
    network: Option<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PortMapping {
    container_port: Option<u32>,
    /// 0 where Marathon chooses: the task says which it is.
    host_port: Option<u32>,
    protocol: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Network {
    /// `host`, `container/bridge` or `container`.
    mode: Option<String>,
}

/// Until 1.4: an address for each task.
#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct IpAddress {
    #[serde(deserialize_with = "nullable")]
    discovery: Discovery,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct Discovery {
    #[serde(deserialize_with = "nullable")]
    ports: Vec<DiscoveryPort>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct DiscoveryPort {
    number: Option<u32>,
    name: Option<String>,
    protocol: Option<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct PortDefinition {
    port: Option<u32>,
    protocol: Option<String>,
    name: Option<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Task {
    host: Option<String>,
    #[serde(deserialize_with = "nullable")]
    ports: Vec<u32>,
    #[serde(deserialize_with = "nullable")]
    ip_addresses: Vec<TaskAddress>,
    state: Option<String>,
    #[serde(deserialize_with = "nullable")]
    health_check_results: Vec<Option<CheckResult>>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct TaskAddress {
    ip_address: Option<String>,
}

#[derive(Debug, Deserialize, Default)]
#[serde(default)]
struct CheckResult {
    alive: bool,
}

/// `null` is what an absent value is.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads what Marathon says of an app.
///
/// # Errors
/// It says something else.
pub(super) fn parse(text: &[u8]) -> Result<App, String> {
    #[derive(Deserialize)]
    struct Answer {
        app: App,
    }
    let answer: Answer =
        serde_json::from_slice(text).map_err(|error| format!("not what marathon says: {error}"))?;
    Ok(answer.app)
}

/// A port as the app declares it; which number it has may be up to the task.
#[derive(Debug, PartialEq, Eq)]
struct Port<'a> {
    name: Option<&'a str>,
    is_tcp: bool,
    number: Number,
}

#[derive(Debug, PartialEq, Eq)]
enum Number {
    This(u32),
    /// The task's one at this index.
    OfTask(usize),
}

impl App {
    /// Backends of the tasks that run and are not known to be ill.
    pub(super) fn backends(&self, wanted: Option<&str>, manner: &Manner) -> Vec<Found> {
        let declared = self.ports();
        let running = self.tasks.iter().filter(|task| task.is_well());
        let found = running.filter_map(|task| {
            let host = self.host(task)?;
            let port = match declared.is_empty() {
                true => chosen(&task.own_ports(), wanted)?.of(task)?,
                false => chosen(&declared, wanted)?.of(task)?,
            };
            let url = match host.parse::<Ipv6Addr>() {
                Ok(_) => format!("http://[{host}]:{port}"),
                Err(_) => format!("http://{host}:{port}"),
            };
            Some(Found::new(url.parse::<BackendUrl>().ok()?, manner))
        });
        found.collect()
    }

    /// How many tasks there are, whatever they do.
    pub(super) fn tasks(&self) -> usize {
        self.tasks.len()
    }

    /// Whether each task has an address of its own.
    fn is_container_network(&self) -> bool {
        let mode = self
            .networks
            .first()
            .and_then(|network| network.mode.as_deref());
        let docker = self.container.docker.network.as_deref();
        mode == Some("container") || docker == Some("USER") || self.ip_address.is_some()
    }

    fn host<'a>(&self, task: &'a Task) -> Option<&'a str> {
        let host = match self.is_container_network() {
            true => task.ip_addresses.first()?.ip_address.as_deref(),
            false => task.host.as_deref(),
        };
        host.filter(|host| !host.is_empty())
    }

    /// Where the newest place for them is that has any.
    fn ports(&self) -> Vec<Port<'_>> {
        let places = [
            &self.container.port_mappings,
            &self.container.docker.port_mappings,
        ];
        if let Some(mappings) = places.into_iter().find(|place| !place.is_empty()) {
            return self.mapped(mappings);
        }
        let discovered = self.ip_address.iter().flat_map(|ip| &ip.discovery.ports);
        let discovered = discovered.map(|port| Port {
            name: port.name.as_deref(),
            is_tcp: is_tcp(port.protocol.as_deref()),
            number: Number::This(port.number.unwrap_or(0)),
        });
        let discovered: Vec<_> = discovered.collect();
        if !discovered.is_empty() {
            return discovered;
        }
        let defined = self.port_definitions.iter().enumerate();
        let defined = defined.map(|(index, port)| Port {
            name: port.name.as_deref(),
            is_tcp: is_tcp(port.protocol.as_deref()),
            // Otherwise it is the service's and not the task's.
            number: match port.port.filter(|port| self.require_ports && *port != 0) {
                Some(port) => Number::This(port),
                None => Number::OfTask(index),
            },
        });
        defined.collect()
    }

    fn mapped<'a>(&self, mappings: &'a [PortMapping]) -> Vec<Port<'a>> {
        let in_container = self.is_container_network();
        let mapped = mappings.iter().enumerate();
        let mapped = mapped.map(|(index, mapping)| Port {
            name: mapping.name.as_deref(),
            is_tcp: is_tcp(mapping.protocol.as_deref()),
            number: match mapping.host_port {
                _ if in_container => Number::This(mapping.container_port.unwrap_or(0)),
                Some(port) if port != 0 => Number::This(port),
                _ => Number::OfTask(index),
            },
        });
        mapped.collect()
    }
}

/// `tcp`, `udp`, or `udp,tcp`.
fn is_tcp(protocol: Option<&str>) -> bool {
    protocol.is_none_or(|protocol| protocol.contains("tcp"))
}

/// By index or by name; otherwise the first.
fn chosen<'a, 'b>(ports: &'a [Port<'b>], wanted: Option<&str>) -> Option<&'a Port<'b>> {
    let Some(wanted) = wanted else {
        return ports.iter().find(|port| port.is_tcp);
    };
    match wanted.parse::<usize>() {
        Ok(index) => ports.get(index),
        Err(_) => ports.iter().find(|port| port.name == Some(wanted)),
    }
}

impl Port<'_> {
    fn of(&self, task: &Task) -> Option<u16> {
        let number = match self.number {
            Number::This(number) => number,
            Number::OfTask(index) => *task.ports.get(index)?,
        };
        u16::try_from(number).ok().filter(|number| *number != 0)
    }
}

impl Task {
    /// Where an app declares none, its tasks' are all there is.
    fn own_ports(&self) -> Vec<Port<'static>> {
        let ports = (0..self.ports.len()).map(|index| Port {
            name: None,
            is_tcp: true,
            number: Number::OfTask(index),
        });
        ports.collect()
    }

    /// Old versions do not tell a state. Results are missing for a while after another member leads:
    /// nothing is known then, and whether it serves we find out ourselves.
    fn is_well(&self) -> bool {
        let is_running = self
            .state
            .as_deref()
            .is_none_or(|state| state == "TASK_RUNNING");
        let mut results = self.health_check_results.iter().flatten();
        is_running && results.all(|result| result.alive)
    }
}

#[cfg(test)]
mod tests;
