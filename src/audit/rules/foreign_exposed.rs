//! A foreign table, or a server, that brings another tenant's rows in.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::{Subject, Survey};
use crate::model::catalog::{Oid, PUBLIC, Privilege, Privileges, RelationKind};
use crate::model::surroundings::ForeignServer;
use crate::model::tenant::Isolation;
use crate::sql;

pub(super) static RULE: Rule = Rule {
    id: "foreign-exposed",
    family: Family::SideDoors,
    severity: Severity::High,
    evidence: Evidence::Static,
    title: "rows come in from another database with the rights of a mapped user",
    what: "A role of the application may use a foreign table with the tenant column, or one whose server is another tenant's database; or it holds USAGE on a server for which it, or PUBLIC, has a user mapping. A server that leads to another tenant's database or to this one is high, others are medium. Not reported: foreign tables of reference data.",
    why: "A foreign table has no row-level security: what the mapped user may read over there, everybody reads who may read the table here, and whoever has USAGE can make his own.",
    example: "CREATE USER MAPPING FOR PUBLIC SERVER other OPTIONS (user 'postgres');\nGRANT USAGE ON FOREIGN SERVER other TO app_rw;",
    fix: "REVOKE the table or USAGE on the server, and DROP USER MAPPING.",
    references: &["https://www.postgresql.org/docs/current/postgres-fdw.html"],
    covers: &["code-foreign"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = tables(survey);
    for (oid, server) in &survey.catalog.around.servers {
        let mapped = survey.catalog.around.mappings.iter().filter(|mapping| mapping.server == *oid);
        let hit = mapped.into_iter().find_map(|mapping| {
            let subject = survey.users_of(mapping.role).find(|subject| {
                // A mapping is the current role's own; it is not inherited.
                let own = mapping.role == PUBLIC || mapping.role == subject.role;
                let held = survey.privileges(subject, server.owner, &server.grants);
                own && held.has(Privilege::Usage)
            })?;
            Some((mapping, subject))
        });
        let Some((mapping, subject)) = hit else { continue };
        let place = place(survey, server, subject);
        let grave = if place.is_some() { RULE.severity } else { Severity::Medium };
        let to = place.unwrap_or_else(|| "another server".to_owned());
        let user = mapping.user.as_deref().map_or_else(String::new, |user| format!(" as {user}"));
        let message = format!(
            "{} may use foreign server {}, which leads to {to}{user}",
            subject.name, server.name
        );
        let fix = match survey.ident(mapping.role) {
            Some(role) => sql!("DROP USER MAPPING FOR {} SERVER {}", role, server.name),
            None => sql!("DROP USER MAPPING FOR PUBLIC SERVER {}", server.name),
        };
        found.push(
            RULE.finding(survey.object("foreign server", &server.name), message, Fix::Sql(vec![fix]))
                .severity(grave)
                .role(subject.name)
                .operation("USAGE"),
        );
    }
    found
}

fn tables(survey: &Survey<'_>) -> Vec<Finding> {
    let column = survey.estate.tenancy.as_ref().map(|tenancy| &tenancy.column);
    let mut found = Vec::new();
    for (oid, table) in &survey.catalog.relations {
        if table.kind != RelationKind::Foreign {
            continue;
        }
        let Some((subject, held)) = survey.reaching(table, Privileges::ROWS).next() else { continue };
        let tenants = column.is_some_and(|column| table.column(column).is_some());
        let server = server_of(survey, *oid);
        let place = server.and_then(|server| foreign(survey, server, subject));
        let what = match (place, tenants && survey.ground(table.schema).is_none()) {
            (Some(place), _) => format!("the rows of {place}"),
            (None, true) => "every tenant's rows, past every policy".to_owned(),
            (None, false) => continue,
        };
        let message = format!("{} holds {held} on foreign table {}: {what}", subject.name, table.name);
        let fix = Fix::Sql(vec![sql!("REVOKE ALL ON {} FROM {}", table.name, subject.name)]);
        found.push(
            RULE.finding(survey.relation(table), message, fix).role(subject.name).operation(held),
        );
    }
    found
}

fn server_of<'a>(survey: &Survey<'a>, table: Oid) -> Option<&'a ForeignServer> {
    survey.catalog.around.servers.get(survey.catalog.around.foreign.get(&table)?)
}

/// The database to which a server leads, when it is one that matters.
fn place(survey: &Survey<'_>, server: &ForeignServer, subject: &Subject<'_>) -> Option<String> {
    let name = database(server)?;
    let here = (name == survey.catalog.database.as_str()).then(|| "this database".to_owned());
    foreign(survey, server, subject).or(here)
}

/// The database of another tenant to which a server leads.
fn foreign(survey: &Survey<'_>, server: &ForeignServer, subject: &Subject<'_>) -> Option<String> {
    let name = database(server)?;
    let tenant = survey
        .estate
        .of(Isolation::Database)
        .find(|tenant| tenant.placement.database.as_str() == name)?;
    (!subject.acts_for(&tenant.id)).then(|| format!("database {name} of tenant {}", tenant.id))
}

fn database(server: &ForeignServer) -> Option<&str> {
    server.options.iter().find_map(|option| option.strip_prefix("dbname="))
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;
    use crate::model::catalog::*;
    use crate::model::surroundings::{ForeignServer, UserMapping};

    fn server(world: &World, database: &str) -> ForeignServer {
        ForeignServer {
            name: ident("other"),
            owner: world.oid("admin"),
            wrapper: ident("postgres_fdw"),
            options: vec![format!("dbname={database}")],
            grants: Vec::new(),
        }
    }

    #[test]
    fn a_table_of_tenants_rows_is_accused_and_reference_data_is_not() {
        let mut world = World::new();
        let remote = world.like("rates", &[("code", "text")]);
        world.table_mut("app.rates").kind = RelationKind::Foreign;
        world.grant("app.rates", "app_rw", Privilege::Select);
        let other = server(&world, "rates");
        world.catalog.around.servers.insert(9, other);
        world.catalog.around.foreign.insert(remote, 9);
        assert!(world.rules().is_empty());
        world.table_mut("app.rates").columns.push(column("tenant_id", "uuid"));
        assert_eq!(world.rules(), ["foreign-exposed"]);
    }

    #[test]
    fn a_server_of_another_tenant_is_high_and_one_without_usage_is_nothing() {
        let mut world = World::new();
        let other = server(&world, "eve");
        world.catalog.around.servers.insert(9, other);
        world.catalog.around.mappings.push(UserMapping {
            server: 9,
            role: PUBLIC,
            user: Some("postgres".to_owned()),
        });
        assert!(world.rules().is_empty());
        let grant = world.granted("app_rw", &[Privilege::Usage]);
        world.catalog.around.servers.get_mut(&9).unwrap().grants.push(grant);
        let found = world.findings("foreign-exposed");
        assert_eq!((found.len(), found[0].severity), (1, Severity::High));
    }
}
