//! Judges migration files: those of a team before they are merged, and pending ones before they are
//! applied. Needs no server.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error as _;
use std::path::{Path, PathBuf};

use crate::config::Fleet;
use crate::error::{Code, Error, Location};
use crate::lint::{self, Finding, Ground, Source};
use crate::migrations::preflight::{self, File};
use crate::migrations::problem::Problems;
use crate::migrations::{directory, embedded, file_name};
use crate::model::count;
use crate::model::migration::{MigrationSet, Version};
use crate::model::severity::Severity;
use crate::model::tenant::Isolation;
use crate::report::{Linted, LintedSet, Report};

/// What `migrate lint` looks at.
#[derive(Clone, Debug)]
pub struct LintOptions {
    /// Files, or directories of files; all that the configuration names without one.
    pub files: Vec<PathBuf>,
    /// The isolation model that they are for.
    pub isolation: Option<Isolation>,
    /// Files up to this version were applied: they say what is there, and are not judged.
    pub since: Option<Version>,
    /// From which severity on a finding is a "no".
    pub fail_on: Severity,
}

/// How many findings a refusal quotes.
const QUOTED: usize = 5;

/// The files of one set, in the order of their versions.
struct Group {
    name: String,
    /// Where they are; a compiled-in set is nowhere.
    directory: Option<PathBuf>,
    files: Vec<OneFile>,
    /// What the preflight says, by the path of the file.
    unusable: Vec<Finding>,
    /// The models that run them, none when no configuration says so.
    isolations: Vec<Isolation>,
}

struct OneFile {
    path: String,
    sql: String,
    version: Option<Version>,
}

/// Judges files.
///
/// # Errors
///
/// [`Code::NotFound`] for a file that is not there; [`Code::Migrations`] for a directory that
/// cannot be read. Files that cannot be used as they are make findings, not errors.
pub fn lint(fleet: &Fleet, options: &LintOptions) -> anyhow::Result<Report> {
    let mut linted = Linted { sets: Vec::new(), findings: Vec::new(), fail_on: options.fail_on };
    if options.files.is_empty() {
        for files in configured(fleet, options.isolation)? {
            judge(fleet, options, &files, None, &mut linted);
        }
        return Ok(Report::Linted(Box::new(linted)));
    }
    for (directory, named) in by_directory(fleet, &options.files)? {
        let mut files = read(&directory)?;
        files.isolations = serving(fleet, &directory);
        judge(fleet, options, &files, named.as_ref(), &mut linted);
    }
    Ok(Report::Linted(Box::new(linted)))
}

/// Judges the files of a set that are about to be applied; the others were applied before.
pub fn lint_pending(
    fleet: &Fleet,
    set: &MigrationSet,
    isolation: Isolation,
    pending: &BTreeSet<Version>,
) -> Vec<Finding> {
    let sources: Vec<Source<'_>> = set
        .migrations()
        .iter()
        .map(|one| Source {
            path: &one.path,
            sql: &one.sql,
            judged: pending.contains(&one.version),
        })
        .collect();
    lint::check(&sources, &ground(fleet, isolation))
}

/// Refuses what is high or graver.
///
/// # Errors
///
/// [`Code::Refused`] with the places of the first findings, and what each asks for.
pub fn refuse_findings(findings: &[Finding]) -> Result<(), Error> {
    let grave: Vec<&Finding> =
        findings.iter().filter(|finding| finding.severity >= Severity::High).collect();
    let Some(first) = grave.first() else { return Ok(()) };
    let mut error = Error::new(
        Code::Refused,
        format!("apply migrations that break the standards: {}", count(grave.len(), "finding")),
    )
    .at(Location { file: first.file.clone(), line: first.line, column: first.column });
    for finding in grave.iter().take(QUOTED) {
        error = error.hint(format!(
            "{}:{}:{}: {}: {}",
            finding.file, finding.line, finding.column, finding.rule, finding.message
        ));
    }
    if grave.len() > QUOTED {
        error = error.hint(format!("and {}: tenantctl migrate lint", grave.len() - QUOTED));
    }
    Err(error.hint("what is meant so: -- tenantctl:allow RULE reason, above the statement"))
}

/// What the linter must know of the tenants of one isolation model.
fn ground(fleet: &Fleet, isolation: Isolation) -> Ground {
    let layout = fleet.layout(isolation);
    Ground {
        isolation,
        tenancy: layout.sharing.as_ref().map(|sharing| sharing.tenancy.clone()),
        schema: layout.schema.clone(),
    }
}

/// The sets that the configuration names, each directory once; without one the compiled-in sets.
fn configured(fleet: &Fleet, wanted: Option<Isolation>) -> Result<Vec<Group>, Error> {
    let mut directories: Vec<(&Path, Vec<Isolation>)> = Vec::new();
    for (isolation, path) in &fleet.migrations {
        if wanted.is_some_and(|wanted| wanted != *isolation) {
            continue;
        }
        match directories.iter_mut().find(|(known, _)| known == path) {
            Some((_, isolations)) => isolations.push(*isolation),
            None => directories.push((path, vec![*isolation])),
        }
    }
    if directories.is_empty() {
        let tenant = [Isolation::Schema, Isolation::Database];
        let all =
            [(Isolation::Shared, embedded::shared()?), (Isolation::Schema, embedded::tenant()?)];
        return Ok(all
            .into_iter()
            .filter(|(isolation, _)| {
                wanted.is_none_or(|wanted| {
                    wanted == *isolation || tenant.contains(&wanted) && tenant.contains(isolation)
                })
            })
            .map(|(isolation, set)| compiled_in(&set, wanted.unwrap_or(isolation)))
            .collect());
    }
    directories
        .into_iter()
        .map(|(path, isolations)| Ok(Group { isolations, ..read(path)? }))
        .collect()
}

fn compiled_in(set: &MigrationSet, isolation: Isolation) -> Group {
    let files = set.migrations().iter().map(|one| OneFile {
        path: one.path.clone(),
        sql: one.sql.clone(),
        version: Some(one.version),
    });
    Group {
        name: set.name().to_owned(),
        directory: None,
        files: files.collect(),
        unusable: Vec::new(),
        isolations: vec![isolation],
    }
}

/// Reads a directory; what keeps a file from being used is a finding.
fn read(path: &Path) -> Result<Group, Error> {
    let found = directory::files(path)?;
    let name = path.display().to_string();
    let unusable = match preflight::check(&name, &found) {
        Ok(_) => Vec::new(),
        Err(error) => problems(&error, &found).ok_or(error)?,
    };
    let mut files: Vec<OneFile> = found.iter().filter_map(one_file).collect();
    files.sort_by(|a, b| {
        let key = |file: &OneFile| file.version.unwrap_or(Version(i64::MAX));
        (key(a), &a.path).cmp(&(key(b), &b.path))
    });
    Ok(Group { name, directory: Some(path.to_path_buf()), files, unusable, isolations: Vec::new() })
}

fn one_file(file: &File) -> Option<OneFile> {
    let base = file.path.rsplit_once('/').map_or(file.path.as_str(), |(_, base)| base);
    Some(OneFile {
        path: file.path.clone(),
        sql: std::str::from_utf8(&file.bytes).ok()?.to_owned(),
        version: file_name::parse(base).ok().flatten().map(|name| name.version),
    })
}

/// The findings of a preflight that refused.
fn problems(error: &Error, files: &[File]) -> Option<Vec<Finding>> {
    let problems = error.source()?.downcast_ref::<Problems>()?;
    let text = |path: &str| {
        let file = files.iter().find(|file| file.path == path);
        file.map(|file| String::from_utf8_lossy(&file.bytes)).unwrap_or_default()
    };
    Some(
        problems
            .0
            .iter()
            .map(|one| {
                lint::unusable(&one.path, one.position, &text(&one.path), &one.what, &one.fix)
            })
            .collect(),
    )
}

/// The named files by the directory of their set; none of a directory means all of it.
fn by_directory(
    fleet: &Fleet,
    named: &[PathBuf],
) -> Result<BTreeMap<PathBuf, Option<BTreeSet<PathBuf>>>, Error> {
    let mut found: BTreeMap<PathBuf, Option<BTreeSet<PathBuf>>> = BTreeMap::new();
    for path in named {
        let whole = path.canonicalize().map_err(|error| {
            Error::new(Code::NotFound, format!("lint {}", path.display())).because(error)
        })?;
        if whole.is_dir() {
            found.insert(path.clone(), None);
            continue;
        }
        let home = fleet.migrations.values().find(|directory| {
            directory.canonicalize().is_ok_and(|directory| whole.starts_with(directory))
        });
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let home = home.map_or_else(|| parent.unwrap_or(Path::new(".")), PathBuf::as_path);
        if let Some(files) =
            found.entry(home.to_path_buf()).or_insert_with(|| Some(BTreeSet::new()))
        {
            files.insert(whole);
        }
    }
    Ok(found)
}

/// The isolation models whose files are in a directory.
fn serving(fleet: &Fleet, directory: &Path) -> Vec<Isolation> {
    let same = |path: &Path| path.canonicalize().ok() == directory.canonicalize().ok();
    fleet.migrations.iter().filter(|(_, path)| same(path)).map(|(model, _)| *model).collect()
}

fn judge(
    fleet: &Fleet,
    options: &LintOptions,
    files: &Group,
    named: Option<&BTreeSet<PathBuf>>,
    linted: &mut Linted,
) {
    let isolation = options.isolation.unwrap_or_else(|| model(fleet, files));
    let wanted = |path: &str, version: Option<Version>| {
        let new = version.is_none() || version > options.since;
        let meant = named.is_none_or(|named| {
            files.directory.is_some()
                && Path::new(path).canonicalize().is_ok_and(|path| named.contains(&path))
        });
        new && meant
    };
    let sources: Vec<Source<'_>> = files
        .files
        .iter()
        .map(|file| Source {
            path: &file.path,
            sql: &file.sql,
            judged: wanted(&file.path, file.version),
        })
        .collect();
    let found = lint::check(&sources, &ground(fleet, isolation));
    let version = |path: &str| files.files.iter().find(|f| f.path == path).and_then(|f| f.version);
    let said = |unusable: &Finding| {
        // The linter has a better word for it.
        found.iter().any(|finding| {
            (&finding.file, finding.line, finding.column)
                == (&unusable.file, unusable.line, unusable.column)
                && finding.severity >= Severity::High
        })
    };
    let unusable = files.unusable.iter();
    linted.findings.extend(
        unusable
            .filter(|finding| wanted(&finding.file, version(&finding.file)) && !said(finding))
            .cloned(),
    );
    linted.sets.push(LintedSet {
        name: files.name.clone(),
        isolation,
        files: sources.iter().filter(|source| source.judged).count(),
    });
    linted.findings.extend(found);
}

/// For whom files are that several models run, or that no configuration names: for tenants that
/// share tables, if the tables say whose their rows are.
fn model(fleet: &Fleet, files: &Group) -> Isolation {
    if let [only] = files.isolations.as_slice() {
        return *only;
    }
    let may_share = files.isolations.is_empty() || files.isolations.contains(&Isolation::Shared);
    let marked = ground(fleet, Isolation::Shared).tenancy.is_some_and(|tenancy| {
        lint::carries_tenants(files.files.iter().map(|file| file.sql.as_str()), &tenancy)
    });
    if may_share && marked { Isolation::Shared } else { Isolation::Schema }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::config::Sources;
    use crate::config::conninfo::Environment;

    fn fleet() -> Fleet {
        let directory = tempfile::tempdir().unwrap();
        let sources = Sources { directory: directory.path().to_owned(), ..Sources::default() };
        Fleet::load(&sources, &Environment::bare().with_os_user("ops")).unwrap()
    }

    fn linted(options: &LintOptions) -> Linted {
        match lint(&fleet(), options).unwrap() {
            Report::Linted(linted) => *linted,
            other => panic!("{other:?}"),
        }
    }

    fn all() -> LintOptions {
        LintOptions { files: Vec::new(), isolation: None, since: None, fail_on: Severity::High }
    }

    #[test]
    fn the_compiled_in_sets_keep_to_the_standards() {
        let linted = linted(&all());
        assert_eq!(linted.sets.iter().map(|set| set.files).collect::<Vec<_>>(), [7, 7]);
        let grave: Vec<_> =
            linted.findings.iter().filter(|finding| finding.severity > Severity::Low).collect();
        assert!(grave.is_empty(), "{grave:#?}");
        let registry = embedded::registry().unwrap();
        let pending = registry.migrations().iter().map(|one| one.version).collect();
        let own = lint_pending(&fleet(), &registry, Isolation::Schema, &pending);
        assert!(refuse_findings(&own).is_ok(), "{own:#?}");
    }

    #[test]
    fn only_what_is_pending_is_judged_and_what_is_grave_refused() {
        let one = |version, sql: &str| {
            crate::model::migration::Migration::new(
                crate::model::migration::Prefix::Versioned,
                Version(version),
                "x",
                sql,
                format!("V{version}__x.sql"),
                Vec::new(),
            )
        };
        let table = "CREATE TABLE t (id uuid PRIMARY KEY); DROP TABLE gone;";
        let set = MigrationSet::new("set", vec![one(1, table), one(2, "CREATE INDEX ON t (id);")])
            .unwrap();
        let found = lint_pending(&fleet(), &set, Isolation::Schema, &[Version(2)].into());
        assert!(found.iter().all(|finding| finding.file == "V2__x.sql"));
        let error = refuse_findings(&found).unwrap_err();
        assert_eq!(error.code, Code::Refused);
        assert!(error.hints[0].contains("V2__x.sql:1:1: require-concurrent-index-creation"));
        assert!(lint_pending(&fleet(), &set, Isolation::Schema, &BTreeSet::new()).is_empty());
    }
}
