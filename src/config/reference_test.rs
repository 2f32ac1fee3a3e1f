//! `docs/configuration.md` is written from the tables, and shown to be current here.

use std::fmt::Write as _;
use std::path::Path;

use trireme_broker::config::BrokerConfig;
use trireme_namesrv::NameServerOptions;

use super::load::{Layer, Sources, effective};
use super::setting::{Configured, Counterpart};

const INTRODUCTION: &str = "\
# Configuration

This file is made from the tables in `src/config`; `UPDATE_DOCS=1 cargo test -p trireme configuration` writes it
anew.

Settings come from flags, the environment, a file, and defaults; the first of these that has a setting decides.

| source | notation |
|---|---|
| flag | `--segment-bytes 64MiB` |
| environment | `TRIREME_SEGMENT_BYTES=64MiB`; `TRIREME_NAMESRV_...` for the name server. An empty variable counts as not set |
| TOML file, `--config broker.toml` or `TRIREME_CONFIG` | `segment_bytes = \"64 MiB\"` or `segment_bytes = 67108864` |
| RocketMQ's properties, `--config broker.conf` (or `.properties`) | `mappedFileSizeCommitLog=67108864`, or our own key |

A list is a TOML array, a text with semicolons elsewhere, or a repeated flag. Sizes take the units KiB, MiB and GiB.

A value outside its range stops the start, with the setting, the value, where it stands and what is allowed; also a
value that something stronger replaces. An unknown key in TOML is an error. An unknown property, and one that does
nothing here, is named in a warning: files of RocketMQ brokers have many.

`--print-config` shows the settings in effect, with where each comes from. What it prints is a configuration file.
Below is what it prints when nothing is set.
";

const PROPERTIES: &str = "
## RocketMQ's properties

What a `.conf` file of RocketMQ may say. The addresses of a DLedger group become ours so:

* `nK` in `dLegerPeers` and `dLegerSelfId` is replica K + 1, with that peer address.
* Its clients' address is `brokerIP1`, or else the host of its peer address, with `listenPort`.
* DLedger does not say where the *other* replicas serve clients. They are assumed at the host of their peer address
  with the same `listenPort`. Replicas that share a machine, or are given by name, need a line
  `replica=1=IP:PORT/HOST:PORT;2=...` in the same file, or `--replica` flags.
* Without `enableDLegerCommitLog=true` the group has one replica, at `brokerIP1` and `listenPort`; its peer port is
  `haListenPort`, or `listenPort` + 1.

`flushDiskType=ASYNC_FLUSH` is warned of: every message is on the disks of a majority before it is acknowledged.
`aclEnable=true` is refused, since there is no access control yet.
";

fn reference() -> String {
    let mut out = INTRODUCTION.to_owned();
    command::<NameServerOptions>(&mut out);
    command::<BrokerConfig>(&mut out);
    out.push_str(PROPERTIES);
    properties::<BrokerConfig>(&mut out);
    properties::<NameServerOptions>(&mut out);
    out
}

fn command<T: Configured>(out: &mut String) {
    let nothing = Sources { file: None, variables: Default::default(), flags: Layer::new() };
    let toml = effective::<T>(nothing).expect("the defaults are within their ranges").to_toml();
    write!(out, "\n## trireme {}\n\n```toml\n{toml}```\n", T::COMMAND).expect("a string takes it");
}

fn properties<T: Configured>(out: &mut String) {
    let settings = T::SETTINGS.iter().flat_map(|setting| {
        let meaning = match setting.rocketmq {
            Counterpart::Through(_) => format!("`{}`, see above", setting.key),
            Counterpart::None | Counterpart::Same(_) => format!("`{}`", setting.key),
        };
        setting.rocketmq.names().iter().map(move |name| (*name, meaning.clone()))
    });
    let others = T::WITHOUT_EFFECT.iter().map(|(name, reason)| (*name, (*reason).to_owned()));
    write!(out, "\n`trireme {}`:\n\n| property | here |\n|---|---|\n", T::COMMAND)
        .expect("a string takes it");
    for (name, meaning) in settings.chain(others) {
        writeln!(out, "| `{name}` | {meaning} |").expect("a string takes it");
    }
}

#[test]
fn the_configuration_reference_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    let expect = reference();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &expect).expect("docs/configuration.md can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == expect, "docs/configuration.md is not current: run this test with UPDATE_DOCS=1");
}
