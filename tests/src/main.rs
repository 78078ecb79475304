//! Entry point: see `cli`.

fn main() -> std::process::ExitCode {
    tarsier_tests::cli::main(&std::env::args_os().collect::<Vec<_>>())
}
