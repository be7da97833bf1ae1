//! Roles, databases and settings of the whole cluster in the files of one tenant.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::script::Place;
use crate::lint::statement::Act;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "cluster-wide-object",
        severity: Severity::High,
        title: "a tenant's migration changes what belongs to the whole cluster",
        why: "Migration files run once for every tenant. Roles, databases, tablespaces and ALTER SYSTEM belong to the cluster: the second tenant's run fails because the object exists, or changes it for everybody. Roles and databases of tenants are made from the naming templates of tenants.toml. ALTER is graded medium.",
        example: "CREATE ROLE reporting;",
        fix: "Make the object outside of the migrations, or let tenantctl make it: [isolation.*] role, readonly_role, database.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (file, act) in survey.acts() {
        let Act::Cluster { range, what } = act else { continue };
        let message = format!("{what} is done once for each tenant, to what all of them share");
        let draft = Draft::new(rule, &Place { file, range: range.clone() }, message, rule.fix);
        drafts.push(if what.starts_with("ALTER") {
            draft.severity(Severity::Medium)
        } else {
            draft
        });
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "cluster-wide-object";

    #[test]
    fn what_the_cluster_owns_is_not_a_tenants_to_make() {
        assert_eq!(found(RULE, &schema(), &["CREATE ROLE reporting;"]), ["V1.sql:1:1 high"]);
        assert_eq!(found(RULE, &schema(), &["DROP DATABASE x;"]), ["V1.sql:1:1 high"]);
        let alter = "ALTER ROLE app SET work_mem = '1MB';";
        assert_eq!(found(RULE, &schema(), &[alter]), ["V1.sql:1:1 medium"]);
    }

    #[test]
    fn what_lives_in_the_schema_is() {
        assert!(found(RULE, &schema(), &["CREATE TYPE role AS ENUM ('a');"]).is_empty());
    }
}
