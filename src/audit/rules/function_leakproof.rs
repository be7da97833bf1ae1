//! A function that is said to tell nothing, and runs before the policies.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::audit::text;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "function-leakproof",
    family: Family::Functions,
    severity: Severity::Medium,
    evidence: Evidence::Static,
    title: "a function that somebody wrote is declared LEAKPROOF",
    what: "A function that somebody wrote is declared LEAKPROOF, and the application may call it. High when its text raises, writes or divides, medium when it only might. Not reported: functions written in C.",
    why: "The planner may call it on rows before the policies have looked at them; what it raises or writes tells about rows that are hidden.",
    example: "CREATE FUNCTION app.norm(text) RETURNS text LANGUAGE plpgsql LEAKPROOF\n  AS 'BEGIN RAISE NOTICE ''%'', $1; RETURN $1; END';",
    fix: "ALTER FUNCTION … NOT LEAKPROOF.",
    references: &["https://www.postgresql.org/docs/current/rules-privileges.html"],
    covers: &["code-leakproof"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let guarded = survey.rows().any(|(_, table)| table.rls);
    for function in survey.catalog.functions.values().filter(|function| function.leakproof) {
        let compiled = ["c", "internal"].contains(&function.language.as_str());
        let caller = survey.entering(function.schema).find(|s| survey.calls(s, function));
        let Some(caller) = caller.filter(|_| guarded && !compiled) else { continue };
        let names = text::relations(&function.body);
        let tells = ["raise", "insert", "update", "perform", "execute", "pg_notify", "notify"]
            .iter()
            .any(|word| names.says(word))
            || function.body.contains('/');
        let grave = if tells { Severity::High } else { RULE.severity };
        let name = function.signature();
        let message = format!("{name} is LEAKPROOF, and {} may call it on hidden rows", caller.name);
        let fix = Fix::Sql(vec![survey.alter_function(function, &sql!("NOT LEAKPROOF"))]);
        found.push(
            RULE.finding(survey.object("function", &name), message, fix)
                .severity(grave)
                .role(caller.name)
                .operation("EXECUTE"),
        );
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;

    #[test]
    fn what_raises_is_high_and_what_nobody_may_call_is_nothing() {
        let mut world = World::new();
        let function = world.function("app", "norm", "app_owner", "SELECT lower($1)");
        assert!(world.rules().is_empty());
        let norm = world.catalog.functions.get_mut(&function).unwrap();
        norm.leakproof = true;
        assert_eq!(world.findings("function-leakproof")[0].severity, Severity::Medium);
        let norm = world.catalog.functions.get_mut(&function).unwrap();
        norm.body = "BEGIN RAISE NOTICE '%', $1; RETURN $1; END".to_owned();
        assert_eq!(world.findings("function-leakproof")[0].severity, Severity::High);
        world.catalog.functions.get_mut(&function).unwrap().grants.clear();
        assert!(world.rules().is_empty());
    }
}
