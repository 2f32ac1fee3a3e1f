//! What recovery does where the log stops making sense: the table of `FORMAT.md`, as code.
//!
//! Intuition first. Writes that were not synced may reach the disk in any order, sector by sector, or not at all; what
//! did not reach it reads as zeros, because segments are zeroed before they are used and after they are truncated. So
//! a spot above the synced mark may be *missing*: with the sectors that were lost showing as zeros. Missing bytes were
//! never reported durable, and neither was anything behind them, since a flush covers all that was written before it.
//! Bytes that are *there but wrong* are no such thing. If sound frames follow them, they were written whole, and have
//! changed since: that is damage to what this replica may have acknowledged.

/// What is at the first place that does not hold the next sound frame.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Spot {
    /// Where a header must be, all is zero.
    Zero,
    /// A bad frame of which at least one sector's part is all zero: a write may have been lost there.
    Hole,
    /// A bad frame without such a part: no lost write explains it.
    Damaged,
    /// A frame that is sound by itself, but is not the one that comes next.
    OutOfSequence,
}

/// What is behind it, up to the end of the last segment.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Behind {
    /// Zeros.
    Nothing,
    /// Bytes, but no sound frame.
    Rest,
    /// A sound frame that names the physical offset where it lies.
    Frame,
}

/// What to do about it.
#[derive(Copy, Clone, Debug, Eq, PartialEq)]
pub(crate) enum Verdict {
    /// The log ends here, cleanly.
    End,
    /// The log ends here; what follows was never reported durable and is zeroed.
    Cut,
    /// The replica must not vote or serve: this was durable, or cannot be told from what was.
    Corrupt,
}

/// Decides. `durable`: the spot lies below the synced mark's end.
pub(crate) fn judge(durable: bool, spot: Spot, behind: Behind) -> Verdict {
    match (durable, spot, behind) {
        // Below the mark everything was on disk once.
        (true, _, _) => Verdict::Corrupt,
        // Truncation zeroes, so an old frame cannot lie in the way of a new one: something wrote it here.
        (false, Spot::OutOfSequence, _) => Verdict::Corrupt,
        (false, Spot::Zero, Behind::Nothing) => Verdict::End,
        // A torn tail: the last writes before the crash, in part.
        (false, Spot::Zero | Spot::Hole | Spot::Damaged, Behind::Nothing | Behind::Rest) => Verdict::Cut,
        // Later writes reached the disk, this one did not: a flush was under way.
        (false, Spot::Zero | Spot::Hole, Behind::Frame) => Verdict::Cut,
        (false, Spot::Damaged, Behind::Frame) => Verdict::Corrupt,
    }
}

#[cfg(test)]
mod tests {
    use super::Behind::{Frame, Nothing, Rest};
    use super::Spot::{Damaged, Hole, OutOfSequence, Zero};
    use super::Verdict::{Corrupt, Cut, End};
    use super::*;

    /// Every combination, in the order of the table in `FORMAT.md`.
    #[test]
    fn table() {
        for spot in [Zero, Hole, Damaged, OutOfSequence] {
            for behind in [Nothing, Rest, Frame] {
                assert_eq!(judge(true, spot, behind), Corrupt, "{spot:?} {behind:?} below the mark");
            }
        }
        let above = [
            (Zero, Nothing, End),
            (Zero, Rest, Cut),
            (Zero, Frame, Cut),
            (Hole, Nothing, Cut),
            (Hole, Rest, Cut),
            (Hole, Frame, Cut),
            (Damaged, Nothing, Cut),
            (Damaged, Rest, Cut),
            (Damaged, Frame, Corrupt),
            (OutOfSequence, Nothing, Corrupt),
            (OutOfSequence, Rest, Corrupt),
            (OutOfSequence, Frame, Corrupt),
        ];
        for (spot, behind, verdict) in above {
            assert_eq!(judge(false, spot, behind), verdict, "{spot:?} {behind:?} above the mark");
        }
    }
}
