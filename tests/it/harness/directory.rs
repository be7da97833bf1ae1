//! The directory of a world, gone with it; what a killed test left is swept by the next one.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use tempfile::TempDir;

const PREFIX: &str = "tenantctl-it-";

/// A working directory and a home. The lock lives as long as the test's process does, and no
/// longer: a directory whose lock is free belongs to nobody.
pub(super) struct Directory {
    temp: TempDir,
    _lock: File,
}

impl Directory {
    pub(super) fn create() -> Self {
        let base = std::env::temp_dir();
        sweep(&base);
        let temp = tempfile::Builder::new().prefix(PREFIX).tempdir_in(base).unwrap();
        fs::create_dir(temp.path().join("home")).unwrap();
        fs::create_dir(temp.path().join("work")).unwrap();
        // Locked before it gets its name, so that nobody finds it free.
        let lock = File::create(temp.path().join("lock.new")).unwrap();
        lock.lock().unwrap();
        fs::rename(temp.path().join("lock.new"), temp.path().join("lock")).unwrap();
        Self { temp, _lock: lock }
    }

    pub(super) fn home(&self) -> PathBuf {
        self.temp.path().join("home")
    }

    pub(super) fn work(&self) -> PathBuf {
        self.temp.path().join("work")
    }
}

fn sweep(base: &Path) {
    for entry in fs::read_dir(base).unwrap().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PREFIX) {
            // Another user's, or swept by another test at this very moment: not ours to judge.
            let free =
                File::open(entry.path().join("lock")).is_ok_and(|lock| lock.try_lock().is_ok());
            if free {
                fs::remove_dir_all(entry.path()).ok();
            }
        }
    }
}
