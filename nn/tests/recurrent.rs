//! Recurrent layers against PyTorch's numbers, and what is left to say about them.

mod common;

use common::{Case, Golden, close, devices};
use gradus_autograd::Autograd;
use gradus_backend_cpu::Cpu;
use gradus_nn::{Cell, Gru, Lstm, Module, Parameters, Recurrent, Rnn};
use gradus_tensor_core::{DType, Device, Result, Tensor, rng};

/// The layer of a case, with its parameters.
fn layer<C: Cell>(case: &Case<'_>, device: &Device) -> Recurrent<C> {
    let size = |name: &str| case.params()[name].as_u64().unwrap() as usize;
    let mut layer = Recurrent::<C>::new(size("input_size"), size("hidden_size"))
        .num_layers(size("num_layers"))
        .bias(case.params()["bias"] == true)
        .bidirectional(case.params()["bidirectional"] == true)
        .batch_first(true)
        .dtype(DType::F64)
        .init(device)
        .unwrap();
    layer.load_state_dict(&case.state("state")).unwrap();
    layer
}

/// Outputs, gradients of inputs and gradients of parameters of every case.
fn check<C: Cell>(op: &str, run: impl Fn(&Recurrent<C>, &[Tensor]) -> Result<Vec<Tensor>>) {
    for device in devices() {
        let golden = Golden::open("rnn", &device);
        for case in golden.of(op) {
            let layer = layer::<C>(&case, &device);
            let inputs = case.inputs();
            let outputs = run(&layer, &inputs).unwrap();
            case.check_outputs(&outputs);
            let gradients = case.loss(&outputs).backward().unwrap();
            for (i, x) in inputs.iter().enumerate() {
                close(case.name, gradients.get(x).unwrap(), &case.tensor(&format!("grad.{i}")), 1e-10);
            }
            let expected = case.state("state_grad");
            let mut names = Vec::new();
            layer
                .for_each_param(&mut |name, param| {
                    let ours = gradients.get_id(param.id()).unwrap();
                    close(&format!("{}.{name}", case.name), ours, expected.get(name).unwrap(), 1e-10);
                    names.push(name.to_owned());
                    Ok(())
                })
                .unwrap();
            let order: Vec<_> =
                case.info["state"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
            assert_eq!(names, order, "{}", case.name);
        }
    }
}

#[test]
fn an_lstm_computes_what_pytorchs_does() {
    check("lstm", |layer: &Lstm, x| {
        let (y, (h, c)) = layer.forward_with(&x[0], Some((&x[1], &x[2])))?;
        Ok(vec![y, h, c])
    });
}

#[test]
fn a_gru_computes_what_pytorchs_does() {
    check("gru", |layer: &Gru, x| {
        let (y, h) = layer.forward_with(&x[0], Some(&x[1]))?;
        Ok(vec![y, h])
    });
}

#[test]
fn a_plain_network_computes_what_pytorchs_does() {
    check("rnn_tanh", |layer: &Rnn, x| {
        let (y, h) = layer.forward_with(&x[0], Some(&x[1]))?;
        Ok(vec![y, h])
    });
}

fn randn<const N: usize>(dims: [usize; N], seed: u64) -> Tensor {
    rng::manual_seed(seed);
    Tensor::randn(dims, DType::F64, &Cpu::device()).unwrap()
}

fn small(layers: usize) -> Lstm {
    rng::manual_seed(7);
    Lstm::new(3, 4).num_layers(layers).dtype(DType::F64).init(&Cpu::device()).unwrap()
}

#[test]
fn a_sequence_in_pieces_gives_what_it_gives_whole() -> Result<()> {
    let (layer, x) = (small(2), randn([7, 2, 3], 1));
    let (whole, (h, c)) = layer.forward_with(&x, None)?;
    let (first, (h1, c1)) = layer.forward_with(&x.narrow(0, 0, 3)?, None)?;
    let (second, (h2, c2)) = layer.forward_with(&x.narrow(0, 3, 4)?, Some((&h1, &c1)))?;
    close("output", &Tensor::cat(&[&first, &second], 0)?, &whole, 1e-14);
    close("h", &h2, &h, 1e-14);
    close("c", &c2, &c, 1e-14);
    close("as a module", &layer.forward(&x)?, &whole, 0.0);
    Ok(())
}

#[test]
fn the_batch_may_be_first_second_or_absent() -> Result<()> {
    let (mut layer, x) = (small(2), randn([5, 2, 3], 2));
    let (y, (h, c)) = layer.forward_with(&x, None)?;
    for sample in 0..2 {
        let (one, (h1, c1)) = layer.forward_with(&x.select(1, sample)?, None)?;
        close("output", &one, &y.select(1, sample)?, 1e-14);
        close("h", &h1, &h.select(1, sample)?, 1e-14);
        let (again, _) = layer.forward_with(&x.select(1, sample)?, Some((&h1, &c1)))?;
        let (both, _) = layer.forward_with(&x, Some((&h, &c)))?;
        close("output from a state", &again, &both.select(1, sample)?, 1e-14);
    }
    layer.batch_first = true;
    let (first, (h1, _)) = layer.forward_with(&x.transpose(0, 1)?, None)?;
    close("output", &first.transpose(0, 1)?, &y, 0.0);
    close("h", &h1, &h, 0.0);
    Ok(())
}

#[test]
fn a_network_of_relu_adds_up_what_is_positive() -> Result<()> {
    let device = Cpu::device();
    let mut rnn = Rnn::new(1, 1).relu().init(&device)?;
    let one = |layer: &mut Rnn, value: f32| {
        layer.for_each_param_mut(&mut |_, p| {
            p.set(Tensor::full(value, p.tensor().shape(), DType::F32, p.tensor().device())?)
        })
    };
    one(&mut rnn, 1.0)?;
    let x = Tensor::from_vec(vec![1.0f32, -5.0, 2.0], [3, 1], &device)?;
    // Each step adds the input, the state and two biases of 1.
    assert_eq!(rnn.forward(&x)?.to_vec::<f32>()?, [3.0, 0.0, 4.0]);
    Ok(())
}

#[test]
fn dropout_acts_between_layers_in_training_alone() -> Result<()> {
    let device = Cpu::device();
    let x = randn([4, 3, 3], 5);
    let mut layer = Lstm::new(3, 4).num_layers(2).dropout(1.0).dtype(DType::F64).init(&device)?;
    let in_training = layer.forward(&x)?;
    layer.set_training(false);
    let in_evaluation = layer.forward(&x)?;
    layer.set_training(true);
    // Without anything from the first layer, all samples are alike.
    close("in training", &in_training.select(1, 0)?, &in_training.select(1, 2)?, 0.0);
    assert_ne!(in_evaluation.to_vec::<f64>()?, in_training.to_vec::<f64>()?);
    layer.dropout = 0.0;
    close("in evaluation", &layer.forward(&x)?, &in_evaluation, 0.0);
    let single = Lstm::new(3, 4).dropout(1.0).dtype(DType::F64).init(&device)?;
    assert!(
        single.forward(&x)?.abs()?.amin_keepdim(..)?.to_vec::<f64>()?[0] > 0.0,
        "one layer drops nothing"
    );
    Ok(())
}

#[test]
fn parameters_start_within_one_over_the_root_of_the_hidden_size() -> Result<()> {
    let gru = Gru::new(5, 16).num_layers(2).bidirectional(true).init(&Cpu::device())?;
    let mut shapes = Vec::new();
    gru.for_each_param(&mut |name, p| {
        let values = p.tensor().to_vec::<f32>()?;
        assert!(values.iter().all(|v| v.abs() <= 0.25) && values.iter().any(|v| v.abs() > 0.2), "{name}");
        shapes.push((name.to_owned(), p.tensor().dims().to_vec()));
        Ok(())
    })?;
    assert_eq!(shapes.len(), 16);
    assert_eq!(shapes[0], ("weight_ih_l0".into(), vec![48, 5]));
    assert_eq!(shapes[13], ("weight_hh_l1_reverse".into(), vec![48, 16]));
    assert_eq!(shapes[12], ("weight_ih_l1_reverse".into(), vec![48, 32]));
    Ok(())
}

#[test]
fn frozen_weights_get_no_gradient_and_the_others_do() -> Result<()> {
    let mut layer = small(1);
    layer.freeze("weight_hh_l0")?;
    let gradients = layer.forward(&randn([3, 2, 3], 6))?.sum_all()?.backward()?;
    layer.for_each_param(&mut |name, p| {
        assert_eq!(gradients.get_id(p.id()).is_some(), name != "weight_hh_l0", "{name}");
        Ok(())
    })
}

#[test]
fn wrong_operands_are_errors_that_say_what_would_do() {
    let (layer, device) = (small(2), Cpu::device());
    let error = |r: Result<(Tensor, (Tensor, Tensor))>| r.unwrap_err().to_string();
    let zeros = |dims: &[usize]| Tensor::zeros(dims, DType::F64, &device).unwrap();
    let text = error(layer.forward_with(&zeros(&[5, 2, 4]), None));
    assert!(
        text.contains("lstm") && text.contains("[time, batch, 3]") && text.contains("[5, 2, 4]"),
        "{text}"
    );
    let text = error(layer.forward_with(&zeros(&[3]), None));
    assert!(text.contains("[time, 3] without a batch"), "{text}");
    let state = zeros(&[1, 2, 4]);
    let text = error(layer.forward_with(&zeros(&[5, 2, 3]), Some((&state, &state))));
    assert!(text.contains("[2, 2, 4]") && text.contains("[1, 2, 4]"), "{text}");
    let text = error(layer.forward_with(&zeros(&[0, 2, 3]), None));
    assert!(text.contains("at least one step"), "{text}");
    let single = Tensor::zeros([5, 2, 3], DType::F32, &device).unwrap();
    assert!(layer.forward_with(&single, None).is_err());
    // The ops themselves.
    let (w, state) = (zeros(&[16, 4]), zeros(&[2, 4]));
    let text = zeros(&[5, 2, 15]).lstm(&w, &state, &state).unwrap_err().to_string();
    assert!(text.contains("gates [time, batch, 16]") && text.contains("[5, 2, 15]"), "{text}");
    let text = zeros(&[5, 2, 16]).lstm(&zeros(&[12, 4]), &state, &state).unwrap_err().to_string();
    assert!(text.contains("w_hh must be [4 * hidden, hidden]"), "{text}");
    let text = zeros(&[5, 2, 16]).lstm(&w, &state, &zeros(&[2, 3])).unwrap_err().to_string();
    assert!(text.contains("c0 must be [2, 4], not [2, 3]"), "{text}");
    let text = zeros(&[5, 2, 12]).gru(&zeros(&[12, 4]), &state, Some(&zeros(&[4]))).unwrap_err().to_string();
    assert!(text.contains("b_hh must be [12], not [4]"), "{text}");
    assert!(Lstm::new(3, 4).num_layers(0).init(&device).is_err());
    assert!(Lstm::new(3, 0).init(&device).is_err());
    assert!(Lstm::new(3, 4).dropout(1.5).init(&device).is_err());
}
