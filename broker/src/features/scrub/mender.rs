//! Asks other replicas for what is damaged here.

use std::collections::BTreeMap;
use std::mem;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use trireme_commitlog::{CommitLog, frame};
use trireme_raft::mend::Mend;
use trireme_raft::node::Store;
use trireme_remoting::headers::ReadLogRequest;
use trireme_remoting::{Client, Frame, RequestCode, response};

use crate::config::BrokerConfig;

/// Written again at once, in bytes: more than what the log tells as unreadable, with a frame on both sides.
const GATHERED: usize = 20 << 20;
/// For an answer, which may have to come from a busy disk.
const WITHIN: Duration = Duration::from_secs(5);

/// Mends the commit log of one replica. Works from before the replica runs, for what is read at its start.
pub struct Mender {
    log: Arc<CommitLog>,
    remote: Client,
    group: String,
    us: u64,
    replicas: Mutex<BTreeMap<u64, SocketAddr>>,
    mended: AtomicU64,
}

impl Mender {
    /// Of the replica whose store this is. It asks those that its settings name, and those that it knew last.
    pub fn new(config: &BrokerConfig, store: &Store, remote: Client) -> Self {
        let members = trireme_raft::inspect::members(&store.hard).map(|(_, members)| members.members);
        let known = members.unwrap_or_default().into_iter();
        let known = known.filter_map(|(node, member)| Some((node, member.client_addr?.parse().ok()?)));
        let mut replicas: BTreeMap<u64, SocketAddr> = known.collect();
        replicas.extend(config.replicas.iter().map(|(node, replica)| (*node, replica.broker)));
        Self {
            log: store.log.clone(),
            remote,
            group: config.group.clone(),
            us: config.node,
            replicas: Mutex::new(replicas),
            mended: AtomicU64::new(0),
        }
    }

    /// These are the replicas of the group now.
    pub fn ask(&self, replicas: BTreeMap<u64, SocketAddr>) {
        *self.replicas.lock() = replicas;
    }

    /// Frames that were mended so far.
    pub fn mended(&self) -> u64 {
        self.mended.load(Ordering::Relaxed)
    }

    /// The frame that begins there, as some other replica has it.
    async fn frame_at(&self, at: u64, committed: u64) -> Result<Bytes, String> {
        let mut reasons = Vec::new();
        let mut others = self.replicas.lock().clone();
        others.remove(&self.us);
        for (node, addr) in others {
            match self.frame_of(addr, at, committed).await {
                Ok(frame) => return Ok(frame),
                Err(reason) => reasons.push(format!("replica {node}: {reason}")),
            }
        }
        Err(reasons.join("; "))
    }

    /// What another replica has there.
    async fn frame_of(&self, addr: SocketAddr, at: u64, committed: u64) -> Result<Bytes, String> {
        let physical_offset = i64::try_from(at).map_err(|error| error.to_string())?;
        let header = ReadLogRequest { broker_name: Some(&self.group), physical_offset };
        let request = Frame::request(RequestCode::ReadLog).with_ext(header.to_ext());
        let answer = self.remote.invoke(&addr.to_string(), request, WITHIN).await;
        let answer = answer.map_err(|error| error.to_string())?;
        if answer.code != response::SUCCESS {
            return Err(answer.remark.unwrap_or_default());
        }
        let bytes = answer.body.to_bytes();
        let header = frame::decode(&bytes).map_err(|error| format!("a bad frame: {error}"))?.header;
        if header.physical_offset != at || header.id.index > committed {
            return Err(format!("entry {} is not known to be committed here", header.id));
        }
        Ok(bytes)
    }

    async fn write(&self, frames: Vec<u8>) -> Result<(), String> {
        let log = self.log.clone();
        let written = trireme_runtime::blocking(move || log.repair(&frames)).await;
        written.map_err(|error| error.to_string())?.map(drop).map_err(|error| error.to_string())
    }
}

impl Mend for Mender {
    fn mend(&self, damaged: Range<u64>, committed: u64) -> BoxFuture<'_, Result<u64, String>> {
        Box::pin(async move {
            let (mut at, mut frames) = (damaged.start, 0);
            // Together, for those that share a page which cannot be read.
            let (mut gathered, mut count) = (Vec::new(), 0);
            // What is trimmed meanwhile needs no mending.
            while at < damaged.end && self.log.min_physical_offset() <= at {
                let frame = self.frame_at(at, committed).await?;
                at += frame.len() as u64;
                gathered.extend_from_slice(&frame);
                count += 1;
                if damaged.end <= at || GATHERED <= gathered.len() {
                    self.write(mem::take(&mut gathered)).await?;
                    self.mended.fetch_add(count, Ordering::Relaxed);
                    frames += mem::take(&mut count);
                }
            }
            Ok(frames)
        })
    }
}
