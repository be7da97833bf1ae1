//! Whether migration files keep to the standards of a fleet: from texts to findings, without IO.
//!
//! The files of a set are read in their order, and what they leave behind is judged: a table that
//! one file makes and the next one guards is guarded. What the field knows about PostgreSQL
//! migrations comes from squawk; what the rules here add is what nobody knows who does not know
//! where the tenants are.

mod allow;
mod deed;
mod finding;
#[cfg(test)]
mod fixture;
pub mod rules;
mod schema;
mod script;
mod squawk;
mod statement;
mod survey;
mod unusable;

pub use finding::Finding;
pub use rules::Rule;
pub use script::Source;
pub use unusable::unusable;

use crate::model::layout::{Template, Tenancy};
use crate::model::tenant::Isolation;
use finding::Draft;
use survey::Survey;

/// What must be known of the tenants that the files are for.
#[derive(Clone, Debug)]
pub struct Ground {
    /// Their isolation model.
    pub isolation: Isolation,
    /// How rows of shared tables say whose they are; none unless tables are shared.
    pub tenancy: Option<Tenancy>,
    /// The schema that the files are run in.
    pub schema: Template,
}

/// Judges files, which are given in the order in which they are applied. Findings come in the order
/// of the files and of the places in them.
pub fn check(sources: &[Source<'_>], ground: &Ground) -> Vec<Finding> {
    let survey = Survey::new(sources, ground);
    let mut drafts: Vec<Draft> =
        rules::ALL.iter().flat_map(|check| (check.find)(&survey, &check.rule)).collect();
    for (file, script) in survey.scripts.iter().enumerate().filter(|(_, s)| s.source.judged) {
        drafts.extend(squawk::judge(&survey, file, script));
    }
    drafts.retain(|draft| survey.scripts.get(draft.at.file).is_some_and(|s| s.source.judged));
    allow::apply(&survey, &mut drafts);
    drafts.sort_by(|a, b| {
        let key = |draft: &Draft| (draft.at.file, draft.at.range.start);
        key(a).cmp(&key(b)).then(b.severity.cmp(&a.severity)).then(a.rule.cmp(b.rule))
    });
    drafts
        .into_iter()
        .filter_map(|draft| {
            Some(survey.scripts.get(draft.at.file)?.source).map(|s| draft.finish(&s))
        })
        .collect()
}

/// The rule of that id, whoever checks it.
pub fn rule(id: &str) -> Option<&'static Rule> {
    rules().find(|rule| rule.id == id)
}

/// Every rule.
pub fn rules() -> impl Iterator<Item = &'static Rule> {
    rules::ALL
        .iter()
        .map(|check| &check.rule)
        .chain(squawk::fields().iter().map(|field| &field.rule))
        .chain(allow::RULES)
        .chain([&unusable::RULE])
}

/// Whether tables of these files have the tenant column: the mark of files for shared tables.
pub fn carries_tenants<'a>(texts: impl IntoIterator<Item = &'a str>, tenancy: &Tenancy) -> bool {
    let sources: Vec<Source<'_>> =
        texts.into_iter().map(|sql| Source { path: "", sql, judged: false }).collect();
    let scripts: Vec<_> = sources.into_iter().map(script::Script::read).collect();
    schema::Schema::of(&scripts)
        .tables()
        .any(|table| table.column(tenancy.column.as_str()).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_rule_has_an_id_of_its_own_and_explains_itself() {
        let mut ids: Vec<&str> = rules().map(|rule| rule.id).collect();
        ids.sort_unstable();
        let number = ids.len();
        ids.dedup();
        assert_eq!(ids.len(), number);
        for rule in rules() {
            assert!(!rule.title.is_empty() && !rule.title.ends_with('.'), "{}", rule.id);
            for text in [rule.why, rule.example, rule.fix] {
                assert!(text.len() > 10, "{} says too little", rule.id);
            }
        }
    }

    #[test]
    fn the_mark_of_shared_tables_is_the_tenant_column() {
        let ground = fixture::shared();
        let tenancy = ground.tenancy.as_ref().expect("shared tables have a tenant column");
        assert!(carries_tenants(["CREATE TABLE t (tenant_id uuid, id uuid);"], tenancy));
        assert!(!carries_tenants(["CREATE TABLE t (id uuid); SELECT tenant_id FROM t;"], tenancy));
    }

    proptest! {
        #[test]
        fn any_text_is_judged_and_every_place_is_in_it(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "CREATE TABLE", "ALTER TABLE", "DROP", "INDEX", "CONCURRENTLY", "ON", "t", "(",
                    ")", "tenant_id", "uuid", "PRIMARY KEY", "REFERENCES", "UPDATE", "SET", "LOCAL",
                    ";", "\n", "'", "\"", "$$", "DO", "BEGIN", "END", "--", "/*", ".", ",", "é", "é;",
                    "GRANT", "TO", "PUBLIC", "-- tenantctl:allow lock-table x\n", "set_config(",
                    "FUNCTION", "SECURITY DEFINER", "EXTENSION", "POLICY", "LOCK", "COPY", "FROM",
                ]),
                0..40,
            )
        ) {
            let sql = words.join(" ");
            let lines = sql.lines().count().max(1);
            for ground in [fixture::shared(), fixture::schema()] {
                for finding in check(&[Source { path: "V1.sql", sql: &sql, judged: true }], &ground) {
                    prop_assert!((1..=lines).contains(&finding.line), "{finding:?}");
                    prop_assert!(finding.end_column > finding.column, "{finding:?}");
                }
            }
        }
    }
}
