//! An event trigger that grants, or that the application can rewrite.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::audit::text;

pub(super) static RULE: Rule = Rule {
    id: "event-trigger-grants",
    family: Family::SideDoors,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "an event trigger grants on what is made, or is the application's to rewrite",
    what: "An event trigger's function grants, or is owned by a role of the application. High when it grants to the application or to PUBLIC, or is the application's own, medium otherwise. Not reported: event triggers that only look.",
    why: "It runs for every role that makes or changes an object, with that role's rights: a grant opens each new table before anybody wrote a policy for it, and a function of the application's runs its code as whoever migrates.",
    example: "CREATE EVENT TRIGGER open ON ddl_command_end EXECUTE FUNCTION app.grant_all_to_app();",
    fix: "Grant in migrations, by name; let the function belong to the role that migrates.",
    references: &["https://www.postgresql.org/docs/current/event-triggers.html"],
    covers: &["code-event-trigger"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for trigger in &survey.catalog.around.event_triggers {
        let Some(function) = survey.catalog.functions.get(&trigger.function) else { continue };
        let writer = survey.users_of(function.owner).next();
        let grants = text::relations(&function.body).says("grant");
        let name = function.signature();
        let (message, grave) = match writer {
            Some(writer) => (
                format!(
                    "{} can rewrite {name}, which event trigger {} runs as whoever makes an object",
                    writer.name, trigger.name
                ),
                Severity::High,
            ),
            None if grants => {
                let names = text::relations(&function.body);
                let ours = names.says("public")
                    || survey.subjects.iter().any(|subject| names.says(subject.name.as_str()));
                (
                    format!("event trigger {} grants on what is made, by {name}", trigger.name),
                    if ours { Severity::High } else { RULE.severity },
                )
            }
            None => continue,
        };
        let fix = Fix::Advice(format!("drop event trigger {}, or change {name}", trigger.name));
        let finding =
            RULE.finding(survey.object("event trigger", &trigger.name), message, fix).severity(grave);
        found.push(match writer {
            Some(writer) => finding.role(writer.name),
            None => finding,
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;
    use crate::model::surroundings::EventTrigger;

    #[test]
    fn what_grants_is_accused_and_what_only_looks_is_not() {
        let mut world = World::new();
        let function = world.function("app", "on_ddl", "admin", "BEGIN RAISE LOG 'made'; END");
        world.catalog.functions.get_mut(&function).unwrap().for_triggers = true;
        world.catalog.around.event_triggers.push(EventTrigger {
            name: ident("made"),
            event: "ddl_command_end".to_owned(),
            function,
        });
        assert!(world.rules().is_empty());
        let text = "BEGIN EXECUTE 'GRANT SELECT ON ALL TABLES IN SCHEMA app TO app_rw'; END";
        world.catalog.functions.get_mut(&function).unwrap().body = text.to_owned();
        assert_eq!(world.findings("event-trigger-grants")[0].severity, Severity::High);
        let text = "BEGIN EXECUTE 'GRANT SELECT ON ALL TABLES IN SCHEMA app TO stranger'; END";
        world.catalog.functions.get_mut(&function).unwrap().body = text.to_owned();
        assert_eq!(world.findings("event-trigger-grants")[0].severity, Severity::Medium);
        let owner = world.oid("app_rw");
        world.catalog.functions.get_mut(&function).unwrap().owner = owner;
        assert_eq!(world.findings("event-trigger-grants")[0].severity, Severity::High);
    }
}
