//! What is in force, and who said so.

use std::collections::BTreeMap;

use crate::config::{Fleet, Layout};
use crate::model::connection::Origin;
use crate::model::layout::Template;
use crate::model::tenant::Isolation;
use crate::report::{Configuration, Report, ShownCluster, ShownValue};

/// Shows the configuration. Connects to nothing.
pub fn configuration(fleet: &Fleet) -> Report {
    let clusters = fleet
        .clusters
        .iter()
        .map(|(name, cluster)| ShownCluster {
            name: name.to_string(),
            region: cluster.region.clone(),
            max_connections: cluster.max_connections,
            parameters: cluster.connection.describe(),
            warnings: cluster.connection.warnings.clone(),
        })
        .collect();
    let mut values = BTreeMap::new();
    for isolation in Isolation::ALL {
        let directory = fleet
            .migrations
            .get(&isolation)
            .map_or_else(|| "compiled in".to_owned(), |path| path.display().to_string());
        values.insert(format!("migrations.{isolation}"), directory);
        layout(&mut values, isolation, fleet.layout(isolation));
    }
    values.insert("registry.cluster".to_owned(), fleet.registry.0.to_string());
    values.insert("registry.database".to_owned(), fleet.registry.1.as_str().to_owned());
    let days = fleet.password_age.as_hours() / 24;
    values.insert("credentials.max_age".to_owned(), format!("{days}d"));
    for (name, tier) in &fleet.tiers {
        let at = |key: &str| format!("tiers.{name}.{key}");
        if let Some(isolation) = tier.isolation {
            values.insert(at("isolation"), isolation.to_string());
        }
        if let Some(limit) = tier.limits.connection_limit {
            values.insert(at("connection_limit"), limit.to_string());
        }
        for (setting, value) in &tier.limits.settings {
            values.insert(at(setting), value.clone());
        }
    }
    let values = values.into_iter().map(|(path, value)| shown(fleet, path, value)).collect();
    Report::Configuration(Configuration { file: fleet.file.clone(), clusters, values })
}

/// A value and who said so. Directories that the file does not set, and that are not compiled in,
/// come from the flag.
fn shown(fleet: &Fleet, path: String, value: String) -> ShownValue {
    let origin = match &fleet.file {
        Some(file) if fleet.given.contains(&path) => Origin::File(file.clone()),
        _ if path.starts_with("migrations.") && value != "compiled in" => {
            Origin::Flag("--migrations".to_owned())
        }
        _ => Origin::Default,
    };
    ShownValue { path, value, origin }
}

fn layout(values: &mut BTreeMap<String, String>, isolation: Isolation, layout: &Layout) {
    let mut put = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            values.insert(format!("isolation.{isolation}.{key}"), value);
        }
    };
    let roles: Vec<&str> = layout.roles.iter().map(Template::as_str).collect();
    put("database", layout.database.as_ref().map(ToString::to_string));
    put("schema", Some(layout.schema.to_string()));
    put("owner", Some(layout.owner.to_string()));
    put("role", Some(roles.join(", ")));
    put("readonly_role", layout.readonly.as_ref().map(ToString::to_string));
    put("login_role", layout.login_role.as_ref().map(|role| role.as_str().to_owned()));
    if let Some(sharing) = &layout.sharing {
        put("column", Some(sharing.tenancy.column.as_str().to_owned()));
        put("setting", Some(sharing.tenancy.setting.to_string()));
        put("key_type", Some(sharing.key_type.word().to_owned()));
    }
}
