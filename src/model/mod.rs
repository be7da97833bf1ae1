//! The nouns of the crate: plain values that hold their own rules and do no IO.

pub mod connection;
pub mod passfile;
pub mod secret;
