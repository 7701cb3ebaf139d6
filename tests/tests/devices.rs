//! The test doubles do what they say, and a wrong backend does not get past them or the suite.

use gradus_tensor_core::{
    Backend, Buffers, DType, Device, Error, HostArray, InPlaceOp, Layout, Meta, Op, Outcome, Result, Tensor,
    View, ViewMut,
};
use gradus_testkit::conformance::{self, Tolerance};
use gradus_testkit::devices::{Compared, Counting, Difference, Faulty};
use gradus_testkit::samples::Family;
use gradus_testkit::{Arrangement, Reference};

/// What a wrong backend does wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    /// Reads operands from the start of their buffer.
    IgnoresOffset,
    /// Takes every operand for contiguous.
    IgnoresStrides,
    /// The 14th element of every result of more is a little too large.
    OffByALittle,
    /// Writes the whole buffer instead of the view.
    WritesBeside,
    /// Forgets buffers.
    Leaks,
}

/// The reference with a flaw.
#[derive(Debug)]
struct Wrong {
    right: Reference,
    flaw: Flaw,
}

impl Wrong {
    fn device(flaw: Flaw) -> Device {
        Device::new(Wrong { right: Reference::default(), flaw })
    }

    fn layout(&self, layout: &Layout) -> Layout {
        let contiguous = Layout::contiguous(*layout.shape());
        match self.flaw {
            Flaw::IgnoresStrides if !layout.broadcast_axes().is_empty() => *layout,
            Flaw::IgnoresStrides => contiguous,
            Flaw::IgnoresOffset if layout.is_contiguous() => contiguous,
            _ => *layout,
        }
    }
}

type Buffer = <Reference as Backend>::Buffer;

impl Backend for Wrong {
    type Buffer = Buffer;

    fn name(&self) -> String {
        format!("wrong({:?})", self.flaw)
    }

    fn upload(&self, host: &HostArray) -> Result<Buffer> {
        self.right.upload(host)
    }

    fn download(&self, from: View<'_, Buffer>) -> Result<HostArray> {
        self.right.download(from)
    }

    fn execute(
        &self,
        op: &Op,
        inputs: &[View<'_, Buffer>],
        out: &[Meta],
    ) -> Result<Outcome<Buffers<Buffer>>> {
        let layouts: Vec<Layout> = inputs.iter().map(|v| self.layout(v.layout)).collect();
        let views: Vec<_> = inputs.iter().zip(&layouts).map(|(v, layout)| View { layout, ..*v }).collect();
        let outcome = self.right.execute(op, &views, out)?;
        let Outcome::Done(buffers) = outcome else { return Ok(outcome) };
        if self.flaw == Flaw::Leaks {
            std::mem::forget(
                self.right.upload(&HostArray::new(vec![0u8], gradus_tensor_core::Shape::new(&[1])?)?)?,
            );
        }
        if self.flaw == Flaw::OffByALittle && out[0].dtype == DType::F32 && out[0].shape.numel() > 14 {
            let layout = Layout::contiguous(out[0].shape);
            let Some(first) = buffers.iter().next() else { return Ok(Outcome::Done(buffers)) };
            let view = View { buffer: first, layout: &layout, dtype: DType::F32 };
            let mut values = self.right.download(view)?.convert::<f32>();
            values[14] *= 1.0001;
            let changed = self.right.upload(&HostArray::new(values, out[0].shape)?)?;
            return Ok(Outcome::Done(std::iter::once(changed).chain(buffers.into_iter().skip(1)).collect()));
        }
        Ok(Outcome::Done(buffers))
    }

    fn execute_in_place(
        &self,
        op: &InPlaceOp,
        targets: &mut [ViewMut<'_, Buffer>],
        inputs: &[View<'_, Buffer>],
    ) -> Result<Outcome<()>> {
        if self.flaw == Flaw::WritesBeside
            && let [target] = targets
            && target.layout.offset() > 0
        {
            let one = Layout::contiguous(gradus_tensor_core::Shape::new(&[1])?);
            let mut first = [ViewMut { buffer: target.buffer, layout: &one, dtype: target.dtype }];
            let zero = gradus_tensor_core::with_dtype!(target.dtype, T => HostArray::new(vec![T::default()], *one.shape())?);
            let zero = self.right.upload(&zero)?;
            self.right.execute_in_place(
                &InPlaceOp::Write,
                &mut first,
                &[View { buffer: &zero, layout: &one, dtype: target.dtype }],
            )?;
        }
        self.right.execute_in_place(op, targets, inputs)
    }

    fn memory(&self) -> gradus_tensor_core::MemoryStats {
        self.right.memory()
    }
}

#[test]
fn the_suite_passes_the_wrong_backend_once_its_flaw_is_gone() {
    let device = Wrong::device(Flaw::None);
    conformance::family(&device, Family::Binary).assert();
    conformance::in_place(&device).assert();
    conformance::memory(&device).assert();
}

#[test]
fn the_suite_finds_kernels_that_misread_layouts() {
    for flaw in [Flaw::IgnoresStrides, Flaw::IgnoresOffset] {
        for family in [Family::Unary, Family::MatMul, Family::Reduce, Family::Index, Family::Sort] {
            let findings = conformance::family(&Wrong::device(flaw), family);
            assert!(!findings.failures.is_empty(), "{flaw:?} in {family:?} was not found");
        }
    }
    // An offset alone is only visible where the rest is contiguous.
    let shifted = Arrangement { lead: [2, 0, 0, 0, 0, 0, 0, 0], ..Arrangement::CONTIGUOUS };
    let (_, layout) = shifted.layout(&gradus_tensor_core::Shape::new(&[3, 2]).unwrap()).unwrap();
    assert!(layout.is_contiguous() && layout.offset() == 4);
}

#[test]
fn the_suite_finds_one_element_that_is_off_by_a_ten_thousandth_and_says_where() {
    let device = Wrong::device(Flaw::OffByALittle);
    let findings = conformance::family(&device, Family::Binary);
    let text = findings.to_string();
    assert!(text.contains("over f32") && !text.contains("over f64"), "{text}");
    assert!(text.contains("operand 0: [") && text.contains("strides"), "{text}");
    assert!(text.contains("differs first at [") && text.contains("at 1 of "), "{text}");
}

#[test]
fn the_suite_finds_writes_beside_a_view_and_leaks() {
    let text = conformance::in_place(&Wrong::device(Flaw::WritesBeside)).to_string();
    assert!(text.contains("beside the view"), "{text}");
    let text = conformance::memory(&Wrong::device(Flaw::Leaks)).to_string();
    assert!(text.contains("before:") && text.contains("after:"), "{text}");
}

#[test]
fn a_comparison_stops_at_the_first_op_that_differs() -> Result<()> {
    let device = Compared::around(
        &Wrong::device(Flaw::OffByALittle),
        &Reference::device(),
        Tolerance { ulps: 4.0, scale: 0.0, roundings: 1.0 },
    );
    let x = Tensor::arange(1, 21, DType::F32, &device);
    assert!(x.is_err(), "arange has more than 14 elements");
    let x = Tensor::from_vec((1..=20).map(|i| i as f32).collect(), [4, 5], &device)?;
    assert!(x.sum(0).is_ok(), "five elements are right");
    let Err(Error::Other(found)) = x.t()?.exp() else { panic!("the difference was not found") };
    let difference = found.downcast_ref::<Difference>().expect("a difference");
    assert!(difference.op.contains("exp") && difference.message.contains("[3, 2]"), "{difference}");
    assert_eq!(difference.layouts[0].strides(), [1, 5]);
    let right = Compared::around(&Reference::device(), &Reference::device(), Tolerance::EXACT);
    let x = Tensor::from_vec((1..=20).map(|i| i as f32).collect(), [4, 5], &right)?;
    let mut y = x.softmax(1)?.layer_norm(1, None, None, 1e-5)?;
    y.add_assign(&x)?;
    y.narrow_assign(0, 1, &x.narrow(0, 0, 2)?)?;
    assert_eq!(y.shape().dims(), [4, 5]);
    Ok(())
}

#[test]
fn a_faulty_device_fails_exactly_once_and_where_it_is_told() -> Result<()> {
    let faulty = Faulty::new();
    let device = faulty.around(&Reference::device());
    let x = Tensor::ones([3], DType::F32, &device)?;
    faulty.fail_at(2);
    let y = x.exp()?;
    assert!(matches!(y.log(), Err(Error::OutOfMemory { .. })));
    assert!(y.log().is_ok());
    assert_eq!(faulty.calls(), 3);
    faulty.fail_at(1);
    let mut z = x.clone();
    assert!(z.add_assign(&x).is_err());
    assert_eq!(x.to_vec::<f32>()?, [1.0; 3], "the failed op changed nothing that others see");
    Ok(())
}

#[test]
fn a_counting_device_counts_by_name() -> Result<()> {
    let counting = Counting::new();
    let device = counting.around(&Reference::device());
    let mut x = Tensor::from_vec(vec![1.0f32, 2.0], [2], &device)?;
    x.add_assign(&x.exp()?)?;
    x.t().ok();
    let counts = counting.take();
    assert_eq!((counts["upload"], counts["exp"], counts["add"]), (1, 1, 1));
    assert_eq!(counts.values().sum::<usize>(), 3, "views are not calls: {counts:?}");
    assert_eq!(counting.total(), 0);
    Ok(())
}

#[test]
fn tensors_of_the_inner_device_are_adopted() -> Result<()> {
    let inner = Reference::device();
    let device = Counting::new().around(&inner);
    let plain = Tensor::from_vec(vec![1.0f32, 2.0, 3.0, 4.0], [2, 2], &inner)?;
    let here = Tensor::ones([2, 2], DType::F32, &device)?;
    assert_eq!(here.add(&plain.t()?)?.to_vec::<f32>()?, [2.0, 4.0, 3.0, 5.0]);
    assert!(here.add(&Tensor::ones([2, 2], DType::F32, &Reference::device())?).is_err());
    Ok(())
}
