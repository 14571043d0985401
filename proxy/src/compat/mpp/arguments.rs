//! mpp's flags and variables, as its command line library reads them: one dash or two, `=` or a space,
//! a flag before its variable, a variable only if it is not empty.

use std::collections::HashMap;
use std::ffi::OsString;

/// What switches all of this on.
pub(crate) const FLAG: &str = "--compat.mpp";

/// One of mpp's settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Kubeconfig,
    KubeServiceName,
    KubePodLabelSelector,
    KubeNamespace,
    KubePort,
    MarathonUrl,
    MarathonApps,
    InsecureCerts,
    MarathonPrincipalSecret,
    MarathonAuthEndpoint,
    EndpointsFile,
    RoutingStrategy,
    SelectionInterval,
    AffinityOptions,
    Port,
    Verbose,
}

/// Its spellings, in mpp's code and in its README where that differs.
#[derive(Debug)]
pub(super) struct Row {
    pub(super) key: Key,
    pub(super) flags: &'static [&'static str],
    pub(super) variables: &'static [&'static str],
    /// It stands for itself, without a value.
    switch: bool,
}

const fn row(key: Key, flags: &'static [&'static str], variables: &'static [&'static str]) -> Row {
    Row {
        key,
        flags,
        variables,
        switch: false,
    }
}

/// Every one of them.
pub(super) const ROWS: [Row; 16] = [
    row(Key::Kubeconfig, &["kubeconfig"], &["MPP_KUBECONFIG"]),
    row(
        Key::KubeServiceName,
        &["kube-service-name"],
        &["MPP_KUBE_SERVICE_NAME", "MPP_SERVICE_NAME"],
    ),
    row(
        Key::KubePodLabelSelector,
        &["kube-pod-label-selector"],
        &["MPP_KUBE_POD_LABEL_SELECTOR"],
    ),
    row(
        Key::KubeNamespace,
        &["kube-namespace"],
        &["MPP_KUBE_NAMESPACE"],
    ),
    row(Key::KubePort, &["kube-port"], &["MPP_KUBE_PORT"]),
    row(Key::MarathonUrl, &["marathon-url"], &["MPP_MARATHON_URL"]),
    row(
        Key::MarathonApps,
        &["marathon-apps"],
        &["MPP_MARATHON_APPS"],
    ),
    row(
        Key::InsecureCerts,
        &["insecure-certs", "k", "insecure"],
        &["MPP_INSECURE_CERTS"],
    ),
    row(
        Key::MarathonPrincipalSecret,
        &["marathon-principal-secret"],
        &["MPP_MARATHON_PRINCIPAL_SECRET"],
    ),
    row(
        Key::MarathonAuthEndpoint,
        &["marathon-auth-endpoint"],
        &["MPP_MARATHON_AUTH_ENDPOINT"],
    ),
    row(
        Key::EndpointsFile,
        &["endpoints-file"],
        &["MPP_ENDPOINTS_FILE"],
    ),
    row(
        Key::RoutingStrategy,
        &["routing-strategy"],
        &["MPP_ROUTING_STRATEGY"],
    ),
    row(
        Key::SelectionInterval,
        &["selection-interval"],
        &["MPP_SELECTION_INTERVAL"],
    ),
    row(
        Key::AffinityOptions,
        &["affinity-options"],
        &["MPP_AFFINITY_OPTIONS"],
    ),
    row(Key::Port, &["port"], &["MPP_PORT"]),
    Row {
        key: Key::Verbose,
        flags: &["verbose", "V"],
        variables: &["MPP_VERBOSE"],
        switch: true,
    },
];

/// What was given.
#[derive(Debug)]
pub(super) struct Given {
    /// Each with the spelling it was given by, for errors.
    pub(super) values: HashMap<Key, (String, String)>,
    /// What is not mpp's.
    pub(super) rest: Vec<OsString>,
}

/// Takes mpp's flags out of the arguments, and looks at its variables for what is missing.
pub(super) fn take(
    arguments: Vec<OsString>,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Given, String> {
    let mut values = HashMap::new();
    let mut rest = Vec::new();
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "-v" {
            // Its own word for it.
            rest.push("--version".into());
            continue;
        }
        let Some((row, spelling, attached)) = argument.to_str().and_then(known) else {
            rest.push(argument);
            continue;
        };
        let value = match (attached, row.switch) {
            (Some(value), _) => value,
            (None, true) => "true".to_owned(),
            (None, false) => {
                let next = arguments.next().and_then(|next| next.into_string().ok());
                next.ok_or_else(|| format!("{spelling}: expected a value"))?
            }
        };
        values.insert(row.key, (spelling, value));
    }
    for row in &ROWS {
        if values.contains_key(&row.key) {
            continue;
        }
        let found = row.variables.iter().find_map(|name| {
            let value = variable(name).filter(|value| !value.is_empty())?;
            Some(((*name).to_owned(), value))
        });
        if let Some(found) = found {
            values.insert(row.key, found);
        }
    }
    Ok(Given { values, rest })
}

/// The row of a flag, how it was written, and the value behind its `=`.
fn known(argument: &str) -> Option<(&'static Row, String, Option<String>)> {
    let bare = argument.strip_prefix('-')?;
    let bare = bare.strip_prefix('-').unwrap_or(bare);
    let (name, value) = match bare.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => (bare, None),
    };
    let row = ROWS.iter().find(|row| row.flags.contains(&name))?;
    let spelling = argument.split('=').next().unwrap_or(argument);
    Some((row, spelling.to_owned(), value))
}
