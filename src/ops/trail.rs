//! How a command that changes something answers for it in the audit log.
//!
//! One deed is two events: `begun` before anything is touched, then `done` or `failed`. A process
//! that is killed leaves `begun`, so nothing is done that nobody answers for. A run over thousands of
//! tenants is one deed, not one per tenant.
//!
//! ```ignore
//! let deed = Deed::new(cx, "suspend", Some(&id)).before(standing(&tenant));
//! deed.start(&control).await?;
//! let answer = work().await;
//! deed.end(cx, &control, answer, |_| json!({"state": "suspended"})).await
//! ```
//!
//! Start when it is certain that there is something to do: a command that finds nothing to do writes
//! nothing. Put no secret into `before`, `after` or `about`.

use serde_json::{Value, json};
use uuid::Uuid;

use super::Context;
use crate::error::Error;
use crate::model::ident::Ident;
use crate::model::tenant::{Tenant, TenantId};
use crate::model::trail::{NewEvent, Outcome};
use crate::pg::{Session, trail};
use crate::report::{Report, Verdict};

/// Something that is being done.
#[derive(Clone, Debug)]
pub(super) struct Deed {
    id: Uuid,
    event: &'static str,
    tenant: Option<TenantId>,
    asked: String,
    before: Value,
    about: Value,
}

impl Deed {
    /// A deed: nothing is written before [`Deed::start`]. `event` is the
    /// command as it is typed; `tenant` is none when it is about several.
    pub(super) fn new(cx: &Context<'_>, event: &'static str, tenant: Option<&TenantId>) -> Self {
        Self {
            id: Uuid::now_v7(),
            event,
            tenant: tenant.cloned(),
            asked: cx.asked.to_owned(),
            before: Value::Null,
            about: Value::Null,
        }
    }

    /// With the id that a run has already.
    #[must_use]
    pub(super) fn run(mut self, id: Uuid) -> Self {
        self.id = id;
        self
    }

    /// With how it stood before.
    #[must_use]
    pub(super) fn before(mut self, before: Value) -> Self {
        self.before = before;
        self
    }

    /// With what else should be known: a reason, a run that is taken back.
    #[must_use]
    pub(super) fn about(mut self, about: Value) -> Self {
        self.about = about;
        self
    }

    /// Writes down that it begins.
    ///
    /// `session` is one in the registry's database, and the registry is up to date.
    ///
    /// # Errors
    ///
    /// When the log cannot be written: nothing may be done then.
    pub(super) async fn start(&self, session: &Session) -> Result<(), Error> {
        self.note(session, Outcome::Begun, Value::Null, None).await
    }

    /// Writes down how it ended, and hands the answer back: `failed` for an error, and for an answer
    /// whose verdict is anything but done. `after` says how it stands now.
    ///
    /// What was done stays done when the log cannot be written any more: that is logged, and `begun`
    /// stands.
    pub(super) async fn end(
        self,
        cx: &Context<'_>,
        session: &Session,
        answer: anyhow::Result<Report>,
        after: impl FnOnce(&Report) -> Value,
    ) -> anyhow::Result<Report> {
        let (outcome, after) = match &answer {
            Ok(report) if report.verdict() == Verdict::Done => (Outcome::Done, after(report)),
            Ok(report) => (Outcome::Failed, after(report)),
            Err(_) => (Outcome::Failed, Value::Null),
        };
        let error = answer.as_ref().err().map(told);
        self.close(cx, session, outcome, after, error).await;
        answer
    }

    /// Writes down how it ended, on another session when this one is gone.
    pub(super) async fn close(
        self,
        cx: &Context<'_>,
        session: &Session,
        outcome: Outcome,
        after: Value,
        error: Option<Value>,
    ) {
        let Err(lost) = self.note(session, outcome, after.clone(), error.clone()).await else {
            return;
        };
        log::debug!("{lost}");
        let (cluster, database) = &cx.fleet.registry;
        let again = async {
            let session = cx.servers.session(cluster, Some(database)).await?;
            self.note(&session, outcome, after, error).await
        };
        if let Err(lost) = again.await {
            log::warn!(
                "{} is {} and the audit log does not say so: {lost}",
                self.event,
                outcome.word()
            );
        }
    }

    async fn note(
        &self,
        session: &Session,
        outcome: Outcome,
        after: Value,
        error: Option<Value>,
    ) -> Result<(), Error> {
        let mut detail = match &self.about {
            Value::Object(about) => Value::Object(about.clone()),
            _ => json!({}),
        };
        if let Some(error) = error {
            detail["error"] = error;
        }
        let event = NewEvent {
            tenant: self.tenant.as_ref(),
            event: self.event,
            outcome: Some(outcome),
            run: Some(self.id),
            asked: &self.asked,
            before: self.before.clone(),
            after,
            detail,
        };
        trail::add(session, &event).await
    }
}

/// A failure as the log keeps it.
pub(super) fn told(error: &anyhow::Error) -> Value {
    match Error::find(error) {
        Some(error) => json!({
            "code": error.code.id(),
            "message": error.message,
            "sqlstate": error.answer.as_ref().map(|answer| answer.sqlstate.clone()),
        }),
        None => json!({"message": error.to_string()}),
    }
}

/// How a tenant stands, as the log keeps it.
pub(super) fn standing(tenant: &Tenant) -> Value {
    json!({
        "id": tenant.id.as_str(),
        "uuid": tenant.uuid.to_string(),
        "state": tenant.state.word(),
        "isolation": tenant.isolation.word(),
        "cluster": tenant.placement.cluster.as_str(),
        "database": tenant.placement.database.as_str(),
        "schema": tenant.placement.schema.as_str(),
        "owner": tenant.owner.as_str(),
        "roles": tenant.roles.iter().map(Ident::as_str).collect::<Vec<_>>(),
        "tier": tenant.tier,
        "region": tenant.region,
        "labels": tenant.labels,
    })
}
