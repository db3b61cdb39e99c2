//! Embeddings as Parquet: the columns `_id`, a string, and `embedding`, a list of numbers.

use std::io::Write;
use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType, FloatType, Int32Type};
use parquet::errors::Result;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use samtone_eval::search::{Dtype, Ranges};

/// A file that grows by groups of rows.
pub(crate) struct ParquetFile<W: Write + Send> {
    file: SerializedFileWriter<W>,
    dtype: Dtype,
}

impl<W: Write + Send> ParquetFile<W> {
    /// Starts a file of numbers stored as `dtype`; of two bytes they become four, bits a byte each
    /// eight.
    pub(crate) fn new(out: W, dtype: Dtype) -> Result<Self> {
        let element = match dtype {
            Dtype::F32 | Dtype::F16 => "FLOAT element",
            Dtype::Int8 => "INT32 element (INTEGER(8, true))",
            Dtype::Binary => "INT32 element (INTEGER(8, false))",
        };
        let schema = parse_message_type(&format!(
            "message schema {{
               REQUIRED BYTE_ARRAY _id (STRING);
               REQUIRED GROUP embedding (LIST) {{ REPEATED GROUP list {{ REQUIRED {element}; }} }}
             }}"
        ))?;
        let properties =
            Arc::new(WriterProperties::builder().set_dictionary_enabled(false).build());
        Ok(Self { file: SerializedFileWriter::new(out, Arc::new(schema), properties)?, dtype })
    }

    /// Writes ids and their stored rows.
    pub(crate) fn write(&mut self, ids: &[&str], rows: &[u8]) -> Result<()> {
        let Some(row_bytes) = rows.len().checked_div(ids.len()) else { return Ok(()) };
        let mut group = self.file.next_row_group()?;
        let ids: Vec<ByteArray> = ids.iter().map(|&id| id.into()).collect();
        let mut column = group.next_column()?.expect("the schema has ids");
        column.typed::<ByteArrayType>().write_batch(&ids, None, None)?;
        column.close()?;

        let columns = row_bytes / self.dtype.row_bytes(1);
        let count = ids.len() * columns;
        // A row begins where the level of repetition is 0.
        let repeated: Vec<i16> = (0..count).map(|at| i16::from(at % columns != 0)).collect();
        let defined = vec![1; count];
        let levels = (Some(&defined[..]), Some(&repeated[..]));
        let mut column = group.next_column()?.expect("the schema has embeddings");
        let numbers: Vec<i32> = match self.dtype {
            Dtype::F32 | Dtype::F16 => {
                let numbers = self.dtype.decode(rows, columns, &Ranges::default());
                column.typed::<FloatType>().write_batch(&numbers, levels.0, levels.1)?;
                column.close()?;
                return group.close().map(drop);
            }
            Dtype::Int8 => rows.iter().map(|&x| x.cast_signed().into()).collect(),
            Dtype::Binary => rows.iter().map(|&x| x.into()).collect(),
        };
        column.typed::<Int32Type>().write_batch(&numbers, levels.0, levels.1)?;
        column.close()?;
        group.close().map(drop)
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
        for (dtype, rows, expected) in [
            (Dtype::F32, &rows[..], ["[0.5, 1.0]", "[2.0, 4.0]", "[8.0, 16.0]"]),
            (Dtype::Int8, &[1, 255, 3, 4, 5, 6], ["[1, -1]", "[3, 4]", "[5, 6]"]),
            (Dtype::Binary, &[1, 255, 6], ["[1]", "[255]", "[6]"]),
        ] {
            let mut out = tempfile::tempfile().unwrap();
            let mut file = ParquetFile::new(&mut out, dtype).unwrap();
            let split = 2 * rows.len() / 3;
            file.write(&["a", "b"], &rows[..split]).unwrap();
            file.write(&["c"], &rows[split..]).unwrap();
            file.finish().unwrap();
            let reader = SerializedFileReader::new(out).unwrap();
            let read = reader.get_row_iter(None).unwrap().map(|row| row.unwrap().to_string());
            let ids = ["a", "b", "c"].into_iter().zip(expected);
            let expected: Vec<String> =
                ids.map(|(id, row)| format!("{{_id: \"{id}\", embedding: {row}}}")).collect();
            assert_eq!(read.collect::<Vec<_>>(), expected);
        }
    }
}
