//! Train, judge and ship dual-encoder text retrievers.
//!
//! A facade over the layered crates, for those who want one dependency:
//!
//! | module | crate | does |
//! |---|---|---|
//! | [`loss`] | `samtone-loss` | tensors to loss and gradients |
//! | [`text`] | `samtone-text` | texts to token ids |
//! | [`data`] | `samtone-data` | files to pairs, judgments and batches of rows |
//! | [`model`] | `samtone-model` | batches to embeddings |
//! | [`eval`] | `samtone-eval` | runs and judgments to numbers |
//! | [`train`] | `samtone-train` | the training that joins them |
//! | [`skill`] | `samtone-skill` | knowledge graphs infused into T5 |
//! | [`report`] | `samtone-report` | numbers to a self-contained page |
//!
//! The command line of the same name is built from this package, behind its feature `cli`; without
//! it (`default-features = false, features = ["flex"]`) only the crates above are compiled.

pub use samtone_data as data;
pub use samtone_eval as eval;
pub use samtone_loss as loss;
pub use samtone_model as model;
pub use samtone_report as report;
pub use samtone_skill as skill;
pub use samtone_text as text;
pub use samtone_train as train;
