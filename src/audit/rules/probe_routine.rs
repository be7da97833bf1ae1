//! A function or procedure gave a tenant another tenant's rows.

use super::Rule;
use crate::audit::crossed::{crossed, deed};
use crate::audit::finding::{Evidence, Finding, Severity};
use crate::audit::survey::Survey;
use crate::model::probe::Attempt;
pub(super) static RULE: Rule = Rule {
    id: "probe-routine",
    severity: Severity::Critical,
    evidence: Evidence::Probe,
    title: "a function or procedure gave a tenant another tenant's rows",
    docs: "A probe called every routine that the role may call, with the keys, ids and names of another tenant, and found that tenant's mark in the answer, or its rows changed. SECURITY DEFINER routines run with the rights of their owner and are bound by the policies that bind the owner. Make it SECURITY INVOKER, or filter by the tenant setting inside. Routines in untrusted languages and those that speak to the outside (dblink, COPY PROGRAM, files, sequences) are not called; the answer lists them. Everything ran as the application's role inside a transaction that was rolled back; `reproduce` holds the statements.",
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    crossed(survey, &RULE, &[Attempt::Call], deed)
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::probe::*;

    #[test]
    fn what_was_observed_is_reported_and_a_refusal_is_not() {
        let mut world = World::new();
        world.probe(Attempt::Call, Outcome::Refused);

        assert!(world.rules().is_empty());
        world.probes[0].outcome = Outcome::Rows(1);
        assert_eq!(world.rules(), ["probe-routine"]);
        world.probes[0].outcome = Outcome::Rows(0);
        assert!(world.rules().is_empty());
    }
}
