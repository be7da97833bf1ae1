//! A policy that asks a function which the application may rewrite.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Object, Severity};
use crate::audit::routine::powerful;
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "policy-function-writable",
    family: Family::Policies,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a policy asks a function that the application can rewrite",
    what: "A policy calls a function whose owner the application is, or can become. Not reported: functions whose owner the application cannot become.",
    why: "A policy is as good as the functions that it calls. Whoever owns one can replace it, or give it a SET clause that names another tenant, and every policy that calls it opens.",
    example: "ALTER FUNCTION app.current_tenant() OWNER TO app_rw;",
    fix: "ALTER FUNCTION … OWNER TO the role that owns the tables.",
    references: &["https://www.postgresql.org/docs/current/sql-createfunction.html", "https://www.postgresql.org/docs/current/sql-createpolicy.html"],
    covers: &["code-rewritable"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.tables() {
        for policy in survey.policies(oid) {
            for function in
                policy.functions.iter().filter_map(|oid| survey.catalog.functions.get(oid))
            {
                // Whoever can act as the owner of the table is found by role-reaches-owner.
                let writer = survey
                    .users_of(function.owner)
                    .find(|subject| !subject.closure.contains_key(&table.owner));
                let Some(writer) = writer else { continue };
                let signature = function.signature();
                let message = format!(
                    "policy {} on {} asks {signature}, which {} can rewrite",
                    policy.name, table.name, writer.name
                );
                let fix = Fix::Advice(format!(
                    "ALTER FUNCTION {signature} OWNER TO {}",
                    survey.catalog.role_name(table.owner)
                ));
                let object = Object {
                    parent: Some(table.name.to_string()),
                    ..survey.object("policy", &policy.name)
                };
                found.push(RULE.finding(object, message, fix).role(writer.name));
            }
        }
    }
    for (oid, definer) in survey.catalog.functions.iter().filter(|(_, f)| f.definer) {
        if !survey.asks(*oid) || !powerful(survey, definer.owner) {
            continue;
        }
        for function in survey.called(&definer.body) {
            let writer = survey
                .users_of(function.owner)
                .find(|subject| !subject.closure.contains_key(&definer.owner));
            let Some(writer) = writer else { continue };
            let (signature, asked) = (function.signature(), definer.signature());
            let message = format!(
                "{asked}, which runs as {}, asks {signature}, which {} can rewrite",
                survey.catalog.role_name(definer.owner),
                writer.name
            );
            let fix = Fix::Advice(format!(
                "ALTER FUNCTION {signature} OWNER TO {}",
                survey.catalog.role_name(definer.owner)
            ));
            let object = survey.object("function", &signature);
            found.push(RULE.finding(object, message, fix).role(writer.name));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::fixture::*;

    #[test]
    fn the_applications_own_function_is_accused_and_the_owners_is_not() {
        let mut world = World::new();
        let body = "SELECT current_setting('app.tenant_id')::uuid";
        let sound = world.function("app", "current_tenant_id", "app_owner", body);
        world.policy_mut().functions = vec![sound];
        assert!(world.rules().is_empty());
        let own = world.function("app", "tenant", "app_rw", body);
        world.policy_mut().functions = vec![own];
        assert_eq!(world.rules(), ["policy-function-writable"]);
    }
}
