//! SQL text: what is read from files, and what is written so that it quotes itself.

pub mod position;
pub mod scan;
pub mod token;
