//! The server: the only layer that speaks PostgreSQL's protocol.

pub mod answer;
mod attempt;
pub mod cancel;
pub mod checkout;
pub mod connect;
mod execute;
mod identity;
mod lock;
mod migrate;
mod observe;
mod provision;
mod refinery;
pub mod registry;
pub mod server;
mod servers;
mod session;
mod tls;
pub mod vitals;

pub use execute::{Sessions, Work, run, was_overtaken};
pub use lock::LockKey;
pub use migrate::{Histories, Target, histories, migrate_target};
pub use provision::{Held, hold, observe};
pub use refinery::Limits;
pub use servers::Servers;
pub use session::Session;
