//! Files to pairs, judgments and batches of rows: formats, checks, samplers, the embedded corpus.
//!
//! The principal type is [`Dataset`]: documents, queries and judgments, read strictly from a folder in
//! BEIR layout or a file of pairs, or made by [`embedded::World`]. [`Dataset::pairs`] are what a
//! retriever trains on, and [`PairBatches`] says which of them make which batch.
//!
//! | module | holds |
//! |---|---|
//! | [`reading`] | lines and records, and the place of every mistake in them |
//! | [`import`] | foreign formats in, BEIR layout out |
//! | [`lint`] | a data set checked before training |
//! | [`split`] | a split parted into several, without leaks |
//! | [`embedded`] | a generated world of people, places and works, told in prose |
//! | [`made`] | a collection of MS MARCO's size, of words without a meaning |
//!
//! Everything here is on the host, and deterministic: no tensor, no device, no generator with a state.
//! Texts become token ids in `samtone-text`, whose `Key` is the source of all randomness.
//!
//! ```
//! use samtone_data::{BatchConfig, PairBatches};
//! use samtone_text::{DocumentText, TextTokenizer, TokenBatch};
//! use samtone_data::embedded::World;
//! use samtone_text::Key;
//!
//! let dataset = World::generate(0, 500).dataset();
//! let texts: Vec<_> =
//!     dataset.documents().map(|document| document.passage(DocumentText::TitleText)).collect();
//! let tokenizer = TextTokenizer::train_wordpiece(&texts, 800, true)?;
//!
//! let pairs = dataset.pairs("train");
//! let batches = PairBatches::new(&dataset, &pairs, Key::new(0), BatchConfig::new(8));
//! let rows = batches.batch(0);
//! let queries: Vec<_> =
//!     rows.iter().map(|&row| &*dataset.queries()[pairs[row].query].text).collect();
//! let batch = TokenBatch::pad(&tokenizer.encode_batch(&queries, 32)?, tokenizer.pad_id());
//! assert_eq!(batch.batch(), 8);
//! # Ok::<(), samtone_data::DataError>(())
//! ```
//!
//! # Features
//!
//! - `parquet`: [`import`] reads Parquet files. Compiles zstd's C.

mod batches;
mod dataset;
pub mod embedded;
mod error;
pub mod import;
pub mod lint;
pub mod made;
mod output;
pub mod reading;
mod record;
pub mod split;

pub use batches::{BatchConfig, PairBatches};
pub use dataset::{Dataset, Positives, Relevance};
pub use error::{ColumnFault, DataError, Fault, ShareFault};
pub use record::{Document, Judgment, Pair, Query, id_fits_trec};
