//! Where records go.

use std::io::{self, Write};
use std::path::Path;

use super::record::{Damage, Note, Part, Record};

/// Writes records, in words or as JSON, and remembers whether one of them was damage.
pub struct Out<'w> {
    sink: &'w mut dyn Write,
    json: bool,
    pub damaged: bool,
}

impl<'w> Out<'w> {
    pub fn new(sink: &'w mut dyn Write, json: bool) -> Self {
        Self { sink, json, damaged: false }
    }

    pub fn put(&mut self, record: &Record) -> io::Result<()> {
        self.damaged |= matches!(record, Record::Damage(_));
        if self.json {
            serde_json::to_writer(&mut *self.sink, record)?;
            self.sink.write_all(b"\n")
        } else {
            writeln!(self.sink, "{record}")
        }
    }

    pub fn damage(
        &mut self,
        part: Part,
        path: &Path,
        range: Option<(u64, u64)>,
        reason: impl ToString,
    ) -> io::Result<()> {
        let reason = reason.to_string();
        self.put(&Record::Damage(Damage { part, path: path.to_owned(), range, reason }))
    }

    pub fn note(&mut self, text: impl Into<String>) -> io::Result<()> {
        self.put(&Record::Note(Note { text: text.into() }))
    }
}
