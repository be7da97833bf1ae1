//! Which tenants a command works on.

use crate::error::{Code, Error};
use crate::model::tenant::{Tenant, TenantId};

/// What the command line selects. Without anything: every tenant.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// `--tenant`.
    pub tenants: Vec<TenantId>,
    /// `--exclude`.
    pub exclude: Vec<TenantId>,
    /// `--selector`.
    pub selector: Option<Selector>,
}

impl Selection {
    /// Whether it names tenants, or says in which state they are.
    pub fn asks_for_state(&self) -> bool {
        let by_state = |selector: &Selector| selector.0.iter().any(|one| one.name == "state");
        !self.tenants.is_empty() || self.selector.as_ref().is_some_and(by_state)
    }

    /// Picks from the fleet's tenants, keeping their order.
    ///
    /// # Errors
    ///
    /// [`Code::NotFound`] for an id that does not exist, with the ids that look like it, and for
    /// a selection that nobody fits: a check of nothing must not pass.
    pub fn pick(&self, tenants: Vec<Tenant>) -> Result<Vec<Tenant>, Error> {
        for id in self.tenants.iter().chain(&self.exclude) {
            if !tenants.iter().any(|tenant| tenant.id == *id) {
                return Err(unknown(id, &tenants));
            }
        }
        let fleet = tenants.len();
        let picked: Vec<Tenant> = tenants
            .into_iter()
            .filter(|tenant| self.tenants.is_empty() || self.tenants.contains(&tenant.id))
            .filter(|tenant| !self.exclude.contains(&tenant.id))
            .filter(|tenant| self.selector.as_ref().is_none_or(|selector| selector.fits(tenant)))
            .collect();
        if picked.is_empty() && fleet > 0 {
            return Err(Error::new(Code::NotFound, "no tenant fits the selection").hint(
                "see ids, tiers and states with tenantctl list, and labels with tenantctl show ID",
            ));
        }
        Ok(picked)
    }
}

/// An id that nobody has.
pub(super) fn unknown(id: &TenantId, tenants: &[Tenant]) -> Error {
    let mut near: Vec<(usize, &str)> = tenants
        .iter()
        .map(|tenant| (distance(id.as_str(), tenant.id.as_str()), tenant.id.as_str()))
        .filter(|(distance, _)| *distance <= 3)
        .collect();
    near.sort_unstable();
    let error = Error::new(Code::NotFound, format!("there is no tenant {id}"));
    if near.is_empty() {
        error.hint("see them all with: tenantctl list")
    } else {
        let names: Vec<&str> = near.into_iter().take(3).map(|(_, name)| name).collect();
        error.hint(format!("did you mean {}?", names.join(" or ")))
    }
}

/// The Levenshtein distance of two words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = i;
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let substituted = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = substituted.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

/// Conditions that must all hold: `tier=pro,region!=us,wave=canary`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector(Vec<Condition>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Condition {
    name: String,
    equal: bool,
    value: String,
}

impl std::str::FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        text.split(',')
            .map(|condition| {
                let (name, equal, value) = match condition.split_once("!=") {
                    Some((name, value)) => (name, false, value),
                    None => match condition.split_once('=') {
                        Some((name, value)) => (name, true, value),
                        None => ("", true, ""),
                    },
                };
                let (name, value) = (name.trim().to_owned(), value.trim().to_owned());
                if name.is_empty() {
                    return Err(Error::new(
                        Code::Usage,
                        format!("{condition:?} is not a condition of a selector"),
                    )
                    .hint("write name=value or name!=value, with commas between: tier=pro,wave=canary"));
                }
                Ok(Condition { name, equal, value })
            })
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// As it is typed.
impl std::fmt::Display for Selector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, condition) in self.0.iter().enumerate() {
            let Condition { name, equal, value } = condition;
            let comma = if at == 0 { "" } else { "," };
            let sign = if *equal { "=" } else { "!=" };
            write!(f, "{comma}{name}{sign}{value}")?;
        }
        Ok(())
    }
}

impl Selector {
    pub(super) fn fits(&self, tenant: &Tenant) -> bool {
        self.0.iter().all(|condition| {
            let value = match condition.name.as_str() {
                "id" => Some(tenant.id.as_str()),
                "isolation" => Some(tenant.isolation.word()),
                "cluster" => Some(tenant.placement.cluster.as_str()),
                "database" => Some(tenant.placement.database.as_str()),
                "schema" => Some(tenant.placement.schema.as_str()),
                "tier" => tenant.tier.as_deref(),
                "region" => tenant.region.as_deref(),
                "state" => Some(tenant.state.word()),
                label => tenant.labels.get(label).map(String::as_str),
            };
            (value == Some(condition.value.as_str())) == condition.equal
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::model::ident::Ident;
    use crate::model::tenant::{ClusterName, Isolation, Placement, State};

    fn tenant(id: &str, tier: Option<&str>, labels: &[(&str, &str)]) -> Tenant {
        Tenant {
            id: TenantId::new(id).unwrap(),
            uuid: uuid::Uuid::nil(),
            key: "k".into(),
            isolation: Isolation::Schema,
            placement: Placement {
                cluster: ClusterName::new("eu-1").unwrap(),
                database: Ident::new("app").unwrap(),
                schema: Ident::new(format!("tenant_{id}")).unwrap(),
            },
            owner: Ident::new("o").unwrap(),
            roles: vec![Ident::new("r").unwrap()],
            tier: tier.map(str::to_owned),
            region: None,
            labels: labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
            state: State::Active,
        }
    }

    fn picked(selection: &Selection) -> Vec<String> {
        let fleet = vec![
            tenant("acme", Some("pro"), &[("wave", "canary")]),
            tenant("bolt", None, &[]),
            tenant("corp", Some("pro"), &[]),
        ];
        selection.pick(fleet).unwrap().iter().map(|tenant| tenant.id.to_string()).collect()
    }

    #[test]
    fn nothing_selects_everything_and_conditions_all_hold() {
        assert_eq!(picked(&Selection::default()), ["acme", "bolt", "corp"]);
        let by = |text: &str| Selection {
            selector: Some(text.parse().unwrap()),
            ..Selection::default()
        };
        assert_eq!(picked(&by("tier=pro")), ["acme", "corp"]);
        assert_eq!(picked(&by("tier=pro,wave!=canary")), ["corp"]);
        assert_eq!(picked(&by("tier!=pro")), ["bolt"]);
        let nobody = by("isolation=database").pick(vec![tenant("acme", None, &[])]).unwrap_err();
        assert_eq!(nobody.code, Code::NotFound);
        assert!("tier".parse::<Selector>().is_err());
    }

    #[test]
    fn an_unknown_id_names_its_neighbours() {
        let selection =
            Selection { tenants: vec![TenantId::new("acne").unwrap()], ..Selection::default() };
        let error = selection.pick(vec![tenant("acme", None, &[])]).unwrap_err();
        assert_eq!(error.code, Code::NotFound);
        assert_eq!(error.hints, ["did you mean acme?"]);
    }
}
