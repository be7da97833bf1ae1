//! The life of a tenant: what the registry keeps of it, its doors, its sessions, and its end.

mod doors;
mod names;
pub mod purge;
mod registry;
mod sessions;
mod work;

pub use doors::doors;
pub use names::{Names, names, naming, schemas, second_logins, was_called};
pub use registry::{
    Clock, clock, enter_state, expired, hold, life, purge_begun, release, shared_roles, within,
};
pub use sessions::{Ended, end_sessions};
pub use work::{Bench, Done, carry_out};
