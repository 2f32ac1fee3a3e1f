//! The configuration as a commented TOML file: what `--print-config` shows, and what the documentation is made of.

use std::fmt::Write as _;

use super::load::Effective;
use super::origin::Origin;
use super::setting::{Configured, Counterpart, Initial, Scope, Setting};

/// Columns of a comment.
const WIDTH: usize = 100;

impl<T: Configured> Effective<T> {
    /// All settings with what they mean. Read as a configuration file it gives this configuration.
    pub fn to_toml(&self) -> String {
        let mut out = String::new();
        for setting in T::SETTINGS {
            if !out.is_empty() {
                out.push('\n');
            }
            for line in comment(setting) {
                writeln!(out, "# {line}").expect("writing to a string cannot fail");
            }
            writeln!(out, "{}", self.assignment(setting)).expect("writing to a string cannot fail");
        }
        out
    }

    fn assignment(&self, setting: &Setting<T>) -> String {
        let Setting { key, kind, .. } = setting;
        match (self.get(key), setting.default) {
            (Some(chosen), _) => {
                let value = kind.show(&chosen.value);
                match &chosen.given.origin {
                    Origin::Default => format!("{key} = {value}"),
                    origin => format!("{key} = {value} # {origin}"),
                }
            }
            (None, Initial::Derived(words)) => format!("# {key} = ... # {words}"),
            (None, Initial::Required(example) | Initial::Text(example)) => {
                let example = kind.read(example).map(|value| kind.show(&value));
                format!("# {key} = {} # an example, it must be set", example.unwrap_or_default())
            }
        }
    }
}

fn comment<T: Configured>(setting: &Setting<T>) -> Vec<String> {
    let mut lines = wrapped(setting.effect);
    if setting.scope == Scope::Group {
        lines.push("The same in the whole group: replicas that differ refuse each other.".to_owned());
    }
    let default = match setting.default {
        Initial::Text(text) => {
            let value = setting.kind.read(text).map(|value| setting.kind.show(&value));
            format!(" Default {}.", value.unwrap_or_default())
        }
        Initial::Derived(words) => format!(" Default: {words}."),
        Initial::Required(_) => " No default.".to_owned(),
    };
    lines.extend(wrapped(&format!("{}.{default}", capitalized(&setting.kind.allowed()))));
    let rocketmq = match setting.rocketmq {
        Counterpart::None => String::new(),
        Counterpart::Same(names) => format!("; RocketMQ: {}", names.join(", ")),
        Counterpart::Through(names) => format!("; RocketMQ: from {}", names.join(", ")),
    };
    let names = format!("Flag --{}, variable {}{rocketmq}.", setting.flag(), setting.variable());
    lines.extend(wrapped(&names));
    lines
}

fn capitalized(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(chars).collect()
}

/// The text in lines of at most [`WIDTH`] columns, broken at spaces.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}
