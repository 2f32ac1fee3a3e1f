//! Brings the sources of settings together, strongest last.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::flags::Flags;
use super::kind::Value;
use super::origin::{Given, Origin};
use super::problem::{Problem, Problems, Warning};
use super::properties::Properties;
use super::setting::{Configured, Initial, Setting};
use super::{environment, rocketmq, toml_file};

/// The largest configuration file.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What one source says, by the settings' keys.
pub type Layer = BTreeMap<&'static str, Given>;

/// Where settings come from, besides their defaults; weakest first.
pub struct Sources {
    /// A file, TOML or properties as its name ends.
    pub file: Option<PathBuf>,
    /// The environment.
    pub variables: BTreeMap<String, String>,
    /// The flags.
    pub flags: Layer,
}

impl Sources {
    /// This process's environment, with the rest. Without a `file` the environment may name one.
    pub fn new<T: Configured>(file: Option<PathBuf>, flags: Flags<T>) -> Self {
        let variables = environment::variables();
        let named = variables.get(&format!("{}CONFIG", T::VARIABLE_PREFIX)).filter(|name| !name.is_empty());
        Self { file: file.or_else(|| named.map(PathBuf::from)), variables, flags: flags.layer }
    }
}

/// A setting's value with where it comes from.
#[derive(Debug, Clone)]
pub struct Chosen {
    /// As it was written.
    pub given: Given,
    /// As it was understood.
    pub value: Value,
}

/// Every setting that has a value, each within its range.
pub struct Effective<T: Configured> {
    chosen: BTreeMap<&'static str, Chosen>,
    /// What was accepted and does not do what it says.
    pub warnings: Vec<Warning>,
    settings: std::marker::PhantomData<fn() -> T>,
}

/// Collects the settings of `T` from all sources.
///
/// Errors: everything that is wrong with any of them; a missing setting is no error yet.
pub fn effective<T: Configured>(sources: Sources) -> Result<Effective<T>, Problems> {
    let mut problems = Vec::new();
    let mut warnings = Vec::new();
    let file = sources.file.map(|path| from_file::<T>(&path, &mut problems, &mut warnings));
    let environment = environment::read::<T>(&sources.variables, &mut warnings);
    let mut chosen = BTreeMap::new();
    let mut flawed = BTreeMap::new();
    for layer in [defaults::<T>(), file.unwrap_or_default(), environment, sources.flags] {
        // Also values that a stronger source replaces: they would surprise on the day when it does not.
        for (key, given) in layer {
            if let Some(flaw) = &given.flaw {
                flawed.insert(key, refused(&given, flaw.clone()));
                continue;
            }
            let setting = Setting::<T>::find(key).expect("layers have the table's keys");
            match setting.kind.read(&given.text) {
                Ok(value) => {
                    flawed.remove(key);
                    chosen.insert(key, Chosen { given, value });
                }
                Err(reason) => problems.push(refused(&given, reason)),
            }
        }
    }
    problems.extend(flawed.into_values());
    if problems.is_empty() {
        Ok(Effective { chosen, warnings, settings: std::marker::PhantomData })
    } else {
        Err(Problems(problems))
    }
}

impl<T: Configured> Effective<T> {
    /// A setting's value, if it has one.
    pub fn get(&self, key: &str) -> Option<&Chosen> {
        self.chosen.get(key)
    }

    /// Where a setting's value comes from.
    pub fn origin(&self, key: &str) -> Origin {
        self.get(key).map_or(Origin::Default, |chosen| chosen.given.origin.clone())
    }

    /// The refusal of a setting's value for `reason`.
    pub fn refuse(&self, key: &str, reason: String) -> Problem {
        let chosen = self.get(key).expect("only what is set is refused");
        refused(&chosen.given, reason)
    }

    /// The configuration, with further warnings.
    ///
    /// Errors: settings that are missing, or at odds with each other.
    pub fn config(&self) -> Result<(T, Vec<Warning>), Problems> {
        let mut problems = Vec::new();
        let mut warnings = Vec::new();
        let mut config = T::blank();
        for setting in T::SETTINGS {
            match (self.get(setting.key), setting.default) {
                (Some(chosen), _) => (setting.set)(&mut config, chosen.value.clone()),
                (None, Initial::Required(example)) => problems.push(Problem::Missing {
                    key: setting.key,
                    flag: setting.flag(),
                    variable: setting.variable(),
                    example,
                }),
                (None, _) => {}
            }
        }
        if problems.is_empty() {
            config.finish(self, &mut problems, &mut warnings);
        }
        if problems.is_empty() { Ok((config, warnings)) } else { Err(Problems(problems)) }
    }
}

fn refused(given: &Given, reason: String) -> Problem {
    Problem::Value { key: given.name, value: given.text.clone(), origin: given.origin.clone(), reason }
}

fn defaults<T: Configured>() -> Layer {
    let default = |setting: &'static Setting<T>| match setting.default {
        Initial::Text(text) => Some((setting.key, Given::new(setting.key, text, Origin::Default))),
        Initial::Derived(_) | Initial::Required(_) => None,
    };
    T::SETTINGS.iter().filter_map(default).collect()
}

fn from_file<T: Configured>(path: &Path, problems: &mut Vec<Problem>, warnings: &mut Vec<Warning>) -> Layer {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_toml = match extension {
        "toml" => true,
        "conf" | "properties" => false,
        _ => {
            problems.push(Problem::Extension { path: path.to_owned() });
            return Layer::new();
        }
    };
    let read = read_file(path).and_then(|text| {
        if is_toml {
            Ok(toml_file::read::<T>(path, &text, problems))
        } else {
            let properties = Properties::parse(path, &text, warnings)?;
            Ok(rocketmq::read::<T>(properties, problems, warnings))
        }
    });
    read.unwrap_or_else(|problem| {
        problems.push(problem);
        Layer::new()
    })
}

fn read_file(path: &Path) -> Result<String, Problem> {
    let unreadable = |source: io::Error| Problem::Unreadable { path: path.to_owned(), source };
    let file = File::open(path).map_err(unreadable)?;
    let bytes = file.metadata().map_err(unreadable)?.len();
    if bytes > MAX_FILE_BYTES {
        return Err(Problem::TooLarge { path: path.to_owned(), bytes, max: MAX_FILE_BYTES });
    }
    let mut text = String::new();
    // Bounded also for files that have no length, or grow.
    file.take(MAX_FILE_BYTES).read_to_string(&mut text).map_err(unreadable)?;
    Ok(text)
}
