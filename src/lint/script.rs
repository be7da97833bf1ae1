//! One migration file, read for the rules.

use std::ops::Range;

use super::deed::{Deed, deeds};
use super::squawk::{Reading, read};
use crate::model::migration::Directive;
use crate::sql::scan::{self, Shape};
use crate::sql::token::{Kind, tokens};

/// A migration file, as it is handed to the linter.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file, as a person names it.
    pub path: &'a str,
    /// Its text.
    pub sql: &'a str,
    /// Whether findings in it are wanted. A file that is not judged was applied before: it says
    /// what is there already.
    pub judged: bool,
}

/// A place in one of the files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) file: usize,
    pub(super) range: Range<usize>,
}

/// A file with what was read from it.
pub(super) struct Script<'a> {
    pub(super) source: Source<'a>,
    pub(super) statements: Vec<Statement>,
    pub(super) reading: Reading,
    pub(super) allowed: Vec<Allowed>,
    /// Whether its statements run one by one, outside of a transaction.
    pub(super) outside_transaction: bool,
}

/// One statement of a file.
pub(super) struct Statement {
    /// From its first word to its semicolon.
    pub(super) range: Range<usize>,
    pub(super) keywords: Vec<String>,
    pub(super) deeds: Vec<Deed>,
}

/// A rule that a comment allows to be broken.
pub(super) struct Allowed {
    pub(super) rule: String,
    /// The bytes of the file that it covers.
    pub(super) covers: Range<usize>,
    /// The comment itself.
    pub(super) range: Range<usize>,
}

impl<'a> Script<'a> {
    pub(super) fn read(source: Source<'a>) -> Self {
        let mut statements = Vec::new();
        let mut allowed = Vec::new();
        let head = head(source.sql);
        for statement in scan::statements(source.sql).filter(|s| s.shape == Shape::Sql) {
            let covers = statement.start..statement.range.end;
            for (comment, range) in comments(source.sql, statement.range.start..statement.start) {
                let in_head = range.start < head;
                if let Some(Ok(Directive::Allow { rule, .. })) = Directive::of_comment(comment) {
                    let covers = if in_head { 0..source.sql.len() } else { covers.clone() };
                    allowed.push(Allowed { rule, covers, range });
                }
            }
            statements.push(Statement {
                range: covers,
                keywords: statement.keywords.clone(),
                deeds: deeds(&statement),
            });
        }
        let outside_transaction = comments(source.sql, 0..head).into_iter().any(|(comment, _)| {
            matches!(Directive::of_comment(comment), Some(Ok(Directive::NoTransaction)))
        });
        Self { reading: read(source.sql), source, statements, allowed, outside_transaction }
    }

    /// The statement that holds a byte of the file.
    pub(super) fn statement_at(&self, at: usize) -> Option<usize> {
        self.statements.iter().position(|statement| statement.range.contains(&at))
    }
}

/// Where the head of a file ends: the comments before its first statement.
fn head(sql: &str) -> usize {
    tokens(sql)
        .find(|token| {
            token.kind != Kind::Space
                && !(token.kind == Kind::Comment && sql[token.range.clone()].starts_with("--"))
        })
        .map_or(sql.len(), |token| token.range.start)
}

/// The `--` comments in a stretch of a file, without their dashes.
fn comments(sql: &str, within: Range<usize>) -> Vec<(&str, Range<usize>)> {
    let text = &sql[within.clone()];
    tokens(text)
        .filter(|token| token.kind == Kind::Comment)
        .filter_map(|token| {
            let comment = text[token.range.clone()].strip_prefix("--")?;
            let start = within.start + token.range.start;
            Some((comment, start..within.start + token.range.end))
        })
        .collect()
}
