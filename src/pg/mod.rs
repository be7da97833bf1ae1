//! The server: the only layer that speaks to it.

pub mod observe;
pub mod probe;
