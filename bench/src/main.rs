//! The benchmark program, case for case beside its peers.
fn main() {}
