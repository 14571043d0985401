//! `make soak`: see `adit_tests::soak`. An example and no binary of the package, because `--bins` is
//! what is shipped.

use std::process::ExitCode;

use adit_tests::soak::{self, Options};
use clap::Parser as _;

fn main() -> ExitCode {
    let options = Options::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime starts");
    // Programs are killed with the thread that started them: this one and the workers last.
    match runtime.block_on(soak::run(options)) {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}
