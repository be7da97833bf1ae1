//! A function whose names are looked up wherever its caller says.

use super::{Check, Rule};
use crate::lint::finding::Draft;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;

pub(super) static CHECK: Check = Check {
    rule: Rule {
        id: "function-without-search-path",
        severity: Severity::Low,
        title: "a function does not pin its search_path",
        why: "Names in the body are looked up in the caller's search_path, where a temporary table or another schema may stand in front: the function works on the wrong tenant's table, or runs somebody else's operator. With SECURITY DEFINER it does so with its owner's rights, and the finding is high. A body that is BEGIN ATOMIC or RETURN is bound when it is made, and not reported.",
        example: "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ … $$;",
        fix: "Add SET search_path = pg_catalog, pg_temp, and qualify what the body uses beyond that; a trigger can take its schema from TG_TABLE_SCHEMA.",
    },
    find,
};

fn find(survey: &Survey<'_>, rule: &Rule) -> Vec<Draft> {
    survey
        .schema
        .routines
        .values()
        .filter(|routine| routine.what.late && !routine.what.pinned)
        .map(|routine| {
            let name = &routine.what.name.name;
            let fix = format!("SET search_path = pg_catalog, pg_temp: add it to {name}");
            if routine.what.definer {
                let message = format!(
                    "{name} runs with its owner's rights and looks names up where its caller says"
                );
                Draft::new(rule, &routine.at, message, fix).severity(Severity::High)
            } else {
                let message = format!("{name} looks names up where its caller says");
                Draft::new(rule, &routine.at, message, fix)
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const RULE: &str = "function-without-search-path";

    #[test]
    fn the_rights_of_the_owner_make_it_grave() {
        let plain = "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';";
        assert_eq!(found(RULE, &schema(), &[plain]), ["V1.sql:1:17 low"]);
        let definer =
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';";
        assert_eq!(found(RULE, &schema(), &[definer]), ["V1.sql:1:17 high"]);
        assert_eq!(
            found(RULE, &schema(), &[plain, "ALTER FUNCTION f() SECURITY DEFINER;"]).len(),
            1
        );
        let procedure = "CREATE PROCEDURE p() LANGUAGE sql SECURITY DEFINER AS 'SELECT 1';";
        assert_eq!(found(RULE, &schema(), &[procedure]), ["V1.sql:1:18 high"]);
    }

    #[test]
    fn a_pin_may_come_later_and_an_early_body_needs_none() {
        let plain = "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1';";
        for pinned in [
            "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql SET search_path = '' AS 'SELECT 1';",
            "ALTER FUNCTION f() SET search_path = pg_catalog, pg_temp;",
        ] {
            assert!(found(RULE, &schema(), &[plain, pinned]).is_empty(), "{pinned}");
        }
        let early = "CREATE FUNCTION f() RETURNS int LANGUAGE sql RETURN 1;";
        assert!(found(RULE, &schema(), &[early]).is_empty());
    }
}
