//! Reading strictly: lines, records, and the place of every mistake in them.

pub(crate) mod beir;
pub(crate) mod encoding;
pub(crate) mod interner;
pub(crate) mod json;
pub(crate) mod knowledge;
pub(crate) mod lines;
pub(crate) mod signature;

pub use self::beir::{
    BeirFolder, DocumentLine, JudgmentLine, QRELS_HEADER, QueryLine, find_corpus,
    for_each_document, for_each_judgment, for_each_query, write_document, write_query,
};
pub use self::encoding::{Encoding, UnknownEncoding};
pub use self::knowledge::{
    Answers, QaPair, Triple, read_qa, read_triples, write_qa, write_triples,
};
pub use self::lines::{Compression, Line, Lines, MAX_LINE, decompress, open};
pub use self::signature::Signature;
