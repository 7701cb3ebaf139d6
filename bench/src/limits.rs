//! The machine's bounds, and what fraction of the one that binds it a case reaches.

use gradus_backend_cpu::limits::{self, Bandwidth, Limit, Streams};
use gradus_tensor_core::Result;

use crate::cost::Work;

/// Runs of streams between steps, of which the best counts: the first finds its pages' addresses cold.
const FEW: usize = 3;

/// What the machine can do at best on some threads.
#[derive(Debug)]
pub struct Limits {
    threads: usize,
    arithmetic: Vec<Limit>,
    streams: Streams,
    memory: Bandwidth,
}

/// The bound that a step is closest to.
#[derive(Clone, Copy, Debug)]
pub struct Bound {
    /// Its name: `arithmetic` or `memory`.
    pub what: &'static str,
    /// The shortest time that it allows, in milliseconds.
    pub ms: f64,
}

impl Limits {
    /// Measures the machine; about half a second.
    ///
    /// # Errors
    /// There is no memory for the streams.
    pub fn measure(threads: usize) -> Result<Limits> {
        let mut streams = Streams::new(threads)?;
        Ok(Limits {
            threads,
            arithmetic: limits::arithmetic(threads),
            memory: streams.measure(limits::RUNS),
            streams,
        })
    }

    /// Runs `body` with a function that is to be called now and then, which measures memory. What others leave of it
    /// changes from one second to the next, so from then on the bound is the median of the body's own time, as what is
    /// compared with it is a median.
    pub fn around<T>(&mut self, body: impl FnOnce(&mut dyn FnMut()) -> T) -> T {
        let mut measured = Vec::new();
        let result = body(&mut || measured.push(self.streams.measure(FEW)));
        if let Some(median) = Bandwidth::median(&measured) {
            self.memory = median;
        }
        result
    }

    /// A JSON line for each bound.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.arithmetic.iter().chain(self.memory.limits()).map(|limit| {
            format!(
                "{{\"peer\": \"gradus\", \"limit\": \"{}\", \"with\": \"{}\", \"threads\": {}, \"{}\": {:.2}}}",
                limit.what,
                limit.with,
                self.threads,
                if limit.written.is_some() { "gbs" } else { "gflops" },
                limit.per_second / 1e9
            )
        })
    }

    /// The shorter side of the roof: what keeps a step of that work from being faster than it says.
    ///
    /// Memory counts every op's operands and outputs once, as if no cache held them from one op to the next, at the
    /// rate of streams of as many reads for a write. A step of several ops whose values fit the caches may therefore
    /// be faster than this bound.
    pub fn bound(&self, work: &Work) -> Bound {
        let fastest = |what: &str| {
            let of = self.arithmetic.iter().filter(|l| l.what == what);
            of.map(|l| l.per_second).fold(0.0, f64::max)
        };
        let single = fastest("f32");
        // A type without instructions of its own is computed in `f32`.
        let seconds = |flops: u64, what| flops as f64 / fastest(what).max(single);
        let arithmetic = seconds(work.f32, "f32") + seconds(work.bf16, "bf16") + seconds(work.int8, "int8");
        let memory = work.bytes() as f64 / self.memory.at(work.written_share());
        match arithmetic >= memory {
            true => Bound { what: "arithmetic", ms: arithmetic * 1e3 },
            false => Bound { what: "memory", ms: memory * 1e3 },
        }
    }
}
