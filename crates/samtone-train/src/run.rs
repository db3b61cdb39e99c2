//! Whole runs: what is read, the loop over steps, the judging, the run folder.
//!
//! [`run()`] does an experiment from its configuration. [`Training`] is the loop, whatever a
//! [`Learner`] learns; [`RunFolder`] is what a run leaves on the disk.

pub(crate) mod batches;
pub(crate) mod beginning;
pub(crate) mod card;
pub(crate) mod checkpoint;
pub(crate) mod data_record;
pub(crate) mod dev_sample;
pub(crate) mod environment;
pub(crate) mod experiment;
pub(crate) mod first_step;
pub(crate) mod fit;
pub(crate) mod identity;
pub(crate) mod judge;
pub(crate) mod origin;
pub(crate) mod plan;
pub(crate) mod prepare;
pub(crate) mod proc;
pub(crate) mod queries;
pub(crate) mod ranking;
pub(crate) mod record;
pub(crate) mod run_folder;
pub(crate) mod search_split;
pub(crate) mod session;
pub(crate) mod similarity;
pub(crate) mod status;
pub(crate) mod summary;
pub(crate) mod training;
pub(crate) mod weights;

pub use self::checkpoint::{Checkpoints, Saved};
pub use self::data_record::{
    DataRecord, Findings, JudgedSet, Leak, SeenPair, SeenPiece, SeenRow, TokenLengths, TrainedSet,
};
pub use self::environment::Environment;
pub use self::experiment::{Outcome, QUICK_START, RunOptions, run};
pub use self::first_step::{FirstStep, first_step};
pub use self::identity::Identity;
pub use self::judge::evaluation_path;
pub use self::origin::Origin;
pub use self::plan::{LARGEST_CHUNK, Plan, plan};
pub use self::prepare::{EMBEDDED_SEED, load_data};
pub use self::proc::peak_rss_bytes;
pub use self::queries::{ShownDocument, ShownQueries, ShownQuery, ShownRanking};
pub use self::record::{Event, StepRecord};
pub use self::run_folder::{
    CONFIG, ENVIRONMENT, METRICS, MODEL, RunFolder, SUMMARY, check_folder, is_begun,
};
pub use self::search_split::{Embedded, JudgedSplit, Observe, similarity_of};
pub use self::status::{State, Status, logged, runs_under};
pub use self::summary::{Baseline, BeforeTraining, Best, Metrics, Summary};
pub use self::training::{Before, Course, Learner, Place, Trained, Training, Work, not_finite};
