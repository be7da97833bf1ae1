//! `tenantctl adopt`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::app::App;
use super::args::{self, Model};
use crate::error::{Code, Error};
use crate::model::ident::{Ident, QualifiedName};
use crate::model::tenant::{ClusterName, Isolation, TenantId};
use crate::ops::{self, AdoptOptions, NamePattern, Quarry};
use crate::report::Report;

/// Enter tenants that something else has made into the registry, and say how they differ
///
/// Owner, roles and version are found out; nothing is changed in them. The one * of a pattern
/// stands for the tenant's id.
#[derive(clap::Args)]
pub(super) struct Args {
    /// Schemas that are a tenant each, such as 'tenant_*'
    #[arg(long, value_name = "PATTERN", value_parser = pattern, group = "quarry")]
    schema_pattern: Option<NamePattern>,
    /// Databases that are a tenant each, such as 'customer_*'
    #[arg(long, value_name = "PATTERN", value_parser = pattern, group = "quarry")]
    database_pattern: Option<NamePattern>,
    /// The column with the keys of tenants of shared tables: TABLE.COLUMN or SCHEMA.TABLE.COLUMN
    #[arg(long, value_name = "TABLE.COLUMN", value_parser = column, group = "quarry")]
    keys_from: Option<Column>,
    /// The column of the same table with what tenants are called; otherwise their keys are their ids
    #[arg(long, value_name = "COLUMN", requires = "keys_from")]
    ids_from: Option<String>,
    /// How they are isolated, when only --map says which they are
    #[arg(long, value_enum, value_name = "MODEL", conflicts_with = "quarry")]
    isolation: Option<Model>,
    /// What a name is called as a tenant; may be repeated
    #[arg(long = "map", value_name = "NAME=ID", value_parser = mapping)]
    mapped: Vec<(String, TenantId)>,
    /// A file with one NAME=ID a line
    #[arg(long, value_name = "FILE")]
    map_file: Option<PathBuf>,
    /// The cluster; otherwise the registry's
    #[arg(long, value_name = "NAME", value_parser = args::cluster)]
    cluster: Option<ClusterName>,
    /// The database of schemas and shared tables; otherwise where new tenants go
    #[arg(long, value_name = "NAME", conflicts_with = "database_pattern")]
    database: Option<String>,
    /// The schema in each tenant's database; otherwise as new tenants have it
    #[arg(long, value_name = "NAME", conflicts_with_all = ["schema_pattern", "keys_from"])]
    schema: Option<String>,
    /// The tier of all of them
    #[arg(long, value_name = "TIER")]
    tier: Option<String>,
    /// The region they must stay in
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// A label of all of them; may be repeated
    #[arg(long = "label", value_name = "NAME=VALUE", value_parser = args::label)]
    labels: Vec<(String, String)>,
    /// Say what would be adopted and how it differs, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// How long to wait for another tenantctl that works on the same tenant
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = args::duration)]
    tenant_lock_wait: Duration,
}

/// A column of a table, which may say its schema.
#[derive(Clone, Debug)]
struct Column {
    schema: Option<Ident>,
    table: Ident,
    name: Ident,
}

fn pattern(text: &str) -> Result<NamePattern, String> {
    text.parse().map_err(args::spoken)
}

fn column(text: &str) -> Result<Column, String> {
    let parts: Vec<Ident> = text
        .split('.')
        .map(|part| Ident::new(part).map_err(args::spoken))
        .collect::<Result<_, _>>()?;
    match parts.as_slice() {
        [table, column] => {
            Ok(Column { schema: None, table: table.clone(), name: column.clone() })
        }
        [schema, table, column] => Ok(Column {
            schema: Some(schema.clone()),
            table: table.clone(),
            name: column.clone(),
        }),
        _ => Err(format!("{text:?} is no column; write TABLE.COLUMN or SCHEMA.TABLE.COLUMN")),
    }
}

/// The name may hold a `=`, an id does not.
fn mapping(text: &str) -> Result<(String, TenantId), String> {
    match text.rsplit_once('=') {
        Some((name, id)) if !name.is_empty() => {
            Ok((name.trim().to_owned(), args::tenant(id.trim())?))
        }
        _ => Err(format!("{text:?} maps nothing; write NAME=ID")),
    }
}

fn read_map(path: &PathBuf) -> Result<Vec<(String, TenantId)>, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::new(Code::Io, format!("read {}", path.display())).because(error))?;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        let line = line.trim();
        !line.is_empty() && !line.starts_with('#')
    });
    lines
        .map(|(at, line)| {
            mapping(line).map_err(|why| {
                Error::new(Code::Usage, format!("{}:{}: {why}", path.display(), at + 1))
            })
        })
        .collect()
}

impl Args {
    pub(super) async fn run(self, app: &App) -> anyhow::Result<Report> {
        let mut mapped: BTreeMap<String, TenantId> = BTreeMap::new();
        if let Some(path) = &self.map_file {
            mapped.extend(read_map(path)?);
        }
        mapped.extend(self.mapped);
        let ids_from = self.ids_from.map(Ident::new).transpose()?;
        app.with_fleet(async |cx| {
            let quarry = match (self.schema_pattern, self.database_pattern, self.keys_from) {
                (Some(pattern), ..) => Quarry::Schemas(Some(pattern)),
                (_, Some(pattern), _) => Quarry::Databases(Some(pattern)),
                (.., Some(Column { schema, table, name })) => {
                    let schema = match schema {
                        Some(schema) => schema,
                        None => Ident::new(cx.fleet.shared.schema.as_str().to_owned())?,
                    };
                    Quarry::Keys {
                        table: QualifiedName::new(schema, table),
                        key: name,
                        name: ids_from,
                    }
                }
                (None, None, None) => match self.isolation.map(Isolation::from) {
                    Some(Isolation::Schema) if !mapped.is_empty() => Quarry::Schemas(None),
                    Some(Isolation::Database) if !mapped.is_empty() => Quarry::Databases(None),
                    _ => {
                        return Err(Error::new(Code::Usage, "say what is to be adopted")
                            .hint("use --schema-pattern, --database-pattern or --keys-from")
                            .hint("or name each with --map, and say --isolation schema or database")
                            .into());
                    }
                },
            };
            let options = AdoptOptions {
                quarry,
                cluster: self.cluster,
                database: self.database.map(Ident::new).transpose()?,
                schema: self.schema.map(Ident::new).transpose()?,
                mapped,
                tier: self.tier,
                region: self.region,
                labels: self.labels.into_iter().collect(),
                dry_run: self.dry_run,
                lock_wait: self.tenant_lock_wait,
            };
            ops::adopt(cx, &options).await
        })
        .await
    }
}
