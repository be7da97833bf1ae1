//! The server: the only layer that speaks PostgreSQL's protocol.

pub mod answer;
mod attempt;
pub mod cancel;
pub mod checkout;
pub mod connect;
mod identity;
mod tls;
