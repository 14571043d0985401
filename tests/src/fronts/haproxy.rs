//! HAProxy, as a master with workers: Debian's unit starts it so.

use std::process::Command;

use super::example::Example;
use super::{CLIENT, Plan, SCRAPER};
use crate::program::debian;

pub(super) fn command(plan: &Plan<'_>) -> Command {
    let mut command = Command::new(debian("haproxy", "haproxy"));
    command.args(["-W", "-f", &plan.file("haproxy.cfg")]);
    command.args(["-p", &plan.file("haproxy.pid")]);
    command
}

pub(super) fn write(plan: &Plan<'_>) {
    let bind = |address| format!("bind {address} ssl");
    let prefix = plan.setup.prefix;
    let example = Example::read("haproxy/haproxy.cfg")
        .with("bind :::443 v4v6 ssl", &bind(plan.setup.address))
        .with("bind :::8443 v4v6 ssl", &bind(plan.setup.proxy_address))
        // What this machine's limit of open files has room for.
        .with("maxconn 20000", "maxconn 200")
        .with("127.0.0.1:8080", &plan.backend.to_string())
        .with("path /adit/tunnel", &format!("path {prefix}/tunnel"))
        .with("url_beg /adit/", &format!("url_beg {prefix}/"))
        .with("/etc/haproxy/adit.pem", &plan.file("both.pem"))
        .with("CLIENT-HASH", &CLIENT.hash())
        .with("SCRAPER-HASH", &SCRAPER.hash())
        .with("auth realm adit ", &format!("auth realm {} ", plan.realm));
    let example = match plan.setup.idle_seconds() {
        Some(idle) => {
            ["client", "server", "tunnel"]
                .into_iter()
                .fold(example, |example, timeout| {
                    let old = format!("timeout {timeout} 60s");
                    example.with(&old, &format!("timeout {timeout} {idle}s"))
                })
        }
        None => example,
    };
    std::fs::write(plan.file("haproxy.cfg"), example.text()).expect("written");
}

pub(super) fn write_tcp(plan: &Plan<'_>) {
    let example = Example::read("haproxy/haproxy-tcp.cfg")
        .with(
            "bind :::8443 v4v6 ssl",
            &format!("bind {} ssl", plan.setup.address),
        )
        // What this machine's limit of open files has room for.
        .with("maxconn 20000", "maxconn 200")
        .with("127.0.0.1:8080", &plan.backend.to_string())
        .with("/etc/haproxy/adit.pem", &plan.file("both.pem"));
    let example = match plan.setup.idle_seconds() {
        Some(idle) => ["client", "server"]
            .into_iter()
            .fold(example, |example, timeout| {
                let old = format!("timeout {timeout} 6m");
                example.with(&old, &format!("timeout {timeout} {idle}s"))
            }),
        None => example,
    };
    std::fs::write(plan.file("haproxy.cfg"), example.text()).expect("written");
}
