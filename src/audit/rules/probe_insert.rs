//! A tenant added a row in another tenant's name.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::{Attempt, Method, Outcome};

pub(super) static RULE: Rule = Rule {
    id: "probe-insert",
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant added a row in another tenant's name",
    docs: "A probe inserted a row with another tenant's key, without RETURNING, and no policy refused it: one tenant can plant data in another's tables. WITH CHECK decides this, or USING in its place. Everything ran as the application's role inside a transaction that was rolled back.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let hits = survey.probes.iter().filter(|probe| probe.attempt == Attempt::Insert && probe.crossed());
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
            "{} can add rows in the name of tenant {} in {} {}: {how}",
            probe.role,
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
            attempt: Attempt::Insert,
            context: Context::Own,
            method: Method::Statement,
            outcome: Outcome::Refused,
        });
        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-insert"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
