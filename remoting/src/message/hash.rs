//! The hashes and checksums that clients and brokers share.

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
pub fn java_string_hash_code(text: &str) -> i32 {
    text.encode_utf16().fold(0, |hash: i32, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// What a ConsumeQueue unit and a subscription say of a tag: its hash code, sign-extended; 0 without a tag.
pub fn tags_code(tags: Option<&str>) -> i64 {
    match tags {
        Some(tags) => i64::from(java_string_hash_code(tags)),
        None => 0,
    }
}

/// The hash of an index key (`topic#key`): the magnitude of its hash code; that of the one value without a
/// magnitude is 0.
pub fn index_hash(key: &str) -> i32 {
    java_string_hash_code(key).checked_abs().unwrap_or(0)
}

/// The CRC-32 of a body as it is stored: without its top bit.
///
/// Compute it where the request is handled, not where messages are put in sequence: that task serves all.
pub fn body_crc(body: &[u8]) -> u32 {
    crc32fast::hash(body) & 0x7fff_ffff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_codes_are_those_of_java() {
        for (text, hash) in [
            ("", 0),
            ("TagA", 2598919),
            ("TagB", 2598920),
            ("*", 42),
            ("TopicTest#KEY1", -1656969516),
            ("polygenelubricants", i32::MIN),
            ("😀", 1772899),
        ] {
            assert_eq!(java_string_hash_code(text), hash, "{text}");
        }
        assert_eq!(index_hash("TopicTest#KEY1"), 1656969516);
        assert_eq!(index_hash("polygenelubricants"), 0);
        assert_eq!(tags_code(Some("TagA")), 2598919);
        assert_eq!(tags_code(Some("polygenelubricants")), i64::from(i32::MIN));
        assert_eq!(tags_code(None), 0);
    }

    #[test]
    fn body_crc_has_no_top_bit() {
        assert_eq!(body_crc(b"Hello RocketMQ"), 1774740973);
        assert_eq!(body_crc(b"123456789"), 0xcbf4_3926 & 0x7fff_ffff);
    }
}
