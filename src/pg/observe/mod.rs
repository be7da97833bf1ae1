//! Reading what is there: facts, without changing or judging anything.

pub mod catalog;
