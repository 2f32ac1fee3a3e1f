//! Settings as flags of a command, made from its table.

use std::marker::PhantomData;

use clap::{Arg, ArgAction, ArgMatches, Command, Error, FromArgMatches};

use super::kind::Kind;
use super::load::Layer;
use super::origin::{Given, Origin};
use super::setting::{Configured, Initial, Setting};

/// The flags of `T`'s settings, for flattening into a command's arguments. Their values are not checked yet.
pub struct Flags<T> {
    /// What was given.
    pub layer: Layer,
    settings: PhantomData<fn() -> T>,
}

impl<T: Configured> clap::Args for Flags<T> {
    fn augment_args(command: Command) -> Command {
        T::SETTINGS.iter().fold(command, |command, setting| command.arg(flag(setting)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<T: Configured> FromArgMatches for Flags<T> {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        let given = |setting: &Setting<T>| {
            let texts: Vec<&str> = matches.get_many::<String>(setting.key)?.map(String::as_str).collect();
            let origin = Origin::Flag(setting.flag());
            Some((setting.key, Given::new(setting.key, texts.join(";"), origin)))
        };
        let layer = T::SETTINGS.iter().filter_map(given).collect();
        Ok(Self { layer, settings: PhantomData })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        self.layer.extend(Self::from_arg_matches(matches)?.layer);
        Ok(())
    }
}

fn flag<T: Configured>(setting: &'static Setting<T>) -> Arg {
    let (first, rest) = setting.effect.split_once(". ").unwrap_or((setting.effect, ""));
    let first = first.trim_end_matches('.').to_owned();
    let default = match setting.default {
        Initial::Text(text) => format!("default {text}"),
        Initial::Derived(words) => format!("default: {words}"),
        Initial::Required(example) => format!("such as {example}"),
    };
    let arg = Arg::new(setting.key)
        .long(setting.flag())
        .value_name(value_name(&setting.kind))
        .help(format!("{first} [{default}]"))
        .help_heading("Settings");
    let arg = if rest.is_empty() {
        arg
    } else {
        arg.long_help(format!("{first}. {rest} [{default}; {}]", setting.kind.allowed()))
    };
    match setting.kind {
        // A list's flag may be repeated.
        _ if setting.kind.is_list() => arg.action(ArgAction::Append),
        Kind::Switch => arg.num_args(0..=1).require_equals(true).default_missing_value("true"),
        _ => arg,
    }
}

fn value_name(kind: &Kind) -> &'static str {
    match kind {
        Kind::Name => "NAME",
        Kind::Number { .. } | Kind::OneOf(_) => "NUMBER",
        Kind::Bytes { .. } => "BYTES",
        Kind::Millis { .. } => "MS",
        Kind::Switch => "true|false",
        Kind::Listen { .. } => "IP:PORT",
        Kind::Path => "PATH",
        Kind::Hosts => "HOST:PORT",
        Kind::Replicas => "NODE=CLIENT_ADDRESS/PEER_ADDRESS",
    }
}
