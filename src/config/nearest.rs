//! Guesses what a mistyped name was meant to be.

/// No name is longer.
const MAX_BYTES: usize = 64;

/// The name that is nearest to `wrong`, if any is near: at most a third of its letters differ.
pub fn nearest(wrong: &str, names: impl IntoIterator<Item = &'static str>) -> Option<&'static str> {
    if wrong.len() > MAX_BYTES {
        return None;
    }
    let wrong = wrong.to_ascii_lowercase();
    let allowed = (wrong.len() / 3).clamp(1, 4);
    names
        .into_iter()
        .map(|name| (distance(&wrong, &name.to_ascii_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Levenshtein's distance in bytes.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, a) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in b.bytes().enumerate() {
            let above = row[j + 1];
            let substituted = diagonal + usize::from(a != b);
            row[j + 1] = substituted.min(above + 1).min(row[j] + 1);
            diagonal = above;
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guesses() {
        let names = ["segment_bytes", "store", "node", "namesrv", "election_min_ms", "election_max_ms"];
        for (wrong, expect) in [
            ("segment_byte", Some("segment_bytes")),
            ("segmentBytes", Some("segment_bytes")),
            ("Store", Some("store")),
            ("nod", Some("node")),
            ("nameserv", Some("namesrv")),
            ("election_mix_ms", Some("election_min_ms")),
            ("colour", None),
            ("", None),
        ] {
            assert_eq!(nearest(wrong, names), expect, "{wrong:?}");
        }
    }
}
