//! Whether tenants are kept apart: from facts and observations to findings, without IO.
//!
//! Privileges come first and predicates second: a finding needs a role of the application that
//! reaches an object, and nothing that binds it to its tenant there. A table that nobody is granted,
//! or an owner that nobody can become, is not accused.

mod allow;
mod assumption;
mod attribute;
mod baseline;
mod bound;
mod cause;
mod crossed;
mod crossing;
mod cve;
mod expression;
pub mod finding;
#[cfg(test)]
mod fixture;
mod granted;
pub mod holdings;
mod injection;
mod matrix;
pub mod mechanisms;
mod pairs;
pub mod reach;
mod remedy;
mod routine;
pub mod rules;
mod settle;
pub mod survey;
mod text;
mod viewed;

pub use allow::{Allow, Expiry};
pub use assumption::assumptions;
pub use baseline::{Baseline, Known};
pub use bound::calls;
pub use cause::{Causes, subject};
pub use finding::{Evidence, Finding, Fix, Object, Severity};
pub use matrix::{Access, Reached, matrix};
pub use pairs::Pairs;
pub use remedy::{Remedy, remedies};
pub use rules::Rule;
pub use settle::{Settled, Suppressed, Suppression, settle};
pub use survey::Survey;

use crate::model::catalog::Catalog;
use crate::model::layout::Estate;
use crate::model::probe::Probe;

/// Judges one database: every rule, over the facts and over what probes observed.
///
/// The estate must be whole, also when a few tenants are asked about: a schema that belongs to no
/// listed tenant counts as common ground. It holds the tenants of this database, and the database-isolated tenants of its cluster:
/// whether their roles can come here is part of the question.
pub fn check(catalog: &Catalog, estate: &Estate, probes: &[Probe]) -> Vec<Finding> {
    judge(&Survey::new(catalog, estate, probes))
}

/// Judges one database whose survey is there already.
pub fn judge(survey: &Survey<'_>) -> Vec<Finding> {
    let mut findings: Vec<_> = rules::ALL.iter().flat_map(|rule| (rule.check)(survey)).collect();
    findings.sort_by(|a, b| a.sort_key().cmp(&b.sort_key()));
    // What has two ways to one object is one finding, and is mended by closing both.
    findings.dedup_by(|again, kept| {
        let same = again.fingerprint == kept.fingerprint;
        if same {
            kept.fix.and(&again.fix);
        }
        same
    });
    findings
}
