//! `CREATE EXTENSION` that lands wherever `search_path` points.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::script::Place;
use crate::lint::statement::Act;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;
use crate::model::tenant::Isolation;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "extension-without-schema",
        severity: Severity::Medium,
        title: "CREATE EXTENSION does not say which schema it goes to",
        why: "While a migration runs, search_path holds the tenant's schema alone. An extension exists once in a database: with a schema for each tenant it would be made in the first tenant's, where the others cannot find it, and be dropped with that tenant. That is graded high; where tenants share a schema or have a database of their own, medium.",
        example: "CREATE EXTENSION IF NOT EXISTS citext;",
        fix: "Name a schema that all tenants can use: CREATE EXTENSION IF NOT EXISTS citext SCHEMA extensions, best once for each database and outside of the tenants' files.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    let mut drafts = Vec::new();
    for (file, act) in survey.acts() {
        let Act::CreateExtension { name, schema: None } = act else { continue };
        let schemas = survey.ground.isolation == Isolation::Schema;
        let message = if schemas {
            format!("extension {} goes to the schema of whichever tenant comes first", name.name)
        } else {
            format!("extension {} goes to the schema of the tenants' tables", name.name)
        };
        let fix = format!("CREATE EXTENSION IF NOT EXISTS {} SCHEMA extensions;", name.name);
        let place = Place { file, range: name.range.clone() };
        let draft = Draft::new(rule, &place, message, fix);
        drafts.push(if schemas { draft.severity(Severity::High) } else { draft });
    }
    drafts
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema, shared};

    const RULE: &str = "extension-without-schema";

    #[test]
    fn it_is_graver_where_each_tenant_has_a_schema() {
        let sql = "CREATE EXTENSION IF NOT EXISTS citext;";
        assert_eq!(found(RULE, &schema(), &[sql]), ["V1.sql:1:32 high"]);
        assert_eq!(found(RULE, &shared(), &[sql]), ["V1.sql:1:32 medium"]);
    }

    #[test]
    fn a_named_schema_is_welcome() {
        assert!(found(RULE, &schema(), &["CREATE EXTENSION citext WITH SCHEMA ext;"]).is_empty());
    }
}
