//! What `migrate baseline`, `repair` and `down` have in common: whom they are about, who agrees, and
//! what is kept of it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt as _};
use serde_json::{Value, json};

use super::list::histories;
use super::select::Selection;
use super::trail::Deed;
use super::{Context, fleet};
use crate::error::{Code, Error};
use crate::model::migration::{History, MigrationSet, Version};
use crate::model::tenant::{Isolation, Placement, Tenant};
use crate::pg::{self, Session, registry};
use crate::plan::rewrite::{RowChange, version_after};
use crate::report::event::Event;
use crate::report::{Failure, Report, Rewriting, Rewritten, RewrittenTarget, Source, Status};

/// So many schemas are rewritten at once: each takes a moment, and none is in a hurry.
const AT_ONCE: usize = 4;

/// Somebody who agrees to what cannot be taken back, or does not.
pub trait Consent {
    /// Shows what would be done, and asks.
    ///
    /// # Errors
    ///
    /// [`Code::Refused`] when nobody agrees, or nobody can be asked.
    fn given(&self, what: &Report) -> Result<(), Error>;
}

/// What the three verbs are asked for alike.
#[derive(Clone, Debug)]
pub struct RewriteOptions {
    /// Whom it is about.
    pub selection: Selection,
    /// Why, for the audit trail.
    pub reason: String,
    /// Whether to say what would be done, and do nothing.
    pub dry_run: bool,
    /// How long another tenantctl is waited for.
    pub lock_wait: Duration,
    /// How long statements may wait and work.
    pub limits: pg::Limits,
}

/// One schema with the selected tenants that live in it.
pub(super) struct Unit<'a> {
    pub(super) placement: Placement,
    pub(super) isolation: Isolation,
    pub(super) tenants: Vec<Tenant>,
    /// Those who share its tables and were not selected.
    pub(super) others: Vec<Tenant>,
    pub(super) set: &'a MigrationSet,
    pub(super) history: History,
    pub(super) changes: Vec<RowChange>,
    pub(super) refused: Vec<RowChange>,
    pub(super) status: Status,
    pub(super) error: Option<Failure>,
}

/// The schemas of the selected tenants, with their histories, and who named the tenants.
pub(super) async fn units<'a>(
    cx: &Context<'a>,
    selection: &Selection,
) -> anyhow::Result<(Vec<Unit<'a>>, Source)> {
    let (everyone, source) = fleet::tenants(cx).await?;
    if everyone.is_empty() {
        return Err(fleet::none(source).into());
    }
    let picked = selection.pick(everyone.clone())?;
    let histories = histories(cx, &picked).await;
    let mut schemas: BTreeMap<(Placement, Isolation), Vec<Tenant>> = BTreeMap::new();
    for tenant in picked {
        schemas.entry((tenant.placement.clone(), tenant.isolation)).or_default().push(tenant);
    }
    let units = schemas.into_iter().map(|((placement, isolation), tenants)| {
        let others = everyone
            .iter()
            .filter(|other| other.placement == placement && !tenants.contains(other))
            .cloned()
            .collect();
        let mut unit = Unit {
            set: cx.sets.of(isolation),
            isolation,
            tenants,
            others,
            history: History::default(),
            changes: Vec::new(),
            refused: Vec::new(),
            status: Status::UpToDate,
            error: None,
            placement,
        };
        let database = (unit.placement.cluster.clone(), unit.placement.database.clone());
        match histories.get(&database) {
            Some(Err(error)) => unit.fail(error),
            Some(Ok(found)) if let Some(history) = found.get(&unit.placement.schema) => {
                match history {
                    Ok(history) => unit.history = history.clone(),
                    Err(error) => unit.fail(error),
                }
            }
            Some(Ok(_)) | None => unit.missing(),
        }
        unit
    });
    Ok((units.collect(), source))
}

impl Unit<'_> {
    fn missing(&mut self) {
        let gone = fleet::no_schema(&self.placement);
        self.fail(&gone);
        self.status = Status::Missing;
    }

    /// Notes why nothing can be done here.
    pub(super) fn fail(&mut self, error: &Error) {
        self.status = match error.code {
            Code::HistoryDiverged => Status::Diverged,
            _ => Status::Failed,
        };
        self.error = Some(Failure::from(error));
    }

    /// Notes what is to be done here, if anything.
    pub(super) fn intend(&mut self, changes: Vec<RowChange>) {
        if !changes.is_empty() {
            self.status = Status::Pending;
        }
        self.changes = changes;
    }

    /// How the schema is told to the server.
    pub(super) fn schema(&self, options: &RewriteOptions) -> pg::Schema<'_> {
        pg::Schema {
            placement: &self.placement,
            owner: &self.tenants[0].owner,
            set: self.set,
            limits: options.limits,
            lock_wait: options.lock_wait,
        }
    }

    /// How a person calls it.
    fn name(&self) -> String {
        match (self.isolation, self.tenants.as_slice()) {
            (Isolation::Shared, _) | (_, []) => self.placement.schema.to_string(),
            (_, [only, ..]) => only.id.to_string(),
        }
    }

    fn reports(&self) -> impl Iterator<Item = RewrittenTarget> + '_ {
        let from = self.history.version();
        let to = version_after(&self.history.0, &self.changes);
        self.tenants.iter().map(move |tenant| RewrittenTarget {
            tenant: tenant.id.clone(),
            isolation: self.isolation,
            placement: self.placement.clone(),
            from,
            to,
            changes: self.changes.clone(),
            refused: self.refused.clone(),
            status: self.status,
            error: self.error.clone(),
        })
    }
}

/// A session in the schema's database.
pub(super) async fn session(cx: &Context<'_>, unit: &Unit<'_>) -> Result<Session, Error> {
    let (cluster, database) = (&unit.placement.cluster, &unit.placement.database);
    match unit.isolation {
        Isolation::Database => cx.servers.dedicated(cluster, Some(database)).await,
        // It holds the schema's lock.
        Isolation::Shared | Isolation::Schema => cx.servers.lasting(cluster, Some(database)).await,
    }
}

/// What was decided and who is asked about it.
pub(super) struct Rewrite<'a> {
    pub(super) verb: Rewriting,
    pub(super) options: &'a RewriteOptions,
    pub(super) source: Source,
    pub(super) consent: &'a dyn Consent,
    pub(super) started: Instant,
    /// What the audit trail keeps beside the rows: the run that is taken back.
    pub(super) about: Value,
}

impl Rewrite<'_> {
    /// Asks, then does `work` in every schema that has something to do, keeping what was done; or
    /// only says what would be done.
    ///
    /// `work` returns the rows that it changed and those that it left, as they were under the lock.
    pub(super) async fn carry_out<'u>(
        &self,
        cx: &Context<'_>,
        mut units: Vec<Unit<'u>>,
        work: impl AsyncFn(&Unit<'u>, &Session) -> Result<Done, Error>,
    ) -> anyhow::Result<Report> {
        let idle = units.iter().all(|unit| unit.status != Status::Pending);
        if self.options.dry_run || idle {
            return Ok(Report::Rewritten(self.report(cx, &units)));
        }
        self.consent
            .given(&Report::Rewritten(Rewritten { dry_run: true, ..self.report(cx, &units) }))?;
        let trail = Trail::open(cx, self).await?;
        let deed = trail.begin(cx, &units).await?;
        let targets = units.iter().filter(|unit| unit.status == Status::Pending).count();
        cx.observer.on(&Event::RunStarted {
            what: self.verb.word(),
            run: None,
            targets,
            clusters: &[],
        });
        stream::iter(units.iter_mut().filter(|unit| unit.status == Status::Pending))
            .for_each_concurrent(AT_ONCE, |unit| async {
                if cx.interrupt.is_raised() {
                    return;
                }
                let began = Instant::now();
                let name = unit.name();
                let cluster = unit.placement.cluster.clone();
                cx.observer.on(&Event::TargetStarted { cluster: Some(&cluster), target: &name });
                match self.one(cx, &trail, unit, &work).await {
                    Ok(done) => {
                        unit.status = Status::Applied;
                        unit.changes = done.changes;
                        unit.refused = done.refused;
                        if let Some(error) = done.left {
                            unit.fail(&error);
                        }
                    }
                    Err(error) => {
                        unit.changes.clear();
                        unit.fail(&error);
                    }
                }
                let outcome = match &unit.error {
                    Some(failure) => failure.message.clone(),
                    None => crate::model::count(unit.changes.len(), "row"),
                };
                cx.observer.on(&Event::TargetDone {
                    cluster: Some(&cluster),
                    target: &name,
                    rows: &[],
                    outcome,
                    failed: unit.error.is_some(),
                    took: began.elapsed(),
                });
            })
            .await;
        cx.observer.on(&Event::RunDone);
        let answer = Ok(Report::Rewritten(self.report(cx, &units)));
        match (deed, &trail.session) {
            (Some(deed), Some(session)) => deed.end(cx, session, answer, summary).await,
            _ => answer,
        }
    }

    /// One schema. The trail knows of it before it happens, so that no death of this process leaves
    /// a change that nobody answers for.
    async fn one<'u>(
        &self,
        cx: &Context<'_>,
        trail: &Trail<'_>,
        unit: &Unit<'u>,
        work: &impl AsyncFn(&Unit<'u>, &Session) -> Result<Done, Error>,
    ) -> Result<Done, Error> {
        let session = session(cx, unit).await?;
        trail.note(unit, "begun", &unit.changes, None).await?;
        match work(unit, &session).await {
            Ok(done) => {
                trail.note(unit, "done", &done.changes, None).await?;
                Ok(done)
            }
            Err(error) => {
                if let Err(lost) = trail.note(unit, "failed", &[], Some(&error)).await {
                    log::warn!("{lost}");
                }
                Err(error)
            }
        }
    }

    fn report(&self, cx: &Context<'_>, units: &[Unit<'_>]) -> Rewritten {
        let mut targets: Vec<RewrittenTarget> = units.iter().flat_map(Unit::reports).collect();
        targets.sort_by(|a, b| a.tenant.cmp(&b.tenant));
        let mut notes = Vec::new();
        if self.source == Source::Declared && !self.options.dry_run {
            notes.push("there is no registry, so no audit trail keeps the reason".to_owned());
        }
        Rewritten {
            verb: self.verb,
            dry_run: self.options.dry_run,
            reason: self.options.reason.clone(),
            targets,
            notes,
            interrupted: cx.interrupt.is_raised(),
            took: self.started.elapsed(),
        }
    }
}

/// What was done in one schema.
pub(super) struct Done {
    pub(super) changes: Vec<RowChange>,
    pub(super) refused: Vec<RowChange>,
    /// Why that is not all: it stays as it is until somebody decides.
    pub(super) left: Option<Error>,
}

/// The registry's audit trail, when there is a registry.
struct Trail<'a> {
    session: Option<Session>,
    rewrite: &'a Rewrite<'a>,
}

impl<'a> Trail<'a> {
    async fn open(cx: &Context<'_>, rewrite: &'a Rewrite<'a>) -> Result<Self, Error> {
        let session = match rewrite.source {
            Source::Declared => None,
            Source::Registry => {
                let (cluster, database) = &cx.fleet.registry;
                let session = cx.servers.session(cluster, Some(database)).await?;
                registry::ensure(&session, cx.sets.registry()).await?;
                Some(session)
            }
        };
        Ok(Self { session, rewrite })
    }

    /// The whole command is one deed; what happens in each schema is noted beside it.
    async fn begin(&self, cx: &Context<'_>, units: &[Unit<'_>]) -> Result<Option<Deed>, Error> {
        let Some(session) = &self.session else {
            return Ok(None);
        };
        let event = match self.rewrite.verb {
            Rewriting::Baseline => "migrate baseline",
            Rewriting::Repair => "migrate repair",
            Rewriting::Down => "migrate down",
        };
        let tenants: Vec<&str> = units
            .iter()
            .filter(|unit| unit.status == Status::Pending)
            .flat_map(|unit| unit.tenants.iter().map(|tenant| tenant.id.as_str()))
            .collect();
        let about = json!({"reason": self.rewrite.options.reason, "tenants": tenants});
        let deed = Deed::new(cx, event, None).about(about);
        deed.start(session).await?;
        Ok(Some(deed))
    }

    async fn note(
        &self,
        unit: &Unit<'_>,
        state: &str,
        changes: &[RowChange],
        error: Option<&Error>,
    ) -> Result<(), Error> {
        let Some(session) = &self.session else {
            return Ok(());
        };
        let number = |version: Option<Version>| version.map(|version| version.0);
        let from = unit.history.version();
        let to = version_after(&unit.history.0, changes);
        let mut detail = json!({
            "state": state,
            "reason": self.rewrite.options.reason,
            "from": number(from),
            "to": number(to),
            "rows": changes.iter().map(audited).collect::<Vec<_>>(),
            "error": error.map(|error| json!({"code": error.code.id(), "message": error.message})),
        });
        if let (Value::Object(detail), Value::Object(about)) = (&mut detail, &self.rewrite.about) {
            detail.extend(about.clone());
        }
        for tenant in &unit.tenants {
            let event = self.rewrite.verb.word();
            registry::note_event(session, &tenant.id, event, detail.clone()).await?;
        }
        Ok(())
    }
}

/// How many tenants fared how.
fn summary(answer: &Report) -> Value {
    let Report::Rewritten(rewritten) = answer else {
        return Value::Null;
    };
    let counts = rewritten.counts();
    json!({"ok": counts.ok, "failed": counts.failed, "skipped": counts.skipped, "pending": counts.pending})
}

/// A row before and after, as the audit trail keeps it. Checksums are text: they are wider than the
/// numbers of most readers of JSON.
fn audited(change: &RowChange) -> Value {
    let row = |row: &crate::plan::rewrite::Row| json!({"name": row.name, "checksum": row.checksum.to_string()});
    json!({
        "version": change.version.0,
        "why": change.why.word(),
        "was": change.was.as_ref().map(row),
        "now": change.now.as_ref().map(row),
    })
}
