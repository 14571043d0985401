//! `adit-client`: flags, logging, runtime, bind, run until a signal, drain; or check, and say so.

use std::process::ExitCode;

use adit_client::check::{self, Check, Step};
use adit_client::flags::{FlagError, Flags};
use adit_client::{Config, RunError};
use adit_common::shutdown::{Orders, Signals};
use adit_common::telemetry::version;
use clap::Parser;

/// Bad usage or configuration.
const USAGE: u8 = 2;
/// What was asked for could not be done.
const FAILED: u8 = 1;

fn main() -> ExitCode {
    let flags = Flags::parse();
    if flags.version {
        return version("adit-client");
    }
    flags.log.install();
    let how = flags.check_config;
    let written = flags.config_file.as_ref();
    let written = written.map_or("flags".to_owned(), |path| {
        format!("config file {}", path.display())
    });
    let config = match flags.config() {
        Ok(config) => config,
        Err(FlagError::Usage(error)) => error.exit(),
        Err(error) if how.is_some() => {
            say(&Step::new(written, Err(error.to_string())));
            return ExitCode::from(USAGE);
        }
        Err(error) => return fail(&error.to_string(), ExitCode::from(USAGE)),
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("runtime: {error}"), ExitCode::from(FAILED)),
    };
    let done = match how {
        Some(how) => {
            say(&Step::new(written, Ok(String::new())));
            runtime.block_on(check(config, how))
        }
        None => match runtime.block_on(serve(config)) {
            Ok(()) => ExitCode::SUCCESS,
            Err((error, code)) => fail(&error, ExitCode::from(code)),
        },
    };
    // A name lookup or a read of a pipe may still be on a thread of its own; nobody waits for it.
    runtime.shutdown_background();
    done
}

/// Says of each step whether it works.
async fn check(config: Config, how: Check) -> ExitCode {
    if !check::files(&config, &mut say) {
        return ExitCode::from(USAGE);
    }
    if how == Check::Files {
        return ExitCode::SUCCESS;
    }
    match check::online(config, &mut say).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(FAILED),
        Err(error) => fail(&error.to_string(), ExitCode::from(USAGE)),
    }
}

#[allow(clippy::print_stdout)] // What was asked for, and nothing else.
fn say(step: &Step) {
    println!("{step}");
}

async fn serve(config: Config) -> Result<(), (String, u8)> {
    let signals = Signals::register().map_err(|e| (format!("signals: {e}"), FAILED))?;
    let listeners = config.bind().await;
    let listeners = listeners.map_err(|error| (error.to_string(), FAILED))?;
    tracing::info!(version = version::VERSION, "starting adit-client");
    for listener in &listeners {
        tracing::info!(address = %listener.local(), roles = "web", "listening");
    }
    let orders = Orders::default();
    let running = adit_client::run(config, listeners, orders.clone());
    match signals.drive(running, &orders).await {
        Some(result) => result.map_err(|error| {
            let code = match error {
                RunError::Settings(_) => USAGE,
                RunError::Metrics(_) => FAILED,
            };
            (error.to_string(), code)
        }),
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
    eprintln!("adit-client: {error}");
    code
}
