//! Where migrations come from: directories, and the sets that are compiled in.
//!
//! Promises that a set is complete and fit to run, or a refusal that lists everything wrong with
//! it. refinery skips files whose names it cannot read and trips over others in the middle of a
//! run; here no file that looks like SQL is ever left out quietly.

pub mod directory;
pub mod embedded;
pub mod file_name;
pub mod preflight;
pub mod problem;
