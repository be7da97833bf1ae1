//! What the user wrote, in files, flags and the environment, read and checked.

pub mod conninfo;
