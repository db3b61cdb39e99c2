//! Train, judge and ship dual-encoder text retrievers.
//!
//! A facade over the layered crates, for those who want one dependency. Each is useful alone, and
//! needs only those above it in the table, `report` none:
//!
//! | module | crate | does | begin with |
//! |---|---|---|---|
//! | [`files`] | `samtone-files` | files and folders whole or absent | [`files::write_whole`] |
//! | [`text`] | `samtone-text` | texts to token ids | [`text::TextTokenizer`] |
//! | [`hub`] | `samtone-hub` | names on the Hugging Face hub to folders of its cache | [`hub::HubCache`] |
//! | [`data`] | `samtone-data` | files to pairs, judgments and batches of rows | [`data::Dataset`] |
//! | [`loss`] | `samtone-loss` | tensors to loss and gradients | [`loss::LossConfig`] |
//! | [`model`] | `samtone-model` | batches to embeddings | [`model::Retriever`] |
//! | [`eval`] | `samtone-eval` | runs and judgments to numbers | [`eval::evaluate()`] |
//! | [`train`] | `samtone-train` | the training that joins them | [`train::run::run()`] |
//! | [`skill`] | `samtone-skill` | knowledge graphs infused into T5 | [`skill::infuse()`] |
//! | [`report`] | `samtone-report` | numbers to a self-contained page | [`report::Report`] |
//!
//! Which one to take:
//!
//! - A loss for a training loop of one's own: `samtone-loss`.
//! - The embeddings of a model that is there: `samtone-model`.
//! - Gradients of large batches in bounded memory: [`train::step::Engine`].
//! - A training from data to a run folder: [`train::run::run()`], or the command line.
//! - Hard negatives for another trainer: [`train::mine`].
//! - Metrics and tests of any system's rankings: `samtone-eval`, without Burn.
//! - Data sets read, imported and checked: `samtone-data`, without Burn.
//! - Files that are whole or absent, and nothing else: `samtone-files`.
//!
//! # Features
//!
//! - `cli` (default): the command line of the same name. Without it (`default-features = false,
//!   features = ["flex"]`) only the crates above are compiled.
//! - `flex` (default): the Flex backend, with fused kernels on the CPU.
//! - `ndarray`, `wgpu`, `cuda`: further backends; one build may hold several.
//! - `unfused`: the GPU backends without kernel fusion as well, to compare with.
//! - `parquet`: `samtone import` reads Parquet files, `samtone encode` writes them.
//! - `usearch`: `samtone index --graph` and searches by it; compiles C++.
//! - `mpi`: `samtone train` under `mpirun` and its like, several processes on one run; links the MPI
//!   library that `mpicc` or pkg-config finds.
//! - `serve`: `samtone serve`, embeddings and searches over HTTP.
//! - `qdrant`, `milvus`: `samtone index --to` a collection on a server, and searches there.

pub use samtone_data as data;
pub use samtone_eval as eval;
pub use samtone_files as files;
pub use samtone_hub as hub;
pub use samtone_loss as loss;
pub use samtone_model as model;
pub use samtone_report as report;
pub use samtone_skill as skill;
pub use samtone_text as text;
pub use samtone_train as train;
