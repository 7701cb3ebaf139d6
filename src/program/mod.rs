//! `gradus train` and `gradus doctor`. Without arguments: the main job on the data that is compiled in.

/// `println!`, except that it is no error if nobody reads: a run is done although its output was cut by `head`.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod args;
mod doctor;
mod models;
mod options;
mod report;
mod train;

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

use args::{Arguments, Command};

/// Runs the command that the arguments name. An error is one line on standard error and exit code 1.
pub fn main() -> ExitCode {
    let arguments = match Arguments::read(std::env::args_os()) {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are answers, not errors.
            let code = if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
            let _ = error.print();
            return code;
        }
    };
    let done = match arguments.command {
        Some(Command::Train(options)) => train::run(options),
        Some(Command::Doctor) => doctor::run(),
        None => train::run(args::TrainOptions::default()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "gradus: {}", chain(&*error));
            ExitCode::FAILURE
        }
    }
}

/// An error and what caused it, where the cause is not already in its text.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}
