//! A configuration in TOML: a flat table of settings.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::kind::Kind;
use super::load::Layer;
use super::nearest::nearest;
use super::origin::{Given, Origin};
use super::problem::Problem;
use super::setting::{Configured, Setting};

/// The settings in the text of the file `path`; what is wrong with it goes to `problems`.
pub fn read<T: Configured>(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Layer {
    let mut layer = Layer::new();
    let origin = |at: usize| Origin::File { path: PathBuf::from(path), line: line_of(text, at) };
    let table = match DeTable::parse(text) {
        Ok(table) => table.into_inner(),
        Err(error) => {
            let at = error.span().map_or(0, |span| span.start);
            problems.push(Problem::Syntax { origin: origin(at), reason: error.message().to_owned() });
            return layer;
        }
    };
    for (key, value) in &table {
        let origin = origin(key.span().start);
        let key = key.get_ref().as_ref();
        let Some(setting) = Setting::<T>::find(key) else {
            let hint = hint::<T>(key);
            problems.push(Problem::UnknownKey { key: key.to_owned(), origin, hint });
            continue;
        };
        match plain(value, &setting.kind) {
            Some(value) => {
                layer.insert(setting.key, Given::new(setting.key, value, origin));
            }
            None => problems.push(Problem::Value {
                key: setting.key,
                value: text[value.span()].to_owned(),
                origin,
                reason: setting.kind.allowed(),
            }),
        }
    }
    layer
}

/// The setting that was perhaps meant: one whose name is near, or whose RocketMQ name this is.
fn hint<T: Configured>(key: &str) -> Option<&'static str> {
    let counterpart = T::SETTINGS.iter().find(|setting| setting.rocketmq.names().contains(&key));
    counterpart
        .map(|setting| setting.key)
        .or_else(|| nearest(key, T::SETTINGS.iter().map(|setting| setting.key)))
}

/// The value in the notation of flags and variables, if TOML writes values of that kind so.
fn plain(value: &Spanned<DeValue<'_>>, kind: &Kind) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(integer) if !kind.is_text() && integer.radix() == 10 => {
            Some(integer.as_str().to_owned())
        }
        DeValue::Boolean(boolean) if *kind == Kind::Switch => Some(boolean.to_string()),
        DeValue::Array(items) if kind.is_list() => {
            let texts: Option<Vec<_>> = items.iter().map(|item| item.get_ref().as_str()).collect();
            texts.map(|texts| texts.join(";"))
        }
        _ => None,
    }
}

/// The number of the line that has this byte, from 1.
fn line_of(text: &str, at: usize) -> usize {
    text.bytes().take(at).filter(|byte| *byte == b'\n').count() + 1
}
