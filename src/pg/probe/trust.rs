//! Whose code a statement would run.
//!
//! `SET ROLE` is a costume: any function may say `RESET ROLE`, and be what the session is. So code
//! that the application can write never runs while the session may become more than the application.

use crate::audit::Survey;
use crate::model::catalog::Function;
use crate::model::ident::Ident;

/// Why our own session may not act as a role; `None` when it may.
///
/// Triggers, policies, constraints, defaults and operators call functions, which call others: any
/// function that the application owns is one that could be reached.
pub(super) fn distrusted(survey: &Survey<'_>, role: &Ident) -> Option<String> {
    let superuser = survey.catalog.roles.get(&survey.catalog.reader).is_some_and(|r| r.superuser);
    if !superuser {
        return None;
    }
    let function = written_by(survey, role)?;
    Some(format!(
        "{role} can rewrite {}, which might run: probe as a role that is no superuser",
        function.signature()
    ))
}

/// A function that a role can rewrite.
pub(super) fn written_by<'s>(survey: &'s Survey<'_>, role: &Ident) -> Option<&'s Function> {
    let subject = survey.subjects.iter().find(|subject| subject.name == role)?;
    survey.catalog.functions.values().find(|function| subject.closure.contains_key(&function.owner))
}
