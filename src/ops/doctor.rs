//! Checks what every other command relies on, before it is needed.

use std::collections::BTreeMap;

use super::{Context, credentials};
use crate::config::Cluster;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::pooling::{Operation, Pooling};
use crate::model::tenant::{ClusterName, Isolation, Tenant};
use crate::pg::Pooler;
use crate::pg::readiness;
use crate::pg::registry::{self, Readiness};
use crate::pg::vitals::{Vitals, vitals};
use crate::report::{Doctor, Health, Report, Worry};

/// The oldest server that every statement of ours is spelled for.
const OLDEST: i32 = 140_000;

/// Checks the configuration, the migrations, every cluster and the registry. Changes nothing.
///
/// # Errors
///
/// None of its own: what does not work is part of the answer.
pub async fn doctor(cx: &Context<'_>) -> anyhow::Result<Report> {
    let mut doctor = Doctor::default();
    let source = cx
        .fleet
        .file
        .as_ref()
        .map_or_else(|| "a URL or the environment".to_owned(), |path| path.display().to_string());
    doctor.push("configuration", "read", Health::Ok, source);
    for isolation in Isolation::ALL {
        let set = cx.sets.of(isolation);
        let head = set.head().map_or_else(String::new, |head| format!(", newest V{head}"));
        let detail = format!(
            "{isolation}: {} in {}{head}",
            crate::model::count(set.migrations().len(), "migration"),
            set.name()
        );
        doctor.push("migrations", "usable", Health::Ok, detail);
    }
    for (name, cluster) in &cx.fleet.clusters {
        for warning in &cluster.connection.warnings {
            doctor.push(name.as_str(), "connection settings", Health::Warning, warning.clone());
        }
        match check_cluster(cx, name).await {
            Ok((vitals, pooler)) => {
                report_pooler(&mut doctor, name, cluster, &pooler);
                report_cluster(&mut doctor, name, cluster.max_connections, &vitals);
            }
            Err(error) => failed(&mut doctor, name.as_str(), "reachable", &error),
        }
    }
    let tenants = check_registry(cx, &mut doctor).await;
    check_probes(cx, &mut doctor, &tenants).await;
    Ok(Report::Doctor(doctor))
}

fn failed(doctor: &mut Doctor, subject: &str, name: &'static str, error: &Error) {
    doctor.push(subject, name, Health::Failed, super::list::short(error));
    if let Some(hint) = error.hints.first() {
        doctor.hint(hint.clone());
    }
}

async fn check_cluster(
    cx: &Context<'_>,
    name: &ClusterName,
) -> Result<(Vitals, [Pooler; 2]), Error> {
    let session = cx.servers.session(name, None).await?;
    let vitals = vitals(&session).await?;
    let pooler = session.pooler().await?.clone();
    drop(session);
    let lasting = cx.servers.lasting(name, None).await?;
    let beyond = lasting.pooler().await?.clone();
    Ok((vitals, [pooler, beyond]))
}

/// Says what stands before a cluster, when anything does; `beyond` is what stands on the way around.
fn report_pooler(
    doctor: &mut Doctor,
    name: &ClusterName,
    cluster: &Cluster,
    [pooler, beyond]: &[Pooler; 2],
) {
    let is_plain = pooler.pooling == Pooling::None && cluster.pooler.is_none();
    if is_plain && cluster.direct.is_none() {
        return;
    }
    let around = if cluster.direct.is_some() { "; direct_url leads around it" } else { "" };
    let detail = match pooler.pooling {
        Pooling::None => format!("none before the URL: {}", pooler.evidence),
        mode => format!("{mode} mode: {}{around}", pooler.evidence),
    };
    let passes = beyond.pooling.passes(Operation::Session);
    let health = if passes { Health::Ok } else { Health::Failed };
    doctor.push(name.as_str(), "pooler", health, detail);
    if passes {
        return;
    }
    if cluster.direct.is_some() {
        let detail = format!("leads to a pooler as well: {}", beyond.evidence);
        doctor.push(name.as_str(), "direct_url", Health::Failed, detail);
    }
    doctor.hint(if name.as_str() == ClusterName::DEFAULT {
        "let the URL name the server itself, not its pooler".to_owned()
    } else {
        format!("set direct_url of [clusters.{name}] to the address of the server itself")
    });
}

fn report_cluster(doctor: &mut Doctor, name: &ClusterName, budget: usize, vitals: &Vitals) {
    let subject = name.as_str();
    // The packager's remark behind the number says nothing that would be acted on.
    let version = vitals.version.split_whitespace().next().unwrap_or_default();
    doctor.push(
        subject,
        "reachable",
        Health::Ok,
        format!("PostgreSQL {version} as {}, {}", vitals.user, vitals.transport),
    );
    if vitals.version_num < OLDEST {
        doctor.push(
            subject,
            "version",
            Health::Failed,
            "PostgreSQL 14 is the oldest that is supported",
        );
        doctor.hint("upgrade the server");
    }
    let database = Ident::new(vitals.database.clone())
        .map_or_else(|_| vitals.database.clone(), |name| name.to_string());
    let user = Ident::new(vitals.user.clone())
        .map_or_else(|_| vitals.user.clone(), |name| name.to_string());
    let rights = [
        (vitals.may_create_roles, "may create roles", format!("ALTER ROLE {user} CREATEROLE;")),
        (
            vitals.may_create_databases,
            "may create databases",
            format!("ALTER ROLE {user} CREATEDB;"),
        ),
        (
            vitals.may_create_schemas,
            "may create schemas",
            format!("GRANT CREATE ON DATABASE {database} TO {user};"),
        ),
    ];
    for (has, name, grant) in rights {
        if has {
            doctor.push(subject, name, Health::Ok, format!("{user} does"));
        } else {
            doctor.push(subject, name, Health::Failed, format!("{user} does not"));
            doctor.hint(format!("as a superuser: {grant}"));
        }
    }
    if vitals.superuser {
        doctor.push(
            subject,
            "least power",
            Health::Warning,
            format!("{user} is a superuser: tenantctl needs CREATEROLE and CREATEDB only"),
        );
    }
    let free = vitals.max_connections - vitals.used_connections;
    let wanted = i32::try_from(budget).unwrap_or(i32::MAX);
    let detail =
        format!("{free} of {} free; tenantctl opens up to {budget}", vitals.max_connections);
    if free < wanted {
        doctor.push(subject, "connections", Health::Warning, detail);
        doctor.hint("lower max_connections of the cluster in tenants.toml");
    } else {
        doctor.push(subject, "connections", Health::Ok, detail);
    }
    if vitals.public_may_create {
        doctor.push(
            subject,
            "schema public",
            Health::Warning,
            format!("anybody may create objects in schema public of {}", vitals.database),
        );
        doctor.hint("as its owner: REVOKE CREATE ON SCHEMA public FROM PUBLIC;");
    }
    if vitals.in_recovery {
        doctor.push(subject, "writable", Health::Failed, "the server is a standby");
        doctor.hint("add target_session_attrs=read-write and every host to the URL");
    }
}

/// Checks the registry; answers the tenants that it, or the list in its place, knows.
async fn check_registry(cx: &Context<'_>, doctor: &mut Doctor) -> Vec<Tenant> {
    let (cluster, database) = &cx.fleet.registry;
    let read = async {
        let session = cx.servers.session(cluster, Some(database)).await?;
        let readiness = registry::readiness(&session, cx.sets.registry()).await?;
        let tenants = match readiness {
            Readiness::Absent => Vec::new(),
            Readiness::Behind | Readiness::Ready => registry::tenants(&session).await?,
        };
        Ok::<_, Error>((readiness, tenants))
    };
    match read.await {
        Ok((Readiness::Absent, _)) => {
            let detail = format!("not yet: the first create makes it in {database} on {cluster}");
            doctor.push("registry", "present", Health::Ok, detail);
            cx.fleet.declared().unwrap_or_default()
        }
        Ok((_, tenants)) => {
            let number = crate::model::count(tenants.len(), "tenant");
            let detail = format!("{number} in {database} on {cluster}");
            doctor.push("registry", "present", Health::Ok, detail);
            check_homes(cx, doctor, &tenants);
            if !tenants.is_empty() {
                check_passwords(cx, doctor).await;
            }
            tenants
        }
        Err(error) => {
            failed(doctor, "registry", "readable", &error);
            Vec::new()
        }
    }
}

/// So many names of a long list are told.
const TOLD: usize = 3;

fn some(names: &[String]) -> String {
    let told = names.iter().take(TOLD).map(String::as_str).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(TOLD) {
        0 => told,
        more => format!("{told} and {more} more"),
    }
}

/// Whether `verify-rls` can act as the application, and what audits left that were killed.
async fn check_probes(cx: &Context<'_>, doctor: &mut Doctor, tenants: &[Tenant]) {
    for name in cx.fleet.clusters.keys() {
        let mut roles: Vec<&Ident> = tenants
            .iter()
            .filter(|tenant| tenant.placement.cluster == *name)
            .flat_map(|tenant| &tenant.roles)
            .collect();
        roles.sort();
        roles.dedup();
        let read = async {
            let session = cx.servers.session(name, None).await?;
            readiness::readiness(&session, &roles).await
        };
        // A cluster that cannot be reached was told.
        let Ok(found) = read.await else { continue };
        let subject = name.as_str();
        let number = |names: &[String]| crate::model::count(names.len(), "role");
        if !roles.is_empty() && found.missing.is_empty() && found.barred.is_empty() {
            let detail = format!("{} can be acted as", crate::model::count(roles.len(), "role"));
            doctor.push(subject, "probes", Health::Ok, detail);
        }
        if !found.missing.is_empty() {
            let detail =
                format!("{} of tenants missing: {}", number(&found.missing), some(&found.missing));
            doctor.push(subject, "probes", Health::Warning, detail);
        }
        if !found.barred.is_empty() {
            let detail = format!(
                "{} cannot be acted as, so verify-rls only reads catalogues for them: {}",
                number(&found.barred),
                some(&found.barred)
            );
            doctor.push(subject, "probes", Health::Warning, detail);
            doctor.hint("as who may: GRANT each role to the operator");
        }
        if !found.left.is_empty() {
            let detail = format!(
                "{} left by audits that were killed: {}",
                number(&found.left),
                some(&found.left)
            );
            doctor.push(subject, "leftovers", Health::Warning, detail);
            doctor.hint(format!(
                "the next verify-rls removes them, and so does DROP ROLE {};",
                found.left.join(", ")
            ));
        }
    }
}

/// Passwords grow old, and end.
async fn check_passwords(cx: &Context<'_>, doctor: &mut Doctor) {
    let rows = match credentials::watched(cx, cx.fleet.password_age).await {
        Ok(rows) => rows,
        Err(error) => return failed(doctor, "credentials", "readable", &error),
    };
    if rows.is_empty() {
        return;
    }
    let days = cx.fleet.password_age.as_hours() / 24;
    let worries = [
        (Worry::Expired, "current, and expired", "credentials rotate --now"),
        (Worry::Old, "older than allowed", "credentials rotate --max-age"),
        (Worry::Expiring, "about to end", "credentials rotate"),
        (Worry::Lingering, "ended, with sessions open", "credentials revoke --old --end-sessions"),
    ];
    let mut well = true;
    for (worry, what, remedy) in worries {
        let struck: Vec<&str> = rows
            .iter()
            .filter(|row| row.worry == Some(worry))
            .map(|row| row.login.as_str())
            .collect();
        let Some(first) = struck.first() else { continue };
        well = false;
        let more = match struck.len() {
            1 => String::new(),
            more => format!(" and {} more", more - 1),
        };
        let detail = format!("{first}{more}: {what}");
        doctor.push("credentials", "passwords", Health::Warning, detail);
        let age = if worry == Worry::Old { format!(" {days}d") } else { String::new() };
        doctor.hint(format!("tenantctl {remedy}{age}; see them with: tenantctl credentials list"));
    }
    if well {
        let current = rows.iter().filter(|row| row.state == "current").count();
        let number = crate::model::count(current, "current password");
        let detail = format!("{number}, none older than {days} days");
        doctor.push("credentials", "passwords", Health::Ok, detail);
    }
}

/// Tenants keep the name of their cluster: a cluster that is called otherwise loses them.
fn check_homes(cx: &Context<'_>, doctor: &mut Doctor, tenants: &[Tenant]) {
    let mut lost: BTreeMap<&ClusterName, usize> = BTreeMap::new();
    for tenant in tenants {
        let cluster = &tenant.placement.cluster;
        if !cx.fleet.clusters.contains_key(cluster) {
            *lost.entry(cluster).or_default() += 1;
        }
    }
    for (cluster, number) in lost {
        let detail = format!(
            "{} on cluster {cluster}, which is not configured",
            crate::model::count(number, "tenant")
        );
        doctor.push("registry", "clusters", Health::Failed, detail);
        doctor
            .hint(format!("give the cluster its name back in tenants.toml: [clusters.{cluster}]"));
    }
}
