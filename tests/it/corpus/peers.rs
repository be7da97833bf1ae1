//! What else there is: pgrls and splinter's security lints, on the same designs.
//!
//! They know neither tenants nor the application's roles, so they are helped where they can be: pgrls
//! is given every schema, splinter is told that the application's roles are what it looks at.

use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use serde_json::Value;
use tenantctl::audit::Severity;

use super::design::{Design, Family};
use super::stage::Stage;
use super::tool::{Answer, Claim};

/// The peers that are at hand: what `scripts/corpus-peers` installed.
pub(super) struct Peers {
    pgrls: Option<PathBuf>,
    splinter: Option<String>,
}

/// A tool and what it answers.
pub(super) type Said = Vec<(&'static str, Answer)>;

impl Peers {
    pub(super) fn at_hand() -> Self {
        let path = |name: &str| std::env::var_os(name).map(PathBuf::from);
        Self {
            pgrls: path("TENANTCTL_PGRLS"),
            splinter: path("TENANTCTL_SPLINTER").map(|path| std::fs::read_to_string(path).unwrap()),
        }
    }

    pub(super) fn ask(&self, stage: &Stage, family: &Family, design: &Design) -> Said {
        let mut said = Vec::new();
        if let Some(program) = &self.pgrls {
            let answer = pgrls(program, stage, family);
            let errors = Answer {
                claims: answer
                    .claims
                    .iter()
                    .filter(|claim| claim.severity == Severity::Critical)
                    .cloned()
                    .collect(),
                took: answer.took,
                broken: answer.broken.clone(),
            };
            said.push(("pgrls lint, errors and warnings", answer));
            said.push(("pgrls lint, errors", errors));
        }
        if let Some(sql) = &self.splinter {
            said.push(("splinter, security lints", splinter(sql, stage, family, design)));
        }
        said
    }
}

/// Errors count as critical, warnings as high, and the rest as not said: its gate is at warnings.
fn pgrls(program: &PathBuf, stage: &Stage, family: &Family) -> Answer {
    let started = Instant::now();
    let mut answer = Answer::default();
    for database in &family.databases {
        let url = stage.world.url(database, "postgres");
        let schemas = schemas(stage, database).join(",");
        let output = Command::new(program)
            .args(["lint", "--format", "json", "--database-url", &url, "--schemas", &schemas])
            .current_dir(stage.world.work_dir())
            .output()
            .unwrap();
        let Ok(report) = serde_json::from_slice::<Value>(&output.stdout) else {
            answer.broken = Some(String::from_utf8_lossy(&output.stderr).trim().to_owned());
            break;
        };
        for violation in report["violations"].as_array().unwrap() {
            let rule = violation["rule_id"].as_str().unwrap_or_default();
            let severity = match violation["severity"].as_str() {
                Some("error") => Severity::Critical,
                Some("warning") => Severity::High,
                _ => continue,
            };
            // Speed and style are no answer to the question.
            if !(rule.starts_with("SEC") || rule.starts_with("VIEW")) {
                continue;
            }
            let place = violation["location"].as_str().unwrap_or_default();
            let parts: Vec<&str> = place.split('.').collect();
            let mut names = vec![place.to_owned()];
            names.extend(parts.get(..2).map(|parts| parts.join(".")));
            let message = violation["message"].as_str().unwrap_or_default().to_owned();
            answer.claims.push(Claim {
                rule: rule.to_owned(),
                severity,
                names,
                observed: false,
                message,
            });
        }
    }
    answer.took = started.elapsed();
    answer
}

fn schemas(stage: &Stage, database: &str) -> Vec<String> {
    let rows = stage.world.rows_in(
        database,
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'",
    );
    rows.into_iter().flatten().collect()
}

/// What splinter looks at are two roles of its makers: the application's roles play them.
fn splinter(sql: &str, stage: &Stage, family: &Family, design: &Design) -> Answer {
    let started = Instant::now();
    let mut answer = Answer::default();
    let (_, login, _) = family.entrance(design);
    for database in &family.databases {
        let mut session = stage.world.session(database, "postgres");
        let schemas = schemas(stage, database).join(", ");
        let roles = session.rows(
            "SELECT quote_ident(rolname) FROM pg_roles WHERE oid >= 16384 AND NOT rolbypassrls
             AND NOT rolsuper AND rolname !~ 'owner|admin' AND rolname <> 'platform'",
        );
        let roles: Vec<String> = roles.into_iter().flatten().collect();
        let roles = if roles.is_empty() { format!("\"{login}\"") } else { roles.join(", ") };
        session.sql(&format!(
            "BEGIN; CREATE ROLE anon; CREATE ROLE authenticated; GRANT {roles} TO authenticated;
             SET LOCAL pgrst.db_schemas = '{schemas}'"
        ));
        match session.attempt(sql) {
            Err(why) => {
                answer.broken = Some(format!("{}: {}", why.sqlstate, why.message));
                break;
            }
            Ok(rows) => answer.claims.extend(rows.iter().filter_map(|row| lint(row))),
        }
        session.sql("ROLLBACK");
    }
    answer.took = started.elapsed();
    answer
}

/// A row of its answer: name, title, level, facing, categories, description, detail, remediation,
/// metadata, key.
fn lint(row: &[String]) -> Option<Claim> {
    let severity = match row.get(2)?.as_str() {
        "ERROR" => Severity::Critical,
        "WARN" => Severity::High,
        _ => return None,
    };
    if !row.get(4)?.contains("SECURITY") {
        return None;
    }
    let about: Value = serde_json::from_str(row.get(8)?).ok()?;
    let name = about["name"].as_str().unwrap_or_default();
    let names = match about["schema"].as_str() {
        Some(schema) => vec![format!("{schema}.{name}")],
        None => vec![name.to_owned()],
    };
    Some(Claim {
        rule: row[0].clone(),
        severity,
        names,
        observed: false,
        message: row.get(6)?.clone(),
    })
}
