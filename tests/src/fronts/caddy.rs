//! Caddy.

use std::process::Command;

use super::example::Example;
use super::{CLIENT, HOSTS, Plan, SCRAPER};
use crate::program::{Program, debian};

pub(super) fn command(plan: &Plan<'_>) -> Command {
    let mut command = Command::new(debian("caddy", "caddy"));
    command.args(["run", "--config", &plan.file("Caddyfile")]);
    // Else it keeps certificates and its last configuration in our home.
    for name in ["HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"] {
        command.env(name, plan.folder);
    }
    command
}

pub(super) fn write(plan: &Plan<'_>) {
    let (port, admin) = (plan.setup.address.port(), plan.setup.admin);
    let prefix = plan.setup.prefix;
    // When all of the front is ours, so is every host that is asked for.
    let hosts = match prefix {
        "" => HOSTS,
        _ => &HOSTS[..1],
    };
    let sites = hosts.iter().map(|host| format!("https://{host}:{port}"));
    let sites = sites.collect::<Vec<_>>().join(", ");
    let example = Example::read("caddy/Caddyfile")
        // Loopback only, by the one option that has no place of its own in the example.
        .with(
            "admin localhost:2019",
            &format!("admin 127.0.0.1:{admin}\n\tdefault_bind 127.0.0.1"),
        )
        .with("https://adit.example {", &format!("{sites} {{"))
        .with("https:// {", &format!("https://:{port} {{"))
        .with("127.0.0.1:8080", &plan.backend.to_string())
        .with("handle /adit/tunnel", &format!("handle {prefix}/tunnel"))
        .with("handle /adit/*", &format!("handle {prefix}/*"))
        .with("/etc/ssl/adit/cert.pem", &plan.file("cert.pem"))
        .with("/etc/ssl/adit/key.pem", &plan.file("key.pem"))
        .with("CLIENT-HASH", &CLIENT.hash())
        .with("SCRAPER-HASH", &SCRAPER.hash())
        .with(
            "basicauth bcrypt adit",
            &format!("basicauth bcrypt {}", plan.realm),
        );
    std::fs::write(plan.file("Caddyfile"), example.text()).expect("written");
}

/// As an operator does it: by the program itself, which finds the other by the file.
pub(super) async fn reload(plan: &Plan<'_>) {
    let caddy = debian("caddy", "caddy");
    let reloaded = Program::run(caddy, &["reload", "--config", &plan.file("Caddyfile")]).await;
    assert!(
        reloaded.status.success(),
        "caddy reload: {}",
        reloaded.stderr
    );
}
