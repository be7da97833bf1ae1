//! A sequence of all tenants that one of them may set.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::catalog::{PUBLIC, Privilege, Privileges, RelationKind};
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "sequence-settable",
    family: Family::Integrity,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the application may set a sequence that tenants share",
    what: "A role of the application holds UPDATE on a sequence in a schema of shared tables. Not reported: USAGE, which tells how much all tenants write together and is inherent in a shared sequence.",
    why: "setval is undone by no rollback: one call makes every tenant's next INSERT fail on a key that exists.",
    example: "GRANT ALL ON ALL SEQUENCES IN SCHEMA app TO app_rw;",
    fix: "REVOKE UPDATE and GRANT USAGE; the privilege usually came with GRANT ALL ON ALL SEQUENCES.",
    references: &["https://www.postgresql.org/docs/current/functions-sequence.html"],
    covers: &["key-sequence"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    if survey.estate.tenancy.is_none() {
        return found;
    }
    let tenants = survey.tables().map(|(_, table)| table.schema).collect::<std::collections::BTreeSet<_>>();
    for sequence in survey.catalog.relations.values() {
        if sequence.kind != RelationKind::Sequence || !tenants.contains(&sequence.schema) {
            continue;
        }
        let wanted = Privileges::NONE.with(Privilege::Update);
        let user = survey
            .reaching(sequence, wanted)
            .find(|(subject, _)| !subject.closure.contains_key(&sequence.owner));
        let Some((subject, _)) = user else { continue };
        let grantee = sequence
            .grants
            .iter()
            .filter(|grant| grant.privileges.has(Privilege::Update))
            .map(|grant| grant.grantee)
            .find(|grantee| *grantee == PUBLIC || subject.closure.contains_key(grantee));
        let fix = match grantee.and_then(|grantee| survey.ident(grantee)) {
            Some(grantee) => sql!("REVOKE UPDATE ON SEQUENCE {} FROM {}", sequence.name, grantee),
            None => sql!("REVOKE UPDATE ON SEQUENCE {} FROM PUBLIC", sequence.name),
        };
        let message = format!(
            "{} may set {} back, and every tenant's next row is refused",
            subject.name, sequence.name
        );
        found.push(
            RULE.finding(survey.relation(sequence), message, Fix::Sql(vec![fix]))
                .role(subject.name)
                .operation(Privilege::Update.word()),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;

    #[test]
    fn setting_is_accused_and_counting_is_not() {
        let mut world = World::new();
        world.table("app", "numbers", "app_owner");
        world.table_mut("app.numbers").kind = RelationKind::Sequence;
        world.grant("app.numbers", "app_rw", Privilege::Usage);
        assert!(world.rules().is_empty());
        world.grant("app.numbers", "app_rw", Privilege::Update);
        assert_eq!(world.rules(), ["sequence-settable"]);
    }
}
