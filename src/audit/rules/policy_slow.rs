//! A policy that keeps the planner from its work.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::audit::text;
use crate::model::catalog::{Command, Policy, Privileges, Relation};

pub(super) static RULE: Rule = Rule {
    id: "policy-slow",
    family: Family::Performance,
    severity: Severity::Info,
    evidence: Evidence::Static,
    title: "a policy costs more than it must",
    what: "Once for each table: the tenant is asked for once for each row, because the call does not stand in a subquery of its own; a policy's function is VOLATILE (low) or not PARALLEL SAFE; a subquery is correlated; more than two permissive policies govern one command. Nothing here lets rows across.",
    why: "A policy is part of every query. A call in (SELECT …) is evaluated once, a volatile one keeps indexes from being used, an unsafe one keeps queries from running in parallel.",
    example: "CREATE POLICY own ON app.notes USING (tenant_id = app.current_tenant());",
    fix: "Compare the tenant column with (SELECT …), with functions that are STABLE and PARALLEL SAFE.",
    references: &["https://www.postgresql.org/docs/current/xfunc-volatility.html", "https://www.postgresql.org/docs/current/parallel-safety.html"],
    covers: &["speed-context", "speed-volatile", "speed-correlated", "speed-many"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    for (oid, table) in survey.tables().filter(|(_, table)| table.rls && table.parent.is_none()) {
        let Some((subject, held)) = survey.reaching(table, Privileges::ROWS).next() else { continue };
        let mut costs = Vec::new();
        let mut grave = RULE.severity;
        for policy in survey.policies(oid).iter().filter(|p| survey.applies(p, subject.role)) {
            let functions: Vec<_> =
                policy.functions.iter().filter_map(|f| survey.catalog.functions.get(f)).collect();
            if let Some(function) = functions.iter().find(|function| function.volatility == 'v') {
                grave = Severity::Low;
                costs.push(format!("{} is VOLATILE", function.signature()));
            } else if let Some(function) = functions.iter().find(|function| !function.parallel) {
                costs.push(format!("{} is not PARALLEL SAFE", function.signature()));
            }
            let sides = [policy.using.as_deref(), policy.check.as_deref()];
            if let Some(cost) = sides.into_iter().flatten().find_map(|side| shape(survey, policy, table, side)) {
                costs.push(format!("policy {} {cost}", policy.name));
            }
        }
        for command in Command::ALL.into_iter().filter(|command| held.has(command.privilege())) {
            let many = survey
                .policies(oid)
                .iter()
                .filter(|p| p.permissive && p.governs(command) && survey.applies(p, subject.role))
                .count();
            if many > 2 {
                costs.push(format!("{many} permissive policies for {command}"));
                break;
            }
        }
        costs.dedup();
        if costs.is_empty() {
            continue;
        }
        let message = format!("{}: {}", table.name, costs.join("; "));
        let fix = Fix::Advice(
            "tenant column = (SELECT …), with functions that are STABLE and PARALLEL SAFE".to_owned(),
        );
        found.push(
            RULE.finding(survey.relation(table), message, fix).severity(grave).role(subject.name),
        );
    }
    found
}

/// What is costly about a condition's shape.
fn shape(survey: &Survey<'_>, policy: &Policy, table: &Relation, side: &str) -> Option<String> {
    let names = text::relations(side);
    let subquery = names.says("select");
    if !policy.reads.is_empty() {
        let column = |column: &crate::model::ident::Ident| {
            names.pairs(table.name.name.as_str(), column.as_str())
        };
        let correlated = table.columns.iter().any(|own| column(&own.name));
        return correlated.then(|| "runs a subquery for each row".to_owned());
    }
    let asks = survey.text_reads_context(side) || names.says("current_setting");
    (asks && !subquery).then(|| "asks for the tenant once for each row".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;

    #[test]
    fn a_call_for_each_row_is_told_from_one_in_a_subquery() {
        let mut world = World::new();
        assert!(world.rules().is_empty());
        let bare = "(tenant_id = (current_setting('app.tenant_id'::text))::uuid)";
        world.policy_mut().using = Some(bare.to_owned());
        let found = world.findings("policy-slow");
        assert_eq!((found.len(), found[0].severity), (1, Severity::Info));
    }

    #[test]
    fn a_volatile_function_is_low() {
        let mut world = World::new();
        let body = "SELECT current_setting('app.tenant_id')::uuid";
        let function = world.function("app", "tenant", "app_owner", body);
        world.policy_mut().functions = vec![function];
        assert!(world.rules().is_empty());
        world.catalog.functions.get_mut(&function).unwrap().volatility = 'v';
        assert_eq!(world.findings("policy-slow")[0].severity, Severity::Low);
    }
}
