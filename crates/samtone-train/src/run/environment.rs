//! What a run ran on and how fast: the part of its record that is not a result.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::proc::field;
use crate::run::training::{Before, Work};
use crate::share::job::Job;

/// `environment.json` of a run folder: machine, versions, times and speeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Environment {
    /// Version of samtone.
    pub samtone: String,
    /// Versions of the crates that compute and tokenise, and of what ranks exchange by.
    pub versions: BTreeMap<String, String>,
    /// Backend and device.
    pub backend: String,
    /// Devices that shared the work, those of all ranks.
    #[serde(default = "one")]
    pub devices: usize,
    /// Processes that shared the work.
    #[serde(default = "one")]
    pub ranks: usize,
    /// Of several, the seconds that the last of the legs spent in exchanges with others, waiting for them
    /// included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange_seconds: Option<f64>,
    /// Operating system and processor family.
    pub platform: String,
    /// The processor's own name, where the system tells it.
    pub processor: Option<String>,
    /// Threads that the machine runs at once.
    pub threads: usize,
    /// Parameters of the model, a shared one counted once.
    pub parameters: usize,
    /// Processes that worked on the run one after the other; times and speeds are those of all.
    pub legs: usize,
    /// Seconds spent in training steps.
    pub train_seconds: f64,
    /// Seconds from start to end, evaluation included; of a process that was killed, those until its
    /// last checkpoint.
    pub total_seconds: f64,
    /// Pairs trained on in a second.
    pub pairs_per_second: f64,
    /// Real tokens (padding not counted) trained on in a second.
    pub tokens_per_second: f64,
    /// Share of the computed tokens that were padding, in `[0, 1)`; 0 where the operations leave
    /// padding out (Flex).
    pub padded_share: f64,
    /// When it ended, in seconds since 1970 (UTC).
    #[serde(default)]
    pub ended: Option<u64>,
    /// Most memory the process ever held, in bytes, where the system tells it.
    pub peak_rss_bytes: Option<u64>,
}

impl Environment {
    /// That of a run which did `work` on one device of `backend`, in `legs` processes.
    pub fn new(backend: &str, parameters: usize, work: &Work, legs: Before) -> Self {
        Self {
            samtone: env!("CARGO_PKG_VERSION").into(),
            versions: versions(),
            backend: backend.into(),
            devices: one(),
            ranks: one(),
            exchange_seconds: None,
            platform: platform(),
            processor: processor(),
            threads: threads(),
            parameters,
            legs: legs.legs,
            train_seconds: work.seconds,
            total_seconds: legs.seconds,
            pairs_per_second: work.per_second(work.pairs),
            tokens_per_second: work.per_second(work.tokens),
            padded_share: work.padded_share(),
            ended: None,
            peak_rss_bytes: Some(legs.peak_rss_bytes).filter(|&bytes| bytes > 0),
        }
    }

    /// The same of a run that a job has done.
    pub(crate) fn in_job(mut self, job: &Job) -> Self {
        self.versions.insert("exchange".into(), job.library());
        Self { ranks: job.size(), exchange_seconds: Some(job.exchange_seconds()), ..self }
    }
}

/// Those of the crates that this build holds, by the lock file that it was made from.
fn versions() -> BTreeMap<String, String> {
    let known = include!(concat!(env!("OUT_DIR"), "/versions.rs"));
    known.into_iter().map(|(name, version)| (String::from(name), String::from(version))).collect()
}

fn one() -> usize {
    1
}

/// Operating system and processor family, as in `linux x86_64`.
fn platform() -> String {
    format!("{} {}", std::env::consts::OS, std::env::consts::ARCH)
}

/// The processor's own name, where the system tells it.
fn processor() -> Option<String> {
    field("/proc/cpuinfo", "model name")
}

/// Threads that the machine runs at once.
fn threads() -> usize {
    std::thread::available_parallelism().map_or(1, Into::into)
}

#[cfg(test)]
mod tests {
    #[test]
    fn versions_are_those_of_the_lock_file() {
        let versions = super::versions();
        assert_eq!(versions["burn"], "0.21.0");
        assert!(versions.contains_key("tokenizers"), "{versions:?}");
    }
}
