//! Operands on both devices, and the comparison.

use gradus_backend_cpu::{Cpu, Precision};
use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Device, HostArray, Op, Result, Shape, Tensor};
use gradus_testkit::Reference;

/// How an operand lies in memory.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Lie {
    Contiguous,
    Transposed,
    Flipped,
    Broadcast,
}

pub const LIES: [Lie; 4] = [Lie::Contiguous, Lie::Transposed, Lie::Flipped, Lie::Broadcast];

/// Devices of one, two and three threads, and the reference.
pub struct Devices {
    pub cpus: Vec<Device>,
    pub reference: Device,
}

impl Devices {
    pub fn new() -> Self {
        Self::of(Precision::Highest)
    }

    pub fn of(precision: Precision) -> Self {
        let cpu = |threads| Cpu::builder().threads(threads).precision(precision).build().unwrap();
        Self { cpus: [1, 2, 3].map(cpu).into(), reference: Reference::device() }
    }
}

/// Values for one operand, and how they are to lie.
#[derive(Clone, Debug)]
pub struct Operand {
    host: HostArray,
    dims: Vec<usize>,
    lie: Lie,
}

impl Operand {
    /// Uniform numbers in `-1..1`.
    pub fn random(dims: &[usize], dtype: DType, lie: Lie, seed: u64) -> Self {
        Self::map(dims, dtype, lie, seed, |u| 2.0 * u - 1.0)
    }

    /// A function of uniform numbers in `0..1`.
    pub fn map(dims: &[usize], dtype: DType, lie: Lie, seed: u64, f: impl Fn(f64) -> f64) -> Self {
        let mut base = dims.to_vec();
        match lie {
            Lie::Contiguous => {}
            Lie::Transposed => base.reverse(),
            Lie::Flipped => base.iter_mut().for_each(|d| *d += 1),
            Lie::Broadcast => {
                if let Some(first) = base.first_mut() {
                    *first = 1;
                }
            }
        }
        let n: usize = base.iter().product();
        let key = Key { seed, stream: 0 };
        let values: Vec<f64> = (0..n as u64).map(|i| f(key.uniform64(i))).collect();
        let host = HostArray::new(values, Shape::new(&base).unwrap()).unwrap();
        let device = Reference::device();
        let host = device.upload(&host).unwrap().cast(dtype).unwrap().to_host().unwrap();
        Self { host, dims: dims.to_vec(), lie }
    }

    /// The same numbers in another dtype.
    pub fn cast(&self, dtype: DType) -> Self {
        let host = Reference::device().upload(&self.host).unwrap().cast(dtype).unwrap().to_host().unwrap();
        Self { host, ..self.clone() }
    }

    /// The elements, of an operand that is contiguous.
    pub fn values(&self) -> Vec<f64> {
        assert_eq!(self.lie, Lie::Contiguous);
        self.host.convert()
    }

    pub fn dims(&self) -> &[usize] {
        &self.dims
    }

    pub fn on(&self, device: &Device) -> Result<Tensor> {
        let mut x = device.upload(&self.host)?;
        let rank = self.dims.len();
        match self.lie {
            Lie::Contiguous => {}
            Lie::Transposed => x = x.permute((0..rank).rev().collect::<Vec<_>>())?,
            Lie::Flipped => {
                for axis in 0..rank {
                    x = x.narrow(axis, 1, self.dims[axis])?.flip(axis)?;
                }
            }
            Lie::Broadcast => x = x.expand(Shape::new(&self.dims)?)?,
        }
        assert_eq!(x.dims(), self.dims);
        Ok(x)
    }
}

/// The error allowed, relative to the largest value of the output.
pub fn tolerance(dtype: DType) -> f64 {
    match dtype {
        DType::F64 => 1e-13,
        DType::F32 => 4e-6,
        DType::F16 => 1.5e-3,
        DType::BF16 => 1.2e-2,
        _ => 0.0,
    }
}

/// Runs the op everywhere: outputs of all threads must have the same bits and be close to the reference's.
pub fn check(devices: &Devices, op: &Op, operands: &[Operand], dtype: DType) {
    check_within(devices, op, operands, tolerance(dtype));
}

/// [`check`] with another tolerance.
pub fn check_within(devices: &Devices, op: &Op, operands: &[Operand], tolerance: f64) {
    let run = |device: &Device| -> Vec<HostArray> {
        let tensors: Vec<Tensor> = operands.iter().map(|o| o.on(device).unwrap()).collect();
        let refs: Vec<&Tensor> = tensors.iter().collect();
        let made = op.run(&refs).unwrap_or_else(|e| panic!("{op:?}: {e}"));
        made.iter().map(|t| t.to_host().unwrap()).collect()
    };
    let what = || {
        let lies: Vec<_> = operands.iter().map(|o| (o.host.dtype(), &o.dims, o.lie)).collect();
        format!("{op:?} of {lies:?}")
    };
    let outputs: Vec<_> = devices.cpus.iter().map(run).collect();
    for other in &outputs[1..] {
        for (a, b) in outputs[0].iter().zip(other) {
            let same = (0..a.len()).all(|i| a.get_f64(i).map(f64::to_bits) == b.get_f64(i).map(f64::to_bits));
            assert!(same, "the number of threads changes the bits of {}", what());
        }
    }
    let wanted = run(&devices.reference);
    assert_eq!(outputs[0].len(), wanted.len());
    for (k, (got, want)) in outputs[0].iter().zip(&wanted).enumerate() {
        assert_eq!(got.meta(), want.meta(), "output {k} of {}", what());
        let want: Vec<f64> = want.convert();
        // Sums over broadcast operands cancel: what is left is small against what was added.
        let least = if operands.iter().any(|o| o.lie == Lie::Broadcast) { 1.0 } else { 1e-3 };
        let scale = want.iter().filter(|x| x.is_finite()).fold(least, |m: f64, x| m.max(x.abs()));
        for (i, &want) in want.iter().enumerate() {
            let got = got.get_f64(i).unwrap();
            let same = got == want || got.is_nan() && want.is_nan();
            assert!(
                same || (got - want).abs() <= tolerance * scale,
                "output {k} at {i}: {got} instead of {want} (scale {scale}) of {}",
                what()
            );
        }
    }
}

/// The op's outputs on the reference.
pub fn run(devices: &Devices, op: &Op, operands: &[Operand]) -> Vec<Operand> {
    run_on(&devices.reference, op, operands)
}

/// The op's outputs on a device.
pub fn run_on(device: &Device, op: &Op, operands: &[Operand]) -> Vec<Operand> {
    let tensors: Vec<Tensor> = operands.iter().map(|o| o.on(device).unwrap()).collect();
    let refs: Vec<&Tensor> = tensors.iter().collect();
    let outputs = op.run(&refs).unwrap();
    outputs
        .iter()
        .map(|t| Operand { host: t.to_host().unwrap(), dims: t.dims().to_vec(), lie: Lie::Contiguous })
        .collect()
}
