//! The nouns of the domain: no IO, no clock, no SQL text.

pub mod catalog;
pub mod ident;
pub mod layout;
pub mod privilege;
pub mod probe;
pub mod tenant;
