//! Facts about a server, read and never changed.

pub(super) mod catalog;
mod printed;
pub(super) mod structure;
pub(super) mod tenant;
