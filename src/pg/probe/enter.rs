//! Who a session is, and the statements that make it somebody.

use std::collections::BTreeMap;

use crate::audit::Survey;
use crate::model::catalog::Oid;
use crate::model::ident::Ident;
use crate::model::layout::Setting;
use crate::sql;
use crate::sql::{Literal, Sql};

/// Who a session logged in as, and how.
#[derive(Clone, Debug)]
pub(super) struct Who {
    /// The role of the login.
    pub(super) login: Ident,
    /// How it came in.
    pub(super) how: How,
    /// Settings with which sessions of a role begin, and which no `SET ROLE` brings.
    defaults: BTreeMap<Ident, Vec<Sql>>,
}

/// How a session came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum How {
    /// As the application does.
    Application,
    /// As a member made for the purpose.
    Prober,
    /// As whoever runs the audit.
    Operator,
}

impl Who {
    /// Knows what a role's own sessions begin with, where this one only becomes the role.
    pub(super) fn new(survey: &Survey<'_>, login: Ident, how: How, roles: &[&Ident]) -> Self {
        let mut defaults = BTreeMap::new();
        // A superuser's session keeps its own path: what the application can create must not be found
        // by it.
        let superuser = survey
            .number(&login)
            .and_then(|oid| survey.catalog.roles.get(&oid))
            .is_some_and(|role| role.superuser);
        for role in roles {
            let Some(oid) = survey.number(role) else { continue };
            let mut statements = Vec::new();
            // What the application's own login becomes begins with what the login begins with.
            if **role != login && how != How::Application {
                statements = own_defaults(survey, oid);
            }
            // Triggers may name things as the application sees them.
            if survey.path_of(oid).is_empty()
                && !superuser
                && let Some(schema) = home(survey, role)
            {
                statements.push(sql!("SET LOCAL search_path = {}, public", schema));
            }
            defaults.insert((*role).clone(), statements);
        }
        Self { login, how, defaults }
    }

    /// Whether it came in as the application does.
    pub(super) fn is_application(&self) -> bool {
        self.how == How::Application
    }

    /// The statements that make the session a role, in a tenant's name when a setting holds it.
    pub(super) fn enter(&self, role: &Ident, context: Option<(&Setting, &str)>) -> Vec<Sql> {
        let mut statements = Vec::new();
        // Alone in its own session it is who it is, with the role that its sessions begin with.
        if *role != self.login {
            statements.push(sql!("SET LOCAL ROLE {}", role));
        } else if self.defaults.len() > 1 {
            statements.push(sql!("SET LOCAL ROLE NONE"));
        }
        statements.extend(self.defaults.get(role).into_iter().flatten().cloned());
        if let Some((setting, key)) = context {
            statements.push(sql!("SET LOCAL {} = {}", setting, Literal(key)));
        }
        statements
    }
}

/// The schema that a role works in.
fn home<'s>(survey: &'s Survey<'_>, role: &Ident) -> Option<&'s Ident> {
    let tenants = survey.estate.tenants.iter().filter(|tenant| tenant.roles.contains(role));
    let mut schemas = tenants.map(|tenant| &tenant.placement.schema);
    schemas.next().or_else(|| survey.estate.shared_schema())
}

fn own_defaults(survey: &Survey<'_>, role: Oid) -> Vec<Sql> {
    let here = |database: &Option<Ident>| {
        database.as_ref().is_none_or(|name| *name == survey.catalog.database)
    };
    survey
        .catalog
        .session_defaults
        .iter()
        .filter(|default| default.role == Some(role) && here(&default.database))
        .filter(|default| {
            default.name.contains('.')
                || ["search_path", "row_security"].contains(&default.name.as_str())
        })
        .map(|default| {
            let (name, value) = (Literal(&default.name), Literal(&default.value));
            sql!("SELECT pg_catalog.set_config({}, {}, true)", name, value)
        })
        .collect()
}

/// The statements as somebody may paste them, from `BEGIN` to `ROLLBACK`.
pub(super) fn reproduction(script: &[Sql]) -> String {
    let mut text = String::from("BEGIN;\n");
    for statement in script {
        text.push_str(statement.as_str());
        text.push_str(";\n");
    }
    text.push_str("ROLLBACK;");
    text
}
