//! A materialized view over tables that tenants share.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::script::Place;
use crate::lint::statement::Act;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "materialized-view",
        severity: Severity::High,
        title: "a materialized view would hold the rows of all tenants without a policy",
        why: "Row-level security does not exist for materialized views: whoever may read one reads what its owner saw when it was filled. Under FORCE ROW LEVEL SECURITY, with no tenant bound, that is nothing; otherwise it is everybody's rows. Reported where tenants share tables.",
        example: "CREATE MATERIALIZED VIEW totals AS SELECT tenant_id, count(*) FROM notes GROUP BY 1;",
        fix: "Keep the result in a table with the tenant column, written for each tenant, or use a plain view.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (file, act) in survey.acts().filter(|_| survey.tenancy().is_some()) {
        let Act::CreateMaterializedView(name) = act else { continue };
        let message =
            format!("no policy can guard {}: it holds the rows of all tenants, or none", name.name);
        drafts.push(Draft::new(
            rule,
            &Place { file, range: name.range.clone() },
            message,
            rule.fix,
        ));
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "materialized-view";

    #[test]
    fn it_matters_where_tables_are_shared() {
        let sql = "CREATE MATERIALIZED VIEW totals AS SELECT 1 AS one;";
        assert_eq!(found(RULE, &shared(), &[sql]), ["V1.sql:1:26 high"]);
        assert!(found(RULE, &schema(), &[sql]).is_empty());
        assert!(found(RULE, &shared(), &["CREATE VIEW v AS SELECT 1 AS one;"]).is_empty());
    }
}
