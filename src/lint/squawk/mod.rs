//! The only place that names squawk, whose crates promise nothing from one version to the next:
//! its tree is turned into statements of our own, its violations into drafts of findings.

mod field;
mod tree;

pub(super) use field::{fields, judge};
pub(super) use tree::{Reading, read};
