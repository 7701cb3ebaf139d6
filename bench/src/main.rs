//! Times the cases of the benchmark on Gradus: the same names, shapes and JSON lines as its peers' programs, so
//! that `compare.py` can run them in turn and print ratios.
//!
//! One JSON object a line: `{"peer", "case", "ms" (median), "min_ms", "n"}`. A training step is forward, loss,
//! backward and update. Absolute times mean nothing across machines.

mod cases;
mod measure;
mod training;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gradus_backend_cpu::Cpu;
use gradus_tensor_core::{Result, rng};

/// Time the benchmark's cases on the CPU backend.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Cases to run; all if none is named.
    cases: Vec<String>,
    /// How long to measure each case.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Threads of the CPU backend; 0 is one per core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Only print the names of the cases.
    #[arg(long)]
    list: bool,
}

fn run(arguments: &Arguments) -> Result<bool> {
    let device = match arguments.threads {
        0 => Cpu::device(),
        n => Cpu::builder().threads(n).build()?,
    };
    let mut known = true;
    let named = &arguments.cases;
    for name in named {
        if !cases::ALL.iter().any(|case| case.name == name) {
            eprintln!("bench: there is no case {name:?}; see --list");
            known = false;
        }
    }
    for case in cases::ALL.iter().filter(|c| named.is_empty() || named.iter().any(|n| n == c.name)) {
        rng::manual_seed(0);
        let result = (case.make)(&device).and_then(|mut step| {
            let seconds = Duration::try_from_secs_f64(arguments.seconds).unwrap_or(Duration::from_secs(3));
            measure::measure(&mut *step, seconds)
        });
        match result {
            Ok(times) => println!("{}", times.line(case.name)),
            Err(error) => println!(
                "{{\"peer\": \"gradus\", \"case\": \"{}\", \"unsupported\": {:?}}}",
                case.name,
                error.to_string()
            ),
        }
    }
    Ok(known)
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        cases::ALL.iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    match run(&arguments) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
