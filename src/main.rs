//! The `gradus` program: train a model on images, or look at what this machine offers.

mod program;

fn main() -> std::process::ExitCode {
    program::main()
}
