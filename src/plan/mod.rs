//! What would be done, decided from what is wanted and what is there. Pure.

pub mod pending;
