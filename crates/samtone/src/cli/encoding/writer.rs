//! A folder of embeddings that grows while a corpus streams by, and goes on after an interruption.
//!
//! Until the last row is there, the folder holds `embeddings.partial`, `ids.partial` and
//! `encode.json`, which says what they belong to; then the first two get their names and the form that
//! was asked for, and the third tells `samtone search` how the rows are compared.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use anyhow::Context;
use samtone_eval::search::{Dtype, Ranges};
use samtone_model::Precision;
use samtone_text::DocumentText;
use serde::{Deserialize, Serialize};

use crate::commands::reading::SimilarityChoice;
#[cfg(feature = "parquet")]
use crate::embeddings::ParquetFile;
use crate::embeddings::{Embeddings, FileFormat, IDS, Matrix, RECORD, write_json_line};
use crate::error::Failure;

/// What decides the rows of a folder: a later call goes on only with the same plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// samtone's version.
    pub(crate) version: String,
    /// BLAKE3 of the model's files, in hexadecimal.
    pub(crate) model: String,
    /// BLAKE3 of the input's ids and texts, in hexadecimal.
    pub(crate) input: String,
    pub(crate) side: String,
    pub(crate) document_text: DocumentText,
    pub(crate) shard: String,
    pub(crate) max_tokens: usize,
    pub(crate) batch_tokens: usize,
    pub(crate) backend: String,
    /// What the model computed in.
    pub(crate) precision: Precision,
    /// How the model's folder says that rows are compared.
    pub(crate) similarity: SimilarityChoice,
    /// Rows of the folder.
    pub(crate) rows: usize,
    /// Numbers in a row.
    pub(crate) dim: usize,
    /// What they are.
    pub(crate) dtype: Dtype,
    /// The file that holds them.
    pub(crate) format: FileFormat,
}

impl Plan {
    /// A name for rows that this plan decides, and no other.
    pub(crate) fn key(&self) -> anyhow::Result<String> {
        let hash = blake3::hash(&serde_json::to_vec(self)?);
        Ok(hash.to_hex()[..32].to_owned())
    }

    /// The file that grows.
    fn partial(&self) -> Matrix {
        Matrix::new(Dtype::F32, self.rows, self.dim)
    }

    /// The names of what `self` and `other` do not share; rows follow from the rest.
    fn differences(&self, other: &Self) -> Vec<String> {
        let fields = |plan: &Self| match serde_json::to_value(plan) {
            Ok(serde_json::Value::Object(fields)) => fields,
            _ => unreachable!("a plan is an object"),
        };
        let (ours, theirs) = (fields(self), fields(other));
        let differ = ours.into_iter().filter(|(name, value)| theirs.get(name) != Some(value));
        let names = differ.map(|(name, _)| name);
        names.filter(|name| name != "rows").collect()
    }
}

/// Writes rows in order.
pub(crate) struct Writer {
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
    pub(crate) fn open(folder: &Path, plan: Plan, window: usize) -> anyhow::Result<Self> {
        let wrong = || format!("cannot write embeddings into `{}`", folder.display());
        check_place(folder)?;
        let open = |name| {
            let mut options = OpenOptions::new();
            options.read(true).write(true).create(true).truncate(false);
            options.open(folder.join(name)).with_context(wrong)
        };
        let (embeddings, ids) = (open(PARTIAL_EMBEDDINGS)?, open(PARTIAL_IDS)?);
        if let Err(TryLockError::WouldBlock) = embeddings.try_lock() {
            let message = format!("another process writes embeddings into `{}`", folder.display());
            return Err(Failure::new(message, "wait until it is done").into());
        }
        let plan_path = folder.join(RECORD);
        if plan_path.exists() {
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
            // What lies there without a plan belongs to nothing.
            embeddings.set_len(0).and_then(|()| ids.set_len(0)).with_context(wrong)?;
            samtone_files::replace(&plan_path, &serde_json::to_vec_pretty(&plan)?)
                .with_context(wrong)?;
        }
        let mut writer = Self { folder: folder.to_owned(), plan, embeddings, ids, done: 0 };
        writer.find_done(window).with_context(wrong)?;
        Ok(writer)
    }

    /// Rows that are there already: the caller passes over as many texts.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Appends rows of `dim` numbers with their ids, and waits until the disk has them.
    pub(crate) fn append(&mut self, ids: &[String], rows: &[f32]) -> anyhow::Result<()> {
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
    pub(crate) fn finish(self, input: &str) -> anyhow::Result<()> {
        let Self { folder, plan, done, .. } = self;
        let wrong = || format!("cannot finish `{}`", folder.display());
        if input != plan.input {
            fs::remove_file(folder.join(RECORD)).with_context(wrong)?;
            return Err(
                Failure::new("the input changed while it was read", "encode it again").into()
            );
        }
        assert_eq!(done, plan.rows, "the same input has as many texts");
        finish(&folder, &plan).with_context(wrong)
    }

    /// Counts the rows of whole windows of an interrupted run and cuts off what follows them.
    fn find_done(&mut self, window: usize) -> std::io::Result<()> {
        let header = self.plan.partial().safetensors_header();
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
pub(crate) fn check_place(folder: &Path) -> anyhow::Result<()> {
    if let Some(format) = Embeddings::file_in(folder) {
        let message = format!("`{}` exists already", folder.join(format.file()).display());
        let hint =
            "it is whole, `samtone search` reads it; give another `--out`, or remove the folder";
        return Err(Failure::new(message, hint).into());
    }
    samtone_files::prepare_file(&folder.join(RECORD))
        .with_context(|| format!("cannot write embeddings into `{}`", folder.display()))
}

const PARTIAL_EMBEDDINGS: &str = "embeddings.partial";
const PARTIAL_IDS: &str = "ids.partial";

/// Gives the files of a folder their names. Rows are kept as f32 in safetensors while they come; what
/// is wanted otherwise is made of them now.
fn finish(folder: &Path, plan: &Plan) -> anyhow::Result<()> {
    let (ids, embeddings) = (folder.join(PARTIAL_IDS), folder.join(PARTIAL_EMBEDDINGS));
    let target = folder.join(plan.format.file());
    if (plan.dtype, plan.format) == (Dtype::F32, FileFormat::Safetensors) {
        fs::rename(ids, folder.join(IDS))?;
        fs::rename(embeddings, target)?;
        return Ok(samtone_files::flush_folder(folder)?);
    }
    let mut ranges = Ranges::default();
    if plan.dtype == Dtype::Int8 {
        for_each_window(&embeddings, plan, |rows| {
            ranges.widen(rows, plan.dim);
            Ok(())
        })?;
        let mut record = serde_json::to_value(plan)?;
        record["ranges"] = serde_json::to_value(&ranges)?;
        samtone_files::replace(&folder.join(RECORD), &serde_json::to_vec_pretty(&record)?)?;
    }
    let ids_text = fs::read_to_string(&ids)?;
    fs::rename(ids, folder.join(IDS))?;
    let mut names = ids_text.lines();
    let matrix = Matrix::new(plan.dtype, plan.rows, plan.dim);
    // Ids and rows as they are stored.
    let mut for_each = |each: &mut TakeRows<'_>| {
        for_each_window(&embeddings, plan, |rows| {
            let ids: Vec<&str> = names.by_ref().take(rows.len() / plan.dim).collect();
            each(&ids, &plan.dtype.encode(rows, plan.dim, &ranges))
        })
    };
    samtone_files::write_whole(&target, |out| match plan.format {
        FileFormat::Safetensors | FileFormat::Npy => {
            out.write_all(&match plan.format {
                FileFormat::Npy => matrix.npy_header(),
                _ => matrix.safetensors_header(),
            })?;
            for_each(&mut |_, rows| Ok(out.write_all(rows)?))
        }
        FileFormat::Jsonl => for_each(&mut |ids, rows| {
            let rows = rows.chunks_exact(plan.dtype.row_bytes(plan.dim));
            ids.iter()
                .zip(rows)
                .try_for_each(|(id, row)| write_json_line(out, id, plan.dtype, row))?;
            Ok(())
        }),
        #[cfg(feature = "parquet")]
        FileFormat::Parquet => {
            let mut file = ParquetFile::new(out, plan.dtype)?;
            for_each(&mut |ids, rows| Ok(file.write(ids, rows)?))?;
            Ok(file.finish()?)
        }
    })?;
    Ok(fs::remove_file(embeddings)?)
}

/// Takes ids and their rows, as they are stored.
type TakeRows<'a> = dyn FnMut(&[&str], &[u8]) -> anyhow::Result<()> + 'a;

/// Calls `each` with the rows of the file that grew, some at a time.
fn for_each_window(
    path: &Path,
    plan: &Plan,
    mut each: impl FnMut(&[f32]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    /// Rows at a time.
    const ROWS: usize = 1024;
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(plan.partial().safetensors_header().len() as u64))?;
    for start in (0..plan.rows).step_by(ROWS) {
        let mut bytes = vec![0; ROWS.min(plan.rows - start) * Dtype::F32.row_bytes(plan.dim)];
        file.read_exact(&mut bytes)?;
        each(&Dtype::F32.decode(&bytes, plan.dim, &Ranges::default()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

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
            precision: Precision::F32,
            similarity: SimilarityChoice::Dot,
            rows,
            dim: 2,
            dtype: Dtype::F32,
            format: FileFormat::Safetensors,
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
        assert_eq!(read.rows(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]);
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
    fn a_folder_has_the_numbers_and_the_file_that_were_asked_for() {
        let rows = [1.0, -2.0, 0.5, 4.0, -1.0, 0.25];
        for format in [FileFormat::Safetensors, FileFormat::Npy] {
            for (dtype, error) in
                [(Dtype::F32, 0.0), (Dtype::F16, 0.0), (Dtype::Int8, 0.012), (Dtype::Binary, 3.0)]
            {
                let folder = tempfile::tempdir().unwrap();
                let plan = Plan { dtype, format, ..plan(3) };
                let mut writer = Writer::open(folder.path(), plan.clone(), 1).unwrap();
                writer.append(&ids(&["a", "b", "c"]), &rows).unwrap();
                writer.finish("i").unwrap();
                let read = Embeddings::open(folder.path()).unwrap();
                assert_eq!((read.dtype, read.dim, read.ids.len()), (dtype, 2, 3));
                for (x, y) in rows.iter().zip(&*read.rows()) {
                    assert!((x - y).abs() <= error && (x * y > 0.0), "{dtype}: {x} {y}");
                }
                assert!(!folder.path().join(PARTIAL_EMBEDDINGS).exists());
                let again = Writer::open(folder.path(), plan, 1).err().unwrap().to_string();
                assert!(again.contains("exists already"), "{again}");
            }
        }
    }

    #[test]
    fn no_rows_are_no_mistake_in_any_numbers() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Int8, Dtype::Binary] {
            let folder = tempfile::tempdir().unwrap();
            Writer::open(folder.path(), Plan { dtype, ..plan(0) }, 1).unwrap().finish("i").unwrap();
            let read = Embeddings::open(folder.path()).unwrap();
            assert_eq!((read.rows().len(), read.dim), (0, 2), "{dtype}");
        }
    }

    #[test]
    fn a_folder_is_in_the_hands_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = Writer::open(folder.path(), plan(1), 1).unwrap();
        let second = || Writer::open(folder.path(), Plan { model: "n".into(), ..plan(1) }, 1);
        let error = second().err().unwrap().to_string();
        assert!(error.starts_with("another process writes embeddings"), "{error}");
        drop(first);
        let error = second().err().unwrap().to_string();
        assert!(error.ends_with("was begun with another model"), "{error}");
    }

    #[test]
    fn a_finished_folder_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        Writer::open(folder.path(), plan(0), 1).unwrap().finish("i").unwrap();
        let error = Writer::open(folder.path(), plan(0), 1).err().unwrap().to_string();
        assert!(error.contains("exists already"), "{error}");
    }
}
