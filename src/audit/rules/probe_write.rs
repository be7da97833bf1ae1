//! A tenant changed or removed another tenant's rows.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::{Attempt, Method, Outcome};

pub(super) static RULE: Rule = Rule {
    id: "probe-write",
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant changed or removed another tenant's rows",
    docs: "A probe changed or removed rows without naming any, so that no SELECT policy could hide the hole, and hit rows that belong to another tenant. UPDATE and DELETE have conditions of their own; that reading is closed says nothing about them. Everything ran as the application's role inside a transaction that was rolled back.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let hits = survey.probes.iter().filter(|probe| matches!(probe.attempt, Attempt::Update | Attempt::Delete) && probe.crossed());
    hits.map(|probe| {
        let how = match (&probe.outcome, probe.method) {
            (Outcome::Rows(rows), Method::Statement) => format!("{rows} {}, rolled back", if *rows == 1 { "row" } else { "rows" }),
            (Outcome::Constraint(sqlstate), _) => {
                format!("past every policy, stopped by a constraint ({sqlstate})")
            }
            (_, Method::Predicate) => "the policy admits such a row".to_owned(),
            _ => "the statement was let through".to_owned(),
        };
        let message = format!(
            "{} can {} rows of tenant {} in {} {}: {how}",
            probe.role,
            if probe.attempt == Attempt::Delete { "remove" } else { "change" },
            probe.target,
            probe.relation,
            probe.context.phrase()
        );
        let fix = Fix::Advice(
            "see the static findings on this table: the probe shows that the hole is real"
                .to_owned(),
        );
        RULE.finding(survey.object("table", &probe.relation), message, fix)
            .role(&probe.role)
            .operation(probe.attempt.word())
            .tenants([&probe.acting, &probe.target])
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::ident::QualifiedName;
    use crate::model::probe::*;
    use crate::model::tenant::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probes.push(Probe {
            isolation: Isolation::Shared,
            acting: TenantId::new("ann").unwrap(),
            target: TenantId::new("bob").unwrap(),
            role: ident("app_rw"),
            relation: QualifiedName::new(ident("app"), ident("notes")),
            attempt: Attempt::Delete,
            context: Context::Own,
            method: Method::Statement,
            outcome: Outcome::Refused,
        });
        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-write"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
