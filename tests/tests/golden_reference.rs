//! PyTorch's numbers against the reference backend: every composite op runs through its decomposition, so
//! this is the proof of the decompositions, of the primitives' definitions and of the gradient rules.

mod golden;

golden::families!(gradus_testkit::Reference::device());
