//! The life of a tenant: what the registry keeps of it, its doors, its sessions, and its end.

mod doors;
pub mod purge;
mod registry;
mod sessions;
mod work;

pub use doors::doors;
pub use registry::{expired, hold, life, release, shared_roles};
pub use sessions::{Ended, end_sessions};
pub use work::{Bench, Done, carry_out};
