//! Writes the receipt of a purge.

use std::io::Write as _;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::found::Found;
use super::removal::Removed;
use crate::error::{Code, Error};
use crate::model::tenant::Tenant;
use crate::ops::trail::Deed;
use crate::pg::{Session, life};
use crate::report::{PurgeReceipt, Receipt, ReceiptTable};

/// Where a tenant's receipt is written: the file that was asked for, or one in that directory.
pub(super) fn path(asked: Option<&PathBuf>, tenant: &Tenant) -> PathBuf {
    let uuid = tenant.uuid.to_string();
    let name = format!("receipt-{}-{}.json", tenant.id, &uuid[..8]);
    match asked {
        None => PathBuf::from(name),
        Some(directory) if directory.is_dir() => directory.join(name),
        Some(file) => file.clone(),
    }
}

/// Refuses to begin what no receipt could be written of: it would stand over something else than an
/// earlier receipt of the same tenant, or in a place where nothing can be written.
///
/// # Errors
///
/// [`Code::Refused`] when it is something else, [`Code::Io`] when it cannot be written.
pub(super) fn refuse_lost(path: &Path, tenant: &Tenant) -> Result<(), Error> {
    let elsewhere = "name another place: --receipt PATH";
    tempfile::NamedTempFile::new_in(directory(path)).map_err(|error| {
        Error::new(Code::Io, format!("write the receipt to {}", path.display()))
            .because(error)
            .hint(elsewhere)
    })?;
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(Error::new(Code::Io, format!("read {}", path.display()))
                .because(error)
                .hint(elsewhere));
        }
    };
    let earlier: Option<Receipt> = serde_json::from_slice(&text).ok();
    if earlier.is_some_and(|receipt| receipt.uuid == tenant.uuid.to_string()) {
        return Ok(());
    }
    Err(Error::new(
        Code::Refused,
        format!("write the receipt to {}: it is there already", path.display()),
    )
    .hint(elsewhere))
}

fn directory(file: &Path) -> &Path {
    file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes the receipt, whole or not at all.
///
/// # Errors
///
/// [`Code::Io`] when it cannot be written, and whatever the registry refuses.
pub(super) async fn write(
    control: &Session,
    found: &Found,
    deed: &Deed,
    before: &Value,
    removed: Removed,
    asked: Option<&PathBuf>,
) -> Result<PurgeReceipt, Error> {
    let tenant = &found.house.tenant;
    let clock = life::clock(control, &tenant.id).await?;
    let rows = before.as_object().cloned().unwrap_or_default();
    let tables = rows
        .into_iter()
        .map(|(name, rows)| ReceiptTable {
            rows_before: rows.as_u64().unwrap_or_default(),
            rows_after: removed.left.get(&name).copied().unwrap_or_default(),
            name,
        })
        .collect();
    let receipt = Receipt {
        format: 1,
        tenant: tenant.id.to_string(),
        uuid: tenant.uuid.to_string(),
        isolation: tenant.isolation.word().to_owned(),
        cluster: tenant.placement.cluster.to_string(),
        database: tenant.placement.database.as_str().to_owned(),
        schema: tenant.placement.schema.as_str().to_owned(),
        version: found
            .holdings
            .as_ref()
            .and_then(crate::model::holdings::Holdings::version)
            .map(|v| v.0),
        begun_at: clock.begun,
        purged_at: clock.now,
        by: clock.by,
        deed: deed.id().to_string(),
        tables,
        removed: removed.gone,
        checked: removed.checked,
    };
    let file = path(asked, tenant);
    let document = receipt.document();
    keep(&file, &document).map_err(|error| {
        Error::new(Code::Io, format!("write the receipt to {}", file.display()))
            .because(error)
            .hint("everything is removed: the same command with another --receipt PATH writes it")
    })?;
    let sha256: String =
        Sha256::digest(&document).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(PurgeReceipt { receipt, file, sha256 })
}

fn keep(file: &Path, document: &str) -> std::io::Result<()> {
    let mut temporary = tempfile::NamedTempFile::new_in(directory(file))?;
    temporary.write_all(document.as_bytes())?;
    temporary.as_file().sync_all()?;
    temporary.persist(file)?;
    Ok(())
}
