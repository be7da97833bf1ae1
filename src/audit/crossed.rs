//! Probes that got across, as findings. The rules differ in what was tried, and how that is said.

use super::finding::{Finding, Fix, Severity};
use super::rules::Rule;
use super::survey::Survey;
use crate::model::count;
use crate::model::probe::{Attempt, Method, Outcome, Probe};

/// Reports every probe of these kinds that got across in some tenant's name; `said` is what its role
/// can do.
pub(super) fn crossed(
    survey: &Survey<'_>,
    rule: &Rule,
    attempts: &[Attempt],
    said: impl Fn(&Probe) -> String,
) -> Vec<Finding> {
    hits(survey)
        .filter(|probe| attempts.contains(&probe.attempt) && !probe.context.open())
        .map(|probe| finding(survey, rule, probe, &said(probe)))
        .collect()
}

/// Reports every probe that got across in nobody's name, where it could not in the acting tenant's.
pub(super) fn crossed_open(
    survey: &Survey<'_>,
    rule: &Rule,
    said: impl Fn(&Probe) -> String,
) -> Vec<Finding> {
    let closed = |open: &&Probe| {
        !hits(survey).any(|probe| {
            !probe.context.open()
                && (probe.object.as_str(), &probe.role, probe.attempt)
                    == (open.object.as_str(), &open.role, open.attempt)
        })
    };
    hits(survey)
        .filter(|probe| probe.context.open())
        .filter(closed)
        .map(|probe| finding(survey, rule, probe, &said(probe)))
        .collect()
}

fn hits<'a>(survey: &Survey<'a>) -> impl Iterator<Item = &'a Probe> {
    survey.probes.iter().filter(|probe| probe.crossed())
}

fn finding(survey: &Survey<'_>, rule: &Rule, probe: &Probe, said: &str) -> Finding {
    let message = format!(
        "{} can {said} in {} {}: {}",
        probe.role,
        probe.object,
        probe.context.phrase(),
        observed(probe)
    );
    let fix = Fix::Advice(
        "see the static findings on this object: the probe shows that the hole is real".to_owned(),
    );
    let contrived = matches!(probe.attempt, Attempt::InsertForAll | Attempt::Peek);
    let severity = if probe.context.contrived() || contrived {
        rule.severity.min(Severity::High)
    } else {
        rule.severity
    };
    let finding = rule
        .finding(survey.object(probe.kind, &probe.object), message, fix)
        .role(&probe.role)
        .operation(probe.attempt.word())
        .tenants([&probe.acting, &probe.target])
        .severity(severity);
    if probe.reproduce.is_empty() { finding } else { finding.reproduce(probe.reproduce.as_str()) }
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
        (_, Method::Predicate) => "the policies admit such a row".to_owned(),
        _ => "the statement was let through".to_owned(),
    }
}

/// What an attempt does, for messages.
pub(super) fn deed(probe: &Probe) -> String {
    let target = &probe.target;
    match probe.attempt {
        Attempt::Read | Attempt::Control => format!("read rows of tenant {target}"),
        Attempt::Peek => {
            format!("see rows of tenant {target} by a function of its own, before the filter,")
        }
        Attempt::Collide => format!("learn by a constraint about rows of tenant {target}"),
        Attempt::Copy => format!("export rows of tenant {target}"),
        Attempt::Lock => format!("lock rows of tenant {target}"),
        Attempt::Influence => format!("learn about rows of tenant {target}"),
        Attempt::Update | Attempt::Merge | Attempt::Upsert => {
            format!("change rows of tenant {target}")
        }
        Attempt::Delete | Attempt::Truncate => format!("remove rows of tenant {target}"),
        Attempt::Insert => format!("add rows in the name of tenant {target}"),
        Attempt::InsertForAll => format!("add rows that tenant {target} sees"),
        Attempt::Move => format!("make its rows those of tenant {target}"),
        Attempt::Call => format!("reach rows of tenant {target}"),
        Attempt::SideEffect => format!("change rows of tenant {target} by writing its own"),
        Attempt::Connect => format!("log in to the database of tenant {target}"),
    }
}
