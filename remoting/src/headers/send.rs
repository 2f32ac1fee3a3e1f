//! The send family: codes 10, 310, 320, 324 and 325.

use super::HeaderField as _;
use crate::ext::{ExtFields, FieldError};
use crate::fields::{FieldSink, Header};

/// The header of a send, whichever names it came under.
///
/// Codes 310, 320 and 325 abbreviate the names to letters ("V2"), codes 10 and 324 write them out ("V1").
/// [`from_ext`](Self::from_ext) takes both; the caller picks the form to write.
/// Source: RocketMQ `SendMessageRequestHeader`, `SendMessageRequestHeaderV2`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SendHeader<'a> {
    /// The producer group.
    pub producer_group: &'a str,
    /// The topic to send to.
    pub topic: &'a str,
    /// The topic whose settings a topic that has to be created takes: `TBW102`.
    pub default_topic: &'a str,
    /// How many queues such a topic gets at most.
    pub default_topic_queue_nums: i32,
    /// The queue; negative lets the broker choose.
    pub queue_id: i32,
    /// Bits of [`crate::message::sys_flag`].
    pub sys_flag: i32,
    /// When the client made the message, in ms since the epoch, by its own clock.
    pub born_timestamp: i64,
    /// The user's own flag; the broker only stores it.
    pub flag: i32,
    /// `key \u{1} value \u{2}` repeated, see [`crate::message::properties`].
    pub properties: Option<&'a str>,
    /// How often a consumer has failed on the message.
    pub reconsume_times: Option<i32>,
    /// Unit mode of multi-site deployments; stored nowhere.
    pub unit_mode: Option<bool>,
    /// After how many failures the message goes to the dead-letter topic.
    pub max_reconsume_times: Option<i32>,
    /// The body is a batch. C++ sends batches under code 310, so this and not the code decides.
    pub batch: Option<bool>,
    /// The broker group that the client means (5.x).
    pub broker_name: Option<&'a str>,
}

/// The names of one field, and their order on the wire.
macro_rules! send_fields {
    ($apply:ident) => {
        $apply! {
            producer_group "a" "producerGroup",
            topic "b" "topic",
            default_topic "c" "defaultTopic",
            default_topic_queue_nums "d" "defaultTopicQueueNums",
            queue_id "e" "queueId",
            sys_flag "f" "sysFlag",
            born_timestamp "g" "bornTimestamp",
            flag "h" "flag",
            properties "i" "properties",
            reconsume_times "j" "reconsumeTimes",
            unit_mode "k" "unitMode",
            max_reconsume_times "l" "maxReconsumeTimes",
            batch "m" "batch",
            broker_name "n" "brokerName",
        }
    };
}

/// The letters in use: `a` to `n`.
const LETTERS: usize = 14;

/// Where a letter's text is kept while a header is read.
const fn place(letter: &str) -> usize {
    (letter.as_bytes()[0] - b'a') as usize
}

impl<'a> SendHeader<'a> {
    /// Reads the header under either set of names.
    ///
    /// Errors: a mandatory field is missing, or one does not parse; the error has the written-out name.
    pub fn from_ext(ext: &'a ExtFields) -> Result<Self, FieldError> {
        macro_rules! read {
            ($($field:ident $letter:literal $name:literal,)*) => {{
                let mut texts = [None; LETTERS];
                for (key, value) in ext.iter() {
                    let at = match (key.as_bytes(), key) {
                        // A letter is a place, without a search.
                        ([letter], _) => usize::from(letter.wrapping_sub(b'a')),
                        $((_, $name) => place($letter),)*
                        _ => continue,
                    };
                    if let Some(text) = texts.get_mut(at) {
                        *text = Some(value);
                    }
                }
                Ok(Self { $($field: super::HeaderField::read($name, texts[place($letter)])?,)* })
            }};
        }
        send_fields!(read)
    }

    /// The header under the letters of codes 310, 320 and 325.
    pub fn v2(&self) -> SendHeaderV2<'_> {
        SendHeaderV2(self)
    }

    /// Writes the header under the letters of codes 310, 320 and 325.
    pub fn to_ext_v2(&self) -> ExtFields {
        let mut ext = ExtFields::with_capacity(16, 96 + self.text_bytes());
        self.v2().write_fields(&mut ext);
        ext
    }

    /// Writes the header under the names of codes 10, 324 and 326.
    pub fn to_ext_v1(&self) -> ExtFields {
        let mut ext = ExtFields::with_capacity(16, 224 + self.text_bytes());
        macro_rules! write {
            ($($field:ident $letter:literal $name:literal,)*) => {
                $(self.$field.write($name, &mut ext);)*
            };
        }
        send_fields!(write);
        ext
    }

    /// Bytes of the fields that differ in length; the others and all names have a bound.
    fn text_bytes(&self) -> usize {
        let texts = [
            Some(self.topic),
            Some(self.producer_group),
            Some(self.default_topic),
            self.properties,
            self.broker_name,
        ];
        texts.into_iter().flatten().map(str::len).sum()
    }

    /// Whether the body is a batch.
    pub fn is_batch(&self) -> bool {
        self.batch == Some(true)
    }
}

/// A [`SendHeader`] that is written under the letters of codes 310, 320 and 325.
#[derive(Debug, Clone, Copy)]
pub struct SendHeaderV2<'a>(&'a SendHeader<'a>);

impl Header for SendHeaderV2<'_> {
    fn write_fields(&self, sink: &mut impl FieldSink) {
        macro_rules! write {
            ($($field:ident $letter:literal $name:literal,)*) => {
                $(self.0.$field.write($letter, sink);)*
            };
        }
        send_fields!(write);
    }
}

super::header! {
    /// The answer to a send; mandatory with codes 0, 10, 11 and 12.
    SendResponse<'a> {
        /// The offsetMsgId; comma-joined for a batch.
        msg_id: &'a str = "msgId",
        /// The queue that the message is in.
        queue_id: i32 = "queueId",
        /// Its offset there; the first one's for a batch.
        queue_offset: i64 = "queueOffset",
        /// UNIQ_KEY of a half message.
        transaction_id: Option<&'a str> = "transactionId",
        /// UNIQ_KEY of a batch (5.x).
        batch_uniq_id: Option<&'a str> = "batchUniqId",
        /// What a delayed message can be recalled with (5.x).
        recall_handle: Option<&'a str> = "recallHandle",
        /// `DefaultRegion`.
        region: Option<&'a str> = "MSG_REGION",
        /// Whether the broker lets traces through.
        trace_on: Option<bool> = "TRACE_ON",
    }
}
