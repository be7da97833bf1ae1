//! The fixes of findings as SQL that a person reviews and runs.
//!
//! One script per cluster: one transaction, bounded in how long it waits for locks, that may be run
//! again. What a person must decide is a comment. A script for one database refuses to run in
//! another; one for several does in each database what is meant for it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::cause::{Causes, subject};
use super::finding::{Finding, Fix, Object};
use crate::model::count;
use crate::sql::Sql;
use crate::{sql, sql::Literal};

/// How long a statement of a script waits for a lock before the script is taken back.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '5s';";

/// The fixes for one cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The cluster.
    pub cluster: String,
    /// The databases that it must be run in; none when it is only about roles.
    pub databases: Vec<String>,
    /// How many statements it has.
    pub statements: usize,
    /// How many findings need a decision.
    pub decisions: usize,
    /// The script.
    pub text: String,
}

/// Writes the fixes of findings, which come in their order; one script per cluster.
pub fn remedies(findings: &[&Finding]) -> Vec<Remedy> {
    let clusters: BTreeSet<&str> =
        findings.iter().map(|finding| finding.object.cluster.as_str()).collect();
    let causes = Causes::of(findings.iter().copied());
    clusters
        .into_iter()
        .map(|cluster| {
            let own = findings.iter().copied().filter(|one| one.object.cluster == cluster);
            Script::new(cluster, own, &causes).remedy()
        })
        .collect()
}

/// What is found about one object, and the statements for it.
struct Part<'a> {
    object: &'a Object,
    findings: Vec<&'a Finding>,
}

/// A script in the making.
struct Script<'a> {
    cluster: &'a str,
    causes: &'a Causes<'a>,
    /// By database; what belongs to the cluster stands first.
    sections: BTreeMap<Option<&'a str>, Vec<Part<'a>>>,
    quote: String,
}

impl<'a> Script<'a> {
    fn new(
        cluster: &'a str,
        findings: impl Iterator<Item = &'a Finding>,
        causes: &'a Causes<'a>,
    ) -> Self {
        let mut sections: BTreeMap<Option<&str>, Vec<Part<'_>>> = BTreeMap::new();
        let mut texts = String::new();
        for finding in findings {
            write!(texts, "{} {}", finding.message, finding.fix).unwrap_or_default();
            // A policy is mended with its table.
            let section = sections.entry(finding.object.database.as_deref()).or_default();
            let about = subject(&finding.object);
            match section.iter_mut().find(|part| subject(part.object) == about) {
                Some(part) => part.findings.push(finding),
                None => section.push(Part { object: &finding.object, findings: vec![finding] }),
            }
        }
        // Names may hold anything: the quotes of a block are such as nothing in it holds.
        let mut tag = "tenantctl".to_owned();
        while texts.contains(&format!("${tag}$")) {
            tag.push('_');
        }
        Self { cluster, causes, sections, quote: format!("${tag}$") }
    }

    fn remedy(&self) -> Remedy {
        let databases: Vec<String> =
            self.sections.keys().flatten().map(|name| (*name).to_owned()).collect();
        let mut body = String::new();
        let mut alone = Vec::new();
        let (mut statements, mut decisions) = (0, 0);
        let several = databases.len() > 1;
        for (database, parts) in &self.sections {
            let guarded = several && database.is_some();
            let title = match database {
                Some(database) => format!("database {database}"),
                None => {
                    "roles and databases of the cluster, whichever database this runs in".to_owned()
                }
            };
            body.push_str(&format!("\n{}", comment(&format!("---- {title} ----"), "")));
            if let Some(database) = database.filter(|_| guarded) {
                let here = sql!("IF current_database() = {} THEN", Literal(database));
                body.push_str(&format!("DO {} BEGIN\n{here}\n", self.quote));
            }
            let mut done: BTreeSet<&str> = BTreeSet::new();
            let mut section = String::new();
            for part in parts {
                let (text, made) = self.part(part, &mut done, &mut alone, guarded);
                section.push_str(&text);
                statements += made;
                decisions += part.findings.iter().filter(|one| self.is_decision(one)).count();
            }
            if guarded {
                section.push_str("NULL;\nEND IF;\n");
                section.push_str(&format!("END {};\n", self.quote));
            }
            body.push_str(&section);
        }
        statements += alone.len();
        let text = format!(
            "{}\nBEGIN;\n{LOCK_TIMEOUT}\n{}{body}\nCOMMIT;\n{}",
            self.head(&databases, statements, decisions),
            self.guard(&databases),
            afterwards(&alone),
        );
        Remedy { cluster: self.cluster.to_owned(), databases, statements, decisions, text }
    }

    fn head(&self, databases: &[String], statements: usize, decisions: usize) -> String {
        let places = match databases {
            [] => "any database".to_owned(),
            [one] => format!("database {one}"),
            several => format!("each of the databases {}", several.join(", ")),
        };
        let decided = match decisions {
            0 => String::new(),
            some => format!(
                "\n{} a decision: look for DECIDE below.",
                if some == 1 {
                    "1 finding needs".to_owned()
                } else {
                    format!("{some} findings need")
                }
            ),
        };
        let words = format!(
            "Fixes for what tenantctl verify-rls found on cluster {}: {}.\nReview it, then run it \
             in {places}, as a superuser or as a role that owns the objects:\n  psql -X -v \
             ON_ERROR_STOP=1 -f FILE DATABASE\nIt is one transaction, which waits for no lock longer \
             than a few seconds, and may be run again.{decided}",
            self.cluster,
            count(statements, "statement"),
        );
        comment(&words, "")
    }

    /// Statements that stop the script in a database that it is not for.
    fn guard(&self, databases: &[String]) -> String {
        let names: Vec<Literal<'_>> = databases.iter().map(|name| Literal(name)).collect();
        let [first, rest @ ..] = names.as_slice() else { return String::new() };
        let mut list = sql!("{}", *first);
        for name in rest {
            list = sql!("{}, {}", list, *name);
        }
        format!(
            "DO {quote} BEGIN\nIF current_database() NOT IN ({list}) THEN\n    RAISE EXCEPTION 'there is \
             nothing here for database %', current_database();\nEND IF;\nEND {quote};\n",
            quote = self.quote
        )
    }

    /// What is said and done about one object, and how many statements that is.
    fn part<'p>(
        &self,
        part: &Part<'p>,
        done: &mut BTreeSet<&'p str>,
        alone: &mut Vec<(Option<String>, &'p Sql)>,
        guarded: bool,
    ) -> (String, usize) {
        let mut text = String::new();
        let mut made = 0;
        for finding in &part.findings {
            let object = &finding.object;
            let on = object.parent.as_ref().map_or_else(String::new, |on| format!(" on {on}"));
            let head = format!(
                "{} {} {}: {} {}{on}\n  {}",
                finding.severity,
                finding.rule,
                finding.fingerprint,
                object.kind,
                object.name,
                finding.message
            );
            text.push_str(&format!("\n{}", comment(&head, "")));
            match &finding.fix {
                Fix::Sql(statements) => {
                    for statement in statements {
                        if !done.insert(statement.as_str()) {
                            text.push_str(&comment(&format!("above: {statement}"), "  "));
                        } else if runs_alone(statement) {
                            alone.push((object.database.clone(), statement));
                            text.push_str(&comment(&format!("at the end: {statement}"), "  "));
                        } else {
                            text.push_str(&self.statement(statement, guarded));
                            made += 1;
                        }
                    }
                }
                Fix::Advice(words) if self.is_decision(finding) => {
                    text.push_str(&comment(&format!("DECIDE: {words}"), "  "));
                }
                Fix::Advice(_) => {
                    text.push_str(&comment("mended by what is done about its cause", "  "));
                }
            }
        }
        (text, made)
    }

    /// Whether a person must say what is to be done about a finding. What a probe observed is
    /// mended by what is done about its cause.
    fn is_decision(&self, finding: &Finding) -> bool {
        matches!(finding.fix, Fix::Advice(_)) && !self.causes.explain(finding)
    }

    /// A statement that may be run again.
    fn statement(&self, statement: &Sql, guarded: bool) -> String {
        // Nothing says IF NOT EXISTS for a policy. What is there stays as it is.
        if !statement.as_str().starts_with("CREATE ") {
            return format!("{statement};\n");
        }
        let block = format!(
            "BEGIN\n    {statement};\nEXCEPTION WHEN duplicate_object OR duplicate_table THEN NULL;\nEND"
        );
        if guarded {
            format!("{block};\n")
        } else {
            format!("DO {quote} {block} {quote};\n", quote = self.quote)
        }
    }
}

/// Whether a statement cannot be part of a transaction.
fn runs_alone(statement: &Sql) -> bool {
    let text = statement.as_str();
    let begins = |words: &[&str]| words.iter().any(|word| text.starts_with(word));
    begins(&["CREATE INDEX CONCURRENTLY", "DROP INDEX CONCURRENTLY", "REINDEX", "VACUUM"])
        || begins(&["ALTER SYSTEM", "DROP SUBSCRIPTION", "CREATE UNIQUE INDEX CONCURRENTLY"])
}

/// What comes after the transaction, since it cannot be part of one.
fn afterwards(alone: &[(Option<String>, &Sql)]) -> String {
    if alone.is_empty() {
        return String::new();
    }
    let mut text = comment("---- outside of a transaction, each alone ----", "");
    text.insert(0, '\n');
    let several = alone.iter().map(|(database, _)| database).collect::<BTreeSet<_>>().len() > 1;
    for (database, statement) in alone {
        match database.as_ref().filter(|_| several) {
            Some(database) => {
                text.push_str(&comment(&format!("in {database}: {statement};"), ""));
            }
            None => text.push_str(&format!("{statement};\n")),
        }
    }
    text
}

/// Text as comments. A name may hold a line's end, behind which a comment would be none.
fn comment(words: &str, indent: &str) -> String {
    let mut text = String::new();
    for line in words.split(['\n', '\r', '\u{85}', '\u{2028}']) {
        let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        text.push_str(format!("-- {indent}{line}").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::audit::finding::Severity;
    use crate::model::ident::Ident;

    fn finding(rule: &'static str, database: Option<&str>, name: &str, fix: Fix) -> Finding {
        let object = Object {
            cluster: "eu-1".to_owned(),
            database: database.map(str::to_owned),
            kind: if database.is_some() { "table" } else { "role" },
            name: name.to_owned(),
            parent: None,
        };
        Finding::new(rule, Severity::High, object, "it is open", fix)
    }

    fn force(name: &str) -> Fix {
        let name = Ident::new(name).unwrap();
        Fix::Sql(vec![sql!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", name)])
    }

    fn script(findings: &[Finding]) -> String {
        let findings: Vec<&Finding> = findings.iter().collect();
        let [remedy] = remedies(&findings).try_into().unwrap();
        remedy.text
    }

    /// The lines that a server would carry out.
    fn code(script: &str) -> String {
        let lines = script.lines().filter(|line| !line.starts_with("--"));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn one_database_is_guarded_and_plain() {
        let create = sql!("CREATE POLICY p ON t USING (true)");
        let findings = [
            finding(
                "role-superuser",
                None,
                "app",
                Fix::Sql(vec![sql!("ALTER ROLE app NOSUPERUSER")]),
            ),
            finding("rls-not-forced", Some("app"), "t", force("t")),
            finding("policy-missing", Some("app"), "t", Fix::Sql(vec![create])),
            finding("rls-not-forced", Some("app"), "t", force("t")).role("other"),
            finding("role-shared", Some("app"), "s", Fix::Advice("give each a role".to_owned())),
        ];
        insta::assert_snapshot!(script(&findings));
    }

    #[test]
    fn several_databases_are_one_script_that_knows_where_it_is() {
        let findings = [
            finding("rls-not-forced", Some("app"), "t", force("t")),
            finding("rls-not-forced", Some("o'neil"), "u", force("u")),
            finding("role-shared", Some("o'neil"), "s", Fix::Advice("give each a role".to_owned())),
        ];
        insta::assert_snapshot!(script(&findings));
    }

    #[test]
    fn what_a_name_holds_stays_in_its_comment() {
        let evil = "t\nDROP TABLE app.notes; -- \u{2028}$tenantctl$; DROP TABLE x;\r\\! id";
        let mut one = finding("role-shared", Some("app"), evil, Fix::Advice(evil.to_owned()));
        evil.clone_into(&mut one.message);
        let text = script(&[one.clone(), finding("rls-not-forced", Some("b"), evil, force("u"))]);
        assert!(!code(&text).contains("DROP"), "{text}");
        assert!(!code(&text).contains("$tenantctl$"), "{text}");
    }

    #[test]
    fn what_a_probe_saw_is_decided_where_its_cause_is() {
        let advice = || Fix::Advice("see the static findings".to_owned());
        let seen = finding("probe-read", Some("app"), "t", advice()).observed();
        let cause = finding("rls-not-forced", Some("app"), "t", force("t"));
        assert_eq!(remedies(&[&cause, &seen])[0].decisions, 0);
        assert_eq!(remedies(&[&seen])[0].decisions, 1);
        let clusters = remedies(&[
            &Finding {
                object: Object { cluster: "us-1".to_owned(), ..seen.object.clone() },
                ..seen.clone()
            },
            &seen,
        ]);
        assert_eq!(clusters.len(), 2);
    }

    #[test]
    fn what_cannot_be_part_of_a_transaction_comes_after_it() {
        let index = sql!("CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (tenant_id)");
        let text = script(&[finding("no-index", Some("app"), "t", Fix::Sql(vec![index]))]);
        let (inside, after) = text.split_once("\nCOMMIT;\n").unwrap();
        assert!(code(after).contains("CREATE INDEX CONCURRENTLY"), "{text}");
        assert!(!code(inside).contains("CREATE INDEX"), "{text}");
    }
}
