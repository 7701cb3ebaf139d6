//! A layout is an element-wise map of indices: every chain of view operations agrees with a model that moves
//! the indices themselves, one by one.

mod support;

use gradus_tensor_core::{AxisSet, Layout, Shape};
use proptest::prelude::*;
use support::model::Model;

/// A view operation, of which the numbers are made to fit the layout they meet.
type Step = (u8, usize, usize, usize);

/// More elements than this are too many to look at one by one.
const LIMIT: usize = 2000;

/// What a chain of operations made.
struct Chain {
    layout: Layout,
    model: Model,
    /// Elements of the buffer.
    len: usize,
    /// No operation named an element twice.
    distinct: bool,
    /// Every operation only moved axes.
    permuted: bool,
}

impl Chain {
    fn start(dims: &[usize]) -> Self {
        let layout = Layout::contiguous(Shape::new(dims).unwrap());
        Chain { layout, model: Model::new(dims), len: layout.numel(), distinct: true, permuted: true }
    }

    /// Takes one step, if it fits.
    fn step(&mut self, (kind, a, b, c): Step) {
        let rank = self.layout.rank();
        if rank == 0 && !matches!(kind % 12, 9..=11) {
            return;
        }
        let axis = a % rank.max(1);
        let size = self.layout.shape().get(axis).copied().unwrap_or(1);
        let (layout, model) = match kind % 12 {
            0 => {
                let mut order: Vec<usize> = (0..rank).collect();
                (0..rank).for_each(|i| order.swap(i, (a ^ b.rotate_left(i as u32)) % rank));
                (self.layout.permute(&order), self.model.permute(&order))
            }
            1 => (self.layout.transpose(axis, b % rank), self.model.transpose(axis, b % rank)),
            2 => {
                self.permuted = false;
                let start = b % (size + 1);
                let (end, step) = (start + c % (size - start + 1), 1 + b % 3);
                (self.layout.slice(axis, start, end, step), self.model.slice(axis, start, end, step))
            }
            3 => {
                self.permuted = false;
                let start = b % (size + 1);
                let len = c % (size - start + 1);
                (self.layout.narrow(axis, start, len), self.model.slice(axis, start, start + len, 1))
            }
            4 if size > 0 => {
                self.permuted = false;
                (self.layout.select(axis, b % size), self.model.select(axis, b % size))
            }
            5 => {
                self.permuted = false;
                (self.layout.flip(axis), self.model.flip(axis))
            }
            6 if size > 0 && rank < 8 => {
                let window = 1 + b % size;
                let dilation = if window == 1 { 1 + c } else { 1 + c % ((size - 1) / (window - 1)) };
                let step = 1 + c % 3;
                (self.distinct, self.permuted) = (false, false);
                (
                    self.layout.unfold(axis, window, step, dilation),
                    self.model.unfold(axis, window, step, dilation),
                )
            }
            7 if rank > 1 && axis != b % rank => {
                let offset = (c % 7) as isize - 3;
                (self.distinct, self.permuted) = (false, false);
                (self.layout.diagonal(offset, axis, b % rank), self.model.diagonal(offset, axis, b % rank))
            }
            8 if size == 1 => (self.layout.squeeze(axis), self.model.select(axis, 0)),
            9 if rank < 8 => (self.layout.unsqueeze(a % (rank + 1)), self.model.unsqueeze(a % (rank + 1))),
            10 => {
                let mut dims = self.layout.shape().to_vec();
                dims.iter_mut().filter(|d| **d == 1).for_each(|d| *d = b % 4);
                if rank < 8 && a % 2 == 0 {
                    dims.insert(0, c % 4);
                }
                (self.distinct, self.permuted) = (false, false);
                (self.layout.expand(Shape::new(&dims).unwrap()), self.model.expand(&dims))
            }
            11 => {
                let dims = factors(self.layout.numel(), a, b, c);
                let layout = self.layout.reshape(Shape::new(&dims).unwrap()).unwrap();
                let model = Model { dims: dims.clone(), at: self.model.at.clone() };
                assert_eq!(
                    layout.is_some(),
                    model.has_strides(),
                    "whether {:?} can be viewed as {dims:?}",
                    self.layout
                );
                self.permuted = false;
                match layout {
                    Some(layout) => (Ok(layout), model),
                    None => return,
                }
            }
            _ => return,
        };
        (self.layout, self.model) = (layout.unwrap(), model);
    }

    fn check(&self) {
        let (layout, at) = (&self.layout, &self.model.at);
        assert_eq!(layout.shape().dims(), self.model.dims);
        assert_eq!(layout.positions().len(), at.len());
        assert_eq!(&layout.positions().collect::<Vec<_>>(), at);
        assert_eq!(&(0..at.len()).map(|i| layout.position(i)).collect::<Vec<_>>(), at);
        self.check_span();
        self.check_walks();
        self.check_properties();
        self.check_permutation();
    }

    fn check_span(&self) {
        let span = self.layout.span();
        let low = self.model.at.iter().min().copied().unwrap_or(0);
        let high = self.model.at.iter().max().map_or(0, |p| p + 1);
        assert_eq!(span, low..high, "the span is not tight");
        assert!(span.end <= self.len);
    }

    fn check_walks(&self) {
        let (layout, at) = (&self.layout, &self.model.at);
        let simple = layout.simplified();
        assert_eq!(&simple.positions().collect::<Vec<_>>(), at);
        if !at.is_empty() {
            assert!(!simple.shape().contains(&1), "{layout:?} leaves an axis of size 1");
            let joins =
                |a: usize| simple.strides()[a - 1] == simple.strides()[a] * simple.shape()[a] as isize;
            assert!(!(1..simple.rank()).any(joins), "{simple:?} can be simpler");
        }
        let runs = layout.runs();
        let run =
            |start: usize| (0..runs.len).map(move |i| (start as isize + i as isize * runs.stride) as usize);
        assert_eq!(&runs.starts.clone().flat_map(run).collect::<Vec<_>>(), at);
        let plain = Layout::contiguous(*layout.shape());
        let flipped = (0..layout.rank()).fold(plain, |l, axis| l.flip(axis).unwrap());
        let together = Layout::simplify_together([layout, &plain, &flipped]);
        for (simple, whole) in together.iter().zip([layout, &plain, &flipped]) {
            assert_eq!(simple.shape(), together[0].shape());
            assert!(simple.positions().eq(whole.positions()));
        }
    }

    fn check_properties(&self) {
        let (layout, at) = (&self.layout, &self.model.at);
        let mut sorted = at.clone();
        sorted.sort_unstable();
        sorted.dedup();
        let all_differ = sorted.len() == at.len();
        assert!(all_differ || !layout.is_injective(), "{layout:?} names an element twice");
        assert!(!self.distinct || layout.is_injective(), "{layout:?} names no element twice");
        let in_a_row = at.windows(2).all(|w| w[1] == w[0] + 1);
        assert_eq!(layout.is_contiguous(), in_a_row, "{layout:?}");
        assert_eq!(layout.covers(self.len), in_a_row && at.len() == self.len && layout.offset() == 0);
        if let Some(range) = layout.contiguous_range() {
            assert!(range.eq(at.iter().copied()));
        }
        // What is repeated by expanding can be dropped without losing an element.
        let once = layout.collapse(layout.broadcast_axes());
        let mut left: Vec<usize> = once.positions().collect();
        left.sort_unstable();
        left.dedup();
        assert_eq!(left, sorted);
        let firsts = AxisSet::all(layout.rank());
        assert!(layout.collapse(firsts).positions().eq(at.first().copied()));
    }

    fn check_permutation(&self) {
        let rank = self.layout.rank();
        let found = self.layout.permutation_of(self.len);
        if self.len == 0 {
            return;
        }
        let forward = (0..rank).all(|a| self.layout.shape()[a] == 1 || self.layout.strides()[a] > 0);
        let mut sorted = self.model.at.clone();
        sorted.sort_unstable();
        assert_eq!(found.is_some(), forward && sorted.into_iter().eq(0..self.len), "{:?}", self.layout);
        assert!(!self.permuted || found.is_some(), "{:?} only has its axes moved", self.layout);
        if let Some(order) = found {
            assert!(self.layout.permute(&order[..rank]).unwrap().covers(self.len));
        }
    }
}

/// Dimensions whose product is `numel`.
fn factors(numel: usize, a: usize, b: usize, c: usize) -> Vec<usize> {
    let divides = |n: usize, seed: usize| match n {
        0 => seed % 4,
        n => (1..=n).filter(|d| n % d == 0).nth(seed % (1..=n).filter(|d| n % d == 0).count()).unwrap_or(1),
    };
    let mut dims = Vec::new();
    let mut left = numel;
    for seed in [a, b, c, a ^ c].into_iter().take(a % 5) {
        let d = divides(left, seed);
        dims.push(d);
        left = if numel == 0 { 0 } else { left / d };
    }
    dims.push(left);
    dims
}

fn dims() -> impl Strategy<Value = Vec<usize>> {
    let size = prop_oneof![1 => Just(0usize), 12 => 1usize..5, 2 => Just(1), 1 => Just(7)];
    prop::collection::vec(size, 0..=8)
        .prop_filter("too many elements", |d| d.iter().product::<usize>() <= LIMIT)
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(any::<(u8, u16, u16, u16)>(), 0..8)
        .prop_map(|steps| steps.into_iter().map(|(k, a, b, c)| (k, a.into(), b.into(), c.into())).collect())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn every_chain_of_views_is_the_element_wise_map_of_its_indices(dims in dims(), steps in steps()) {
        let mut chain = Chain::start(&dims);
        chain.check();
        for step in steps {
            chain.step(step);
            if chain.model.at.len() > LIMIT {
                break;
            }
            chain.check();
        }
    }
}

#[test]
fn layouts_of_different_shapes_are_not_simplified_together() {
    let a = Layout::contiguous(Shape::new(&[2, 3]).unwrap());
    let b = Layout::contiguous(Shape::new(&[6]).unwrap());
    assert_eq!(Layout::simplify_together([&a, &b]), [a, b]);
    assert_eq!(Layout::simplify_together::<0>([]), []);
}

#[test]
fn axes_that_follow_each_other_are_walked_as_one() {
    let x = Layout::contiguous(Shape::new(&[2, 3, 1, 4]).unwrap());
    assert_eq!((x.simplified().rank(), x.runs().len, x.runs().starts.len()), (1, 24, 1));
    let t = x.transpose(0, 1).unwrap();
    assert_eq!((t.simplified().rank(), t.runs().len, t.runs().starts.len()), (3, 4, 6));
    let repeated =
        Layout::contiguous(Shape::new(&[1]).unwrap()).expand(Shape::new(&[5, 6]).unwrap()).unwrap();
    assert_eq!((repeated.runs().len, repeated.runs().stride), (30, 0));
}
