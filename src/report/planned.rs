//! What would be done.

use crate::model::tenant::{Isolation, Tenant};
use crate::plan::{Change, Hazard, Plan, Site};
use crate::sql::Sql;

/// A plan that was not carried out.
#[derive(Debug)]
pub struct Planned {
    /// The tenant that it is about.
    pub tenant: Tenant,
    /// Its steps.
    pub steps: Vec<PlannedStep>,
    /// What a person should know beforehand.
    pub hazards: Vec<Hazard>,
    /// What is not done, and why.
    pub notes: Vec<String>,
}

/// One step of it.
#[derive(Debug)]
pub struct PlannedStep {
    /// In words.
    pub what: String,
    /// Where it runs.
    pub site: String,
    /// What a person should know.
    pub hazards: Vec<Hazard>,
    /// The statements.
    pub statements: Vec<Sql>,
}

impl Planned {
    /// Takes what a person wants to read from a plan.
    pub fn new(tenant: Tenant, plan: &Plan) -> Self {
        let steps = plan
            .steps
            .iter()
            .map(|step| PlannedStep {
                what: step.change.describe(),
                site: match &step.site {
                    Site::Registry => "registry".to_owned(),
                    Site::Server => format!("cluster {}", tenant.placement.cluster),
                    Site::Template { database, role: None } => format!("database {database}"),
                    Site::Template { database, role: Some(role) } => {
                        format!("database {database} as {role}")
                    }
                    Site::Database { role: None } => {
                        format!("database {}", tenant.placement.database)
                    }
                    Site::Database { role: Some(role) } => {
                        format!("database {} as {role}", tenant.placement.database)
                    }
                },
                hazards: step.change.hazards(),
                statements: match &step.change {
                    // A verifier opens nothing, but it has no place on a screen either.
                    Change::SetPassword { .. } | Change::IssuePassword { .. } => Vec::new(),
                    change => change.statements(&plan.server),
                },
            })
            .collect();
        let mut notes = plan.notes.clone();
        if plan.continues {
            let then = if tenant.isolation == Isolation::Shared {
                "the tables that these migrations make are then bound to the current tenant (policy, \
                 ENABLE and FORCE ROW LEVEL SECURITY) and granted to the application's roles"
            } else {
                "the objects that come with the copy are then granted to the application's roles, \
                 and new ones by default"
            };
            notes.push(then.to_owned());
        }
        Self { tenant, steps, hazards: plan.hazards(), notes }
    }
}
