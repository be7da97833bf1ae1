//! A trigger that works with rights other than those of whoever fires it.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::routine::touched;
use crate::audit::survey::Survey;
use crate::audit::text;

pub(super) static RULE: Rule = Rule {
    id: "trigger-definer",
    family: Family::SideDoors,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a trigger reads or writes tenants' rows past row-level security",
    what: "A trigger's SECURITY DEFINER function, whose owner no policy binds, names a tenants' table and compares neither with the tenant column of the row that is written nor with the tenant setting. Not reported: triggers that stamp, and audit triggers that write the row's own tenant.",
    why: "Everybody who writes the table has the function run: it can look another tenant's row up into the new one, or write rows for others.",
    example: "CREATE FUNCTION app.fill() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS\n  'BEGIN SELECT body INTO NEW.body FROM app.notes WHERE id = NEW.copy_of; RETURN NEW; END';",
    fix: "Use SECURITY INVOKER, an owner that the policies bind, or a comparison with NEW.",
    references: &["https://www.postgresql.org/docs/current/plpgsql-trigger.html"],
    covers: &["code-trigger"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for trigger in &survey.catalog.triggers {
        let Some(function) = survey.catalog.functions.get(&trigger.function) else { continue };
        let Some(table) = survey.catalog.relations.get(&trigger.relation) else { continue };
        // What is written through a view no policy has checked: its tenant is the caller's word.
        let carries = !table.kind.is_view() && carries(survey, &function.body);
        // It fires for the current tenant's rows alone.
        let bound = trigger.condition.as_deref().is_some_and(|condition| {
            survey.text_reads_context(condition) && self::carries(survey, condition)
        });
        if !function.definer || carries || bound {
            continue;
        }
        let Some(touched) = touched(survey, trigger.function, function) else { continue };
        let home = survey.ground(table.schema).is_some();
        let Some((subject, held)) = survey.reaching(table, trigger.fires).next() else { continue };
        // In its own schema a tenant's function works on its own tables.
        if (home && !touched.foreign) || subject.closure.contains_key(&function.owner) {
            continue;
        }
        let name = function.signature();
        let message = format!(
            "{} fires trigger {} of {}, whose function {name} runs as {} and {}",
            subject.name,
            trigger.name,
            table.name,
            survey.catalog.role_name(function.owner),
            touched.what
        );
        let fix = Fix::Advice(format!(
            "ALTER FUNCTION {name} SECURITY INVOKER, or compare with the tenant of NEW"
        ));
        found.push(
            RULE.finding(survey.part("trigger", &trigger.name, table), message, fix)
                .role(subject.name)
                .operation(held),
        );
    }
    found
}

/// Whether a text uses the tenant of the row at hand.
pub(super) fn carries(survey: &Survey<'_>, body: &str) -> bool {
    let Some(tenancy) = &survey.estate.tenancy else { return false };
    let names = text::relations(body);
    ["new", "old"].iter().any(|row| names.pairs(row, tenancy.column.as_str()))
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn a_look_up_is_accused_and_an_audit_of_the_rows_own_tenant_is_not() {
        let mut world = World::new();
        let body = "INSERT INTO app.tasks (tenant_id) VALUES (NEW.tenant_id)";
        let audit = world.function("app", "audit", "admin", body);
        world.trigger(audit);
        assert!(world.rules().is_empty(), "{:?}", world.check());
        let body = "SELECT t.title INTO NEW.title FROM app.tasks t WHERE t.id = NEW.copy_of";
        let fill = world.function("app", "fill", "admin", body);
        world.trigger(fill);
        assert_eq!(world.rules(), ["trigger-definer"]);
        let owner = world.oid("app_owner");
        world.catalog.functions.get_mut(&fill).unwrap().owner = owner;
        assert!(world.rules().is_empty(), "policies bind the owner");
    }
}
