//! A tenant changed or removed another tenant's rows.

use super::{Family, Rule};
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-write",
    family: Family::Probes,
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a tenant changed or removed another tenant's rows",
    what: "A probe changed or removed rows without naming any, so that no SELECT policy could hide the hole, and hit rows that belong to another tenant; or it overwrote one by adding a row with the same key. It ran as the application's role inside a transaction that was rolled back; the finding holds the statements.",
    why: "UPDATE and DELETE have conditions of their own: that reading is closed says nothing about them.",
    example: "CREATE POLICY p ON app.notes FOR DELETE USING (true);",
    fix: "See the static findings on the object: they say what let it through.",
    references: &["https://www.postgresql.org/docs/current/ddl-rowsecurity.html"],
    covers: &["write-blind", "policy-command", "table-off", "who-bypassrls"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Update, Attempt::Delete, Attempt::Merge, Attempt::Upsert], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Update, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-write"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
