//! Which names are tenants, and what their ids are.

use std::collections::BTreeMap;

use crate::error::{Code, Error};
use crate::model::tenant::TenantId;

/// So many names are told in a refusal.
const NAMED: usize = 10;

/// A pattern of names: the one `*` stands for the tenant's id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamePattern {
    before: String,
    after: String,
}

impl NamePattern {
    /// What the `*` stands for in a name that fits.
    fn core<'a>(&self, name: &'a str) -> Option<&'a str> {
        name.strip_prefix(self.before.as_str())?
            .strip_suffix(self.after.as_str())
            .filter(|core| !core.is_empty())
    }
}

impl std::str::FromStr for NamePattern {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        match text.split_once('*') {
            Some((before, after)) if !after.contains('*') => {
                Ok(Self { before: before.to_owned(), after: after.to_owned() })
            }
            _ => Err(Error::new(
                Code::Usage,
                format!("{text:?} is no pattern: one * stands for the tenant's id"),
            )
            .hint("for example 'tenant_*'")),
        }
    }
}

/// What a name that is not mapped is.
#[derive(Clone, Copy)]
pub(super) enum Unmapped<'a> {
    /// A tenant, if it fits.
    Fitting(&'a NamePattern),
    /// A tenant of that id.
    Itself,
    /// No tenant.
    Nobody,
}

impl<'a> From<&'a Option<NamePattern>> for Unmapped<'a> {
    fn from(pattern: &'a Option<NamePattern>) -> Self {
        pattern.as_ref().map_or(Self::Nobody, Self::Fitting)
    }
}

/// Gives names their ids, in the order of the ids. A name is what is found; what it is called may be
/// something else.
///
/// # Errors
///
/// [`Code::Refused`] with every name that cannot be an id and is not mapped; [`Code::NotFound`] for
/// a mapped name that is not there; [`Code::NameTaken`] when two names would be one tenant.
pub(super) fn named(
    names: impl Iterator<Item = (String, String)>,
    unmapped: Unmapped<'_>,
    mapped: &BTreeMap<String, TenantId>,
    what: &str,
) -> Result<Vec<(TenantId, String)>, Error> {
    let mut found: BTreeMap<TenantId, String> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut seen = Vec::new();
    for (name, called) in names {
        let id = match (mapped.get(&name), unmapped) {
            (Some(id), _) => Ok(id.clone()),
            (None, Unmapped::Fitting(pattern)) => match pattern.core(&called) {
                Some(core) => TenantId::new(core),
                None => continue,
            },
            (None, Unmapped::Itself) => TenantId::new(called.clone()),
            (None, Unmapped::Nobody) => continue,
        };
        seen.push(name.clone());
        match id {
            Ok(id) => {
                if let Some(other) = found.insert(id.clone(), name.clone()) {
                    return Err(Error::new(
                        Code::NameTaken,
                        format!("{what} {other:?} and {name:?} would both be tenant {id}"),
                    )
                    .hint(format!("give one of them another id: --map '{name}=OTHER'")));
                }
            }
            Err(error) => wrong.push((name, error)),
        }
    }
    if let Some((name, error)) = wrong.first() {
        let names: Vec<String> =
            wrong.iter().take(NAMED).map(|(name, _)| format!("{name:?}")).collect();
        let more = match wrong.len() {
            all if all > NAMED => format!(" and {} more", all - NAMED),
            _ => String::new(),
        };
        return Err(Error::new(
            Code::Refused,
            format!(
                "{what} {}{more} cannot be a tenant as it is called: {}",
                names.join(", "),
                error.message
            ),
        )
        .hint(format!(
            "say what they are called: --map '{name}=ID', or all of them in --map-file"
        )));
    }
    if let Some(name) = mapped.keys().find(|name| !seen.contains(name)) {
        return Err(Error::new(
            Code::NotFound,
            format!("there is no {what} {name:?} to be mapped"),
        ));
    }
    Ok(found.into_iter().collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn ids(
        names: &[&str],
        pattern: &str,
        mapped: &[(&str, &str)],
    ) -> Result<Vec<(String, String)>, Error> {
        let pattern = pattern.parse::<NamePattern>().unwrap();
        let mapped = mapped
            .iter()
            .map(|(name, id)| ((*name).to_owned(), TenantId::new(*id).unwrap()))
            .collect();
        let names = names.iter().map(|name| ((*name).to_owned(), (*name).to_owned()));
        let found = named(names, Unmapped::Fitting(&pattern), &mapped, "schema")?;
        Ok(found.into_iter().map(|(id, name)| (id.to_string(), name)).collect())
    }

    #[test]
    fn the_star_is_the_id_and_a_map_says_otherwise() {
        let names = ["public", "tenant_acme", "tenant_Globex", "tenant_", "legacy"];
        let found =
            ids(&names, "tenant_*", &[("tenant_Globex", "globex"), ("legacy", "old")]).unwrap();
        let expected = [("acme", "tenant_acme"), ("globex", "tenant_Globex"), ("old", "legacy")];
        assert_eq!(found, expected.map(|(id, name)| (id.to_owned(), name.to_owned())));
    }

    #[test]
    fn names_that_cannot_be_ids_are_all_refused_at_once() {
        let error = ids(&["tenant_A", "tenant_9", "tenant_ok"], "tenant_*", &[]).unwrap_err();
        assert_eq!(error.code, Code::Refused);
        assert!(error.message.contains("\"tenant_A\", \"tenant_9\""), "{error}");
        let twice = ids(&["tenant_a", "tenant_A"], "tenant_*", &[("tenant_A", "a")]).unwrap_err();
        assert_eq!(twice.code, Code::NameTaken);
        let gone = ids(&["tenant_a"], "tenant_*", &[("tenant_b", "b")]).unwrap_err();
        assert_eq!(gone.code, Code::NotFound);
        assert!("a_*_*".parse::<NamePattern>().is_err());
    }
}
