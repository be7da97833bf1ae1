//! Facts about a server, read and never changed.

pub(super) mod catalog;
pub(super) mod holdings;
mod printed;
pub(super) mod structure;
pub(super) mod tenant;
