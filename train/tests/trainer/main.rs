//! Whole runs on tiny data: what they compute, where they can be stopped, and how they fail.

mod accumulation;
mod callbacks;
mod disk;
mod evaluation;
mod failure;
mod kill;
mod mixed;
mod refusal;
mod resume;
mod stopping;
mod support;
