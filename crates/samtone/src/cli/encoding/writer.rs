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

use super::input::Text;
use super::pieces::FileMark;
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
    /// Of a part: what it was cut from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) files: Vec<FileMark>,
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
    /// Starts a folder, or goes on with the one that the same plan began.
    pub(crate) fn open(folder: &Path, plan: Plan) -> anyhow::Result<Self> {
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
        writer.find_done().with_context(wrong)?;
        // What is torn behind them is cut off.
        writer.keep(writer.done)?;
        Ok(writer)
    }

    /// Rows that are there.
    pub(crate) fn done(&self) -> usize {
        self.done
    }

    /// Keeps only the first `rows` of those that are there.
    pub(crate) fn keep(&mut self, rows: usize) -> anyhow::Result<()> {
        assert!(rows <= self.done, "{rows} rows of {}", self.done);
        let cut = |writer: &mut Self| {
            let (mut length, mut line) = (0, Vec::new());
            writer.ids.rewind()?;
            let mut reader = BufReader::new(&writer.ids);
            for _ in 0..rows {
                line.clear();
                length += reader.read_until(b'\n', &mut line)?;
            }
            writer.ids.set_len(length as u64)?;
            writer.ids.seek(SeekFrom::End(0))?;
            let header = writer.plan.partial().safetensors_header();
            let row = Dtype::F32.row_bytes(writer.plan.dim);
            writer.embeddings.set_len((header.len() + rows * row) as u64)?;
            writer.embeddings.seek(SeekFrom::End(0))
        };
        cut(self)
            .with_context(|| format!("cannot write embeddings into `{}`", self.folder.display()))?;
        self.done = rows;
        Ok(())
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
    pub(crate) fn finish(self, input: &str, source: &Source<'_>) -> anyhow::Result<()> {
        let Self { folder, plan, done, .. } = self;
        let wrong = || format!("cannot finish `{}`", folder.display());
        if input != plan.input {
            fs::remove_file(folder.join(RECORD)).with_context(wrong)?;
            return Err(
                Failure::new("the input changed while it was read", "encode it again").into()
            );
        }
        assert_eq!(done, plan.rows, "the same input has as many texts");
        finish(&folder, &plan, source).with_context(wrong)
    }

    /// Counts the rows that are whole and whose ids are.
    fn find_done(&mut self) -> std::io::Result<()> {
        let header = self.plan.partial().safetensors_header();
        let length = self.embeddings.metadata()?.len();
        if length < header.len() as u64 {
            self.embeddings.set_len(0)?;
            return self.embeddings.write_all(&header);
        }
        let rows = (length - header.len() as u64) / Dtype::F32.row_bytes(self.plan.dim) as u64;
        let (mut reader, mut line) = (BufReader::new(&self.ids), Vec::new());
        while (self.done as u64) < rows {
            line.clear();
            reader.read_until(b'\n', &mut line)?;
            if line.last() != Some(&b'\n') {
                break;
            }
            self.done += 1;
        }
        Ok(())
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

/// What a file for other programs holds beside ids and rows.
#[cfg_attr(not(feature = "parquet"), expect(dead_code, reason = "of Parquet alone"))]
pub(crate) struct Source<'a> {
    /// Reads the input again: calls back with every text, and returns BLAKE3 as for the rows.
    pub(crate) texts: &'a Reread<'a>,
    /// The model folder, whose card is copied.
    pub(crate) model: &'a Path,
}

/// Calls back with every text of an input.
pub(crate) type Reread<'a> =
    dyn Fn(&mut dyn FnMut(Text) -> anyhow::Result<()>) -> anyhow::Result<String> + 'a;

/// Gives the files of a folder their names. Rows are kept as f32 in safetensors while they come; what
/// is wanted otherwise is made of them now.
fn finish(folder: &Path, plan: &Plan, source: &Source<'_>) -> anyhow::Result<()> {
    // The other formats hold no texts.
    #[cfg(not(feature = "parquet"))]
    let _ = source;
    let (ids, embeddings) = (folder.join(PARTIAL_IDS), folder.join(PARTIAL_EMBEDDINGS));
    let target = folder.join(plan.format.file());
    if (plan.dtype, plan.format) == (Dtype::F32, FileFormat::Safetensors) {
        fs::rename(ids, folder.join(IDS))?;
        fs::rename(embeddings, target)?;
        return Ok(samtone_files::flush_folder(folder)?);
    }
    let mut ranges = Ranges::default();
    if plan.dtype == Dtype::Int8 {
        let mut rows = Rows::open(&embeddings, plan)?;
        for count in windows(plan.rows) {
            ranges.widen(&rows.next(count)?, plan.dim);
        }
        let mut record = serde_json::to_value(plan)?;
        record["ranges"] = serde_json::to_value(&ranges)?;
        samtone_files::replace(&folder.join(RECORD), &serde_json::to_vec_pretty(&record)?)?;
    }
    let matrix = Matrix::new(plan.dtype, plan.rows, plan.dim);
    let mut rows = Rows::open(&embeddings, plan)?;
    // The next rows as they are stored.
    let mut stored = |count| anyhow::Ok(plan.dtype.encode(&rows.next(count)?, plan.dim, &ranges));
    // The embeddings come last: a folder that has them is whole.
    let names = folder.join(IDS);
    fs::rename(ids, &names)?;
    samtone_files::write_whole(&target, |out| match plan.format {
        FileFormat::Safetensors | FileFormat::Npy => {
            out.write_all(&match plan.format {
                FileFormat::Npy => matrix.npy_header(),
                _ => matrix.safetensors_header(),
            })?;
            windows(plan.rows).try_for_each(|count| anyhow::Ok(out.write_all(&stored(count)?)?))
        }
        FileFormat::Jsonl => {
            let mut names = BufReader::new(File::open(&names)?).lines();
            windows(plan.rows).try_for_each(|count| {
                let rows = stored(count)?;
                for row in rows.chunks_exact(plan.dtype.row_bytes(plan.dim)) {
                    let id = names.next().context("an id for each row was written")??;
                    write_json_line(out, &id, plan.dtype, row)?;
                }
                Ok(())
            })
        }
        #[cfg(feature = "parquet")]
        FileFormat::Parquet => write_parquet(out, folder, plan, source, &mut stored),
    })?;
    Ok(fs::remove_file(embeddings)?)
}

/// Writes the rows that `stored` gives, each with its text.
#[cfg(feature = "parquet")]
fn write_parquet(
    out: &mut (impl Write + Send),
    folder: &Path,
    plan: &Plan,
    source: &Source<'_>,
    stored: &mut impl FnMut(usize) -> anyhow::Result<Vec<u8>>,
) -> anyhow::Result<()> {
    let mut metadata = vec![("samtone.encode", fs::read_to_string(folder.join(RECORD))?)];
    match fs::read(source.model.join("README.md")) {
        Ok(card) => {
            metadata.push(("samtone.model_card", String::from_utf8_lossy(&card).into_owned()));
        }
        // Not every model folder has one.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    let mut file = ParquetFile::new(out, plan.dtype, plan.dim, &metadata)?;
    let mut held: Vec<Text> = Vec::new();
    let mut write = |held: &mut Vec<Text>| -> anyhow::Result<()> {
        let of = |part: fn(&Text) -> &str| held.iter().map(part).collect::<Vec<&str>>();
        file.write(&of(|text| &text.id), &of(|text| &text.text), &stored(held.len())?)?;
        held.clear();
        Ok(())
    };
    let read = (source.texts)(&mut |text| {
        held.push(text);
        if held.len() == WINDOW { write(&mut held) } else { Ok(()) }
    })?;
    write(&mut held)?;
    if read != plan.input {
        return Err(Failure::new("the input changed while it was read", "encode it again").into());
    }
    Ok(file.finish()?)
}

/// Rows converted at a time.
const WINDOW: usize = 1024;

/// How many rows follow at a time, of so many.
fn windows(rows: usize) -> impl Iterator<Item = usize> {
    (0..rows).step_by(WINDOW).map(move |start| WINDOW.min(rows - start))
}

/// The rows of the file that grew.
struct Rows {
    file: File,
    dim: usize,
}

impl Rows {
    fn open(path: &Path, plan: &Plan) -> std::io::Result<Self> {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(plan.partial().safetensors_header().len() as u64))?;
        Ok(Self { file, dim: plan.dim })
    }

    /// The next `count`.
    fn next(&mut self, count: usize) -> std::io::Result<Vec<f32>> {
        if count == 0 {
            return Ok(Vec::new());
        }
        let mut bytes = vec![0; count * Dtype::F32.row_bytes(self.dim)];
        self.file.read_exact(&mut bytes)?;
        Ok(Dtype::F32.decode(&bytes, self.dim, &Ranges::default()))
    }
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
            files: Vec::new(),
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

    /// For formats that hold no texts.
    fn none() -> Source<'static> {
        Source { texts: &|_| unreachable!("no texts are asked for"), model: Path::new("") }
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
        let torn = OpenOptions::new().write(true).open(folder.path().join(PARTIAL_IDS)).unwrap();
        torn.set_len(3).unwrap();
        let mut rows =
            OpenOptions::new().append(true).open(folder.path().join(PARTIAL_EMBEDDINGS)).unwrap();
        rows.write_all(&[1, 2, 3]).unwrap();
        let mut writer = Writer::open(folder.path(), plan(3)).unwrap();
        assert_eq!(writer.done(), 1);
        writer.append(&ids(&["b", "c"]), &[3.0, 4.0, 5.0, 6.0]).unwrap();
        writer.finish("i", &none()).unwrap();
        let read = Embeddings::open(&[folder.path().into()]).unwrap();
        assert_eq!((read.ids.clone(), read.dim), (ids(&["a", "b", "c"]), 2));
        assert_eq!(read.rows(), &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0][..]);
        assert_eq!(read.origin.unwrap().similarity, SimilarityChoice::Dot);
    }

    #[test]
    fn rows_that_are_not_kept_are_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = Writer::open(folder.path(), plan(4)).unwrap();
        writer.append(&ids(&["a", "b"]), &[1.0, 2.0, 3.0, 4.0]).unwrap();
        writer.append(&ids(&["c"]), &[5.0, 6.0]).unwrap();
        drop(writer);
        let mut writer = Writer::open(folder.path(), plan(4)).unwrap();
        assert_eq!(writer.done(), 3);
        writer.keep(2).unwrap();
        assert_eq!(writer.done(), 2);
        writer.append(&ids(&["c", "d"]), &[5.0, 6.0, 7.0, 8.0]).unwrap();
        writer.finish("i", &none()).unwrap();
        assert_eq!(
            Embeddings::open(&[folder.path().into()]).unwrap().ids,
            ids(&["a", "b", "c", "d"])
        );
    }

    #[test]
    fn another_plan_does_not_go_on_and_what_differs_is_named() {
        let folder = tempfile::tempdir().unwrap();
        drop(Writer::open(folder.path(), plan(3)).unwrap());
        let refused = |other: Plan| Writer::open(folder.path(), other).err().unwrap().to_string();
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
        let mut writer = Writer::open(folder.path(), plan(1)).unwrap();
        writer.append(&ids(&["a"]), &[1.0, 2.0]).unwrap();
        let error = writer.finish("j", &none()).unwrap_err().to_string();
        assert!(error.contains("the input changed"), "{error}");
        assert_eq!(Writer::open(folder.path(), plan(1)).unwrap().done(), 0);
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
                let mut writer = Writer::open(folder.path(), plan.clone()).unwrap();
                writer.append(&ids(&["a", "b", "c"]), &rows).unwrap();
                writer.finish("i", &none()).unwrap();
                let read = Embeddings::open(&[folder.path().into()]).unwrap();
                assert_eq!((read.dtype, read.dim, read.ids.len()), (dtype, 2, 3));
                for (x, y) in rows.iter().zip(&*read.rows()) {
                    assert!((x - y).abs() <= error && (x * y > 0.0), "{dtype}: {x} {y}");
                }
                let parts: Vec<_> = read.parts().collect();
                assert_eq!(parts.concat(), &*read.rows(), "{dtype}");
                assert_eq!(parts.len(), 2, "{dtype}");
                assert!(!folder.path().join(PARTIAL_EMBEDDINGS).exists());
                let again = Writer::open(folder.path(), plan).err().unwrap().to_string();
                assert!(again.contains("exists already"), "{again}");
            }
        }
    }

    #[cfg(feature = "parquet")]
    #[test]
    fn parquet_has_the_texts_that_were_read_and_the_models_card() {
        use parquet::file::reader::{FileReader, SerializedFileReader};
        use parquet::record::{ListAccessor, RowAccessor};
        let (folder, model) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(model.path().join("README.md"), "# A model\n").unwrap();
        let text = |at: usize| (format!("d{at}"), format!("text {at}"));
        // More than are converted at a time.
        let rows = 2 * WINDOW + 7;
        let plan = Plan { format: FileFormat::Parquet, ..plan(rows) };
        let begin = || {
            let mut writer = Writer::open(folder.path(), plan.clone()).unwrap();
            let ids: Vec<String> = (0..rows).map(|at| text(at).0).collect();
            let numbers: Vec<f32> = (0..rows).flat_map(|at| [at as f32, 0.5]).collect();
            writer.keep(0).unwrap();
            writer.append(&ids, &numbers).unwrap();
            writer
        };
        let read = |hash: &'static str| {
            move |each: &mut dyn FnMut(Text) -> anyhow::Result<()>| {
                for at in 0..rows {
                    let (id, text) = text(at);
                    each(Text { id, text, block: (0, 0) })?;
                }
                Ok(hash.to_owned())
            }
        };
        let source = Source { texts: &read("j"), model: model.path() };
        let error = format!("{:#}", begin().finish("i", &source).unwrap_err());
        assert!(error.ends_with("the input changed while it was read"), "{error}");
        assert_eq!(Embeddings::file_in(folder.path()), None);
        let source = Source { texts: &read("i"), model: model.path() };
        begin().finish("i", &source).unwrap();
        let file = File::open(folder.path().join("embeddings.parquet")).unwrap();
        let reader = SerializedFileReader::new(file).unwrap();
        let known = reader.metadata().file_metadata().key_value_metadata().unwrap();
        let value = |name: &str| known.iter().find(|pair| pair.key == name)?.value.clone();
        assert_eq!(value("samtone.model_card").as_deref(), Some("# A model\n"));
        let record = fs::read_to_string(folder.path().join(RECORD)).unwrap();
        assert_eq!(value("samtone.encode"), Some(record));
        let mut count = 0;
        for (at, row) in reader.get_row_iter(None).unwrap().enumerate() {
            let (row, (id, text)) = (row.unwrap(), text(at));
            assert_eq!([row.get_string(0).unwrap(), row.get_string(1).unwrap()], [&id, &text]);
            let vector = row.get_list(2).unwrap();
            let vector = [0, 1].map(|axis| vector.get_float(axis).unwrap());
            assert_eq!((vector, row.get_list(2).unwrap().len()), ([at as f32, 0.5], 2));
            count += 1;
        }
        assert_eq!(count, rows);
    }

    #[test]
    fn no_rows_are_no_mistake_in_any_numbers() {
        for dtype in [Dtype::F32, Dtype::F16, Dtype::Int8, Dtype::Binary] {
            let folder = tempfile::tempdir().unwrap();
            Writer::open(folder.path(), Plan { dtype, ..plan(0) })
                .unwrap()
                .finish("i", &none())
                .unwrap();
            let read = Embeddings::open(&[folder.path().into()]).unwrap();
            assert_eq!((read.rows().len(), read.dim), (0, 2), "{dtype}");
        }
    }

    #[test]
    fn a_folder_is_in_the_hands_of_one() {
        let folder = tempfile::tempdir().unwrap();
        let first = Writer::open(folder.path(), plan(1)).unwrap();
        let second = || Writer::open(folder.path(), Plan { model: "n".into(), ..plan(1) });
        let error = second().err().unwrap().to_string();
        assert!(error.starts_with("another process writes embeddings"), "{error}");
        drop(first);
        let error = second().err().unwrap().to_string();
        assert!(error.ends_with("was begun with another model"), "{error}");
    }

    #[test]
    fn a_finished_folder_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        Writer::open(folder.path(), plan(0)).unwrap().finish("i", &none()).unwrap();
        let error = Writer::open(folder.path(), plan(0)).err().unwrap().to_string();
        assert!(error.contains("exists already"), "{error}");
    }
}
