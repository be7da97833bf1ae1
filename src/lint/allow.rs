//! `-- tenantctl:allow RULE reason`: rules that a file, or one statement of it, breaks on purpose.
//!
//! In the head of a file the comment covers the file; above a statement it covers that statement.

use super::Rule;
use super::finding::Draft;
use super::script::Place;
use super::survey::Survey;
use crate::model::severity::Severity;

/// The rules about the comments themselves.
pub(super) static RULES: &[Rule] = &[
    Rule {
        id: "allow-unknown",
        severity: Severity::Low,
        title: "a comment allows to break a rule that does not exist",
        why: "A name that is no rule's allows nothing: it is misspelt, or the rule is gone.",
        example: "-- tenantctl:allow ban-drop-colum unused since March",
        fix: "Name the rule as findings do: -- tenantctl:allow ban-drop-column unused since March",
    },
    Rule {
        id: "allow-unused",
        severity: Severity::Low,
        title: "a comment allows to break a rule that is not broken",
        why: "An exception that nobody needs any more would hide the next mistake of its kind.",
        example: "-- tenantctl:allow ban-drop-column unused since March\nCREATE TABLE notes (id uuid PRIMARY KEY);",
        fix: "Remove the comment, unless the file was applied: then its checksum is history, and the comment harms nobody.",
    },
];

/// Takes away what is allowed, and adds what is wrong with the comments.
pub(super) fn apply(survey: &Survey<'_>, drafts: &mut Vec<Draft>) {
    let mut complaints = Vec::new();
    for (file, script) in survey.scripts.iter().enumerate().filter(|(_, s)| s.source.judged) {
        for allowed in &script.allowed {
            let at = Place { file, range: allowed.range.clone() };
            let [unknown, unused] = RULES else { continue };
            if super::rule(&allowed.rule).is_none() {
                let message = format!("there is no rule {}", allowed.rule);
                complaints.push(Draft::new(unknown, &at, message, unknown.fix));
                continue;
            }
            let covered = |draft: &Draft| {
                draft.rule == allowed.rule
                    && draft.at.file == file
                    && allowed.covers.contains(&draft.at.range.start)
            };
            if !drafts.iter().any(covered) {
                let message = format!("nothing here breaks {}", allowed.rule);
                complaints.push(Draft::new(unused, &at, message, unused.fix));
            }
        }
    }
    drafts.retain(|draft| {
        let allowed = survey.scripts.get(draft.at.file).map_or(&[][..], |s| &s.allowed);
        !allowed.iter().any(|allowed| {
            allowed.rule == draft.rule && allowed.covers.contains(&draft.at.range.start)
        })
    });
    drafts.extend(complaints);
}

#[cfg(test)]
mod tests {
    use crate::lint::fixture::{found, schema};

    const DROP: &str = "ALTER TABLE notes DROP COLUMN a;\nALTER TABLE notes DROP COLUMN b;\n";

    #[test]
    fn in_the_head_of_a_file_it_covers_the_file() {
        let sql = format!("-- tenantctl:allow ban-drop-column unused since March\n\n{DROP}");
        assert!(found("ban-drop-column", &schema(), &[&sql]).is_empty());
        assert!(found("allow-unused", &schema(), &[&sql]).is_empty());
        assert_eq!(found("ban-drop-column", &schema(), &[&sql, DROP]).len(), 2);
    }

    #[test]
    fn above_a_statement_it_covers_that_statement() {
        let sql = "SELECT 1;\n-- Nobody reads it.\n-- tenantctl:allow ban-drop-column unused since \
                   March\nALTER TABLE notes DROP COLUMN a;\nALTER TABLE notes DROP COLUMN b;\n";
        assert_eq!(found("ban-drop-column", &schema(), &[sql]), ["V1.sql:5:19 high"]);
    }

    #[test]
    fn a_comment_that_does_nothing_is_a_finding() {
        let sql = format!("-- tenantctl:allow ban-drop-colum misspelt\n{DROP}");
        assert_eq!(found("allow-unknown", &schema(), &[&sql]), ["V1.sql:1:1 low"]);
        let sql = "-- tenantctl:allow ban-drop-column once\nSELECT 1;";
        assert_eq!(found("allow-unused", &schema(), &[sql]), ["V1.sql:1:1 low"]);
    }
}
