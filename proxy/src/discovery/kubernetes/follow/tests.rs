use super::*;
use crate::config::query::{KubernetesSelect, Manner};
use adit_common::target::Scheme;

pub(in super::super) fn source(select: KubernetesSelect) -> KubernetesSource {
    KubernetesSource {
        kubeconfig: None,
        namespace: "monitoring".to_owned(),
        select,
        port: None,
        scheme: Scheme::Http,
        path_prefix: String::new(),
        manner: Manner::default(),
    }
}
