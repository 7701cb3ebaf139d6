//! The suite that every backend has to pass, with one thread per core and with one.

gradus_testkit::conformance!(gradus_backend_cpu::Cpu::builder().threads(2).build().expect("two threads"));
