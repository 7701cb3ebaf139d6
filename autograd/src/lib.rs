//! Reverse-mode automatic differentiation as a backend around a backend.
