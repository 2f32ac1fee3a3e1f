//! Which numbers of a sequence have been met.

/// A set of numbers from 0 on, a bit each.
#[derive(Debug, Default)]
pub struct Sequences {
    words: Vec<u64>,
}

/// Beyond this number nothing is counted: 128 MiB of bits, and more than a benchmark sends.
const MAX: u64 = 1 << 30;

impl Sequences {
    /// Adds a number; `false` if it was there, or is one that no benchmark gives.
    pub fn insert(&mut self, number: u64) -> bool {
        if number >= MAX {
            return false;
        }
        let (word, bit) = ((number / 64) as usize, 1 << (number % 64));
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        let new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        new
    }

    /// How many of these are not among `others`.
    pub fn missing_from(&self, others: &Self) -> u64 {
        let other = |nth: usize| others.words.get(nth).copied().unwrap_or(0);
        self.words.iter().enumerate().map(|(nth, word)| u64::from((word & !other(nth)).count_ones())).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets() {
        let (mut sent, mut seen) = (Sequences::default(), Sequences::default());
        for number in [0, 1, 63, 64, 1000] {
            assert!(sent.insert(number) && !sent.insert(number));
        }
        assert_eq!(sent.missing_from(&seen), 5);
        for number in [1000, 0, 64, 5000] {
            seen.insert(number);
        }
        assert_eq!(sent.missing_from(&seen), 2);
        assert_eq!(seen.missing_from(&sent), 1);
        assert!(!sent.insert(u64::MAX));
    }
}
