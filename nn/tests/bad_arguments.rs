//! Sizes of any magnitude, and fields that were set to what does not fit: errors, and never panics.

use gradus_backend_cpu::Cpu;
use gradus_nn::init::Init;
use gradus_nn::zoo::InvertedResidual;
use gradus_nn::{
    AdaptiveAvgPool2d, BatchNorm2d, Cell, Conv2d, Gru, GruCell, Linear, Lstm, LstmCell, Module,
    MultiheadAttention, Param, Rnn, RnnCell, fuse_conv_bn,
};
use gradus_tensor_core::{DType, Error, Result, Tensor};

fn randn<const N: usize>(dims: [usize; N]) -> Result<Tensor> {
    Tensor::randn(dims, DType::F32, &Cpu::device())
}

fn scalar() -> Result<Tensor> {
    Tensor::zeros((), DType::F32, &Cpu::device())
}

#[test]
fn sizes_beyond_memory_are_errors() -> Result<()> {
    let device = Cpu::device();
    for n in [usize::MAX, usize::MAX / 2 + 1, 1 << 62, 1 << 60] {
        assert!(matches!(MultiheadAttention::new(n, 1).init(&device), Err(Error::TooLarge { .. })));
        assert!(matches!(Lstm::new(1, n).init(&device), Err(Error::TooLarge { .. })));
        assert!(Gru::new(1, n).num_layers(n).bidirectional(true).init(&device).is_err());
        assert!(Rnn::new(n, 1).init(&device).is_err());
        assert!(Linear::new(n, n).init(&device).is_err());
        assert!(InvertedResidual::new(n, 1, 1, n, &device).is_err());
        assert!(AdaptiveAvgPool2d::new(n).forward(&randn([1, 1, 5, 5])?).is_err());
    }
    Ok(())
}

/// What is drawn on the host: a vector that cannot be reserved would end the process.
#[test]
fn a_parameter_that_no_host_has_room_for_is_an_error() {
    let truncated = Init::TruncNormal { mean: 0.0, std: 1.0, low: -1.0, high: 1.0 };
    for init in [truncated, Init::Orthogonal { gain: 1.0 }] {
        let tensor = init.tensor([1 << 30, 1 << 26], DType::F32, &Cpu::device());
        assert!(matches!(tensor, Err(Error::OutOfMemory { .. })), "{tensor:?}");
    }
}

#[test]
fn attention_whose_fields_were_changed_says_what_does_not_fit() -> Result<()> {
    let x = randn([1, 3, 4])?;
    for heads in [0, 3, usize::MAX] {
        let mut layer = MultiheadAttention::new(4, 2).init(&Cpu::device())?;
        layer.heads = heads;
        let error = layer.forward(&x).unwrap_err().to_string();
        assert_eq!(error, format!("multihead_attention: {heads} heads do not divide 4 features"));
    }
    let mut layer = MultiheadAttention::new(4, 2).init(&Cpu::device())?;
    layer.out_proj.weight.set(scalar()?)?;
    assert!(layer.forward(&x).is_err());
    let mut layer = MultiheadAttention::new(4, 2).init(&Cpu::device())?;
    layer.in_proj_weight.set(scalar()?)?;
    assert!(layer.forward(&x).is_err());
    Ok(())
}

#[test]
fn recurrent_layers_whose_weights_are_no_matrices_are_refused() -> Result<()> {
    let x = randn([3, 1, 2])?;
    for parameter in 0..2 {
        let mut lstm = Lstm::new(2, 3).init(&Cpu::device())?;
        let weights = &mut lstm.weights[0];
        let weight: &mut Param = if parameter == 0 { &mut weights.weight_ih } else { &mut weights.weight_hh };
        weight.set(scalar()?)?;
        assert!(lstm.forward(&x).is_err());
    }
    Ok(())
}

#[test]
fn a_cell_is_given_as_many_states_as_it_has() -> Result<()> {
    let (x, h) = (randn([3, 1, 2])?, randn([1, 4])?);
    let weights = |gates: usize| -> Result<_> {
        Ok(match gates {
            4 => Lstm::new(2, 4).init(&Cpu::device())?.weights.remove(0),
            3 => Gru::new(2, 4).init(&Cpu::device())?.weights.remove(0),
            _ => Rnn::new(2, 4).init(&Cpu::device())?.weights.remove(0),
        })
    };
    for n in 0..4 {
        let state = vec![h.clone(); n];
        assert_eq!(LstmCell.run(&weights(4)?, &x, &state).is_ok(), n == 2);
        assert_eq!(GruCell.run(&weights(3)?, &x, &state).is_ok(), n == 1);
        assert_eq!(RnnCell::default().run(&weights(1)?, &x, &state).is_ok(), n == 1);
    }
    let error = LstmCell.run(&weights(4)?, &x, &[]).unwrap_err().to_string();
    assert_eq!(error, "lstm: a state has 2 tensors, not 0");
    Ok(())
}

#[test]
fn a_convolution_without_axes_is_not_fused() -> Result<()> {
    let mut conv = Conv2d::new(1, 1, 1).init(&Cpu::device())?;
    let norm = BatchNorm2d::new(1).init(&Cpu::device())?;
    assert!(fuse_conv_bn(&conv, &norm).is_ok());
    conv.weight.set(scalar()?)?;
    assert!(fuse_conv_bn(&conv, &norm).is_err());
    Ok(())
}
