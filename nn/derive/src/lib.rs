//! derive(Parameters) for gradus-nn.
