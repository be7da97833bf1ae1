//! Facts about a server, read and never changed.

pub(super) mod catalog;
pub(super) mod cluster;
pub(super) mod holdings;
mod keys;
pub(super) mod logins;
mod printed;
pub(super) mod structure;
mod surroundings;
pub(super) mod tenant;
