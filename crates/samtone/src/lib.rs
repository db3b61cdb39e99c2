//! Train, judge and ship dual-encoder text retrievers.
//!
//! A facade over the layered crates, for those who want one dependency:
//!
//! | module | crate | does |
//! |---|---|---|
//! | [`loss`] | `samtone-loss` | tensors to loss and gradients |
//! | [`data`] | `samtone-data` | files and text to batches |
//! | [`model`] | `samtone-model` | batches to embeddings |
//! | [`eval`] | `samtone-eval` | runs and judgments to numbers |
//! | [`train`] | `samtone-train` | the engine that joins them |
//! | [`report`] | `samtone-report` | numbers to a self-contained page |
//!
//! The command line of the same name is built from this package.

pub use samtone_data as data;
pub use samtone_eval as eval;
pub use samtone_loss as loss;
pub use samtone_model as model;
pub use samtone_report as report;
pub use samtone_train as train;
