//! Times the cases of the benchmark on Gradus: the same names, shapes and JSON lines as its peers' programs, so
//! that `compare.py` can run them in turn and print ratios.
//!
//! First the machine's own bounds, one JSON object a line: `{"peer", "limit", "with", "threads", "gflops"` or
//! `"gbs"}`. Then the cases, one a line: `{"peer", "case", "ms" (median), "min_ms", "n"}`, and beside these what the
//! step costs (`"gflop"`, `"gb"`), at what rate that is (`"gflops"`, `"gbs"`), which of the machine's bounds it
//! is closest to (`"bound"`) and what fraction of it it reaches (`"percent"`). A training step is forward, loss,
//! backward and update. Absolute times mean nothing across machines.

mod cases;
mod cost;
mod limits;
mod measure;
mod process;
mod small;
mod training;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use gradus_backend_cpu::Cpu;
use gradus_tensor_core::{Device, Error, Result, rng};

use crate::cases::Case;
use crate::limits::Limits;
use crate::process::Marks;

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
    /// The small cases, whose instructions are counted, instead.
    #[arg(long)]
    small: bool,
    /// Only measure the machine's bounds.
    #[arg(long, conflicts_with_all = ["no_limits", "memory", "first_step", "steps"])]
    limits: bool,
    /// Neither measure the machine's bounds nor say what a case reaches of them.
    #[arg(long)]
    no_limits: bool,
    /// The most resident memory of some steps of one case, instead of its time.
    #[arg(long, conflicts_with_all = ["first_step", "steps"])]
    memory: bool,
    /// The time from the start of the process to the end of the first step of one case.
    #[arg(long, conflicts_with = "steps")]
    first_step: bool,
    /// When the process was started, in seconds of Unix time; by default when its `main` began.
    #[arg(long, requires = "first_step")]
    started: Option<f64>,
    /// Run exactly that many steps, and measure nothing.
    #[arg(long)]
    steps: Option<usize>,
}

impl Arguments {
    fn device(&self) -> Result<Device> {
        match self.threads {
            0 => Ok(Cpu::device()),
            n => Cpu::builder().threads(n).build(),
        }
    }

    fn threads(&self) -> usize {
        if self.threads > 0 { self.threads } else { Cpu::features().cores }
    }

    fn known(&self) -> &'static [Case] {
        if self.small { small::ALL } else { cases::ALL }
    }

    /// The cases that were asked for.
    fn chosen(&self) -> Result<Vec<&'static Case>> {
        if self.cases.is_empty() {
            return Ok(self.known().iter().collect());
        }
        let find = |name: &String| {
            let found = self.known().iter().find(|case| case.name == name);
            found.ok_or_else(|| Error::argument("bench", format!("there is no case {name:?}; see --list")))
        };
        self.cases.iter().map(find).collect()
    }

    /// The only case that was asked for, where a process can measure no more than one.
    fn only(&self) -> Result<&'static Case> {
        match self.chosen()?[..] {
            [case] => Ok(case),
            _ => Err(Error::argument("bench", "a process measures this of one case; name one")),
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    if arguments.memory {
        println!("{}", process::memory(arguments.only()?, &arguments.device()?)?);
        return Ok(());
    }
    let chosen = arguments.chosen()?;
    let device = arguments.device()?;
    if let Some(steps) = arguments.steps {
        for case in chosen {
            rng::manual_seed(0);
            let mut step = (case.make)(&device)?;
            (0..steps).try_for_each(|_| step())?;
        }
        return Ok(());
    }
    let mut limits = (!arguments.no_limits).then(|| Limits::measure(arguments.threads())).transpose()?;
    for line in limits.iter().flat_map(Limits::lines) {
        println!("{line}");
    }
    if arguments.limits {
        return Ok(());
    }
    let seconds = Duration::try_from_secs_f64(arguments.seconds).unwrap_or(Duration::from_secs(3));
    for case in chosen {
        rng::manual_seed(0);
        let work = if limits.is_some() { measure::work(case, &device) } else { Ok(Default::default()) };
        let result = work.and_then(|work| {
            rng::manual_seed(0);
            let mut step = (case.make)(&device)?;
            let mut measured = |between: &mut dyn FnMut()| measure::measure(&mut *step, seconds, between);
            let times = match &mut limits {
                Some(limits) => limits.around(measured),
                None => measured(&mut || ()),
            };
            Ok((work, times?))
        });
        match result {
            Ok((work, times)) => println!("{}", times.line(case.name, limits.as_ref().map(|l| (l, &work)))),
            Err(error) => println!(
                "{{\"peer\": \"gradus\", \"case\": \"{}\", \"unsupported\": {:?}}}",
                case.name,
                error.to_string()
            ),
        }
    }
    Ok(())
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.list {
        arguments.known().iter().for_each(|case| println!("{}", case.name));
        return ExitCode::SUCCESS;
    }
    let result = if arguments.first_step {
        let marks = Marks::since(arguments.started);
        arguments
            .only()
            .and_then(|case| process::first_step(case, marks, || arguments.device()))
            .map(|line| println!("{line}"))
    } else {
        run(&arguments)
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}
