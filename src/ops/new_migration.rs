//! Writes the next migration file of a directory, from a template that keeps to the standards.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::config::Fleet;
use crate::error::{Code, Error};
use crate::migrations::{directory, file_name};
use crate::model::migration::Version;
use crate::model::tenant::Isolation;
use crate::report::{NewMigration, Report};

/// What the new file is to be.
#[derive(Clone, Debug)]
pub struct NewOptions {
    /// What it does, in a few words.
    pub name: String,
    /// The isolation model whose directory it goes to.
    pub isolation: Option<Isolation>,
    /// Whether its statements run one by one, outside of a transaction.
    pub no_transaction: bool,
}

/// Versions that are times: `YYYYMMDDhhmmss`, `YYYYMMDDhhmm`, seconds since 1970.
const LONG: std::ops::RangeInclusive<i64> = 19_900_101_000_000..=29_991_231_235_959;
const SHORT: std::ops::RangeInclusive<i64> = 199_001_010_000..=299_912_312_359;
const SECONDS: std::ops::RangeInclusive<i64> = 1_000_000_000..=9_999_999_999;

/// Writes the file. Never overwrites one.
///
/// # Errors
///
/// [`Code::Usage`] when the name cannot be a file's, or several directories could be meant;
/// [`Code::Config`] when the set is compiled in; [`Code::Io`] when the file cannot be written.
pub fn new_migration(fleet: &Fleet, options: &NewOptions) -> anyhow::Result<Report> {
    let (directory, isolations) = directory_of(fleet, options.isolation)?;
    let used = used(&directory)?;
    let version = next(&used.iter().map(|used| used.0).collect::<Vec<_>>(), Timestamp::now());
    // Leading zeros are kept as the last file has them.
    let width = used.iter().max().map_or(0, |(_, digits)| *digits);
    let name = words(&options.name);
    let file = format!("V{:0>width$}__{name}.sql", version.0);
    if let Err(bad) = file_name::parse(&file) {
        let message = format!("name a migration {:?}: {}", options.name, bad.what);
        return Err(Error::new(Code::Usage, message)
            .hint("use a few words: tenantctl migrate new add_due_date")
            .into());
    }
    let path = directory.join(&file);
    let shared = isolations == [Isolation::Shared];
    let column = fleet
        .layout(Isolation::Shared)
        .sharing
        .as_ref()
        .filter(|_| shared)
        .map(|sharing| sharing.tenancy.column.to_string());
    write(&path, &template(&name, column.as_deref(), options.no_transaction))?;
    Ok(Report::NewMigration(NewMigration { path, version, isolations }))
}

/// The one directory that can be meant, and who runs its files.
fn directory_of(
    fleet: &Fleet,
    wanted: Option<Isolation>,
) -> Result<(PathBuf, Vec<Isolation>), Error> {
    let mut found: Vec<(&PathBuf, Vec<Isolation>)> = Vec::new();
    for (isolation, path) in &fleet.migrations {
        match found.iter_mut().find(|(known, _)| *known == path) {
            Some((_, isolations)) => isolations.push(*isolation),
            None => found.push((path, vec![*isolation])),
        }
    }
    if let Some(wanted) = wanted {
        found.retain(|(_, isolations)| isolations.contains(&wanted));
    }
    match found.as_slice() {
        [(path, isolations)] => Ok(((*path).clone(), isolations.clone())),
        [] => Err(Error::new(
            Code::Config,
            match wanted {
                Some(isolation) => format!("the migrations of {isolation} are compiled in"),
                None => "the migrations are compiled in".to_owned(),
            },
        )
        .hint("name a directory: [migrations] in tenants.toml, or --migrations DIR")),
        several => {
            let models: Vec<&str> =
                several.iter().flat_map(|(_, isolations)| isolations).map(|i| i.word()).collect();
            Err(Error::new(Code::Usage, "there are several directories of migrations")
                .hint(format!("choose one with --isolation: {}", models.join(", "))))
        }
    }
}

/// The versions that the files of a directory have, and with how many digits. A directory that is
/// not there has none.
fn used(path: &Path) -> Result<Vec<(i64, usize)>, Error> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut used = Vec::new();
    for file in directory::files(path)? {
        let base = file.path.rsplit_once('/').map_or(file.path.as_str(), |(_, base)| base);
        if let Ok(Some(name)) = file_name::parse(base) {
            let digits = base.chars().skip(1).take_while(char::is_ascii_digit).count();
            used.push((name.version.0, digits));
        }
    }
    Ok(used)
}

/// The next version: by one more, or the time where versions are times.
fn next(used: &[i64], now: Timestamp) -> Version {
    let last = used.iter().copied().max().unwrap_or(0);
    let stamp = |format: &str| {
        now.to_zoned(TimeZone::UTC).strftime(format).to_string().parse::<i64>().unwrap_or(last)
    };
    let time = if LONG.contains(&last) {
        stamp("%Y%m%d%H%M%S")
    } else if SHORT.contains(&last) {
        stamp("%Y%m%d%H%M")
    } else if SECONDS.contains(&last) {
        now.as_second()
    } else {
        last
    };
    Version(time.max(last + 1))
}

/// A name as file names have it: words with underscores between them.
fn words(name: &str) -> String {
    let mut words = String::new();
    for character in name.trim().chars() {
        if character.is_alphabetic() || character.is_ascii_digit() {
            words.extend(character.to_lowercase());
        } else if !words.ends_with('_') && !words.is_empty() {
            words.push('_');
        }
    }
    words.trim_end_matches('_').to_owned()
}

/// The text of a new file: comments that a person replaces. `column` is the tenant column of shared
/// tables.
fn template(name: &str, column: Option<&str>, no_transaction: bool) -> String {
    let title = name.replace('_', " ");
    if no_transaction {
        let columns =
            column.map_or("updated_at".to_owned(), |column| format!("{column}, updated_at"));
        return format!(
            "-- tenantctl:no-transaction
--
-- {title}: say what this changes, and why.
--
-- Each statement is sent alone; what was done stays done when a later one fails, and the next run
-- goes on from there. Keep to one statement where you can.
--
-- CREATE INDEX CONCURRENTLY notes_updated ON notes ({columns});
"
        );
    }
    let (first, key, after) = match column {
        Some(column) => (
            format!(
                "--     {column:<10} uuid        NOT NULL,\n\
                 --     id         uuid        NOT NULL DEFAULT gen_random_uuid(),"
            ),
            format!(",\n--     PRIMARY KEY ({column}, id)"),
            format!("guards every table that has {column}, and then grants it"),
        ),
        None => (
            "--     id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),".to_owned(),
            String::new(),
            "grants new tables to the application's roles".to_owned(),
        ),
    };
    format!(
        "-- {title}: say what this changes, and why.
--
-- The file runs in a transaction, once for each schema. search_path holds that schema, so names
-- stand alone. When it has run, tenantctl {after}.
-- A file that was applied anywhere is never edited: write the next one.
--
-- CREATE TABLE notes (
{first}
--     body       text        NOT NULL DEFAULT '',
--     created_at timestamptz NOT NULL DEFAULT now(),
--     updated_at timestamptz NOT NULL DEFAULT now(),
--     deleted_at timestamptz{key}
-- );
"
    )
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::new(Code::Io, format!("write {}", path.display())).because(error)
    };
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory).map_err(failed)?;
    }
    let mut file = match std::fs::File::create_new(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::new(Code::Refused, format!("{} is there already", path.display()))
                .hint("give the new migration another name"));
        }
        Err(error) => return Err(failed(error)),
    };
    file.write_all(text.as_bytes()).map_err(failed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::lint::{Ground, Source, check};
    use crate::model::ident::Ident;
    use crate::model::layout::{Setting, Template, Tenancy};
    use crate::model::severity::Severity;

    fn now() -> Timestamp {
        "2026-03-04T05:06:07Z".parse().unwrap()
    }

    #[test]
    fn versions_go_on_as_the_directory_has_them() {
        for (used, expected) in [
            (&[][..], 1),
            (&[1, 2, 7], 8),
            (&[20_250_101_120_000], 20_260_304_050_607),
            (&[202_501_011_200], 202_603_040_506),
            (&[1_700_000_000], 1_772_600_767),
            (&[20_990_101_000_000], 20_990_101_000_001),
        ] {
            assert_eq!(next(used, now()).0, expected, "{used:?}");
        }
    }

    #[test]
    fn names_become_words_of_a_file_name() {
        for (name, expected) in [
            ("add due date", "add_due_date"),
            ("Add-Due/Date!", "add_due_date"),
            ("  über  uns ", "über_uns"),
            ("---", ""),
        ] {
            assert_eq!(words(name), expected);
        }
    }

    /// The template with its example uncommented, as a person would begin with it.
    fn begun(text: &str) -> String {
        let example = text.find("-- CREATE").unwrap();
        let (head, example) = text.split_at(example);
        format!("{head}{}", example.replace("-- ", "").replace("--     ", "    "))
    }

    #[test]
    fn a_template_is_clean_and_so_is_its_example() {
        let tenancy = Tenancy {
            column: Ident::new("tenant_id").unwrap(),
            setting: Setting::new("app.tenant_id").unwrap(),
        };
        for (isolation, column) in
            [(Isolation::Shared, Some("tenant_id")), (Isolation::Schema, None)]
        {
            let ground = Ground {
                isolation,
                tenancy: column.map(|_| tenancy.clone()),
                schema: Template::new("x").unwrap(),
            };
            for no_transaction in [false, true] {
                let text = template("add_notes", column, no_transaction);
                for sql in [text.clone(), begun(&text)] {
                    let source = Source { path: "V1__add_notes.sql", sql: &sql, judged: true };
                    let found = check(&[source], &ground);
                    let said: Vec<_> =
                        found.iter().filter(|f| f.severity > Severity::Info).collect();
                    assert!(said.is_empty(), "{sql}\n{said:#?}");
                }
            }
        }
    }
}
