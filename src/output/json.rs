//! JSON: documents of their own shape, so that the code may change and they may not.
//!
//! `format` counts incompatible changes; adding a field is none. Keys are in snake case; lists are
//! sorted by their report; secrets appear only where they were asked for, in `credentials`.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::{Value, json};

use crate::model::migration::Version;
use crate::model::tenant::{Tenant, TenantId};
use crate::report::{
    AuditedDatabase, Configuration, Demo, Doctor, End, Failure, Listed, Planned, Provisioned,
    Report, Scene, Source, Tenants, Verified,
};

/// The number of the format.
pub(super) const FORMAT: u32 = 1;

/// One document, indented, with a line's end.
pub(super) fn document(report: &Report) -> String {
    text(&value(report))
}

/// One line per item of a list, each with its format; what is no list is one line.
pub(super) fn lines(report: &Report) -> String {
    let whole = value(report);
    let list = match report {
        Report::Tenants(_) => Some("tenants"),
        Report::Migration(_)
        | Report::Rewritten(_)
        | Report::Rollout(_)
        | Report::Run(_)
        | Report::Credentials(_)
        | Report::Settled(_)
        | Report::Adopted(_)
        | Report::Lived(_) => Some("targets"),
        Report::CredentialList(_) => Some("credentials"),
        Report::Compared(_) => Some("deviants"),
        Report::Runs(_) | Report::Pruned(_) => Some("runs"),
        Report::Moves(_) => Some("moves"),
        Report::Erasing(_) => Some("tables"),
        Report::Log(_) => Some("events"),
        Report::Findings(_) | Report::Linted(_) => Some("findings"),
        Report::Metrics(_) => Some("metrics"),
        Report::Doctor(_) => Some("checks"),
        Report::Rules(_) => Some("rules"),
        Report::Matrix(_) => Some("matrix"),
        _ => None,
    };
    match list.and_then(|key| whole.get(key)).and_then(Value::as_array) {
        Some(items) => items.iter().map(line).collect(),
        None => line(&whole),
    }
}

fn line(item: &Value) -> String {
    let mut item = item.clone();
    item["format"] = FORMAT.into();
    format!("{item}\n")
}

pub(super) fn text(value: &impl Serialize) -> String {
    match serde_json::to_string_pretty(value) {
        Ok(text) => text + "\n",
        Err(error) => format!(
            "{{\"format\": {FORMAT}, \"error\": {{\"message\": {:?}}}}}\n",
            error.to_string()
        ),
    }
}

fn value(report: &Report) -> Value {
    match report {
        Report::Provisioned(provisioned) => self::provisioned(provisioned),
        Report::Planned(planned) => self::planned(planned),
        Report::Credentials(answer) => super::credentials::json(answer),
        Report::Settled(answer) => super::settled::json(answer),
        Report::Adopted(answer) => super::adopted::json(answer),
        Report::CredentialList(answer) => super::credentials::list_json(answer),
        Report::Tenants(tenants) => self::tenants(tenants),
        Report::Tenant(listed) => json!({"format": FORMAT, "tenant": self::listed(listed)}),
        Report::Migration(run) => super::migration::json(run),
        Report::Moved(answer) => super::moved::document(answer),
        Report::Erasing(answer) => super::erased::document(answer),
        Report::Moves(answer) => super::moved::moves_document(answer),
        Report::Runs(runs) => super::runs::runs_json(runs),
        Report::Run(run) => super::runs::run_json(run),
        Report::Pruned(answer) => super::pruned::json(answer),
        Report::Lived(answer) => super::lived::json(answer),
        Report::Log(log) => super::trail::log_json(log),
        Report::LogVerified(answer) => super::trail::verified_json(answer),
        Report::Metrics(run) => super::metrics::fleet_json(run),
        Report::Rewritten(rewritten) => super::rewritten::json(rewritten),
        Report::Rollout(answer) => super::rollout::document(answer),
        Report::Compared(answer) => super::compared::document(answer),
        Report::Findings(verified) => findings(verified),
        Report::Matrix(answer) => super::matrix::json(answer),
        Report::Rule(rule) => super::explained::json(rule),
        Report::Rules(rules) => super::explained::list_json(rules),
        Report::Linted(linted) => super::linted::json(linted),
        Report::NewMigration(made) => super::new_migration::json(made),
        Report::Doctor(doctor) => self::doctor(doctor),
        Report::Configuration(configuration) => self::configuration(configuration),
        Report::Demo(demo) => self::demo(demo),
        Report::Drill(answer) => super::drilled::json(answer),
        Report::Transferred(answer) => super::transferred::json(answer),
        Report::Text(text) => json!({"format": FORMAT, "text": text}),
    }
}

/// The stable fields of a tenant.
#[derive(Serialize)]
struct TenantFields<'a> {
    id: &'a str,
    uuid: String,
    key: &'a str,
    isolation: &'a str,
    cluster: &'a str,
    database: &'a str,
    schema: &'a str,
    owner: &'a str,
    role: &'a str,
    roles: Vec<&'a str>,
    tier: Option<&'a str>,
    region: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    state: &'a str,
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
}

pub(super) fn tenant<'a>(
    tenant: &'a Tenant,
    version: Option<Version>,
    error: Option<&'a str>,
) -> Value {
    let fields = TenantFields {
        id: tenant.id.as_str(),
        uuid: tenant.uuid.to_string(),
        key: &tenant.key,
        isolation: tenant.isolation.word(),
        cluster: tenant.placement.cluster.as_str(),
        database: tenant.placement.database.as_str(),
        schema: tenant.placement.schema.as_str(),
        owner: tenant.owner.as_str(),
        role: tenant.role().as_str(),
        roles: tenant.roles.iter().map(crate::model::ident::Ident::as_str).collect(),
        tier: tenant.tier.as_deref(),
        region: tenant.region.as_deref(),
        labels: &tenant.labels,
        state: tenant.state.word(),
        version: version.map(|version| version.0),
        error,
    };
    json!(fields)
}

fn listed(listed: &Listed) -> Value {
    let mut value = tenant(&listed.tenant, listed.version, listed.unread.as_deref());
    if let Some(password) = &listed.password {
        value["password"] = super::credentials::known_json(password);
    }
    value
}

fn tenants(tenants: &Tenants) -> Value {
    let source = match tenants.source {
        Source::Registry => "registry",
        Source::Declared => "tenants.toml",
    };
    json!({
        "format": FORMAT,
        "source": source,
        "tenants": tenants.tenants.iter().map(listed).collect::<Vec<_>>(),
    })
}

fn provisioned(answer: &Provisioned) -> Value {
    let credentials: Vec<Value> = answer
        .credentials
        .iter()
        .map(|one| json!({"role": one.role.as_str(), "password": one.password.expose()}))
        .collect();
    json!({
        "format": FORMAT,
        "outcome": answer.outcome.word(),
        "tenant": tenant(&answer.tenant, answer.version, None),
        "steps": answer.steps,
        "notes": answer.notes,
        "credentials": credentials,
        "credentials_file": answer.credentials_file,
    })
}

fn planned(planned: &Planned) -> Value {
    let steps: Vec<Value> = planned
        .steps
        .iter()
        .map(|step| {
            json!({
                "step": step.what,
                "site": step.site,
                "hazards": step.hazards.iter().map(|hazard| hazard.word()).collect::<Vec<_>>(),
                "sql": step.statements.iter().map(crate::sql::Sql::as_str).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "format": FORMAT,
        "tenant": tenant(&planned.tenant, None, None),
        "steps": steps,
        "hazards": planned.hazards.iter().map(|hazard| hazard.word()).collect::<Vec<_>>(),
        "notes": planned.notes,
    })
}

pub(super) fn failure(failure: &Failure) -> Value {
    json!({
        "code": failure.code.id(),
        "sqlstate": failure.sqlstate,
        "message": failure.message,
        "file": failure.file,
        "line": failure.line,
        "column": failure.column,
        "details": failure.details,
        "hints": failure.hints,
    })
}

/// The databases of an audit.
pub(super) fn targets(databases: &[AuditedDatabase]) -> Value {
    let target = |target: &AuditedDatabase| {
        json!({
            "cluster": target.cluster.as_str(),
            "database": target.database.as_str(),
            "tenants": target.tenants,
            "findings": target.findings,
            "status": target.status(),
            "error": target.error.as_ref().map(failure),
        })
    };
    databases.iter().map(target).collect()
}

fn findings(verified: &Verified) -> Value {
    let report = &verified.report;
    json!({
        "format": FORMAT,
        "fail_on": verified.fail_on,
        "pairs": verified.pairs,
        "interrupted": verified.interrupted,
        "summary": report.summary,
        "coverage": report.coverage,
        "findings": report.findings,
        "suppressed": report.suppressed,
        "baseline": {
            "file": verified.baseline,
            "written": verified.written_baseline.as_ref().map(|(file, _)| file),
            "known": report.known().count(),
            "gone": verified.gone,
        },
        "allow": {"unused": verified.unused, "expired": verified.expired},
        "fixes": verified.fixes,
        "assumptions": report.assumptions,
        "targets": targets(&verified.databases),
        "not_probed": report.not_probed,
        "unseen": report.unseen,
    })
}

fn doctor(doctor: &Doctor) -> Value {
    let checks: Vec<Value> = doctor
        .checks
        .iter()
        .map(|check| {
            json!({
                "subject": check.subject,
                "check": check.name,
                "health": check.health.word(),
                "detail": check.detail,
                "hint": check.hint,
            })
        })
        .collect();
    json!({"format": FORMAT, "checks": checks})
}

fn configuration(configuration: &Configuration) -> Value {
    let clusters: BTreeMap<&str, Value> = configuration
        .clusters
        .iter()
        .map(|cluster| {
            let parameters: BTreeMap<&str, Value> = cluster
                .parameters
                .iter()
                .map(|shown| {
                    let value = json!({"value": shown.value, "origin": shown.origin.to_string()});
                    (shown.parameter, value)
                })
                .collect();
            let value = json!({
                "region": cluster.region,
                "max_connections": cluster.max_connections,
                "parameters": parameters,
                "warnings": cluster.warnings,
            });
            (cluster.name.as_str(), value)
        })
        .collect();
    let values: BTreeMap<&str, Value> = configuration
        .values
        .iter()
        .map(|shown| {
            let value = json!({"value": shown.value, "origin": shown.origin.to_string()});
            (shown.path.as_str(), value)
        })
        .collect();
    json!({
        "format": FORMAT,
        "file": configuration.file,
        "clusters": clusters,
        "values": values,
    })
}

fn demo(demo: &Demo) -> Value {
    let trials: Vec<Value> = demo
        .trials()
        .map(|trial| {
            json!({
                "claim": trial.claim,
                "role": trial.role.as_str(),
                "tenant": trial.tenant.as_ref().map(TenantId::as_str),
                "statements": trial.statements,
                "answer": trial.answer,
                "sqlstate": trial.sqlstate,
                "held": trial.held,
            })
        })
        .collect();
    let commands: Vec<Value> = demo
        .scenes
        .iter()
        .filter_map(|scene| match scene {
            Scene::Command { line, answer, .. } => {
                Some(json!({"command": line, "answer": value(answer)}))
            }
            _ => None,
        })
        .collect();
    let server = demo.scenes.iter().find_map(|scene| match scene {
        Scene::Server { version, directory, .. } => {
            Some(json!({"version": version, "directory": directory}))
        }
        _ => None,
    });
    let kept = match &demo.end {
        End::Kept(kept) => {
            let tenants: BTreeMap<&str, &str> = kept
                .tenants
                .iter()
                .map(|tenant| (tenant.id.as_str(), tenant.url.as_str()))
                .collect();
            json!({
                "config": kept.config,
                "pid": kept.pid,
                "stop": kept.stop,
                "url": kept.operator,
                "tenants": tenants,
            })
        }
        End::Removed | End::Left(_) => Value::Null,
    };
    let left = match &demo.end {
        End::Left(directory) => json!(directory),
        End::Removed | End::Kept(_) => Value::Null,
    };
    json!({
        "format": FORMAT,
        "server": server,
        "commands": commands,
        "trials": trials,
        "kept": kept,
        "left_behind": left,
        "took_ms": u64::try_from(demo.took.as_millis()).unwrap_or(u64::MAX),
    })
}
