//! Facts about a server, read and never changed.

pub(super) mod catalog;
pub(super) mod tenant;
