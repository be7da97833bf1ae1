//! A tenant's schema or database as `pg_dump` writes it, with what is needed to judge a restore.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::time::Instant;

use serde_json::json;

use super::Context;
use super::export::{log_session, whole};
use super::trail::{Deed, standing};
use crate::archive::{Destination, Writer};
use crate::error::{Code, Error};
use crate::model::count;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::manifest::{Dump, Extension, Manifest, Rendering};
use crate::model::tally::Tally;
use crate::model::tenant::{Isolation, Tenant, TenantId};
use crate::pg::Session;
use crate::pg::copy::{Shape, Snapshot};
use crate::pg::native::{Program, Tool};
use crate::pg::scratch;
use crate::plan::transfer;
use crate::report::event::Event;
use crate::report::{CopiedTable, Report, Transferred};

/// The dump's name in its directory.
const DUMP: &str = "tenant.dump";

/// `pg_dump` looks for what materialized views depend on by a plan that takes a minute where there are
/// thousands of schemas; without merge joins it takes seconds.
const PLAN: &str = "-c enable_mergejoin=off";

/// How a tenant is backed up.
#[derive(Clone, Debug)]
pub struct BackupOptions {
    /// Where: a directory, or object storage.
    pub to: Destination,
    /// Whether large objects may stay behind, which belong to no schema.
    pub leave_large_objects: bool,
}

/// Has `pg_dump` write down a tenant's schema, or its database, and records what it holds: every
/// table's rows and checksum, of the same moment. The dump is read again, and must have as many.
///
/// # Errors
///
/// `refused` for a tenant of shared tables, for large objects that would stay behind, and when the
/// dump has other rows than the tables; `tool-missing` without programs as new as the server; what
/// they say. What was written until then has no manifest, and another name.
pub async fn backup(
    cx: &Context<'_>,
    id: &TenantId,
    options: &BackupOptions,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let tenant = whole(cx, id, "back up").await?;
    if tenant.isolation == Isolation::Shared {
        let what =
            format!("back up tenant {id}: it shares its tables, and pg_dump knows no tenants");
        return Err(Error::new(Code::Refused, what)
            .hint(format!("write down its rows instead: tenantctl export {id} -O {id}.tar"))
            .into());
    }
    let placement = &tenant.placement;
    let session = cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
    let snapshot = Snapshot::open(&session, &tenant, None, None).await?;
    let notes = judge(&snapshot, &tenant, options)?;
    let dump = Tool::find(Program::Dump, snapshot.server()).await.map_err(advised)?;
    let restore = Tool::find(Program::Restore, dump.major).await.map_err(advised)?;
    let writer = Writer::begin(options.to.clone()).await?;
    let work = Work { cx, tenant: &tenant, session: &session, snapshot, dump, restore };
    let deed = Deed::new(cx, "backup", Some(id))
        .before(standing(&tenant))
        .about(json!({"to": options.to.to_string()}));
    let log = log_session(cx).await?;
    if let Some(session) = &log {
        deed.start(session).await?;
    }
    let answer = work.write(writer).await.map_err(anyhow::Error::from).map(|written| {
        let place = Some(options.to.to_string());
        Report::Transferred(Box::new(written.told(tenant.clone(), place, notes, started)))
    });
    match &log {
        None => answer,
        Some(session) => {
            deed.end(cx, session, answer, |report| match report {
                Report::Transferred(done) => {
                    json!({"rows": done.rows(), "archive": done.fingerprint})
                }
                _ => json!({}),
            })
            .await
        }
    }
}

/// There is a way without programs.
fn advised(error: Error) -> Error {
    error.hint("tenantctl export needs no program but this one")
}

/// What a person should know of what a dump does not hold; refuses what would be lost unsaid.
fn judge(
    snapshot: &Snapshot<'_>,
    tenant: &Tenant,
    options: &BackupOptions,
) -> Result<Vec<String>, Error> {
    let objects = usize::try_from(snapshot.holdings().large_objects).unwrap_or(usize::MAX);
    if objects == 0 || tenant.isolation == Isolation::Database {
        return Ok(Vec::new());
    }
    let objects = count(objects, "large object");
    if options.leave_large_objects {
        return Ok(vec![format!("{objects} stayed behind")]);
    }
    let what = format!("back up tenant {}: it has {objects}, which no schema holds", tenant.id);
    Err(Error::new(Code::Refused, what).hint("leave them behind with --leave-large-objects"))
}

struct Work<'a> {
    cx: &'a Context<'a>,
    tenant: &'a Tenant,
    session: &'a Session,
    snapshot: Snapshot<'a>,
    dump: Tool,
    restore: Tool,
}

/// A backup that is finished.
struct Written {
    manifest: Manifest,
    tables: Vec<CopiedTable>,
    size: u64,
}

impl Work<'_> {
    async fn write(self, mut writer: Writer) -> Result<Written, Error> {
        let Self { cx, tenant, session, snapshot, dump, restore } = self;
        let dumped = writer.file(DUMP)?;
        let schemas = schemas(&snapshot, tenant);
        let arguments = arguments(tenant, &schemas, &snapshot.export().await?);
        let placement = &tenant.placement;
        let settings = cx.servers.settings(&placement.cluster, Some(&placement.database))?;
        let what = format!("back up tenant {}", tenant.id);
        let options = if schemas.is_empty() { "" } else { PLAN };
        // The program works while the tables are read, both at the same moment of the data.
        let into = dumped.again()?;
        let dumping = dump.dump(&arguments, into, &settings, options, &what, cx.interrupt);
        let ((), (mut manifest, tables)) =
            tokio::try_join!(dumping, describe(cx, tenant, &snapshot))?;
        let extensions = needed(session, tenant, &schemas).await?;
        let large_objects = match tenant.isolation {
            Isolation::Database => snapshot.holdings().large_objects,
            Isolation::Schema | Isolation::Shared => 0,
        };
        snapshot.close().await?;
        cx.observer.on(&Event::Working { what: "counting the rows of the dump" });
        let rows = restore.count(dumped.again()?, &what, cx.interrupt).await?;
        refuse_other_rows(tenant, &manifest, &rows)?;
        let (size, sha256) = writer.keep(DUMP, &dumped).await?;
        manifest.dump = Some(Dump {
            file: DUMP.to_owned(),
            size,
            sha256,
            program: dump.major,
            extensions,
            large_objects,
        });
        let size = writer.finish(manifest.to_bytes()).await?;
        Ok(Written { manifest, tables, size })
    }
}

impl Written {
    fn told(
        self,
        tenant: Tenant,
        place: Option<String>,
        notes: Vec<String>,
        started: Instant,
    ) -> Transferred {
        Transferred {
            verb: "backup",
            tenant,
            from: None,
            place,
            version: self.manifest.version(),
            fingerprint: Some(self.manifest.fingerprint()),
            size: Some(self.size),
            unchanged: false,
            tables: self.tables,
            steps: Vec::new(),
            notes,
            took: started.elapsed(),
        }
    }
}

/// A dump that lacks rows looks as whole as any other.
fn refuse_other_rows(
    tenant: &Tenant,
    manifest: &Manifest,
    dumped: &BTreeMap<QualifiedName, u64>,
) -> Result<(), Error> {
    for contents in &manifest.tables {
        let name = contents.place(&tenant.placement.schema)?;
        let rows = dumped.get(&name).copied().unwrap_or_default();
        if rows != contents.rows {
            let what = format!(
                "back up {name} of tenant {}: {rows} rows are in the dump, and {} in the table",
                tenant.id, contents.rows
            );
            return Err(Error::new(Code::Refused, what).hint(format!(
                "write down its rows instead: tenantctl export {} -O DIR",
                tenant.id
            )));
        }
    }
    Ok(())
}

/// What stands in a tenant's tables, read once.
pub(super) async fn describe(
    cx: &Context<'_>,
    tenant: &Tenant,
    snapshot: &Snapshot<'_>,
) -> Result<(Manifest, Vec<CopiedTable>), Error> {
    let order = transfer::loading(snapshot.holdings());
    let mut manifest = Manifest::describe(tenant, snapshot.holdings(), &order, Rendering::Copy);
    manifest.server = snapshot.server();
    snapshot.taken_at().clone_into(&mut manifest.made_at);
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
        tables.push(CopiedTable {
            table: contents.label(),
            rows: content.rows,
            bytes: content.bytes,
        });
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

fn arguments(tenant: &Tenant, schemas: &[Ident], moment: &str) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = vec![
        "--format=custom".into(),
        // gzip at its fastest, as in an export.
        "--compress=1".into(),
        // Rows stand under the name of the table that they are counted in.
        "--load-via-partition-root".into(),
        format!("--snapshot={moment}").into(),
        format!("--role={}", tenant.owner.as_str()).into(),
        "--lock-wait-timeout=10000".into(),
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
) -> Result<Vec<Extension>, Error> {
    if tenant.isolation == Isolation::Database {
        return Ok(Vec::new());
    }
    let mut found = scratch::extensions_used(session, schemas).await?;
    found.retain(|extension| !schemas.iter().any(|schema| schema.as_str() == extension.schema));
    Ok(found)
}
