//! What is wrong with migration files, listed for a person to work through.

use std::fmt;

use crate::error::{Code, Error, Location};
use crate::sql::position::Position;

/// One thing that is wrong with one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file, as a person names it.
    pub path: String,
    /// Where in the file, unless it is the file as a whole or its name.
    pub position: Option<Position>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub fix: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "{}:{position}: {}", self.path, self.what),
            None => write!(f, "{}: {}", self.path, self.what),
        }
    }
}

/// Everything that is wrong with a set; the source of the [`Error`] that [`refuse`] makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    /// One line for each problem, in the form `file:line:column: what` that editors can follow.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, problem) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Makes one failure of all problems: the count is the message, the list its source, the fixes its
/// hints (each once, since many files often share one).
pub fn refuse(set: &str, mut problems: Vec<Problem>) -> Error {
    problems.sort_by(|a, b| (&a.path, a.position).cmp(&(&b.path, b.position)));
    let mut files: Vec<_> = problems.iter().map(|problem| problem.path.as_str()).collect();
    files.dedup();
    let mut error = Error::new(
        Code::Migrations,
        format!(
            "use {set}: {} in {}",
            counted(problems.len(), "problem"),
            counted(files.len(), "file")
        ),
    );
    for problem in &problems {
        if !error.hints.contains(&problem.fix) {
            error.hints.push(problem.fix.clone());
        }
    }
    let first = problems.iter().find_map(|problem| {
        problem.position.map(|position| Location {
            file: problem.path.clone(),
            line: position.line,
            column: position.column,
        })
    });
    let error = error.because(Problems(problems));
    match first {
        Some(location) => error.at(location),
        None => error,
    }
}

fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}
