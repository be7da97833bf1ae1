//! The nouns of the domain: no IO, no clock, no SQL text.

pub mod catalog;
pub mod cluster;
pub mod connection;
pub mod credential;
pub mod desired;
pub mod erasure;
pub mod fingerprint;
pub mod holdings;
pub mod ident;
pub mod interrupt;
pub mod layout;
pub mod life;
pub mod manifest;
pub mod migration;
pub mod moving;
pub mod observed;
pub mod passfile;
pub mod pooling;
pub mod privilege;
pub mod probe;
pub mod run;
pub mod secret;
pub mod severity;
pub mod structure;
pub mod surroundings;
pub mod tally;
pub mod tenant;
pub mod trail;

/// A number and its noun: `1 tenant`, `3 tenants`.
pub fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// The first of some names, and how many others there are: `a, b and 4 more`.
pub fn some_of(names: &[String], most: usize) -> String {
    let told = names[..most.min(names.len())].join(", ");
    match names.len().saturating_sub(most) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}
