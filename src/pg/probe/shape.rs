//! What a made-up row of a table has to be like: types, defaults and CHECK constraints.
//!
//! The server is the judge: values are tried against the constraints' own expressions, in a SELECT
//! that stores nothing, until all constraints on the columns hold together.

use std::collections::{BTreeMap, BTreeSet};

use super::canary::Known;
use super::guess::{self, Clues, Kind};
use super::session::{Answer, Session};
use crate::error::Error;
use crate::model::catalog::{Column, Fill, Oid};
use crate::model::ident::{Ident, QualifiedName};
use crate::sql;
use crate::sql::{List, Literal, Sql};

/// So many combinations of values are tried against one group of constraints.
const COMBINATIONS: usize = 20_000;

/// So many are tried one by one, where trying them together is an error.
const SINGLY: usize = 120;

/// A table, as far as making rows for it needs to know.
pub(super) struct Shape {
    pub(super) name: QualifiedName,
    pub(super) columns: Vec<Column>,
    /// Columns whose values are counted, or generated as an identity: a value is given instead, which
    /// counts nothing on.
    counted: BTreeSet<Ident>,
    /// Columns that no statement may set.
    generated: BTreeSet<Ident>,
    /// Columns that other tables point at.
    pub(super) pointed_at: BTreeSet<Ident>,
    /// What it points at.
    pub(super) references: Vec<Reference>,
    /// The columns of its primary key.
    pub(super) key: Vec<Ident>,
    kinds: BTreeMap<Ident, Kind>,
    /// Expressions of defaults.
    defaults: BTreeMap<Ident, String>,
    /// Expressions of domains' constraints, by column.
    domains: BTreeMap<Ident, String>,
    checks: Vec<Check>,
}

/// A foreign key.
#[derive(Clone, Debug)]
pub(super) struct Reference {
    pub(super) parent: Oid,
    /// Its columns: (here, there).
    pub(super) columns: Vec<(Ident, Ident)>,
}

struct Check {
    columns: BTreeSet<Ident>,
    expression: String,
}

/// A value that may stand in a column: a text of its type, or nothing given.
#[derive(Clone)]
enum Candidate {
    /// The column is left out, and this is what stands there then.
    Omitted(Sql),
    Given(String),
}

impl Shape {
    /// Reads them from the server, three statements for any number.
    ///
    /// # Errors
    ///
    /// When the session breaks.
    pub(super) async fn read(
        session: &Session,
        tables: &BTreeSet<Oid>,
    ) -> Result<BTreeMap<Oid, Self>, Error> {
        let list: Vec<String> = tables.iter().map(ToString::to_string).collect();
        let list = Sql::from_catalog(&format!("'{{{}}}'::oid[]", list.join(",")));
        let mut shapes: BTreeMap<Oid, Self> = BTreeMap::new();
        let columns = session
            .rows(&sql!(
                "SELECT a.attrelid, n.nspname, c.relname, a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod), \
                        pg_catalog.format_type(b.oid, CASE t.typtype WHEN 'd' THEN t.typtypmod ELSE a.atttypmod END), \
                        b.typtype, a.attnotnull OR t.typnotnull, a.attgenerated <> '', a.attidentity <> '', \
                        pg_catalog.pg_get_expr(d.adbin, d.adrelid), \
                        (SELECT pg_catalog.string_agg(pg_catalog.pg_get_constraintdef(k.oid), ' AND ') \
                         FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid AND k.contype = 'c'), \
                        (SELECT pg_catalog.json_agg(e.enumlabel ORDER BY e.enumsortorder) \
                         FROM pg_catalog.pg_enum e WHERE e.enumtypid IN (b.oid, b.typelem)) \
                 FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
                 JOIN pg_catalog.pg_type b ON b.oid = CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END \
                 LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
                 WHERE a.attrelid = ANY ({}) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attrelid, a.attnum",
                list
            ))
            .await?;
        for row in &columns {
            let text = |at: usize| row.get(at).and_then(Option::as_deref);
            let (Some(oid), Some(schema), Some(table), Some(name)) =
                (text(0).and_then(|oid| oid.parse().ok()), text(1), text(2), text(3))
            else {
                continue;
            };
            let home = QualifiedName::new(Ident::new(schema)?, Ident::new(table)?);
            shapes.entry(oid).or_insert_with(|| Self::empty(home)).column(Ident::new(name)?, &text);
        }
        let constraints = session
            .rows(&sql!(
                "SELECT k.conrelid, k.contype, k.confrelid, \
                        CASE k.contype WHEN 'c' THEN pg_catalog.pg_get_expr(k.conbin, k.conrelid) END, \
                        (SELECT pg_catalog.json_agg(a.attname ORDER BY o.at) FROM pg_catalog.unnest(k.conkey) WITH ORDINALITY AS o (num, at) \
                         JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = o.num), \
                        (SELECT pg_catalog.json_agg(a.attname ORDER BY o.at) FROM pg_catalog.unnest(k.confkey) WITH ORDINALITY AS o (num, at) \
                         JOIN pg_catalog.pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = o.num) \
                 FROM pg_catalog.pg_constraint k WHERE k.contype IN ('c', 'f', 'p') \
                   AND (k.conrelid = ANY ({}) OR k.confrelid = ANY ({})) ORDER BY k.conrelid, k.conname",
                list,
                list
            ))
            .await?;
        for row in &constraints {
            let text = |at: usize| row.get(at).and_then(Option::as_deref);
            let names = |at: usize| -> Result<Vec<Ident>, Error> {
                let names: Vec<String> =
                    text(at).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
                names.into_iter().map(Ident::new).collect()
            };
            let (own, their) = (names(4)?, names(5)?);
            let number = |at: usize| text(at).and_then(|oid| oid.parse::<Oid>().ok()).unwrap_or(0);
            if let Some(parent) = shapes.get_mut(&number(2)) {
                parent.pointed_at.extend(their.iter().cloned());
            }
            let Some(shape) = shapes.get_mut(&number(0)) else { continue };
            match text(1) {
                Some("c") => shape.checks.push(Check {
                    columns: own.into_iter().collect(),
                    expression: text(3).unwrap_or("true").to_owned(),
                }),
                Some("f") => shape.references.push(Reference {
                    parent: number(2),
                    columns: own.into_iter().zip(their).collect(),
                }),
                _ => shape.key = own,
            }
        }
        Ok(shapes)
    }

    fn empty(name: QualifiedName) -> Self {
        Self {
            name,
            columns: Vec::new(),
            counted: BTreeSet::new(),
            generated: BTreeSet::new(),
            pointed_at: BTreeSet::new(),
            references: Vec::new(),
            key: Vec::new(),
            kinds: BTreeMap::new(),
            defaults: BTreeMap::new(),
            domains: BTreeMap::new(),
            checks: Vec::new(),
        }
    }

    /// Takes in one column, as the server described it.
    fn column<'r>(&mut self, name: Ident, text: &impl Fn(usize) -> Option<&'r str>) {
        let yes = |at: usize| text(at) == Some("t");
        let labels: Vec<String> =
            text(12).and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
        let letter = text(6).and_then(|kind| kind.chars().next()).unwrap_or('b');
        let default = text(10);
        let (generated, identity) = (yes(8), yes(9));
        if generated {
            self.generated.insert(name.clone());
        }
        if identity || default.is_some_and(|default| default.contains("nextval(")) {
            self.counted.insert(name.clone());
        }
        if let Some(default) = default.filter(|_| !generated) {
            self.defaults.insert(name.clone(), default.to_owned());
        }
        if let Some(domain) = text(11) {
            self.domains.insert(name.clone(), domain.to_owned());
        }
        self.columns.push(Column {
            name: name.clone(),
            type_name: text(4).unwrap_or("text").to_owned(),
            type_kind: letter,
            first_label: labels.first().cloned(),
            not_null: yes(7),
            default: default.map(str::to_owned),
            fill: match (generated, identity || default.is_some()) {
                (true, _) => Fill::Always,
                (_, true) => Fill::Default,
                _ => Fill::Null,
            },
        });
        let type_name = text(5).unwrap_or("text").to_owned();
        self.kinds.insert(name, Kind { type_name, letter, labels });
    }

    /// The column of that name.
    pub(super) fn named(&self, name: &Ident) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == *name)
    }

    /// Whether its value is counted on by the server, unless one is given.
    pub(super) fn is_counted(&self, column: &Ident) -> bool {
        self.counted.contains(column)
    }

    /// Whether a constraint or a domain has a say in what stands in a column.
    pub(super) fn is_checked(&self, column: &Ident) -> bool {
        self.domains.contains_key(column)
            || self.checks.iter().any(|check| check.columns.contains(column))
    }

    /// Whether a foreign key has a say in what stands in a column.
    pub(super) fn is_reference(&self, column: &Ident) -> bool {
        self.references.iter().any(|one| one.columns.iter().any(|(here, _)| here == column))
    }

    /// What is known about a column's type.
    pub(super) fn kind(&self, column: &Column) -> Kind {
        self.kinds.get(&column.name).cloned().unwrap_or_else(|| Kind {
            type_name: column.type_name.clone(),
            letter: column.type_kind,
            labels: column.first_label.iter().cloned().collect(),
        })
    }

    /// Looks for values that fulfil the constraints. `given` stands as it is; the answer adds to it.
    /// `enter` makes the session whoever will add the row: constraints may call functions.
    pub(super) async fn settle(
        &self,
        session: &Session,
        given: &Known,
        enter: &[Sql],
    ) -> Result<Known, Error> {
        let mut settled = given.clone();
        let mut in_domain = BTreeMap::new();
        for column in &self.columns {
            let Some(check) = self.domains.get(&column.name) else { continue };
            if given.contains_key(&column.name) {
                continue;
            }
            let clues = Clues::of([check.as_str()]);
            let fitting = self.fitting(session, column, &clues, enter).await?;
            if let Some(value) = fitting.first()
                && column.not_null
                && column.fill == Fill::Null
            {
                settled.insert(column.name.clone(), value.clone());
            }
            in_domain.insert(column.name.clone(), fitting);
        }
        for group in self.groups() {
            let columns: Vec<&Column> = self
                .columns
                .iter()
                .filter(|column| group.iter().any(|check| check.columns.contains(&column.name)))
                .collect();
            let clues = Clues::of(group.iter().map(|check| check.expression.as_str()));
            let lists: Vec<Vec<Candidate>> = columns
                .iter()
                .map(|column| self.candidates(column, given, &in_domain, &clues))
                .collect();
            let found = search(session, &self.name.name, &columns, lists, &group, enter).await?;
            for (column, candidate) in columns.iter().zip(found.into_iter().flatten()) {
                if let Candidate::Given(value) = candidate {
                    settled.insert(column.name.clone(), value);
                }
            }
        }
        Ok(settled)
    }

    /// The values of a column's domain.
    async fn fitting(
        &self,
        session: &Session,
        column: &Column,
        clues: &Clues,
        enter: &[Sql],
    ) -> Result<Vec<String>, Error> {
        let kind = self.kind(column);
        let all = guess::first(&kind).into_iter().chain(guess::others(
            column.name.as_str(),
            &kind,
            clues,
        ));
        let mut fitting = Vec::new();
        for value in all.take(SINGLY) {
            let mut script = enter.to_vec();
            script.push(sql!("SELECT {}", super::canary::typed(column, &value)));
            if matches!(session.attempt(&script).await?, Answer::Done(_)) {
                fitting.push(value);
            }
            if fitting.len() >= 3 {
                break;
            }
        }
        Ok(fitting)
    }

    /// Constraints that have columns in common, so that their values must be found together.
    fn groups(&self) -> Vec<Vec<&Check>> {
        let mut groups: Vec<(BTreeSet<&Ident>, Vec<&Check>)> = Vec::new();
        for check in self.checks.iter().filter(|check| !check.columns.is_empty()) {
            let mut own: (BTreeSet<&Ident>, Vec<&Check>) =
                (check.columns.iter().collect(), vec![check]);
            for (columns, checks) in std::mem::take(&mut groups) {
                if columns.is_disjoint(&own.0) {
                    groups.push((columns, checks));
                } else {
                    own.0.extend(columns);
                    own.1.extend(checks);
                }
            }
            groups.push(own);
        }
        groups.into_iter().map(|(_, checks)| checks).collect()
    }

    /// Values of a column, the most natural first.
    fn candidates(
        &self,
        column: &Column,
        given: &Known,
        in_domain: &BTreeMap<Ident, Vec<String>>,
        clues: &Clues,
    ) -> Vec<Candidate> {
        if let Some(value) = given.get(&column.name) {
            return vec![Candidate::Given(value.clone())];
        }
        let null = sql!("NULL::{}", Sql::from_catalog(&column.type_name));
        if column.fill == Fill::Always {
            return vec![Candidate::Omitted(null)];
        }
        let mut found = Vec::new();
        match self.defaults.get(&column.name) {
            // What counts on is not asked just to look.
            Some(default) if !default.contains("nextval(") => found.push(Candidate::Omitted(sql!(
                "({})::{}",
                Sql::from_catalog(default),
                Sql::from_catalog(&column.type_name)
            ))),
            Some(_) => {}
            None if column.not_null => {}
            None => found.push(Candidate::Omitted(null)),
        }
        if let Some(fitting) = in_domain.get(&column.name) {
            found.extend(fitting.iter().cloned().map(Candidate::Given));
            return found;
        }
        let kind = self.kind(column);
        let values = guess::first(&kind).into_iter().chain(guess::others(
            column.name.as_str(),
            &kind,
            clues,
        ));
        found.extend(values.map(Candidate::Given));
        found
    }
}

/// Finds one value for each column, so that all checks hold; those that stand first are preferred.
async fn search(
    session: &Session,
    table: &Ident,
    columns: &[&Column],
    mut lists: Vec<Vec<Candidate>>,
    checks: &[&Check],
    enter: &[Sql],
) -> Result<Option<Vec<Candidate>>, Error> {
    if lists.iter().any(Vec::is_empty) {
        return Ok(None);
    }
    shorten(&mut lists, COMBINATIONS);
    if let Ok(found) = fulfilled(session, table, columns, &lists, checks, enter).await? {
        return Ok(found);
    }
    // Some value makes an expression fail, which ends the whole statement.
    for choice in choices(&lists).into_iter().take(SINGLY) {
        let single: Vec<Vec<Candidate>> =
            lists.iter().zip(choice).map(|(list, at)| vec![list[at].clone()]).collect();
        if let Ok(Some(found)) = fulfilled(session, table, columns, &single, checks, enter).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Asks the server for a combination that fulfils all checks; `Err` when asking is an error.
async fn fulfilled(
    session: &Session,
    table: &Ident,
    columns: &[&Column],
    lists: &[Vec<Candidate>],
    checks: &[&Check],
    enter: &[Sql],
) -> Result<Result<Option<Vec<Candidate>>, ()>, Error> {
    let mut sources = Vec::new();
    let mut fields = Vec::new();
    let mut places = Vec::new();
    for (number, (column, list)) in columns.iter().zip(lists).enumerate() {
        let source = Ident::new(format!("source{number}"))?;
        let values: Vec<Sql> = (0_i64..)
            .zip(list)
            .map(|(at, candidate)| match candidate {
                Candidate::Omitted(value) => sql!("({}, {})", at, value),
                Candidate::Given(value) => {
                    sql!("({}, {})", at, super::canary::typed(column, value))
                }
            })
            .collect();
        sources.push(sql!("(VALUES {}) AS {} (at, value)", List(&values), source));
        fields.push(sql!("{}.value AS {}", source, column.name));
        places.push(sql!("{}.at", source));
    }
    let conditions = checks
        .iter()
        .map(|check| sql!("({}) IS NOT FALSE", Sql::from_catalog(&check.expression)))
        .reduce(|all, one| sql!("{} AND {}", all, one))
        .unwrap_or_else(|| sql!("true"));
    // A place that is far behind is worse than two that are a little behind.
    let cost = places
        .iter()
        .map(|place| sql!("{} * {}", place, place))
        .reduce(|sum, one| sql!("{} + {}", sum, one))
        .unwrap_or_else(|| sql!("1"));
    let mut script = enter.to_vec();
    script.push(sql!(
        "SELECT {} FROM {} WHERE (SELECT {} FROM (SELECT {}) AS {}) ORDER BY {} LIMIT 1",
        List(&places),
        List(&sources),
        conditions,
        List(&fields),
        table,
        cost
    ));
    let answer = session.attempt(&script).await?;
    let Some(done) = answer.last() else { return Ok(Err(())) };
    let Some(first) = done.rows.first() else { return Ok(Ok(None)) };
    Ok(Ok(first
        .iter()
        .zip(lists)
        .map(|(at, list)| list.get(at.as_deref()?.parse::<usize>().ok()?).cloned())
        .collect()))
}

/// Cuts the longest lists until there are no more combinations than that.
fn shorten(lists: &mut [Vec<Candidate>], most: usize) {
    while lists.iter().map(Vec::len).try_fold(1_usize, usize::checked_mul).is_none_or(|n| n > most)
    {
        let Some(longest) = lists.iter_mut().max_by_key(|list| list.len()) else { return };
        longest.pop();
    }
}

/// All combinations of places, those near the beginning of all lists first.
fn choices(lists: &[Vec<Candidate>]) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for list in lists {
        all = all
            .into_iter()
            .flat_map(|choice: Vec<usize>| {
                (0..list.len()).map(move |at| choice.iter().copied().chain([at]).collect())
            })
            .collect();
    }
    all.sort_by_key(|choice: &Vec<usize>| choice.iter().map(|at| at * at).sum::<usize>());
    all
}

/// A value of a composite type, all of whose columns are empty.
pub(super) fn null_row(column: &Column) -> Sql {
    sql!(
        "pg_catalog.jsonb_populate_record(NULL::{}, {})",
        Sql::from_catalog(&column.type_name),
        Literal("{}")
    )
}
