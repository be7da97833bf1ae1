//! Did every schema reach what its history claims? Compares the fleet's schemas with each other, and
//! with what the migration files make.

mod reference;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use futures_util::stream::{self, StreamExt as _};

use crate::error::{Code, Error};
use crate::model::count;
use crate::model::ident::Ident;
use crate::model::migration::{History, Version};
use crate::model::structure::{Fact, Fingerprint, Flaw, OwnNames, Structure};
use crate::model::tenant::{Isolation, Placement, State, Tenant, TenantId};
use crate::ops::list::{Database, histories};
use crate::ops::select::{Selection, unknown};
use crate::ops::{Context, fleet};
use crate::pg;
use crate::plan::drift::{Claim, Difference, Group, differences, from_files, groups};
use crate::report::event::Event;
use crate::report::{
    Compared, ComparedGroup, Deviant, Failure, Flawed, FromFiles, Norm, Report, Source, Subject,
    Unread,
};

/// So many schemas are read in one transaction: a session that has seen more keeps much memory.
const SLICE: usize = 250;

/// So many sessions read at once.
const AT_ONCE: usize = 4;

/// So many deviating schemas are looked at closely at once: all their definitions are in memory.
const CLOSELY: usize = 32;

/// How `migrate verify` looks.
#[derive(Clone, Debug, Default)]
pub struct SchemasOptions {
    /// Whom it is about; they are compared with the whole fleet.
    pub selection: Selection,
    /// Whose schema is right; that of most tenants without one.
    pub against: Option<TenantId>,
    /// Whether to apply the migration files for nobody, and compare with what they make.
    pub files: bool,
}

/// Compares the selected schemas with those of the fleet that claim the same version. Only reads,
/// unless the files are asked: they are applied in a transaction that is rolled back.
///
/// # Errors
///
/// When nobody knows the tenants, and for a selection or an `against` that names one that does not
/// exist. A schema that cannot be read is part of the answer.
pub async fn verify_schemas(cx: &Context<'_>, options: &SchemasOptions) -> anyhow::Result<Report> {
    let started = Instant::now();
    let (tenants, source) = fleet::tenants(cx).await?;
    if tenants.is_empty() {
        return Err(fleet::none(source).into());
    }
    if let Some(id) = options.against.as_ref()
        && !tenants.iter().any(|tenant| tenant.id == *id)
    {
        return Err(unknown(id, &tenants).into());
    }
    let selected = options.selection.pick(tenants.clone())?;
    let models: BTreeSet<Isolation> = selected.iter().map(|tenant| tenant.isolation).collect();
    let selected: BTreeSet<TenantId> = selected.into_iter().map(|tenant| tenant.id).collect();
    let skipped =
        |tenant: &Tenant| source == Source::Registry && tenant.state == State::Provisioning;
    let half_made = tenants.iter().filter(|one| skipped(one) && selected.contains(&one.id)).count();
    let tenants: Vec<Tenant> = tenants
        .into_iter()
        .filter(|tenant| models.contains(&tenant.isolation) && !skipped(tenant))
        .collect();
    let mut fleet = Schemas::new(cx, &tenants, &selected);
    cx.observer
        .on(&Event::Working { what: &format!("reading {}", count(fleet.0.len(), "schema")) });
    fleet.read(cx, &tenants).await?;
    let mut answer = Compared {
        groups: Vec::new(),
        deviants: Vec::new(),
        flaws: fleet.flaws(cx),
        unread: fleet.unread(),
        compared: fleet.0.iter().filter(|one| one.selected && one.read.is_ok()).count(),
        half_made,
        asked_files: options.files,
        took: started.elapsed(),
    };
    let files = options.files.then_some(source == Source::Registry);
    fleet.compare(cx, options.against.as_ref(), files, &mut answer).await?;
    answer.took = started.elapsed();
    Ok(Report::Compared(answer))
}

/// One schema of the fleet, and what was read of it.
struct Schema {
    subject: Subject,
    isolation: Isolation,
    names: OwnNames,
    /// One of those who live there.
    first: Tenant,
    selected: bool,
    read: Result<(History, u32, Structure), Failure>,
}

impl Schema {
    fn database(&self) -> Database {
        let Placement { cluster, database, .. } = &self.subject.placement;
        (cluster.clone(), database.clone())
    }

    fn claim(&self) -> Option<(Claim, Fingerprint)> {
        let (history, major, structure) = self.read.as_ref().ok()?;
        let claim = Claim { isolation: self.isolation, version: history.version(), major: *major };
        Some((claim, structure.fingerprint.with(history)))
    }
}

/// The schemas of the fleet, in the order of their first tenants.
struct Schemas(Vec<Schema>);

impl Schemas {
    fn new(cx: &Context<'_>, tenants: &[Tenant], selected: &BTreeSet<TenantId>) -> Self {
        let mut homes: BTreeMap<(&Placement, Isolation), Vec<&Tenant>> = BTreeMap::new();
        for tenant in tenants {
            homes.entry((&tenant.placement, tenant.isolation)).or_default().push(tenant);
        }
        let mut schemas: Vec<Schema> = homes
            .into_iter()
            .filter_map(|((placement, isolation), tenants)| {
                let first = *tenants.first()?;
                let mut ids: Vec<TenantId> = tenants.iter().map(|one| one.id.clone()).collect();
                ids.sort_unstable();
                Some(Schema {
                    selected: ids.iter().any(|id| selected.contains(id)),
                    subject: Subject { tenants: ids, placement: placement.clone() },
                    isolation,
                    names: own_names(cx, placement, first),
                    first: first.clone(),
                    read: Err(Failure::from(&Error::new(Code::Bug, "nothing was read"))),
                })
            })
            .collect();
        schemas.sort_by(|a, b| a.subject.tenants.cmp(&b.subject.tenants));
        Self(schemas)
    }

    /// The schemas of each database, in slices.
    fn slices(&self, of: &[usize], size: usize) -> Vec<(Database, Vec<usize>)> {
        let mut databases: BTreeMap<Database, Vec<usize>> = BTreeMap::new();
        for at in of {
            databases.entry(self.0[*at].database()).or_default().push(*at);
        }
        databases
            .into_iter()
            .flat_map(|(database, all)| {
                let slice = |slice: &[usize]| (database.clone(), slice.to_vec());
                all.chunks(size).map(slice).collect::<Vec<_>>()
            })
            .collect()
    }

    async fn read(&mut self, cx: &Context<'_>, tenants: &[Tenant]) -> Result<(), Error> {
        let histories = histories(cx, tenants).await;
        let all: Vec<usize> = (0..self.0.len()).collect();
        let schemas = &self.0;
        let found: Vec<(Vec<usize>, Result<pg::Structures, Error>)> =
            stream::iter(self.slices(&all, SLICE))
                .map(|(database, slice)| async move {
                    let read = async {
                        cx.interrupt.check("the comparison")?;
                        let names: Vec<_> = slice.iter().map(|at| &schemas[*at].names).collect();
                        let session = cx.servers.dedicated(&database.0, Some(&database.1)).await?;
                        pg::structures(&session, &names).await
                    };
                    let found = read.await;
                    (slice, found)
                })
                .buffer_unordered(AT_ONCE)
                .collect()
                .await;
        cx.interrupt.check("the comparison")?;
        for (slice, mut found) in found {
            for at in slice {
                let schema = &mut self.0[at];
                let history = histories.get(&schema.database());
                schema.read = read(&schema.subject.placement, history, &mut found)
                    .map_err(|error| Failure::from(&error));
            }
        }
        Ok(())
    }

    /// What is wrong with selected schemas whatever the others look like.
    fn flaws(&self, cx: &Context<'_>) -> Vec<Flawed> {
        let mut flaws: BTreeMap<Flaw, Vec<Subject>> = BTreeMap::new();
        for schema in self.0.iter().filter(|schema| schema.selected) {
            let Ok((history, _, structure)) = &schema.read else { continue };
            let unclaimed = history.version().is_none()
                && structure.tables > 0
                && cx.sets.of(schema.isolation).head().is_some();
            let unclaimed = unclaimed.then_some(Flaw::NoHistory { tables: structure.tables });
            for flaw in structure.flaws.iter().cloned().chain(unclaimed) {
                flaws.entry(flaw).or_default().push(schema.subject.clone());
            }
        }
        flaws.into_iter().map(|(flaw, schemas)| Flawed { flaw, schemas }).collect()
    }

    fn unread(&self) -> Vec<Unread> {
        let selected = self.0.iter().filter(|schema| schema.selected);
        selected
            .filter_map(|schema| {
                let failure = schema.read.as_ref().err()?.clone();
                Some(Unread { schema: schema.subject.clone(), failure })
            })
            .collect()
    }

    /// Groups what was read, and looks closely at those that deviate. `files` says whether the files
    /// are asked as well, and then whether a registry knows the tenants.
    async fn compare(
        &self,
        cx: &Context<'_>,
        against: Option<&TenantId>,
        files: Option<bool>,
        answer: &mut Compared,
    ) -> Result<(), Error> {
        let (places, claims): (Vec<usize>, Vec<(Claim, Fingerprint)>) =
            self.0.iter().enumerate().filter_map(|(at, one)| Some((at, one.claim()?))).unzip();
        let named = against
            .and_then(|id| places.iter().position(|at| self.0[*at].subject.tenants.contains(id)));
        let mut found = groups(&claims, named);
        for group in &mut found {
            group
                .alike
                .iter_mut()
                .chain(group.deviants.iter_mut().flatten())
                .for_each(|at| *at = places[*at]);
        }
        let named = named.map(|at| places[at]);
        for group in found {
            let members = || group.alike.iter().chain(group.deviants.iter().flatten());
            let Some(first) = group.alike.first() else { continue };
            if !members().any(|at| self.0[*at].selected) {
                continue;
            }
            let norm = named.filter(|at| group.alike.contains(at)).unwrap_or(*first);
            let standard = match files {
                Some(registered) if group.claim.version.is_some() => {
                    Some(self.standard(cx, norm, registered).await?)
                }
                _ => None,
            };
            let files = self.look(cx, &group, norm, standard, answer).await?;
            answer.groups.push(ComparedGroup {
                claim: group.claim,
                schemas: members().count(),
                alike: group.alike.len(),
                fingerprint: self.0[norm].claim().map(|(_, print)| print).unwrap_or_default(),
                // Where the files say who is right, it does not matter how many are not.
                tied: group.tied && !matches!(files, Some(FromFiles::Made { .. })),
                files,
            });
        }
        Ok(())
    }

    /// What the files make of the norm's version.
    async fn standard(
        &self,
        cx: &Context<'_>,
        norm: usize,
        registered: bool,
    ) -> Result<Result<Standard, Failure>, Error> {
        cx.interrupt.check("the comparison")?;
        let schema = &self.0[norm];
        let Ok((history, ..)) = &schema.read else {
            return Ok(Err(moved(&schema.subject).failure));
        };
        let of = format!("{} at V{}", schema.isolation, history.version().unwrap_or(Version(0)));
        cx.observer.on(&Event::Working { what: &format!("applying the files of {of} for nobody") });
        let made = match reference::make(cx, &schema.first, history, registered).await {
            Ok(made) => made,
            Err(error) => return Ok(Err(Failure::from(&error))),
        };
        let Some(norm) = self.facts(cx, &[norm]).await?.remove(&norm) else {
            return Ok(Err(moved(&schema.subject).failure));
        };
        Ok(Ok(Standard { isolation: schema.isolation, made, norm }))
    }

    /// Says how the deviating schemas of a group differ from its norm, or from what the files make
    /// where the norm is something else, and what the files say of them all.
    async fn look(
        &self,
        cx: &Context<'_>,
        group: &Group,
        norm: usize,
        standard: Option<Result<Standard, Failure>>,
        answer: &mut Compared,
    ) -> Result<Option<FromFiles>, Error> {
        let (standard, unmade) = match standard {
            Some(Ok(standard)) => (Some(standard), None),
            Some(Err(failure)) => (None, Some(FromFiles::NotMade(failure))),
            None => (None, None),
        };
        let others = group.deviants.iter();
        match standard {
            Some(standard) if !standard.of(&standard.norm).is_empty() => {
                let parts = [&group.alike].into_iter().chain(others);
                let judge = |found: &[Fact]| Some(standard.of(found));
                let alike = self.told(cx, group, parts, &Norm::Files, judge, answer).await?;
                Ok(Some(FromFiles::Made { alike, outside: standard.made.outside }))
            }
            standard => {
                let asked = group.deviants.iter().flatten().any(|at| self.0[*at].selected);
                let expected = if !asked {
                    None
                } else if let Some(standard) = &standard {
                    Some(standard.norm.clone())
                } else {
                    self.facts(cx, &[norm]).await?.remove(&norm)
                };
                let against = Norm::Schema(self.0[norm].subject.clone());
                let judge = |found: &[Fact]| Some(differences(expected.as_ref()?, found));
                self.told(cx, group, others, &against, judge, answer).await?;
                Ok(standard.map_or(unmade, |standard| {
                    let (alike, outside) = (group.alike.len(), standard.made.outside);
                    Some(FromFiles::Made { alike, outside })
                }))
            }
        }
    }

    /// Looks closely at the parts of a group, of which one schema stands for all that look alike, and
    /// tells of those that somebody asked for. Returns how many schemas do not deviate.
    async fn told(
        &self,
        cx: &Context<'_>,
        group: &Group,
        parts: impl Iterator<Item = &Vec<usize>>,
        against: &Norm,
        judge: impl Fn(&[Fact]) -> Option<Vec<Difference>>,
        answer: &mut Compared,
    ) -> Result<usize, Error> {
        let files = matches!(against, Norm::Files);
        let mut alike = 0;
        let parts: BTreeMap<usize, &Vec<usize>> = parts
            .filter_map(|part| {
                let asked = part.iter().find(|at| self.0[**at].selected);
                // Who is like the files is counted in the whole fleet.
                Some((*asked.or_else(|| part.first().filter(|_| files))?, part))
            })
            .collect();
        let closely: Vec<usize> = parts.keys().copied().collect();
        for chunk in closely.chunks(CLOSELY) {
            let mut found = self.facts(cx, chunk).await?;
            for at in chunk {
                let part = parts.get(at).copied().into_iter().flatten();
                let schemas: Vec<&Subject> = part
                    .clone()
                    .map(|at| &self.0[*at])
                    .filter(|schema| schema.selected)
                    .map(|schema| &schema.subject)
                    .collect();
                match found.remove(at).as_deref().and_then(&judge) {
                    Some(differences) if !differences.is_empty() => {
                        if schemas.is_empty() {
                            continue;
                        }
                        answer.deviants.push(Deviant {
                            schemas: schemas.into_iter().cloned().collect(),
                            claim: group.claim,
                            fingerprint: self.0[*at]
                                .claim()
                                .map(|(_, print)| print)
                                .unwrap_or_default(),
                            against: against.clone(),
                            differences,
                        });
                    }
                    Some(_) if files => alike += part.count(),
                    _ => answer.unread.extend(schemas.into_iter().map(moved)),
                }
            }
        }
        Ok(alike)
    }

    /// Every fact about a few schemas, with what their histories claim; without those whose claim
    /// changed since it was read.
    async fn facts(
        &self,
        cx: &Context<'_>,
        of: &[usize],
    ) -> Result<BTreeMap<usize, Vec<Fact>>, Error> {
        let mut all = BTreeMap::new();
        for (database, slice) in self.slices(of, CLOSELY) {
            cx.interrupt.check("the comparison")?;
            let names: Vec<&OwnNames> = slice.iter().map(|at| &self.0[*at].names).collect();
            let schemas: Vec<&Ident> = names.iter().map(|names| &names.schema).collect();
            let session = cx.servers.dedicated(&database.0, Some(&database.1)).await?;
            let mut facts = pg::facts(&session, &names).await?;
            let histories = pg::histories(&session, &schemas).await?;
            for at in slice {
                let schema = &self.0[at];
                let name = &schema.names.schema;
                let known = schema.read.as_ref().ok().map(|(history, ..)| history);
                let now = histories.get(name).and_then(|history| history.as_ref().ok());
                // Migrated while it was looked at: it claims something else by now.
                if now == known
                    && let Some(mut found) = facts.remove(name)
                {
                    found.extend(now.into_iter().flat_map(Fact::of_history));
                    all.insert(at, found);
                }
            }
        }
        Ok(all)
    }
}

/// What the files make, and what most of the fleet look like in what the files leave open.
struct Standard {
    isolation: Isolation,
    made: pg::Rehearsed,
    norm: Vec<Fact>,
}

impl Standard {
    fn of(&self, found: &[Fact]) -> Vec<Difference> {
        from_files(self.isolation, &self.made.facts, &self.norm, found)
    }
}

/// A schema that was another when it was looked at again.
fn moved(schema: &Subject) -> Unread {
    let what = format!("schema {} changed while it was looked at", schema.placement.schema);
    let error = Error::new(Code::LockBusy, what).hint("run it again when nobody changes it");
    Unread { schema: schema.clone(), failure: Failure::from(&error) }
}

/// What is known of one schema, from what was read of its database.
fn read(
    placement: &Placement,
    histories: Option<&Result<pg::Histories, Error>>,
    found: &mut Result<pg::Structures, Error>,
) -> Result<(History, u32, Structure), Error> {
    let again = |error: &Error| {
        let mut same = Error::new(error.code, error.message.clone());
        same.hints.clone_from(&error.hints);
        same.answer.clone_from(&error.answer);
        same
    };
    let Placement { database, schema, .. } = placement;
    let gone = || {
        Error::new(Code::NotFound, format!("there is no schema {schema} in database {database}"))
            .hint("bring it back from a backup, or check that the URL names the right server")
    };
    let history = match histories {
        Some(Ok(histories)) => match histories.get(schema) {
            Some(Ok(history)) => history.clone(),
            Some(Err(error)) => return Err(again(error)),
            None => return Err(gone()),
        },
        Some(Err(error)) => return Err(again(error)),
        None => return Err(gone()),
    };
    match found {
        Ok(structures) => match structures.schemas.remove(schema) {
            Some(structure) => Ok((history, structures.major, structure?)),
            None => Err(gone()),
        },
        Err(error) => Err(again(error)),
    }
}

/// The names in a schema that are its tenant's own, and differ from tenant to tenant.
fn own_names(cx: &Context<'_>, placement: &Placement, tenant: &Tenant) -> OwnNames {
    let single = tenant.isolation != Isolation::Shared;
    let readonly = cx.fleet.layout(tenant.isolation).readonly.as_ref();
    OwnNames {
        schema: placement.schema.clone(),
        stands_for: None,
        whole_database: tenant.isolation == Isolation::Database,
        owner: tenant.owner.clone(),
        roles: if single { tenant.roles.clone() } else { Vec::new() },
        readonly: readonly
            .filter(|name| single && name.per_tenant())
            .and_then(|name| name.name(&tenant.id).ok()),
        uuid: single.then_some(tenant.uuid),
    }
}
