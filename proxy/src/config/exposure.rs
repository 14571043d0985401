//! Safe by default: what can be reached from elsewhere asks who is there.

use adit_common::web_config::WebConfig;

use super::access::Access;
use super::{Listen, Roles};

/// Holds every address against who would be let in there.
///
/// # Errors
/// The first that is reachable beyond this machine and asks nobody, with the ways out.
pub(crate) fn check(
    listen: &[(Listen, Roles)],
    access: &Access,
    web: &WebConfig,
) -> Result<(), String> {
    let beyond = listen.iter().filter(|(listen, _)| !listen.is_loopback());
    for (listen, roles) in beyond {
        let Listen::At(address) = listen else {
            continue;
        };
        let refused = |who: &str, way: &str| {
            Err(format!(
                "{address} is reachable beyond this machine, and {who}: give {way}, or take whoever \
                 comes with --allow-anonymous"
            ))
        };
        if roles.tunnel && access.clients.is_none() && !web.asks() {
            return refused(
                "clients are not asked who they are",
                "--auth.token-file=FILE (adit-proxy token makes a token)",
            );
        }
        if (roles.scrape || roles.web) && !web.asks() {
            return refused(
                "whoever scrapes or looks at pages is not asked who they are",
                "--web.config.file=FILE with basic_auth_users (or leave it on loopback, behind a \
                 front proxy that asks)",
            );
        }
        if roles.query && !web.asks() {
            return refused(
                "whoever sends queries there is not asked who they are",
                "--web.config.file=FILE with basic_auth_users or client certificates",
            );
        }
    }
    Ok(())
}
