//! What is wrong with a configuration, or worth a word.

use std::fmt;
use std::io;
use std::path::PathBuf;

use thiserror::Error;

use super::origin::Origin;

/// Why a configuration cannot be used.
#[derive(Debug, Error)]
pub enum Problem {
    /// The file cannot be read.
    #[error("configuration file {}: {source}", path.display())]
    Unreadable {
        /// As it was named.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file's name does not say what is in it.
    #[error("configuration file {}: its name must end with .toml, .conf or .properties", path.display())]
    Extension {
        /// As it was named.
        path: PathBuf,
    },
    /// The file is larger than any configuration.
    #[error("configuration file {} has {bytes} bytes, at most {max} are allowed", path.display())]
    TooLarge {
        /// As it was named.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// The limit.
        max: u64,
    },
    /// The file is not what its name says.
    #[error("{origin}: {reason}")]
    Syntax {
        /// Where.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// There is no such setting.
    #[error("{origin}: there is no setting {key}{}", Hint(hint))]
    UnknownKey {
        /// As it was written.
        key: String,
        /// Where.
        origin: Origin,
        /// The setting that was perhaps meant.
        hint: Option<&'static str>,
    },
    /// A value outside its range, or at odds with another setting.
    #[error("{key} is {value:?} ({origin}): {reason}")]
    Value {
        /// The setting, or RocketMQ's property that it was given through.
        key: &'static str,
        /// As it was written.
        value: String,
        /// Where.
        origin: Origin,
        /// What it may be.
        reason: String,
    },
    /// A setting that must be set was not.
    #[error(
        "{key} is not set: give --{flag} or the variable {variable}, or {key} in the file, such as {example}"
    )]
    Missing {
        /// The setting.
        key: &'static str,
        /// Its flag.
        flag: String,
        /// Its environment variable.
        variable: String,
        /// What it may look like.
        example: &'static str,
    },
}

/// Everything that is wrong with a configuration, a line each.
#[derive(Debug)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for problem in &self.0 {
            write!(f, "{separator}{problem}")?;
            separator = "\n  ";
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

/// Something that was accepted and does not do what it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The setting, property or variable.
    pub key: String,
    /// Where it is.
    pub origin: Origin,
    /// What becomes of it.
    pub reason: String,
}

impl Warning {
    /// A warning.
    pub fn new(key: impl Into<String>, origin: Origin, reason: impl Into<String>) -> Self {
        Self { key: key.into(), origin, reason: reason.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.key, self.origin, self.reason)
    }
}

/// `; did you mean x?`, or nothing.
pub struct Hint<'a>(pub &'a Option<&'static str>);

impl fmt::Display for Hint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => Ok(()),
        }
    }
}
