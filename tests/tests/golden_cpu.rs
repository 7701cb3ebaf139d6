//! PyTorch's numbers against the CPU backend: its kernels, and decompositions for what it leaves to them.

mod golden;

golden::families!(gradus_backend_cpu::Cpu::device());
