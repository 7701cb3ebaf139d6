//! Ops of neural networks.

use gradus_tensor_core::op::{Conv, CrossEntropy, Pool, PoolKind, Spatial};
use gradus_tensor_core::{AttentionOptions, ConvOptions, DType, Op, Result, Tensor};

use crate::golden::cases::Params;

pub fn run(op: &str, p: &Params, x: &[Tensor]) -> Option<Result<Vec<Tensor>>> {
    let y = match (op, x) {
        ("matmul", [a, b]) => a.matmul(b),
        ("linear", [x, weight, bias @ ..]) => x.linear(weight, bias.first()),
        ("softmax", [x]) => x.softmax(p.int("dim")),
        ("log_softmax", [x]) => x.log_softmax(p.int("dim")),
        ("layer_norm", [x, affine @ ..]) => {
            x.layer_norm(p.ints("normalized_shape").len(), affine.first(), affine.get(1), eps(p))
        }
        ("rms_norm", [x, affine @ ..]) => {
            x.rms_norm(p.ints("normalized_shape").len(), affine.first(), eps(p))
        }
        ("group_norm", [x, affine @ ..]) => {
            x.group_norm(p.size("num_groups"), affine.first(), affine.get(1), eps(p))
        }
        ("batch_norm", [x, mean, variance, affine @ ..]) => {
            return Some(batch_norm(p, x, mean, variance, affine));
        }
        ("conv1d" | "conv2d" | "conv3d", [x, weight, bias @ ..]) => x.conv(weight, bias.first(), conv(p)),
        ("conv_transpose1d" | "conv_transpose2d" | "conv_transpose3d", [x, weight, bias @ ..]) => {
            x.conv_transpose(weight, bias.first(), conv(p), &p.sizes("output_padding"))
        }
        ("max_pool1d" | "max_pool2d" | "max_pool3d", [x]) => {
            let dilation = spatial(p, "dilation");
            return Some(pool(p, PoolKind::Max, dilation).run(&[x]).map(|y| y.into_vec()));
        }
        ("avg_pool1d" | "avg_pool2d" | "avg_pool3d", [x]) => {
            let kind = PoolKind::Average { count_include_pad: p.flag("count_include_pad") };
            return Some(pool(p, kind, [1; 3]).run(&[x]).map(|y| y.into_vec()));
        }
        ("cross_entropy", [logits, target]) => cross_entropy(p, logits, target),
        ("embedding", [ids, weight]) if p.is_null("padding_idx") => weight.embedding(ids),
        ("scaled_dot_product_attention", [q, k, v, mask @ ..]) => {
            let options = AttentionOptions {
                causal: p.flag("is_causal"),
                scale: p.number("scale"),
                mask: mask.first(),
            };
            q.attention(k, v, options)
        }
        _ => return None,
    };
    Some(y.map(|y| vec![y]))
}

fn eps(p: &Params) -> f64 {
    p.number("eps").expect("a number")
}

fn spatial(p: &Params, key: &str) -> Spatial {
    let mut out = [1; 3];
    let values = p.sizes(key);
    out[..values.len()].copy_from_slice(&values);
    out
}

fn conv(p: &Params) -> ConvOptions {
    ConvOptions(Conv {
        stride: spatial(p, "stride"),
        padding: spatial(p, "padding"),
        dilation: spatial(p, "dilation"),
        groups: p.size("groups"),
    })
}

fn pool(p: &Params, kind: PoolKind, dilation: Spatial) -> Op {
    Op::Pool(Pool {
        kind,
        kernel: spatial(p, "kernel"),
        stride: spatial(p, "stride"),
        padding: spatial(p, "padding"),
        dilation,
        ceil_mode: p.flag("ceil_mode"),
    })
}

/// In training, also the running statistics after the batch, of which the variance is the unbiased one.
fn batch_norm(
    p: &Params,
    x: &Tensor,
    mean: &Tensor,
    variance: &Tensor,
    affine: &[Tensor],
) -> Result<Vec<Tensor>> {
    let (weight, bias) = (affine.first(), affine.get(1));
    if !p.flag("training") {
        return Ok(vec![x.batch_norm_eval(mean, variance, weight, bias, eps(p))?]);
    }
    let momentum = p.number("momentum").expect("a number");
    let (y, batch_mean, batch_variance) = x.batch_norm_train(weight, bias, eps(p))?;
    let count = (x.numel() / x.dims()[1]) as f64;
    let unbiased = batch_variance.mul(count / (count - 1.0))?;
    let running = |old: &Tensor, new: &Tensor| old.mul(1.0 - momentum)?.add(&new.mul(momentum)?);
    Ok(vec![y, running(mean, &batch_mean)?, running(variance, &unbiased)?])
}

/// `[N, C, ..]` as rows of classes, and the reduction.
fn cross_entropy(p: &Params, logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    let ignore_index = p.int("ignore_index");
    let label_smoothing = p.number("label_smoothing").expect("a number");
    // Without a batch: one row.
    let logits = if logits.rank() == 1 { logits.unsqueeze(0)? } else { logits.clone() };
    let classes = logits.dims()[1];
    let mut order: Vec<usize> = (0..logits.rank()).filter(|&axis| axis != 1).collect();
    order.push(1);
    let rows = logits.permute(order)?.reshape([target.numel(), classes])?;
    let loss = rows
        .cross_entropy(&target.reshape([target.numel()])?, CrossEntropy { ignore_index, label_smoothing })?;
    match p.text("reduction") {
        "none" => loss.reshape(target.shape()),
        "sum" => loss.sum(..),
        "mean" => loss.sum(..)?.div(&target.ne(ignore_index)?.cast(DType::F64)?.sum(..)?),
        other => panic!("a reduction called {other}"),
    }
}
