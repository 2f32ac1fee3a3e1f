//! A clock for each replica that can be set wrong, by libfaketime: <https://github.com/wolfcw/libfaketime>.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::process::Command;

/// Where distributions have it.
const LIBRARIES: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
    "/usr/lib/faketime/libfaketimeMT.so.1",
];

/// A process looks so often how wrong its clock is.
const LOOKS_EVERY: Duration = Duration::from_secs(1);

/// The clock of one replica: of what its processes take for the time of day. How time passes is not touched.
pub struct Clock {
    file: PathBuf,
    library: Option<&'static str>,
}

impl Clock {
    /// One that is right, until it is [set wrong](Self::set_wrong), if there is the library.
    pub fn make(dir: &Path, name: &str) -> anyhow::Result<Self> {
        let clock = Self { file: dir.join(format!("{name}.clock")), library: library() };
        clock.set_wrong(0)?;
        Ok(clock)
    }

    /// What a process needs to have this clock.
    pub fn give(&self, command: &mut Command) {
        let Some(library) = self.library else { return };
        command.env("LD_PRELOAD", library);
        command.env("FAKETIME_TIMESTAMP_FILE", &self.file);
        command.env("FAKETIME_CACHE_DURATION", LOOKS_EVERY.as_secs().to_string());
        command.env("DONT_FAKE_MONOTONIC", "1");
    }

    /// From a second from now on at the latest, it is ahead by so many seconds.
    pub fn set_wrong(&self, seconds: i64) -> anyhow::Result<()> {
        // As a whole: it is read at any time.
        let new = self.file.with_extension("new");
        fs::write(&new, format!("{seconds:+}"))?;
        Ok(fs::rename(&new, &self.file)?)
    }
}

/// Whether clocks can be set wrong here.
pub fn can_be_wrong() -> bool {
    library().is_some()
}

fn library() -> Option<&'static str> {
    LIBRARIES.into_iter().find(|library| Path::new(library).exists())
}
