//! Looking for separators.

/// Where `one` or `other` first is, or the length: eight bytes at a time.
pub(crate) fn find(bytes: &[u8], one: u8, other: u8) -> usize {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = LOW << 7;
    // The lowest high bit that is set marks the first byte that is zero; those above it may be wrong.
    let zeros = |word: u64| word.wrapping_sub(LOW) & !word & HIGH;
    let (ones, others) = (LOW * u64::from(one), LOW * u64::from(other));
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = zeros(word ^ ones) | zeros(word ^ others);
        if found != 0 {
            return at * 8 + found.trailing_zeros() as usize / 8;
        }
    }
    let behind = rest.iter().position(|byte| *byte == one || *byte == other).unwrap_or(rest.len());
    bytes.len() - rest.len() + behind
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_agrees_with_a_plain_search() {
        // Bytes next to the wanted ones, where borrows between the bytes of a word could mislead.
        let alphabet = [b'"', b'\\', b'!', b'#', b'[', b']', 0x80, 0xff, 0, 1];
        let mut state = 1u32;
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            for _ in 0..state >> 27 {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                bytes.push(alphabet[(state >> 16) as usize % alphabet.len()]);
            }
            let plain = bytes.iter().position(|byte| matches!(byte, b'"' | b'\\')).unwrap_or(bytes.len());
            assert_eq!(find(&bytes, b'"', b'\\'), plain, "{bytes:?}");
        }
    }
}
