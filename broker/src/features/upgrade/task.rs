//! Raises the version, on the leader.

use std::sync::Arc;
use std::time::Duration;

use super::RaiseVersion;
use crate::command::Command;
use crate::replica::Shared;

/// How often the leader looks whether all members read more.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Raises the group's version when all members have announced a newer one, while this replica leads, until it is aborted.
pub async fn run(shared: Arc<Shared>) {
    let mut leadership = shared.node.leadership();
    loop {
        let ready = leadership.wait_for(|now| now.ready).await.map(|now| now.term);
        let Ok(term) = ready else { return };
        let written = shared.node.peers().group_version();
        if let Some(version) = shared.node.version_of_all().filter(|version| written < *version) {
            let raise = Command::RaiseVersion(RaiseVersion { version });
            let raised = shared.sequencer.propose_in(term, |submission| {
                submission.command(raise);
                Ok(())
            });
            match raised.await {
                Ok(_) => {
                    tracing::info!(group = %shared.config.group, version, "formats of a newer version are written")
                }
                Err(error) => tracing::info!(version, %error, "the format version was not raised now"),
            }
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
