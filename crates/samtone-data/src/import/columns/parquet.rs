//! The columns of a Parquet file, a row at a time.

use std::fs::File;
use std::io;
use std::path::Path;

use parquet::errors::ParquetError;
use parquet::file::reader::SerializedFileReader;
use parquet::record::Field;
use parquet::record::reader::RowIter;

use super::{Cell, MOST_SCORES, Row};
use crate::error::DataError;

/// Calls `each` with every row of a file and its number, counted from 1. Pages are decompressed as
/// they are reached: memory holds one of each column.
///
/// # Errors
/// If the file cannot be read or is not Parquet, or at the first error of `each`.
pub(super) fn for_each_row(
    path: &Path,
    mut each: impl FnMut(Row<'static>, u64) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let wrong = |error: ParquetError| DataError::Read {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    };
    let file = File::open(path).map_err(|source| DataError::opening(path, source))?;
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    for (number, row) in (1..).zip(RowIter::from_file_into(Box::new(reader))) {
        let columns = row.map_err(wrong)?.into_columns().into_iter();
        let row = columns.map(|(name, field)| (name.into(), cell(field)));
        each(Row(row.collect()), number)?;
    }
    Ok(())
}

/// A value: a string is a text, and a number (a label) is as it prints.
fn cell(field: Field) -> Cell<'static> {
    match field {
        Field::Str(text) => Cell::Text(text.into()),
        Field::Bytes(bytes) => match std::str::from_utf8(bytes.data()) {
            Ok(text) => Cell::Text(text.to_owned().into()),
            Err(_) => Cell::Other("invalid UTF-8".into()),
        },
        Field::ListInternal(ref list) if list.len() <= MOST_SCORES => {
            Cell::Other(field.to_string().into())
        }
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => {
            Cell::Other("a nested value".into())
        }
        Field::Null => Cell::Other("null".into()),
        number => Cell::Other(number.to_string().into()),
    }
}
