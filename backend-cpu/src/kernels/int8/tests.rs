use gradus_tensor_core::rng::Key;

use super::*;

/// Bytes of the weight; every element of the input is the byte that stands for it.
fn weights(n: usize, k: usize, extreme: bool) -> Vec<i8> {
    let key = Key { seed: 3, stream: (n * 70_001 + k) as u64 };
    let byte = |i: usize| if extreme { -128 } else { key.bits64(i as u64) as i8 };
    (0..n * k).map(byte).collect()
}

/// What a path gives for rows of which the first is all 255 and the others are random, with no scale and no bias.
fn outputs(cpu: &Cpu, path: Path, [rows, n, k]: [usize; 3], weight: &[i8]) -> Vec<f32> {
    let key = Key { seed: 4, stream: k as u64 };
    // The range of every row is 0..=255, so that a step is 1 and an element its own byte.
    let element = |i: usize| match (i / k, i % k) {
        (0, _) | (_, 0) => 255.0,
        _ => (key.bits64(i as u64) % 256) as f32,
    };
    let x: Vec<f32> = (0..rows * k).map(element).collect();
    let mut y = vec![f32::NAN; rows * n];
    let job = Job {
        x: Rows::new(cpu, &x, rows, k).unwrap(),
        weight,
        scale: &vec![1.0; n],
        bias: None,
        sizes: [rows, n, k],
        level: cpu.level(),
        y: Parts::new(&mut y),
    };
    job.run(cpu, path).unwrap();
    // Exactly: every sum that the test takes is checked as an integer.
    let of = |i: usize| {
        let (r, c) = (i / n, i % n);
        (0..k).map(|j| x[r * k + j] as i64 * i64::from(weight[c * k + j])).sum::<i64>() as f32
    };
    assert!(y.iter().enumerate().all(|(i, &y)| y == of(i)), "{path:?} {rows} x {n} x {k} is wrong");
    y
}

fn paths() -> Vec<Path> {
    let level = Level::detect();
    let mut paths = vec![Path::Scalar];
    paths.extend((level >= Level::Avx2).then_some(Path::Avx2));
    paths.extend(level.has_vnni().then_some(Path::Vnni));
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    paths.extend(level.has_vnni().then_some(Path::Emulated));
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    paths.extend((level == Level::Amx).then_some(Path::Tiles));
    paths
}

#[test]
fn every_path_sums_exactly_whatever_the_sizes() {
    let cpu = Cpu::new(2);
    for sizes in [[1, 1, 1], [5, 3, 2], [6, 64, 64], [7, 65, 63], [13, 130, 67], [600, 5, 19], [2, 17, 257]] {
        let weight = weights(sizes[1], sizes[2], false);
        for path in paths() {
            outputs(&cpu, path, sizes, &weight);
        }
    }
}

#[test]
fn the_largest_sums_do_not_saturate() {
    let cpu = Cpu::new(1);
    let sizes = [4, 2, MAX_DEPTH];
    let weight = weights(2, MAX_DEPTH, true);
    for path in paths() {
        let y = outputs(&cpu, path, sizes, &weight);
        assert_eq!(y[0], -(MAX_DEPTH as f32) * 255.0 * 128.0);
    }
}
