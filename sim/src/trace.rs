//! Everything that is logged, as one number, and in a file if wanted.

use std::fs::File;
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::FormatTime;

use crate::machine;

/// Where log lines go.
#[derive(Clone, Default)]
pub struct Trace(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    sum: u32,
    count: u64,
    file: Option<File>,
}

impl Trace {
    /// Begins to take down what this process logs.
    pub fn begin(file: Option<File>, filter: &str) -> anyhow::Result<Self> {
        let this = Self::default();
        this.0.lock().file = file;
        tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::try_new(filter)?)
            .with_ansi(false)
            .with_timer(Virtual)
            .with_writer(this.clone())
            .init();
        Ok(this)
    }

    /// A checksum over all lines, and their number.
    pub fn sum(&self) -> (u32, u64) {
        let lines = self.0.lock();
        (lines.sum, lines.count)
    }
}

impl Write for Trace {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let mut lines = self.0.lock();
        lines.sum = crc32c::crc32c_append(lines.sum, bytes);
        lines.count += 1;
        if let Some(file) = &mut lines.file {
            file.write_all(bytes)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Trace {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The simulated time.
struct Virtual;

impl FormatTime for Virtual {
    fn format_time(&self, to: &mut Writer<'_>) -> std::fmt::Result {
        write!(to, "{:9.3}", machine::now().as_secs_f64())
    }
}
