//! What `broker` and `namesrv` do with their settings before they start.

use std::path::PathBuf;

use crate::config::{Configured, Flags, Sources, Warning, effective};

/// The configuration; nothing if it was only to be printed. Warnings go to the log.
pub fn load<T: Configured>(file: Option<PathBuf>, flags: Flags<T>, print: bool) -> anyhow::Result<Option<T>> {
    let found = effective::<T>(Sources::new(file, flags))?;
    found.warnings.iter().for_each(warn);
    if print {
        super::client::print(|out| out.write_all(found.to_toml().as_bytes()))?;
        return Ok(None);
    }
    let (config, warnings) = found.config()?;
    warnings.iter().for_each(warn);
    Ok(Some(config))
}

fn warn(Warning { key, origin, reason }: &Warning) {
    tracing::warn!(setting = key, %origin, %reason, "configuration");
}
