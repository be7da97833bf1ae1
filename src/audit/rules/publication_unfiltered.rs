//! Tenants' rows that are published, and rows that come in from elsewhere.

use super::{Family, Rule};
use crate::audit::finding::{Evidence, Finding, Fix, Severity};
use crate::audit::survey::Survey;
use crate::model::tenant::Isolation;

pub(super) static RULE: Rule = Rule {
    id: "publication-unfiltered",
    family: Family::SideDoors,
    severity: Severity::Low,
    evidence: Evidence::Static,
    title: "tenants' rows leave or enter the database by replication",
    what: "A publication sends tenants' tables without a row filter: medium where a role other than a superuser may replicate, low otherwise. A subscription fills a tenant's own database: high from another tenant's database, medium from elsewhere. Not reported: publications without tenants' tables.",
    why: "Replication sends and stores rows past every policy.",
    example: "CREATE PUBLICATION everything FOR ALL TABLES;",
    fix: "Use a row filter (PostgreSQL 15 and newer) or a publication for each tenant; DROP SUBSCRIPTION.",
    references: &["https://www.postgresql.org/docs/current/logical-replication-security.html"],
    covers: &["code-publication"],
    check,
};

fn check(survey: &Survey<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let replicates = survey
        .catalog
        .roles
        .values()
        .find(|role| role.replication && role.login && !role.superuser);
    for publication in &survey.catalog.around.publications {
        let sent: Vec<_> = publication
            .relations
            .iter()
            .filter(|oid| survey.holds_rows(**oid))
            .filter_map(|oid| survey.catalog.relations.get(oid))
            .collect();
        let Some(first) = sent.first() else { continue };
        let who = replicates.map_or_else(
            || "superusers alone may subscribe today".to_owned(),
            |role| format!("{} may subscribe", role.name),
        );
        let message = format!(
            "publication {} sends {} and {} more tables of all tenants without a filter: {who}",
            publication.name,
            first.name,
            sent.len() - 1
        );
        let grave = if replicates.is_some() { Severity::Medium } else { RULE.severity };
        let fix = Fix::Advice(format!(
            "ALTER PUBLICATION {} SET TABLE … WHERE (the tenant column = …)",
            publication.name
        ));
        let object = survey.object("publication", &publication.name);
        found.push(RULE.finding(object, message, fix).severity(grave));
    }
    for subscription in &survey.catalog.around.subscriptions {
        let own = |database: &str| {
            survey.estate.of(Isolation::Database).find(|t| t.placement.database.as_str() == database)
        };
        let here = own(survey.catalog.database.as_str());
        let from = subscription.database.as_deref().and_then(own);
        let (message, grave) = match (here, from) {
            (Some(here), Some(from)) if here.id != from.id => (
                format!(
                    "subscription {} brings rows of tenant {} into the database of tenant {}",
                    subscription.name, from.id, here.id
                ),
                Severity::High,
            ),
            (Some(here), None) => (
                format!(
                    "subscription {} brings rows from elsewhere into the database of tenant {}",
                    subscription.name, here.id
                ),
                Severity::Medium,
            ),
            _ => continue,
        };
        let fix = Fix::Advice(format!("DROP SUBSCRIPTION {}", subscription.name));
        let object = survey.object("subscription", &subscription.name);
        found.push(RULE.finding(object, message, fix).severity(grave));
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::audit::finding::Severity;
    use crate::audit::fixture::*;
    use crate::model::surroundings::{Publication, Subscription};

    #[test]
    fn what_is_sent_matters_more_where_somebody_may_take_it() {
        let mut world = World::new();
        let (notes, countries) =
            (world.relation_oid("app.notes"), world.relation_oid("app.countries"));
        let publication = |relations| Publication { name: ident("feed"), relations };
        world.catalog.around.publications = vec![publication(vec![countries])];
        assert!(world.rules().is_empty());
        world.catalog.around.publications = vec![publication(vec![countries, notes])];
        assert_eq!(world.findings("publication-unfiltered")[0].severity, Severity::Low);
        world.role_mut("stranger").replication = true;
        world.role_mut("stranger").login = true;
        assert_eq!(world.findings("publication-unfiltered")[0].severity, Severity::Medium);
    }

    #[test]
    fn a_subscription_is_accused_in_a_tenants_database_only() {
        let mut world = World::new();
        world.catalog.around.subscriptions = vec![Subscription {
            name: ident("feed"),
            database: None,
            relations: Vec::new(),
        }];
        assert!(world.rules().is_empty());
        world.catalog.database = ident("eve");
        assert_eq!(world.findings("publication-unfiltered")[0].severity, Severity::Medium);
    }
}
