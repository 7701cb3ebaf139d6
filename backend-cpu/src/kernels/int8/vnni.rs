//! Products by `vpdpbusd`, which adds four products of bytes to each of sixteen sums.
//!
//! A task brings its rows of the weight into the order in which the instruction reads them: for every four bytes of
//! depth, those of each column, a *panel*. That is a transpose of 32-bit words, done in registers; it takes as long as
//! the products of five rows or so. Then tiles of six rows and all columns are summed in 24 registers.

use std::ops::Range;

use gradus_tensor_core::Result;

use super::Job;
use crate::Cpu;

/// The rows and columns of one task.
#[cfg(not(target_arch = "x86_64"))]
pub(super) fn block(_: &Cpu, job: &Job<'_>, rows: Range<usize>, columns: Range<usize>) -> Result<()> {
    super::dot::block::<super::dot::Scalar>(job, rows, columns)
}

#[cfg(target_arch = "x86_64")]
pub(super) use x86::block;
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(super) use x86::{GROUP, Panel};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use gradus_tensor_core::DType;

    use super::super::COLUMNS;
    use super::*;
    use crate::CpuBuffer;

    /// Columns of one register of sums.
    const LANES: usize = 16;
    /// Registers of sums for one row.
    const VECTORS: usize = COLUMNS / LANES;
    /// Bytes of depth that one instruction sums.
    pub(in super::super) const GROUP: usize = 4;
    /// Rows of a tile.
    const TILE: usize = 6;

    /// The rows and columns of one task.
    pub(in super::super) fn block(
        cpu: &Cpu,
        job: &Job<'_>,
        rows: Range<usize>,
        columns: Range<usize>,
    ) -> Result<()> {
        let k = job.sizes[2];
        let groups = k.div_ceil(GROUP);
        // SAFETY: this path is taken where the level says that the machine has the instructions.
        let panel = unsafe { Panel::new(cpu, job, &columns, groups)? };
        let ends = Ends::new(job, &columns, panel.sums);
        let panel = panel.bytes();
        let mut r = rows.start;
        while r < rows.end {
            let tile = TILE.min(rows.end - r);
            // SAFETY: as above; rows of the input and the panel end with a whole group.
            unsafe {
                match tile {
                    6 => multiply::<6>(job, r, groups, panel, &ends),
                    5 => multiply::<5>(job, r, groups, panel, &ends),
                    4 => multiply::<4>(job, r, groups, panel, &ends),
                    3 => multiply::<3>(job, r, groups, panel, &ends),
                    2 => multiply::<2>(job, r, groups, panel, &ends),
                    _ => multiply::<1>(job, r, groups, panel, &ends),
                }
            }
            r += tile;
        }
        Ok(())
    }

    /// Rows of the weight as columns: for every four bytes of depth, those of each.
    pub(in super::super) struct Panel {
        bytes: CpuBuffer,
        /// Of each row of the weight.
        pub(in super::super) sums: [i32; COLUMNS],
    }

    impl Panel {
        /// Packs the rows that are these columns of the output, as so many groups of depth or more. What the weight has not
        /// is zero.
        ///
        /// # Safety
        /// The machine has AVX-512 F, BW and VNNI.
        pub(in super::super) unsafe fn new(
            cpu: &Cpu,
            job: &Job<'_>,
            columns: &Range<usize>,
            groups: usize,
        ) -> Result<Self> {
            let k = job.sizes[2];
            let own = k.div_ceil(GROUP);
            let mut bytes = cpu.alloc_len(DType::I8, groups.max(own) * GROUP * COLUMNS)?;
            let mut sums = [0; COLUMNS];
            let weight = &job.weight[columns.start * k..columns.end * k];
            let panel = bytes.slice_mut::<i8>();
            panel[own * GROUP * COLUMNS..].fill(0);
            // SAFETY: promised by the caller; there are as many rows of the weight as columns, and the panel has room for them.
            unsafe { pack(weight, columns.len(), k, panel, &mut sums) };
            Ok(Self { bytes, sums })
        }

        pub(in super::super) fn bytes(&self) -> &[i8] {
            self.bytes.as_slice().unwrap_or(&[])
        }
    }

    /// What the sums of a column become floats with. Columns that there are not have zeros.
    struct Ends {
        columns: Range<usize>,
        sums: [i32; COLUMNS],
        scale: [f32; COLUMNS],
        bias: Option<[f32; COLUMNS]>,
    }

    impl Ends {
        fn new(job: &Job<'_>, columns: &Range<usize>, sums: [i32; COLUMNS]) -> Self {
            let wide = |from: &[f32]| {
                let mut to = [0.0; COLUMNS];
                to[..columns.len()].copy_from_slice(&from[columns.clone()]);
                to
            };
            Self { columns: columns.clone(), sums, scale: wide(job.scale), bias: job.bias.map(wide) }
        }
    }

    /// The products of `R` rows of the input, from `first`, with all columns of a panel.
    ///
    /// # Safety
    /// The machine has AVX-512 F, BW and VNNI. The panel holds so many groups, and so do the rows.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn multiply<const R: usize>(
        job: &Job<'_>,
        first: usize,
        groups: usize,
        panel: &[i8],
        ends: &Ends,
    ) {
        let rows: [*const u8; R] = std::array::from_fn(|i| job.x.row(first + i).as_ptr());
        let mut sums = [[_mm512_setzero_si512(); VECTORS]; R];
        for g in 0..groups {
            // SAFETY: promised by the caller; four bytes of every row belong to a group.
            unsafe {
                let from = panel.as_ptr().add(g * GROUP * COLUMNS);
                let weight: [__m512i; VECTORS] =
                    std::array::from_fn(|v| _mm512_loadu_si512(from.add(v * LANES * GROUP).cast()));
                for (row, sums) in rows.iter().zip(&mut sums) {
                    let q = _mm512_set1_epi32(row.add(g * GROUP).cast::<i32>().read_unaligned());
                    for (sum, weight) in sums.iter_mut().zip(weight) {
                        *sum = _mm512_dpbusd_epi32(*sum, q, weight);
                    }
                }
            }
        }
        for (i, products) in sums.into_iter().enumerate() {
            // SAFETY: tasks have different rows or columns.
            let to = unsafe { job.outputs(first + i, &ends.columns) };
            let of = job.x.scale(first + i);
            let (zero, step) = (_mm512_set1_epi32(of.zero), _mm512_set1_ps(of.step));
            for (v, products) in products.into_iter().enumerate() {
                let at = v * LANES;
                let Some(used) = to.len().checked_sub(at).filter(|&used| used > 0) else { break };
                let mask = u16::MAX >> LANES.saturating_sub(used);
                // SAFETY: there are numbers for each lane, and only those of columns are written.
                unsafe {
                    let sums = _mm512_loadu_si512(ends.sums.as_ptr().add(at).cast());
                    let whole = _mm512_sub_epi32(products, _mm512_mullo_epi32(zero, sums));
                    let scale = _mm512_mul_ps(step, _mm512_loadu_ps(ends.scale.as_ptr().add(at)));
                    let mut y = _mm512_mul_ps(_mm512_cvtepi32_ps(whole), scale);
                    if let Some(bias) = &ends.bias {
                        y = _mm512_add_ps(y, _mm512_loadu_ps(bias.as_ptr().add(at)));
                    }
                    _mm512_mask_storeu_ps(to.as_mut_ptr().add(at), mask, y);
                }
            }
        }
    }

    /// Packs rows of the weight as the columns of a panel, and sums each. Columns beyond the last row, and depth beyond
    /// the end, are zero.
    ///
    /// # Safety
    /// The machine has AVX-512 F, BW and VNNI. The weight is `[rows, k]`, rows at most [`COLUMNS`]; the panel has room.
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    unsafe fn pack(weight: &[i8], rows: usize, k: usize, panel: &mut [i8], sums: &mut [i32; COLUMNS]) {
        const DEPTH: usize = LANES * GROUP;
        let ones = _mm512_set1_epi8(1);
        for v in 0..VECTORS {
            let mut sum = _mm512_setzero_si512();
            for at in (0..k).step_by(DEPTH) {
                let depth = DEPTH.min(k - at);
                let mask = u64::MAX >> (DEPTH - depth);
                let words: [__m512i; LANES] = std::array::from_fn(|i| {
                    let row = v * LANES + i;
                    if row < rows {
                        // SAFETY: only bytes of the row are read.
                        unsafe { _mm512_maskz_loadu_epi8(mask, weight.as_ptr().add(row * k + at)) }
                    } else {
                        _mm512_setzero_si512()
                    }
                });
                for (g, group) in transposed(words).into_iter().enumerate().take(depth.div_ceil(GROUP)) {
                    sum = _mm512_dpbusd_epi32(sum, ones, group);
                    let to = (at / GROUP + g) * GROUP * COLUMNS + v * LANES * GROUP;
                    // SAFETY: the panel has room for every group of four bytes of depth.
                    unsafe { _mm512_storeu_si512(panel.as_mut_ptr().add(to).cast(), group) };
                }
            }
            // SAFETY: there is a sum for each lane.
            unsafe { _mm512_storeu_si512(sums[v * LANES..].as_mut_ptr().cast(), sum) };
        }
    }

    /// Sixteen rows of sixteen 32-bit words, transposed.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transposed(rows: [__m512i; LANES]) -> [__m512i; LANES] {
        let mut pairs = rows;
        for i in (0..LANES).step_by(2) {
            pairs[i] = _mm512_unpacklo_epi32(rows[i], rows[i + 1]);
            pairs[i + 1] = _mm512_unpackhi_epi32(rows[i], rows[i + 1]);
        }
        // In each quarter of a register: one word of four rows.
        let mut fours = pairs;
        for i in (0..LANES).step_by(4) {
            fours[i] = _mm512_unpacklo_epi64(pairs[i], pairs[i + 2]);
            fours[i + 1] = _mm512_unpackhi_epi64(pairs[i], pairs[i + 2]);
            fours[i + 2] = _mm512_unpacklo_epi64(pairs[i + 1], pairs[i + 3]);
            fours[i + 3] = _mm512_unpackhi_epi64(pairs[i + 1], pairs[i + 3]);
        }
        // The quarters of four registers, sorted.
        const EVEN: i32 = 0b10_00_10_00;
        const ODD: i32 = 0b11_01_11_01;
        let mut out = fours;
        for c in 0..4 {
            let [a, b, c0, d] = [fours[c], fours[4 + c], fours[8 + c], fours[12 + c]];
            let [even_ab, odd_ab] = [_mm512_shuffle_i32x4::<EVEN>(a, b), _mm512_shuffle_i32x4::<ODD>(a, b)];
            let [even_cd, odd_cd] = [_mm512_shuffle_i32x4::<EVEN>(c0, d), _mm512_shuffle_i32x4::<ODD>(c0, d)];
            out[c] = _mm512_shuffle_i32x4::<EVEN>(even_ab, even_cd);
            out[4 + c] = _mm512_shuffle_i32x4::<EVEN>(odd_ab, odd_cd);
            out[8 + c] = _mm512_shuffle_i32x4::<ODD>(even_ab, even_cd);
            out[12 + c] = _mm512_shuffle_i32x4::<ODD>(odd_ab, odd_cd);
        }
        out
    }
}
