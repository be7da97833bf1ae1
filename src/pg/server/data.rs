//! What a server's directory holds before the server starts: data, access rules, certificates.
//!
//! Every file belongs to the account that the server runs as, and is closed to everybody else;
//! PostgreSQL refuses to start otherwise.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use super::directory::Directory;
use super::watchdog::{command, unusable};
use super::{Certificate, Installation, SUPERUSER};
use crate::error::{Code, Error};

/// Byte order everywhere; the first that the platform has is used.
const LOCALES: [&str; 2] = ["C.UTF-8", "C"];

/// Makes a new data directory.
pub(super) fn initdb(installation: &Installation, directory: &Directory) -> Result<(), Error> {
    let program = installation.program("initdb");
    for locale in LOCALES {
        let status = command(&program, directory)?
            .arg("-D")
            .arg(directory.data())
            .arg(format!("--username={SUPERUSER}"))
            .arg(format!("--locale={locale}"))
            .args(["--lc-messages=C", "--encoding=UTF8", "--auth=trust", "--no-sync"])
            // Small segments make a directory of half the size, which is copied and removed in
            // half the time.
            .arg("--wal-segsize=1")
            .status()
            .map_err(|source| {
                Error::new(Code::Server, format!("run {}", program.display()))
                    .because(source)
                    .hint("as root, the account postgres must be able to read that directory")
            })?;
        if status.success() {
            return Ok(());
        }
    }
    Err(Error::new(Code::Server, format!("make a data directory with {}", program.display()))
        .because(directory.log_tail()))
}

/// Copies a saved data directory.
pub(super) fn copy(template: &Path, directory: &Directory) -> Result<(), Error> {
    copy_tree(template, &directory.data(), &|path| directory.hand_over(path)).map_err(|source| {
        Error::new(Code::Io, format!("copy the data directory {}", template.display()))
            .because(source)
    })
}

/// Saves the data of a server that has stopped.
pub(super) fn save(directory: &Directory, into: &Path) -> Result<(), Error> {
    copy_tree(&directory.data(), into, &|_| Ok(())).map_err(|source| {
        Error::new(Code::Io, format!("save a data directory to {}", into.display())).because(source)
    })
}

/// Replaces `pg_hba.conf`.
pub(super) fn write_hba(lines: &[String], directory: &Directory) -> Result<(), Error> {
    let text = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>();
    write_private("data/pg_hba.conf", &text, directory)
}

/// Writes a certificate, and returns the settings that make the server use it.
pub(super) fn write_certificate(
    certificate: &Certificate,
    directory: &Directory,
) -> Result<Vec<(String, String)>, Error> {
    let mut settings = vec![("ssl".to_owned(), "on".to_owned())];
    let files = [
        ("ssl_cert_file", "server.crt", Some(&certificate.chain)),
        ("ssl_key_file", "server.key", Some(&certificate.key)),
        ("ssl_ca_file", "clients.crt", certificate.client_authority.as_ref()),
    ];
    for (setting, name, pem) in files {
        if let Some(pem) = pem {
            write_private(name, pem, directory)?;
            let path = directory.path().join(name).to_string_lossy().into_owned();
            settings.push((setting.to_owned(), path));
        }
    }
    Ok(settings)
}

/// Writes a file that only the server's account can read.
fn write_private(name: &str, text: &str, directory: &Directory) -> Result<(), Error> {
    let path = directory.path().join(name);
    OpenOptions::new()
        .create(true)
        .truncate(true)
        .write(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| directory.hand_over(&path))
        .map_err(|source| unusable(directory, source))
}

/// Copies directories and plain files, and gives each copy away.
fn copy_tree(from: &Path, to: &Path, give: &dyn Fn(&Path) -> io::Result<()>) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(to)?;
    give(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let target = to.join(&name);
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target, give)?;
        } else if name != OsStr::new("postmaster.opts") {
            fs::copy(entry.path(), &target)?;
            give(&target)?;
        }
    }
    Ok(())
}
