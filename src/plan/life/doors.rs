//! Closing a tenant and opening it again.
//!
//! A tenant with a schema or database of its own is closed by privileges: its roles cannot log in,
//! nobody may use its schemas, nobody may connect to its database. Among shared tables the roles are
//! everybody's, so its rows are closed: a table says which tenants are closed, and a restrictive
//! policy on each shared table consults it, once a statement. Both come with the first tenant that is
//! closed; from then on closing one is one row.

use std::collections::BTreeSet;

use crate::model::desired::{KeyType, Sharing};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::layout::CLOSED_TABLE;
use crate::model::life::{Doors, Grant, Household, OpenDoors, SharedDoor, Usage};
use crate::model::tenant::Isolation;
use crate::plan::statements::guard;
use crate::plan::task::{Act, Place, Task, Whose};
use crate::sql;
use crate::sql::{Literal, Sql};

/// The restrictive policy that keeps closed tenants out of a shared table.
pub const OPEN_POLICY: &str = "tenantctl_open";

/// What our policy's comment says: whoever reads it knows who made it.
const OPEN_COMMENT: &str = "tenantctl: policy: tenants that are closed see nothing";

/// The tasks that shut what is open, in an order that lets nobody in again in between; empty when
/// all is shut.
pub fn close(house: &Household, facts: &OpenDoors) -> Vec<Task> {
    let mut tasks = Vec::new();
    for role in &facts.doors.logins {
        let statement = sql!("ALTER ROLE {} NOLOGIN", role);
        tasks.push(on_server(format!("let nobody log in as {role}"), vec![statement]));
    }
    if !facts.doors.connect.is_empty() {
        let database = &house.tenant.placement.database;
        let statements = facts
            .doors
            .connect
            .iter()
            .map(|grant| sql!("REVOKE CONNECT ON DATABASE {} FROM {}", database, grantee(grant)))
            .collect();
        let whom = told(facts.doors.connect.iter());
        tasks.push(on_server(format!("keep {whom} out of database {database}"), statements));
    }
    if !facts.doors.usage.is_empty() {
        let statements = facts
            .doors
            .usage
            .iter()
            .map(|usage| {
                sql!("REVOKE USAGE ON SCHEMA {} FROM {}", usage.schema, grantee(&usage.grant))
            })
            .collect();
        let whom = told(facts.doors.usage.iter().map(|usage| &usage.grant));
        let what = format!("keep {whom} out of {}", schemas(&facts.doors.usage));
        tasks.push(as_owner(house, what, statements));
    }
    if let (Some(shared), Some(sharing)) = (&facts.shared, &house.sharing) {
        tasks.extend(close_rows(house, facts.doors.rows, shared, sharing));
    }
    tasks
}

/// The tasks that open again what was open before; empty when all of it is.
pub fn reopen(house: &Household, before: &Doors, facts: &OpenDoors) -> Vec<Task> {
    let mut tasks = Vec::new();
    // The rows first and the logins last: whoever is let in finds everything.
    if before.rows
        && !facts.doors.rows
        && let Some(sharing) = &house.sharing
    {
        let table = closed_table(&house.tenant.placement.schema);
        let statements = vec![
            in_context(sharing, &house.tenant.key),
            sql!(
                "DELETE FROM {} WHERE {} = {}",
                table,
                sharing.tenancy.column,
                key(house, sharing)
            ),
        ];
        let what = format!("let tenant {} at its rows again", house.tenant.id);
        tasks.push(as_owner(house, what, statements));
    }
    let is_there =
        |grant: &Grant| grant.role.as_ref().is_none_or(|role| !facts.gone.contains(role));
    let usage: Vec<&Usage> = before
        .usage
        .iter()
        .filter(|usage| !facts.doors.usage.contains(usage) && is_there(&usage.grant))
        .collect();
    if !usage.is_empty() {
        let statements = usage
            .iter()
            .map(|usage| {
                let (to, option) = (grantee(&usage.grant), option(&usage.grant));
                sql!("GRANT USAGE ON SCHEMA {} TO {}{}", usage.schema, to, option)
            })
            .collect();
        let whom = told(usage.iter().map(|usage| &usage.grant));
        let what = format!("let {whom} into {} again", schemas(&before.usage));
        tasks.push(as_owner(house, what, statements));
    }
    let connect: Vec<&Grant> = before
        .connect
        .iter()
        .filter(|grant| !facts.doors.connect.contains(grant) && is_there(grant))
        .collect();
    if !connect.is_empty() {
        let database = &house.tenant.placement.database;
        let statements = connect
            .iter()
            .map(|grant| {
                let (to, option) = (grantee(grant), option(grant));
                sql!("GRANT CONNECT ON DATABASE {} TO {}{}", database, to, option)
            })
            .collect();
        let whom = told(connect.iter().copied());
        tasks.push(on_server(format!("let {whom} into database {database} again"), statements));
    }
    let logins = before.logins.iter().filter(|role| !facts.gone.contains(*role));
    for role in logins.filter(|role| !facts.doors.logins.contains(role)) {
        let statement = sql!("ALTER ROLE {} LOGIN", role);
        tasks.push(on_server(format!("let {role} log in again"), vec![statement]));
    }
    tasks
}

/// Ends the sessions that are the tenant's own.
pub fn whose(house: &Household) -> Whose {
    let database = (house.tenant.isolation == Isolation::Database)
        .then(|| house.tenant.placement.database.clone());
    Whose { roles: house.logins().cloned().collect(), database }
}

fn on_server(what: String, statements: Vec<Sql>) -> Task {
    Task { place: Place::Server, what, act: Act::Together(statements) }
}

fn as_owner(house: &Household, what: String, statements: Vec<Sql>) -> Task {
    let database = house.tenant.placement.database.clone();
    let place = Place::Database { database, role: Some(house.tenant.owner.clone()) };
    Task { place, what, act: Act::Together(statements) }
}

fn grantee(grant: &Grant) -> Sql {
    grant.role.as_ref().map_or_else(|| sql!("PUBLIC"), |role| sql!("{}", role))
}

fn option(grant: &Grant) -> Sql {
    if grant.option { sql!(" WITH GRANT OPTION") } else { sql!("") }
}

fn told<'a>(grants: impl Iterator<Item = &'a Grant>) -> String {
    let mut names: Vec<String> = grants
        .map(|grant| {
            grant.role.as_ref().map_or_else(|| "everybody".to_owned(), ToString::to_string)
        })
        .collect();
    names.sort();
    names.dedup();
    names.join(", ")
}

fn schemas(usage: &[Usage]) -> String {
    let names: BTreeSet<String> = usage.iter().map(|usage| usage.schema.to_string()).collect();
    let word = if names.len() == 1 { "schema" } else { "schemas" };
    format!("{word} {}", names.into_iter().collect::<Vec<_>>().join(", "))
}

fn closed_table(schema: &Ident) -> QualifiedName {
    let name = Ident::new(CLOSED_TABLE).unwrap_or_else(|_| schema.clone());
    QualifiedName::new(schema.clone(), name)
}

fn key(house: &Household, sharing: &Sharing) -> Sql {
    sql!("{}::{}", Literal(&house.tenant.key), type_name(sharing.key_type))
}

fn type_name(key_type: KeyType) -> Sql {
    match key_type {
        KeyType::Uuid => sql!("pg_catalog.uuid"),
        KeyType::Integer => sql!("pg_catalog.int4"),
        KeyType::Bigint => sql!("pg_catalog.int8"),
        KeyType::Text => sql!("pg_catalog.text"),
    }
}

/// The tenant is the current one until the transaction ends.
fn in_context(sharing: &Sharing, key: &str) -> Sql {
    let setting = Literal(sharing.tenancy.setting.as_str());
    sql!("SELECT pg_catalog.set_config({}, {}, true)", setting, Literal(key))
}

/// The row first where everything stands already; otherwise the table, its readers, its policies,
/// and the row last: the policies let everybody through until then.
fn close_rows(house: &Household, open: bool, shared: &SharedDoor, sharing: &Sharing) -> Vec<Task> {
    let table = closed_table(&house.tenant.placement.schema);
    let owner = &house.tenant.owner;
    let mut tasks = Vec::new();
    if shared.readers.is_none() || !shared.guarded {
        let column = &sharing.tenancy.column;
        let mut statements = vec![sql!(
            "CREATE TABLE IF NOT EXISTS {} ({} {} PRIMARY KEY)",
            table,
            column,
            type_name(sharing.key_type)
        )];
        statements.extend(guard(&table, sharing, sharing.key_type.word()));
        tasks.push(as_owner(house, format!("make {table}: which tenants are closed"), statements));
    }
    let readers = shared.readers.clone().unwrap_or_default();
    let lacking: Vec<&Ident> = shared.users.difference(&readers).collect();
    if !lacking.is_empty() {
        let statements = lacking
            .iter()
            .map(|role| sql!("GRANT SELECT ON TABLE {} TO {}", table, role))
            .collect();
        let names: Vec<String> = lacking.iter().map(ToString::to_string).collect();
        tasks.push(as_owner(house, format!("let {} read {table}", names.join(", ")), statements));
    }
    // Each in a transaction of its own: a table that is in use holds up no other.
    for name in &shared.open {
        let what = format!("keep tenants that are closed out of {name}");
        tasks.push(as_owner(house, what, close_table(name, owner)));
    }
    if open {
        let statements = vec![
            in_context(sharing, &house.tenant.key),
            sql!("INSERT INTO {} VALUES ({}) ON CONFLICT DO NOTHING", table, key(house, sharing)),
        ];
        let what = format!("keep tenant {} from its rows", house.tenant.id);
        tasks.push(as_owner(house, what, statements));
    }
    tasks
}

/// Makes a shared table consult which tenants are closed. Whoever may become the owner is the
/// operator, who migrates, exports and erases tenants that are closed.
pub fn close_table(table: &QualifiedName, owner: &Ident) -> Vec<Sql> {
    let closed = closed_table(&table.schema);
    let policy = Ident::new(OPEN_POLICY).map_or_else(|_| sql!(""), |name| sql!("{}", name));
    vec![
        sql!("DROP POLICY IF EXISTS {} ON {}", policy, table),
        sql!(
            "CREATE POLICY {} ON {} AS RESTRICTIVE USING ((SELECT NOT EXISTS (SELECT FROM {}) \
             OR pg_catalog.pg_has_role(session_user, {}, 'MEMBER')))",
            policy,
            table,
            closed,
            Literal(owner.as_str())
        ),
        sql!("COMMENT ON POLICY {} ON {} IS {}", policy, table, Literal(OPEN_COMMENT)),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::plan::properties::desired;

    fn ident(name: &str) -> Ident {
        Ident::new(name).unwrap()
    }

    fn house(isolation: Isolation) -> Household {
        let desired = desired(isolation, "acme");
        Household {
            own_roles: desired.tenant.roles.clone(),
            second_logins: vec![ident("app_tenant_acme-b")],
            owner_is_its_own: true,
            sharing: desired.sharing,
            tenant: desired.tenant,
        }
    }

    fn grant(role: &str) -> Grant {
        Grant { role: Some(ident(role)), option: role == "reporting" }
    }

    fn doors() -> Doors {
        let usage = |role: &str| Usage { schema: ident("tenant_acme"), grant: grant(role) };
        Doors {
            logins: vec![ident("app_tenant_acme")],
            usage: vec![usage("app_tenant_acme"), usage("reporting")],
            connect: vec![grant("app_tenant_acme"), Grant { role: None, option: false }],
            rows: false,
        }
    }

    fn statements(tasks: &[Task]) -> Vec<String> {
        let all = tasks.iter().flat_map(|task| task.act.statements());
        all.map(|statement| statement.as_str().to_owned()).collect()
    }

    #[test]
    fn what_is_shut_is_opened_again_and_nothing_else() {
        let house = house(Isolation::Database);
        let open = OpenDoors { doors: doors(), ..OpenDoors::default() };
        let shut = OpenDoors::default();
        let database = house.tenant.placement.database.to_string();
        assert_eq!(
            statements(&close(&house, &open)),
            [
                "ALTER ROLE app_tenant_acme NOLOGIN".to_owned(),
                format!("REVOKE CONNECT ON DATABASE {database} FROM app_tenant_acme"),
                format!("REVOKE CONNECT ON DATABASE {database} FROM PUBLIC"),
                "REVOKE USAGE ON SCHEMA tenant_acme FROM app_tenant_acme".to_owned(),
                "REVOKE USAGE ON SCHEMA tenant_acme FROM reporting".to_owned(),
            ]
        );
        assert!(close(&house, &shut).is_empty());
        assert_eq!(
            statements(&reopen(&house, &doors(), &shut)),
            [
                "GRANT USAGE ON SCHEMA tenant_acme TO app_tenant_acme".to_owned(),
                "GRANT USAGE ON SCHEMA tenant_acme TO reporting WITH GRANT OPTION".to_owned(),
                format!("GRANT CONNECT ON DATABASE {database} TO app_tenant_acme"),
                format!("GRANT CONNECT ON DATABASE {database} TO PUBLIC"),
                "ALTER ROLE app_tenant_acme LOGIN".to_owned(),
            ]
        );
        assert!(reopen(&house, &doors(), &open).is_empty());
        // Who was dropped meanwhile is let in nowhere.
        let gone = OpenDoors { gone: [ident("reporting")].into(), ..OpenDoors::default() };
        let opened = statements(&reopen(&house, &doors(), &gone));
        assert!(!opened.iter().any(|statement| statement.contains("reporting")), "{opened:?}");
    }

    #[test]
    fn shared_tables_are_prepared_once_and_then_closing_is_a_row() {
        let house = house(Isolation::Shared);
        let table =
            |name: &str| QualifiedName::new(house.tenant.placement.schema.clone(), ident(name));
        let first = OpenDoors {
            doors: Doors { rows: true, ..Doors::default() },
            shared: Some(SharedDoor {
                users: [ident("app_rw"), ident("reporting")].into(),
                open: vec![table("notes")],
                ..SharedDoor::default()
            }),
            gone: BTreeSet::new(),
        };
        let words: Vec<String> = close(&house, &first).into_iter().map(|task| task.what).collect();
        assert_eq!(words.len(), 4, "{words:?}");
        assert!(words[3].contains("from its rows"), "{words:?}");
        let prepared = SharedDoor {
            readers: Some([ident("app_rw"), ident("reporting")].into()),
            guarded: true,
            users: [ident("app_rw")].into(),
            open: Vec::new(),
        };
        let second = OpenDoors { shared: Some(prepared), ..first };
        assert_eq!(close(&house, &second).len(), 1);
        let shut = OpenDoors { doors: Doors::default(), ..second };
        assert!(close(&house, &shut).is_empty());
        let before = Doors { rows: true, ..Doors::default() };
        assert_eq!(reopen(&house, &before, &shut).len(), 1);
    }
}
