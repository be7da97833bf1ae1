//! Scripts are split where the server splits them: it is asked, pair by pair.

use tenantctl::sql::scan::{Shape, statements};

use crate::harness::{Session, on_every_version};

/// Statements whose semicolons, quotes and comments are not what they seem. Each answers one row, so
/// that the server's answer shows how many it took them for.
const ODD: [&str; 26] = [
    "SELECT ';'",
    "SELECT 'it''s; \\'",
    "SELECT E'it\\'s; \\\\'",
    "SELECT E'a''b\\';' -- ' ;\n 'c\\';'",
    "SELECT 'a;'\n'b;'",
    "SELECT U&'d\\0061t;a' AS U&\"odd;\\0061\"",
    "SELECT U&'d!0061;' UESCAPE '!'",
    "SELECT B'01' || B'1', X'1F', N';'",
    "SELECT $$;$$, $a$ $$;$$ $b$ ; $a$",
    "SELECT $é$ ; $$ $é$",
    "SELECT 1 AS a$b$, 2 AS c$b$",
    "SELECT 1 AS \";\", 2 AS \"a\"\";\"",
    "SELECT 1 /* ; /* ; */ ' */ + 2",
    "SELECT 1 --;'$$\"\n + 2",
    "SELECT 2*/* ; */3",
    "SELECT 1 +-- ;\n 1",
    "SELECT (SELECT 1)",
    "SELECT CASE WHEN true THEN 1 ELSE 2 END AS end",
    "SELECT (ARRAY[';', '2'])[1]",
    "SELECT 1 AS begin, 2 AS atomic",
    "SELECT x.end FROM (SELECT 1 AS end) x",
    "SELECT 5 % 3, '{\"a\": \";\"}'::jsonb ->> 'a'",
    "SELECT 'é;ü', 1 AS ünï",
    "WITH made AS (INSERT INTO kept VALUES (';') RETURNING 1) SELECT * FROM made",
    "SELECT atomic FROM (SELECT 1 AS atomic) AS begin",
    "VALUES (';')",
];

/// Bodies that hold whole statements; they answer no row.
const BODIES: [&str; 6] = [
    "CREATE OR REPLACE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN true THEN 1 \
     END; SELECT 2 AS end; END",
    "CREATE OR REPLACE PROCEDURE p() LANGUAGE sql BEGIN /* ; */ ATOMIC INSERT INTO kept VALUES ('a'); \
     INSERT INTO kept SELECT CASE WHEN (CASE WHEN true THEN 1 END) = 1 THEN 'b' END; END",
    "CREATE OR REPLACE FUNCTION g() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN RETURN length($g$;$g$); END $f$",
    "CREATE OR REPLACE FUNCTION h() RETURNS text LANGUAGE sql AS 'SELECT '';''; SELECT $$;$$'",
    "CREATE OR REPLACE RULE r AS ON UPDATE TO kept DO INSTEAD (DELETE FROM kept; SELECT ';')",
    "DO $$ BEGIN PERFORM 1; EXECUTE 'SELECT 1;'; END $$",
];

#[test]
fn a_script_is_split_where_the_server_splits_it() {
    on_every_version(|world| {
        let mut session = world.session("app", "postgres");
        session.sql("CREATE TABLE kept (a text)");
        let all: Vec<&str> = ODD.iter().chain(&BODIES).copied().collect();
        for (at, first) in all.iter().enumerate() {
            for step in [0, 1, 7, 18] {
                let second = all[(at + step) % all.len()];
                // The one that ends in a comment must end its line as well.
                compare(&mut session, &format!("{first}\n;{second};;\n-- ;\n"));
            }
        }
    });
}

/// Sends a script whole and in parts, and compares the answers.
#[track_caller]
fn compare(session: &mut Session, script: &str) {
    let whole = session.rows(script);
    let parts: Vec<_> =
        statements(script).filter(|statement| statement.shape != Shape::Blank).collect();
    assert_eq!(parts.len(), 2, "{script}");
    let mut rows = Vec::new();
    for part in parts {
        assert_eq!((part.shape, part.unclosed), (Shape::Sql, None), "{script}");
        rows.extend(session.rows(part.text));
    }
    assert_eq!(whole, rows, "{script}");
}
