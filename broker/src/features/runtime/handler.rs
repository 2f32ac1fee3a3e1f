//! Request code 28.

use std::collections::BTreeMap;
use std::sync::Arc;

use trireme_remoting::body::KvTable;
use trireme_remoting::{Frame, Responder, response, version};

use crate::replica::Shared;

/// Code 28. Keys that begin with `raft` or `log` are ours; the others are RocketMQ's.
pub fn runtime_info(shared: &Arc<Shared>, responder: Responder) {
    let log = shared.node.log();
    let progress = shared.node.progress();
    let scrub = shared.scrub.figures();
    let leadership = shared.node.leadership().borrow().clone();
    let positions = shared.queues.positions();
    let messages: u64 = positions.iter().map(|position| position.next_queue_offset).sum();
    let shown = |id: Option<trireme_raft::LogId>| id.map_or("none".to_owned(), |id| id.to_string());
    let behind = match (progress.last_log, progress.applied) {
        (Some(last), Some(applied)) => last.index.saturating_sub(applied.index),
        _ => 0,
    };
    let table: BTreeMap<String, String> = [
        ("brokerVersion", version::OURS.to_string()),
        ("brokerVersionDesc", concat!("Trireme ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("bootTimestamp", shared.boot_timestamp.to_string()),
        ("clockTimestamp", shared.clock.now_ms().to_string()),
        ("commitLogMinOffset", log.min_physical_offset().to_string()),
        ("commitLogMaxOffset", log.next_physical_offset().to_string()),
        ("msgPutTotalTodayNow", messages.to_string()),
        ("diskFreeBytes", shared.disk.free_bytes().to_string()),
        ("raftNode", shared.config.node.to_string()),
        ("raftRole", leadership.role.to_string()),
        ("raftReady", leadership.ready.to_string()),
        ("raftTerm", leadership.term.to_string()),
        ("raftLeader", leadership.leader.map_or("none".to_owned(), |node| node.to_string())),
        ("raftLastLog", shown(progress.last_log)),
        ("raftFlushed", shown(progress.flushed)),
        ("raftCommitted", shown(progress.committed)),
        ("raftApplied", shown(progress.applied)),
        ("raftTrimmed", shown(progress.trimmed)),
        ("raftApplyBehind", behind.to_string()),
        ("raftWitnessed", shown(shared.node.peers().witnessed())),
        ("formatVersion", shared.node.peers().group_version().to_string()),
        ("logDamaged", scrub.damaged.to_string()),
        ("logMended", shared.mender.mended().to_string()),
        ("logScrubbedBytes", scrub.scrubbed.to_string()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect();
    responder.reply(Frame::response(response::SUCCESS).with_body(KvTable { table }.encode()));
}
