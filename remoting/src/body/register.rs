//! The body of a broker's registration, plain and compressed.
//!
//! The compressed form is a zlib stream, not of the JSON but of a notation of its own: parts behind their
//! 32-bit length. Source: RocketMQ `RegisterBrokerBody`, `TopicConfig#encode`.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};

use bytes::Bytes;
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use serde::Serialize;
use thiserror::Error;

use super::{DataVersion, TopicConfig, TopicConfigSerializeWrapper, TopicFilterType, bodies};
use crate::json::{self, JsonError};
use crate::version;

/// What a compressed body may inflate to: four times the largest frame.
const INFLATED_MAX: u64 = 64 * 1024 * 1024;

bodies! {
    /// Request of `REGISTER_BROKER` (103).
    #[derive(Default, Eq)]
    pub struct RegisterBrokerBody {
        /// The broker's filter servers; nobody has any.
        pub filter_server_list: Vec<String>,
        /// Its topics.
        pub topic_config_serialize_wrapper: TopicConfigSerializeWrapper,
    }
}

/// Why a compressed registration cannot be read.
#[derive(Debug, Error)]
pub enum RegisterBodyError {
    /// The stream is not zlib, ends early, or inflates to too much.
    #[error("inflating: {0}")]
    Inflate(#[from] io::Error),
    /// A part's length is negative.
    #[error("length {0} is negative")]
    Length(i32),
    /// A part of JSON is not.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A topic is not `name readQueues writeQueues perm filterType [attributes]`.
    #[error("topic {0:?} is malformed")]
    Topic(String),
}

impl RegisterBrokerBody {
    /// Reads the compressed form of a broker of this version (its frame's).
    ///
    /// Memory grows with what really comes out of the stream, up to 64 MiB.
    pub fn decode_compressed(bytes: &[u8], version: i32) -> Result<Self, RegisterBodyError> {
        Self::decode_within(INFLATED_MAX, bytes, version)
    }

    pub(super) fn decode_within(
        inflated_max: u64,
        bytes: &[u8],
        version: i32,
    ) -> Result<Self, RegisterBodyError> {
        let mut input = Inflate { stream: ZlibDecoder::new(bytes).take(inflated_max) };
        let mut wrapper = TopicConfigSerializeWrapper {
            data_version: json::from_slice(&input.part()?)?,
            ..TopicConfigSerializeWrapper::default()
        };
        for _ in 0..input.length()? {
            let topic = parse_topic(&input.part()?)?;
            wrapper.topic_config_table.insert(topic.topic_name.clone(), topic);
        }
        let filter_server_list = json::from_slice(&input.part()?)?;
        if version >= version::V5_0_0 {
            for _ in 0..input.length()? {
                let mapping = json::parse(&input.part()?)?;
                let topic =
                    mapping.get("topic").and_then(|topic| topic.as_str()).unwrap_or_default().to_owned();
                wrapper.topic_queue_mapping_info_map.insert(topic, mapping);
            }
        }
        input.finish()?;
        Ok(Self { filter_server_list, topic_config_serialize_wrapper: wrapper })
    }

    /// Writes the compressed form for a name server of the version that our frame claims.
    ///
    /// Name servers before 5.0 refuse topics with attributes and know no mappings; both are left out for them.
    pub fn encode_compressed(&self, version: i32) -> Bytes {
        let mut out = Deflate { stream: ZlibEncoder::new(Vec::new(), Compression::best()) };
        let wrapper = &self.topic_config_serialize_wrapper;
        out.json(&wrapper.data_version);
        out.length(wrapper.topic_config_table.len());
        for topic in wrapper.topic_config_table.values() {
            out.part(format_topic(topic, version >= version::V5_0_0).as_bytes());
        }
        out.json(&self.filter_server_list);
        if version >= version::V5_0_0 {
            out.length(wrapper.topic_queue_mapping_info_map.len());
            wrapper.topic_queue_mapping_info_map.values().for_each(|mapping| out.json(mapping));
        }
        out.stream.finish().expect(IN_MEMORY).into()
    }
}

const IN_MEMORY: &str = "writing to memory cannot fail";

fn format_topic(topic: &TopicConfig, attributes: bool) -> String {
    let TopicConfig { topic_name, read_queue_nums, write_queue_nums, perm, topic_filter_type, .. } = topic;
    let filter = topic_filter_type.name();
    let mut text = format!("{topic_name} {read_queue_nums} {write_queue_nums} {perm} {filter}");
    if attributes {
        text.push(' ');
        text.push_str(&json::to_string(&topic.attributes).expect("a map of text has a json form"));
    }
    text
}

fn parse_topic(bytes: &[u8]) -> Result<TopicConfig, RegisterBodyError> {
    let malformed =
        || RegisterBodyError::Topic(String::from_utf8_lossy(&bytes[..bytes.len().min(256)]).into());
    let text = std::str::from_utf8(bytes).map_err(|_| malformed())?;
    let mut parts = text.splitn(6, ' ');
    let mut part = || parts.next().ok_or_else(malformed);
    let topic_name = part()?.to_owned();
    let mut number = || part()?.parse().map_err(|_| malformed());
    let (read_queue_nums, write_queue_nums, perm) = (number()?, number()?, number()?);
    let filter = part()?;
    let attributes = match part() {
        Ok(attributes) if !attributes.trim().is_empty() => json::from_slice(attributes.as_bytes())?,
        _ => BTreeMap::new(),
    };
    if topic_name.is_empty() {
        return Err(malformed());
    }
    Ok(TopicConfig {
        attributes,
        perm,
        read_queue_nums,
        topic_filter_type: TopicFilterType::from_name(filter).ok_or_else(malformed)?,
        topic_name,
        write_queue_nums,
        ..TopicConfig::default()
    })
}

struct Inflate<'a> {
    stream: io::Take<ZlibDecoder<&'a [u8]>>,
}

impl Inflate<'_> {
    fn length(&mut self) -> Result<usize, RegisterBodyError> {
        let mut bytes = [0; 4];
        self.stream.read_exact(&mut bytes)?;
        let length = i32::from_be_bytes(bytes);
        usize::try_from(length).map_err(|_| RegisterBodyError::Length(length))
    }

    fn part(&mut self) -> Result<Vec<u8>, RegisterBodyError> {
        let length = self.length()?;
        let mut part = Vec::new();
        let read = self.stream.by_ref().take(length as u64).read_to_end(&mut part)?;
        if read < length {
            return Err(RegisterBodyError::Inflate(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(part)
    }

    /// Steps over what a later version may have added; the stream's checksum is verified at its end.
    fn finish(&mut self) -> Result<(), RegisterBodyError> {
        io::copy(&mut self.stream, &mut io::sink())?;
        Ok(())
    }
}

struct Deflate {
    stream: ZlibEncoder<Vec<u8>>,
}

impl Deflate {
    fn length(&mut self, length: usize) {
        let length = i32::try_from(length).expect("a registration has less than two billion parts");
        self.stream.write_all(&length.to_be_bytes()).expect(IN_MEMORY);
    }

    fn part(&mut self, part: &[u8]) {
        self.length(part.len());
        self.stream.write_all(part).expect(IN_MEMORY);
    }

    fn json(&mut self, value: &impl Serialize) {
        self.part(&json::to_bytes(value).expect("bodies are made of what json has a form for"));
    }
}

impl RegisterBrokerBody {
    /// The state of the registered configuration.
    pub fn data_version(&self) -> DataVersion {
        self.topic_config_serialize_wrapper.data_version
    }
}
