//! The server's own settings: 318, 319.

use tracing::info;
use trireme_remoting::{Frame, response};

use super::{Answer, Handler, Refused, success, success_with};
use crate::config::ConfigRefusal;

impl Handler {
    /// Code 318. All of the text's settings, or none of them.
    pub(super) fn update_config(&self, request: &Frame) -> Answer {
        let text = std::str::from_utf8(request.body.as_slice())
            .map_err(|_| Refused::error("the settings are not utf-8 text"))?;
        // One lock around reading and writing: two tools at once must not undo each other.
        let mut outcome = Ok(());
        self.changeable.send_if_modified(|changeable| match changeable.with(text) {
            Ok(changed) if changed == *changeable => false,
            Ok(changed) => {
                info!(?changed, "settings changed");
                *changeable = changed;
                true
            }
            Err(refusal) => {
                outcome = Err(refusal);
                false
            }
        });
        outcome?;
        Ok(success())
    }

    /// Code 319.
    pub(super) fn get_config(&self) -> Answer {
        let listen = self.listen.get().copied().unwrap_or(self.options.listen);
        Ok(success_with(self.changeable.borrow().to_text(&self.options, listen).into()))
    }
}

impl From<ConfigRefusal> for Refused {
    fn from(refusal: ConfigRefusal) -> Self {
        let code = match &refusal {
            ConfigRefusal::Fixed(_) => response::NO_PERMISSION,
            ConfigRefusal::Invalid { .. } | ConfigRefusal::Range(_) => response::INVALID_PARAMETER,
            ConfigRefusal::Malformed(_) => response::SYSTEM_ERROR,
        };
        Self::new(code, refusal.to_string())
    }
}
