//! `verify-rls` on a layout that tenantctl never made: no registry, integer keys, other names, other
//! ways to write a policy, and an auditor who may do little.

use serde_json::Value;

use crate::harness::{OPERATOR, World, on_every_version};

/// Two tenants that share tables, told apart by `org_id` and `app.org`; two with a schema each.
const BY_HAND: &str = "
    CREATE ROLE acme_owner NOLOGIN; CREATE ROLE web LOGIN NOINHERIT; CREATE ROLE auditor LOGIN;
    CREATE ROLE backup NOLOGIN BYPASSRLS; CREATE ROLE helpdesk NOLOGIN;
    CREATE ROLE c_red NOLOGIN; CREATE ROLE c_blue NOLOGIN;
    GRANT c_red, c_blue TO web;
    CREATE SCHEMA crm AUTHORIZATION acme_owner;
    GRANT USAGE ON SCHEMA crm TO web, helpdesk;
    SET ROLE acme_owner;
    CREATE TYPE crm.stage AS ENUM ('new', 'won');
    CREATE DOMAIN crm.code AS text CHECK (VALUE ~ '^[A-Z]{3}-\\d{2}$');
    CREATE TABLE crm.countries (iso char(2) PRIMARY KEY, name text NOT NULL);
    INSERT INTO crm.countries VALUES ('DE', 'Germany');
    CREATE TABLE crm.orgs (org_id int PRIMARY KEY, slug text NOT NULL CHECK (slug = lower(slug)));
    INSERT INTO crm.orgs VALUES (7, 'red'), (8, 'blue');
    CREATE TABLE crm.deals (org_id int NOT NULL REFERENCES crm.orgs, id bigint GENERATED ALWAYS AS IDENTITY,
        country char(2) NOT NULL REFERENCES crm.countries, stage crm.stage NOT NULL, code crm.code NOT NULL,
        amount numeric NOT NULL CHECK (amount BETWEEN 500 AND 900), place point NOT NULL, days daterange NOT NULL,
        \"Web Site\" varchar(60) NOT NULL CHECK (\"Web Site\" LIKE 'https://%'), price jsonb NOT NULL CHECK (price ? 'net'),
        starts date NOT NULL, ends date NOT NULL CHECK (ends > starts), PRIMARY KEY (org_id, id));
    CREATE TABLE crm.notes (org_id int NOT NULL, deal bigint NOT NULL, body text NOT NULL DEFAULT '',
        FOREIGN KEY (org_id, deal) REFERENCES crm.deals (org_id, id));
    CREATE TABLE crm.members (org_id int NOT NULL, person text NOT NULL, PRIMARY KEY (org_id, person));
    CREATE TABLE crm.files (org_id int NOT NULL, name text NOT NULL);
    CREATE TABLE crm.log (org_id int NOT NULL, at timestamptz NOT NULL DEFAULT now(), what text);
    CREATE INDEX ON crm.notes (org_id); CREATE INDEX ON crm.files (org_id); CREATE INDEX ON crm.log (org_id);
    CREATE FUNCTION crm.org() RETURNS int LANGUAGE sql STABLE SET search_path = pg_catalog
        AS $$ SELECT nullif(current_setting('app.org', true), '')::int $$;
    CREATE FUNCTION crm.log_it() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO crm.log (org_id, what) VALUES (NEW.org_id, TG_OP); RETURN NULL; END $$;
    CREATE TRIGGER log_it AFTER INSERT OR UPDATE ON crm.deals FOR EACH ROW EXECUTE FUNCTION crm.log_it();
    CREATE FUNCTION crm.stamp() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.org_id := coalesce(crm.org(), NEW.org_id); RETURN NEW; END $$;
    CREATE TRIGGER stamp BEFORE INSERT ON crm.files FOR EACH ROW EXECUTE FUNCTION crm.stamp();
    DO $$ DECLARE t text; BEGIN
        FOREACH t IN ARRAY ARRAY['orgs', 'deals', 'notes', 'members', 'files', 'log'] LOOP
            EXECUTE format('ALTER TABLE crm.%I ENABLE ROW LEVEL SECURITY', t);
        END LOOP; END $$;
    CREATE POLICY p ON crm.orgs USING (org_id = crm.org());
    CREATE POLICY p ON crm.deals USING (org_id = (SELECT crm.org())) WITH CHECK (org_id = (SELECT crm.org()));
    CREATE POLICY everything ON crm.notes USING (true);
    CREATE POLICY floor ON crm.notes AS RESTRICTIVE USING (org_id = crm.org());
    CREATE POLICY p ON crm.members FOR SELECT USING (org_id = crm.org());
    CREATE POLICY p ON crm.files USING (org_id = current_setting('app.org')::int);
    CREATE POLICY help ON crm.files FOR SELECT TO helpdesk USING (true);
    CREATE POLICY p ON crm.log USING (org_id = crm.org());
    CREATE FUNCTION crm.total() RETURNS bigint LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog
        AS $$ SELECT count(*) FROM crm.deals WHERE org_id = crm.org() $$;
    CREATE VIEW crm.won WITH (security_barrier) AS SELECT * FROM crm.deals WHERE stage = 'won' AND org_id = crm.org();
    CREATE MATERIALIZED VIEW crm.all_deals AS SELECT * FROM crm.deals;
    GRANT SELECT, INSERT, UPDATE, DELETE ON crm.deals, crm.notes, crm.files, crm.log TO web;
    GRANT SELECT ON crm.orgs, crm.members, crm.countries, crm.won TO web;
    GRANT SELECT ON crm.countries TO PUBLIC;
    GRANT SELECT ON crm.files TO helpdesk;
    RESET ROLE;
    CREATE SCHEMA c_red AUTHORIZATION acme_owner; CREATE SCHEMA c_blue AUTHORIZATION acme_owner;
    CREATE TABLE c_red.deals (id int); CREATE TABLE c_blue.deals (id int);
    GRANT USAGE ON SCHEMA c_red TO c_red; GRANT USAGE ON SCHEMA c_blue TO c_blue;
    GRANT SELECT, INSERT ON c_red.deals TO c_red; GRANT SELECT, INSERT ON c_blue.deals TO c_blue;
";

fn by_hand(world: &World, user: &str) {
    let url = world.url("app", user);
    world.file(
        "tenants.toml",
        &format!(
            r#"
[clusters.main]
url = "{url}"
[isolation.shared]
schema = "crm"
owner = "acme_owner"
column = "org_id"
key_type = "integer"
setting = "app.org"
role = "web"
[isolation.schema]
schema = "c_{{tenant}}"
owner = "acme_owner"
role = "c_{{tenant}}"
login_role = "web"
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

fn audit(world: &World, args: &[&str], code: i32) -> Value {
    let args = [&["verify-rls", "-o", "json", "--fail-on", "low"], args].concat();
    world.run(&args).code(code).json()
}

/// The rules that found something that matters, sorted. Policies here are written in ways that cost
/// more than they must, which is no fault.
fn rules(answer: &Value) -> std::collections::BTreeSet<String> {
    let mut found = crate::verify_rls::rules(answer);
    found.remove("policy-slow");
    found
}

/// Everything that an audit must not change.
fn state(world: &World) -> Vec<Vec<String>> {
    world.rows(
        "SELECT 'relation', oid::text, relname FROM pg_class WHERE oid >= 16384
         UNION ALL SELECT 'role', oid::text, rolname FROM pg_roles
         UNION ALL SELECT 'schema', oid::text, nspname FROM pg_namespace WHERE nspname !~ '^pg_(toast_)?temp'
         UNION ALL SELECT 'row', org_id::text, slug FROM crm.orgs
         UNION ALL SELECT 'count', count(*)::text, 'deals' FROM crm.deals
         UNION ALL SELECT 'count', count(*)::text, 'log' FROM crm.log
         UNION ALL SELECT 'count', count(*)::text, 'files' FROM crm.files ORDER BY 1, 2, 3",
    )
}

#[test]
fn a_sound_layout_that_somebody_made_by_hand_is_sound_and_untouched() {
    on_every_version(|world| {
        world.sql(BY_HAND);
        world.sql(&format!("GRANT web, c_red, c_blue, acme_owner TO {OPERATOR}"));
        by_hand(&world, OPERATOR);
        let before = state(&world);
        let answer = audit(&world, &[], 0);
        assert_eq!(rules(&answer), std::collections::BTreeSet::new(), "{answer:#}");
        // The view shows won deals only, and none that was made up is one.
        let skipped = answer["not_probed"].as_array().unwrap();
        assert!(skipped.iter().all(|one| one["relation"] == "crm.won"), "{answer:#}");
        assert!(answer["coverage"]["probes"].as_u64().unwrap() > 60, "{answer:#}");
        assert_eq!(state(&world), before);
    });
}

#[test]
fn holes_that_hands_make_are_found_and_nothing_else() {
    let world = World::new();
    world.sql(BY_HAND);
    world.sql(&format!("GRANT web, c_red, c_blue, acme_owner TO {OPERATOR}"));
    by_hand(&world, OPERATOR);
    let mut wrong = Vec::new();
    for (what, sql, undo, wanted) in [
        (
            "a policy that shows everything when nothing is set",
            "CREATE POLICY q ON crm.deals USING (org_id = coalesce(crm.org(), org_id))",
            "DROP POLICY q ON crm.deals",
            &["policy-ignores-tenant", "policy-write-unchecked", "probe-open-context"][..],
        ),
        (
            "a function that forgets the tenant",
            "CREATE OR REPLACE FUNCTION crm.total() RETURNS bigint LANGUAGE sql SECURITY DEFINER
                AS $$ SELECT count(*) FROM crm.deals $$",
            "CREATE OR REPLACE FUNCTION crm.total() RETURNS bigint LANGUAGE sql SECURITY DEFINER
                AS $$ SELECT count(*) FROM crm.deals WHERE org_id = crm.org() $$",
            &["definer-function", "probe-influence"],
        ),
        (
            "the materialized view granted",
            "GRANT SELECT ON crm.all_deals TO web",
            "REVOKE SELECT ON crm.all_deals FROM web",
            &["definer-view"],
        ),
        (
            "the backup role in reach",
            "GRANT backup TO web",
            "REVOKE backup FROM web",
            &["role-reaches-exempt"],
        ),
        (
            "the owner in reach of a customer",
            "GRANT acme_owner TO c_red",
            "REVOKE acme_owner FROM c_red",
            // It owns the other customer's schema as well.
            &["role-reaches-owner", "role-reaches-tenant", "rls-not-forced", "probe-read"],
        ),
        (
            "a login that inherits, and so the helpdesk's policy in reach",
            "ALTER ROLE web INHERIT; GRANT helpdesk TO web",
            "REVOKE helpdesk FROM web; ALTER ROLE web NOINHERIT",
            &["policy-ignores-tenant", "probe-read", "role-reaches-tenant"],
        ),
    ] {
        world.sql(sql);
        let answer = audit(&world, &[], 2);
        let found = rules(&answer);
        let wanted = wanted.iter().map(|rule| (*rule).to_owned()).collect();
        if found != wanted {
            wrong.push(format!("{what}: found {found:?}, not {wanted:?}"));
        }
        world.sql(undo);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn an_auditor_who_may_do_nothing_judges_the_catalogues_and_says_what_was_not_tried() {
    let world = World::new();
    world.sql(BY_HAND);
    world.sql("ALTER ROLE web NOLOGIN");
    by_hand(&world, "auditor");
    let before = state(&world);
    let outcome = world.run(["verify-rls"]).ok();
    assert!(outcome.stdout().contains("auditor may not act as web"), "{}", outcome.stdout());
    world.sql("ALTER TABLE crm.deals DISABLE ROW LEVEL SECURITY");
    let answer = audit(&world, &[], 2);
    assert_eq!(rules(&answer), ["rls-disabled".to_owned()].into(), "{answer:#}");
    let skipped = answer["not_probed"].as_array().unwrap();
    assert!(skipped.iter().all(|one| one["reason"].as_str().unwrap().contains("GRANT ")));
    world.sql("ALTER TABLE crm.deals ENABLE ROW LEVEL SECURITY");
    assert_eq!(state(&world), before);
}

#[test]
fn what_is_listed_and_not_there_is_said() {
    let world = World::new();
    world.sql(BY_HAND);
    by_hand(&world, "auditor");
    world.sql("DROP SCHEMA c_blue CASCADE; DROP OWNED BY c_blue; DROP ROLE c_blue");
    let answer = audit(&world, &["--static"], 0);
    let unseen = answer["unseen"].to_string();
    assert!(unseen.contains("role c_blue") && unseen.contains("schema c_blue"), "{answer:#}");
}

#[test]
fn a_table_that_no_row_can_be_made_for_takes_one_line() {
    let world = World::new();
    world.sql(BY_HAND);
    world.sql(
        "CREATE TABLE crm.odd (org_id int NOT NULL, n int NOT NULL CHECK (n * n = 1234 * 1234 + 1)); CREATE INDEX ON crm.odd (org_id);
         ALTER TABLE crm.odd ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON crm.odd USING (org_id = crm.org()); GRANT SELECT, INSERT, UPDATE, DELETE ON crm.odd TO web;
         CREATE TABLE crm.hen (org_id int NOT NULL, id int NOT NULL, egg int NOT NULL, PRIMARY KEY (org_id, id));
         CREATE TABLE crm.egg (org_id int NOT NULL, id int NOT NULL, hen int NOT NULL, PRIMARY KEY (org_id, id),
            FOREIGN KEY (org_id, hen) REFERENCES crm.hen);
         ALTER TABLE crm.hen ADD FOREIGN KEY (org_id, egg) REFERENCES crm.egg; ALTER TABLE crm.hen OWNER TO acme_owner;
         ALTER TABLE crm.hen ENABLE ROW LEVEL SECURITY; ALTER TABLE crm.egg ENABLE ROW LEVEL SECURITY;
         CREATE POLICY p ON crm.hen USING (org_id = crm.org()); CREATE POLICY p ON crm.egg USING (org_id = crm.org());
         GRANT SELECT, INSERT, UPDATE, DELETE ON crm.hen TO web",
    );
    world.sql(&format!("GRANT web, c_red, c_blue, acme_owner TO {OPERATOR}"));
    by_hand(&world, OPERATOR);
    let outcome = world.run(["verify-rls"]).ok();
    let text = outcome.stdout().split_whitespace().collect::<Vec<_>>().join(" ");
    // What its policies admit was seen all the same.
    assert_eq!(text.matches("on crm.odd as web: ").count(), 0, "{text}");
    // Policies judge a row before its constraints do: an INSERT needs no row that fits.
    let answer = audit(&world, &[], 0);
    let skipped = answer["not_probed"].as_array().unwrap();
    assert!(skipped.iter().all(|one| one["operation"] != "INSERT"), "{answer:#}");
}

/// In a superuser's session any function may say RESET ROLE: the application's must not run there.
#[test]
fn a_superuser_does_not_run_what_the_application_wrote() {
    let world = World::new();
    world.sql(BY_HAND);
    world.sql(
        "CREATE FUNCTION crm.trap() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RESET ROLE; PERFORM pg_catalog.set_config('x.trapped', 'yes', false);
               COPY (SELECT 1) TO PROGRAM 'touch trapped'; RETURN NEW; END $$;
         ALTER FUNCTION crm.trap() OWNER TO web;
         CREATE TRIGGER trap BEFORE INSERT ON crm.deals FOR EACH ROW EXECUTE FUNCTION crm.trap();
         ALTER ROLE web NOLOGIN",
    );
    by_hand(&world, "postgres");
    let answer = audit(&world, &[], 0);
    let hygiene = |one: &Value| one["rule"] == "policy-slow" && one["severity"] == "info";
    assert!(answer["findings"].as_array().unwrap().iter().all(hygiene), "{answer:#}");
    let trapped = world.rows("SELECT count(*) FROM pg_ls_dir('.') AS file WHERE file = 'trapped'");
    assert_eq!(trapped, [["0"]]);
}
