//! RocketMQ's properties of a name server that have no counterpart among the settings.
//!
//! Source: RocketMQ 4.9 and 5.3 `NamesrvConfig`, `NettyServerConfig`.

use crate::config::load::Layer;
use crate::config::origin::Given;
use crate::config::properties::Properties;

const THREADS: &str = "is ignored: requests share the threads of the whole process";
const HOME: &str = "is ignored: a name server keeps nothing but its kvConfigPath";

/// RocketMQ's `listenPort` if it is not set.
const DEFAULT_PORT: &str = "9876";

/// Properties that are understood and do nothing, each with the reason.
pub const WITHOUT_EFFECT: &[(&str, &str)] = &[
    ("rocketmqHome", HOME),
    ("configStorePath", HOME),
    ("productEnvName", HOME),
    ("clusterTest", "is ignored: unknown topics are not looked up elsewhere"),
    ("serverWorkerThreads", THREADS),
    ("serverCallbackExecutorThreads", THREADS),
    ("serverSelectorThreads", THREADS),
    ("clientRequestThreadPoolNums", THREADS),
    ("clientRequestThreadPoolQueueCapacity", THREADS),
    ("defaultThreadPoolNums", THREADS),
    ("defaultThreadPoolQueueCapacity", THREADS),
    ("unRegisterBrokerQueueCapacity", THREADS),
    ("useEpollNativeSelector", THREADS),
    ("supportActingMaster", "is ignored: groups elect their leader, and it is the master"),
    ("enableControllerInNamesrv", "is ignored: groups elect their leader, there is no controller"),
    ("needWaitForService", "is ignored: routes are told as soon as they are known"),
    ("waitSecondsForService", "is ignored: routes are told as soon as they are known"),
];

/// Takes `bindAddress` and `listenPort` out, which are `listen` together.
pub fn translate(properties: &mut Properties, layer: &mut Layer) {
    let (ip, port) = (properties.take("bindAddress"), properties.take("listenPort"));
    let Some(first) = port.as_ref().or(ip.as_ref()) else { return };
    let name = if port.is_some() { "listenPort" } else { "bindAddress" };
    let origin = first.origin.clone();
    let ip = ip.as_ref().map_or("0.0.0.0", |ip| ip.value.as_str());
    let port = port.as_ref().map_or(DEFAULT_PORT, |port| port.value.as_str());
    let text = if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    layer.insert("listen", Given::new(name, text, origin));
}
