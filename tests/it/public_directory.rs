//! A refinery directory as teams have it, dozens of files, applied unchanged to fifty schemas.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use crate::fleet::summary;
use crate::harness::{OPERATOR, Outcome, World};

const SCHEMAS: usize = 50;

/// Fifty tenants that are only declared, and whose schemas are empty.
fn fifty() -> World {
    let world = World::new();
    let (mut toml, mut sql) = (String::new(), String::new());
    for number in 1..=SCHEMAS {
        write!(toml, "[[tenants]]\nid = \"t{number}\"\nisolation = \"schema\"\n").unwrap();
        write!(
            sql,
            "CREATE ROLE tenant_t{number}_owner; GRANT tenant_t{number}_owner TO {OPERATOR}; \
             CREATE SCHEMA tenant_t{number} AUTHORIZATION tenant_t{number}_owner; "
        )
        .unwrap();
    }
    world.config(&toml);
    world.sql(&sql);
    world
}

fn migrate(world: &World, verb: &str, directory: &Path) -> Outcome {
    world.tenantctl(["migrate", verb, "-o", "json", "--migrations"]).args([directory]).run().ok()
}

/// Applies a directory to fifty schemas, and compares them with one another.
fn apply(directory: &Path, files: usize) -> World {
    let world = fifty();
    let up = migrate(&world, "up", directory);
    assert_eq!(summary(&up), [SCHEMAS as u64, 0, 0, 0]);
    for target in up.json()["targets"].as_array().unwrap() {
        assert_eq!(target["applied"].as_array().unwrap().len(), files, "{target}");
    }
    assert_eq!(summary(&migrate(&world, "status", directory)), [SCHEMAS as u64, 0, 0, 0]);
    // The same columns and functions everywhere, the same history, and nothing outside.
    let shapes = world.rows(
        "SELECT count(DISTINCT shape) FROM (SELECT (SELECT string_agg(line, ';' ORDER BY line) FROM ( \
           SELECT concat_ws(' ', table_name, column_name, data_type, is_nullable) \
             FROM information_schema.columns WHERE table_schema = nspname \
           UNION ALL SELECT indexname FROM pg_indexes WHERE schemaname = nspname \
           UNION ALL SELECT proname FROM pg_proc WHERE pronamespace = n.oid) AS lines (line)) \
         FROM pg_namespace n WHERE nspname LIKE 'tenant\\_%') AS shapes (shape)",
    );
    assert_eq!(shapes, [["1"]]);
    let histories = world.rows(
        "SELECT count(DISTINCT h) FROM (SELECT query_to_xml(format( \
           'SELECT version, name, checksum FROM %I.refinery_schema_history ORDER BY version', nspname), \
           true, true, '')::text AS h FROM pg_namespace WHERE nspname LIKE 'tenant\\_%') AS all_of_them",
    );
    assert_eq!(histories, [["1"]]);
    let outside =
        world.rows("SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace");
    assert!(outside.is_empty(), "{outside:?}");
    world
}

#[test]
fn forty_files_apply_to_fifty_schemas() {
    let scratch = tempfile::tempdir().unwrap();
    let files = forty(scratch.path());
    apply(scratch.path(), files);
}

/// For a project's own files, which are nobody's to copy here.
#[test]
fn the_directory_of_a_public_project_applies_to_fifty_schemas() {
    let Some(directory) = std::env::var_os("TENANTCTL_PUBLIC_DIRECTORY").map(PathBuf::from) else {
        let mut stderr = std::io::stderr();
        writeln!(stderr, "warning: no public directory: set TENANTCTL_PUBLIC_DIRECTORY").unwrap();
        return;
    };
    let files = directory.read_dir().unwrap().count();
    apply(&directory, files);
}

/// Writes what a product's directory looks like after two years; says how many files there are.
fn forty(directory: &Path) -> usize {
    let mut files = vec![
        "CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL, \
         created_at timestamptz NOT NULL DEFAULT now());\nCREATE UNIQUE INDEX users_email ON users (lower(email));\n"
            .to_owned(),
        "CREATE TYPE order_state AS ENUM ('open', 'paid', 'sent');\n\
         CREATE TABLE orders (id bigserial PRIMARY KEY, user_id bigint NOT NULL REFERENCES users, \
         state order_state NOT NULL DEFAULT 'open', total numeric(12, 2) CHECK (total >= 0));\n"
            .to_owned(),
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$\nBEGIN\n  NEW.updated_at := now();\n  \
         RETURN NEW;\nEND;\n$$;\nALTER TABLE orders ADD COLUMN updated_at timestamptz;\n\
         CREATE TRIGGER orders_touch BEFORE UPDATE ON orders FOR EACH ROW EXECUTE FUNCTION touch();\n"
            .to_owned(),
        "INSERT INTO users (email) VALUES ('root@example.org'), ('o''brien@example.org');\n\
         INSERT INTO orders (user_id, total) SELECT id, 10 FROM users;\n"
            .to_owned(),
        "DO $$\nDECLARE\n  one record;\nBEGIN\n  FOR one IN SELECT id FROM orders LOOP\n    \
         UPDATE orders SET state = 'paid' WHERE id = one.id;\n  END LOOP;\nEND;\n$$;\n"
            .to_owned(),
        "CREATE TABLE events (id bigserial, at timestamptz NOT NULL, body jsonb NOT NULL DEFAULT '{}', \
         PRIMARY KEY (id, at)) PARTITION BY RANGE (at);\n\
         CREATE TABLE events_2025 PARTITION OF events FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');\n\
         CREATE TABLE events_rest PARTITION OF events DEFAULT;\n\
         CREATE INDEX events_body ON events USING gin (body jsonb_path_ops);\n"
            .to_owned(),
        "CREATE VIEW open_orders AS SELECT * FROM orders WHERE state = 'open';\n\
         CREATE MATERIALIZED VIEW totals AS SELECT user_id, sum(total) AS total FROM orders GROUP BY 1;\n"
            .to_owned(),
        "-- A semicolon; in a comment, and a string with one: ';'.\n\
         COMMENT ON TABLE users IS 'who may log in; never deleted';\n"
            .to_owned(),
    ];
    while files.len() < 40 {
        let number = files.len() + 1;
        files.push(match number % 4 {
            0 => {
                format!("ALTER TABLE users ADD COLUMN field_{number} text NOT NULL DEFAULT 'x';\n")
            }
            1 => format!(
                "CREATE TABLE part_{number} (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), \
                 user_id bigint REFERENCES users ON DELETE CASCADE);\n"
            ),
            2 => format!(
                "CREATE INDEX orders_state_{number} ON orders (state) WHERE total > {number};\n"
            ),
            _ => format!("UPDATE users SET email = email || '{number}' WHERE id < 0;\n"),
        });
    }
    for (at, sql) in files.iter().enumerate() {
        std::fs::write(directory.join(format!("V{}__change_{at}.sql", at + 1)), sql).unwrap();
    }
    files.len()
}
