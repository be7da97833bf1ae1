//! Facts about a server, read and never changed.

pub(super) mod tenant;
