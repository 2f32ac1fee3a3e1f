//! Where a value comes from.

use std::fmt;
use std::path::PathBuf;

/// Where a value comes from, weakest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// Nobody set it.
    Default,
    /// A file.
    File {
        /// As it was named.
        path: PathBuf,
        /// From 1.
        line: usize,
    },
    /// This environment variable.
    Variable(String),
    /// This flag, without its dashes.
    Flag(String),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => write!(f, "variable {name}"),
            Self::Flag(name) => write!(f, "flag --{name}"),
        }
    }
}

/// A value as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The setting's key, or RocketMQ's property if it came through one.
    pub name: &'static str,
    /// In the notation of the setting's kind.
    pub text: String,
    /// Where.
    pub origin: Origin,
    /// Why it cannot be used although it is well-formed; told only if nothing stronger replaces it.
    pub flaw: Option<String>,
}

impl Given {
    /// A value without a known flaw.
    pub fn new(name: &'static str, text: impl Into<String>, origin: Origin) -> Self {
        Self { name, text: text.into(), origin, flaw: None }
    }
}
