//! What is asked for: which kind of object, where, and which of them.

use std::fmt;

use form_urlencoded::Serializer;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::config::query::{KubernetesSelect, KubernetesSource};

/// What may stand in a segment of a path (RFC 3986 §3.3), as it is.
const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// A kind of object that tells where pods are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Resource {
    /// Since Kubernetes 1.21.
    Slices,
    /// From 1.17, gone with 1.25.
    BetaSlices,
    /// From the beginning, deprecated with 1.33, and cut off at a thousand addresses.
    Endpoints,
    Pods,
}

impl Resource {
    /// Those that tell the same, the best first.
    pub(super) fn of(select: &KubernetesSelect) -> &'static [Self] {
        match select {
            KubernetesSelect::Service(_) => &[Self::Slices, Self::BetaSlices, Self::Endpoints],
            KubernetesSelect::Pods(_) => &[Self::Pods],
        }
    }

    /// Path and query for all of the source's, with a query that more can be put behind.
    pub(super) fn question(self, source: &KubernetesSource) -> String {
        let (group, plural) = match self {
            Self::Slices => ("/apis/discovery.k8s.io/v1", "endpointslices"),
            Self::BetaSlices => ("/apis/discovery.k8s.io/v1beta1", "endpointslices"),
            Self::Endpoints => ("/api/v1", "endpoints"),
            Self::Pods => ("/api/v1", "pods"),
        };
        let (key, selector) = match (&source.select, self) {
            (KubernetesSelect::Pods(labels), _) => ("labelSelector", labels.clone()),
            (KubernetesSelect::Service(name), Self::Endpoints) => {
                ("fieldSelector", format!("metadata.name={name}"))
            }
            (KubernetesSelect::Service(name), _) => (
                "labelSelector",
                format!("kubernetes.io/service-name={name}"),
            ),
        };
        let namespace = utf8_percent_encode(&source.namespace, SEGMENT);
        let query = Serializer::new(String::new())
            .append_pair(key, &selector)
            .finish();
        format!("{group}/namespaces/{namespace}/{plural}?{query}")
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Slices => "endpointslices (discovery.k8s.io/v1)",
            Self::BetaSlices => "endpointslices (discovery.k8s.io/v1beta1)",
            Self::Endpoints => "endpoints",
            Self::Pods => "pods",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::follow::tests::source;
    use super::*;

    #[test]
    fn each_kind_is_asked_for_in_its_own_way() {
        let service = source(KubernetesSelect::Service("prometheus".to_owned()));
        for (resource, asks) in [
            (
                Resource::Slices,
                "/apis/discovery.k8s.io/v1/namespaces/monitoring/endpointslices\
                 ?labelSelector=kubernetes.io%2Fservice-name%3Dprometheus",
            ),
            (
                Resource::BetaSlices,
                "/apis/discovery.k8s.io/v1beta1/namespaces/monitoring/endpointslices\
                 ?labelSelector=kubernetes.io%2Fservice-name%3Dprometheus",
            ),
            (
                Resource::Endpoints,
                "/api/v1/namespaces/monitoring/endpoints\
                 ?fieldSelector=metadata.name%3Dprometheus",
            ),
        ] {
            assert_eq!(resource.question(&service), asks);
        }
    }

    #[test]
    fn a_selector_is_passed_as_it_is_written() {
        let labels = "app in (a, b),tier!=x&watch=true";
        let mut pods = source(KubernetesSelect::Pods(labels.to_owned()));
        pods.namespace = "../x".to_owned();
        let asked = Resource::Pods.question(&pods);
        let (path, query) = asked.split_once('?').unwrap();
        assert_eq!(path, "/api/v1/namespaces/..%2Fx/pods");
        let pairs: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        assert_eq!(pairs, [("labelSelector".into(), labels.into())]);
    }
}
