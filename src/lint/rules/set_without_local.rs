//! A setting that outlives the transaction.

use super::{Check, Rule};
use crate::lint::deed::DeedKind;
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "set-without-local",
        severity: Severity::High,
        title: "a setting is changed for longer than the transaction",
        why: "tenantctl uses its connections for one tenant after the other. What SET, or set_config(…, false), leaves behind holds for the next tenant: a role, a search_path, or the tenant that policies go by. In a file with no-transaction there is no transaction to hold it: SET is medium there, and SET LOCAL, which then does nothing, too.",
        example: "SET app.tenant_id = '…';",
        fix: "SET LOCAL app.tenant_id = '…', or set_config('app.tenant_id', '…', true)",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    survey
        .deeds()
        .filter_map(|(script, place, deed)| {
            let DeedKind::Set { setting, local } = &deed.kind else { return None };
            let name = if setting.is_empty() { "the setting" } else { setting.as_str() };
            match (local, script.outside_transaction) {
                (true, false) => None,
                (true, true) => {
                    let message = format!(
                        "{name} is set for a transaction, and this file runs outside of one: \
                         nothing happens"
                    );
                    let fix = "put what needs it into a file that runs in a transaction";
                    Some(Draft::new(rule, &place, message, fix).severity(Severity::Medium))
                }
                (false, outside) => {
                    let message = format!("{name} stays changed for the next tenant");
                    let fix = "write SET LOCAL, or set_config(…, true)";
                    let draft = Draft::new(rule, &place, message, fix);
                    Some(if outside { draft.severity(Severity::Medium) } else { draft })
                }
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "set-without-local";

    #[test]
    fn what_outlives_the_transaction_is_found() {
        for (sql, expected) in [
            ("SET work_mem = '1GB';", "V1.sql:1:1 high"),
            ("SET ROLE app;", "V1.sql:1:1 high"),
            ("SELECT set_config('app.x', 'y', false);", "V1.sql:1:8 high"),
            ("-- tenantctl:no-transaction\nSET work_mem = '1GB';", "V1.sql:2:1 medium"),
            ("-- tenantctl:no-transaction\nSET LOCAL work_mem = '1GB';", "V1.sql:2:1 medium"),
        ] {
            assert_eq!(found(RULE, &schema(), &[sql]), [expected], "{sql}");
        }
    }

    #[test]
    fn what_ends_with_it_is_not() {
        for sql in [
            "SET LOCAL work_mem = '1GB';",
            "SET CONSTRAINTS ALL DEFERRED;",
            "SELECT set_config('app.x', 'y', true);",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = '' AS 'SELECT 1';",
            "ALTER TABLE t ALTER a SET DEFAULT 1;",
        ] {
            assert!(found(RULE, &schema(), &[sql]).is_empty(), "{sql}");
        }
    }
}
