//! nginx, with a main configuration as Debian's has it.

use std::process::Command;

use super::Plan;
use super::example::Example;
use crate::program::debian;

/// Where Debian has what is built as a module.
const STREAM: &str = "/usr/lib/nginx/modules/ngx_stream_module.so";

pub(super) fn command(plan: &Plan<'_>) -> Command {
    let mut command = Command::new(debian("nginx", "nginx-light"));
    command.args(["-p", &plan.file(""), "-e", "stderr"]);
    command.args(["-c", &plan.file("nginx.conf")]);
    command
}

pub(super) fn write(plan: &Plan<'_>) {
    let port = plan.setup.address.port();
    let example = with_certificate(Example::read("nginx/adit.conf"), plan)
        .with("listen 443", &format!("listen 127.0.0.1:{port}"))
        .with("listen [::]:443", &format!("listen [::1]:{port}"))
        .with("adit.example", "localhost")
        .with("127.0.0.1:8080", &plan.backend.to_string())
        .with("/adit/", &format!("{}/", plan.setup.prefix))
        .with("/etc/nginx/adit-", &plan.file(""))
        .with("auth_basic adit;", &format!("auth_basic {};", plan.realm));
    let example = match plan.setup.idle_seconds() {
        Some(idle) => example.with("timeout 60s", &format!("timeout {idle}s")),
        None => example,
    };
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {};\n", plan.file(kind)))
        .concat();
    let http = format!(
        "http {{\n{temporary}access_log off;\n{}}}\n",
        example.text()
    );
    write_main(plan, "", &http);
}

pub(super) fn write_stream(plan: &Plan<'_>) {
    let port = plan.setup.address.port();
    let example = with_certificate(Example::read("nginx/adit-stream.conf"), plan)
        .with("listen 8443", &format!("listen 127.0.0.1:{port}"))
        .with("listen [::]:8443", &format!("listen [::1]:{port}"))
        .with("127.0.0.1:8081", &plan.backend.to_string());
    let example = match plan.setup.idle_seconds() {
        Some(idle) => example.with("proxy_timeout 6m", &format!("proxy_timeout {idle}s")),
        None => example,
    };
    write_main(plan, &format!("load_module {STREAM};\n"), example.text());
}

fn with_certificate(example: Example, plan: &Plan<'_>) -> Example {
    example
        .with("/etc/ssl/adit/cert.pem", &plan.file("cert.pem"))
        .with("/etc/ssl/adit/key.pem", &plan.file("key.pem"))
}

/// `modules` come first of all.
fn write_main(plan: &Plan<'_>, modules: &str, rest: &str) {
    // `user` is of no account, and warned of, where we are not root.
    let main = format!(
        "{modules}daemon off;\nuser www-data;\nworker_processes 2;\npid {};\n\
         error_log stderr notice;\nevents {{ worker_connections 768; }}\n{rest}",
        plan.file("nginx.pid"),
    );
    std::fs::write(plan.file("nginx.conf"), main).expect("written");
}
