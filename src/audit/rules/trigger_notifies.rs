//! A trigger that tells everybody.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::audit::text;
use crate::model::catalog::Privileges;
use crate::model::tenant::Isolation;

pub(super) static RULE: Rule = Rule {
    id: "trigger-notifies",
    family: Family::SideDoors,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a trigger sends what is written to whoever listens",
    what: "A trigger of a table with tenants' rows calls pg_notify or NOTIFY. High when the row itself is sent, medium when a key or a name is. Not reported: notifications that tell nothing of the row, and a tenant's own database.",
    why: "LISTEN asks for no privilege, and a channel belongs to the whole database: every role that may connect hears every tenant's notifications.",
    example: "CREATE FUNCTION app.tell() RETURNS trigger LANGUAGE plpgsql AS\n  'BEGIN PERFORM pg_notify(''changes'', to_jsonb(NEW)::text); RETURN NULL; END';",
    fix: "Send a number that means nothing without a query that the policies bind.",
    references: &["https://www.postgresql.org/docs/current/sql-notify.html"],
    covers: &["code-notify"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for trigger in &survey.catalog.triggers {
        let Some(function) = survey.catalog.functions.get(&trigger.function) else { continue };
        let Some(table) = survey.catalog.relations.get(&trigger.relation) else { continue };
        let names = text::relations(&function.body);
        let notifies = names.says("pg_notify") || names.says("notify");
        let ground = survey.ground(table.schema);
        let concerned = match ground {
            Some(ground) => ground.tenants.iter().all(|own| own.isolation == Isolation::Schema),
            None => survey.holds_rows(trigger.relation),
        };
        // That something happened, and no more, tells nothing.
        let tells = names.says("new") || names.says("old");
        if !notifies || !concerned || !tells {
            continue;
        }
        let Some((subject, _)) = survey.reaching(table, Privileges::ROWS).next() else { continue };
        let whole = ["row_to_json", "to_json", "to_jsonb", "hstore", "json_build_object", "jsonb_build_object"]
            .iter()
            .any(|word| names.says(word))
            || function.body.to_ascii_lowercase().contains("new::text");
        let grave = if whole { Severity::High } else { RULE.severity };
        let what = if whole { "the row" } else { "of each change" };
        let message = format!(
            "trigger {} of {} tells {what} to everybody who listens, by {}",
            trigger.name,
            table.name,
            function.signature()
        );
        let fix = Fix::Advice("send a key that means nothing to others, and let them query".to_owned());
        found.push(
            RULE.finding(survey.part("trigger", &trigger.name, table), message, fix)
                .severity(grave)
                .role(subject.name),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;

    #[test]
    fn telling_is_medium_telling_the_row_is_high_and_silence_is_nothing() {
        let mut world = World::new();
        let function = world.function("app", "tell", "app_owner", "BEGIN RETURN NEW; END");
        world.catalog.functions.get_mut(&function).unwrap().definer = false;
        world.trigger(function);
        assert!(world.rules().is_empty());
        let body = |body: &str| body.to_owned();
        world.catalog.functions.get_mut(&function).unwrap().body =
            body("BEGIN PERFORM pg_notify('changes', NEW.id::text); RETURN NULL; END");
        assert_eq!(world.findings("trigger-notifies")[0].severity, Severity::Medium);
        world.catalog.functions.get_mut(&function).unwrap().body =
            body("BEGIN PERFORM pg_notify('changes', to_jsonb(NEW)::text); RETURN NULL; END");
        assert_eq!(world.findings("trigger-notifies")[0].severity, Severity::High);
    }
}
