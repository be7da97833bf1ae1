//! Moves a tenant's rows from one place to another, and keeps everybody out meanwhile.

mod closing;
mod compare;
mod copy;
mod feed;
mod place;
mod record;
mod remove;
mod sealing;

pub use closing::{Closed, close, closed, open};
pub use compare::{hidden, references_agree, sums};
pub use copy::{Copied, advance, load, refresh, wipe};
pub use feed::{Feed, close_feed, feed, follow, forget_applied, obstacle, open_feed, snapshot};
pub use place::{Place, has_database, measure, occupy};
pub use record::{
    abort, begin, conclude, find, finish, freeze_instead, history, keep_snapshot, keep_sums,
    mark_loaded, new_id, note_frozen, note_thawed, seal, switch, unload,
};
pub use remove::{Roles, remove_database, remove_roles, remove_rows};
pub use sealing::{doors, seal_place, unseal_place};
