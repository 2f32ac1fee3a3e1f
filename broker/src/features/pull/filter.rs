//! Which messages a consumer wants, by the hash of their tag.

use trireme_remoting::body::SubscriptionData;
use trireme_remoting::message::java_string_hash_code;

/// A tag filter. Hashes may collide: clients compare the tags themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Every message.
    All,
    /// Messages whose tags code is one of these, sorted.
    Tags(Vec<i64>),
}

/// The most tags of one expression.
const MAX_TAGS: usize = 1024;

impl Filter {
    /// From a subscription expression: `*`, nothing, or `a || b`. The error says what is wrong with it.
    pub fn parse(expression: &str) -> Result<Self, String> {
        let expression = expression.trim();
        if expression.is_empty() || expression == "*" {
            return Ok(Self::All);
        }
        let tags: Vec<&str> = expression.split("||").map(str::trim).filter(|tag| !tag.is_empty()).collect();
        if tags.is_empty() {
            return Err(format!("the expression {expression:?} names no tag"));
        }
        if tags.len() > MAX_TAGS {
            return Err(format!("the expression names {} tags, at most {MAX_TAGS} are allowed", tags.len()));
        }
        Ok(Self::of(tags.into_iter().map(|tag| i64::from(java_string_hash_code(tag)))))
    }

    /// From what a consumer told in its heartbeat.
    pub fn from_subscription(subscription: &SubscriptionData) -> Self {
        if subscription.code_set.is_empty() {
            return Self::All;
        }
        Self::of(subscription.code_set.iter().map(|code| i64::from(*code)))
    }

    /// Whether a message with this tags code is wanted.
    pub fn wants(&self, tags_code: i64) -> bool {
        match self {
            Self::All => true,
            Self::Tags(codes) => codes.binary_search(&tags_code).is_ok(),
        }
    }

    fn of(codes: impl Iterator<Item = i64>) -> Self {
        let mut codes: Vec<i64> = codes.collect();
        codes.sort_unstable();
        codes.dedup();
        Self::Tags(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions() {
        let code = |tag: &str| i64::from(java_string_hash_code(tag));
        for (expression, wanted, unwanted) in [
            ("*", vec![0, code("TagA")], vec![]),
            ("", vec![0, code("TagA")], vec![]),
            ("TagA", vec![code("TagA")], vec![0, code("TagB")]),
            (" TagA||TagB ", vec![code("TagA"), code("TagB")], vec![0, code("TagC")]),
        ] {
            let filter = Filter::parse(expression).expect(expression);
            assert!(wanted.iter().all(|code| filter.wants(*code)), "{expression:?}");
            assert!(!unwanted.iter().any(|code| filter.wants(*code)), "{expression:?}");
        }
        assert!(Filter::parse("||").is_err());
    }
}
