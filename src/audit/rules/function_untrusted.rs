//! A function in a language that may do what the server's own account may.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::routine::runner;
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "function-untrusted",
    family: Family::Functions,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "the application can run a function in an untrusted language",
    what: "The application can run a function in an untrusted language: plpython3u, plperlu, C, internal. Not reported: functions that came with an extension.",
    why: "Such a function runs as the account of the server, reads every database's files and opens connections, whatever its owner may do. What it lets its caller choose is beyond a catalogue.",
    example: "CREATE FUNCTION app.render(text) RETURNS text LANGUAGE plpython3u AS '…';",
    fix: "Read it; REVOKE EXECUTE, or write it in a trusted language.",
    references: &["https://www.postgresql.org/docs/current/sql-createlanguage.html"],
    covers: &["code-untrusted"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, function) in &survey.catalog.functions {
        if function.trusted {
            continue;
        }
        let Some(caller) = runner(survey, *oid, function) else { continue };
        let name = function.signature();
        let message = format!(
            "{} can have {name} run, which is written in {}, an untrusted language",
            caller.name, function.language
        );
        let fix = Fix::Advice(format!(
            "read {name}; REVOKE EXECUTE ON FUNCTION {name} FROM PUBLIC, {}",
            caller.name
        ));
        found.push(
            RULE.finding(survey.object("function", &name), message, fix)
                .role(caller.name)
                .operation("EXECUTE"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn an_untrusted_function_is_accused_where_it_can_be_run() {
        let mut world = World::new();
        let function = world.function("app", "render", "app_owner", "return 1");
        assert!(world.rules().is_empty());
        world.catalog.functions.get_mut(&function).unwrap().trusted = false;
        assert_eq!(world.rules(), ["function-untrusted"]);
        world.catalog.functions.get_mut(&function).unwrap().grants.clear();
        assert!(world.rules().is_empty());
    }
}
