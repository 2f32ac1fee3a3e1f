//! RocketMQ's properties, understood as our settings.
//!
//! Most correspond one to one and stand in the tables of settings. Addresses do only together: see
//! [`addresses`]. What Trireme does not have is accepted and named in a warning, so that a file that a RocketMQ
//! broker was started with also starts this one, and nobody believes in a setting that does nothing.

pub mod addresses;
pub mod broker;
pub mod namesrv;

use super::load::Layer;
use super::nearest::nearest;
use super::origin::Given;
use super::problem::{Problem, Warning};
use super::properties::{Properties, Property};
use super::setting::{Configured, Counterpart};

/// The settings in a file of properties. Keys of our own are understood in it too.
pub fn read<T: Configured>(
    mut properties: Properties,
    problems: &mut Vec<Problem>,
    warnings: &mut Vec<Warning>,
) -> Layer {
    drop_empty(&mut properties, warnings);
    let mut layer = Layer::new();
    T::translate(&mut properties, &mut layer, problems, warnings);
    for setting in T::SETTINGS {
        let same: &[&str] = match setting.rocketmq {
            Counterpart::Same(names) => names,
            Counterpart::None | Counterpart::Through(_) => &[],
        };
        for &name in same.iter().chain([&setting.key]) {
            let Some(Property { value, origin, .. }) = properties.take(name) else { continue };
            if let Some(weaker) = layer.insert(setting.key, Given::new(name, value, origin))
                && weaker.flaw.is_none()
            {
                warnings.push(Warning::new(weaker.name, weaker.origin, format!("is replaced by {name}")));
            }
        }
    }
    for (name, reason) in T::WITHOUT_EFFECT {
        if let Some(property) = properties.take(name) {
            warnings.push(Warning::new(*name, property.origin, *reason));
        }
    }
    for Property { key, origin, .. } in properties.into_rest() {
        let meant = nearest(&key, known_names::<T>()).map(|name| format!("; did you mean {name}?"));
        let reason = format!("is ignored, there is no such setting here{}", meant.unwrap_or_default());
        warnings.push(Warning::new(key, origin, reason));
    }
    layer
}

fn drop_empty(properties: &mut Properties, warnings: &mut Vec<Warning>) {
    for Property { key, origin, .. } in properties.take_if(|property| property.value.is_empty()) {
        warnings.push(Warning::new(key, origin, "is ignored, its value is empty"));
    }
}

/// Every property that means something here.
fn known_names<T: Configured>() -> impl Iterator<Item = &'static str> {
    let settings =
        T::SETTINGS.iter().flat_map(|setting| setting.rocketmq.names().iter().copied().chain([setting.key]));
    settings.chain(T::WITHOUT_EFFECT.iter().map(|(name, _)| *name))
}
