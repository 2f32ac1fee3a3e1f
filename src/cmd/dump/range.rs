//! `FROM..TO` on the command line.

use std::str::FromStr;

/// Half open: `from <= n < to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    pub from: u64,
    pub to: u64,
}

impl Range {
    pub const ALL: Range = Range { from: 0, to: u64::MAX };

    pub fn contains(self, n: u64) -> bool {
        self.from <= n && n < self.to
    }
}

impl FromStr for Range {
    type Err = String;

    /// `A..B`, `A..`, `..B`, `..`, or a single number.
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |text: &str, missing| match text {
            "" => Ok(missing),
            text => text.parse::<u64>().map_err(|_| format!("{text:?} is not a number from 0 on")),
        };
        let range = match text.split_once("..") {
            Some((from, to)) => Range { from: number(from, 0)?, to: number(to, u64::MAX)? },
            None => {
                let from = text.parse().map_err(|_| format!("{text:?} is neither FROM..TO nor a number"))?;
                Range { from, to: from.saturating_add(1) }
            }
        };
        if range.from > range.to {
            return Err(format!("{text} ends before it begins"));
        }
        Ok(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        for (text, from, to) in [
            ("3..7", 3, 7),
            ("3..", 3, u64::MAX),
            ("..7", 0, 7),
            ("..", 0, u64::MAX),
            ("5", 5, 6),
            ("4..4", 4, 4),
        ] {
            assert_eq!(text.parse(), Ok(Range { from, to }), "{text}");
        }
        for text in ["", "x", "7..3", "1..x", "-1", "1..2..3"] {
            assert!(text.parse::<Range>().is_err(), "{text}");
        }
        assert!(Range { from: 3, to: 7 }.contains(3) && !Range { from: 3, to: 7 }.contains(7));
    }
}
