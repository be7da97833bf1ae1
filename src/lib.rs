//! tenantctl provisions tenants in PostgreSQL, migrates them, and proves that none can see another.
//!
//! # Layers
//!
//! A module imports only the layers below it; modules that share a layer do not know each other.
//! `tests/architecture.rs` checks it.
//!
//! ```text
//! main
//! cli                                 one file per command: parse, call, return a report
//! ops         output                  one use case per file | human and JSON rendering, progress
//! archive   config   migrations   pg   archives | files, environment | migration sets | the server
//! report                              what a command answers; its verdict
//! plan        audit       lint        pure: Desired × Observed → Plan | Catalog → Findings |
//!                                     migration files → Findings
//! sql                                 statements that quote themselves
//! model                               nouns, no IO
//! error
//! ```

pub mod archive;
pub mod audit;
pub mod cli;
pub mod config;
pub mod error;
pub mod lint;
pub mod migrations;
pub mod model;
pub mod ops;
pub mod output;
pub mod pg;
pub mod plan;
pub mod report;
pub mod sql;
