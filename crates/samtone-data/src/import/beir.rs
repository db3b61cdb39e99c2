//! A BEIR folder, mended.

use std::path::PathBuf;

use super::sink::Sink;
use crate::error::DataError;
use crate::reading::beir::{BeirFolder, DocumentLine, JudgmentLine, QueryLine};

pub(super) fn import(inputs: &[PathBuf], sink: &mut Sink<'_>) -> Result<(), DataError> {
    for dir in inputs {
        let folder = BeirFolder::open(dir)?;
        sink.lines(folder.corpus(), |sink, line| {
            let document = DocumentLine::parse(line)?;
            sink.document(&document.id, &document.title, &document.text, line.number)
        })?;
        sink.lines(folder.queries(), |sink, line| {
            let query = QueryLine::parse(line)?;
            sink.query(&query.id, &query.text, line.number)
        })?;
        for split in folder.splits() {
            sink.lines(&folder.qrels(&split)?, |sink, line| match JudgmentLine::parse(line)? {
                None => Ok(()),
                Some(judgment) => {
                    let (query, document) = (judgment.query_id, judgment.document_id);
                    sink.judgment(&split, query, document, judgment.grade, true)
                }
            })?;
        }
    }
    Ok(())
}
