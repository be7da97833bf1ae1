//! Rows for a tenant, in every table of any schema, the same ones every time.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use tenantctl::pg::server::SUPERUSER;

use super::model::Model;
use super::postgres::Postgres;
use super::session::Session;

/// Values that a check of the embedded schema wants, as expressions over `n`, by `table.column`.
/// Everything else gets a value by its type.
const PARTICULAR: [(&str, &str); 18] = [
    ("users.email", "'user' || n || '@example.org'"),
    ("users.display_name", "E'Zo\\u00eb \\t\"' || n || E'\"\\\\ \\n,;'"),
    ("api_keys.prefix", "'key_' || lpad(n::text, 8, '0')"),
    ("api_keys.expires_at", "timestamptz '2031-01-01' + n * interval '1 hour'"),
    ("api_keys.created_at", "timestamptz '2024-01-01' + n * interval '1 second'"),
    ("tags.name", "E'tag \\u00fc ' || n"),
    ("documents.title", "'Document ' || n"),
    ("documents.metadata", "jsonb_build_object('n', n, 'text', E'a\\nb\\t\"\\\\')"),
    ("events.stream", "'stream-' || n % 3"),
    ("events.stream_version", "n"),
    ("events.type", "'thing.happened'"),
    ("events.payload", "jsonb_build_object('n', n, 'deep', jsonb_build_array(1.50, null, 'x'))"),
    ("events.metadata", "'{}'"),
    ("embeddings.dimension", "3"),
    ("embeddings.embedding", "ARRAY[n, 1.0 / 3, -0.1]::real[]"),
    ("settings.key", "'key.n' || n"),
    ("audit_log.action", "(ARRAY['INSERT', 'UPDATE', 'DELETE'])[1 + n % 3]"),
    ("audit_log.before", "CASE WHEN n % 3 <> 0 THEN '{\"a\": 1}'::jsonb END"),
];

/// As above; the table has its own line for it.
const PARTICULAR_TOO: (&str, &str) =
    ("audit_log.after", "CASE WHEN n % 3 <> 2 THEN '{\"a\": 2}'::jsonb END");

/// Rows of one tenant.
pub struct Seed<'a> {
    pub server: &'a Postgres,
    pub database: &'a str,
    pub schema: &'a str,
    /// The tenant column and the tenant's key, where tables are shared.
    pub tenant: Option<(&'a str, &'a str)>,
    /// So many rows in each table; fewer where a unique key allows fewer.
    pub rows: u32,
}

impl Postgres {
    /// Fills every table of a tenant that `create` made with the default names. Shared tables are
    /// filled with its key.
    pub fn seed(&self, model: Model, tenant: &str, rows: u32) {
        let database = model.database(tenant);
        let key = self
            .rows(&format!("SELECT key FROM tenantctl.tenants WHERE id = '{tenant}'"))
            .into_iter()
            .flatten()
            .next();
        let shared = (model == Model::Shared).then(|| ("tenant_id", key.as_deref().unwrap()));
        let schema = model.schema(tenant);
        Seed { server: self, database: &database, schema: &schema, tenant: shared, rows }.plant();
    }
}

struct Column {
    name: String,
    kind: String,
    category: String,
    required: bool,
    identity: bool,
    /// The column that a foreign key refers to.
    parent: Option<(String, String)>,
}

impl Seed<'_> {
    /// Fills every table. Triggers stay quiet, so that the rows are the same every time; foreign keys
    /// hold because a row refers to the row of the same number.
    pub fn plant(&self) {
        let mut session = self.server.session(self.database, SUPERUSER);
        session.sql(&format!(
            "SET session_replication_role = replica; SET search_path = {}; SET TimeZone = 'UTC'",
            self.schema
        ));
        for (table, columns) in self.tables(&mut session) {
            let names: Vec<String> =
                columns.iter().map(|column| format!("\"{}\"", column.name)).collect();
            let values: Vec<String> =
                columns.iter().map(|column| self.value(&table, column)).collect();
            let overriding = if columns.iter().any(|column| column.identity) {
                "OVERRIDING SYSTEM VALUE "
            } else {
                ""
            };
            session.sql(&format!(
                "INSERT INTO \"{table}\" ({}) {overriding}SELECT {} FROM generate_series(1, {}) AS s (n) \
                 ON CONFLICT DO NOTHING",
                names.join(", "),
                values.join(", "),
                self.rows
            ));
            let filled = session.rows(&format!("SELECT count(*) FROM \"{table}\""));
            assert_ne!(filled, [["0"]], "{table} stays empty");
        }
        // Who inserts by name from now on does not meet the rows above.
        session.sql(
            "DO $$ DECLARE s record; BEGIN FOR s IN SELECT pg_get_serial_sequence(format('%I.%I', \
             n.nspname, c.relname), a.attname) AS name, format('%I.%I', n.nspname, c.relname) AS t, a.attname AS a \
             FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
             WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 \
             LOOP IF s.name IS NOT NULL THEN EXECUTE format('SELECT setval(%L, (SELECT max(%I) FROM %s))', \
             s.name, s.a, s.t); END IF; END LOOP; END $$",
        );
    }

    fn tables(&self, session: &mut Session) -> BTreeMap<String, Vec<Column>> {
        let rows = session.rows(&format!(
            "SELECT c.relname, a.attname, format_type(a.atttypid, a.atttypmod), \
                    CASE WHEN t.typtype = 'e' THEN 'enum' WHEN e.typtype = 'e' THEN 'enums' ELSE '' END, \
                    a.attnotnull, a.attidentity <> '', p.relname, pa.attname \
             FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type e ON e.oid = t.typelem AND t.typcategory = 'A' \
             LEFT JOIN LATERAL (SELECT f.confrelid, f.confkey[array_position(f.conkey, a.attnum)] AS attnum \
                   FROM pg_constraint f WHERE f.contype = 'f' AND f.conrelid = c.oid AND a.attnum = ANY (f.conkey) \
                   ORDER BY cardinality(f.conkey), f.conname LIMIT 1) f ON true \
             LEFT JOIN pg_class p ON p.oid = f.confrelid \
             LEFT JOIN pg_attribute pa ON pa.attrelid = f.confrelid AND pa.attnum = f.attnum \
             WHERE n.nspname = '{}' AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attgenerated = '' \
               AND c.relname NOT IN ('refinery_schema_history', 'tenantctl_repeatables', 'tenantctl_progress', 'tenantctl_closed') \
             ORDER BY c.relname, a.attnum",
            self.schema
        ));
        let mut tables: BTreeMap<String, Vec<Column>> = BTreeMap::new();
        for row in rows {
            let [table, name, kind, category, required, identity, parent, parent_column] =
                <[String; 8]>::try_from(row).unwrap();
            tables.entry(table).or_default().push(Column {
                name,
                kind,
                category,
                required: required == "t",
                identity: identity == "t",
                parent: (parent != "NULL").then_some((parent, parent_column)),
            });
        }
        assert!(!tables.is_empty(), "{} has no tables", self.schema);
        tables
    }

    fn value(&self, table: &str, column: &Column) -> String {
        if let Some((tenant_column, key)) = self.tenant
            && column.name == tenant_column
        {
            return format!("'{key}'::{}", column.kind);
        }
        let place = format!("{table}.{}", column.name);
        if let Some((_, value)) =
            PARTICULAR.iter().chain([&PARTICULAR_TOO]).find(|(name, _)| *name == place)
        {
            return (*value).to_owned();
        }
        match &column.parent {
            // A row of the same table: its predecessor's half, so that trees grow.
            Some((parent, parent_column)) if parent == table => {
                let value = Self::by_type(parent, parent_column, &column.kind, &column.category);
                format!("CASE WHEN n > 1 THEN {} END", value.replace(" n ", " (n / 2) "))
            }
            Some((parent, parent_column)) => {
                Self::by_type(parent, parent_column, &column.kind, &column.category)
            }
            None => {
                let value = Self::by_type(table, &column.name, &column.kind, &column.category);
                if column.required {
                    value
                } else {
                    format!("CASE WHEN n % 3 <> 0 THEN {value} END")
                }
            }
        }
    }

    /// An expression over ` n `, which stands between blanks.
    fn by_type(table: &str, column: &str, kind: &str, category: &str) -> String {
        let mut text = String::new();
        let value = match (category, kind) {
            ("enum", _) => format!(
                "(enum_range(NULL::{kind}))[1 + ( n - 1) % array_length(enum_range(NULL::{kind}), 1)]"
            ),
            ("enums", _) => {
                let element = kind.trim_end_matches("[]");
                format!("(enum_range(NULL::{element}))[1 : 1 + ( n - 1) % 2]")
            }
            (_, "uuid") => format!("md5('{table}.{column}.' || n )::uuid"),
            (_, "boolean") => " n % 2 = 0".to_owned(),
            (_, "smallint" | "integer" | "bigint") => " n ".to_owned(),
            (_, "real" | "double precision") => " n / 7.0".to_owned(),
            (_, "jsonb" | "json") => {
                "json_build_object('n', n , 'text', E'a\\nb\\t\"\\\\')".to_owned()
            }
            (_, "bytea") => "decode(md5( n ::text) || md5('b' || n ), 'hex')".to_owned(),
            (_, "date") => "date '2024-02-28' + n ".to_owned(),
            (_, "inet") => "('10.0.0.' || n % 250)::inet".to_owned(),
            (_, "interval") => "n * interval '1 day 1.5 seconds'".to_owned(),
            (_, kind) if kind.starts_with("timestamp") => {
                "timestamptz '2024-02-28 23:59:59.123456' + n * interval '1 day 1.000001 seconds'"
                    .to_owned()
            }
            (_, kind) if kind.starts_with("numeric") => " n / 8.0".to_owned(),
            (_, kind) if kind.starts_with("character") || kind == "text" => {
                "E'it''s \\t \\\\ \\\\N \"q\" \\u20ac ' || n ".to_owned()
            }
            (_, kind) if kind.ends_with("[]") => "'{}'".to_owned(),
            _ => panic!("no value is known for {table}.{column} of type {kind}"),
        };
        write!(text, "({value})::{kind}").unwrap();
        text
    }
}
