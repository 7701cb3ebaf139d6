//! Indexing, joining and views.

use gradus_tensor_core::{Axis, DType, Result, Tensor};

use crate::golden::cases::Params;

pub fn run(op: &str, p: &Params, x: &[Tensor]) -> Option<Result<Tensor>> {
    let all: Vec<&Tensor> = x.iter().collect();
    Some(match (op, x) {
        ("gather", [x, index]) => x.gather(p.int("dim"), index),
        ("index_select", [x, index]) => x.index_select(p.int("dim"), index),
        ("scatter_add", [x, index, source]) => x.scatter_add(p.int("dim"), index, source),
        ("scatter", [x, index, source]) => x.scatter(p.int("dim"), index, source),
        ("index_add", [x, index, source]) => {
            let alpha = p.number("alpha").expect("a number");
            source.mul(alpha).and_then(|source| x.index_add(p.int("dim"), index, &source))
        }
        ("one_hot", [ids]) => ids.one_hot(p.size("num_classes"), DType::I64),
        ("cat", _) => Tensor::cat(&all, p.int("dim")),
        ("stack", _) => Tensor::stack(&all, p.int("dim")),
        ("pad", [x]) => return pad(p, x),
        ("flip", [x]) => x.flip(&p.ints("dims")),
        ("roll", [x]) => p
            .ints("shifts")
            .into_iter()
            .zip(p.ints("dims"))
            .try_fold(x.clone(), |x, (shift, dim)| x.roll(shift as isize, dim)),
        ("unfold", [x]) => x.unfold(p.int("dim"), p.size("size"), p.size("step")),
        ("diagonal", [x]) => x.diagonal(p.int("offset") as isize, p.int("dim1"), p.int("dim2")),
        ("tril", [x]) => x.tril(p.int("diagonal") as isize),
        ("triu", [x]) => x.triu(p.int("diagonal") as isize),
        ("permute", [x]) => x.permute(p.ints("dims")),
        ("narrow", [x]) => x.narrow(p.int("dim"), p.size("start"), p.size("length")),
        ("select", [x]) => x.dim(p.int("dim")).and_then(|size| {
            let index = p.int("index").resolve(size, "select")?;
            x.select(p.int("dim"), index)
        }),
        ("expand", [x]) => x.expand(p.sizes("shape")),
        ("reshape", [x]) => match p.ints("shape")[..] {
            [a, b, c] => x.reshape([a, b, c]),
            ref other => panic!("a reshape to {other:?}"),
        },
        ("repeat", [x]) => {
            let times = p.sizes("repeats");
            let mut dims = vec![1; times.len() - x.rank()];
            dims.extend_from_slice(x.dims());
            x.reshape(dims).and_then(|x| x.repeat(&times))
        }
        ("slice_scatter", [x, source]) => {
            let (start, end, step) = (p.size("start"), p.size("end"), p.size("step"));
            let mut y = x.clone();
            let axis = p.int("dim").resolve(x.rank(), "slice_scatter");
            axis.and_then(|axis| y.view_assign(source, |v| v.slice(axis, start, end, step))).map(|()| y)
        }
        _ => return None,
    })
}

/// PyTorch's order is the last axis first, ours the first of the padded axes first.
fn pad(p: &Params, x: &Tensor) -> Option<Result<Tensor>> {
    let mut pads = Vec::new();
    for pair in p.ints("pad").chunks(2).rev() {
        pads.push((usize::try_from(pair[0]).ok()?, usize::try_from(pair[1]).ok()?));
    }
    Some(x.pad(&pads, p.number("value").expect("a number")))
}
