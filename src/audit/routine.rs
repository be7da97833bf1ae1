//! What a routine that runs as its owner works on, and where it looks names up.

use std::collections::BTreeSet;

use super::injection::injectable;
use super::survey::{Subject, Survey};
use super::text::relations;
use crate::model::catalog::{Command, Function, Oid, Privilege, Privileges, Relation};

/// What a routine works on that its caller should not.
pub(super) struct Touched {
    /// In words.
    pub(super) what: String,
    /// It is another tenant's, also where the caller is at home.
    pub(super) foreign: bool,
}

/// What a definer routine reaches past what binds its caller, unless it asks who is calling.
pub(super) fn touched(survey: &Survey<'_>, oid: Oid, function: &Function) -> Option<Touched> {
    let names = relations(&function.body);
    if injectable(function) && powerful(survey, function.owner) {
        let what = "runs text that its caller may give".to_owned();
        return Some(Touched { what, foreign: several(survey, function.owner) });
    }
    if survey.asks(oid) {
        return None;
    }
    let home = survey.ground(function.schema).map(|ground| &ground.tenants);
    // What a tenant's own function does, it does to that tenant's rows: other tenants may not call it.
    let private = home.filter(|home| {
        home.iter().any(|tenant| survey.number(&tenant.owner) == Some(function.owner))
    });
    if let Some(home) = private
        && home.iter().all(|tenant| owns_only(survey, function.owner, tenant.id.as_str()))
    {
        let what = format!("works for tenant {}", home[0].id);
        return Some(Touched { what, foreign: false });
    }
    let free = |oid: Oid, table| {
        Command::ALL.into_iter().any(|command| survey.free(function.owner, (oid, table), command))
    };
    // In a tenant's own schema a bare name is its own table's.
    let named = survey.rows().filter(|(_, table)| match home {
        None => names.names(&table.name),
        Some(_) => names.qualifies(&table.name),
    });
    // To add to a copy that nobody reads takes nothing from anybody.
    let adds = |oid: &Oid, table: &Relation| {
        !survey.tenant_tables.contains(oid) && !names.uses(&table.name)
    };
    let mut named = named.filter(|(oid, table)| !adds(oid, table));
    if let Some((_, table)) = named.find(|(oid, table)| free(*oid, table)) {
        return Some(Touched { what: format!("reaches {}", table.name), foreign: home.is_some() });
    }
    let other = reached_grounds(survey, function.owner).into_iter().find(|schema| {
        let elsewhere = home.is_none_or(|home| {
            survey.ground(*schema).is_none_or(|ground| ground.tenants[0].id != home[0].id)
        });
        let named = survey.catalog.schemas.get(schema);
        elsewhere && named.is_some_and(|schema| names.says(schema.name.as_str()))
    });
    if let Some(schema) = other.and_then(|schema| survey.catalog.schemas.get(&schema)) {
        return Some(Touched { what: format!("reaches schema {}", schema.name), foreign: true });
    }
    // Statements that are put together at run time may name anything the owner can read.
    let dynamic = names.says("execute") && powerful(survey, function.owner);
    let foreign = several(survey, function.owner);
    dynamic.then(|| Touched { what: "builds its statements at run time".to_owned(), foreign })
}

/// Whether a role's tables in tenants' schemas are one tenant's.
fn owns_only(survey: &Survey<'_>, role: Oid, tenant: &str) -> bool {
    reached_grounds(survey, role).into_iter().all(|schema| {
        survey
            .ground(schema)
            .is_none_or(|ground| ground.tenants.iter().any(|own| own.id.as_str() == tenant))
    })
}

/// The tenants' schemas that a role owns, or rules as a superuser.
fn reached_grounds(survey: &Survey<'_>, role: Oid) -> Vec<Oid> {
    let superuser = survey.catalog.roles.get(&role).is_some_and(|role| role.superuser);
    if superuser {
        return survey.territories.keys().copied().collect();
    }
    survey.grounds_of(role)
}

/// Whether a role rules the schemas of more than one tenant.
fn several(survey: &Survey<'_>, role: Oid) -> bool {
    let mut tenants = reached_grounds(survey, role)
        .into_iter()
        .filter_map(|schema| survey.ground(schema))
        .map(|ground| &ground.tenants[0].id);
    let first = tenants.next();
    tenants.any(|other| Some(other) != first)
}

/// Whether a role works past what keeps tenants apart.
pub(super) fn powerful(survey: &Survey<'_>, role: Oid) -> bool {
    survey.catalog.roles.get(&role).is_some_and(crate::model::catalog::Role::exempt)
        || several(survey, role)
        || survey.rows().any(|(oid, table)| {
            // A table that nothing guards is judged where it is.
            table.rls && survey.free(role, (oid, table), Command::Select)
        })
}

/// How names that a routine uses can be made to mean something else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Confusion {
    /// It looks names up where its caller says.
    Caller(String),
    /// A temporary table comes first.
    Temporary(String),
    /// The caller may make things where it looks.
    Writable(String),
}

impl Confusion {
    pub(super) fn phrase(&self) -> String {
        match self {
            Self::Caller(name) => {
                format!("looks {name} up in the search_path of its caller")
            }
            Self::Temporary(name) => {
                format!("names {name} without its schema, and a temporary table comes first")
            }
            Self::Writable(schema) => {
                format!("looks names up in schema {schema}, where its caller may make them")
            }
        }
    }
}

/// Whether a caller can have a routine use another relation than was meant.
pub(super) fn confusion(
    survey: &Survey<'_>,
    function: &Function,
    caller: &Subject<'_>,
    known: &BTreeSet<&str>,
) -> Option<Confusion> {
    let names = relations(&function.body);
    let bare = names.bare.iter().find(|name| known.contains(name.as_str()));
    let path = function.settings.iter().find_map(|setting| setting.strip_prefix("search_path="));
    let Some(path) = path else {
        // To have another relation found takes one of that name: a temporary one, or in a schema of
        // another tenant.
        let can = survey.makes_temporary(caller)
            || survey.makes_objects(caller)
            || !survey.territories.is_empty();
        return bare.filter(|_| can).cloned().map(Confusion::Caller);
    };
    let schemas: Vec<&str> = path.split(',').map(|part| part.trim().trim_matches('"')).collect();
    let open = survey.catalog.schemas.iter().find(|(oid, schema)| {
        schemas.contains(&schema.name.as_str())
            && !caller.closure.contains_key(&schema.owner)
            && survey.enters(caller, **oid)
            && survey.privileges(caller, schema.owner, &schema.grants).has(Privilege::Create)
    });
    if let Some((_, schema)) = open {
        return Some(Confusion::Writable(schema.name.to_string()));
    }
    // pg_temp comes first unless it is named.
    let first = !schemas.contains(&"pg_temp");
    bare.filter(|_| first && survey.makes_temporary(caller)).cloned().map(Confusion::Temporary)
}

/// The names of relations that somebody could mean.
pub(super) fn relation_names<'a>(survey: &Survey<'a>) -> BTreeSet<&'a str> {
    survey.catalog.relations.values().map(|relation| relation.name.name.as_str()).collect()
}

/// Who can have a routine run: by calling it, or by writing a table whose trigger it is.
pub(super) fn runner<'s, 'a>(
    survey: &'s Survey<'a>,
    oid: Oid,
    function: &Function,
) -> Option<&'s Subject<'a>> {
    if !function.for_triggers {
        return survey.entering(function.schema).find(|subject| survey.calls(subject, function));
    }
    survey.triggers_of(oid).find_map(|trigger| {
        let relation = survey.catalog.relations.get(&trigger.relation)?;
        survey.reaching(relation, trigger.fires.and(WRITES)).next().map(|(subject, _)| subject)
    })
}

/// What writes rows.
const WRITES: Privileges = Privileges::ROWS;
