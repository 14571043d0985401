//! What the API server answers, cut down to addresses that can be asked and the ports they have.
//!
//! Go writes `null` for a list that has nothing in it, and leaves out what is at its default.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};

use super::resource::Resource;

/// Some addresses that have the same ports.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Group {
    /// Those that are ready.
    pub(super) addresses: Vec<Address>,
    /// For TCP, in the order in which they are declared.
    pub(super) ports: Vec<Port>,
    /// A port that is not among them may be asked, too.
    pub(super) open: bool,
}

/// Where a pod is, or whatever else is behind a service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// An IP address or a name.
    pub(super) host: String,
    /// The pod's name and UID.
    pub(super) pod: Option<(String, String)>,
}

/// A port that is declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Port {
    pub(super) name: Option<String>,
    pub(super) number: u16,
}

/// An object as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Object {
    /// Its name in the namespace.
    pub(super) name: String,
    /// Its resource version.
    pub(super) version: String,
    pub(super) groups: Vec<Group>,
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) objects: Vec<Object>,
    /// From here a watch goes on.
    pub(super) version: String,
    /// What the next page is asked for by.
    pub(super) next: Option<String>,
}

/// A line of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Event {
    /// It is new, or other than it was.
    Put(Object),
    /// It is gone.
    Gone(Object),
    /// Nothing up to this version.
    Bookmark(String),
    /// The watch is over.
    Error(Status),
    /// What later versions may have to say.
    Unknown,
}

/// What an API server says went wrong.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Status {
    #[serde(default)]
    pub(super) code: u16,
    #[serde(default)]
    pub(super) message: String,
}

/// Reads a page of a list.
pub(super) fn page(resource: Resource, text: &[u8]) -> Result<Page, serde_json::Error> {
    match resource {
        Resource::Slices | Resource::BetaSlices => page_of::<Slice>(text),
        Resource::Endpoints => page_of::<Endpoints>(text),
        Resource::Pods => page_of::<Pod>(text),
    }
}

/// Reads a line of a watch.
pub(super) fn event(resource: Resource, line: &[u8]) -> Result<Event, serde_json::Error> {
    match resource {
        Resource::Slices | Resource::BetaSlices => event_of::<Slice>(line),
        Resource::Endpoints => event_of::<Endpoints>(line),
        Resource::Pods => event_of::<Pod>(line),
    }
}

fn page_of<T: Wire>(text: &[u8]) -> Result<Page, serde_json::Error> {
    let list: List<T> = serde_json::from_slice(text)?;
    let objects = list.items.into_iter().flatten().map(Wire::read).collect();
    Ok(Page {
        objects,
        version: list.metadata.resource_version,
        next: Some(list.metadata.r#continue).filter(|next| !next.is_empty()),
    })
}

fn event_of<T: Wire>(line: &[u8]) -> Result<Event, serde_json::Error> {
    #[derive(Deserialize)]
    struct Kind {
        r#type: String,
    }
    #[derive(Deserialize)]
    struct About<T> {
        object: T,
    }
    fn about<T: DeserializeOwned>(line: &[u8]) -> Result<T, serde_json::Error> {
        serde_json::from_slice::<About<T>>(line).map(|about| about.object)
    }
    let kind: Kind = serde_json::from_slice(line)?;
    Ok(match kind.r#type.as_str() {
        "ADDED" | "MODIFIED" => Event::Put(about::<T>(line)?.read()),
        "DELETED" => Event::Gone(about::<T>(line)?.read()),
        "BOOKMARK" => Event::Bookmark(about::<T>(line)?.read().version),
        "ERROR" => Event::Error(about(line)?),
        _ => Event::Unknown,
    })
}

/// `null` is what an absent value is.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

trait Wire: DeserializeOwned {
    fn read(self) -> Object;
}

#[derive(Deserialize)]
struct List<T> {
    #[serde(default)]
    metadata: Meta,
    items: Option<Vec<T>>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    name: String,
    uid: String,
    resource_version: String,
    r#continue: String,
    deletion_timestamp: Option<String>,
}

#[derive(Deserialize)]
struct Reference {
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    uid: String,
}

impl Reference {
    fn pod(self) -> Option<(String, String)> {
        (self.kind == "Pod" && !self.uid.is_empty()).then_some((self.name, self.uid))
    }
}

#[derive(Deserialize)]
struct WirePort {
    name: Option<String>,
    /// In slices and endpoints.
    port: Option<u32>,
    /// In pods.
    #[serde(rename = "containerPort")]
    container_port: Option<u32>,
    protocol: Option<String>,
}

impl WirePort {
    fn is_tcp(&self) -> bool {
        self.protocol.as_deref().is_none_or(|name| name == "TCP")
    }

    /// A number that cannot be one is none.
    fn declared(self) -> Option<Port> {
        let number = self.port.or(self.container_port)?;
        Some(Port {
            name: self.name.filter(|name| !name.is_empty()),
            number: u16::try_from(number).ok().filter(|number| *number != 0)?,
        })
    }
}

/// Ports for TCP, and whether one of them stands for all.
fn ports(ports: Vec<WirePort>) -> (Vec<Port>, bool) {
    let tcp: Vec<_> = ports.into_iter().filter(WirePort::is_tcp).collect();
    let all = tcp
        .iter()
        .any(|port| port.port.is_none() && port.container_port.is_none());
    (
        tcp.into_iter().filter_map(WirePort::declared).collect(),
        all,
    )
}

/// `discovery.k8s.io/v1` and `v1beta1`: what they differ in is not read here. Whether an address is
/// of IPv4, IPv6 or a name it says itself.
#[derive(Deserialize)]
struct Slice {
    metadata: Meta,
    #[serde(default, deserialize_with = "nullable")]
    endpoints: Vec<SliceEndpoint>,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<WirePort>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SliceEndpoint {
    #[serde(default, deserialize_with = "nullable")]
    addresses: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    conditions: SliceConditions,
    target_ref: Option<Reference>,
}

#[derive(Deserialize, Default)]
struct SliceConditions {
    ready: Option<bool>,
    terminating: Option<bool>,
}

impl Wire for Slice {
    fn read(self) -> Object {
        let (ports, open) = ports(self.ports);
        let usable = |endpoint: &SliceEndpoint| {
            // Not known is ready; not told is not terminating.
            endpoint.conditions.ready != Some(false)
                && endpoint.conditions.terminating != Some(true)
        };
        let addresses = self.endpoints.into_iter().filter(usable);
        // Those behind the first have no meaning, and kube-proxy does not look at them either.
        let addresses = addresses.filter_map(|endpoint| {
            let host = endpoint.addresses.into_iter().next()?;
            let pod = endpoint.target_ref.and_then(Reference::pod);
            Some(Address { host, pod })
        });
        let group = Group {
            addresses: addresses.collect(),
            ports,
            open,
        };
        object(self.metadata, vec![group])
    }
}

/// `v1`. What is not ready stands in a list of its own.
#[derive(Deserialize)]
struct Endpoints {
    metadata: Meta,
    #[serde(default, deserialize_with = "nullable")]
    subsets: Vec<Subset>,
}

#[derive(Deserialize)]
struct Subset {
    #[serde(default, deserialize_with = "nullable")]
    addresses: Vec<SubsetAddress>,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<WirePort>,
}

#[derive(Deserialize)]
struct SubsetAddress {
    ip: String,
    #[serde(rename = "targetRef")]
    target_ref: Option<Reference>,
}

impl Wire for Endpoints {
    fn read(self) -> Object {
        let groups = self.subsets.into_iter().map(|subset| {
            let (ports, open) = ports(subset.ports);
            let addresses = subset.addresses.into_iter().map(|address| Address {
                host: address.ip,
                pod: address.target_ref.and_then(Reference::pod),
            });
            Group {
                addresses: addresses.collect(),
                ports,
                open,
            }
        });
        object(self.metadata, groups.collect())
    }
}

#[derive(Deserialize)]
struct Pod {
    metadata: Meta,
    #[serde(default, deserialize_with = "nullable")]
    spec: PodSpec,
    #[serde(default, deserialize_with = "nullable")]
    status: PodStatus,
}

#[derive(Deserialize, Default)]
struct PodSpec {
    #[serde(default, deserialize_with = "nullable")]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<WirePort>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct PodStatus {
    phase: Option<String>,
    #[serde(rename = "podIP")]
    pod_ip: Option<String>,
    #[serde(deserialize_with = "nullable")]
    conditions: Vec<PodCondition>,
}

#[derive(Deserialize)]
struct PodCondition {
    r#type: String,
    status: String,
}

impl PodStatus {
    fn is_ready(&self) -> bool {
        let ready =
            |condition: &PodCondition| condition.r#type == "Ready" && condition.status == "True";
        self.phase.as_deref() == Some("Running") && self.conditions.iter().any(ready)
    }
}

impl Wire for Pod {
    fn read(self) -> Object {
        let asked = self.status.is_ready() && self.metadata.deletion_timestamp.is_none();
        let host = self.status.pod_ip.filter(|ip| asked && !ip.is_empty());
        let pod = Some((self.metadata.name.clone(), self.metadata.uid.clone()));
        let containers = self.spec.containers.into_iter();
        let group = Group {
            addresses: host.map(|host| Address { host, pod }).into_iter().collect(),
            ports: ports(containers.flat_map(|container| container.ports).collect()).0,
            // A container may listen where it has not said so.
            open: true,
        };
        object(self.metadata, vec![group])
    }
}

fn object(metadata: Meta, groups: Vec<Group>) -> Object {
    Object {
        name: metadata.name,
        version: metadata.resource_version,
        groups,
    }
}

#[cfg(test)]
mod tests;
