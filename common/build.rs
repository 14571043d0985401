//! What `--version` says of a build: the commit it was made from, and by which compiler.
//!
//! The commit's own date stands for the build's, so that the same sources give the same binary.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=ADIT_REVISION");
    // Both change with a commit or a checkout; outside a repository neither exists.
    for file in ["../.git/HEAD", "../.git/logs/HEAD"] {
        if std::path::Path::new(file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    let revision = std::env::var("ADIT_REVISION")
        .ok()
        .or_else(|| git(&["rev-parse", "--short=12", "HEAD"]));
    let rustc = std::env::var("RUSTC")
        .ok()
        .and_then(|rustc| output(Command::new(rustc).arg("--version")))
        .and_then(|line| line.split(' ').nth(1).map(str::to_owned));
    let target = std::env::var("TARGET").ok();
    for (name, value) in [
        ("REVISION", revision),
        ("BRANCH", git(&["rev-parse", "--abbrev-ref", "HEAD"])),
        ("DATE", git(&["log", "-1", "--format=%cI"])),
        ("RUSTC", rustc),
        ("PLATFORM", target),
    ] {
        let value = value.unwrap_or_else(|| "unknown".into());
        println!("cargo::rustc-env=ADIT_BUILD_{name}={value}");
    }
}

fn git(arguments: &[&str]) -> Option<String> {
    output(Command::new("git").args(arguments))
}

fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok().filter(|o| o.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    Some(text).filter(|text| !text.is_empty())
}
