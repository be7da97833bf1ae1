//! Black-box tests: the built binary against real servers. One module per capability.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test stops at the first surprise, and nobody imports it"
)]

mod foundation;
mod harness;
mod template;
