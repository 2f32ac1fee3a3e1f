//! Noticing that a replica is frozen.
//!
//! A dead process closes its connections; a frozen one, or a host that has vanished, only says nothing, for as
//! long as anybody waits. So a replica that owes an answer and is silent is asked for a sign of life, and left at
//! once by everything that waits for it when it gives none. A replica that is merely busy with one request gives
//! it, and is waited for: to ask another one in the meantime would only store messages twice.

use std::sync::{Arc, Weak};
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tracing::{debug, warn};
use trireme_remoting::body::HeartbeatData;
use trireme_remoting::{InvokeError, RequestCode};

use super::{Instance, Signals};
use crate::route::clock_ms;

/// How often silence is measured.
const TICK: Duration = Duration::from_millis(50);

/// How long a sign of life may take. Together with the silence before it about as long as a group needs to elect another
/// leader: who looked for one before that would wait for it.
const SIGN_OF_LIFE: Duration = Duration::from_millis(400);

/// Watches over the replicas of all groups, until the instance ends.
pub(super) async fn watch(instance: Weak<Instance>, signals: Arc<Signals>) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = signals.stopped() => return,
            _ = ticks.tick() => {}
        }
        let Some(instance) = instance.upgrade() else { return };
        instance.probe_the_silent();
    }
}

impl Instance {
    fn probe_the_silent(self: &Arc<Self>) {
        let brokers = self.brokers.all();
        if let [only] = &*brokers
            && only.is_alone()
        {
            // There is nobody else to turn to.
            return;
        }
        let now = clock_ms();
        for broker in brokers {
            for replica in broker.replicas().into_iter().filter(|replica| replica.needs_probe(now)) {
                let Some(probe) = replica.probe() else { continue };
                // At most one per replica, and short.
                tokio::spawn({
                    let (instance, broker) = (self.clone(), broker.clone());
                    async move {
                        let replica = &probe.0;
                        // A heartbeat of nobody: answered by every replica of every kind of broker, at once.
                        let nobody = HeartbeatData {
                            client_id: instance.client_id.clone(),
                            ..HeartbeatData::default()
                        };
                        let request = instance.request(RequestCode::HeartBeat).with_body(nobody.encode());
                        match instance.remoting.invoke(&replica.addr, request, SIGN_OF_LIFE).await {
                            Ok(_) => replica.heard(clock_ms()),
                            // It cannot be silent if it was heard of meanwhile.
                            Err(InvokeError::Timeout { .. })
                                if replica.was_heard(clock_ms(), SIGN_OF_LIFE) => {}
                            Err(InvokeError::Timeout { .. }) => {
                                warn!(broker = %broker.name, addr = %replica.addr, "replica is silent, leaving it");
                                replica.suspect(clock_ms(), instance.config.suspect_interval);
                                instance.remoting.disconnect(&replica.addr);
                                instance.refresh_soon();
                            }
                            // Whoever waits knows already.
                            Err(error) => {
                                debug!(broker = %broker.name, addr = %replica.addr, %error, "no sign of life")
                            }
                        }
                    }
                });
            }
        }
    }
}
