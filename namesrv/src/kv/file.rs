//! The file of the KV configuration, in RocketMQ's format: `{"configTable":{namespace:{key:value}}}`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use trireme_remoting::json;

use super::{KvError, Table};

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Contents<T> {
    #[serde(default)]
    config_table: T,
}

/// Reads the file; one that does not exist is empty.
pub(super) fn read(path: &Path) -> Result<Table, KvError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Table::new()),
        Err(source) => return Err(KvError::Read { path: path.to_owned(), source }),
    };
    let contents: Contents<Table> =
        json::from_slice(&bytes).map_err(|source| KvError::Malformed { path: path.to_owned(), source })?;
    let mut table = contents.config_table;
    table.retain(|_, values| !values.is_empty());
    Ok(table)
}

/// Replaces the file: after a crash it is the old one or the new one, and the new one once this has returned.
pub(super) fn write(path: &Path, table: &Table) -> Result<(), KvError> {
    replace(path, table).map_err(|source| KvError::Write { path: path.to_owned(), source })
}

fn replace(path: &Path, table: &Table) -> io::Result<()> {
    let mut beside = path.as_os_str().to_owned();
    beside.push(".tmp");
    let mut file = File::create(&beside)?;
    serde_json::to_writer_pretty(&mut file, &Contents { config_table: table })?;
    file.flush()?;
    file.sync_all()?;
    fs::rename(&beside, path)?;
    // The rename itself is durable only with its folder.
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}
