//! `adit-proxy`: flags, logging, runtime, bind, run until a signal, drain.

use std::process::ExitCode;

use adit_common::shutdown::{Orders, Signals};
use adit_common::telemetry::version;
use adit_proxy::Config;
use adit_proxy::flags::{FlagError, Flags};
use clap::Parser;

/// Bad usage or configuration.
const USAGE: u8 = 2;
/// What was asked for could not be done.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.version {
        return version("adit-proxy");
    }
    flags.log.install();
    let config = match flags.config() {
        Ok(config) => config,
        Err(FlagError::Usage(error)) => error.exit(),
        Err(error) => return fail(&error.to_string(), ExitCode::from(USAGE)),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("runtime: {error}"), ExitCode::from(FAILED)),
    };
    match runtime.block_on(serve(config)) {
        Ok(()) => ExitCode::SUCCESS,
        Err((error, code)) => fail(&error, ExitCode::from(code)),
    }
}

async fn serve(config: Config) -> Result<(), (String, u8)> {
    let signals = Signals::register().map_err(|e| (format!("signals: {e}"), FAILED))?;
    let listeners = config.bind().await;
    let listeners = listeners.map_err(|error| (error.to_string(), FAILED))?;
    tracing::info!(version = version::VERSION, "starting adit-proxy");
    for bound in &listeners {
        tracing::info!(address = %bound.local(), roles = %bound.roles(), "listening");
    }
    let orders = Orders::default();
    let running = adit_proxy::run(config, listeners, orders.clone());
    match signals.drive(running, &orders).await {
        Some(result) => result.map_err(|error| (error.to_string(), FAILED)),
        None => Ok(()),
    }
}

#[allow(clippy::print_stdout)] // What was asked for, and nothing else.
fn version(program: &str) -> ExitCode {
    println!("{program}, {}", version::LONG);
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr)] // A fatal error is for whoever started us, in one line.
fn fail(error: &str, code: ExitCode) -> ExitCode {
    eprintln!("adit-proxy: {error}");
    code
}
