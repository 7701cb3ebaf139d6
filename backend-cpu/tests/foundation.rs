//! The first path through the backend: memory in and out, element-wise ops, layouts.

use gradus_backend_cpu::Cpu;
use gradus_tensor_core::{Device, HostArray, Result, Shape, Tensor};

fn tensor(device: &Device, dims: &[usize]) -> Result<Tensor> {
    let shape = Shape::new(dims)?;
    device.upload(&HostArray::new((0..shape.numel()).map(|i| i as f32).collect(), shape)?)
}

#[test]
fn strided_operands_give_what_their_index_map_says() -> Result<()> {
    let device = Cpu::builder().threads(2).build()?;
    for (m, n) in [(3, 4), (70, 130), (1, 9), (700, 601)] {
        let x = tensor(&device, &[m, n])?;
        let y = tensor(&device, &[n, m])?;
        let row = tensor(&device, &[n])?;
        let sum = x.add(&y.t()?)?.add(&row)?.to_vec::<f32>()?;
        for i in 0..m {
            for j in 0..n {
                let want = (i * n + j) as f32 + (j * m + i) as f32 + j as f32;
                assert_eq!(sum[i * n + j], want, "{m}x{n} at {i}, {j}");
            }
        }
    }
    Ok(())
}

#[test]
fn memory_returns_to_its_baseline() -> Result<()> {
    let device = Cpu::builder().threads(1).build()?;
    {
        let x = tensor(&device, &[1000])?;
        let y = x.add(&x)?;
        assert_eq!(device.memory().buffers, 2);
        assert!(device.memory().allocated >= 8000);
        drop(y);
    }
    let stats = device.memory();
    assert_eq!((stats.allocated, stats.buffers), (0, 0));
    assert!(stats.cached >= 8000 && stats.peak >= 8000);
    Ok(())
}
