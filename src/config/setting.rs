//! What a setting is, and what has settings.

use super::kind::{Kind, Value};
use super::load::{Effective, Layer};
use super::problem::{Problem, Warning};
use super::properties::Properties;

/// One setting of `T`, a row of its table.
pub struct Setting<T: 'static> {
    /// Its name in TOML; also `TRIREME_KEY` in the environment and `--key` as a flag.
    pub key: &'static str,
    /// Its notation and range.
    pub kind: Kind,
    /// What it is when nobody sets it.
    pub default: Initial,
    /// Who must agree on it.
    pub scope: Scope,
    /// What it does, in sentences.
    pub effect: &'static str,
    /// Its counterpart in RocketMQ.
    pub rocketmq: Counterpart,
    /// Puts a value of `kind` into the configuration.
    pub set: fn(&mut T, Value),
}

/// What a setting is when nobody sets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Initial {
    /// This, in the notation of its kind.
    Text(&'static str),
    /// Nothing, or what follows from other settings, in words.
    Derived(&'static str),
    /// It must be set; an example.
    Required(&'static str),
}

/// Who must agree on a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Nobody.
    Process,
    /// All replicas of a group; they compare it when they meet.
    Group,
}

/// How RocketMQ's properties say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counterpart {
    /// They do not.
    None,
    /// Under these names, in the same notation.
    Same(&'static [&'static str]),
    /// These together, see [`rocketmq`](super::rocketmq).
    Through(&'static [&'static str]),
}

impl Counterpart {
    /// The properties' names.
    pub fn names(&self) -> &'static [&'static str] {
        match self {
            Self::None => &[],
            Self::Same(names) | Self::Through(names) => names,
        }
    }
}

impl<T> Setting<T> {
    /// Its flag, without the dashes in front.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }
}

impl<T: Configured> Setting<T> {
    /// Its environment variable.
    pub fn variable(&self) -> String {
        format!("{}{}", T::VARIABLE_PREFIX, self.key.to_uppercase())
    }

    /// The row of this key.
    pub fn find(key: &str) -> Option<&'static Setting<T>> {
        T::SETTINGS.iter().find(|setting| setting.key == key)
    }
}

/// What has settings.
pub trait Configured: Sized + 'static {
    /// The command that it belongs to.
    const COMMAND: &'static str;
    /// What its environment variables begin with.
    const VARIABLE_PREFIX: &'static str;
    /// Variables with this prefix that are not ours: exact names, or prefixes that end with `_`.
    const OTHER_VARIABLES: &'static [&'static str];
    /// The table.
    const SETTINGS: &'static [Setting<Self>];
    /// RocketMQ's properties that are understood and do nothing, each with the reason.
    const WITHOUT_EFFECT: &'static [(&'static str, &'static str)];

    /// A configuration that nothing is set in.
    fn blank() -> Self;

    /// Takes the properties out that correspond to settings only together.
    fn translate(
        properties: &mut Properties,
        layer: &mut Layer,
        problems: &mut Vec<Problem>,
        warnings: &mut Vec<Warning>,
    );

    /// Fills in what follows from other settings, and checks what a single setting cannot show.
    fn finish(&mut self, found: &Effective<Self>, problems: &mut Vec<Problem>, warnings: &mut Vec<Warning>);
}
