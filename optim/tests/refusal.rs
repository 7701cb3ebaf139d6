//! What is refused, and leaves everything as it was.

use gradus_autograd::Autograd;
use gradus_backend_cpu::Cpu;
use gradus_nn::{Linear, Module};
use gradus_optim::{Adam, MixedPrecision, Optimizer};
use gradus_tensor_core::op::{BatchNormBlock, Norm, NormKind};
use gradus_tensor_core::{DType, Op, Result, Tensor};

#[test]
fn a_number_of_steps_that_is_none_is_refused() -> Result<()> {
    let device = Cpu::device();
    let mut model = Linear::new(2, 2).init(&device)?;
    let gradients = model.forward(&Tensor::ones([1, 2], DType::F32, &device)?)?.sum_all()?.backward()?;
    let mut optimizer = Adam::new(0.1);
    optimizer.step(&mut model, &gradients)?;
    let saved = optimizer.state_dict();
    for steps in [f64::INFINITY, f64::NAN, -1.0, 0.5, 1e30] {
        let mut state = saved.clone();
        state.numbers.insert("weight.step".into(), steps);
        let error = optimizer.load_state_dict(&state).unwrap_err().to_string();
        assert!(error.contains("`weight.step` is"), "{error}");
    }
    assert_eq!(optimizer.state_dict().numbers, saved.numbers);
    optimizer.load_state_dict(&saved)?;
    optimizer.step(&mut model, &gradients)?;
    Ok(())
}

/// The policy looks at operands before the op has counted them.
#[test]
fn an_op_of_too_few_operands_is_refused_in_mixed_precision_too() -> Result<()> {
    let x = Tensor::ones([2, 3], DType::F32, &Cpu::device())?.autocast(DType::BF16)?;
    let block = BatchNormBlock { eps: 1e-5, residual: false, activation: None };
    let ops = [Op::NormGrad(Norm { kind: NormKind::Batch, eps: 1e-5 }), Op::BatchNormBlockGrad(block)];
    for op in ops {
        for n in 0..3 {
            assert!(op.run(&vec![&x; n]).is_err(), "{} of {n}", op.name());
        }
    }
    Ok(())
}
