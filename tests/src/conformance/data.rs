//! Moving data, counting it, and sharing a device among threads.

use gradus_tensor_core::rng::Key;
use gradus_tensor_core::{DType, Device, Element, HostArray, Result, Shape, Tensor, with_dtype};

use super::{Findings, Tolerance, compare};
use crate::arrange::Arrangement;
use crate::samples::{Input, Kind};

/// Values that use all bits of a dtype.
fn extremes(dtype: DType) -> Result<HostArray> {
    let key = Key { seed: 99, stream: dtype as u64 };
    let shape = Shape::new(&[3, 4, 5])?;
    with_dtype!(dtype, T => HostArray::new((0..60).map(|i| match dtype.is_float() {
        true => T::from_f64(key.normal64(i) * 1e3),
        false => T::from_i64(key.bits64(i) as i64),
    }).collect::<Vec<T>>(), shape))
}

pub(super) fn round_trip(device: &Device) -> Findings {
    let mut findings = Findings::default();
    for dtype in DType::ALL {
        for variant in 0..8 {
            let key = Key { seed: 7, stream: variant };
            let arrangement =
                if variant == 0 { Arrangement::CONTIGUOUS } else { Arrangement::random(3, key) };
            let trip = || -> Result<(HostArray, HostArray)> {
                let values = extremes(dtype)?;
                Ok((arrangement.place(&values, device)?.to_host()?, values))
            };
            let outcome = match trip() {
                Ok((back, values)) => {
                    compare(&back, &values, Tolerance { roundings: 0.0, ..Tolerance::EXACT })
                        .map_err(|text| format!("  the array that came back {text}"))
                }
                Err(error) => Err(format!("  {error}")),
            };
            findings.check(|| format!("upload and download of {dtype}, {arrangement:?}"), outcome);
        }
        let expanded = || -> Result<bool> {
            let row = device.upload(&extremes(dtype)?)?.narrow(1, 2, 1)?.expand([3, 4, 5])?;
            let (all, one) = (row.to_host()?, row.narrow(1, 3, 1)?.to_host()?);
            Ok((0..60).all(|i| all.get_f64(i) == one.get_f64(i / 20 * 5 + i % 5)))
        };
        let outcome = match expanded() {
            Ok(true) => Ok(()),
            Ok(false) => Err("  repeated elements came back different".into()),
            Err(error) => Err(format!("  {error}")),
        };
        findings.check(|| format!("download of an expanded {dtype} tensor"), outcome);
    }
    findings
}

/// Work that makes and drops buffers of many sizes.
fn work(device: &Device, seed: u64) -> Result<Vec<f32>> {
    let input = |dims: &[usize], stream| -> Result<Tensor> {
        let kind = Kind::Number { low: -1.0, high: 1.0 };
        match Input::new(dims, kind).value(DType::F32, Key { seed, stream })? {
            Some(values) => device.upload(&values),
            None => Tensor::zeros(dims, DType::F32, device),
        }
    };
    let mut x = input(&[7, 9], 0)?;
    let w = input(&[9, 9], 1)?;
    for round in 0..6 {
        x = x.matmul(&w)?.tanh()?;
        let shifted = x.roll(1, 0)?;
        x.add_assign(&shifted.mul(0.5)?)?;
        let (sorted, _) = x.sort(round % 2, false)?;
        x = x.sub(&sorted.mean_keepdim(1)?)?.softmax(1)?;
        x.narrow_assign(0, 0, &shifted.narrow(0, 3, 2)?)?;
    }
    x.to_vec()
}

pub(super) fn memory(device: &Device) -> Findings {
    let mut findings = Findings::default();
    // The first use may set things up that stay.
    findings.require("work on the device", work(device, 0).map(drop));
    let _ = device.synchronize();
    let before = device.memory();
    for seed in 0..20 {
        findings.require("work on the device", work(device, seed).map(drop));
    }
    // A failing op must give back what it had.
    let failing = Tensor::from_vec(vec![5i64, 99], [2], device)
        .and_then(|wrong| Tensor::zeros([10, 3], DType::F32, device)?.index_select(0, &wrong));
    findings.check(
        || "an index out of range".into(),
        failing.err().map(drop).ok_or_else(|| "  it was accepted".into()),
    );
    let _ = device.synchronize();
    let after = device.memory();
    let same = (before.allocated, before.buffers) == (after.allocated, after.buffers);
    findings.check(
        || "memory after all tensors are gone".into(),
        if same { Ok(()) } else { Err(format!("  before: {before:?}\n  after:  {after:?}")) },
    );
    findings
}

pub(super) fn threads(device: &Device) -> Findings {
    let mut findings = Findings::default();
    let alone: Vec<_> = (0..4).map(|seed| work(device, seed).map_err(|e| e.to_string())).collect();
    let shared = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..4u64).map(|seed| scope.spawn(move || work(device, seed))).collect();
        let join = |w: std::thread::ScopedJoinHandle<'_, Result<Vec<f32>>>| match w.join() {
            Ok(result) => result.map_err(|e| e.to_string()),
            Err(_) => Err("the thread panicked".into()),
        };
        workers.into_iter().map(join).collect::<Vec<_>>()
    });
    for (seed, (alone, shared)) in alone.into_iter().zip(shared).enumerate() {
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        let outcome = match (alone, shared) {
            (Ok(a), Ok(b)) if bits(&a) == bits(&b) => Ok(()),
            (Ok(_), Ok(_)) => Err("  other threads at work changed the result".into()),
            (Err(error), _) | (_, Err(error)) => Err(format!("  {error}")),
        };
        findings.check(|| format!("work {seed} beside three other threads"), outcome);
    }
    findings
}
