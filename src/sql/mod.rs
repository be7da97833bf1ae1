//! Statements that quote themselves: unquoted text cannot reach the server.
//!
//! A [`Sql`] is made by [`sql!`](crate::sql!) from a literal written in this crate and from
//! arguments that implement [`Fragment`]; `&str` and `String` do not.

mod quote;

pub use quote::{Fragment, List, Literal, Sql};
