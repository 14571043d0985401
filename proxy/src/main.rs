//! `adit-proxy`: flags, logging, runtime, bind, run until a signal, drain.

use std::path::Path;
use std::process::ExitCode;

use adit_common::shutdown::{Orders, Signals};
use adit_common::telemetry::version;
use adit_proxy::Config;
use adit_proxy::flags::{Command, FlagError, Flags};
use adit_proxy::token;

/// Bad usage or configuration.
const USAGE: u8 = 2;
/// What was asked for could not be done.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let flags = Flags::read(std::env::args_os(), |name| std::env::var(name).ok());
    let flags = match flags {
        Ok(flags) => flags,
        Err(FlagError::Usage(error)) => error.exit(),
        Err(error) => return fail(&error.to_string(), ExitCode::from(USAGE)),
    };
    if flags.version {
        return version("adit-proxy");
    }
    if let Some(Command::Token { file }) = &flags.command {
        return token(file.as_deref());
    }
    flags.log.install();
    let check = flags.check_config;
    let config = match flags.config() {
        Ok(config) => config,
        Err(FlagError::Usage(error)) => error.exit(),
        Err(error) => return fail(&error.to_string(), ExitCode::from(USAGE)),
    };
    if check {
        return checked(&config);
    }
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

#[allow(clippy::print_stdout)] // What was asked for, and nothing else.
fn token(file: Option<&Path>) -> ExitCode {
    let token = token::new();
    match file.map(|path| token::write(&token, path)) {
        Some(Err(error)) => return fail(&error, ExitCode::from(FAILED)),
        Some(Ok(())) => {}
        None => println!("token:  {}", token.expose()),
    }
    println!("sha256: {}", token.digest());
    ExitCode::SUCCESS
}

/// Everything that can be wrong with it has been read by now.
#[allow(clippy::print_stdout)] // What was asked for, and nothing else.
fn checked(config: &Config) -> ExitCode {
    for line in config.summary() {
        println!("ok  {line}");
    }
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr)] // A fatal error is for whoever started us, in one line.
fn fail(error: &str, code: ExitCode) -> ExitCode {
    eprintln!("adit-proxy: {error}");
    code
}
