//! Black-box tests: the built binary against real servers. One module per capability.
#![allow(
    clippy::panic,
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test stops at the first surprise, and nobody imports it"
)]

mod adopt;
mod answers;
mod archives;
mod audit_log;
mod backups;
mod connections;
mod corpus;
mod create;
mod create_again;
mod create_killed;
mod create_parallel;
mod credentials;
mod credentials_killed;
mod credentials_rotate;
mod demo;
mod erase;
mod fleet;
mod foundation;
mod harness;
mod holdings;
mod ledger;
mod life;
mod life_moving;
mod lint;
mod many;
mod mechanisms;
mod migrate;
mod migrate_ahead;
mod migrate_baseline;
mod migrate_down;
mod migrate_failing;
mod migrate_faults;
mod migrate_judged;
mod migrate_many;
mod migrate_outside;
mod migrate_plan;
mod migrate_refused;
mod migrate_repair;
mod migrate_resume;
mod migrate_seen;
mod migrate_sessions;
mod migrate_stops;
mod migrate_together;
mod migrate_verify;
mod migrate_verify_files;
mod moving;
mod names;
mod placement;
mod poolers;
mod public_directory;
mod purge;
mod refinery_alternates;
mod registry;
mod rename;
mod repeatables;
mod runs;
mod runs_prune;
mod second_logins;
mod set;
mod statements;
mod template;
mod verify_rls;
mod verify_rls_breaks;
mod verify_rls_command;
mod verify_rls_foreign;
mod verify_rls_matrix;
mod verify_rls_operable;
mod verify_rls_probes;
