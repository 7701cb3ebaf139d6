//! The CPU backend passes the suite.

gradus_testkit::conformance!(gradus_backend_cpu::Cpu::device(), gradients);
