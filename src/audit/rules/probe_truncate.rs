//! A tenant may empty a table of another tenant's rows.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-truncate",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant may empty a table of another tenant's rows",
    what: "The role was found to hold TRUNCATE on another tenant's ground; or, with --probe-truncate, it emptied the table. That locks the table against everybody for a moment, on standbys as well, which is why it is not done unasked. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "TRUNCATE is filtered by no policy: whoever may run it removes the rows of every tenant.",
    example: "GRANT TRUNCATE ON app.notes TO app_rw;",
    fix: "Revoke TRUNCATE. DELETE is governed by policies.",
    references: &["https://www.postgresql.org/docs/current/sql-truncate.html"],
    covers: &["write-truncate"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Truncate], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Truncate, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-truncate"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
