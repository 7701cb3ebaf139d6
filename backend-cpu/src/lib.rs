//! The CPU backend: vectorized, threaded kernels and a caching allocator.
