//! SQL text: what is read from files, and what is written so that it quotes itself.
//!
//! A [`Sql`] is made by [`sql!`](crate::sql!) from a literal written in this crate and from
//! arguments that implement [`Fragment`]; `&str` and `String` do not, so unquoted text cannot
//! reach a server.

pub mod position;
pub mod predicate;
mod quote;
pub mod scan;
pub mod token;

pub use quote::{Fragment, List, Literal, Sql};
