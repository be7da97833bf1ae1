//! How a tenant's rows are read and written: in which order, by which statements, as whom.

mod mapping;
mod order;
mod rows;
mod writes;

pub use mapping::{Mapping, TableMap, map};
pub use order::{loading, unloading};
pub use rows::{count, delete, filter, reader, select, select_unordered, writer};
pub use writes::{copy_in, copy_into_stage, empty_stage, insert, is_staged, stage, together};
