//! Probes that got across, as findings. The rules differ in what was tried, and how that is said.

use super::finding::{Finding, Fix};
use super::rules::Rule;
use super::survey::Survey;
use crate::model::count;
use crate::model::probe::{Attempt, Method, Outcome, Probe};

/// Reports every probe of these kinds that got across; `said` is what its role can do.
pub(super) fn crossed(
    survey: &Survey<'_>,
    rule: &Rule,
    attempts: &[Attempt],
    said: impl Fn(&Probe) -> String,
) -> Vec<Finding> {
    let hits =
        survey.probes.iter().filter(|probe| attempts.contains(&probe.attempt) && probe.crossed());
    hits.map(|probe| {
        let message = format!(
            "{} can {} in {} {}: {}",
            probe.role,
            said(probe),
            probe.relation,
            probe.context.phrase(),
            observed(probe)
        );
        let fix = Fix::Advice(
            "see the static findings on this table: the probe shows that the hole is real"
                .to_owned(),
        );
        rule.finding(survey.object("table", &probe.relation), message, fix)
            .role(&probe.role)
            .operation(probe.attempt.word())
            .tenants([&probe.acting, &probe.target])
    })
    .collect()
}

fn observed(probe: &Probe) -> String {
    match (&probe.outcome, probe.method) {
        (Outcome::Rows(rows), Method::Statement) => {
            let rows = usize::try_from(*rows).unwrap_or(usize::MAX);
            format!("{}, rolled back", count(rows, "row"))
        }
        (Outcome::Constraint(sqlstate), _) => {
            format!("past every policy, stopped by a constraint ({sqlstate})")
        }
        (_, Method::Predicate) => "the policy admits such a row".to_owned(),
        _ => "the statement was let through".to_owned(),
    }
}
