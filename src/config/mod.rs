//! What the user wrote, in files, flags and the environment, read and checked.

pub mod conninfo;
mod erasure;
pub mod fleet;
mod place;
mod raw;

pub use erasure::read_erasure;
pub use fleet::{Cluster, Fleet, Layout, Sources, Tier};
pub use place::Request;
