//! What the field knows about migrations of PostgreSQL: squawk's rules, under squawk's names.
//!
//! Left out, each for a reason:
//!
//! * `prefer-robust-stmts`: a file is applied once, in a transaction; `IF NOT EXISTS` would hide
//!   that a tenant is not what its history says.
//! * `transaction-nesting`, `ban-uncommitted-transaction`: the transaction is tenantctl's, which is
//!   what `transaction-control` says.
//! * `require-lock-timeout`, `require-statement-timeout` (`require-timeout-settings`): tenantctl
//!   sets both for every file.
//! * `require-table-schema`: here the opposite is right, see `hard-coded-schema`.
//! * `require-concurrent-index-creation`: ours knows the other files of the set.
//! * `ban-concurrent-index-creation-in-transaction`: ours, `needs-no-transaction`, knows that a file
//!   of one statement runs in a transaction as well.
//! * `prefer-repack`: recommends what only PostgreSQL 19 has.
//! * `unused-ignore`: comments are tenantctl's own here, see `allow-unused`.
//! * rules that squawk itself does not enable (`ban-create-policy`, `ban-revoke`, `ban-add-column`,
//!   …): they exist to freeze a schema, not to change one safely.

use squawk_linter::{Linter, LinterSettings, Rule as Squawk};
use squawk_syntax::SourceFile;

use crate::lint::finding::Draft;
use crate::lint::rules::Rule;
use crate::lint::script::{Place, Script};
use crate::lint::statement::Act;
use crate::lint::survey::Survey;
use crate::model::severity::Severity;
use crate::model::severity::Severity::{High, Low, Medium};

/// The oldest server that tenantctl supports: what it cannot do is not recommended.
const OLDEST: &str = "14.0";

/// A rule of squawk's, with what is said about it here.
pub(in crate::lint) struct Field {
    pub(in crate::lint) rule: Rule,
    squawk: Squawk,
}

const fn field(
    squawk: Squawk,
    severity: Severity,
    id: &'static str,
    title: &'static str,
    why: &'static str,
    example: &'static str,
    fix: &'static str,
) -> Field {
    Field { rule: Rule { id, severity, title, why, example, fix }, squawk }
}

/// The rules that are taken from squawk.
pub(in crate::lint) fn fields() -> &'static [Field] {
    FIELDS
}

/// What squawk says about one file.
pub(in crate::lint) fn judge(survey: &Survey<'_>, file: usize, script: &Script<'_>) -> Vec<Draft> {
    let mut linter = Linter::from(FIELDS.iter().map(|field| field.squawk).collect::<Vec<_>>());
    linter.settings = LinterSettings {
        pg_version: OLDEST.parse().unwrap_or_default(),
        assume_in_transaction: !script.outside_transaction,
    };
    let sql = script.source.sql;
    linter
        .lint(&SourceFile::parse(sql), sql)
        .into_iter()
        .filter_map(|violation| {
            let field = FIELDS.iter().find(|field| field.squawk == violation.code)?;
            let range = violation.text_range;
            let range = usize::from(range.start())..usize::from(range.end());
            if alters_what_it_makes(survey, file, script, range.start) {
                return None;
            }
            let message = sentence(&violation.message);
            let fix = violation.help.as_deref().map_or_else(|| field.rule.fix.to_owned(), sentence);
            Some(Draft::new(&field.rule, &Place { file, range }, message, fix))
        })
        .collect()
}

/// Whether a place is in an `ALTER TABLE` of a table that the same file makes: nobody reads or
/// writes it yet.
fn alters_what_it_makes(survey: &Survey<'_>, file: usize, script: &Script<'_>, at: usize) -> bool {
    let Some(statement) = script.statement_at(at).and_then(|found| script.statements.get(found))
    else {
        return false;
    };
    script.reading.acts.iter().any(|act| match act {
        Act::AlterTable { table, range, .. } => {
            statement.range.contains(&range.start)
                && survey
                    .schema
                    .table(table)
                    .is_some_and(|known| known.made.as_ref().is_some_and(|made| made.file == file))
        }
        _ => false,
    })
}

/// squawk's sentences as messages are written here: no full stop at the end.
fn sentence(text: &str) -> String {
    text.trim().trim_end_matches('.').to_owned()
}

static FIELDS: &[Field] = &[
    field(
        Squawk::AddingFieldWithDefault,
        Medium,
        "adding-field-with-default",
        "a new column's default makes PostgreSQL rewrite the table",
        "A volatile or generated value is computed for every row while nobody can read or write the table. A constant default costs nothing.",
        "ALTER TABLE notes ADD COLUMN token uuid DEFAULT gen_random_uuid();",
        "Add the column without a default, set the default for new rows, fill old rows in batches.",
    ),
    field(
        Squawk::AddingForeignKeyConstraint,
        Medium,
        "adding-foreign-key-constraint",
        "a foreign key on an existing table is checked while both tables are locked",
        "Every row is checked while neither table can be written to.",
        "ALTER TABLE notes ADD FOREIGN KEY (author_id) REFERENCES users (id);",
        "Add it NOT VALID, and VALIDATE CONSTRAINT in a later file: that one lets others write.",
    ),
    field(
        Squawk::AddingNotNullableField,
        Medium,
        "adding-not-nullable-field",
        "SET NOT NULL reads the whole table under its strongest lock",
        "Nobody can read or write the table until every row was looked at.",
        "ALTER TABLE notes ALTER COLUMN body SET NOT NULL;",
        "Add CHECK (body IS NOT NULL) NOT VALID, validate it in a later file, then SET NOT NULL, which believes it.",
    ),
    field(
        Squawk::AddingSerialPrimaryKeyField,
        Medium,
        "adding-serial-primary-key-field",
        "a primary key on an existing table builds its index under the strongest lock",
        "Nobody can read or write the table until the index is built.",
        "ALTER TABLE notes ADD PRIMARY KEY (id);",
        "Build a unique index CONCURRENTLY, then ADD PRIMARY KEY USING INDEX.",
    ),
    field(
        Squawk::AddingRequiredField,
        High,
        "adding-required-field",
        "a new column is NOT NULL and has no default",
        "The statement fails in every tenant whose table has a row, and the running release, which does not know the column, can insert nothing any more.",
        "ALTER TABLE notes ADD COLUMN state text NOT NULL;",
        "ALTER TABLE notes ADD COLUMN state text NOT NULL DEFAULT 'draft';",
    ),
    field(
        Squawk::BanAlterDomainWithAddConstraint,
        Medium,
        "ban-alter-domain-with-add-constraint",
        "a constraint on a domain is checked in every table that uses it",
        "All those tables are read, and locked, one after the other.",
        "ALTER DOMAIN email ADD CONSTRAINT has_at CHECK (value LIKE '%@%');",
        "Add it NOT VALID, and validate it in a later file.",
    ),
    field(
        Squawk::BanCharField,
        Low,
        "ban-char-field",
        "char(n) pads its values with blanks",
        "Comparisons ignore the blanks, lengths do not; nothing is saved.",
        "CREATE TABLE notes (code char(3));",
        "text, with CHECK (char_length(code) = 3)",
    ),
    field(
        Squawk::BanCreateDomainWithConstraint,
        Low,
        "ban-create-domain-with-constraint",
        "a domain with a constraint is hard to change later",
        "Changing the constraint locks every table that uses the domain.",
        "CREATE DOMAIN email AS text CHECK (value LIKE '%@%');",
        "Put the constraint on the columns.",
    ),
    field(
        Squawk::BanDropColumn,
        High,
        "ban-drop-column",
        "a column is dropped",
        "The data is gone, and the running release, which still reads the column, fails until the next one is everywhere.",
        "ALTER TABLE notes DROP COLUMN body;",
        "Mark the column as unused (COMMENT ON COLUMN … IS 'unused since …') and leave it; when it must go, allow this rule with the reason, one release later.",
    ),
    field(
        Squawk::BanDropConstraint,
        Low,
        "ban-drop-constraint",
        "a constraint is dropped",
        "What it kept out can come in from then on, and nobody is told.",
        "ALTER TABLE notes DROP CONSTRAINT notes_body_check;",
        "Add the one that replaces it first, in the same file.",
    ),
    field(
        Squawk::BanDropDatabase,
        High,
        "ban-drop-database",
        "a database is dropped",
        "All of its data is gone, for every tenant in it.",
        "DROP DATABASE app;",
        "Delete tenants with tenantctl, which keeps them for a grace period.",
    ),
    field(
        Squawk::BanDropDefault,
        Low,
        "ban-drop-default",
        "a column's default is dropped",
        "A release that relies on the default inserts NULL, or fails.",
        "ALTER TABLE notes ALTER COLUMN state DROP DEFAULT;",
        "Drop it once no running release relies on it.",
    ),
    field(
        Squawk::BanDropDomain,
        Medium,
        "ban-drop-domain",
        "a domain is dropped",
        "A release that names it fails.",
        "DROP DOMAIN email;",
        "Drop it once no running release names it.",
    ),
    field(
        Squawk::BanDropExtension,
        Medium,
        "ban-drop-extension",
        "an extension is dropped",
        "An extension exists once in a database: it is gone for every tenant there.",
        "DROP EXTENSION citext;",
        "Drop it outside of tenants' files, once nobody in the database uses it.",
    ),
    field(
        Squawk::BanDropFunction,
        Medium,
        "ban-drop-function",
        "a function is dropped",
        "A release, trigger or policy that calls it fails.",
        "DROP FUNCTION touch_updated_at();",
        "Drop it once nothing calls it; CREATE OR REPLACE changes it in place.",
    ),
    field(
        Squawk::BanDropGeneratedExpression,
        Low,
        "ban-drop-generated-expression",
        "a generated column becomes a plain one",
        "From then on nobody fills it.",
        "ALTER TABLE notes ALTER COLUMN length DROP EXPRESSION;",
        "Drop it once every running release fills the column itself.",
    ),
    field(
        Squawk::BanDropNotNull,
        Low,
        "ban-drop-not-null",
        "a column may be NULL from now on",
        "A release that does not expect NULL there fails when it meets one.",
        "ALTER TABLE notes ALTER COLUMN body DROP NOT NULL;",
        "Drop it once every running release can read NULL.",
    ),
    field(
        Squawk::BanDropSchema,
        High,
        "ban-drop-schema",
        "a schema is dropped",
        "Everything in it is gone.",
        "DROP SCHEMA app CASCADE;",
        "Delete tenants with tenantctl, which keeps them for a grace period.",
    ),
    field(
        Squawk::BanDropSequence,
        Medium,
        "ban-drop-sequence",
        "a sequence is dropped",
        "Whoever asks for its next value fails.",
        "DROP SEQUENCE invoice_number;",
        "Drop it once no running release uses it.",
    ),
    field(
        Squawk::BanDropTable,
        High,
        "ban-drop-table",
        "a table is dropped",
        "The data is gone in every tenant, and the running release, which still reads the table, fails.",
        "DROP TABLE notes;",
        "Leave it and mark it as unused; when it must go, allow this rule with the reason, one release later.",
    ),
    field(
        Squawk::BanDropType,
        Medium,
        "ban-drop-type",
        "a type is dropped",
        "A release that names it fails.",
        "DROP TYPE state;",
        "Drop it once no running release names it.",
    ),
    field(
        Squawk::BanDropView,
        Medium,
        "ban-drop-view",
        "a view is dropped",
        "A release that reads it fails.",
        "DROP VIEW recent_notes;",
        "CREATE OR REPLACE VIEW, or drop it once no running release reads it.",
    ),
    field(
        Squawk::BanDuplicateColumnAssignments,
        Medium,
        "ban-duplicate-column-assignments",
        "a statement assigns a column twice",
        "PostgreSQL refuses the statement, so the file fails for every tenant.",
        "UPDATE notes SET state = 'a', state = 'b';",
        "Assign the column once.",
    ),
    field(
        Squawk::BanSetSchema,
        High,
        "ban-set-schema",
        "an object is moved to another schema",
        "It leaves the tenant's schema: search_path does not find it there any more, and the next tenant's run meets the first one's.",
        "ALTER TABLE notes SET SCHEMA archive;",
        "Leave objects in the tenant's schema.",
    ),
    field(
        Squawk::BanTruncateCascade,
        High,
        "ban-truncate-cascade",
        "TRUNCATE … CASCADE empties every table that refers to this one",
        "Row-level security does not bind TRUNCATE: where tables are shared, all tenants lose their rows.",
        "TRUNCATE users CASCADE;",
        "Name the tables that are meant, or DELETE.",
    ),
    field(
        Squawk::ChangingColumnType,
        Medium,
        "changing-column-type",
        "a column's type is changed",
        "Most changes rewrite the table while nobody can read it, and the running release may not know the new type.",
        "ALTER TABLE notes ALTER COLUMN id TYPE bigint;",
        "Add a column of the new type, write both, fill the old rows in batches, switch readers, leave the old one.",
    ),
    field(
        Squawk::ConstraintMissingNotValid,
        Medium,
        "constraint-missing-not-valid",
        "a constraint on an existing table is checked under its strongest lock",
        "Nobody can write, or for CHECK even read, until every row was looked at.",
        "ALTER TABLE notes ADD CONSTRAINT short CHECK (char_length(body) < 1000);",
        "Add it NOT VALID, and VALIDATE CONSTRAINT in a later file.",
    ),
    field(
        Squawk::DisallowedUniqueConstraint,
        Medium,
        "disallowed-unique-constraint",
        "a unique constraint on an existing table builds its index under the strongest lock",
        "Nobody can read or write the table until the index is built.",
        "ALTER TABLE notes ADD UNIQUE (slug);",
        "Build a unique index CONCURRENTLY, then ADD CONSTRAINT … UNIQUE USING INDEX.",
    ),
    field(
        Squawk::IdentifierTooLong,
        Medium,
        "identifier-too-long",
        "a name is longer than 63 bytes",
        "PostgreSQL cuts it off without an error: two long names can become one.",
        "CREATE INDEX notes_by_author_and_by_the_day_on_which_the_author_has_changed_them ON notes (a);",
        "Use a name of at most 63 bytes.",
    ),
    field(
        Squawk::PreferBigintOverInt,
        Low,
        "prefer-bigint-over-int",
        "a column is a 32-bit integer",
        "A counter that passes 2,147,483,647 stops every insert; widening it rewrites the table.",
        "CREATE TABLE notes (views int);",
        "bigint, unless the values are few by their nature",
    ),
    field(
        Squawk::PreferBigintOverSmallint,
        Low,
        "prefer-bigint-over-smallint",
        "a column is a 16-bit integer",
        "It ends at 32,767, and alignment usually takes the saved bytes back.",
        "CREATE TABLE notes (views smallint);",
        "bigint, or integer where the values are few by their nature",
    ),
    field(
        Squawk::PreferIdentity,
        Low,
        "prefer-identity",
        "a serial column is used",
        "Its sequence has privileges and an owner of its own, which copies of the table forget.",
        "CREATE TABLE notes (number serial);",
        "bigint GENERATED ALWAYS AS IDENTITY",
    ),
    field(
        Squawk::PreferTextField,
        Low,
        "prefer-text-field",
        "a column is varchar(n)",
        "Changing the limit later locks the table; text with a CHECK does not.",
        "CREATE TABLE notes (title varchar(100));",
        "text, with CHECK (char_length(title) <= 100)",
    ),
    field(
        Squawk::PreferTimestampTz,
        Low,
        "prefer-timestamp-tz",
        "a timestamp has no time zone",
        "It means another moment for each session that reads it.",
        "CREATE TABLE notes (due timestamp);",
        "timestamptz",
    ),
    field(
        Squawk::RenamingColumn,
        High,
        "renaming-column",
        "a column is renamed",
        "The running release, which uses the old name, fails from this moment on; the next one fails until then.",
        "ALTER TABLE notes RENAME COLUMN body TO text;",
        "Add a column, write both, switch readers, leave the old one.",
    ),
    field(
        Squawk::RenamingObject,
        Medium,
        "renaming-object",
        "an object is renamed",
        "A release that uses the old name fails.",
        "ALTER TYPE state RENAME TO note_state;",
        "Make the new one beside it, and drop the old one once no running release uses it.",
    ),
    field(
        Squawk::RenamingTable,
        High,
        "renaming-table",
        "a table is renamed",
        "The running release, which uses the old name, fails from this moment on.",
        "ALTER TABLE notes RENAME TO pages;",
        "Make a view of the new name, switch readers, rename one release later.",
    ),
    field(
        Squawk::RequireConcurrentIndexDeletion,
        Medium,
        "require-concurrent-index-deletion",
        "an index is not dropped CONCURRENTLY",
        "DROP INDEX waits for, and then stops, everybody who uses the table.",
        "DROP INDEX notes_recent;",
        "DROP INDEX CONCURRENTLY notes_recent, in a file with -- tenantctl:no-transaction in its head",
    ),
    field(
        Squawk::RequireConcurrentPartitionDetach,
        Medium,
        "require-concurrent-partition-detach",
        "a partition is not detached CONCURRENTLY",
        "The partitioned table is locked against everybody while it is detached.",
        "ALTER TABLE events DETACH PARTITION events_2026_01;",
        "DETACH PARTITION … CONCURRENTLY, in a file with -- tenantctl:no-transaction in its head",
    ),
    field(
        Squawk::RequireConcurrentReindex,
        Medium,
        "require-concurrent-reindex",
        "an index is not rebuilt CONCURRENTLY",
        "Nobody can write to the table until it is done.",
        "REINDEX TABLE notes;",
        "REINDEX TABLE CONCURRENTLY notes, in a file with -- tenantctl:no-transaction in its head",
    ),
    field(
        Squawk::RequireEnumValueOrdering,
        Low,
        "require-enum-value-ordering",
        "a new enum value does not say where it stands",
        "It comes last, which ORDER BY and comparisons then go by.",
        "ALTER TYPE state ADD VALUE 'archived';",
        "ALTER TYPE state ADD VALUE 'archived' AFTER 'published';",
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lint::fixture::{found, schema};

    #[test]
    fn every_rule_keeps_the_name_that_squawk_gave_it() {
        for field in FIELDS {
            assert_eq!(field.squawk.to_string(), field.rule.id);
        }
    }

    #[test]
    fn each_example_breaks_its_rule() {
        for field in FIELDS {
            let hits = found(field.rule.id, &schema(), &[field.rule.example]);
            assert!(!hits.is_empty(), "{}: {}", field.rule.id, field.rule.example);
        }
    }

    #[test]
    fn a_table_that_the_file_makes_has_nobody_to_wait_for() {
        let add = "ALTER TABLE t ADD COLUMN a int NOT NULL;";
        assert_eq!(found("adding-required-field", &schema(), &[add]), ["V1.sql:1:15 high"]);
        let both = format!("CREATE TABLE t (id uuid PRIMARY KEY);\n{add}");
        assert!(found("adding-required-field", &schema(), &[&both]).is_empty());
    }
}
