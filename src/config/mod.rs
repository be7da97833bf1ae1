//! What the user wrote, in files, flags and the environment, read and checked.

pub mod conninfo;
pub mod fleet;
mod place;
mod raw;

pub use fleet::{Cluster, Fleet, Layout, Sources, Tier};
pub use place::Request;
