//! What an archive of a tenant says of itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::holdings::{HeldTable, Holdings, Reach};
use super::ident::{Ident, QualifiedName};
use super::migration::{History, Version};
use super::tally::{Content, RowSum};
use super::tenant::{Isolation, Tenant};
use crate::error::{Code, Error};

/// The number of the archive's format: it counts changes that an older tenantctl cannot read.
pub const FORMAT: u32 = 1;

/// The name of the file that holds the manifest. It is written last: an archive without it is not
/// whole.
pub const MANIFEST: &str = "manifest.json";

/// How the rows of an archive are written down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Rendering {
    /// COPY's text format: what `import` reads.
    Copy,
    /// One JSON object per line, for a person or another program.
    Ndjson,
    /// CSV with a header, for a person or another program.
    Csv,
}

impl Rendering {
    /// The word in flags and JSON, and the end of file names.
    pub fn word(self) -> &'static str {
        match self {
            Self::Copy => "copy",
            Self::Ndjson => "ndjson",
            Self::Csv => "csv",
        }
    }
}

/// One tenant's data at one moment: who it was, what its schema was, and every table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: u32,
    /// How rows are written down.
    pub rows_as: Rendering,
    /// Who wrote it: `tenantctl 0.1.0`.
    pub tool: String,
    /// When its snapshot was taken, RFC 3339.
    pub made_at: String,
    /// The major version of the server.
    pub server: u32,
    /// The tenant.
    pub tenant: Subject,
    /// The version of its schema.
    pub version: Option<i64>,
    /// The migrations that were applied, in their order.
    pub history: Vec<Step>,
    /// Its tables, in an order in which they can be filled.
    pub tables: Vec<Contents>,
    /// Its sequences; none for a tenant of shared tables, whose sequences are everybody's.
    pub sequences: Vec<Sequence>,
    /// What stood in the same place and is not part of it.
    pub left_out: Vec<LeftOut>,
    /// What `pg_dump` wrote, of a backup: then no table has parts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<Dump>,
}

/// A file that `pg_dump` wrote, in its custom format.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dump {
    /// Its path in the archive.
    pub file: String,
    /// Its length, in bytes.
    pub size: u64,
    /// Its SHA-256, in hexadecimal.
    pub sha256: String,
    /// The major version of the program.
    pub program: u32,
    /// The extensions that it needs and does not hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extensions: Vec<Extension>,
    /// How many large objects it holds, which no table does.
    #[serde(default)]
    pub large_objects: u64,
}

/// An extension of a database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extension {
    /// Its name.
    pub name: String,
    /// The schema that it is in.
    pub schema: String,
    /// Its version.
    pub version: String,
}

/// The tenant that an archive was made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subject {
    /// Its id.
    pub id: String,
    /// Its uuid.
    pub uuid: uuid::Uuid,
    /// Its key in the tenant column of shared tables.
    pub key: String,
    /// How it was isolated.
    pub isolation: Isolation,
    /// The cluster it lived on.
    pub cluster: String,
    /// The database there.
    pub database: String,
    /// The schema there.
    pub schema: String,
    /// Its tier.
    pub tier: Option<String>,
    /// The region that its data must stay in.
    pub region: Option<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// A migration that was applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Its version.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// When it was applied, as refinery wrote it.
    pub applied_on: String,
    /// Its checksum, as refinery wrote it.
    pub checksum: String,
}

/// The rows of one table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Its schema; none when that is the tenant's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// The columns of the rows, in their order. The tenant column is none of them: whose the rows
    /// are, the archive says. Generated columns are none either, unless a person is to read them.
    pub columns: Vec<ArchivedColumn>,
    /// The columns of its primary key.
    pub key: Vec<String>,
    /// The tenant column, when it was a shared table that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_column: Option<String>,
    /// How many rows there are.
    pub rows: u64,
    /// Their length as the server writes them, in bytes.
    pub bytes: u64,
    /// The sum of the rows' digests, in hexadecimal: equal contents have equal sums, whatever the
    /// order of their rows.
    pub digest: String,
    /// The files that hold them, in order; none for no rows.
    pub parts: Vec<Part>,
}

/// A column of an archived table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArchivedColumn {
    /// Its name.
    pub name: String,
    /// Its type, as the server prints it with the tenant's schema as search path.
    #[serde(rename = "type")]
    pub kind: String,
}

/// A file with whole rows of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its path in the archive.
    pub file: String,
    /// How many rows it holds.
    pub rows: u64,
    /// Its length, in bytes.
    pub size: u64,
    /// The SHA-256 of the file as it is, in hexadecimal.
    pub sha256: String,
}

/// Where a sequence stood.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sequence {
    /// Its schema; none when that is the tenant's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<String>,
    /// Its name.
    pub name: String,
    /// The value it stood at.
    pub last_value: i64,
    /// Whether that value was given out.
    pub is_called: bool,
}

/// Something that is not part of an archive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// What it is.
    pub name: String,
    /// Why it is not part of it: `no-tenant`, `foreign-table`, `extension`.
    pub why: String,
}

impl Manifest {
    /// Describes what a tenant has, as it will be written down: the rows are still to come.
    pub fn describe(
        tenant: &Tenant,
        holdings: &Holdings,
        order: &[Vec<QualifiedName>],
        rows_as: Rendering,
    ) -> Self {
        let home = &tenant.placement.schema;
        let shared = tenant.isolation == Isolation::Shared;
        let tables = order
            .iter()
            .flatten()
            .filter_map(|name| {
                Some(Contents::describe(name, holdings.tables.get(name)?, home, rows_as))
            })
            .collect();
        let sequences = holdings
            .sequences
            .iter()
            .filter(|_| !shared)
            .map(|(name, sequence)| Sequence {
                schema: foreign(&name.schema, home),
                name: name.name.as_str().to_owned(),
                last_value: sequence.stands_at.0,
                is_called: sequence.stands_at.1,
            })
            .collect();
        let left_out = holdings
            .outside
            .iter()
            .map(|(name, why)| LeftOut { name: name.to_string(), why: why.word().to_owned() })
            .collect();
        Self {
            format: FORMAT,
            rows_as,
            tool: concat!("tenantctl ", env!("CARGO_PKG_VERSION")).to_owned(),
            made_at: String::new(),
            server: 0,
            tenant: Subject::from(tenant),
            version: holdings.version().map(|version| version.0),
            history: holdings.history.as_ref().map(steps).unwrap_or_default(),
            tables,
            sequences,
            left_out,
            dump: None,
        }
    }

    /// Reads a manifest, and refuses what this tenantctl cannot read.
    ///
    /// # Errors
    ///
    /// [`Code::Config`] when it is no manifest; [`Code::Refused`] for a format that is newer.
    pub fn read(bytes: &[u8], place: &str) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Numbered {
            format: u32,
        }
        let refused = |error: serde_json::Error| {
            Error::new(Code::Config, format!("read the manifest of {place}")).because(error)
        };
        let Numbered { format } = serde_json::from_slice(bytes).map_err(refused)?;
        if format > FORMAT {
            let what =
                format!("{place} is an archive of format {format}; this tenantctl reads {FORMAT}");
            return Err(Error::new(Code::Refused, what)
                .hint("install the tenantctl that wrote it, or a newer one"));
        }
        serde_json::from_slice(bytes).map_err(refused)
    }

    /// As it is written: equal manifests are equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text.into_bytes()
    }

    /// The version of its schema.
    pub fn version(&self) -> Option<Version> {
        self.version.map(Version)
    }

    /// All rows, and their length in bytes.
    pub fn totals(&self) -> (u64, u64) {
        self.tables
            .iter()
            .fold((0, 0), |(rows, bytes), table| (rows + table.rows, bytes + table.bytes))
    }

    /// A number that names exactly this content of this tenant: another archive of the same rows has
    /// the same one.
    pub fn fingerprint(&self) -> String {
        use sha2::Digest as _;
        let mut same = self.clone();
        same.made_at = String::new();
        same.tool = String::new();
        same.server = 0;
        same.dump = None;
        for table in &mut same.tables {
            table.parts = Vec::new();
        }
        let digest = sha2::Sha256::digest(same.to_bytes());
        digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
    }
}

fn steps(history: &History) -> Vec<Step> {
    history
        .0
        .iter()
        .map(|applied| Step {
            version: applied.version.0,
            name: applied.name.clone(),
            applied_on: applied.applied_on.clone(),
            checksum: applied.checksum.to_string(),
        })
        .collect()
}

fn foreign(schema: &Ident, home: &Ident) -> Option<String> {
    (schema != home).then(|| schema.as_str().to_owned())
}

impl From<&Tenant> for Subject {
    fn from(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            uuid: tenant.uuid,
            key: tenant.key.clone(),
            isolation: tenant.isolation,
            cluster: tenant.placement.cluster.to_string(),
            database: tenant.placement.database.as_str().to_owned(),
            schema: tenant.placement.schema.as_str().to_owned(),
            tier: tenant.tier.clone(),
            region: tenant.region.clone(),
            labels: tenant.labels.clone(),
        }
    }
}

impl Contents {
    fn describe(name: &QualifiedName, table: &HeldTable, home: &Ident, rows_as: Rendering) -> Self {
        let text = |name: &Ident| name.as_str().to_owned();
        let tenant_column = match &table.reach {
            Reach::Column { name, .. } => Some(name),
            Reach::Whole | Reach::Through { .. } => None,
        };
        // What a person asks for is everything; what is filled again computes the rest.
        let columns = table
            .columns
            .iter()
            .filter(|column| match rows_as {
                Rendering::Copy => !column.generated && Some(&column.name) != tenant_column,
                Rendering::Ndjson | Rendering::Csv => true,
            })
            .map(|column| ArchivedColumn { name: text(&column.name), kind: column.kind.clone() })
            .collect();
        Self {
            schema: foreign(&name.schema, home),
            name: text(&name.name),
            columns,
            key: table.key.iter().map(text).collect(),
            tenant_column: tenant_column.map(text),
            rows: 0,
            bytes: 0,
            digest: RowSum::default().to_string(),
            parts: Vec::new(),
        }
    }

    /// Its name with its schema, where the tenant's own is `home`.
    ///
    /// # Errors
    ///
    /// When it is no possible name.
    pub fn place(&self, home: &Ident) -> Result<QualifiedName, Error> {
        let schema = match &self.schema {
            Some(schema) => Ident::new(schema.clone())?,
            None => home.clone(),
        };
        Ok(QualifiedName::new(schema, Ident::new(self.name.clone())?))
    }

    /// Its name as people read it.
    pub fn label(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{schema}.{}", self.name),
            None => self.name.clone(),
        }
    }

    /// Records what was read.
    pub fn holds(&mut self, content: Content) {
        self.rows = content.rows;
        self.bytes = content.bytes;
        self.digest = content.digest.to_string();
    }

    /// Whether the tenant column alone was its primary key: one row for each tenant.
    pub fn is_one_row_per_tenant(&self) -> bool {
        matches!((self.key.as_slice(), &self.tenant_column), ([key], Some(column)) if key == column)
    }
}
