//! The rows with a teacher's scores, when queries go to other splits.

use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::path::Path;

use super::options::{ImportOptions, SCORED};
use super::pairs;
use crate::error::DataError;
use crate::output::Folder;
use crate::reading::beir::{BeirFolder, for_each_judgment, for_each_query};
use crate::reading::lines::Lines;

/// Leaves the rows of the split `from` whose queries no share took, and gives their number. Queries of
/// one text are in one split, so that the text tells.
pub(super) fn leave(folder: &Path, options: &ImportOptions, from: &str) -> Result<u64, DataError> {
    let beir = BeirFolder::open(folder)?;
    let mut ids = HashSet::new();
    for (split, _) in &options.shares {
        for_each_judgment(&beir.qrels(split)?, |judgment, _| {
            ids.insert(judgment.query_id.to_owned());
            Ok(())
        })?;
    }
    let mut taken = HashSet::new();
    for_each_query(beir.queries(), |query, _| {
        if ids.contains(&*query.id) {
            taken.insert(query.text.into_owned());
        }
        Ok(())
    })?;
    let files = Folder::new(folder, options.gzip);
    let name = format!("{SCORED}/{from}.jsonl");
    let (place, given) = (files.path(&name), files.path(&format!("{SCORED}/given-{from}.jsonl")));
    fs::rename(&place, &given).map_err(DataError::writing(&given))?;
    let (mut out, mut lines, mut rows) = (files.create(&name)?, Lines::open(&given)?, 0);
    while let Some(line) = lines.next()? {
        let is_taken = pairs::parse(line).map(|row| taken.contains(&*row.query.text));
        let bytes = line.bytes.to_vec();
        if !is_taken.map_err(|fault| lines.fault(fault))? {
            rows += 1;
            out.write(|out| out.write_all(&bytes).and_then(|()| out.write_all(b"\n")))?;
        }
    }
    out.close()?;
    fs::remove_file(&given).map_err(DataError::writing(&given))?;
    Ok(rows)
}
