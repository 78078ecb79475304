//! Entry point: everything is in `cli`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tarsier::cli::main(std::env::args_os()).into()
}
