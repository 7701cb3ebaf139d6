//! Runs the cases of `tests/golden/data` on a device and compares with what PyTorch answered.
//!
//! `cases` reads a family, `ops` knows how each op is called here, `check` runs a case and compares. A case
//! that does not run must be in [`SKIPPED`].

mod cases;
mod check;
mod ops;
mod promotion;
mod steps;

pub use check::family;
pub use promotion::promotion;
pub use steps::optimizer_steps;

/// Cases that are not compared, by the beginning of their names, and why. What is here without need fails too.
const SKIPPED: &[(&str, &str)] = &[
    ("norm_1.0/", "tensors have the Euclidean norm only"),
    ("norm_3.0/", "tensors have the Euclidean norm only"),
    ("norm_inf/", "tensors have the Euclidean norm only"),
    ("pad/crop", "padding is never negative: narrow crops"),
    ("pad_reflect/", "a layer of the crate nn"),
    ("pad_replicate/", "a layer of the crate nn"),
    ("pad_circular/", "a layer of the crate nn"),
    ("adaptive_", "a layer of the crate nn"),
    ("embedding_padding_0/", "a layer of the crate nn"),
    ("embedding_padding_1/", "a layer of the crate nn"),
    ("embedding_padding_2/", "a layer of the crate nn"),
    ("conv2d/one_sample_without_batch", "a convolution has a batch axis; unsqueeze gives one"),
    ("sign/special", "the sign of NaN is NaN, as in NumPy, not 0"),
    ("cast/f16_to_i64", "casts saturate; what PyTorch does with infinities depends on the processor"),
    ("cast/f16_to_i32", "casts saturate; what PyTorch does with infinities depends on the processor"),
    ("mha/", "a layer of the crate nn"),
    ("cross_entropy_weighted", "class weights belong to the loss in the crate nn"),
    ("cross_entropy_everything", "class weights belong to the loss in the crate nn"),
    ("cross_entropy_probabilities", "a loss of the crate nn"),
    ("nll_loss", "a loss of the crate nn"),
    ("mse_loss", "a loss of the crate nn"),
    ("l1_loss", "a loss of the crate nn"),
    ("smooth_l1_loss", "a loss of the crate nn"),
    ("huber_loss", "a loss of the crate nn"),
    ("binary_cross_entropy", "a loss of the crate nn"),
    ("kl_div", "a loss of the crate nn"),
];

/// Cases where PyTorch's own numbers have fewer digits than their dtype: how much they may differ, and why.
const INEXACT: &[(&str, f64, &str)] = &[
    ("hardsigmoid/", 1e-7, "PyTorch's 1/6 is an f32"),
    ("layer_norm/f16", 4e-3, "PyTorch adds up the gradient of the bias in f16"),
];

/// Outputs that PyTorch has and these ops do not: the case compares the ones before.
const FEWER_OUTPUTS: &[(&str, usize)] = &[("cummax", 1), ("cummin", 1)];

/// A test for each family, on a device.
macro_rules! families {
    ($device:expr) => {
        golden::families! { $device;
            element_wise_functions_of_one_tensor_are_pytorchs => "unary",
            element_wise_functions_of_two_tensors_are_pytorchs => "binary",
            reductions_scans_and_sorts_are_pytorchs => "reduce",
            matrix_products_are_pytorchs => "matmul",
            indexing_and_views_are_pytorchs => "index",
            softmax_and_normalizations_are_pytorchs => "norm",
            convolutions_are_pytorchs => "conv",
            pools_are_pytorchs => "pool",
            losses_are_pytorchs => "loss",
            attention_is_pytorchs => "attention",
            embedding_is_pytorchs => "embedding",
            casts_and_mixed_dtypes_are_pytorchs => "dtype",
        }

        #[test]
        fn dtypes_promote_as_in_pytorch() {
            golden::promotion(&$device);
        }

        #[test]
        fn steps_of_optimizers_are_pytorchs() {
            golden::optimizer_steps(&$device);
        }
    };
    ($device:expr; $($test:ident => $family:literal,)*) => {$(
        #[test]
        fn $test() {
            golden::family($family, &$device);
        }
    )*};
}
pub(crate) use families;
