//! Settings in environment variables, `TRIREME_KEY`.

use std::collections::BTreeMap;

use super::load::Layer;
use super::nearest::nearest;
use super::origin::{Given, Origin};
use super::problem::Warning;
use super::setting::Configured;

/// The variables of this process; what is not UTF-8 is shown as such by the check of its value.
pub fn variables() -> BTreeMap<String, String> {
    let lossy = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    std::env::vars_os().map(|(name, value)| (lossy(name), lossy(value))).collect()
}

/// The settings among `variables`. Empty ones count as not set; unknown ones with our prefix are warned of.
pub fn read<T: Configured>(variables: &BTreeMap<String, String>, warnings: &mut Vec<Warning>) -> Layer {
    let mut layer = Layer::new();
    for (name, value) in variables.range(T::VARIABLE_PREFIX.to_owned()..) {
        let Some(rest) = name.strip_prefix(T::VARIABLE_PREFIX) else { break };
        let other = |own: &&str| own.strip_suffix('_').map_or(name == own, |_| name.starts_with(*own));
        if T::OTHER_VARIABLES.iter().any(other) || value.is_empty() {
            continue;
        }
        let key = rest.to_lowercase();
        let Some(setting) = T::SETTINGS.iter().find(|setting| setting.variable() == *name) else {
            let near = nearest(&key, T::SETTINGS.iter().map(|setting| setting.key));
            let meant =
                near.map(|key| format!("; did you mean {}{}?", T::VARIABLE_PREFIX, key.to_uppercase()));
            let reason = format!("is not a setting of trireme {}{}", T::COMMAND, meant.unwrap_or_default());
            warnings.push(Warning::new(name, Origin::Variable(name.clone()), reason));
            continue;
        };
        layer.insert(setting.key, Given::new(setting.key, value, Origin::Variable(name.clone())));
    }
    layer
}
