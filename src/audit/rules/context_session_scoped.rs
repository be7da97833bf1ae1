//! A function that leaves a tenant behind in the session.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::routine::runner;
use crate::audit::survey::Survey;

pub(super) static RULE: Rule = Rule {
    id: "context-session-scoped",
    family: Family::Context,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "a function sets the tenant for the rest of the session",
    what: "A function that the application can run sets the tenant setting with set_config(…, false), or with SET without LOCAL. Not reported: functions that set it for the transaction only.",
    why: "The setting outlives the transaction: behind a pooler the next client works as the tenant of the one before, until it sets its own.",
    example: "CREATE FUNCTION app.enter(uuid) RETURNS void LANGUAGE sql\n  AS 'SELECT set_config(''app.tenant_id'', $1::text, false)';",
    fix: "Use set_config(…, true) inside the transaction that needs it, and DISCARD ALL between clients.",
    references: &["https://www.postgresql.org/docs/current/functions-admin.html#FUNCTIONS-ADMIN-SET"],
    covers: &["context-session"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let Some(tenancy) = &survey.estate.tenancy else { return Vec::new() };
    let mut found = Vec::new();
    for (oid, function) in &survey.catalog.functions {
        if !outlives(&function.body, tenancy.setting.as_str()) {
            continue;
        }
        let Some(caller) = runner(survey, *oid, function) else { continue };
        let name = function.signature();
        let message = format!(
            "{name} sets {} beyond the transaction, and {} can have it run: the next client of a pooled session is that tenant",
            tenancy.setting, caller.name
        );
        let fix = Fix::Advice("set_config(…, true), or SET LOCAL".to_owned());
        found.push(
            RULE.finding(survey.object("function", &name), message, fix)
                .role(caller.name)
                .operation("EXECUTE"),
        );
    }
    found
}

/// Whether a text sets a setting beyond its transaction.
fn outlives(body: &str, setting: &str) -> bool {
    let text = body.to_ascii_lowercase();
    let setting = setting.to_ascii_lowercase();
    let calls = text.match_indices("set_config").any(|(at, call)| {
        let rest = text[at + call.len()..].trim_start();
        let Some(inside) = rest.strip_prefix('(') else { return false };
        let arguments = arguments(inside);
        match arguments.as_slice() {
            [name, _, local] => {
                name.contains(&setting) && local.split_whitespace().any(|word| word == "false")
            }
            _ => false,
        }
    });
    let plain = text.match_indices(&setting).any(|(at, _)| {
        let before = text[..at].trim_end_matches(['"', '\'', ' ']).trim_end();
        let after = text[at + setting.len()..].trim_start_matches(['"', ' ']);
        let sets = before.ends_with(" set") || before == "set" || before.ends_with("set session")
            || before.ends_with(";set") || before.ends_with("\nset") || before.ends_with("'set");
        sets && (after.starts_with('=') || after.starts_with("to "))
    });
    calls || plain
}

/// The arguments of a call, from after its opening parenthesis.
fn arguments(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let (mut depth, mut start, mut quoted) = (0, 0, false);
    for (at, c) in text.char_indices() {
        match c {
            '\'' => quoted = !quoted,
            '(' if !quoted => depth += 1,
            ')' if !quoted && depth == 0 => {
                found.push(text[start..at].trim());
                break;
            }
            ')' if !quoted => depth -= 1,
            ',' if !quoted && depth == 0 => {
                found.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::outlives;
    use crate::audit::fixture::*;

    #[test]
    fn what_outlives_the_transaction_is_told_from_what_does_not() {
        for body in [
            "SELECT set_config('app.tenant_id', coalesce($1, '')::text, false)",
            "PERFORM pg_catalog.set_config('app.tenant_id', p, is_local => false);",
            "BEGIN EXECUTE format('SET app.tenant_id = %L', p); END",
            "BEGIN SET SESSION app.tenant_id TO 'x'; END",
        ] {
            assert!(outlives(body, "app.tenant_id"), "{body}");
        }
        for body in [
            "SELECT set_config('app.tenant_id', $1::text, true)",
            "SELECT set_config('app.other', $1::text, false)",
            "BEGIN SET LOCAL app.tenant_id = 'x'; END",
            "SELECT current_setting('app.tenant_id', false)",
        ] {
            assert!(!outlives(body, "app.tenant_id"), "{body}");
        }
    }

    #[test]
    fn it_is_accused_where_it_can_be_run() {
        let mut world = World::new();
        let body = "SELECT set_config('app.tenant_id', $1::text, false)";
        let function = world.function("app", "enter", "app_owner", body);
        assert_eq!(world.rules(), ["context-session-scoped"]);
        world.catalog.functions.get_mut(&function).unwrap().grants.clear();
        assert!(world.rules().is_empty());
    }
}
