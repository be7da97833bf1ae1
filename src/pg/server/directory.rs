//! The private directory of one server, and who may use it.
//!
//! A directory is `<temp>/tenantctl-pg-XXXXXX`, mode 0700, with the data, the socket and the
//! server's log inside. The log doubles as a lock: it is locked before it gets its name, and the
//! lock belongs to the open file that the owner, the watchdog and the server share, so it is held
//! for as long as any of them lives. A directory whose log can be locked is nobody's any more, and
//! [`Directory::create`] sweeps those. Process ids, which are reused, play no part in it.

use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::error::{Code, Error};

/// What the names of our directories start with; nothing else is ever swept.
const PREFIX: &str = "tenantctl-pg-";

/// The log, and the lock.
const LOG: &str = "log";

/// How long a socket's path may be. Linux takes 107 bytes, macOS and the BSDs 103.
const SOCKET_PATH_LIMIT: usize = 103;

/// How many lines of the log an error quotes.
const TAIL_LINES: usize = 15;

/// The account that the server runs as when we are root, which `postgres` refuses to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// A directory that goes away with this value.
#[derive(Debug)]
pub(super) struct Directory {
    temp: TempDir,
    log: File,
    account: Option<Account>,
}

impl Directory {
    /// Makes a directory, preferably in `place`, after sweeping those that dead processes left behind.
    pub(super) fn create(place: Option<&Path>) -> Result<Self, Error> {
        let mut reason = io::Error::other("no temporary directory is short enough for a socket");
        let bases = [std::env::temp_dir(), PathBuf::from("/tmp")];
        let preferred = place.map(Path::to_path_buf);
        for base in preferred.iter().chain(&bases).filter(|base| socket_fits(base)) {
            match Self::create_in(base) {
                Ok(directory) => {
                    sweep(base, &directory);
                    return Ok(directory);
                }
                Err(error) => reason = error,
            }
        }
        Err(Error::new(
            Code::Io,
            format!("create a directory for the server in {}", bases[0].display()),
        )
        .because(reason)
        .hint("set TMPDIR to a short path of a directory that everybody may write to"))
    }

    fn create_in(base: &Path) -> io::Result<Self> {
        // The server is told absolute paths, and works in the directory itself.
        let base = fs::canonicalize(base)?;
        let temp = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&base)?;
        let account = if fs::metadata(temp.path())?.uid() == 0 {
            if !open_to_all(&base)? {
                return Err(io::Error::other(format!(
                    "{} is closed to the account that the server runs as",
                    base.display()
                )));
            }
            Some(server_account()?)
        } else {
            None
        };

        let unnamed = temp.path().join("log.new");
        let log = OpenOptions::new().create_new(true).append(true).mode(0o600).open(&unnamed)?;
        log.lock()?;
        fs::rename(&unnamed, temp.path().join(LOG))?;
        let directory = Self { temp, log, account };
        directory.hand_over(&directory.path().join(LOG))?;
        directory.hand_over(directory.path())?;
        Ok(directory)
    }

    pub(super) fn path(&self) -> &Path {
        self.temp.path()
    }

    /// Where the server's data is.
    pub(super) fn data(&self) -> PathBuf {
        self.path().join("data")
    }

    /// Makes the directories that a file will stand in, for the server's account.
    pub(super) fn make_parents(&self, place: &Path) -> io::Result<()> {
        let above: Vec<&Path> = place.ancestors().skip(1).collect();
        for parent in above.into_iter().rev().filter(|parent| !parent.as_os_str().is_empty()) {
            let path = self.path().join(parent);
            if !path.is_dir() {
                fs::create_dir(&path)?;
                self.hand_over(&path)?;
            }
        }
        Ok(())
    }

    /// The account to run programs as; `None` when we are not root.
    pub(super) fn account(&self) -> Option<Account> {
        self.account
    }

    /// A handle of the log for a child's output, which takes part in the lock.
    pub(super) fn log(&self) -> io::Result<File> {
        self.log.try_clone()
    }

    /// Gives a file in the directory to the server's account.
    pub(super) fn hand_over(&self, path: &Path) -> io::Result<()> {
        match self.account {
            Some(Account { uid, gid }) => chown(path, Some(uid), Some(gid)),
            None => Ok(()),
        }
    }

    /// All that was logged.
    pub(super) fn log_text(&self) -> String {
        let bytes = fs::read(self.path().join(LOG)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The end of the log, as the cause of an error.
    pub(super) fn log_tail(&self) -> String {
        let text = self.log_text();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
        if tail.is_empty() { "nothing was logged".to_owned() } else { tail.join("\n") }
    }

    /// Leaves the directory to the server that uses it.
    pub(super) fn leave(self) -> PathBuf {
        self.temp.keep()
    }
}

/// Whether the longest path that a server in this base would bind fits into a socket's address.
fn socket_fits(base: &Path) -> bool {
    base.as_os_str().len() + "/".len() + PREFIX.len() + "XXXXXX/.s.PGSQL.65535".len()
        <= SOCKET_PATH_LIMIT
}

/// Whether every account can reach this directory and write to it.
fn open_to_all(base: &Path) -> io::Result<bool> {
    for ancestor in base.ancestors() {
        if fs::metadata(ancestor)?.mode() & 0o001 == 0 {
            return Ok(false);
        }
    }
    Ok(fs::metadata(base)?.mode() & 0o002 != 0)
}

/// The account that root lends to the server: `postgres`, or else `nobody`.
fn server_account() -> io::Result<Account> {
    let passwd = fs::read_to_string("/etc/passwd")?;
    ["postgres", "_postgres", "nobody"]
        .iter()
        .find_map(|name| account_named(name, &passwd))
        .ok_or_else(|| io::Error::other("neither postgres nor nobody is an account here"))
}

/// Looks an account up in the text of `/etc/passwd`; root's own number never counts.
fn account_named(name: &str, passwd: &str) -> Option<Account> {
    let line = passwd.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    let mut fields = line.split(':').skip(1);
    let uid = fields.next()?.parse().ok().filter(|uid| *uid != 0)?;
    let gid = fields.next()?.parse().ok()?;
    Some(Account { uid, gid })
}

/// Removes the directories of servers whose every process is gone.
///
/// Nothing here may fail a launch: what cannot be looked at or removed is left alone.
fn sweep(base: &Path, own: &Directory) {
    let Ok(entries) = fs::read_dir(base) else { return };
    let Ok(ours) = fs::metadata(own.path()).map(|metadata| metadata.uid()) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        if path != own.path() && entry.file_name().to_string_lossy().starts_with(PREFIX) {
            // One that another process sweeps at the same moment is gone either way.
            let _swept = sweep_one(&path, ours);
        }
    }
}

/// Removes one directory if it is ours and abandoned.
fn sweep_one(path: &Path, ours: u32) -> io::Result<()> {
    // Anybody may make a directory of that name where everybody may write: it must be a real
    // directory, closed to others, of the very account that our servers run as.
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_dir() || metadata.uid() != ours || metadata.mode() & 0o077 != 0 {
        return Ok(());
    }
    let log_path = path.join(LOG);
    if !fs::symlink_metadata(&log_path)?.is_file() {
        return Ok(());
    }
    let log = File::open(&log_path)?;
    match log.try_lock() {
        Ok(()) => fs::remove_dir_all(path),
        Err(TryLockError::WouldBlock) => Ok(()),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        postgresql:x:7:7::/:/bin/sh\n\
        postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash\n\
        toor:x:0:0::/root:/bin/sh\n";

    #[test]
    fn an_account_is_found_by_its_whole_name() {
        assert_eq!(account_named("postgres", PASSWD), Some(Account { uid: 101, gid: 104 }));
        assert_eq!(account_named("nobody", PASSWD), None);
    }

    #[test]
    fn another_name_of_root_is_no_account() {
        assert_eq!(account_named("toor", PASSWD), None);
    }

    #[test]
    fn a_base_that_is_too_deep_for_a_socket_is_refused() {
        assert!(socket_fits(Path::new("/tmp")));
        assert!(!socket_fits(&Path::new("/").join("d".repeat(80))));
    }

    #[test]
    fn a_directory_is_locked_while_it_is_used_and_swept_when_it_is_not() {
        let base = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(base.path(), Permissions::from_mode(0o777)).unwrap();
        let used = Directory::create_in(base.path()).unwrap();
        let abandoned = Directory::create_in(base.path()).unwrap().leave();
        let foreign = base.path().join("tenantctl-pg-notours");
        fs::create_dir(&foreign).unwrap();
        fs::write(foreign.join("log"), "somebody else's").unwrap();

        let own = Directory::create_in(base.path()).unwrap();
        sweep(base.path(), &own);

        assert!(used.path().exists() && own.path().exists());
        assert!(!abandoned.exists());
        assert!(foreign.exists());
    }

    #[test]
    fn a_child_that_still_writes_to_the_log_keeps_the_directory() {
        let base = tempfile::tempdir_in("/tmp").unwrap();
        fs::set_permissions(base.path(), Permissions::from_mode(0o777)).unwrap();
        let directory = Directory::create_in(base.path()).unwrap();
        let childs_handle = directory.log().unwrap();
        let left = directory.leave();
        let own = Directory::create_in(base.path()).unwrap();

        sweep(base.path(), &own);
        assert!(left.exists());

        drop(childs_handle);
        sweep(base.path(), &own);
        assert!(!left.exists());
    }
}
