//! How a tenant's rows are read and written: in which order, by which statements, as whom.

mod order;
mod rows;

pub use order::{loading, unloading};
pub use rows::{count, delete, filter, reader, select};
