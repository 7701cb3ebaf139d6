//! Gradient checking, proptest strategies, a reference backend and a conformance suite for backends.
