//! Defects that are made on purpose, to see that the harness finds them.
//!
//! A build with the feature `planted` has them, and one of them is awake if the variable `PLANTED` names it. Such a build
//! is for tests only: it cannot be a release build. In any other build [`is`] is `false`, and the compiler leaves out what
//! it guards.

#[cfg(all(feature = "on", not(debug_assertions)))]
compile_error!("a release build has no planted defects: build without the feature `planted`");

macro_rules! defects {
    ($($(#[$doc:meta])+ $name:ident = $word:literal,)+) => {
        /// What can be wrong.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Defect { $($(#[$doc])+ $name,)+ }

        /// Each defect and its name.
        pub const DEFECTS: &[(&str, Defect)] = &[$(($word, Defect::$name),)+];
    };
}

defects! {
    /// An entry counts as written before its sync: acknowledged is what a power cut takes away.
    LogNotSynced = "log-not-synced",
    /// A sync that fails counts as one that worked.
    SyncErrorIgnored = "sync-error-ignored",
    /// A replica that starts again has forgotten its vote and its term.
    VoteForgotten = "vote-forgotten",
    /// Recovery takes what is not below the synced mark for a torn tail.
    TailCutTooShort = "tail-cut-too-short",
    /// A follower keeps a conflicting tail.
    TailNotTruncated = "tail-not-truncated",
    /// Where a queue ends is answered by whoever is asked, whether it leads or not.
    EndsFromAnybody = "ends-from-anybody",
    /// A topic's configuration is told by whoever is asked, whether it leads or not.
    ConfigFromAnybody = "config-from-anybody",
    /// A delayed message is delivered up to half a second before its time.
    DelayedEarly = "delayed-early",
    /// Whoever delivers delayed messages delivers the one before them once more.
    DelayedTwice = "delayed-twice",
    /// A new leader does not know who holds which queue that is consumed in order.
    LocksNotKept = "locks-not-kept",
    /// A message becomes a dead letter with its last but one failure.
    DeadTooEarly = "dead-too-early",
    /// Of messages that consumers give back, one in some is acknowledged and not stored.
    GivenBackLost = "given-back-lost",
    /// A leader answers without asking whether it is still within its lease.
    LeaseNotChecked = "lease-not-checked",
    /// Positions of consumers are kept by the leader, and not in the log.
    PositionsNotReplicated = "positions-not-replicated",
    /// A leader that leads again goes on with the queue offsets of its last time.
    OffsetsOfAnOldTerm = "offsets-of-an-old-term",
    /// What may have been stored is refused as if it certainly were not.
    UnknownToldAsRefused = "unknown-told-as-refused",
    /// What may have been stored is passed on once more, to whoever leads now.
    UnknownSentAgain = "unknown-sent-again",
    /// A pull that waited is answered with the last message, not with the first that came.
    LongPollSkips = "long-poll-skips",
    /// One of many messages is left out of what is pulled.
    PullLeavesOut = "pull-leaves-out",
    /// A follower's late reply counts as one to a later request, and prolongs the leader's lease.
    ReplyProlongsLease = "reply-prolongs-lease",
    /// A leader answers before it has applied what its predecessors acknowledged.
    LeaderReadyTooSoon = "leader-ready-too-soon",
    /// What the hard state's database calls durable is taken for it.
    HardStateNotSynced = "hard-state-not-synced",
    /// A new store is used before all of its files are durable.
    NewStoreNotSynced = "new-store-not-synced",
    /// The mark up to which the log is said to be synced is ahead of it.
    MarkAhead = "mark-ahead",
    /// The saved state is said to contain one entry more than it does.
    SavedAhead = "saved-ahead",
    /// The positions of consumers are missing from what a restart goes on from.
    SavedWithoutPositions = "saved-without-positions",
    /// They are missing from what a new replica begins with.
    CheckpointWithoutPositions = "checkpoint-without-positions",
    /// More of the log is let go of than the settings say.
    TrimsTooMuch = "trims-too-much",
    /// A replica whose store is an older copy of what it was goes on with it.
    OldStoreUsed = "old-store-used",
    /// A replica ends when it hears of its second leader.
    EndsWithItsLeader = "ends-with-its-leader",
}

/// Whether this defect is awake.
#[cfg(feature = "on")]
pub fn is(defect: Defect) -> bool {
    static AWAKE: std::sync::OnceLock<Option<Defect>> = std::sync::OnceLock::new();
    let named = || {
        let name = std::env::var("PLANTED").ok()?;
        DEFECTS.iter().find(|(known, _)| *known == name).map(|(_, defect)| *defect)
    };
    *AWAKE.get_or_init(named) == Some(defect)
}

/// Whether this defect is awake: never.
#[cfg(not(feature = "on"))]
#[inline(always)]
pub const fn is(_: Defect) -> bool {
    false
}
