//! A folder of embeddings that grows while a corpus streams by, and goes on after an interruption.
//!
//! Until the last row is there, the folder holds `embeddings.partial`, `ids.partial` and
//! `encode.json`, which says what they belong to; then the first two get their names, and the third
//! tells `samtone search` how the rows are compared.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use samtone_text::DocumentText;
use serde::{Deserialize, Serialize};

use crate::commands::reading::SimilarityChoice;
use crate::embeddings::{EMBEDDINGS, IDS, RECORD};
use crate::error::Failure;

/// What decides the rows of a folder: a later call goes on only with the same plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Plan {
    /// samtone's version.
    pub(super) version: String,
    /// BLAKE3 of the model's files, in hexadecimal.
    pub(super) model: String,
    /// BLAKE3 of the input's ids and texts, in hexadecimal.
    pub(super) input: String,
    pub(super) side: String,
    pub(super) document_text: DocumentText,
    pub(super) shard: String,
    pub(super) max_tokens: usize,
    pub(super) batch_tokens: usize,
    pub(super) backend: String,
    /// How the model's folder says that rows are compared.
    pub(super) similarity: SimilarityChoice,
    /// Rows of the folder.
    pub(super) rows: usize,
    /// Numbers in a row.
    pub(super) dim: usize,
}

impl Plan {
    /// The names of what `self` and `other` do not share; rows and dimensions follow from the rest.
    fn differences(&self, other: &Self) -> Vec<String> {
        let fields = |plan: &Self| match serde_json::to_value(plan) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("a plan is an object"),
        };
        let (ours, theirs) = (fields(self), fields(other));
        let differ = ours.into_iter().filter(|(name, value)| theirs.get(name) != Some(value));
        let names = differ.map(|(name, _)| name);
        names.filter(|name| !["rows", "dim"].contains(&name.as_str())).collect()
    }
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
    /// Starts a folder, or goes on with the one that the same plan began, after whole windows of
    /// `window` rows: rows that are computed together decide each other's last digits.
    pub(super) fn open(folder: &Path, plan: Plan, window: usize) -> anyhow::Result<Self> {
        let wrong = || format!("cannot write embeddings into `{}`", folder.display());
        check_place(folder)?;
        let plan_path = folder.join(RECORD);
        let resumes = plan_path.exists();
        if resumes {
            let text = fs::read_to_string(&plan_path).with_context(wrong)?;
            // A plan of another form is another version's.
            let differences = match serde_json::from_str::<Plan>(&text) {
                Ok(begun) => plan.differences(&begun),
                Err(_) => vec!["version".into()],
            };
            if !differences.is_empty() {
                let (folder, what) = (folder.display(), differences.join(", "));
                let message = format!("`{folder}` was begun with another {what}");
                let hint = "give another `--out`, or remove the folder to begin again";
                return Err(Failure::new(message, hint).into());
            }
        } else {
            samtone_files::replace(&plan_path, &serde_json::to_vec_pretty(&plan)?)
                .with_context(wrong)?;
        }
        let open = |name| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(!resumes);
            options.open(folder.join(name)).with_context(wrong)
        };
        let (embeddings, ids) = (open(PARTIAL_EMBEDDINGS)?, open(PARTIAL_IDS)?);
        let mut writer = Self { folder: folder.to_owned(), plan, embeddings, ids, done: 0 };
        writer.find_done(window).with_context(wrong)?;
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

    /// Gives the files their names, if `input`, BLAKE3 of the ids and texts as they were read for the
    /// rows, is the plan's; else nothing of the rows is kept.
    pub(super) fn finish(self, input: &str) -> anyhow::Result<()> {
        let Self { folder, plan, done, .. } = self;
        let wrong = || format!("cannot finish `{}`", folder.display());
        if input != plan.input {
            fs::remove_file(folder.join(RECORD)).with_context(wrong)?;
            return Err(
                Failure::new("the input changed while it was read", "encode it again").into()
            );
        }
        assert_eq!(done, plan.rows, "the same input has as many texts");
        let rename = || {
            fs::rename(folder.join(PARTIAL_IDS), folder.join(IDS))?;
            fs::rename(folder.join(PARTIAL_EMBEDDINGS), folder.join(EMBEDDINGS))?;
            samtone_files::flush_folder(&folder)
        };
        rename().with_context(wrong)
    }

    /// Counts the rows of whole windows of an interrupted run and cuts off what follows them.
    fn find_done(&mut self, window: usize) -> std::io::Result<()> {
        let header = header(self.plan.rows, self.plan.dim);
        let row = 4 * self.plan.dim as u64;
        let length = self.embeddings.metadata()?.len();
        let whole_rows = length.saturating_sub(header.len() as u64) / row;
        let mut reader = BufReader::new(&self.ids);
        let (mut line, mut rows, mut bytes, mut ids_length) = (Vec::new(), 0, 0, 0);
        while (rows as u64) < whole_rows {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            bytes += line.len() as u64;
            rows += 1;
            if rows % window == 0 {
                (self.done, ids_length) = (rows, bytes);
            }
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

/// Checks, before the work, that `folder` holds no finished embeddings and can be written; makes it.
pub(super) fn check_place(folder: &Path) -> anyhow::Result<()> {
    let finished = folder.join(EMBEDDINGS);
    ensure!(!finished.exists(), "`{}` exists already", finished.display());
    samtone_files::prepare_file(&finished)
        .with_context(|| format!("cannot write embeddings into `{}`", folder.display()))
}

const PARTIAL_EMBEDDINGS: &str = "embeddings.partial";
const PARTIAL_IDS: &str = "ids.partial";

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
            version: "0".into(),
            model: "m".into(),
            input: "i".into(),
            side: "document".into(),
            document_text: DocumentText::Text,
            shard: "1/1".into(),
            max_tokens: 9,
            batch_tokens: 99,
            backend: "flex".into(),
            similarity: SimilarityChoice::Dot,
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
        let mut writer = Writer::open(folder.path(), plan(3), 1).unwrap();
        writer.append(&ids(&["a", "b"]), &[1.0, 2.0, 3.0, 4.0]).unwrap();
        drop(writer);
        // Torn in the middle of the second id, and in the middle of a third row.
        let torn = OpenOptions::new().write(true).open(folder.path().join(PARTIAL_IDS)).unwrap();
        torn.set_len(3).unwrap();
        let mut rows =
            OpenOptions::new().append(true).open(folder.path().join(PARTIAL_EMBEDDINGS)).unwrap();
        rows.write_all(&[1, 2, 3]).unwrap();
        let mut writer = Writer::open(folder.path(), plan(3), 1).unwrap();
        assert_eq!(writer.done(), 1);
        writer.append(&ids(&["b", "c"]), &[3.0, 4.0, 5.0, 6.0]).unwrap();
        writer.finish("i").unwrap();
        let read = Embeddings::open(folder.path()).unwrap();
        assert_eq!((read.ids.clone(), read.dim), (ids(&["a", "b", "c"]), 2));
        assert_eq!(read.rows().unwrap(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]);
        assert_eq!(read.origin.unwrap().similarity, SimilarityChoice::Dot);
    }

    #[test]
    fn rows_that_were_computed_together_are_computed_together_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), plan(4), 2).unwrap();
        writer.append(&ids(&["a", "b"]), &[1.0, 2.0, 3.0, 4.0]).unwrap();
        writer.append(&ids(&["c"]), &[5.0, 6.0]).unwrap();
        drop(writer);
        let mut writer = Writer::open(folder.path(), plan(4), 2).unwrap();
        assert_eq!(writer.done(), 2);
        writer.append(&ids(&["c", "d"]), &[5.0, 6.0, 7.0, 8.0]).unwrap();
        writer.finish("i").unwrap();
        assert_eq!(Embeddings::open(folder.path()).unwrap().ids, ids(&["a", "b", "c", "d"]));
    }

    #[test]
    fn another_plan_does_not_go_on_and_what_differs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        drop(Writer::open(folder.path(), plan(3), 1).unwrap());
        let refused =
            |other: Plan| Writer::open(folder.path(), other, 1).err().unwrap().to_string();
        let model = refused(Plan { model: "n".into(), ..plan(3) });
        assert!(model.ends_with("was begun with another model"), "{model}");
        let input = refused(Plan { input: "j".into(), batch_tokens: 1, ..plan(3) });
        assert!(input.ends_with("was begun with another batch_tokens, input"), "{input}");
        fs::write(folder.path().join(RECORD), r#"{"model": "m"}"#).unwrap();
        let version = refused(plan(3));
        assert!(version.ends_with("was begun with another version"), "{version}");
    }

    #[test]
    fn rows_of_an_input_that_changed_meanwhile_are_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), plan(1), 1).unwrap();
        writer.append(&ids(&["a"]), &[1.0, 2.0]).unwrap();
        let error = writer.finish("j").unwrap_err().to_string();
        assert!(error.contains("the input changed"), "{error}");
        assert_eq!(Writer::open(folder.path(), plan(1), 1).unwrap().done(), 0);
    }

    #[test]
    fn a_finished_folder_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        Writer::open(folder.path(), plan(0), 1).unwrap().finish("i").unwrap();
        let error = Writer::open(folder.path(), plan(0), 1).err().unwrap().to_string();
        assert!(error.contains("exists already"), "{error}");
    }
}
