//! Directory operations that both indexes need, with errors that name the path.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;

use super::Error;

/// Creates `dir` and its missing parents.
pub(super) fn create_dir_all(dir: &Path) -> Result<(), Error> {
    fs::create_dir_all(dir).map_err(Error::io("create directory", dir))
}

/// Makes the entries of `dir` durable: names created, renamed or removed in it.
pub(super) fn sync_dir(dir: &Path) -> Result<(), Error> {
    File::open(dir).and_then(|opened| opened.sync_all()).map_err(Error::io("sync directory", dir))
}

/// Removes a file; one that is not there is as good as removed.
pub(super) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::io("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a directory if nothing is left in it; files that are not ours keep it alive.
pub(super) fn remove_dir_if_empty(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir(dir) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(Error::io("remove directory", dir)(error))
        }
        _ => Ok(()),
    }
}

/// Calls `each` with the file name and path of every entry of `dir` whose name is UTF-8; names that are
/// not cannot be ours.
pub(super) fn for_each_entry(
    dir: &Path,
    mut each: impl FnMut(&str, &Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let failed = |error| Error::io("list directory", dir)(error);
    for entry in fs::read_dir(dir).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if let Some(name) = entry.file_name().to_str() {
            each(name, &entry.path())?;
        }
    }
    Ok(())
}
