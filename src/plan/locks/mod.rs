//! What a statement of a migration locks, and how long: PostgreSQL's own rules, from its words alone.
//!
//! Sources: PostgreSQL's documentation, chapter 13.3 and the pages of ALTER TABLE and its neighbours.
//! A table that the same file made before holds nobody up, and is left out; so are reads (ACCESS
//! SHARE). What a `DO` block or a procedure locks is not known, and that is said.

mod alter;

use std::collections::BTreeSet;
use std::fmt;

use crate::sql::scan::{Shape, Statement, statements};
use crate::sql::token::{Kind, Token};

/// The modes in which PostgreSQL locks tables, weakest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Mode {
    /// `SELECT … FOR UPDATE`.
    RowShare,
    /// `INSERT`, `UPDATE`, `DELETE`.
    RowExclusive,
    /// `VACUUM`, `CREATE INDEX CONCURRENTLY`, `VALIDATE CONSTRAINT`.
    ShareUpdateExclusive,
    /// `CREATE INDEX`.
    Share,
    /// `CREATE TRIGGER`, a new foreign key.
    ShareRowExclusive,
    /// `REFRESH MATERIALIZED VIEW CONCURRENTLY`.
    Exclusive,
    /// Most of `ALTER TABLE`.
    AccessExclusive,
}

impl Mode {
    /// The mode as PostgreSQL writes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::RowShare => "ROW SHARE",
            Self::RowExclusive => "ROW EXCLUSIVE",
            Self::ShareUpdateExclusive => "SHARE UPDATE EXCLUSIVE",
            Self::Share => "SHARE",
            Self::ShareRowExclusive => "SHARE ROW EXCLUSIVE",
            Self::Exclusive => "EXCLUSIVE",
            Self::AccessExclusive => "ACCESS EXCLUSIVE",
        }
    }

    /// The mode with this name, as `LOCK TABLE` takes it.
    fn named(words: &str) -> Option<Self> {
        const ALL: [Mode; 7] = [
            Mode::RowShare,
            Mode::RowExclusive,
            Mode::ShareUpdateExclusive,
            Mode::Share,
            Mode::ShareRowExclusive,
            Mode::Exclusive,
            Mode::AccessExclusive,
        ];
        ALL.into_iter().find(|mode| mode.word() == words)
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.word())
    }
}

/// What a person should know before a statement runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hazard {
    /// Nobody reads or writes the table until the transaction ends.
    BlocksReads,
    /// Nobody writes to the table until the transaction ends.
    BlocksWrites,
    /// The table is written anew: its size decides how long that takes.
    Rewrite,
    /// Every row is read.
    FullScan,
    /// Rows or columns are gone afterwards.
    LosesData,
    /// A failure half way leaves the first half done.
    OutsideTransaction,
    /// It runs code that cannot be judged from here.
    Unknown,
}

impl Hazard {
    /// The word in JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::BlocksReads => "blocks-reads",
            Self::BlocksWrites => "blocks-writes",
            Self::Rewrite => "rewrite",
            Self::FullScan => "full-scan",
            Self::LosesData => "loses-data",
            Self::OutsideTransaction => "outside-transaction",
            Self::Unknown => "unknown",
        }
    }

    /// The hazard in words.
    pub fn describe(self) -> &'static str {
        match self {
            Self::BlocksReads => "blocks reads and writes",
            Self::BlocksWrites => "blocks writes",
            Self::Rewrite => "rewrites the table",
            Self::FullScan => "reads the whole table",
            Self::LosesData => "loses data",
            Self::OutsideTransaction => "outside a transaction",
            Self::Unknown => "runs code whose locks are not known",
        }
    }
}

/// One object that a statement locks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Its name, as the statement spells it.
    pub object: String,
    /// How strongly.
    pub mode: Mode,
}

/// What one statement does to those who work at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Impact {
    /// The line of the file on which it begins.
    pub line: usize,
    /// Its text, without what stands before it and without its semicolon.
    pub sql: String,
    /// What it locks, each object once, in its strongest mode.
    pub locks: Vec<Lock>,
    /// What a person should know, each once.
    pub hazards: Vec<Hazard>,
}

/// Judges every statement of a file.
pub fn impacts(sql: &str) -> Vec<Impact> {
    let mut made = BTreeSet::new();
    statements(sql)
        .filter(|statement| statement.shape == Shape::Sql)
        .map(|statement| impact(&statement, &mut made))
        .collect()
}

fn impact(statement: &Statement<'_>, made: &mut BTreeSet<String>) -> Impact {
    let words = Words::of(statement);
    let mut effect = Effect::default();
    judge(&words, &mut effect);
    let before = statement.start - statement.range.start;
    let text = statement.text.get(before..).unwrap_or_default();
    let text = text.trim_end().trim_end_matches(';').trim_end();
    let old = |name: &String| !made.contains(name);
    let mut locks: Vec<Lock> = Vec::new();
    let touched: Vec<(String, Mode)> =
        effect.locks.into_iter().filter(|(name, _)| old(name)).collect();
    // What is read or written anew is a table that is locked.
    let matters = effect.locks_unnamed || !touched.is_empty();
    for (object, mode) in touched {
        match locks.iter_mut().find(|lock| lock.object == object) {
            Some(lock) => lock.mode = lock.mode.max(mode),
            None => locks.push(Lock { object, mode }),
        }
    }
    let mut hazards = effect.hazards;
    if !matters {
        hazards.retain(|hazard| {
            !matches!(hazard, Hazard::Rewrite | Hazard::FullScan | Hazard::LosesData)
        });
    }
    match locks.iter().map(|lock| lock.mode).max() {
        Some(Mode::AccessExclusive) => hazards.push(Hazard::BlocksReads),
        Some(mode) if mode >= Mode::Share => hazards.push(Hazard::BlocksWrites),
        _ => {}
    }
    hazards.sort_unstable();
    hazards.dedup();
    made.extend(effect.makes);
    Impact { line: statement.position.line, sql: text.to_owned(), locks, hazards }
}

/// What the words of a statement come to.
#[derive(Debug, Default)]
struct Effect {
    locks: Vec<(String, Mode)>,
    hazards: Vec<Hazard>,
    makes: Vec<String>,
    /// Whether it works on something that existed and is not in `locks`.
    locks_unnamed: bool,
}

impl Effect {
    fn lock(&mut self, object: Option<String>, mode: Mode) {
        match object {
            Some(object) => self.locks.push((object, mode)),
            None => self.hazards.push(Hazard::Unknown),
        }
    }

    fn hazard(&mut self, hazard: Hazard) {
        self.hazards.push(hazard);
    }
}

fn judge(words: &Words<'_>, effect: &mut Effect) {
    let mut at = Cursor::new(words);
    let first = at.word();
    match first.as_str() {
        "ALTER" => alter::judge(&mut at, effect),
        "CREATE" => create(&mut at, effect),
        "DROP" => drop(&mut at, effect),
        "TRUNCATE" => {
            at.skip(&["TABLE"]);
            at.skip(&["ONLY"]);
            for name in at.names() {
                effect.lock(Some(name), Mode::AccessExclusive);
            }
            effect.hazard(Hazard::LosesData);
        }
        "INSERT" | "MERGE" => {
            at.skip(&["INTO"]);
            effect.lock(at.name(), Mode::RowExclusive);
        }
        "UPDATE" | "DELETE" => {
            at.skip(&["FROM"]);
            at.skip(&["ONLY"]);
            effect.lock(at.name(), Mode::RowExclusive);
            if !at.has("WHERE") {
                effect.hazard(Hazard::FullScan);
                if first == "DELETE" {
                    effect.hazard(Hazard::LosesData);
                }
            }
        }
        "COPY" => {
            let name = at.name();
            if at.has("FROM") {
                effect.lock(name, Mode::RowExclusive);
            }
        }
        "WITH" => {
            // A data change inside a WITH list names its table wherever it stands.
            for word in ["INTO", "UPDATE", "DELETE"] {
                for name in at.names_behind(word) {
                    effect.lock(Some(name), Mode::RowExclusive);
                }
            }
        }
        "LOCK" => {
            at.skip(&["TABLE"]);
            at.skip(&["ONLY"]);
            let names = at.names();
            let mode = at.between("IN", "MODE");
            let mode = Mode::named(&mode).unwrap_or(Mode::AccessExclusive);
            for name in names {
                effect.lock(Some(name), mode);
            }
        }
        "REFRESH" => {
            at.skip(&["MATERIALIZED"]);
            at.skip(&["VIEW"]);
            let gently = at.skip(&["CONCURRENTLY"]);
            effect.lock(at.name(), if gently { Mode::Exclusive } else { Mode::AccessExclusive });
            effect.hazard(Hazard::Rewrite);
        }
        "CLUSTER" => {
            effect.lock(at.name(), Mode::AccessExclusive);
            effect.hazard(Hazard::Rewrite);
        }
        "VACUUM" | "ANALYZE" => {
            let full = at.has("FULL");
            at.skip_parentheses();
            while at.skip(&["FULL"])
                || at.skip(&["VERBOSE"])
                || at.skip(&["ANALYZE"])
                || at.skip(&["FREEZE"])
            {}
            let mode = if full { Mode::AccessExclusive } else { Mode::ShareUpdateExclusive };
            for name in at.names() {
                effect.lock(Some(name), mode);
            }
            if full {
                effect.hazard(Hazard::Rewrite);
            }
        }
        "REINDEX" => {
            at.skip_parentheses();
            let kind = at.word();
            let gently = at.skip(&["CONCURRENTLY"]);
            let name = at.name();
            let mode = if gently { Mode::ShareUpdateExclusive } else { Mode::Share };
            let object = if kind == "INDEX" {
                name.map(|name| format!("the table of {name}"))
            } else {
                name
            };
            effect.lock(object, mode);
            effect.hazard(Hazard::FullScan);
        }
        "COMMENT" => {
            at.skip(&["ON"]);
            if at.skip(&["TABLE"]) {
                effect.lock(at.name(), Mode::ShareUpdateExclusive);
            } else if at.skip(&["COLUMN"]) {
                let table = at.name().and_then(|name| Some(name.rsplit_once('.')?.0.to_owned()));
                effect.lock(table, Mode::ShareUpdateExclusive);
            }
        }
        "DO" | "CALL" | "EXECUTE" => effect.hazard(Hazard::Unknown),
        _ => {}
    }
}

fn create(at: &mut Cursor<'_, '_>, effect: &mut Effect) {
    let replaces = at.skip(&["OR", "REPLACE"]);
    let unique = at.skip(&["UNIQUE"]);
    if at.skip(&["INDEX"]) {
        let gently = at.skip(&["CONCURRENTLY"]);
        let mode = if gently { Mode::ShareUpdateExclusive } else { Mode::Share };
        at.past("ON");
        at.skip(&["ONLY"]);
        effect.lock(at.name(), mode);
        effect.hazard(Hazard::FullScan);
        return;
    }
    while !unique
        && (at.skip(&["UNLOGGED"])
            || at.skip(&["TEMPORARY"])
            || at.skip(&["TEMP"])
            || at.skip(&["FOREIGN"]))
    {}
    if at.skip(&["TABLE"]) {
        at.skip(&["IF", "NOT", "EXISTS"]);
        effect.makes.extend(at.name());
        for parent in at.names_behind("REFERENCES") {
            effect.lock(Some(parent), Mode::ShareRowExclusive);
        }
        if at.skip(&["PARTITION", "OF"]) {
            effect.lock(at.name(), Mode::AccessExclusive);
        }
        if at.past("INHERITS") {
            at.symbol(b'(');
            for name in at.names() {
                effect.lock(Some(name), Mode::ShareUpdateExclusive);
            }
        }
        return;
    }
    at.skip(&["CONSTRAINT"]);
    if at.skip(&["TRIGGER"]) {
        at.past("ON");
        effect.lock(at.name(), Mode::ShareRowExclusive);
    } else if at.skip(&["POLICY"]) {
        at.past("ON");
        effect.lock(at.name(), Mode::AccessExclusive);
    } else if at.skip(&["RULE"]) {
        at.past("TO");
        effect.lock(at.name(), Mode::AccessExclusive);
    } else if at.skip(&["STATISTICS"]) {
        at.past("FROM");
        effect.lock(at.name(), Mode::ShareUpdateExclusive);
    } else if at.skip(&["MATERIALIZED", "VIEW"]) {
        at.skip(&["IF", "NOT", "EXISTS"]);
        effect.makes.extend(at.name());
    } else if at.skip(&["RECURSIVE"]) || at.skip(&["VIEW"]) {
        at.skip(&["VIEW"]);
        let name = at.name();
        if replaces {
            effect.lock(name, Mode::AccessExclusive);
        } else {
            effect.makes.extend(name);
        }
    }
}

fn drop(at: &mut Cursor<'_, '_>, effect: &mut Effect) {
    let kind = at.word();
    let gently = at.skip(&["CONCURRENTLY"]);
    let view = kind == "MATERIALIZED" && at.skip(&["VIEW"]);
    at.skip(&["IF", "EXISTS"]);
    match kind.as_str() {
        "INDEX" => {
            let mode = if gently { Mode::ShareUpdateExclusive } else { Mode::AccessExclusive };
            for name in at.names() {
                effect.lock(Some(format!("the table of {name}")), mode);
            }
        }
        "TABLE" | "SEQUENCE" => {
            for name in at.names() {
                effect.lock(Some(name), Mode::AccessExclusive);
            }
            if kind == "TABLE" {
                effect.hazard(Hazard::LosesData);
            }
        }
        "FOREIGN" if at.skip(&["TABLE"]) => effect.lock(at.name(), Mode::AccessExclusive),
        "TRIGGER" | "POLICY" | "RULE" => {
            at.past("ON");
            effect.lock(at.name(), Mode::AccessExclusive);
        }
        _ if view || kind == "VIEW" => {
            for name in at.names() {
                effect.lock(Some(name), Mode::AccessExclusive);
            }
        }
        "SCHEMA" | "DATABASE" | "OWNED" => {
            effect.locks_unnamed = true;
            effect.hazard(Hazard::LosesData);
        }
        _ => {}
    }
}

/// The tokens of a statement, without white space and comments.
struct Words<'a> {
    text: &'a str,
    tokens: Vec<Token>,
}

impl<'a> Words<'a> {
    fn of(statement: &Statement<'a>) -> Self {
        Self { text: statement.text, tokens: statement.tokens().collect() }
    }
}

/// A place among the words.
#[derive(Clone)]
struct Cursor<'w, 'a> {
    words: &'w Words<'a>,
    at: usize,
    end: usize,
}

impl<'w, 'a> Cursor<'w, 'a> {
    fn new(words: &'w Words<'a>) -> Self {
        Self { words, at: 0, end: words.tokens.len() }
    }

    fn token(&self, at: usize) -> Option<&Token> {
        (at < self.end).then(|| self.words.tokens.get(at)).flatten()
    }

    /// The bare word here, in upper case, and moves behind it; empty for anything else.
    fn word(&mut self) -> String {
        match self.token(self.at) {
            Some(token) if token.kind == Kind::Word => {
                self.at += 1;
                self.words.text[self.words.tokens[self.at - 1].range.clone()].to_ascii_uppercase()
            }
            _ => String::new(),
        }
    }

    fn is_word(&self, at: usize, word: &str) -> bool {
        self.token(at).is_some_and(|token| token.is_word(self.words.text, word))
    }

    fn is_symbol(&self, at: usize, symbol: u8) -> bool {
        self.token(at).is_some_and(|token| token.is_symbol(self.words.text, symbol))
    }

    /// Moves behind these words, when they stand here.
    fn skip(&mut self, words: &[&str]) -> bool {
        let here = words.iter().enumerate().all(|(n, word)| self.is_word(self.at + n, word));
        if here {
            self.at += words.len();
        }
        here
    }

    fn symbol(&mut self, symbol: u8) -> bool {
        let here = self.is_symbol(self.at, symbol);
        self.at += usize::from(here);
        here
    }

    /// Moves behind a parenthesis with all that is in it, when one opens here.
    fn skip_parentheses(&mut self) {
        let mut depth = 0_usize;
        while self.at < self.end {
            if self.is_symbol(self.at, b'(') {
                depth += 1;
            } else if self.is_symbol(self.at, b')') {
                depth = depth.saturating_sub(1);
            }
            if depth == 0 && !self.is_symbol(self.at, b')') {
                return;
            }
            self.at += 1;
            if depth == 0 {
                return;
            }
        }
    }

    /// Moves behind the next such word, when there is one.
    fn past(&mut self, word: &str) -> bool {
        match (self.at..self.end).find(|at| self.is_word(*at, word)) {
            Some(found) => {
                self.at = found + 1;
                true
            }
            None => false,
        }
    }

    /// Whether such a word stands here or later.
    fn has(&self, word: &str) -> bool {
        (self.at..self.end).any(|at| self.is_word(at, word))
    }

    fn has_all(&self, words: &[&str]) -> bool {
        (self.at..self.end)
            .any(|at| words.iter().enumerate().all(|(n, word)| self.is_word(at + n, word)))
    }

    /// The words between two words, in upper case.
    fn between(&mut self, first: &str, last: &str) -> String {
        if !self.past(first) {
            return String::new();
        }
        let mut words = Vec::new();
        while self.at < self.end && !self.is_word(self.at, last) {
            let word = self.word();
            if word.is_empty() {
                break;
            }
            words.push(word);
        }
        words.join(" ")
    }

    /// A name, with its schema when it has one, as SQL spells it: bare names in lower case.
    fn name(&mut self) -> Option<String> {
        let mut name = self.part()?;
        while self.is_symbol(self.at, b'.') {
            self.at += 1;
            name.push('.');
            name.push_str(&self.part()?);
        }
        Some(name)
    }

    fn part(&mut self) -> Option<String> {
        let token = self.token(self.at)?;
        let text = &self.words.text[token.range.clone()];
        let name = match token.kind {
            Kind::Word => text.to_lowercase(),
            Kind::QuotedName => text.to_owned(),
            _ => return None,
        };
        self.at += 1;
        Some(name)
    }

    /// Names with commas between them.
    fn names(&mut self) -> Vec<String> {
        let mut names = Vec::new();
        while let Some(name) = self.name() {
            names.push(name);
            self.symbol(b'*');
            if !self.symbol(b',') {
                break;
            }
            self.skip(&["ONLY"]);
        }
        names
    }

    /// The names that stand behind each such word.
    fn names_behind(&self, word: &str) -> Vec<String> {
        let mut all = self.clone();
        let mut names = Vec::new();
        while all.past(word) {
            all.skip(&["FROM"]);
            all.skip(&["ONLY"]);
            names.extend(all.name());
        }
        names
    }

    /// What stands between the commas that no parenthesis holds.
    fn parts(&self) -> Vec<Self> {
        let mut parts = Vec::new();
        let mut depth = 0_usize;
        let mut from = self.at;
        for at in self.at..self.end {
            if self.is_symbol(at, b'(') {
                depth += 1;
            } else if self.is_symbol(at, b')') {
                depth = depth.saturating_sub(1);
            } else if depth == 0 && (self.is_symbol(at, b',') || self.is_symbol(at, b';')) {
                parts.push(Self { words: self.words, at: from, end: at });
                from = at + 1;
            }
        }
        if from < self.end {
            parts.push(Self { words: self.words, at: from, end: self.end });
        }
        parts
    }
}

#[cfg(test)]
mod tests;
