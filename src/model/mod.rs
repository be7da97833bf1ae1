//! The nouns of the domain. Nothing here does IO.

pub mod migration;
