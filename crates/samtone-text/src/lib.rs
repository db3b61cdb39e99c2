//! Texts to token ids.
//!
//! [`TextTokenizer`] reads a `tokenizer.json` or trains one, [`TokenBatch`] is what an encoder reads,
//! [`TokenCache`] keeps the ids of many texts in a file. [`Key`] is the source of all randomness: a
//! pure function of a seed, a chain of labels and an index.
//!
//! [`DocumentText`] says what of a document is read.
//!
//! Everything is on the host and deterministic: no tensor, no device, no generator with a state.
//!
//! ```
//! use samtone_text::{TextTokenizer, TokenBatch};
//!
//! let texts = ["a well holds water", "water runs", "a well runs dry"];
//! let tokenizer = TextTokenizer::train_wordpiece(&texts, 60, true)?;
//! let rows = tokenizer.encode_batch(&["Water runs", "a well holds water"], 32)?;
//! let batch = TokenBatch::pad(&rows, tokenizer.pad_id());
//! assert_eq!(batch.batch(), 2);
//! # Ok::<(), samtone_text::TextError>(())
//! ```

mod batch;
mod cache;
mod document_text;
mod error;
mod random;
mod tokenizer;
mod wordpiece;

pub use batch::TokenBatch;
pub use cache::TokenCache;
#[doc(hidden)]
pub use cache::seal;
pub use document_text::DocumentText;
pub use error::TextError;
pub use random::Key;
pub use tokenizer::{MASK, PairTokens, SENTINELS, SeenText, SeenToken, TextTokenizer, sentinel};
