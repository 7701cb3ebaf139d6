//! The samples cover every op: an op that is added without a sample fails here.

use std::collections::BTreeSet;

use gradus_tensor_core::{BinaryOp, CompareOp, DType, ReduceKind, UnaryOp};
use gradus_testkit::samples::Family;

/// The names of an enum's variants, read from its source.
fn variants(source: &str, name: &str) -> BTreeSet<String> {
    let start = source.find(&format!("pub enum {name} {{")).unwrap_or_else(|| panic!("no enum {name}"));
    let mut depth = 0;
    let mut found = BTreeSet::new();
    for line in source[start..].lines() {
        let code = line.split("//").next().unwrap_or("").trim();
        if depth == 1 && code.starts_with(|c: char| c.is_ascii_uppercase()) {
            found.insert(code.split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_owned());
        }
        depth += code.matches(['{', '(']).count();
        depth -= code.matches(['}', ')']).count();
        if depth == 0 && !code.is_empty() {
            break;
        }
    }
    assert!(found.len() > 1, "no variants of {name} found");
    found
}

/// The name of a value's variant.
fn variant(value: &impl std::fmt::Debug) -> String {
    format!("{value:?}").split(|c: char| !c.is_alphanumeric()).next().unwrap_or("").to_owned()
}

#[test]
fn every_op_has_a_sample() {
    let all = variants(include_str!("../../tensor-core/src/op/mod.rs"), "Op");
    let sampled: BTreeSet<String> =
        Family::ALL.into_iter().flat_map(Family::samples).map(|s| variant(&s.op)).collect();
    // Custom ops are their authors' to test.
    let missing: Vec<_> = all.difference(&sampled).filter(|name| *name != "Custom").collect();
    assert!(missing.is_empty(), "ops without a sample in tests/src/samples: {missing:?}");
}

#[test]
fn the_lists_of_element_wise_ops_are_complete() {
    let unary = variants(include_str!("../../tensor-core/src/op/unary.rs"), "UnaryOp");
    assert_eq!(unary, UnaryOp::ALL.iter().map(variant).collect());
    let binary = include_str!("../../tensor-core/src/op/binary.rs");
    assert_eq!(variants(binary, "BinaryOp"), BinaryOp::ALL.iter().map(variant).collect());
    assert_eq!(variants(binary, "CompareOp"), CompareOp::ALL.iter().map(variant).collect());
    let reduce = include_str!("../../tensor-core/src/op/reduce.rs");
    assert_eq!(variants(reduce, "ReduceKind"), ReduceKind::ALL.iter().map(variant).collect());
    assert_eq!(
        variants(include_str!("../../tensor-core/src/dtype.rs"), "DType"),
        DType::ALL.iter().map(variant).collect()
    );
}

#[test]
fn every_op_with_float_operands_and_results_is_differentiated() {
    // Constants by their nature: they make numbers from nothing, or integers and truth values from numbers.
    let constants = ["Fill", "Arange", "Random", "Compare", "ArgReduce"];
    // The gradient is straight through rounding, by definition, and no finite difference: `quantized.rs` checks it.
    let straight_through = ["LinearDynamic"];
    let samples: Vec<_> = Family::ALL.into_iter().flat_map(Family::samples).collect();
    let smooth: BTreeSet<String> = samples.iter().filter(|s| s.smooth).map(|s| variant(&s.op)).collect();
    let rough: Vec<_> = samples
        .iter()
        .map(|s| variant(&s.op))
        .filter(|name| !smooth.contains(name) && !constants.contains(&name.as_str()))
        .filter(|name| !straight_through.contains(&name.as_str()))
        .collect();
    assert!(rough.is_empty(), "no sample of these is differentiated: {rough:?}");
    for op in UnaryOp::ALL.into_iter().filter(|&op| op != UnaryOp::Not) {
        let found =
            samples.iter().any(|s| s.smooth && matches!(s.op, gradus_tensor_core::Op::Unary(u) if u == op));
        assert!(found, "{op:?} is not differentiated");
    }
    for op in BinaryOp::ALL.into_iter().filter(|&op| op != BinaryOp::Xor) {
        let found =
            samples.iter().any(|s| s.smooth && matches!(s.op, gradus_tensor_core::Op::Binary(b) if b == op));
        assert!(found, "{op:?} is not differentiated");
    }
}
