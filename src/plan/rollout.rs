//! What a run of migrations would do, as a document that can be kept, and held against the fleet later.
//!
//! It holds no time and no chance: the same fleet and files give the same document, byte for byte.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::error::{Code, Error};
use crate::model::migration::{History, MigrationSet, Version};
use crate::model::structure::Fact;
use crate::model::tenant::{Isolation, TenantId};

/// The number of the format of the document.
const FORMAT: u32 = 1;

/// What would be done, to whom, with which files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    /// What was asked for.
    pub asked: Asked,
    /// The files, by isolation model; only models that somebody of the targets has.
    pub sets: Vec<PlannedSet>,
    /// Every selected tenant, in the order of their ids, those with nothing to do as well.
    pub targets: Vec<PlannedTarget>,
}

/// A selection of tenants, and a version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Asked {
    /// `--tenant`.
    pub tenants: Vec<TenantId>,
    /// `--exclude`.
    pub exclude: Vec<TenantId>,
    /// `--selector`.
    pub selector: Option<String>,
    /// `--to`.
    pub to: Option<i64>,
}

/// The files of one isolation model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedSet {
    /// The model.
    pub isolation: Isolation,
    /// Over all files of the set.
    pub fingerprint: String,
    /// The files that somebody still needs, by version.
    pub files: Vec<PlannedFile>,
}

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedFile {
    /// Its version.
    pub version: i64,
    /// What its name says.
    pub name: String,
    /// refinery's checksum, as the history will record it.
    pub checksum: String,
}

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedTarget {
    /// Its id.
    pub tenant: TenantId,
    /// The identity that never changes.
    pub uuid: Uuid,
    /// How it is isolated.
    pub isolation: Isolation,
    /// Where it lives: the cluster,
    pub cluster: String,
    /// the database,
    pub database: String,
    /// and the schema.
    pub schema: String,
    /// Its version.
    pub from: Option<i64>,
    /// Over every row of its history.
    pub history: String,
    /// What would be applied, in order.
    pub pending: Vec<i64>,
    /// Why it would be left alone: `history-diverged`, `not-found`, …
    pub problem: Option<String>,
}

/// The document, as it is written.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    tool: String,
    fingerprint: String,
    #[serde(flatten)]
    rollout: Rollout,
}

impl Rollout {
    /// A number that changes with anything in the plan.
    pub fn fingerprint(&self) -> String {
        // Serialising plain structures into memory cannot fail.
        digest(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The plan as a file.
    pub fn document(&self, tool: &str) -> String {
        let document = Document {
            format: FORMAT,
            tool: tool.to_owned(),
            fingerprint: self.fingerprint(),
            rollout: self.clone(),
        };
        serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
    }

    /// Reads a plan from a file's text.
    ///
    /// # Errors
    ///
    /// [`Code::Config`] when it is no plan, when a newer tenantctl wrote it, and when it was edited.
    pub fn read(text: &str) -> Result<Self, Error> {
        let again = "make it again with: tenantctl migrate plan -O FILE";
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| {
            Error::new(Code::Config, "read the plan: it is not JSON").because(error).hint(again)
        })?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => {}
            Some(format) if format > u64::from(FORMAT) => {
                return Err(Error::new(
                    Code::Config,
                    format!(
                        "read the plan: it has format {format}, and this tenantctl knows {FORMAT}"
                    ),
                )
                .hint("use the tenantctl that wrote it"));
            }
            _ => {
                let what = "read the plan: it is not a plan of migrations";
                return Err(Error::new(Code::Config, what).hint(again));
            }
        }
        let document: Document = serde_json::from_str(text).map_err(|error| {
            let what = "read the plan: it is not a plan of migrations";
            Error::new(Code::Config, what).because(error).hint(again)
        })?;
        if document.rollout.fingerprint() != document.fingerprint {
            let what = "read the plan: it was changed after it was written";
            return Err(Error::new(Code::Config, what).hint(again));
        }
        Ok(document.rollout)
    }

    /// Targets that would be brought from one version to another in the same way, the largest first.
    pub fn groups(&self) -> Vec<RolloutGroup<'_>> {
        let mut groups: BTreeMap<_, Vec<&PlannedTarget>> = BTreeMap::new();
        for target in self.targets.iter().filter(|target| target.problem.is_none()) {
            let key = (target.isolation, target.from, target.pending.as_slice());
            groups.entry(key).or_default().push(target);
        }
        groups
            .into_iter()
            .map(|((isolation, from, pending), targets)| RolloutGroup {
                isolation,
                from: from.map(Version),
                to: pending.iter().max().copied().max(from).map(Version),
                pending,
                targets,
            })
            .collect()
    }
}

/// Targets for which the same would be done.
#[derive(Clone, Debug)]
pub struct RolloutGroup<'a> {
    /// How they are isolated.
    pub isolation: Isolation,
    /// Their version.
    pub from: Option<Version>,
    /// The version that they would have.
    pub to: Option<Version>,
    /// What would be applied.
    pub pending: &'a [i64],
    /// Who they are.
    pub targets: Vec<&'a PlannedTarget>,
}

/// The files of a set of which somebody needs some.
pub fn planned_set(isolation: Isolation, set: &MigrationSet, needed: &[i64]) -> PlannedSet {
    let files = set.migrations().iter().filter(|one| needed.contains(&one.version.0));
    PlannedSet {
        isolation,
        fingerprint: format!("{:016x}", set.fingerprint()),
        files: files
            .map(|file| PlannedFile {
                version: file.version.0,
                name: file.name.clone(),
                checksum: file.checksum.to_string(),
            })
            .collect(),
    }
}

/// A number that changes with any row of a history.
pub fn history_fingerprint(history: &History) -> String {
    let mut text = String::new();
    for fact in Fact::of_history(history) {
        text.push_str(&format!("{} {}\n", fact.object, fact.definition));
    }
    digest(text.as_bytes()).chars().take(16).collect()
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Everything that is no longer as it was planned, in words; nothing when the plan still holds.
pub fn moved(planned: &Rollout, observed: &Rollout) -> Vec<String> {
    let mut moved = Vec::new();
    for set in &planned.sets {
        // When nobody of a model is left, each of them is named below.
        if let Some(other) = observed.sets.iter().find(|other| other.isolation == set.isolation) {
            moved.extend(files_moved(set, other));
        }
    }
    let mut others: BTreeMap<&TenantId, &PlannedTarget> =
        observed.targets.iter().map(|target| (&target.tenant, target)).collect();
    for target in &planned.targets {
        match others.remove(&target.tenant) {
            Some(other) => moved.extend(target_moved(target, other)),
            None => moved.push(format!("tenant {} is gone, or no longer selected", target.tenant)),
        }
    }
    moved.extend(others.keys().map(|id| format!("tenant {id} is selected, and was not planned")));
    if moved.is_empty() && planned != observed {
        moved.push("the selection, or the version that was asked for, is another".to_owned());
    }
    moved
}

fn files_moved(planned: &PlannedSet, observed: &PlannedSet) -> Vec<String> {
    if planned == observed {
        return Vec::new();
    }
    let isolation = planned.isolation;
    let mut moved = Vec::new();
    for file in &planned.files {
        let PlannedFile { version, name, checksum } = file;
        match observed.files.iter().find(|other| other.version == *version) {
            Some(other) if other.name != *name => {
                moved.push(format!(
                    "V{version}__{name} of model {isolation} is now V{version}__{}",
                    other.name
                ));
            }
            Some(other) if other.checksum != *checksum => {
                moved.push(format!("V{version}__{name} of model {isolation} was edited"));
            }
            Some(_) => {}
            None if planned.fingerprint == observed.fingerprint => {
                moved.push(format!(
                    "V{version}__{name} is no longer pending for anybody of model {isolation}"
                ));
            }
            None => moved.push(format!(
                "V{version}__{name} of model {isolation} is gone, or no longer pending"
            )),
        }
    }
    for file in &observed.files {
        if !planned.files.iter().any(|other| other.version == file.version) {
            moved.push(format!(
                "V{}__{} of model {isolation} is pending, and was not planned",
                file.version, file.name
            ));
        }
    }
    if moved.is_empty() {
        moved
            .push(format!("the files of model {isolation} changed, beside those that are pending"));
    }
    moved
}

fn target_moved(planned: &PlannedTarget, observed: &PlannedTarget) -> Option<String> {
    let id = &planned.tenant;
    let place = |target: &PlannedTarget| {
        format!("{}/{}/{} ({})", target.cluster, target.database, target.schema, target.isolation)
    };
    let version = |version: Option<i64>| version.map_or("nothing".to_owned(), |v| format!("V{v}"));
    if planned.uuid != observed.uuid {
        return Some(format!("tenant {id} is another one of that name (uuid {})", observed.uuid));
    }
    if place(planned) != place(observed) {
        return Some(format!("tenant {id} moved from {} to {}", place(planned), place(observed)));
    }
    if planned.problem != observed.problem {
        let now = observed.problem.as_deref().unwrap_or("no problem any more");
        return Some(format!("tenant {id} stands otherwise: {now}"));
    }
    if planned.from != observed.from {
        let (was, is) = (version(planned.from), version(observed.from));
        return Some(format!("tenant {id} was at {was}, and is at {is}"));
    }
    if planned.history != observed.history {
        return Some(format!("the history of tenant {id} was rewritten"));
    }
    (planned.pending != observed.pending)
        .then(|| format!("for tenant {id} something else is pending"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;
    use proptest::prelude::*;

    fn target(id: &str, from: i64) -> PlannedTarget {
        PlannedTarget {
            tenant: TenantId::new(id).unwrap(),
            uuid: Uuid::nil(),
            isolation: Isolation::Schema,
            cluster: "main".to_owned(),
            database: "app".to_owned(),
            schema: format!("tenant_{id}"),
            from: Some(from),
            history: format!("{from:016x}"),
            pending: (from + 1..=3).collect(),
            problem: None,
        }
    }

    fn rollout(targets: Vec<PlannedTarget>) -> Rollout {
        let files = (2..=3)
            .map(|version| PlannedFile {
                version,
                name: "step".to_owned(),
                checksum: version.to_string(),
            })
            .collect();
        let set = PlannedSet { isolation: Isolation::Schema, fingerprint: "f".to_owned(), files };
        Rollout { asked: Asked::default(), sets: vec![set], targets }
    }

    #[test]
    fn a_plan_is_read_as_it_was_written() {
        let plan = rollout(vec![target("acme", 1)]);
        let text = plan.document("tenantctl 1");
        assert_eq!(Rollout::read(&text).unwrap(), plan);
        assert_eq!(text, plan.document("tenantctl 1"));
    }

    #[test]
    fn what_is_no_plan_is_refused_with_the_reason() {
        let text = rollout(vec![target("acme", 1)]).document("tenantctl 1");
        for (bad, reason) in [
            ("[".to_owned(), "not JSON"),
            ("{}".to_owned(), "not a plan"),
            (text.replace("\"format\": 1", "\"format\": 2"), "format 2"),
            (text.replace("\"from\": 1", "\"from\": 2"), "changed after"),
            (text.replace("\"from\"", "\"form\""), "not a plan"),
        ] {
            let error = Rollout::read(&bad).unwrap_err();
            assert!(error.message.contains(reason), "{reason}: {error}");
            assert_eq!(error.code, Code::Config);
        }
    }

    type Change = fn(&mut Rollout);

    #[test]
    fn whatever_moved_is_named() {
        let plan = rollout(vec![target("acme", 1), target("bolt", 1)]);
        let changes: [(Change, &str); 10] = [
            (
                |r| r.sets[0].files[0].checksum = "x".to_owned(),
                "V2__step of model schema was edited",
            ),
            (
                |r| r.sets[0].files[1].name = "other".to_owned(),
                "V3__step of model schema is now V3__other",
            ),
            (|r| r.sets[0].fingerprint = "x".to_owned(), "the files of model schema changed"),
            (|r| r.targets[0].from = Some(2), "tenant acme was at V1, and is at V2"),
            (|r| r.targets[0].history = "x".to_owned(), "the history of tenant acme was rewritten"),
            (
                |r| r.targets[1].cluster = "us".to_owned(),
                "tenant bolt moved from main/app/tenant_bolt",
            ),
            (|r| r.targets[1].uuid = Uuid::max(), "tenant bolt is another one"),
            (|r| drop(r.targets.pop()), "tenant bolt is gone"),
            (|r| r.targets.push(target("corp", 1)), "tenant corp is selected, and was not planned"),
            (|r| r.asked.to = Some(3), "the version that was asked for"),
        ];
        for (change, expected) in changes {
            let mut now = plan.clone();
            change(&mut now);
            let moved = moved(&plan, &now);
            assert_eq!(moved.len(), 1, "{expected}: {moved:?}");
            assert!(moved[0].contains(expected), "{expected}: {moved:?}");
        }
    }

    #[test]
    fn equal_tenants_are_one_group() {
        let plan = rollout(vec![target("a", 1), target("b", 3), target("c", 1)]);
        let groups = plan.groups();
        let sizes: Vec<usize> = groups.iter().map(|group| group.targets.len()).collect();
        assert_eq!(sizes, [2, 1]);
        assert_eq!((groups[0].to, groups[1].to), (Some(Version(3)), Some(Version(3))));
    }

    proptest! {
        #[test]
        fn a_plan_holds_exactly_as_long_as_nothing_moves(
            one in prop::collection::btree_map("[a-d]", 1_i64..4, 0..4),
            other in prop::collection::btree_map("[a-d]", 1_i64..4, 0..4)
        ) {
            let plan = |from: &BTreeMap<String, i64>| {
                rollout(from.iter().map(|(id, version)| target(id, *version)).collect())
            };
            let (planned, observed) = (plan(&one), plan(&other));
            prop_assert_eq!(moved(&planned, &observed).is_empty(), one == other);
            prop_assert_eq!(planned.fingerprint() == observed.fingerprint(), one == other);
            prop_assert_eq!(Rollout::read(&planned.document("t")).unwrap(), planned);
        }
    }
}
