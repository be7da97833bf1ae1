//! Explains one rule, or lists all.

use crate::error::{Code, Error};
use crate::report::{Explained, Report};

/// Explains a rule of `verify-rls` or of `migrate lint`; lists every rule when none is named.
///
/// # Errors
///
/// [`Code::NotFound`] with the rules whose names are like it.
pub fn explain(id: Option<&str>) -> anyhow::Result<Report> {
    let all = Explained::all();
    let Some(id) = id else { return Ok(Report::Rules(all)) };
    if let Some(rule) = Explained::find(id) {
        return Ok(Report::Rule(rule));
    }
    let error = Error::new(Code::NotFound, format!("there is no rule {id:?}"));
    let like = like(id, &all);
    let hint = if like.is_empty() {
        "tenantctl explain lists every rule".to_owned()
    } else {
        format!("did you mean {}? tenantctl explain lists every rule", like.join(" or "))
    };
    Err(error.hint(hint).into())
}

/// The rules that share a word with a name that is none, those with most words first; at most three.
fn like(id: &str, all: &[Explained]) -> Vec<&'static str> {
    let words: Vec<&str> =
        id.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| word.len() > 2).collect();
    let shared = |rule: &Explained| {
        words.iter().filter(|word| rule.id.split('-').any(|part| alike(word, part))).count()
    };
    let mut ranked: Vec<(usize, &'static str)> =
        all.iter().map(|rule| (shared(rule), rule.id)).filter(|(shared, _)| *shared > 0).collect();
    ranked.sort_by_key(|(shared, id)| (std::cmp::Reverse(*shared), *id));
    ranked.into_iter().take(3).map(|(_, id)| id).collect()
}

/// Whether two words are the same, or begin alike.
fn alike(a: &str, b: &str) -> bool {
    let (a, b) = (a.to_ascii_lowercase(), b.to_ascii_lowercase());
    a == b || (a.len() > 3 && b.len() > 3 && (a.starts_with(&b[..4]) || b.starts_with(&a[..4])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_none_leads_to_those_like_it() {
        let all = Explained::all();
        assert_eq!(like("rls-disable", &all).first(), Some(&"rls-disabled"));
        assert_eq!(like("superuser-role", &all).first(), Some(&"role-superuser"));
        assert!(like("ß", &all).is_empty());
    }
}
