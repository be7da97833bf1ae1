//! `verify-rls --probe`: each leak is seen by its own probe and gone with its fix, findings hold
//! statements that show it, and a busy database does not notice.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{OPERATOR, OPERATOR_PASSWORD, World, on_every_version};

/// Two tenants that share tables, two with a schema each; the application logs in as `web`.
const SOUND: &str = "
    CREATE ROLE shop_owner NOLOGIN; CREATE ROLE web LOGIN NOINHERIT; CREATE ROLE pool LOGIN NOINHERIT;
    CREATE ROLE desk NOLOGIN; CREATE ROLE chief NOLOGIN BYPASSRLS;
    CREATE ROLE s_red NOLOGIN; CREATE ROLE s_blue NOLOGIN; GRANT s_red, s_blue TO pool;
    CREATE SCHEMA shop AUTHORIZATION shop_owner; GRANT USAGE ON SCHEMA shop TO web, desk, chief;
    SET ROLE shop_owner;
    CREATE FUNCTION shop.org() RETURNS int LANGUAGE sql STABLE SET search_path = pg_catalog
        AS $$ SELECT nullif(current_setting('app.org', true), '')::int $$;
    CREATE TABLE shop.orders (org_id int NOT NULL, id bigint GENERATED ALWAYS AS IDENTITY, note text NOT NULL,
        open boolean NOT NULL DEFAULT false, PRIMARY KEY (org_id, id));
    CREATE TABLE shop.items (org_id int NOT NULL, order_id bigint NOT NULL, name text NOT NULL,
        FOREIGN KEY (org_id, order_id) REFERENCES shop.orders (org_id, id) ON DELETE CASCADE);
    CREATE TABLE shop.tallies (org_id int PRIMARY KEY, orders int NOT NULL);
    INSERT INTO shop.tallies VALUES (7, 0), (8, 0);
    CREATE FUNCTION shop.tally() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN UPDATE shop.tallies SET orders = orders + 1 WHERE org_id = NEW.org_id; RETURN NULL; END $$;
    CREATE TRIGGER tally AFTER INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.tally();
    DO $$ DECLARE t text; BEGIN FOREACH t IN ARRAY ARRAY['orders', 'items', 'tallies'] LOOP
        EXECUTE format('ALTER TABLE shop.%1$I ENABLE ROW LEVEL SECURITY;
            CREATE POLICY p ON shop.%1$I USING (org_id = (SELECT shop.org()))', t);
    END LOOP; END $$;
    GRANT SELECT, INSERT, UPDATE, DELETE ON shop.orders, shop.items TO web;
    GRANT SELECT, UPDATE ON shop.tallies TO web;
    RESET ROLE;
    CREATE SCHEMA s_red AUTHORIZATION shop_owner; CREATE SCHEMA s_blue AUTHORIZATION shop_owner;
    CREATE TABLE s_red.notes (body text); CREATE TABLE s_blue.notes (body text);
    GRANT USAGE ON SCHEMA s_red TO s_red; GRANT USAGE ON SCHEMA s_blue TO s_blue;
    GRANT SELECT, INSERT ON s_red.notes TO s_red; GRANT SELECT, INSERT ON s_blue.notes TO s_blue;
";

fn config(world: &World, url: &str, more: &str) {
    world.file(
        "tenants.toml",
        &format!(
            r#"
[clusters.main]
url = "{url}"
{more}
[isolation.shared]
schema = "shop"
owner = "shop_owner"
column = "org_id"
key_type = "integer"
setting = "app.org"
role = "web"
[isolation.schema]
schema = "s_{{tenant}}"
owner = "shop_owner"
role = "s_{{tenant}}"
login_role = "pool"
[[tenants]]
id = "one"
key = 7
isolation = "shared"
[[tenants]]
id = "two"
key = 8
isolation = "shared"
[[tenants]]
id = "red"
isolation = "schema"
[[tenants]]
id = "blue"
isolation = "schema"
"#
        ),
    );
}

fn probe(world: &World) -> Value {
    world.run(["verify-rls", "--probe", "-o", "json", "--fail-on", "info", "-q"]).json()
}

/// What was found: rule and object.
fn found(answer: &Value) -> BTreeSet<(String, String)> {
    let findings = answer["findings"].as_array().unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    findings.iter().map(|one| (text(&one["rule"]), text(&one["object"]["name"]))).collect()
}

struct Leak {
    what: &'static str,
    sql: &'static str,
    fix: &'static str,
    found: &'static [(&'static str, &'static str)],
}

const fn leak(
    what: &'static str,
    sql: &'static str,
    fix: &'static str,
    found: &'static [(&'static str, &'static str)],
) -> Leak {
    Leak { what, sql, fix, found }
}

const LEAKS: &[Leak] = &[
    leak(
        "a policy that shows everything",
        "CREATE POLICY q ON shop.orders FOR SELECT USING (true)",
        "DROP POLICY q ON shop.orders",
        &[("probe-read", "shop.orders")],
    ),
    leak(
        "a policy that shows some rows of everybody",
        "CREATE POLICY q ON shop.orders FOR SELECT USING (open)",
        "DROP POLICY q ON shop.orders",
        &[("probe-read", "shop.orders")],
    ),
    leak(
        "rows that cannot be seen can be removed",
        "CREATE POLICY q ON shop.items FOR DELETE USING (true)",
        "DROP POLICY q ON shop.items",
        &[("probe-write", "shop.items")],
    ),
    leak(
        "rows can be given away",
        "CREATE POLICY q ON shop.items FOR UPDATE USING (org_id = shop.org()) WITH CHECK (true)",
        "DROP POLICY q ON shop.items",
        &[("probe-move", "shop.items")],
    ),
    leak(
        "rows can be added in another's name",
        "CREATE POLICY q ON shop.items FOR INSERT WITH CHECK (true)",
        "DROP POLICY q ON shop.items",
        &[("probe-insert", "shop.items")],
    ),
    leak(
        "no tenant is every tenant",
        "CREATE POLICY q ON shop.items FOR SELECT USING (org_id = coalesce(shop.org(), org_id))",
        "DROP POLICY q ON shop.items",
        &[("probe-open-context", "shop.items")],
    ),
    leak(
        "a setting that was never set opens",
        "CREATE POLICY q ON shop.items FOR SELECT USING (current_setting('app.org', true) IS NULL)",
        "DROP POLICY q ON shop.items",
        &[("probe-open-context", "shop.items")],
    ),
    leak(
        "an empty setting opens",
        "CREATE POLICY q ON shop.items FOR SELECT USING (current_setting('app.org', true) = '')",
        "DROP POLICY q ON shop.items",
        &[("probe-open-context", "shop.items")],
    ),
    leak(
        "sessions that begin as somebody",
        "ALTER ROLE web SET app.org = '8'",
        "ALTER ROLE web RESET app.org",
        &[("probe-open-context", "app.org of web, which begins as \"8\"")],
    ),
    leak(
        "a second switch",
        "CREATE POLICY q ON shop.items FOR SELECT USING (current_setting('app.mode', true) = 'staff')",
        "DROP POLICY q ON shop.items",
        &[("probe-read", "shop.items")],
    ),
    leak(
        "a context that is taken for a constant",
        "CREATE FUNCTION shop.fixed() RETURNS int LANGUAGE sql IMMUTABLE
            AS $$ SELECT nullif(current_setting('app.org', true), '')::int $$;
         ALTER POLICY p ON shop.items USING (org_id = shop.fixed())",
        "ALTER POLICY p ON shop.items USING (org_id = (SELECT shop.org())); DROP FUNCTION shop.fixed()",
        &[("probe-read", "shop.items")],
    ),
    leak(
        "a role that can be become",
        "GRANT chief TO web; GRANT SELECT ON shop.orders TO chief",
        "REVOKE SELECT ON shop.orders FROM chief; REVOKE chief FROM web",
        &[("probe-read", "shop.orders")],
    ),
    leak(
        "a view under other names, as its owner",
        "CREATE VIEW shop.names AS SELECT upper(name) AS n FROM shop.items;
         ALTER VIEW shop.names OWNER TO shop_owner; GRANT SELECT ON shop.names TO web",
        "DROP VIEW shop.names",
        &[("probe-read", "shop.names")],
    ),
    leak(
        "a view that adds up",
        "CREATE VIEW shop.sums AS SELECT count(*) FROM shop.items;
         ALTER VIEW shop.sums OWNER TO shop_owner; GRANT SELECT ON shop.sums TO web",
        "DROP VIEW shop.sums",
        &[("probe-influence", "shop.sums")],
    ),
    leak(
        "a view through which rows of others are written",
        "CREATE VIEW shop.mine AS SELECT * FROM shop.items WHERE org_id = shop.org();
         ALTER VIEW shop.mine OWNER TO shop_owner; GRANT SELECT, INSERT ON shop.mine TO web",
        "DROP VIEW shop.mine",
        // Its filter has no barrier, so that a condition of one's own sees the others first.
        &[("probe-insert", "shop.mine"), ("probe-read", "shop.mine")],
    ),
    leak(
        "a copy of rows",
        "CREATE TABLE shop.trail (entry jsonb); GRANT SELECT, INSERT ON shop.trail TO web;
         CREATE FUNCTION shop.copy() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN INSERT INTO shop.trail VALUES (to_jsonb(NEW)); RETURN NULL; END $$;
         CREATE TRIGGER copy AFTER INSERT ON shop.items FOR EACH ROW EXECUTE FUNCTION shop.copy()",
        "DROP TRIGGER copy ON shop.items; DROP FUNCTION shop.copy(); DROP TABLE shop.trail",
        &[("probe-read", "shop.trail")],
    ),
    leak(
        "a child without a tenant",
        "CREATE TABLE shop.parts (o int, i bigint, body text, FOREIGN KEY (o, i) REFERENCES shop.orders (org_id, id));
         GRANT SELECT, INSERT ON shop.parts TO web",
        "DROP TABLE shop.parts",
        &[("probe-read", "shop.parts"), ("probe-insert", "shop.parts"), ("probe-key", "shop.parts")],
    ),
    leak(
        "a partition of its own right",
        "CREATE TABLE shop.days (org_id int NOT NULL, body text) PARTITION BY LIST (org_id);
         CREATE TABLE shop.days_7 PARTITION OF shop.days FOR VALUES IN (7);
         CREATE TABLE shop.days_8 PARTITION OF shop.days FOR VALUES IN (8);
         ALTER TABLE shop.days ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON shop.days USING (org_id = shop.org());
         GRANT SELECT, INSERT, UPDATE, DELETE ON shop.days TO web; GRANT SELECT ON shop.days_8 TO web",
        "DROP TABLE shop.days",
        &[("probe-read", "shop.days_8")],
    ),
    leak(
        "rows of nobody, which everybody sees",
        "CREATE TABLE shop.hints (org_id int, body text); ALTER TABLE shop.hints ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON shop.hints USING (org_id = shop.org() OR org_id IS NULL);
         GRANT SELECT, INSERT ON shop.hints TO web",
        "DROP TABLE shop.hints",
        &[("probe-insert", "shop.hints")],
    ),
    leak(
        "a function that takes anybody's key",
        "CREATE FUNCTION shop.items_of(o int) RETURNS SETOF shop.items LANGUAGE sql SECURITY DEFINER
            AS $$ SELECT * FROM shop.items WHERE org_id = o $$;
         ALTER FUNCTION shop.items_of(int) OWNER TO shop_owner",
        "DROP FUNCTION shop.items_of(int)",
        &[("probe-routine", "shop.items_of(integer)")],
    ),
    leak(
        "a procedure that removes anybody's rows",
        "CREATE PROCEDURE shop.purge(o int) LANGUAGE sql SECURITY DEFINER AS $$ DELETE FROM shop.items WHERE org_id = o $$;
         ALTER PROCEDURE shop.purge(int) OWNER TO shop_owner",
        "DROP PROCEDURE shop.purge(int)",
        &[("probe-routine", "shop.purge(integer)")],
    ),
    leak(
        "a function that counts everybody's rows",
        "CREATE FUNCTION shop.size() RETURNS bigint LANGUAGE sql SECURITY DEFINER AS $$ SELECT count(*) FROM shop.items $$;
         ALTER FUNCTION shop.size() OWNER TO shop_owner",
        "DROP FUNCTION shop.size()",
        &[("probe-influence", "shop.size()")],
    ),
    leak(
        "a trigger that writes for others",
        "CREATE FUNCTION shop.touch() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
            $$ BEGIN UPDATE shop.items SET name = name || 'x'; RETURN NULL; END $$;
         ALTER FUNCTION shop.touch() OWNER TO shop_owner;
         CREATE TRIGGER touch AFTER INSERT ON shop.orders FOR EACH ROW EXECUTE FUNCTION shop.touch()",
        "DROP TRIGGER touch ON shop.orders; DROP FUNCTION shop.touch()",
        &[("probe-side-effect", "shop.orders")],
    ),
    leak(
        "a large object",
        "SET ROLE web; SELECT lo_from_bytea(0, 'x'); RESET ROLE",
        "SELECT lo_unlink(oid) FROM pg_largeobject_metadata",
        &[("probe-read", "large objects of web")],
    ),
    leak(
        "another tenant's schema",
        "GRANT USAGE ON SCHEMA s_blue TO s_red; GRANT SELECT ON s_blue.notes TO s_red",
        "REVOKE SELECT ON s_blue.notes FROM s_red; REVOKE USAGE ON SCHEMA s_blue FROM s_red",
        &[("probe-read", "s_blue.notes")],
    ),
    leak(
        "TRUNCATE on another tenant's ground",
        "GRANT USAGE ON SCHEMA s_blue TO s_red; GRANT TRUNCATE ON s_blue.notes TO s_red",
        "REVOKE TRUNCATE ON s_blue.notes FROM s_red; REVOKE USAGE ON SCHEMA s_blue FROM s_red",
        &[("probe-truncate", "s_blue.notes")],
    ),
    leak(
        "a view over all tenants' schemas",
        "CREATE VIEW public.all_notes AS SELECT * FROM s_red.notes UNION ALL SELECT * FROM s_blue.notes;
         GRANT SELECT ON public.all_notes TO s_red",
        "DROP VIEW public.all_notes",
        &[("probe-read", "public.all_notes")],
    ),
    leak(
        "a function that takes a schema's name",
        "CREATE FUNCTION public.notes_in(s text) RETURNS SETOF text LANGUAGE plpgsql SECURITY DEFINER
            AS $$ BEGIN RETURN QUERY EXECUTE format('SELECT body FROM %I.notes', s); END $$",
        "DROP FUNCTION public.notes_in(text)",
        &[("probe-routine", "public.notes_in(text)")],
    ),
];

#[test]
fn each_leak_is_seen_by_its_own_probe_and_gone_with_its_fix() {
    on_every_version(|world| {
        world.sql(SOUND);
        config(&world, &world.operator_url(), "");
        let mut wrong = Vec::new();
        for leak in LEAKS {
            world.sql(leak.sql);
            let answer = probe(&world);
            let wanted: BTreeSet<(String, String)> = leak
                .found
                .iter()
                .map(|(rule, object)| ((*rule).to_owned(), (*object).to_owned()))
                .collect();
            if found(&answer) != wanted {
                wrong.push(format!("{}: {:?}, not {wanted:?}", leak.what, found(&answer)));
            }
            for finding in answer["findings"].as_array().unwrap() {
                let shown = finding["reproduce"].as_str().unwrap_or_default();
                if !shown.starts_with("BEGIN;") || !shown.ends_with("ROLLBACK;") {
                    wrong.push(format!("{}: nothing shows it: {shown:?}", leak.what));
                }
            }
            world.sql(leak.fix);
        }
        let answer = probe(&world);
        if !found(&answer).is_empty() {
            wrong.push(format!("after every fix: {:?}", found(&answer)));
        }
        assert_eq!(answer["not_probed"], json!([]), "{answer:#}");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    });
}

#[test]
fn the_statements_of_a_finding_show_it_again() {
    let world = World::new();
    world.sql(SOUND);
    config(&world, &world.operator_url(), "");
    world.sql("CREATE VIEW shop.names AS SELECT name FROM shop.items; ALTER VIEW shop.names OWNER TO shop_owner; GRANT SELECT ON shop.names TO web");
    let answer = probe(&world);
    let finding = &answer["findings"][0];
    assert_eq!((&finding["rule"], &finding["evidence"]), (&json!("probe-read"), &json!("probe")));
    let statements = finding["reproduce"].as_str().unwrap();
    let mut web = world.session("app", "web");
    let rows = web.rows(statements);
    assert_eq!(rows.last(), Some(&vec!["1".to_owned()]), "{statements}");
    assert_eq!(world.rows("SELECT count(*) FROM shop.items"), [["0"]]);
}

/// A role that is made to log in with.
const PROBERS: &str = "SELECT rolname FROM pg_roles WHERE rolname ~ '^tenantctl_probe_'";

#[test]
fn a_role_that_is_made_to_log_in_is_gone_after_it_also_when_it_was_killed() {
    on_every_version(|world| {
        world.sql(SOUND);
        world.sql("ALTER ROLE web NOLOGIN; ALTER ROLE pool NOLOGIN");
        world.sql(&format!("GRANT web, s_red, s_blue TO {OPERATOR} WITH ADMIN OPTION"));
        config(&world, &world.operator_url(), "");
        let answer = probe(&world);
        assert_eq!(
            (&answer["findings"], &answer["not_probed"]),
            (&json!([]), &json!([])),
            "{answer:#}"
        );
        let unseen = answer["unseen"].to_string();
        assert!(!unseen.contains("SET ROLE"), "it was a login, and no costume: {unseen}");
        assert_eq!(world.rows(PROBERS), Vec::<Vec<String>>::new());
        let mut running = world.tenantctl(["verify-rls", "--probe"]).spawn();
        let until = "SELECT rolvaliduntil < now() + interval '16 minutes' FROM pg_roles WHERE rolname ~ '^tenantctl_probe_'";
        running.wait_until("the role is there, and not for long", || world.rows(until) == [["t"]]);
        running.kill();
        drop(running.wait());
        assert_no_prober(&world);
        // What somebody else's end left behind, the next audit removes; not what still has a keeper.
        let mut operator = world.session("app", OPERATOR);
        operator.sql(
            "CREATE ROLE tenantctl_probe_00000000002a; CREATE ROLE tenantctl_probe_00000000002b",
        );
        operator.sql(&format!("SELECT pg_advisory_lock({})", 0x7463_0000_0000_002b_i64));
        drop(probe(&world));
        assert_eq!(world.rows(PROBERS), [["tenantctl_probe_00000000002b"]]);
    });
}

/// The server drops the role as soon as it has noticed that whoever made it is gone.
fn assert_no_prober(world: &World) {
    let begun = std::time::Instant::now();
    while !world.rows(PROBERS).is_empty() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", world.rows(PROBERS));
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn where_passwords_are_asked_for_a_role_is_made_or_the_applications_own_is_used() {
    let world = World::tls();
    world.sql(SOUND);
    world.sql("ALTER ROLE web PASSWORD 'web-secret'; CREATE POLICY q ON shop.items FOR SELECT USING (true)");
    world.sql(&format!("GRANT web, s_red, s_blue TO {OPERATOR} WITH ADMIN OPTION"));
    let run = |logins: &str| {
        config(&world, &world.tls_url("require"), logins);
        let web = world.server().loopback_url("app", "web").unwrap();
        let web = web.replacen("web@", "web:web-secret@", 1);
        world
            .tenantctl(["verify-rls", "--probe", "-o", "json", "-q"])
            .env("PGPASSWORD", OPERATOR_PASSWORD)
            .env("WEB_URL", format!("{web}?sslmode=require"))
            .run()
            .code(2)
            .json()
    };
    for logins in ["", "login_url_env = { web = \"WEB_URL\" }"] {
        let answer = run(logins);
        assert_eq!(found(&answer), [("probe-read".to_owned(), "shop.items".to_owned())].into());
        assert!(!answer["unseen"].to_string().contains("SET ROLE"), "{logins}: {answer:#}");
        assert_eq!(world.rows(PROBERS), Vec::<Vec<String>>::new());
    }
    // Whoever may make no role wears the costume, and says so.
    world.sql(&format!("ALTER ROLE {OPERATOR} NOCREATEROLE"));
    let answer = run("");
    assert_eq!(found(&answer), [("probe-read".to_owned(), "shop.items".to_owned())].into());
    assert!(answer["unseen"].to_string().contains("by SET ROLE"), "{answer:#}");
}

#[test]
fn truncate_is_run_when_it_is_asked_for() {
    let world = World::new();
    world.sql(SOUND);
    world.sql("GRANT TRUNCATE ON shop.items TO web; INSERT INTO shop.orders (org_id, note) VALUES (8, 'x')");
    config(&world, &world.operator_url(), "");
    assert_eq!(found(&probe(&world)), BTreeSet::new());
    let args = ["verify-rls", "--probe", "--probe-truncate", "-o", "json", "-q"];
    let answer = world.run(args).code(2).json();
    assert_eq!(found(&answer), [("probe-truncate".to_owned(), "shop.items".to_owned())].into());
    assert_eq!(world.rows("SELECT count(*) FROM shop.orders"), [["1"]]);
}

/// Everything that an audit must leave as it is.
const OBJECTS: &str = "
    SELECT 'relation', oid::text, relname FROM pg_class WHERE oid >= 16384
    UNION ALL SELECT 'role', oid::text, rolname FROM pg_roles
    UNION ALL SELECT 'member', member::regrole::text, roleid::regrole::text FROM pg_auth_members
    UNION ALL SELECT 'setting', coalesce(setrole::regrole::text, ''), setconfig::text FROM pg_db_role_setting
    UNION ALL SELECT 'schema', oid::text, nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
    ORDER BY 1, 2, 3";

/// Writers of both tenants work while audits run, some of which are killed: none of their
/// transactions fails or waits for long, and in the end every row is accounted for.
#[test]
fn a_busy_database_notices_nothing() {
    let world = World::new();
    world.sql(SOUND);
    // No login is there for the taking, so that one is made each time. A hole makes probes hit rows.
    world.sql(
        "ALTER ROLE web NOLOGIN; ALTER ROLE pool NOLOGIN; CREATE ROLE writer LOGIN IN ROLE web;
               CREATE POLICY q ON shop.items FOR DELETE USING (true)",
    );
    world.sql(&format!("GRANT web, s_red, s_blue TO {OPERATOR} WITH ADMIN OPTION"));
    config(&world, &world.operator_url(), "");
    let before = world.rows(OBJECTS);
    let (stop, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let work = |org: usize| {
        let mut session = world.session("app", "writer");
        let mut longest = Duration::ZERO;
        let mut number = 0;
        while !stop.load(Ordering::Relaxed) {
            number += 1;
            let began = std::time::Instant::now();
            session.sql(&format!(
                "BEGIN; SET LOCAL ROLE web; SET LOCAL app.org = '{org}';
                 INSERT INTO shop.orders (org_id, note) VALUES ({org}, 'order {number}');
                 INSERT INTO shop.items SELECT {org}, max(id), 'item' FROM shop.orders;
                 UPDATE shop.items SET name = 'changed' WHERE order_id = (SELECT min(id) FROM shop.orders);
                 UPDATE shop.orders SET note = 'first' WHERE id = (SELECT min(id) FROM shop.orders);
                 COMMIT"
            ));
            longest = longest.max(began.elapsed());
            done.fetch_add(1, Ordering::Relaxed);
        }
        (number, longest)
    };
    let (counted, longest) = thread::scope(|scope| {
        let writers: Vec<_> = [7, 8, 7, 8].map(|org| scope.spawn(move || (org, work(org)))).into();
        for round in 0..8_u64 {
            let mut running = world.tenantctl(["verify-rls", "--probe", "-q"]).spawn();
            if round % 2 == 1 {
                thread::sleep(Duration::from_millis(90 * round));
                running.kill();
            }
            drop(running.wait());
        }
        stop.store(true, Ordering::Relaxed);
        let mut counted = [0, 0];
        let mut longest = Duration::ZERO;
        for writer in writers {
            let (org, (number, slowest)) = writer.join().expect("no transaction fails");
            counted[org - 7] += number;
            longest = longest.max(slowest);
        }
        (counted, longest)
    });
    assert!(done.load(Ordering::Relaxed) > 50, "the writers had something to do");
    assert!(longest < Duration::from_secs(3), "nobody waits for long: {longest:?}");
    let held = |table: &str| {
        world.rows(&format!("SELECT count(*) FROM shop.{table} GROUP BY org_id ORDER BY org_id"))
    };
    let wanted = counted.map(|number| vec![number.to_string()]);
    assert_eq!((held("orders"), held("items")), (wanted.to_vec(), wanted.to_vec()));
    assert_eq!(world.rows("SELECT orders FROM shop.tallies ORDER BY org_id"), wanted);
    assert_no_prober(&world);
    assert_eq!(world.rows(OBJECTS), before);
}
