//! The machine's bounds, and what fraction of the one that binds it a case reaches.

use gradus_backend_cpu::limits::{self, Limit};
use gradus_tensor_core::Result;

use crate::cost::Work;

/// What the machine can do at best on some threads.
#[derive(Clone, Debug)]
pub struct Limits {
    threads: usize,
    all: Vec<Limit>,
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
        let mut all = limits::arithmetic(threads);
        all.extend(limits::bandwidth(threads)?);
        Ok(Limits { threads, all })
    }

    /// A JSON line for each bound.
    pub fn lines(&self) -> impl Iterator<Item = String> + '_ {
        self.all.iter().map(|limit| {
            format!(
                "{{\"peer\": \"gradus\", \"limit\": \"{}\", \"with\": \"{}\", \"threads\": {}, \"{}\": {:.2}}}",
                limit.what,
                limit.with,
                self.threads,
                if limit.is_memory { "gbs" } else { "gflops" },
                limit.per_second / 1e9
            )
        })
    }

    /// The shorter side of the roof: what keeps a step of that work from being faster than it says.
    ///
    /// Memory counts every op's operands and outputs once, as if no cache held them from one op to the next. A
    /// step of several ops whose values fit the caches may therefore be faster than this bound.
    pub fn bound(&self, work: &Work) -> Bound {
        let fastest = |memory: bool, what: &str| {
            let of = self.all.iter().filter(|l| l.is_memory == memory && (memory || l.what == what));
            of.map(|l| l.per_second).fold(0.0, f64::max)
        };
        let single = fastest(false, "f32");
        // A type without instructions of its own is computed in `f32`.
        let seconds = |flops: u64, what| flops as f64 / fastest(false, what).max(single);
        let arithmetic = seconds(work.f32, "f32") + seconds(work.bf16, "bf16") + seconds(work.int8, "int8");
        let memory = work.bytes as f64 / fastest(true, "");
        match arithmetic >= memory {
            true => Bound { what: "arithmetic", ms: arithmetic * 1e3 },
            false => Bound { what: "memory", ms: memory * 1e3 },
        }
    }
}
