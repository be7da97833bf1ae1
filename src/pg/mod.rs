//! The server's side of the house: the only layer that talks to PostgreSQL.

pub mod server;
