//! The server: the only layer that speaks PostgreSQL's protocol.

mod answer;
mod attempt;
mod audit;
mod cancel;
mod carry;
mod checkout;
pub mod connect;
mod execute;
mod home;
mod identity;
pub mod ledger;
mod load;
mod lock;
mod many;
mod message;
mod migrate;
mod observe;
mod outside;
mod pooler;
mod probe;
mod provision;
mod refinery;
mod refusal;
pub mod registry;
mod repeatables;
mod rewrite;
mod script;
pub mod server;
mod servers;
mod session;
mod tls;
mod trial;
pub mod vitals;
mod watch;

pub use audit::{Manner, SESSIONS, read_catalog, remove_probers, run_probes};
pub use cancel::Canceller;
pub use execute::{Sessions, Work, run};
pub use home::Limits;
pub use ledger::Ledger;
pub use load::load;
pub use lock::{LockKey, busy};
pub use many::BATCH;
pub use migrate::{
    Histories, Target, digests, histories, history, migrate_at_once, migrate_target, written,
};
pub use observe::structure::{Structures, facts, structures};
pub use outside::Watcher;
pub use pooler::Pooler;
pub use provision::{Held, hold, observe};
pub use refinery::{NotApplied, Prepared, Repeating};
pub use repeatables::{Repeatables, reapply, repeatables};
pub use rewrite::{Schema, baseline, occupied, repair, take_back};
pub use servers::{RETIRE_AFTER, Servers};
pub use session::Session;
pub use trial::{Answer, trial};
pub use watch::{blockers, is_there};
