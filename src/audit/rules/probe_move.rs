//! A tenant gave its own row to another tenant.

use super::Rule;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::{Attempt, Method, Outcome};

pub(super) static RULE: Rule = Rule {
    id: "probe-move",
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant gave its own row to another tenant",
    docs: "A probe set the tenant column of its own rows to another tenant's key, without a WHERE that would add the SELECT policies, and no policy refused it. WITH CHECK of the UPDATE policy decides this, or USING in its place. Everything ran as the application's role inside a transaction that was rolled back.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let hits = survey.probes.iter().filter(|probe| probe.attempt == Attempt::Move && probe.crossed());
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
            "{} can make its rows those of tenant {} in {} {}: {how}",
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
            attempt: Attempt::Move,
            context: Context::Own,
            method: Method::Statement,
            outcome: Outcome::Refused,
        });
        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-move"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
