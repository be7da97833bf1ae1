//! What a function's text, or a condition as the server prints it, names: relations and calls.
//!
//! Reads words, not grammar. Strings are read as well, for statements are put together from them;
//! comments are not.

use std::collections::BTreeSet;

use crate::model::ident::QualifiedName;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Name(String),
    Sign(char),
}

/// The names in a text.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    words: BTreeSet<String>,
    qualified: BTreeSet<(String, String)>,
    /// Names without a schema, where a statement takes a relation.
    pub(super) bare: BTreeSet<String>,
    selected: BTreeSet<(String, String)>,
    used: BTreeSet<String>,
}

impl Names {
    /// Whether a relation is named: with its schema, or without one where a statement takes a relation.
    pub(super) fn names(&self, relation: &QualifiedName) -> bool {
        self.bare.contains(relation.name.as_str()) || self.qualifies(relation)
    }

    /// Whether a relation is named with its schema.
    pub(super) fn qualifies(&self, relation: &QualifiedName) -> bool {
        self.qualified
            .contains(&(relation.schema.as_str().to_owned(), relation.name.as_str().to_owned()))
    }

    /// Whether a relation is named where its rows are read, changed or removed, and not only added to.
    pub(super) fn uses(&self, relation: &QualifiedName) -> bool {
        self.used.contains(relation.name.as_str())
    }

    /// Whether rows of a relation are selected, which is named with its schema.
    pub(super) fn selected(&self, relation: &QualifiedName) -> bool {
        self.selected
            .contains(&(relation.schema.as_str().to_owned(), relation.name.as_str().to_owned()))
    }

    /// Whether two names stand there with a dot between them: `NEW.tenant_id`.
    pub(super) fn pairs(&self, first: &str, second: &str) -> bool {
        self.qualified.contains(&(first.to_owned(), second.to_owned()))
    }

    /// Whether a word stands there, as a name or a keyword.
    pub(super) fn says(&self, word: &str) -> bool {
        self.words.contains(word)
    }
}

/// Words before a relation.
const BEFORE: [&str; 6] = ["from", "join", "into", "update", "only", "table"];

/// Words that stand where a relation could.
const NO_NAMES: [&str; 8] =
    ["select", "lateral", "unnest", "set", "only", "strict", "where", "values"];

/// Reads the names of a text.
pub(super) fn relations(text: &str) -> Names {
    let parts = parts(text);
    let mut names = Names::default();
    let mut at = 0;
    while let Some(part) = parts.get(at) {
        let Part::Name(word) = part else {
            at += 1;
            continue;
        };
        names.words.insert(word.clone());
        if let (Some(Part::Sign('.')), Some(Part::Name(name))) =
            (parts.get(at + 1), parts.get(at + 2))
        {
            names.qualified.insert((word.clone(), name.clone()));
        }
        at += 1;
        if !BEFORE.contains(&word.as_str()) {
            continue;
        }
        // A list of relations after FROM: each may have an alias.
        let mut next = at;
        while let Some(Part::Name(first)) = parts.get(next) {
            if NO_NAMES.contains(&first.as_str()) {
                break;
            }
            match (parts.get(next + 1), parts.get(next + 2)) {
                (Some(Part::Sign('.')), Some(Part::Name(name))) => {
                    names.selected.insert((first.clone(), name.clone()));
                    if word != "into" {
                        names.used.insert(name.clone());
                    }
                    next += 3;
                }
                (Some(Part::Sign('(')), _) if word != "into" => break,
                _ => {
                    names.bare.insert(first.clone());
                    if word != "into" {
                        names.used.insert(first.clone());
                    }
                    next += 1;
                }
            }
            while matches!(parts.get(next), Some(Part::Name(alias)) if alias == "as" || !KEYWORDS.contains(&alias.as_str()))
            {
                next += 1;
            }
            if parts.get(next) != Some(&Part::Sign(',')) || word != "from" {
                break;
            }
            next += 1;
        }
    }
    names
}

/// Words that end a relation's alias.
const KEYWORDS: [&str; 22] = [
    "where",
    "join",
    "left",
    "right",
    "inner",
    "outer",
    "full",
    "cross",
    "on",
    "using",
    "group",
    "order",
    "limit",
    "union",
    "set",
    "values",
    "select",
    "returning",
    "for",
    "loop",
    "natural",
    "having",
];

fn parts(text: &str) -> Vec<Part> {
    let mut found = Vec::new();
    let mut rest = text.chars().peekable();
    while let Some(next) = rest.next() {
        match next {
            '-' if rest.peek() == Some(&'-') => {
                rest.by_ref().take_while(|c| *c != '\n').for_each(drop);
            }
            '/' if rest.peek() == Some(&'*') => {
                let mut star = false;
                rest.by_ref()
                    .take_while(|c| {
                        let ends = star && *c == '/';
                        star = *c == '*';
                        !ends
                    })
                    .for_each(drop);
            }
            '"' => found.push(Part::Name(rest.by_ref().take_while(|c| *c != '"').collect())),
            c if c.is_alphanumeric() || c == '_' => {
                let mut word = c.to_lowercase().to_string();
                while let Some(c) = rest.next_if(|c| c.is_alphanumeric() || *c == '_' || *c == '$')
                {
                    word.extend(c.to_lowercase());
                }
                found.push(Part::Name(word));
            }
            c if c.is_whitespace() || c == '\'' => {}
            c => found.push(Part::Sign(c)),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ident::Ident;

    fn name(schema: &str, name: &str) -> QualifiedName {
        QualifiedName::new(Ident::new(schema).unwrap(), Ident::new(name).unwrap())
    }

    #[test]
    fn relations_are_told_from_columns_and_comments() {
        let text = "-- FROM app.hidden\nSELECT n.tasks, extract(epoch FROM at) FROM app.notes n, lists l \
                    JOIN \"Odd\" USING (id) /* FROM app.gone */ WHERE n.members IS NULL";
        let names = relations(text);
        assert!(names.names(&name("app", "notes")) && names.selected(&name("app", "notes")));
        assert!(names.names(&name("any", "lists")) && names.names(&name("x", "Odd")));
        for other in ["hidden", "gone", "tasks", "members"] {
            assert!(!names.names(&name("app", other)), "{other}");
        }
        assert!(names.says("using") && !names.says("hidden"));
    }

    #[test]
    fn statements_in_strings_and_writes_are_read() {
        let names = relations(
            "EXECUTE 'DELETE FROM tenant_b.notes'; INSERT INTO log(a) VALUES (1); UPDATE other SET x = 1",
        );
        assert!(names.qualifies(&name("tenant_b", "notes")));
        assert!(names.bare.contains("log") && names.bare.contains("other"), "{names:?}");
        assert!(names.uses(&name("app", "other")) && !names.uses(&name("app", "log")));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_the_reader_stumble(text in ".{0,120}") {
            drop(relations(&text));
        }
    }
}
