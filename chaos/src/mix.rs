//! Named mixes of faults.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use rand::Rng;
use rand::seq::IndexedRandom;

use crate::fault::{self, Action, Fault, Whom};

/// In milliseconds, at least and at most: until another replica leads, and a little longer.
const STRIKES_LAST: (u64, u64) = (1_800, 2_500);

/// Between two of them.
const STRIKES_REST: (u64, u64) = (500, 1_500);

/// Which faults a run draws from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mix {
    /// Everything that there is.
    All,
    /// Processes killed, by themselves and together.
    Kill,
    /// Power cut: what was not synced is gone.
    Power,
    /// Processes that stand still and go on.
    Pause,
    /// Clocks that are ahead, or behind.
    Clock,
    /// Networks that are cut, on both ways or on one, or bad.
    Network,
    /// Disks that are full, or slow.
    Disk,
    /// Replicas lost for good, and new ones in their place; older stores that are put back.
    Members,
    /// Leaders killed, frozen and isolated: how long is it until messages are taken again?
    Failover,
    /// Files of one replica are damaged, one at a time: [`crate::damage`].
    Damage,
    /// Nothing is done. What fails here is not the fault of a fault.
    None,
}

/// Name, mix, what it is.
const NAMES: [(&str, Mix); 11] = [
    ("all", Mix::All),
    ("kill", Mix::Kill),
    ("power", Mix::Power),
    ("pause", Mix::Pause),
    ("clock", Mix::Clock),
    ("network", Mix::Network),
    ("disk", Mix::Disk),
    ("members", Mix::Members),
    ("failover", Mix::Failover),
    ("damage", Mix::Damage),
    ("none", Mix::None),
];

impl Mix {
    /// Its name.
    pub fn name(self) -> &'static str {
        NAMES.iter().find(|(_, mix)| *mix == self).map_or("?", |(name, _)| name)
    }

    /// The names of its faults, each once.
    pub fn fault_names(self) -> BTreeSet<String> {
        self.faults().into_iter().map(|(action, whom)| fault::name(action, whom)).collect()
    }

    /// The names of those that cannot be made here.
    pub fn skipped(self) -> BTreeSet<String> {
        let impossible = self.faults().into_iter().filter(|(action, _)| !fault::is_possible(*action));
        impossible.map(|(action, whom)| fault::name(action, whom)).collect()
    }

    /// Whether clocks are to be set wrong.
    pub fn has_clocks(self) -> bool {
        self.faults().iter().any(|(action, _)| *action == Action::WrongClock)
    }

    /// Draws a fault, one whose name begins so. `None` if there are none.
    pub fn draw(self, only: &str, random: &mut impl Rng) -> Option<Fault> {
        let mut faults = self.faults();
        faults.retain(|(action, whom)| {
            fault::name(*action, *whom).starts_with(only) && fault::is_possible(*action)
        });
        let (action, whom) = *faults.choose(random)?;
        let (least, most) = if self == Self::Failover { STRIKES_LAST } else { action.lasts() };
        let lasts = Duration::from_millis(random.random_range(least..=most));
        Some(Fault { action, whom, lasts })
    }

    /// A time before the next fault, of quiet.
    pub fn rest(self, random: &mut impl Rng) -> Duration {
        let (least, most) = if self == Self::Failover { STRIKES_REST } else { (200, 4_000) };
        Duration::from_millis(random.random_range(least..most))
    }

    /// What is drawn from, each as often as it is named.
    fn faults(self) -> Vec<(Action, Whom)> {
        use Action::{
            BadNetwork, Bridge, CutOff, Deaf, DiskFull, Isolate, Kill, Muted, NameServers, OldStore, Pause,
            PausedThenPower, Power, Replace, ReplaceAndKill, SlowDisk, Storm, SyncFails, Transfer,
            WrongClock,
        };
        use Whom::{All, Follower, Leader, Majority};
        let kill = [(Kill, Leader), (Kill, Follower), (Kill, Majority), (Kill, All), (Storm, All)];
        let power = [
            (Power, Leader),
            (Power, Follower),
            (Power, Majority),
            (Power, All),
            (PausedThenPower, Majority),
            (SyncFails, Leader),
            (SyncFails, All),
        ];
        let pause = [(Pause, Leader), (Pause, Leader), (Pause, Follower), (Pause, Majority)];
        let network = [
            (Isolate, Leader),
            (Isolate, Follower),
            (CutOff, Leader),
            (Muted, Leader),
            (Deaf, Leader),
            (Muted, Follower),
            (Bridge, Follower),
            (BadNetwork, All),
        ];
        let disk = [
            (DiskFull, Leader),
            (DiskFull, Follower),
            (DiskFull, All),
            (SlowDisk, Leader),
            (SlowDisk, Follower),
            (SlowDisk, All),
        ];
        let members =
            [(Replace, Leader), (Replace, Follower), (ReplaceAndKill, Follower), (OldStore, Follower)];
        let clock = [(WrongClock, Leader), (WrongClock, Follower), (WrongClock, All)];
        let others = [(Transfer, Leader), (NameServers, Follower), (NameServers, All)];
        match self {
            Self::All => {
                [&kill[..], &power, &power, &pause, &clock, &network, &disk, &members, &others].concat()
            }
            Self::Kill => kill.into(),
            Self::Power => power.into(),
            Self::Pause => pause.into(),
            Self::Clock => clock.into(),
            Self::Network => network.into(),
            Self::Disk => disk.into(),
            Self::Members => members.into(),
            Self::Failover => vec![(Kill, Leader), (Pause, Leader), (CutOff, Leader), (Isolate, Leader)],
            Self::Damage | Self::None => Vec::new(),
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Mix {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let names = || NAMES.map(|(name, _)| name).join(", ");
        let found = NAMES.iter().find(|(known, _)| *known == name);
        found.map(|(_, mix)| *mix).ok_or_else(|| format!("there is no mix {name:?}; there are {}", names()))
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    #[test]
    fn a_seed_draws_the_same_faults() {
        let draw = |seed| {
            let mut random = StdRng::seed_from_u64(seed);
            (0..20).map(|_| Mix::All.draw("", &mut random).map(|fault| fault.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
        assert!(Mix::None.draw("", &mut StdRng::seed_from_u64(1)).is_none());
        for name in Mix::All.fault_names() {
            let drawn = Mix::All.draw(&name, &mut StdRng::seed_from_u64(1)).map(|fault| fault.to_string());
            let is_skipped = Mix::All.skipped().contains(&name);
            assert!(is_skipped || drawn.is_some_and(|drawn| drawn.starts_with(&name)), "{name}");
        }
        for (name, mix) in NAMES {
            assert_eq!(name.parse(), Ok(mix));
        }
    }
}
