//! Where tenants of each isolation model live when nothing is configured.

/// The schema of shared tables.
pub const SHARED_SCHEMA: &str = "app";

/// The role of the application on shared tables.
pub const SHARED_ROLE: &str = "app_rw";

/// An isolation model, with the names that the default templates give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    Shared,
    Schema,
    Database,
}

impl Model {
    pub const ALL: [Self; 3] = [Self::Shared, Self::Schema, Self::Database];

    /// The value of `--isolation`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Schema => "schema",
            Self::Database => "database",
        }
    }

    pub fn database(self, tenant: &str) -> String {
        match self {
            Self::Shared | Self::Schema => super::DATABASE.to_owned(),
            Self::Database => format!("tenant_{tenant}"),
        }
    }

    pub fn schema(self, tenant: &str) -> String {
        match self {
            Self::Shared | Self::Database => SHARED_SCHEMA.to_owned(),
            Self::Schema => format!("tenant_{tenant}"),
        }
    }

    /// The role that the application works as.
    pub fn role(self, tenant: &str) -> String {
        match self {
            Self::Shared => SHARED_ROLE.to_owned(),
            Self::Schema | Self::Database => format!("app_tenant_{tenant}"),
        }
    }

    /// The role that owns the objects.
    pub fn owner(self, tenant: &str) -> String {
        match self {
            Self::Shared => format!("{SHARED_SCHEMA}_owner"),
            Self::Schema | Self::Database => format!("tenant_{tenant}_owner"),
        }
    }
}
