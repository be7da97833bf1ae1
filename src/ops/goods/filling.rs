//! Fills a tenant that is made, and holds nothing yet, in one transaction; compares before it
//! commits.

use std::collections::BTreeMap;
use std::time::Instant;

use super::stock::{Goods, Stock};
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::ident::{Ident, QualifiedName};
use crate::model::manifest::Manifest;
use crate::model::tally::Content;
use crate::model::tenant::{Isolation, Tenant};
use crate::ops::Context;
use crate::pg::copy::Loading;
use crate::plan::transfer::{self, Mapping, TableMap};
use crate::report::event::Event;

/// So often rows that triggers have added are taken away again.
const ROUNDS: usize = 3;

/// What was filled in.
#[derive(Debug, Default)]
pub(in crate::ops) struct Filled {
    /// The rows of each table, in the order in which they were filled.
    pub(in crate::ops) tables: Vec<(QualifiedName, Content)>,
    /// What a person should know.
    pub(in crate::ops) notes: Vec<String>,
}

/// Fills a tenant. `again` says that rows may be there from a run that was killed: they go.
///
/// # Errors
///
/// As [`transfer::map`]; `refused` when the tenant holds rows of somebody else; whatever the server
/// refuses; and a `bug` when what stands there afterwards is not what was sent. Nothing is there
/// then.
pub(in crate::ops) async fn fill(
    cx: &Context<'_>,
    goods: &Goods<'_>,
    desired: &Desired,
    again: bool,
) -> Result<Filled, Error> {
    let tenant = &desired.tenant;
    let tenancy = desired.sharing.as_ref().map(|sharing| &sharing.tenancy);
    let placement = &tenant.placement;
    let session = cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
    let mut loading = Loading::open(&session, tenant, tenancy).await?;
    let mapping = transfer::map(goods.manifest, loading.holdings(), tenant)?;
    let occupied = loading.holds_rows().await?;
    if let Some(table) = &occupied
        && !again
    {
        let what = format!("fill tenant {}: {table} holds rows of it already", tenant.id);
        return Err(Error::new(Code::Refused, what)
            .hint("nothing is put beside what is there: choose another id with --as"));
    }
    loading.quiet_triggers().await?;
    if occupied.is_some() {
        loading.empty(None).await?;
    }
    let mut work = Work { cx, goods, tenant, loading, sent: BTreeMap::new() };
    for group in &mapping.groups {
        work.group(group).await.map_err(|error| advised(error, tenant))?;
    }
    work.compare(&mapping).await?;
    let Work { loading, mut sent, .. } = work;
    cx.observer.on(&Event::Working { what: "setting sequences" });
    loading.set_sequences(&stood_at(goods.manifest, &placement.schema)?).await?;
    loading.refresh().await?;
    loading.commit().await.map_err(|error| advised(error, tenant))?;
    let tables: Vec<(QualifiedName, Content)> =
        mapping.tables().filter_map(|map| Some((map.to.clone(), sent.remove(&map.to)?))).collect();
    let names: Vec<QualifiedName> = tables.iter().map(|(name, _)| name.clone()).collect();
    // It was committed: without statistics the first queries are slow, and no more.
    if let Err(error) = Loading::analyze(&session, tenant, &names).await {
        log::info!("{error}");
    }
    Ok(Filled { tables, notes: mapping.notes })
}

struct Work<'a> {
    cx: &'a Context<'a>,
    goods: &'a Goods<'a>,
    tenant: &'a Tenant,
    loading: Loading<'a>,
    /// What was sent into each table.
    sent: BTreeMap<QualifiedName, Content>,
}

impl Work<'_> {
    async fn group(&mut self, group: &[TableMap]) -> Result<(), Error> {
        if let [map] = group {
            return self.table(map).await;
        }
        let mut gathered = Vec::new();
        for map in group {
            let contents = &self.goods.manifest.tables[map.from];
            let mut rows = self.goods.rows(self.cx, contents).await?;
            let (number, content) = self.loading.gather(map, &mut rows).await?;
            drop(rows);
            self.take(map, content)?;
            gathered.push((number, map));
        }
        self.loading.fill_together(&gathered).await
    }

    async fn table(&mut self, map: &TableMap) -> Result<(), Error> {
        let contents = &self.goods.manifest.tables[map.from];
        let started = Instant::now();
        let what = format!("copy {}", map.to);
        self.cx.observer.on(&Event::StepStarted { tenant: &self.tenant.id, what: what.clone() });
        let mut rows = self.goods.rows(self.cx, contents).await?;
        let content = self.loading.fill(map, &mut rows).await?;
        drop(rows);
        self.take(map, content)?;
        let rows = usize::try_from(content.rows).unwrap_or(usize::MAX);
        let what = format!("{what}: {}", crate::model::count(rows, "row"));
        let took = started.elapsed();
        self.cx.observer.on(&Event::StepDone { tenant: &self.tenant.id, what, took });
        Ok(())
    }

    /// Remembers what was sent, which must be what was promised.
    fn take(&mut self, map: &TableMap, content: Content) -> Result<(), Error> {
        let contents = &self.goods.manifest.tables[map.from];
        let is_archive = matches!(self.goods.stock, Stock::Archive(_));
        let other_rows = content.rows != contents.rows;
        let other_sum =
            is_archive && map.kept().is_none() && content.digest.to_string() != contents.digest;
        if other_rows || other_sum {
            let what = format!(
                "fill {}: {} rows came, and {} were promised{}",
                map.to,
                content.rows,
                contents.rows,
                if other_sum { ", with another checksum" } else { "" }
            );
            return Err(Error::new(Code::Refused, what).hint("nothing of it was kept"));
        }
        self.sent.insert(map.to.clone(), content);
        Ok(())
    }

    /// Reads everything back. Triggers of shared tables fire, and may have added rows to a log that
    /// comes with the goods: then that table is emptied and filled again, behind all others.
    async fn compare(&mut self, mapping: &Mapping) -> Result<(), Error> {
        let mut suspects: Vec<&TableMap> = mapping.tables().collect();
        for _ in 0..ROUNDS {
            let mut more: Vec<&TableMap> = Vec::new();
            for map in suspects {
                let what = format!("comparing {}", map.to);
                self.cx.interrupt.check(&what)?;
                self.cx.observer.on(&Event::Working { what: &what });
                let found = self.loading.content(map).await?;
                let sent = self.sent.get(&map.to).copied().unwrap_or_default();
                if (found.rows, found.digest) == (sent.rows, sent.digest) {
                    continue;
                }
                if found.rows <= sent.rows {
                    return Err(differs(&map.to, sent, found, self.tenant));
                }
                more.push(map);
            }
            if more.is_empty() {
                return Ok(());
            }
            let names: Vec<QualifiedName> = more.iter().map(|map| map.to.clone()).collect();
            self.loading.empty(Some(&names)).await?;
            for map in &more {
                self.table(map).await?;
            }
            // What was filled again may have made triggers write once more.
            suspects = mapping.tables().collect();
        }
        let what =
            format!("fill tenant {}: triggers keep adding rows to its tables", self.tenant.id);
        Err(Error::new(Code::Refused, what).hint(
            "nothing of it was kept; the triggers of shared tables fire while rows are copied",
        ))
    }
}

fn differs(name: &QualifiedName, sent: Content, found: Content, tenant: &Tenant) -> Error {
    let what = format!(
        "fill {name} of tenant {}: {} rows were sent with checksum {}, and {} stand there with {}",
        tenant.id, sent.rows, sent.digest, found.rows, found.digest
    );
    Error::new(Code::Refused, what)
        .hint("nothing of it was kept; a trigger or a policy of that table changes or hides rows as they come")
}

/// Where the sequences of the goods stood, by the names that they have in the tenant.
fn stood_at(
    manifest: &Manifest,
    home: &Ident,
) -> Result<BTreeMap<QualifiedName, (i64, bool)>, Error> {
    manifest
        .sequences
        .iter()
        .map(|sequence| {
            let schema = match &sequence.schema {
                Some(schema) => Ident::new(schema.clone())?,
                None => home.clone(),
            };
            let name = QualifiedName::new(schema, Ident::new(sequence.name.clone())?);
            Ok((name, (sequence.last_value, sequence.is_called)))
        })
        .collect()
}

/// What to do about a refusal that has a known cause.
fn advised(error: Error, tenant: &Tenant) -> Error {
    let sqlstate = error.answer.as_ref().map(|answer| answer.sqlstate.as_str());
    let hint = match sqlstate {
        Some("23505") if tenant.isolation == Isolation::Shared => {
            "nothing of it was kept; a unique key without the tenant column holds such a value of another tenant"
        }
        Some("23514") => {
            "nothing of it was kept; a partition for these rows may be missing: make it, and run this again"
        }
        Some("23503") => "nothing of it was kept; the rows refer to some that are not among them",
        _ => return error,
    };
    error.hint(hint)
}
