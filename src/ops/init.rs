//! Writes a first `tenants.toml`.

use std::io::Write as _;
use std::path::Path;

use crate::error::{Code, Error};
use crate::report::Report;

/// The commented example: every key there is.
const EXAMPLE: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/tenants.example.toml"));

/// Writes the commented example as `tenants.toml` into a directory. Never overwrites one.
///
/// # Errors
///
/// [`Code::Refused`] when it is there already; [`Code::Io`] when it cannot be written.
pub fn init(directory: &Path) -> anyhow::Result<Report> {
    let path = directory.join(crate::config::fleet::FILE);
    let failed = |error| Error::new(Code::Io, format!("write {}", path.display())).because(error);
    match std::fs::File::create_new(&path) {
        Ok(mut file) => file.write_all(EXAMPLE.as_bytes()).map_err(failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Error::new(Code::Refused, format!("{} is there already", path.display()))
                .hint("see what it says with: tenantctl config show")
                .into());
        }
        Err(error) => return Err(failed(error).into()),
    }
    Ok(Report::Text(format!(
        "wrote {}\nnext: set the clusters' URLs in it, then run: tenantctl doctor\n",
        path.display()
    )))
}
