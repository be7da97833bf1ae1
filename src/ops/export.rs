//! Writes down what a tenant has, at one moment.

use std::time::Instant;

use bytes::Bytes;
use serde_json::json;

use super::goods::Watched;
use super::select::unknown;
use super::trail::{Deed, standing};
use super::{Context, fleet};
use crate::archive::{Compression, Destination, Parts, Writer};
use crate::error::{Code, Error};
use crate::model::count;
use crate::model::holdings::Holdings;
use crate::model::layout::Tenancy;
use crate::model::manifest::{Contents, Manifest, Rendering};
use crate::model::tally::{Content, Tally};
use crate::model::tenant::{Isolation, State, Tenant, TenantId};
use crate::pg::copy::{Shape, Snapshot, Supply as _};
use crate::pg::{Session, registry};
use crate::plan::transfer;
use crate::report::event::Event;
use crate::report::{CopiedTable, Report, Transferred};

/// How a tenant is written down.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Where.
    pub to: Destination,
    /// How its rows are.
    pub rendering: Rendering,
    /// Whether they are compressed.
    pub compression: Compression,
    /// Whether large objects may stay behind.
    pub leave_large_objects: bool,
}

/// Writes down what a tenant has, in all tables at one moment.
///
/// # Errors
///
/// `not-found` when nobody knows the tenant; `refused` when it is not whole, when something of it
/// would be left behind, and when fewer rows were read than were counted. What was written until then
/// has no manifest, and another name.
pub async fn export(
    cx: &Context<'_>,
    id: &TenantId,
    options: &ExportOptions,
) -> anyhow::Result<Report> {
    let started = Instant::now();
    let tenant = whole(cx, id, "export").await?;
    let deed = Deed::new(cx, "export", Some(id))
        .before(standing(&tenant))
        .about(json!({"to": options.to.to_string(), "rows_as": options.rendering.word()}));
    let log = log_session(cx).await?;
    if let Some(session) = &log {
        deed.start(session).await?;
    }
    let answer = write(cx, &tenant, options, started).await;
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

/// A tenant whose data are all there.
///
/// # Errors
///
/// `not-found` with the ids that look like it; `refused` while it is being made.
pub(super) async fn whole(cx: &Context<'_>, id: &TenantId, verb: &str) -> Result<Tenant, Error> {
    let (tenants, _) = fleet::tenants(cx).await?;
    let tenant = tenants.iter().find(|tenant| tenant.id == *id);
    let tenant = tenant.cloned().ok_or_else(|| unknown(id, &tenants))?;
    if tenant.state == State::Provisioning {
        let what = format!("{verb} tenant {id}: it is not whole, and still {}", tenant.state);
        return Err(Error::new(Code::Refused, what)
            .hint("finish it with the command that began to make it"));
    }
    Ok(tenant)
}

/// How rows of shared tables are told apart, where the tenant is one of those that share.
pub(super) fn tenancy(cx: &Context<'_>, tenant: &Tenant) -> Option<Tenancy> {
    let shares = tenant.isolation == Isolation::Shared;
    let sharing = cx.fleet.layout(tenant.isolation).sharing.as_ref();
    sharing.filter(|_| shares).map(|sharing| sharing.tenancy.clone())
}

/// A session for the audit log; none where there is no registry, which reading does not make.
pub(super) async fn log_session(cx: &Context<'_>) -> Result<Option<Session>, Error> {
    let (cluster, database) = &cx.fleet.registry;
    let session = cx.servers.session(cluster, Some(database)).await?;
    let ready = registry::readiness(&session, cx.sets.registry()).await;
    Ok(matches!(ready, Ok(registry::Readiness::Ready)).then_some(session))
}

async fn write(
    cx: &Context<'_>,
    tenant: &Tenant,
    options: &ExportOptions,
    started: Instant,
) -> anyhow::Result<Report> {
    let placement = &tenant.placement;
    let session = cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
    let tenancy = tenancy(cx, tenant);
    let snapshot = Snapshot::open(&session, tenant, tenancy.as_ref(), None).await?;
    let notes = judge(snapshot.holdings(), tenant, options)?;
    let order = transfer::loading(snapshot.holdings());
    let mut manifest = Manifest::describe(tenant, snapshot.holdings(), &order, options.rendering);
    manifest.server = snapshot.server();
    manifest.made_at = snapshot.taken_at().to_owned();
    cx.observer.on(&Event::Working { what: "counting rows" });
    let counts = snapshot.count().await?;
    let mut writer = Writer::begin(options.to.clone()).await?;
    let mut tables = Vec::new();
    let written = async {
        for contents in &mut manifest.tables {
            let name = contents.place(&placement.schema)?;
            contents.rows = counts.get(&name).copied().unwrap_or_default();
            tables.push(table(cx, tenant, &snapshot, contents, options, &mut writer).await?);
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = written.await {
        writer.abandon().await;
        return Err(error.into());
    }
    snapshot.close().await?;
    let size = writer.finish(manifest.to_bytes()).await?;
    Ok(Report::Transferred(Box::new(Transferred {
        verb: "export",
        tenant: tenant.clone(),
        from: None,
        place: Some(options.to.to_string()),
        version: manifest.version(),
        fingerprint: Some(manifest.fingerprint()),
        size: Some(size),
        unchanged: false,
        tables,
        steps: Vec::new(),
        notes,
        took: started.elapsed(),
    })))
}

/// What a person should know of what an archive does not hold; refuses what would be lost unsaid.
fn judge(
    holdings: &Holdings,
    tenant: &Tenant,
    options: &ExportOptions,
) -> Result<Vec<String>, Error> {
    let mut notes = Vec::new();
    let objects = usize::try_from(holdings.large_objects).unwrap_or(usize::MAX);
    if objects > 0 {
        let shared = tenant.isolation == Isolation::Shared;
        let what = count(objects, "large object");
        if shared {
            notes.push(format!("{what} of roles that all tenants use: whose they are cannot be told, and none is part of this"));
        } else if options.leave_large_objects {
            notes.push(format!("{what} stayed behind"));
        } else {
            let what = format!("export tenant {}: it has {what}, which no table holds", tenant.id);
            return Err(Error::new(Code::Refused, what).hint(
                "leave them behind with --leave-large-objects, and take them along with pg_dump",
            ));
        }
    }
    notes.extend(holdings.tables.iter().filter(|(_, table)| table.rls && table.forced).filter_map(
        |(name, table)| {
            let policies = table.foreign_policies.join(", ");
            (!policies.is_empty()).then(|| {
                format!("{name} has policies of its own ({policies}): rows that they hide from everybody are not part of this")
            })
        },
    ));
    Ok(notes)
}

async fn table(
    cx: &Context<'_>,
    tenant: &Tenant,
    snapshot: &Snapshot<'_>,
    contents: &mut Contents,
    options: &ExportOptions,
    writer: &mut Writer,
) -> Result<CopiedTable, Error> {
    let started = Instant::now();
    let what = format!("export {}", contents.label());
    cx.observer.on(&Event::StepStarted { tenant: &tenant.id, what: what.clone() });
    let name = contents.place(&tenant.placement.schema)?;
    let shape = match options.rendering {
        Rendering::Copy => Shape::Rows,
        Rendering::Ndjson => Shape::Json,
        Rendering::Csv => Shape::Csv,
    };
    let mut rows = Watched::of_snapshot(cx, snapshot, &name, contents, shape).await?;
    let mut parts = Parts::new(contents, options.rendering, options.compression);
    let mut counted = Counted::new(options.rendering);
    while let Some(piece) = rows.next().await? {
        let (written, number) = counted.take(piece);
        parts.take(&written, number, writer).await?;
    }
    drop(rows);
    let found = counted.content();
    if found.rows != contents.rows {
        let what = format!(
            "export {name} of tenant {}: {} rows were read, and {} are there",
            tenant.id, found.rows, contents.rows
        );
        return Err(Error::new(Code::Refused, what).hint(
            "a table that was rewritten meanwhile looks empty to who began before: export it again",
        ));
    }
    contents.holds(found);
    contents.parts = parts.end(writer).await?;
    let rows = usize::try_from(found.rows).unwrap_or(usize::MAX);
    let what = format!("{what}: {}", count(rows, "row"));
    let took = started.elapsed();
    cx.observer.on(&Event::StepDone { tenant: &tenant.id, what, took });
    Ok(CopiedTable { table: contents.label(), rows: found.rows, bytes: found.bytes })
}

/// Rows as they are written, counted in their own format.
enum Counted {
    Copy(Tally),
    Ndjson(Tally),
    Csv { content: Content, quoted: bool },
}

impl Counted {
    fn new(rendering: Rendering) -> Self {
        match rendering {
            Rendering::Copy => Self::Copy(Tally::default()),
            Rendering::Ndjson => Self::Ndjson(Tally::default()),
            Rendering::Csv => Self::Csv { content: Content::default(), quoted: false },
        }
    }

    /// What is written for a piece, and how many rows end in it.
    fn take(&mut self, piece: Bytes) -> (Bytes, u64) {
        match self {
            Self::Copy(tally) => {
                let before = tally.so_far().rows;
                tally.take(&piece);
                (piece, tally.so_far().rows - before)
            }
            Self::Ndjson(tally) => {
                let written = plain(&piece);
                let before = tally.so_far().rows;
                tally.take(&written);
                (written, tally.so_far().rows - before)
            }
            // The line's end of a row stands outside of quotes.
            Self::Csv { content, quoted } => {
                let before = content.rows;
                for byte in &piece {
                    match byte {
                        b'"' => *quoted = !*quoted,
                        b'\n' if !*quoted => content.rows += 1,
                        _ => {}
                    }
                }
                content.bytes += piece.len() as u64;
                let number = content.rows - before;
                (piece, number)
            }
        }
    }

    fn content(&self) -> Content {
        match self {
            Self::Copy(tally) | Self::Ndjson(tally) => tally.so_far(),
            // The first line names the columns.
            Self::Csv { content, .. } => {
                Content { rows: content.rows.saturating_sub(1), ..*content }
            }
        }
    }
}

/// JSON as it was before COPY escaped it. A line's end of it can only stand between values, where a
/// blank is as good.
fn plain(piece: &[u8]) -> Bytes {
    let mut text = Vec::with_capacity(piece.len());
    let mut escaped = false;
    for byte in piece {
        match (escaped, *byte) {
            (false, b'\\') => escaped = true,
            (false, byte) => text.push(byte),
            (true, b'n' | b'r' | b't' | b'v' | b'f' | b'b') => {
                text.push(b' ');
                escaped = false;
            }
            (true, byte) => {
                text.push(byte);
                escaped = false;
            }
        }
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_loses_what_copy_put_into_it() {
        assert_eq!(plain(br#"{"a":"x\\n\\"y\\\\"}"#), br#"{"a":"x\n\"y\\"}"#.as_slice());
        assert_eq!(plain(b"{\\n \"a\": 1}\n"), b"{  \"a\": 1}\n".as_slice());
    }

    #[test]
    fn a_row_of_csv_may_have_many_lines() {
        let mut counted = Counted::new(Rendering::Csv);
        for piece in ["a,b\n1,\"x\n", "y \"\"z\"\"\n\"\n2,\n"] {
            counted.take(Bytes::from_static(piece.as_bytes()));
        }
        assert_eq!(counted.content().rows, 2);
    }
}
