//! A constraint told a tenant about another tenant's row.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-key",
    family: Family::Probes,
    severity: Severity::Medium,
    evidence: Evidence::Probe,
    title: "a constraint tells of another tenant's rows",
    what: "A probe added a row of its own with a key that another tenant has, and it was refused (23505), though it is let in without that tenant's row; or it added a row that points at another tenant's and it was let in, where one that points at nothing is refused (23503). Keys that the server makes, and uuids, are not tried: nobody guesses them. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "Keys see through row-level security: an address, a name or an order number that is taken tells that it is somebody's. A reference to another tenant's row keeps that tenant from removing it.",
    example: "CREATE UNIQUE INDEX ON app.users (email);",
    fix: "Begin the key, and the foreign key, with the tenant column.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html", "https://www.postgresql.org/docs/current/ddl-constraints.html"],
    covers: &["key-foreign", "key-unique"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Collide], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Collide, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-key"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
