//! A rewrite rule that works with its owner's rights.

use super::{Family, Rule};
use super::trigger_definer::carries;
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::audit::text;
use crate::model::catalog::Command;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "rewrite-rule",
    family: Family::SideDoors,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a rewrite rule reads or writes tenants' rows past row-level security",
    what: "A rule that a role of the application fires names a tenants' table that does not bind the rule's owner, or a table of another tenant's schema, and does not carry the tenant of the row at hand. Not reported: rules whose owner the policies bind.",
    why: "What a rule does, it does with the rights of the owner of the relation on which it stands, policies included.",
    example: "CREATE RULE copy AS ON INSERT TO app.notes DO ALSO\n  UPDATE app.tasks SET done = true WHERE note_id = NEW.id;",
    fix: "DROP RULE, or write a trigger that runs as its caller.",
    references: &["https://www.postgresql.org/docs/current/rules-privileges.html"],
    covers: &["code-rule"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for rule in &survey.catalog.around.rewrites {
        let Some(relation) = survey.catalog.relations.get(&rule.relation) else { continue };
        let Some((subject, held)) = survey.reaching(relation, rule.fires).next() else { continue };
        let reached = rule.reads.iter().find_map(|oid| {
            let base = survey.catalog.relations.get(oid)?;
            let free = || {
                Command::ALL
                    .into_iter()
                    .any(|command| survey.free(relation.owner, (*oid, base), command))
            };
            let foreign = survey.ground(base.schema).is_some_and(|ground| {
                ground.tenants.iter().all(|own| !subject.acts_for(&own.id))
            });
            // To add to a copy that nobody reads takes nothing from anybody.
            let adds = !survey.tenant_tables.contains(oid)
                && !text::relations(&rule.definition).uses(&base.name);
            let shared = survey.holds_rows(*oid) && !adds && free();
            (foreign || shared).then_some(base)
        });
        let Some(base) = reached else { continue };
        let said = rule.definition.as_str();
        if carries(survey, said) || survey.text_reads_context(said) || subject.closure.contains_key(&relation.owner) {
            continue;
        }
        let message = format!(
            "rule {} lets {held} by {} on {} work on {} as {}",
            rule.name,
            subject.name,
            relation.name,
            base.name,
            survey.catalog.role_name(relation.owner)
        );
        let fix = Fix::Sql(vec![sql!("DROP RULE {} ON {}", rule.name, relation.name)]);
        found.push(
            RULE.finding(survey.part("rule", &rule.name, relation), message, fix)
                .role(subject.name)
                .operation(held),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;
    use crate::model::catalog::*;
    use crate::model::surroundings::Rewrite;

    #[test]
    fn a_rule_that_reaches_further_is_accused_and_one_that_carries_the_tenant_is_not() {
        let mut world = World::new();
        let (notes, tasks) = (world.relation_oid("app.notes"), world.relation_oid("app.tasks"));
        world.table_mut("app.tasks").forced = false;
        world.table_mut("app.notes").forced = false;
        world.catalog.around.rewrites.push(Rewrite {
            name: ident("copy"),
            relation: notes,
            fires: Privileges::NONE.with(Privilege::Insert),
            definition: "INSERT INTO app.tasks (tenant_id) VALUES (new.tenant_id)".to_owned(),
            reads: vec![tasks],
        });
        assert!(world.findings("rewrite-rule").is_empty());
        world.catalog.around.rewrites[0].definition = "UPDATE app.tasks SET n = 1".to_owned();
        assert_eq!(world.findings("rewrite-rule").len(), 1);
        world.table_mut("app.tasks").forced = true;
        assert!(world.findings("rewrite-rule").is_empty());
    }
}
