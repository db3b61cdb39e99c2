//! A run's numbers as a TensorBoard event file.
//!
//! An event file is a sequence of records, each a protocol buffer message `Event` in `TFRecord`
//! framing: length, its checksum, the message, its checksum (TensorFlow's `record_writer.cc`,
//! `event.proto`, `summary.proto`). Scalars need five fields of those, written out here: the crates
//! that know the format bring a protocol buffer compiler or a tensor library with them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, SystemTime};

use samtone_train::run::StepRecord;

/// An event file being written.
pub(crate) struct EventFile {
    file: File,
}

impl EventFile {
    /// A new event file in `folder`. Steps from `step` on that an older file of the folder holds are
    /// taken back: a resumed run does them again.
    pub(crate) fn create(folder: &Path, step: usize) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let now = now();
        // The process tells apart two files of one second.
        let name = format!("events.out.tfevents.{}.samtone.{}", now.as_secs(), std::process::id());
        let mut file = Self { file: File::create(folder.join(name))? };
        file.event(0, |event| event.bytes(3, b"brain.Event:2"))?;
        // Field 7, `session_log`, with status START.
        file.event(step, |event| event.bytes(7, &[0x08, 1]))?;
        Ok(file)
    }

    /// The numbers of a step.
    pub(crate) fn step(&mut self, record: &StepRecord) -> io::Result<()> {
        let scalars = [
            ("loss", record.loss),
            ("learning rate", record.lr),
            ("temperature", record.temperature),
            ("gradient norm", record.gradient_norm),
            ("pairs per second", record.pairs_per_second),
            ("tokens per second", record.tokens_per_second),
        ];
        let dev = record.dev.iter().map(|(name, &value)| (format!("dev/{name}"), value));
        let scalars = scalars.map(|(name, value)| (format!("train/{name}"), value));
        let mut summary = Message::default();
        for (name, value) in scalars.into_iter().chain(dev) {
            let mut scalar = Message::default();
            scalar.bytes(1, name.as_bytes());
            scalar.float(2, value as f32);
            summary.bytes(1, &scalar.0);
        }
        self.event(record.step, |event| event.bytes(5, &summary.0))
    }

    fn event(&mut self, step: usize, content: impl FnOnce(&mut Message)) -> io::Result<()> {
        let mut event = Message::default();
        event.double(1, now().as_secs_f64());
        event.varint_field(2, step as u64);
        content(&mut event);
        self.file.write_all(&record(&event.0))
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default()
}

/// `message` in `TFRecord` framing.
fn record(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_crc(message).to_le_bytes());
    record
}

/// The CRC-32C that the format stores: rotated and shifted, since checksums of data that hold
/// checksums are weak.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// A protocol buffer message being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push((value as u8) | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint((field << 3) | wire_type);
    }

    fn varint_field(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_framed_as_tensorflow_frames_them() {
        // What TensorBoard's own writer makes of b"abc".
        let expected = [
            3, 0, 0, 0, 0, 0, 0, 0, 0xb0, 0x99, 0x49, 0x0e, b'a', b'b', b'c', 0x6e, 0x57, 0xf1,
            0x21,
        ];
        assert_eq!(record(b"abc"), expected);
    }

    #[test]
    fn a_file_begins_with_its_version_and_holds_whole_records() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = EventFile::create(folder.path(), 7).unwrap();
        let dev = [("mrr@10".to_owned(), 0.25)].into();
        file.step(&StepRecord { step: 300, loss: 1.5, dev, ..StepRecord::default() }).unwrap();
        let path = fs::read_dir(folder.path()).unwrap().next().unwrap().unwrap().path();
        let bytes = fs::read(path).unwrap();
        let mut rest = bytes.as_slice();
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let length = u64::from_le_bytes(rest[..8].try_into().unwrap()) as usize;
            let message = &rest[12..12 + length];
            assert_eq!(rest[..16 + length], record(message));
            messages.push(message.to_vec());
            rest = &rest[16 + length..];
        }
        assert_eq!(messages.len(), 3);
        assert!(messages[0].ends_with(b"brain.Event:2"));
        // Step 300 is the varint ac 02; 0.25 and 1.5 are the floats that follow their tags.
        let has = |bytes: &[u8]| messages[2].windows(bytes.len()).any(|window| window == bytes);
        assert!(has(&[0x10, 0xac, 0x02]));
        assert!(has(b"\x0a\x0atrain/loss\x15\x00\x00\xc0\x3f"));
        assert!(has(b"\x0a\x0adev/mrr@10\x15\x00\x00\x80\x3e"));
    }
}
