//! Embeddings as Parquet, for other programs: the columns `id`, `text` and `vector`, a list of as many
//! numbers in every row, and among the file's metadata what they come from.

use std::io::Write;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, FixedSizeListArray, Float32Array, Int8Array, RecordBatch, StringArray, UInt8Array,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::Result;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use samtone_eval::search::{Dtype, Ranges};

/// Rows of a group: all that a reader must hold at once.
const GROUP: usize = 1 << 14;

/// A file that grows by some rows at a time.
pub(crate) struct ParquetFile<W: Write + Send> {
    file: ArrowWriter<W>,
    schema: SchemaRef,
    dtype: Dtype,
    /// Numbers, or bytes of bits, of a row.
    columns: usize,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Starts a file of rows of `dim` numbers stored as `dtype`; of two bytes they become four, bits a
    /// byte each eight. `metadata` are its own words, by name.
    pub(crate) fn new(
        out: W,
        dtype: Dtype,
        dim: usize,
        metadata: &[(&str, String)],
    ) -> Result<Self> {
        let (number, columns) = match dtype {
            Dtype::F32 | Dtype::F16 => (DataType::Float32, dim),
            Dtype::Int8 => (DataType::Int8, dim),
            Dtype::Binary => (DataType::UInt8, dtype.row_bytes(dim)),
        };
        let vector = DataType::new_fixed_size_list(number, columns as i32, false);
        let column = |name: &str, of: DataType| Field::new(name, of, false);
        let text = || DataType::Utf8;
        let schema = Arc::new(Schema::new(vec![
            column("id", text()),
            column("text", text()),
            column("vector", vector),
        ]));
        let metadata = metadata
            .iter()
            .map(|(name, value)| KeyValue { key: (*name).to_owned(), value: Some(value.clone()) });
        let properties = WriterProperties::builder()
            .set_dictionary_enabled(false)
            .set_compression(Compression::UNCOMPRESSED)
            .set_column_compression("text".into(), Compression::ZSTD(ZstdLevel::default()))
            .set_max_row_group_row_count(Some(GROUP))
            .set_key_value_metadata(Some(metadata.collect()))
            .build();
        let file = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties))?;
        Ok(Self { file, schema, dtype, columns })
    }

    /// Writes ids, texts and their stored rows.
    pub(crate) fn write(&mut self, ids: &[&str], texts: &[&str], rows: &[u8]) -> Result<()> {
        let numbers: ArrayRef = match self.dtype {
            Dtype::F32 | Dtype::F16 if rows.is_empty() => {
                Arc::new(Float32Array::from(Vec::<f32>::new()))
            }
            Dtype::F32 | Dtype::F16 => {
                let numbers = self.dtype.decode(rows, self.columns, &Ranges::default());
                Arc::new(Float32Array::from(numbers))
            }
            Dtype::Int8 => {
                let numbers: &[i8] = bytemuck::cast_slice(rows);
                Arc::new(Int8Array::from(numbers.to_vec()))
            }
            Dtype::Binary => Arc::new(UInt8Array::from(rows.to_vec())),
        };
        let element = match self.schema.field(2).data_type() {
            DataType::FixedSizeList(element, _) => Arc::clone(element),
            _ => unreachable!("the third column is a list"),
        };
        let vectors = FixedSizeListArray::try_new(element, self.columns as i32, numbers, None)?;
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from(ids.to_vec())),
            Arc::new(StringArray::from(texts.to_vec())),
            Arc::new(vectors),
        ];
        self.file.write(&RecordBatch::try_new(Arc::clone(&self.schema), columns)?)
    }

    /// Ends the file.
    pub(crate) fn finish(self) -> Result<()> {
        self.file.close().map(drop)
    }
}

#[cfg(test)]
mod tests {
    use parquet::file::reader::{FileReader, SerializedFileReader};

    use super::*;

    #[test]
    fn rows_are_read_as_they_were_written() {
        let rows = [0.5_f32, 1.0, 2.0, 4.0, 8.0, 16.0].map(f32::to_le_bytes).concat();
        for (dtype, dim, rows, expected) in [
            (Dtype::F32, 2, &rows[..], ["[0.5, 1.0]", "[2.0, 4.0]", "[8.0, 16.0]"]),
            (Dtype::Int8, 2, &[1, 255, 3, 4, 5, 6], ["[1, -1]", "[3, 4]", "[5, 6]"]),
            (Dtype::Binary, 5, &[1, 255, 6], ["[1]", "[255]", "[6]"]),
        ] {
            let mut out = tempfile::tempfile().unwrap();
            let words = [("samtone.encode", "{}".to_owned())];
            let mut file = ParquetFile::new(&mut out, dtype, dim, &words).unwrap();
            let split = 2 * rows.len() / 3;
            file.write(&["a", "b"], &["x", ""], &rows[..split]).unwrap();
            file.write(&["c"], &["z"], &rows[split..]).unwrap();
            file.finish().unwrap();
            let reader = SerializedFileReader::new(out).unwrap();
            let known = reader.metadata().file_metadata().key_value_metadata().unwrap();
            let value = |name: &str| known.iter().find(|pair| pair.key == name)?.value.clone();
            assert_eq!(value("samtone.encode").as_deref(), Some("{}"));
            // Arrow's own readers know by it that every list has one length.
            assert!(value("ARROW:schema").is_some());
            let read = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string());
            let names = [("a", "x"), ("b", ""), ("c", "z")].into_iter().zip(expected);
            let expected: Vec<String> = names
                .map(|((id, text), row)| {
                    format!("{{id: \"{id}\", text: \"{text}\", vector: {row}}}")
                })
                .collect();
            assert_eq!(read.collect::<Vec<_>>(), expected);
        }
    }
}
