//! What `broker` and `namesrv` do with their settings before they start.

use crate::config::{Configured, Sources, Warning, effective};

/// The configuration; nothing if it was only to be printed. Warnings go to the log.
pub fn load<T: Configured>(sources: Sources<'_>, print: bool) -> anyhow::Result<Option<T>> {
    let found = effective::<T>(sources)?;
    found.warnings.iter().for_each(warn);
    if print {
        print!("{}", found.to_toml());
        return Ok(None);
    }
    let (config, warnings) = found.config()?;
    warnings.iter().for_each(warn);
    Ok(Some(config))
}

fn warn(Warning { key, origin, reason }: &Warning) {
    tracing::warn!(setting = key, %origin, %reason, "configuration");
}
