//! The columns of a Parquet file, a row at a time.

use std::{borrow::Cow, fs::File, io, path::Path};

use parquet::{
    errors::ParquetError,
    file::reader::SerializedFileReader,
    record::{Field, reader::RowIter},
};

use super::Row;
use crate::error::{DataError, Fault, open_error};

/// Calls `each` with every row of a file and its number, counted from 1. Pages are decompressed as
/// they are reached: memory holds one of each column.
///
/// # Errors
/// If the file cannot be read or is not Parquet, or at the first error of `each`.
pub(super) fn for_each_row(
    path: &Path,
    mut each: impl FnMut(Result<Row<'static>, Fault>, u64) -> Result<(), DataError>,
) -> Result<(), DataError> {
    let wrong = |error: ParquetError| DataError::Read {
        path: path.to_owned(),
        source: io::Error::new(io::ErrorKind::InvalidData, error),
    };
    let file = File::open(path).map_err(|source| open_error(path, source))?;
    let reader = SerializedFileReader::new(file).map_err(wrong)?;
    for (number, row) in (1..).zip(RowIter::from_file_into(Box::new(reader))) {
        let columns = row.map_err(wrong)?.into_columns().into_iter();
        let row = columns.map(|(name, field)| text(&name, field).map(|text| (name.into(), text)));
        each(row.collect::<Result<_, _>>().map(Row), number)?;
    }
    Ok(())
}

/// A value as text: a string as it is, a number (a label) as it prints.
fn text(name: &str, field: Field) -> Result<Cow<'static, str>, Fault> {
    let shape = match field {
        Field::Str(text) => return Ok(text.into()),
        Field::Bytes(bytes) => {
            let text = std::str::from_utf8(bytes.data());
            let text = text.map_err(|error| Fault::Utf8 { column: error.valid_up_to() + 1 })?;
            return Ok(text.to_owned().into());
        }
        Field::Group(_) | Field::ListInternal(_) | Field::MapInternal(_) => "a nested value",
        Field::Null => "null",
        number => return Ok(number.to_string().into()),
    };
    let got = format!("{shape} in column `{name}`");
    Err(Fault::Value { field: "column", expected: "a text", got })
}
