//! Apache, with the modules that Debian enables and those that the example asks for.

use std::process::Command;

use super::Plan;
use super::example::Example;
use crate::program::debian;

const MODULES: &[&str] = &[
    "mpm_event",
    "authn_core",
    "authn_file",
    "authz_core",
    "authz_user",
    // `a2enmod ssl proxy_http headers auth_basic`, and what they need.
    "auth_basic",
    "socache_shmcb",
    "ssl",
    "proxy",
    "proxy_http",
    "headers",
];

pub(super) fn command(plan: &Plan<'_>) -> Command {
    let mut command = Command::new(debian("apache2", "apache2"));
    command.args(["-f", &plan.file("apache.conf"), "-DFOREGROUND"]);
    command
}

pub(super) fn write(plan: &Plan<'_>) {
    let (address, prefix) = (plan.setup.address, plan.setup.prefix);
    let example = Example::read("apache/adit.conf")
        .with("<VirtualHost *:443>", &format!("<VirtualHost {address}>"))
        .with("adit.example", "localhost")
        .with("/etc/ssl/adit/cert.pem", &plan.file("cert.pem"))
        .with("/etc/ssl/adit/key.pem", &plan.file("key.pem"))
        .with("127.0.0.1:8080", &plan.backend.to_string())
        .with("/adit/", &format!("{prefix}/"))
        .with("/etc/apache2/adit-", &plan.file(""))
        .with("AuthName adit", &format!("AuthName {}", plan.realm));
    let example = match plan.setup.idle_seconds() {
        Some(idle) => example.with("Timeout 60", &format!("Timeout {idle}")),
        None => example,
    };
    let modules: String = MODULES
        .iter()
        .map(|name| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{name}.so\n"))
        .collect();
    let main = format!(
        "ServerRoot {root}\nDefaultRuntimeDir {root}\nPidFile {pid}\nServerName localhost\n\
         {modules}User www-data\nGroup www-data\nErrorLog /dev/stderr\nListen {address}\n\
         StartServers 2\nThreadsPerChild 25\nMaxRequestWorkers 150\n\
         <Directory />\nRequire all denied\n</Directory>\n{}",
        example.text(),
        root = plan.file(""),
        pid = plan.file("apache.pid"),
    );
    std::fs::write(plan.file("apache.conf"), main).expect("written");
}
