//! Processes that train together, each with devices of its own, on one machine or several.
//!
//! [`Exchange`] is what they ask of each other: another way of exchanging is another implementation of
//! it. [`Job`] is what a training makes of that.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// How the processes of a job hand each other numbers: the few operations that sharing a batch takes.
///
/// All make the same calls in the same order, one at a time, from whichever thread; a call returns when
/// all have made it. With the feature `mpi`, `Mpi` gives one over MPI.
///
/// One over NCCL, for gradients that stay on GPUs, would be another implementation and a change in one
/// place, [`Shard`](crate::share::Shard), which takes tensors to the host: it wants the 128 bytes of
/// its id sent from rank 0 ([`broadcast`](Self::broadcast) over MPI does), a communicator a rank, and
/// its all-gather and all-reduce on the device's own pointers.
pub trait Exchange: fmt::Debug + Send + Sync {
    /// Which of the processes this is, from 0.
    fn rank(&self) -> usize;

    /// How many there are.
    fn size(&self) -> usize;

    /// Which of those on its own machine this is, from 0.
    fn local_rank(&self) -> usize;

    /// What exchanges, by its name and version, for the record.
    fn library(&self) -> String;

    /// What every rank gives, in their order; the lengths may differ.
    ///
    /// # Errors
    /// If the exchange fails.
    fn all_gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, JobError>;

    /// Puts in each number's place its sum over all ranks, which give as many: the same bits on every
    /// one, and the same again from the same numbers, ranks and library.
    ///
    /// # Errors
    /// If the exchange fails.
    fn all_reduce(&self, numbers: Numbers<'_>) -> Result<(), JobError>;

    /// Puts rank 0's `bytes` in the place of all others', whatever those are.
    ///
    /// # Errors
    /// If the exchange fails.
    fn broadcast(&self, bytes: &mut Vec<u8>) -> Result<(), JobError>;
}

/// Numbers that are summed over the ranks of a job.
#[derive(Debug)]
pub enum Numbers<'a> {
    /// In single precision.
    F32(&'a mut [f32]),
    /// In double precision.
    F64(&'a mut [f64]),
}

impl Numbers<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            Self::F32(numbers) => numbers.len(),
            Self::F64(numbers) => numbers.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What keeps processes from training together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// A library that does not start.
    #[error("MPI does not start: {cause}")]
    Start {
        /// Why.
        cause: String,
    },
    /// A launcher that has started others than the library finds.
    #[error("the launcher has started {launched} processes, MPI finds {found}")]
    Launcher {
        /// How many the launcher says there are.
        launched: usize,
        /// How many there are for MPI.
        found: usize,
    },
    /// An exchange that did not come about.
    #[error("rank {rank}: the {operation} failed: {cause}")]
    Failed {
        /// Whose part in it, from 0.
        rank: usize,
        /// The exchange.
        operation: &'static str,
        /// Why.
        cause: String,
    },
    /// A rank that would train something else.
    #[error("the ranks differ in {what}: {difference}")]
    Differ {
        /// In what.
        what: String,
        /// How.
        difference: String,
    },
}

impl JobError {
    /// What to do about it, where that is known.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::Start { .. } => {
                "start it as the MPI library's own launcher does: `mpirun`, `srun --mpi=pmix`"
            }
            Self::Launcher { .. } => {
                "the launcher must be of the library that the program is linked to (`ldd` names it), and Slurm wants `srun --mpi=pmix`"
            }
            Self::Failed { .. } => "`--resume` goes on from the newest checkpoint",
            Self::Differ { .. } => "every rank wants the same version, configuration and data",
        };
        Some(hint.into())
    }
}

/// The processes that train together, and which of them this one is.
#[derive(Clone, Debug)]
pub struct Job {
    exchange: Arc<dyn Exchange>,
    /// How many devices each rank has.
    devices: Arc<[usize]>,
    /// Nanoseconds spent in exchanges.
    nanoseconds: Arc<AtomicU64>,
}

impl Job {
    /// The job of all ranks of `exchange`; this one has so many `devices`.
    ///
    /// # Errors
    /// If the exchange fails.
    pub fn new(exchange: Arc<dyn Exchange>, devices: usize) -> Result<Self, JobError> {
        let all = exchange.all_gather(&(devices as u64).to_le_bytes())?.concat();
        let counts = all.as_chunks().0.iter().map(|&count| u64::from_le_bytes(count) as usize);
        Ok(Self { exchange, devices: counts.collect(), nanoseconds: Arc::default() })
    }

    /// Which of the ranks this is, from 0.
    pub fn rank(&self) -> usize {
        self.exchange.rank()
    }

    /// How many there are.
    pub fn size(&self) -> usize {
        self.exchange.size()
    }

    /// Whether this is rank 0, which judges and writes for all.
    pub fn leads(&self) -> bool {
        self.rank() == 0
    }

    /// What exchanges, by its name and version.
    pub fn library(&self) -> String {
        self.exchange.library()
    }

    /// How many devices all ranks have.
    pub fn devices(&self) -> usize {
        self.devices.iter().sum()
    }

    /// Which of all devices are this rank's.
    pub fn own_devices(&self) -> Range<usize> {
        let first = self.devices[..self.rank()].iter().sum();
        first..first + self.devices[self.rank()]
    }

    /// Seconds that this rank has spent in exchanges, those in which it waited for others included.
    pub fn exchange_seconds(&self) -> f64 {
        self.nanoseconds.load(Ordering::Relaxed) as f64 * 1e-9
    }

    fn timed<T>(&self, exchange: impl FnOnce(&dyn Exchange) -> T) -> T {
        let started = Instant::now();
        let done = exchange(&*self.exchange);
        self.nanoseconds.fetch_add(started.elapsed().as_nanos() as u64, Ordering::Relaxed);
        done
    }

    /// What every rank gives, in their order.
    ///
    /// # Errors
    /// If the exchange fails.
    pub fn gather(&self, own: &[u8]) -> Result<Vec<Vec<u8>>, JobError> {
        self.timed(|exchange| exchange.all_gather(own))
    }

    /// Puts in each number's place its sum over all ranks.
    ///
    /// # Errors
    /// If the exchange fails.
    ///
    /// # Panics
    /// If the ranks do not give as many: a parameter has a gradient on one and none on another then, and
    /// every number behind it would be added to a stranger.
    pub fn sum(&self, numbers: Numbers<'_>) -> Result<(), JobError> {
        let counts = self.gather(&(numbers.len() as u64).to_le_bytes())?;
        let is_same = counts.iter().all(|count| *count == counts[0]);
        assert!(is_same, "every rank has gradients of the same parameters");
        self.timed(|exchange| exchange.all_reduce(numbers))
    }

    /// Whether any rank says so.
    ///
    /// # Errors
    /// If the exchange fails.
    pub fn any(&self, own: bool) -> Result<bool, JobError> {
        let mut count = [f32::from(own)];
        self.timed(|exchange| exchange.all_reduce(Numbers::F32(&mut count)))?;
        Ok(count[0] > 0.0)
    }

    /// Returns when every rank has called it.
    ///
    /// # Errors
    /// If the exchange fails.
    pub fn wait(&self) -> Result<(), JobError> {
        self.any(false).map(drop)
    }

    /// What rank 0 gives.
    ///
    /// # Errors
    /// If the exchange fails.
    pub fn of_first(&self, own: Vec<u8>) -> Result<Vec<u8>, JobError> {
        let mut bytes = own;
        self.timed(|exchange| exchange.broadcast(&mut bytes))?;
        Ok(bytes)
    }

    /// Gives rank 0's value to the others, which [`take`](Self::take) it.
    ///
    /// # Errors
    /// If the exchange fails.
    ///
    /// # Panics
    /// If the value cannot be represented as JSON.
    pub fn give(&self, value: &impl Serialize) -> Result<(), JobError> {
        let bytes = serde_json::to_vec(value).expect("it is representable as JSON");
        self.of_first(bytes).map(drop)
    }

    /// Takes what rank 0 [`give`](Self::give)s.
    ///
    /// # Errors
    /// If the exchange fails.
    ///
    /// # Panics
    /// If rank 0 gives something else.
    pub fn take<T: DeserializeOwned>(&self) -> Result<T, JobError> {
        let bytes = self.of_first(Vec::new())?;
        Ok(serde_json::from_slice(&bytes).expect("rank 0 gives what the others take"))
    }

    /// Checks that all ranks have the same text about `what`.
    ///
    /// # Errors
    /// The first line that is another, the same error on every rank; or that the exchange fails.
    pub fn agree(&self, what: &str, own: &str) -> Result<(), JobError> {
        let all = self.gather(own.as_bytes())?;
        match all.iter().position(|other| *other != all[0]) {
            None => Ok(()),
            Some(rank) => Err(JobError::Differ {
                what: what.into(),
                difference: difference(rank, &all[rank], &all[0]),
            }),
        }
    }
}

/// The first line in which the text of `rank` is not that of rank 0.
fn difference(rank: usize, theirs: &[u8], first: &[u8]) -> String {
    let [theirs, first] = [theirs, first].map(String::from_utf8_lossy);
    let (mut theirs, mut first) = (theirs.lines(), first.lines());
    loop {
        match (theirs.next(), first.next()) {
            (Some(theirs), Some(first)) if theirs == first => {}
            (None, None) => return format!("in the ends of lines, at rank {rank}"),
            (theirs, first) => {
                let [theirs, first] = [theirs, first].map(Option::unwrap_or_default);
                return format!("`{theirs}` at rank {rank}, `{first}` at rank 0");
            }
        }
    }
}
