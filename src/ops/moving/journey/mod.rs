//! Carries a move out, step by step: what is left is decided by [`crate::plan::moving`], from what both
//! places and the registry say.

mod leaving;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::MoveOptions;
use super::sites::{self, Site};
use crate::error::{Code, Error};
use crate::model::desired::Desired;
use crate::model::holdings::Holdings;
use crate::model::ident::Ident;
use crate::model::migration::MigrationSet;
use crate::model::moving::{Method, Move, Phase};
use crate::model::tenant::{Isolation, Tenant};
use crate::ops::Context;
use crate::ops::converge::{Patience, converge_beside};
use crate::ops::credentials::carry_second_logins;
use crate::pg::moving::{self, Closed, Copied};
use crate::pg::{self, Session};
use crate::plan::moving::mapping::{Mapping, Side, map};
use crate::plan::moving::{Goal, Standing, Step, steps};
use crate::report::event::Event;

/// A move that is under way.
pub(super) struct Journey<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) control: &'a Session,
    pub(super) options: &'a MoveOptions,
    pub(super) moved: Move,
    pub(super) source: Desired,
    pub(super) target: Desired,
    /// The files of the new place, up to the version of the old one.
    set: MigrationSet,
    /// The places, once they are gone to.
    here: Option<Site>,
    there: Option<Site>,
    /// What was done, in words.
    pub(super) done: Vec<String>,
    pub(super) notes: Vec<String>,
}

impl<'a> Journey<'a> {
    pub(super) fn new(
        cx: &'a Context<'a>,
        control: &'a Session,
        options: &'a MoveOptions,
        tenant: &Tenant,
        moved: Move,
    ) -> Result<Self, Error> {
        Ok(Self {
            source: sites::desired(cx, tenant, &moved.source)?,
            target: sites::desired(cx, tenant, &moved.target)?,
            set: sites::up_to(cx.sets.of(moved.target.isolation), moved.version)?,
            cx,
            control,
            options,
            moved,
            here: None,
            there: None,
            done: Vec::new(),
            notes: Vec::new(),
        })
    }

    /// Does what is left to do. A failure between closing the old place and switching opens it
    /// again: the tenant must not wait for whoever reads the failure.
    pub(super) async fn travel(&mut self, goal: Goal) -> Result<(), Error> {
        let mut left = VecDeque::from(self.left(goal).await?);
        let mut frozen = false;
        while let Some(step) = left.pop_front() {
            if let Err(interrupted) = self.cx.interrupt.check(&self.attempt(step)) {
                self.thaw_after(frozen).await;
                return Err(interrupted);
            }
            frozen |= step == Step::Freeze;
            let limit = self
                .options
                .max_freeze
                .filter(|_| goal == Goal::Move && frozen && self.moved.phase == Phase::Moving);
            if let Err(error) = self.timely(step, limit).await {
                let thaw = goal == Goal::Move && self.moved.phase == Phase::Moving;
                self.thaw_after(thaw).await;
                return Err(error);
            }
            // Where changes cannot be followed after all, what is left is something else.
            if step == Step::OpenFeed {
                left = VecDeque::from(self.left(goal).await?);
            }
        }
        Ok(())
    }

    /// The steps that are left.
    pub(super) async fn left(&mut self, goal: Goal) -> Result<Vec<Step>, Error> {
        let now = self.standing(goal).await?;
        steps(&self.moved.tenant, goal, &now)
    }

    fn attempt(&self, step: Step) -> String {
        format!("moving tenant {}: {}", self.moved.tenant, step.words())
    }

    /// One step, given up when the tenant cannot write for longer than was allowed.
    async fn timely(&mut self, step: Step, limit: Option<Duration>) -> Result<(), Error> {
        let what = format!("{} ({})", step.words(), self.moved.tenant);
        let tenant = self.moved.tenant.clone();
        let observer = self.cx.observer;
        observer.on(&Event::StepStarted { tenant: &tenant, what: what.clone() });
        let begun = Instant::now();
        match limit {
            // The switch is the registry's, in one statement: nothing is left of it to give up.
            Some(limit) if step != Step::Switch => {
                let spent = self.frozen_for().await?;
                let left = limit.saturating_sub(spent);
                let attempt = self.attempt(step);
                match tokio::time::timeout(left, self.one(step)).await {
                    Ok(done) => done?,
                    Err(_) => {
                        // What the server is still asked for dies with its session.
                        self.here = None;
                        self.there = None;
                        return Err(Error::new(
                            Code::Refused,
                            format!("{attempt}: the tenant could not write for {limit:?}, which is all that --max-freeze allows"),
                        )
                        .hint("it writes in its old place again; allow more, or try in a quieter hour"));
                    }
                }
            }
            _ => self.one(step).await?,
        }
        observer.on(&Event::StepDone { tenant: &tenant, what, took: begun.elapsed() });
        self.done.push(step.words().to_owned());
        Ok(())
    }

    async fn frozen_for(&self) -> Result<Duration, Error> {
        let now = moving::find(self.control, &self.moved.tenant).await?;
        Ok(now.and_then(|now| now.frozen_for).unwrap_or_default())
    }

    /// Lets the tenant write again, as long as the registry says its old place.
    async fn thaw_after(&mut self, frozen: bool) {
        if !frozen {
            return;
        }
        let thawed = async {
            self.reread().await?;
            if self.moved.phase != Phase::Moving {
                return Ok(());
            }
            self.here = None;
            let wait = self.options.writer_wait;
            let Some((site, holdings)) = self.at_source().await? else {
                return Ok(());
            };
            if moving::closed(&site.place(), &holdings).await?.any {
                moving::open(&site.place(), &holdings, wait).await?;
            }
            moving::note_thawed(self.control, &self.moved, true).await
        };
        if let Err(error) = thawed.await {
            log::error!(
                "tenant {} may still be unable to write: run the same command again, or tenantctl move abort {}: {error}",
                self.moved.tenant,
                self.moved.tenant
            );
        }
    }

    /// Leaves both places, and looks how far it has come.
    pub(super) async fn begin_anew(&mut self) -> Result<(), Error> {
        self.here = None;
        self.there = None;
        self.reread().await
    }

    async fn reread(&mut self) -> Result<(), Error> {
        if let Some(now) = moving::find(self.control, &self.moved.tenant).await? {
            self.moved = now;
        }
        Ok(())
    }

    /// What both places say.
    async fn standing(&mut self, goal: Goal) -> Result<Standing, Error> {
        let closed = async |found: Option<(&Site, Holdings)>| match found {
            Some((site, holdings)) => moving::closed(&site.place(), &holdings).await,
            None => Ok(Closed::default()),
        };
        let source = match self.moved.phase {
            // It may be gone, in part or as a whole.
            Phase::Finishing => Closed::default(),
            _ => closed(self.at_source().await?).await?,
        };
        let target = closed(self.at_target().await?).await?;
        let feed = match (self.moved.method, self.moved.phase) {
            (Method::Freeze, _) | (_, Phase::Finishing) => moving::Feed::default(),
            (Method::Replication, _) => match self.at_source().await? {
                Some((site, _)) => moving::feed(&site.place()).await?,
                None => moving::Feed::default(),
            },
        };
        let moved = &self.moved;
        let sealed = moved.sealed.as_ref();
        let behind = moved.phase != Phase::Moving;
        Ok(Standing {
            phase: moved.phase,
            method: moved.method,
            target_made: moved.loaded,
            target_closed: if behind { target.any } else { target.all },
            loaded: moved.loaded,
            feed: if behind || goal == Goal::Abort { feed.any } else { feed.whole },
            frozen: if goal == Goal::Abort { source.any } else { source.all },
            compared: moved.sums.is_some(),
            sealed: if goal == Goal::Abort {
                sealed.is_some()
            } else {
                sealed.is_some_and(|sealed| sealed.get("done").is_some())
            },
        })
    }

    async fn at_source(&mut self) -> Result<Option<(&Site, Holdings)>, Error> {
        let (cx, id, wait) = (self.cx, self.moved.id, self.options.lock_wait);
        at(cx, &mut self.here, &self.source, id, wait).await
    }

    async fn at_target(&mut self) -> Result<Option<(&Site, Holdings)>, Error> {
        let (cx, id, wait) = (self.cx, self.moved.id, self.options.lock_wait);
        at(cx, &mut self.there, &self.target, id, wait).await
    }

    fn gone(&self, home: &crate::model::moving::Home) -> Error {
        Error::new(
            Code::NotFound,
            format!("move tenant {}: nothing of it is in {home}", self.moved.tenant),
        )
        .hint("check that the URLs of tenants.toml name the right servers")
    }

    /// Both places with what is in them.
    async fn both(&mut self) -> Result<((&Site, Holdings), (&Site, Holdings)), Error> {
        let (cx, id, wait) = (self.cx, self.moved.id, self.options.lock_wait);
        let (no_source, no_target) = (self.gone(&self.moved.source), self.gone(&self.moved.target));
        let here = at(cx, &mut self.here, &self.source, id, wait).await?.ok_or(no_source)?;
        let there = at(cx, &mut self.there, &self.target, id, wait).await?.ok_or(no_target)?;
        Ok((here, there))
    }

    async fn one(&mut self, step: Step) -> Result<(), Error> {
        match step {
            Step::Provision => self.provision().await,
            Step::CloseTarget => {
                let wait = self.options.writer_wait;
                match self.at_target().await? {
                    Some((site, holdings)) => moving::close(&site.place(), &holdings, wait).await,
                    None => Ok(()),
                }
            }
            Step::Load => self.load().await,
            Step::Freeze => self.freeze().await,
            Step::Compare => self.compare().await,
            Step::Switch => {
                moving::switch(self.control, &self.moved).await?;
                self.reread().await
            }
            Step::OpenTarget => {
                let wait = self.options.writer_wait;
                if let Some((site, holdings)) = self.at_target().await? {
                    moving::open(&site.place(), &holdings, wait).await?;
                }
                moving::note_thawed(self.control, &self.moved, false).await?;
                self.reread().await
            }
            Step::SealSource => self.seal().await,
            Step::BeginFinish => {
                moving::finish(self.control, &self.moved).await?;
                self.reread().await
            }
            Step::RemoveSource => self.remove(false).await,
            Step::CheckUntouched => self.check_untouched().await,
            Step::BeginAbort => {
                moving::abort(self.control, &self.moved).await?;
                self.reread().await
            }
            Step::UnsealSource => {
                let wait = self.options.writer_wait;
                let taken = self.moved.sealed.clone().unwrap_or_default();
                if let Some((site, holdings)) = self.at_source().await? {
                    moving::unseal_place(&site.place(), &holdings, &taken, wait).await?;
                }
                moving::seal(self.control, &self.moved, None).await
            }
            Step::OpenSource => {
                let wait = self.options.writer_wait;
                if let Some((site, holdings)) = self.at_source().await? {
                    moving::open(&site.place(), &holdings, wait).await?;
                }
                moving::note_thawed(self.control, &self.moved, true).await
            }
            Step::RemoveTarget => self.remove(true).await,
            Step::Conclude => moving::conclude(self.control, &self.moved).await,
            Step::OpenFeed => self.open_feed().await,
            Step::Follow | Step::Drain => self.follow().await,
            Step::CloseFeed => match self.at_source().await? {
                Some((site, _)) => moving::close_feed(&site.place()).await,
                None => Ok(()),
            },
        }
    }

    /// Makes the new place, and refuses what would not fit into it before anything is copied.
    async fn provision(&mut self) -> Result<(), Error> {
        // A session in a database that is copied, or dropped, would be in the way.
        self.there = None;
        let patience = Patience { lock_wait: self.options.lock_wait, limits: self.options.limits };
        let mut target = self.target.clone();
        let made = converge_beside(self.cx, self.control, &mut target, &self.set, patience).await?;
        self.notes.extend(made.notes);
        carry_second_logins(self.cx, self.control, &target.tenant).await?;
        self.reapply().await?;
        let version = self.moved.version;
        let ((here, held), (there, new)) = self.both().await?;
        let arrived = there.history().await?.version();
        if arrived != version {
            let spoken = |version: Option<crate::model::migration::Version>| {
                version.map_or_else(|| "no version".to_owned(), |version| format!("V{version}"))
            };
            return Err(Error::new(
                Code::Refused,
                format!(
                    "move tenant {}: it is at {}, and {} is at {}",
                    self.moved.tenant,
                    spoken(version),
                    self.moved.target,
                    spoken(arrived)
                ),
            )
            .hint("bring both to one version first: tenantctl migrate up"));
        }
        let mapping = map(
            Side { tenant: here.place().tenant, holdings: &held },
            Side { tenant: there.place().tenant, holdings: &new },
        )?;
        let (here, there) = (here.place(), there.place());
        refuse_reference(&moving::references_agree(&here, &there, &mapping).await?, here.tenant)?;
        refuse_hidden(&moving::hidden(&here, &held).await?, here.tenant)?;
        self.notes.extend(mapping.notes);
        Ok(())
    }

    /// Repeatable files come behind all migrations.
    async fn reapply(&mut self) -> Result<(), Error> {
        if self.target.tenant.isolation == Isolation::Shared || self.set.repeatables().is_empty() {
            return Ok(());
        }
        let placement = &self.target.tenant.placement;
        let session =
            self.cx.servers.dedicated(&placement.cluster, Some(&placement.database)).await?;
        let schema = pg::Schema {
            placement,
            owner: &self.target.tenant.owner,
            set: &self.set,
            limits: self.options.limits,
            lock_wait: self.options.lock_wait,
        };
        pg::reapply(&session, &schema).await?;
        Ok(())
    }

    async fn freeze(&mut self) -> Result<(), Error> {
        let wait = self.options.writer_wait;
        moving::note_frozen(self.control, &self.moved).await?;
        let Some((site, holdings)) = self.at_source().await? else {
            return Err(self.gone(&self.moved.source));
        };
        moving::close(&site.place(), &holdings, wait).await
    }

    /// A server that does not let its log be kept now makes the tenant wait, not the move.
    async fn open_feed(&mut self) -> Result<(), Error> {
        moving::unload(self.control, &self.moved).await?;
        let Some((site, holdings)) = self.at_source().await? else {
            return Err(self.gone(&self.moved.source));
        };
        if let Err(refused) = moving::open_feed(&site.place(), &holdings).await {
            if refused.code == Code::Unreachable {
                return Err(refused);
            }
            self.notes.push(format!("it was copied while it could not write: {refused}"));
            moving::freeze_instead(self.control, &self.moved).await?;
        }
        self.reread().await
    }

    async fn follow(&mut self) -> Result<(), Error> {
        let seen = self.moved.snapshot.clone().unwrap_or_default();
        let ((here, held), (there, new)) = self.both().await?;
        let mapping = mapped((here, &held), (there, &new))?;
        let (here, there) = (here.place(), there.place());
        let changes = moving::follow(&here, (&there, &new), &mapping, &seen).await?;
        log::info!("applied {changes} changes");
        Ok(())
    }

    async fn load(&mut self) -> Result<(), Error> {
        let (observer, tenant) = (self.cx.observer, self.moved.tenant.clone());
        let told = |copied: &Copied| {
            let rows = usize::try_from(copied.rows).unwrap_or(usize::MAX);
            let what = format!("copied {} ({})", copied.table, crate::model::count(rows, "row"));
            observer.on(&Event::StepDone { tenant: &tenant, what, took: copied.took });
        };
        moving::unload(self.control, &self.moved).await?;
        let (control, moved) = (self.control, self.moved.clone());
        let ((here, held), (there, new)) = self.both().await?;
        let mapping = mapped((here, &held), (there, &new))?;
        let (here, there) = (here.place(), there.place());
        if moved.method == Method::Replication {
            moving::forget_applied(&there, &new).await?;
        }
        let begun = async || {
            if moved.method == Method::Freeze {
                return Ok(());
            }
            let seen = moving::snapshot(&here).await?;
            moving::keep_snapshot(control, &moved, &seen).await
        };
        moving::load((&here, &held), (&there, &new), &mapping, begun, told).await?;
        moving::refresh(&there, &new).await?;
        moving::mark_loaded(self.control, &self.moved).await?;
        self.reread().await
    }

    async fn compare(&mut self) -> Result<(), Error> {
        let version = self.moved.version;
        let ((here, held), (there, new)) = self.both().await?;
        for site in [here, there] {
            if site.history().await?.version() != version {
                return Err(Error::new(
                    Code::Refused,
                    format!(
                        "move tenant {}: {} was migrated meanwhile",
                        site.place().tenant.id,
                        site.place().tenant.placement
                    ),
                )
                .hint(format!(
                    "begin anew with: tenantctl move abort {}",
                    site.place().tenant.id
                )));
            }
        }
        let mapping = mapped((here, &held), (there, &new))?;
        let (here, there) = (here.place(), there.place());
        if !moving::closed(&here, &held).await?.all || !moving::closed(&there, &new).await?.all {
            return Err(Error::new(
                Code::Refused,
                format!("move tenant {}: a table was made while it moved", here.tenant.id),
            )
            .hint("run the same command again"));
        }
        refuse_reference(&moving::references_agree(&here, &there, &mapping).await?, here.tenant)?;
        moving::advance(&there, &held, &new).await?;
        let (source, target) = tokio::try_join!(
            moving::sums(&here, &held, &mapping, |mapped| &mapped.source),
            moving::sums(&there, &new, &mapping, |mapped| &mapped.target),
        )?;
        if source != target {
            let differ: Vec<String> = source
                .iter()
                .zip(&target)
                .filter(|(here, there)| here != there)
                .map(|(here, there)| {
                    format!("{} ({} rows here, {} there)", here.table, here.rows, there.rows)
                })
                .collect();
            return Err(Error::new(
                Code::Server,
                format!(
                    "move tenant {}: the copy differs in {}",
                    here.tenant.id,
                    differ.join(", ")
                ),
            )
            .hint("the tenant stays where it is: run the same command again, or abort the move"));
        }
        moving::keep_sums(self.control, &self.moved, &source).await?;
        self.reread().await
    }
}

async fn at<'s>(
    cx: &Context<'_>,
    slot: &'s mut Option<Site>,
    desired: &Desired,
    id: uuid::Uuid,
    wait: Duration,
) -> Result<Option<(&'s Site, Holdings)>, Error> {
    if slot.is_none() {
        *slot = Site::open(cx, desired, id, wait).await?;
    }
    let Some(site) = slot else {
        return Ok(None);
    };
    Ok(site.holdings().await?.map(|holdings| (&*site, holdings)))
}

fn mapped(
    (here, held): (&Site, &Holdings),
    (there, new): (&Site, &Holdings),
) -> Result<Mapping, Error> {
    map(
        Side { tenant: here.place().tenant, holdings: held },
        Side { tenant: there.place().tenant, holdings: new },
    )
}

fn refuse_reference(differ: &[Ident], tenant: &Tenant) -> Result<(), Error> {
    if differ.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = differ.iter().map(Ident::as_str).collect();
    Err(Error::new(
        Code::Refused,
        format!("move tenant {}: what tenants share differs in {}", tenant.id, names.join(", ")),
    )
    .hint("its rows are nobody's: make them the same in both places first, or remove them"))
}

fn refuse_hidden(hidden: &[Ident], tenant: &Tenant) -> Result<(), Error> {
    if hidden.is_empty() {
        return Ok(());
    }
    let names: Vec<&str> = hidden.iter().map(Ident::as_str).collect();
    Err(Error::new(
        Code::Refused,
        format!(
            "move tenant {}: policies hide rows of it in {} from whoever would copy them",
            tenant.id,
            names.join(", ")
        ),
    )
    .hint("let the tables' owner see every row of the current tenant, by a policy of its own"))
}
