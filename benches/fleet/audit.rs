//! What an audit costs over the catalogue queries that it needs.

use std::fmt::Write as _;
use std::time::Duration;

use tenantctl::pg::server::SUPERUSER;

use crate::fleet::{Fleet, OWNER, schema, tenant};
use crate::harness::OPERATOR;
use crate::jobs::Bench;
use crate::table;

/// `verify-rls --static` over schemas and over databases. The limit is what the server itself took for
/// the queries of the same audit, by its own log.
pub fn audit(bench: &Bench<'_>) {
    table::race_head("verify-rls --static: for all", &["tenants", "where"]);
    for size in bench.options.sizes(&[200], &[1000]) {
        let fleet = bench.whole(size);
        roles(bench, &fleet);
        let race = bench.race(1, |at| match at.checked_sub(1) {
            None => server_time(bench, &fleet, &["verify-rls", "--static", "-o", "json"]),
            Some(binary) => {
                let ran =
                    bench.tenantctl(binary, &fleet, &["verify-rls", "--static", "-o", "json"]);
                assert!(ran.answer().contains("\"findings\": []"), "{}", ran.answer());
                ran.took
            }
        });
        table::rows(&[size.to_string(), "schemas of twelve tables".to_owned()], &race, 1.5);
    }
    table::end();
}

/// Gives each tenant a role of its own, which may use its own tables and no others.
fn roles(bench: &Bench<'_>, fleet: &Fleet<'_>) {
    let mut sql = String::from("BEGIN;\n");
    for id in 0..fleet.size {
        let (schema, role) = (schema(id), format!("{}_{}", fleet.name, tenant(id)));
        write!(
            sql,
            "CREATE ROLE {role}; GRANT USAGE ON SCHEMA {schema} TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {role};
             REVOKE INSERT, UPDATE, DELETE ON {schema}.refinery_schema_history FROM {role};\n"
        )
        .unwrap();
    }
    write!(
        sql,
        "UPDATE tenantctl.tenants SET roles = ARRAY['{}_' || id], owner = '{OWNER}'; COMMIT;",
        fleet.name
    )
    .unwrap();
    bench.world.session(&fleet.name, SUPERUSER).sql(&sql);
    bench.world.sql_in(&fleet.name, "VACUUM ANALYZE pg_catalog.pg_class");
}

/// What the server took for every statement of a command, by its log.
fn server_time(bench: &Bench<'_>, fleet: &Fleet<'_>, command: &[&str]) -> Duration {
    let set = |what: &str| {
        bench.world.sql_in("postgres", &format!("ALTER ROLE {OPERATOR} {what}"));
    };
    set("SET log_min_duration_statement = 0");
    let logged = bench.world.server().log().len();
    bench.tenantctl(0, fleet, command);
    set("RESET log_min_duration_statement");
    let log = bench.world.server().log();
    let spent = log[logged..].split("duration: ").skip(1);
    let milliseconds: f64 =
        spent.filter_map(|rest| rest.split_once(" ms")?.0.parse::<f64>().ok()).sum();
    Duration::from_secs_f64(milliseconds / 1000.0)
}
