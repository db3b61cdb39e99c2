//! Files and text to batches: formats, tokenizers, samplers, the embedded corpus.
//!
//! The principal type is [`Dataset`]: documents, queries and judgments, read strictly from a folder in
//! BEIR layout or made by [`embedded::World`]. [`TextTokenizer`] turns its texts into ids,
//! [`PairBatches`] says which rows make which batch, and [`TokenBatch`] is what an encoder reads.
//!
//! Everything here is on the host, and deterministic: no tensor, no device, no generator with a state.
//! All randomness is a [`random::Key`].
//!
//! ```
//! use samtone_data::{BatchConfig, DocumentText, PairBatches, TextTokenizer, TokenBatch};
//! use samtone_data::{embedded::World, random::Key};
//!
//! let dataset = World::generate(0, 500).dataset();
//! let texts: Vec<_> =
//!     dataset.documents().iter().map(|document| document.passage(DocumentText::TitleText)).collect();
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

pub mod batch;
pub mod batches;
pub mod beir;
pub mod cache;
pub mod dataset;
pub mod embedded;
pub mod error;
pub mod files;
pub mod import;
mod interner;
mod json;
pub mod knowledge;
pub mod lines;
pub mod lint;
pub mod random;
pub mod record;
pub mod records;
pub mod signature;
pub mod tokenizer;
mod wordpiece;

pub use batch::TokenBatch;
pub use batches::{BatchConfig, PairBatches};
pub use dataset::{Dataset, Positives, Relevance};
pub use error::{DataError, Fault};
pub use record::{Document, DocumentText, Judgment, Pair, Query};
pub use tokenizer::TextTokenizer;
