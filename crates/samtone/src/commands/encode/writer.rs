//! A folder of embeddings that grows while a corpus streams by, and goes on after an interruption.
//!
//! Until the last row is there, the folder holds `embeddings.partial`, `ids.partial` and
//! `encode.json`, which says what they belong to; then the first two get their names and the third
//! goes.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// What decides the rows of a folder: a later call goes on only with the same plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plan {
    /// BLAKE3 of the model's files, in hexadecimal.
    pub(super) model: String,
    pub(super) input: PathBuf,
    /// Bytes of the input file.
    pub(super) input_bytes: u64,
    pub(super) side: String,
    pub(super) document_text: String,
    pub(super) shard: String,
    pub(super) max_tokens: usize,
    /// Rows of the folder.
    pub(super) rows: usize,
    /// Numbers in a row.
    pub(super) dim: usize,
}

/// Writes rows in order.
pub(super) struct Writer {
    folder: PathBuf,
    plan: Plan,
    embeddings: File,
    ids: File,
    /// Rows safely written.
    done: usize,
}

impl Writer {
    /// Starts a folder, or goes on with the one that the same plan began.
    pub(super) fn open(folder: &Path, plan: Plan) -> anyhow::Result<Self> {
        let wrong = || format!("cannot write embeddings into `{}`", folder.display());
        let finished = folder.join(FINISHED);
        ensure!(!finished.exists(), "`{}` exists already", finished.display());
        fs::create_dir_all(folder).with_context(wrong)?;
        let plan_path = folder.join(PLAN);
        let resumes = plan_path.exists();
        if resumes {
            let text = fs::read_to_string(&plan_path).with_context(wrong)?;
            let begun: Option<Plan> = serde_json::from_str(&text).ok();
            ensure!(
                begun.as_ref() == Some(&plan),
                "`{}` was begun with another model, input or setting",
                folder.display()
            );
        } else {
            fs::write(&plan_path, serde_json::to_string_pretty(&plan)?).with_context(wrong)?;
        }
        let open = |name| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(!resumes);
            options.open(folder.join(name)).with_context(wrong)
        };
        let (embeddings, ids) = (open(EMBEDDINGS)?, open(IDS)?);
        let mut writer = Self { folder: folder.to_owned(), plan, embeddings, ids, done: 0 };
        writer.find_done().with_context(wrong)?;
        Ok(writer)
    }

    /// Rows that are there already: the caller passes over as many texts.
    pub(super) fn done(&self) -> usize {
        self.done
    }

    /// Appends rows of `dim` numbers with their ids, and waits until the disk has them.
    pub(super) fn append(&mut self, ids: &[String], rows: &[f32]) -> anyhow::Result<()> {
        assert_eq!(rows.len(), ids.len() * self.plan.dim, "one row for each id");
        let mut text = String::new();
        for id in ids {
            text.push_str(id);
            text.push('\n');
        }
        let bytes: Vec<u8> = rows.iter().flat_map(|number| number.to_le_bytes()).collect();
        let write = |writer: &mut Self| {
            writer.embeddings.write_all(&bytes)?;
            writer.embeddings.sync_data()?;
            // The ids come last: a row whose id is there is whole.
            writer.ids.write_all(text.as_bytes())?;
            writer.ids.sync_data()
        };
        write(self)
            .with_context(|| format!("cannot write embeddings into `{}`", self.folder.display()))?;
        self.done += ids.len();
        Ok(())
    }

    /// Gives the files their names.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        let Self { folder, plan, done, .. } = self;
        ensure!(
            done == plan.rows,
            "`{}` now has {done} texts where it had {}",
            plan.input.display(),
            plan.rows
        );
        let rename = || {
            fs::rename(folder.join(IDS), folder.join("ids.txt"))?;
            fs::rename(folder.join(EMBEDDINGS), folder.join(FINISHED))?;
            fs::remove_file(folder.join(PLAN))
        };
        rename().with_context(|| format!("cannot finish `{}`", folder.display()))
    }

    /// Counts the whole rows of an interrupted run and cuts off what follows them.
    fn find_done(&mut self) -> std::io::Result<()> {
        let header = header(self.plan.rows, self.plan.dim);
        let row = 4 * self.plan.dim as u64;
        let length = self.embeddings.metadata()?.len();
        let whole_rows = length.saturating_sub(header.len() as u64) / row;
        let mut reader = BufReader::new(&self.ids);
        let (mut line, mut ids_length) = (Vec::new(), 0);
        while (self.done as u64) < whole_rows {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            ids_length += line.len() as u64;
            self.done += 1;
        }
        self.ids.set_len(ids_length)?;
        self.ids.seek(SeekFrom::End(0))?;
        if length < header.len() as u64 {
            self.embeddings.set_len(0)?;
            self.embeddings.rewind()?;
            return self.embeddings.write_all(&header);
        }
        self.embeddings.set_len(header.len() as u64 + self.done as u64 * row)?;
        self.embeddings.seek(SeekFrom::End(0)).map(|_| ())
    }
}

const FINISHED: &str = "embeddings.safetensors";
const EMBEDDINGS: &str = "embeddings.partial";
const IDS: &str = "ids.partial";
const PLAN: &str = "encode.json";

/// The start of a safetensors file of one tensor, `embeddings` `[rows, dim]` of f32: the header's
/// length in 8 bytes, the header, padded so that the numbers are aligned.
fn header(rows: usize, dim: usize) -> Vec<u8> {
    let bytes = rows * dim * 4;
    let mut json = format!(
        r#"{{"embeddings":{{"dtype":"F32","shape":[{rows},{dim}],"data_offsets":[0,{bytes}]}}}}"#
    );
    while json.len() % 8 != 0 {
        json.push(' ');
    }
    let mut header = (json.len() as u64).to_le_bytes().to_vec();
    header.extend(json.as_bytes());
    header
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embeddings::Embeddings;

    fn plan(rows: usize) -> Plan {
        Plan {
            model: "m".into(),
            input: "corpus.jsonl".into(),
            input_bytes: 7,
            side: "document".into(),
            document_text: "text".into(),
            shard: "1/1".into(),
            max_tokens: 9,
            rows,
            dim: 2,
        }
    }

    fn ids(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.to_owned()).collect()
    }

    #[test]
    fn an_interrupted_folder_goes_on_after_its_last_whole_row() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), plan(3)).unwrap();
        writer.append(&ids(&["a", "b"]), &[1.0, 2.0, 3.0, 4.0]).unwrap();
        drop(writer);
        // Torn in the middle of the second id, and in the middle of a third row.
        let torn = OpenOptions::new().write(true).open(folder.path().join(IDS)).unwrap();
        torn.set_len(3).unwrap();
        let mut rows =
            OpenOptions::new().append(true).open(folder.path().join(EMBEDDINGS)).unwrap();
        rows.write_all(&[1, 2, 3]).unwrap();
        let mut writer = Writer::open(folder.path(), plan(3)).unwrap();
        assert_eq!(writer.done(), 1);
        writer.append(&ids(&["b", "c"]), &[3.0, 4.0, 5.0, 6.0]).unwrap();
        writer.finish().unwrap();
        let read = Embeddings::open(folder.path()).unwrap();
        assert_eq!((read.ids.clone(), read.dim), (ids(&["a", "b", "c"]), 2));
        assert_eq!(read.rows().unwrap(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]);
        assert!(!folder.path().join(PLAN).exists());
    }

    #[test]
    fn another_plan_does_not_go_on() {
        let folder = tempfile::tempdir().unwrap();
        drop(Writer::open(folder.path(), plan(3)).unwrap());
        let error = Writer::open(folder.path(), plan(4)).err().unwrap().to_string();
        assert!(error.contains("was begun with another model"), "{error}");
    }

    #[test]
    fn a_finished_folder_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        Writer::open(folder.path(), plan(0)).unwrap().finish().unwrap();
        let error = Writer::open(folder.path(), plan(0)).err().unwrap().to_string();
        assert!(error.contains("exists already"), "{error}");
    }
}
