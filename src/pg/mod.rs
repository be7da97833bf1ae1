//! The server: the only layer that speaks PostgreSQL's protocol.

mod answer;
mod attempt;
mod audit;
mod cancel;
mod carry;
mod checkout;
pub mod connect;
mod execute;
mod identity;
mod lock;
mod migrate;
mod observe;
mod outside;
mod probe;
mod provision;
mod refinery;
mod refusal;
pub mod registry;
pub mod server;
mod servers;
mod session;
mod tls;
mod trial;
pub mod vitals;

pub use audit::{read_catalog, run_probes};
pub use cancel::Canceller;
pub use execute::{Sessions, Work, run};
pub use lock::LockKey;
pub use migrate::{Histories, Target, histories, migrate_target};
pub use observe::structure::{Structures, facts, structures};
pub use provision::{Held, hold, observe};
pub use refinery::Limits;
pub use servers::Servers;
pub use session::Session;
pub use trial::{Answer, trial};
