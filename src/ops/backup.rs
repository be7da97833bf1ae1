//! A tenant's schema or database as `pg_dump` writes it, with what is needed to judge a restore.

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use serde_json::json;

use super::Context;
use super::export::{log_session, whole};
use super::trail::{Deed, standing};
use crate::archive::{Destination, Writer, digest_of};
use crate::error::{Code, Error};
use crate::model::ident::Ident;
use crate::model::manifest::{Dump, Manifest, Rendering};
use crate::model::tally::Tally;
use crate::model::tenant::{Isolation, Tenant, TenantId};
use crate::pg::Session;
use crate::pg::copy::{Shape, Snapshot};
use crate::pg::native::{Program, Tool};
use crate::pg::scratch;
use crate::plan::transfer;
use crate::report::event::Event;
use crate::report::{Moved, Report, Transferred};

/// The dump's name in its directory.
pub(super) const DUMP: &str = "tenant.dump";

/// `pg_dump` looks for what materialized views depend on by a plan that takes a minute where there are
/// thousands of schemas; without merge joins it takes seconds.
const PLAN: &str = "-c enable_mergejoin=off";

/// Has `pg_dump` write down a tenant's schema, or its database, and records what it holds: every
/// table's rows and checksum, of the same moment.
///
/// # Errors
///
/// `refused` for a tenant of shared tables; `tool-missing` without a `pg_dump` as new as the server;
/// what `pg_dump` says.
pub async fn backup(cx: &Context<'_>, id: &TenantId, to: &Path) -> anyhow::Result<Report> {
    let started = Instant::now();
    let tenant = whole(cx, id, "back up").await?;
    if tenant.isolation == Isolation::Shared {
        let what =
            format!("back up tenant {id}: it shares its tables, and pg_dump knows no tenants");
        return Err(Error::new(Code::Refused, what)
            .hint(format!("write down its rows instead: tenantctl export {id} -O {id}.tar"))
            .into());
    }
    let deed = Deed::new(cx, "backup", Some(id))
        .before(standing(&tenant))
        .about(json!({"to": to.display().to_string()}));
    let log = log_session(cx).await?;
    if let Some(session) = &log {
        deed.start(session).await?;
    }
    let answer = dump(cx, &tenant, to, started).await;
    match &log {
        None => answer,
        Some(session) => {
            deed.end(cx, session, answer, |report| match report {
                Report::Transferred(done) => json!({"rows": done.rows()}),
                _ => json!({}),
            })
            .await
        }
    }
}

async fn dump(
    cx: &Context<'_>,
    tenant: &Tenant,
    to: &Path,
    started: Instant,
) -> anyhow::Result<Report> {
    let placement = &tenant.placement;
    let session = cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
    let snapshot = Snapshot::open(&session, tenant, None, None).await?;
    let tool = Tool::find(Program::Dump, snapshot.server()).await?;
    let mut notes = Vec::new();
    if snapshot.holdings().large_objects > 0 && tenant.isolation == Isolation::Schema {
        notes.push("large objects are in no schema, and not part of this".to_owned());
    }
    let writer = Writer::begin(Destination::Directory(to.to_path_buf()))?;
    let (mut manifest, tables) = describe(cx, tenant, &snapshot).await?;
    let file = writer.place(DUMP)?;
    let schemas = schemas(&snapshot, tenant);
    let arguments = arguments(tenant, &schemas, &file, &snapshot.export().await?);
    let settings = cx.servers.settings(&placement.cluster, Some(&placement.database))?;
    cx.observer.on(&Event::Working { what: "pg_dump is at work" });
    let what = format!("back up tenant {}", tenant.id);
    let options = if schemas.is_empty() { "" } else { PLAN };
    tool.run(&arguments, &settings, options, &what, cx.interrupt).await?;
    let (size, sha256) = digest_of(&file).await?;
    manifest.dump = Some(Dump {
        file: DUMP.to_owned(),
        size,
        sha256,
        program: tool.major,
        extensions: needed(&session, tenant, &schemas).await?,
    });
    snapshot.close().await?;
    let written = writer.finish(manifest.to_bytes()).await?;
    Ok(Report::Transferred(Box::new(Transferred {
        verb: "backup",
        tenant: tenant.clone(),
        from: None,
        place: Some(to.display().to_string()),
        version: manifest.version(),
        fingerprint: Some(manifest.fingerprint()),
        size: Some(written + size),
        unchanged: false,
        tables,
        steps: Vec::new(),
        notes,
        took: started.elapsed(),
    })))
}

/// What stands in a tenant's tables, read once.
pub(super) async fn describe(
    cx: &Context<'_>,
    tenant: &Tenant,
    snapshot: &Snapshot<'_>,
) -> Result<(Manifest, Vec<Moved>), Error> {
    let order = transfer::loading(snapshot.holdings());
    let mut manifest = Manifest::describe(tenant, snapshot.holdings(), &order, Rendering::Copy);
    manifest.server = snapshot.server();
    manifest.made_at = snapshot.taken_at().to_owned();
    let mut tables = Vec::new();
    for contents in &mut manifest.tables {
        let what = format!("reading {}", contents.label());
        cx.interrupt.check(&what)?;
        cx.observer.on(&Event::Working { what: &what });
        let name = contents.place(&tenant.placement.schema)?;
        let Some(table) = snapshot.holdings().tables.get(&name) else { continue };
        let columns: Vec<Ident> = contents
            .columns
            .iter()
            .map(|column| Ident::new(column.name.clone()))
            .collect::<Result<_, _>>()?;
        let rows = snapshot.rows(&name, table, &columns, Shape::Rows, Tally::default()).await?;
        let content = rows.content().await?;
        contents.holds(content);
        tables.push(Moved { table: contents.label(), rows: content.rows, bytes: content.bytes });
    }
    Ok((manifest, tables))
}

/// The schemas to dump; none for a whole database.
fn schemas(snapshot: &Snapshot<'_>, tenant: &Tenant) -> Vec<Ident> {
    if tenant.isolation == Isolation::Database {
        return Vec::new();
    }
    let mut schemas: Vec<Ident> =
        snapshot.holdings().tables.keys().map(|name| name.schema.clone()).collect();
    schemas.push(tenant.placement.schema.clone());
    schemas.sort();
    schemas.dedup();
    schemas
}

fn arguments(tenant: &Tenant, schemas: &[Ident], file: &Path, moment: &str) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![
        "--format=custom".into(),
        format!("--snapshot={moment}").into(),
        format!("--role={}", tenant.owner.as_str()).into(),
        "--lock-wait-timeout=10000".into(),
        "--file".into(),
        file.into(),
    ];
    // A pattern: in quotes it is a name.
    arguments.extend(schemas.iter().map(|schema| {
        OsString::from(format!("--schema=\"{}\"", schema.as_str().replace('"', "\"\"")))
    }));
    arguments
}

/// A dump of a schema holds no extension: those it may need are made before it is restored.
async fn needed(
    session: &Session,
    tenant: &Tenant,
    schemas: &[Ident],
) -> Result<Vec<crate::model::manifest::Extension>, Error> {
    if tenant.isolation == Isolation::Database {
        return Ok(Vec::new());
    }
    let mut found = scratch::extensions_used(session, schemas).await?;
    found.retain(|extension| !schemas.iter().any(|schema| schema.as_str() == extension.schema));
    Ok(found)
}
