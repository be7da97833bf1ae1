//! The end of a tenant: what is its own is found in the catalogue, and removed in pieces that a
//! server's lock table holds.

mod dependents;
mod places;
mod roles;
mod rows;

pub use dependents::{dependents, refuse_crossing, strays};
pub use places::{drop_database, drop_schemas, is_there, own_schemas, unlink_large_objects};
pub use roles::{RoleTrace, drop_role, forget, role_is_there, traces};
pub(in crate::pg) use roles::{let_go, take_back};
pub use rows::{count, empty, reopen_rows};
