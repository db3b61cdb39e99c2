//! Several devices that train on one batch: each encodes its share of the rows, all see every
//! embedding, and their gradients are summed.
//!
//! Embeddings are exchanged by value and each shard takes its rows of the loss's closed-form
//! gradient, so nothing is sent back through an exchange. The shards of a process meet in memory, and
//! one of them exchanges with the other ranks of the [`Job`] for all. Sums are taken in the order of
//! the shards, then as the job takes them: the same bits on every one.

use std::ops::{AddAssign, Range};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Bytes, DType, Element, Tensor, TensorData};

use crate::share::job::{Job, JobError, Numbers};

/// Who shares the work on a batch.
#[derive(Debug)]
pub struct Workers<'a, B: Backend> {
    /// This process's devices, the model's first.
    pub devices: &'a [B::Device],
    /// The processes with devices of theirs that this one is of.
    pub job: Option<&'a Job>,
}

impl<B: Backend> Workers<'_, B> {
    /// How many devices all have.
    pub fn count(&self) -> usize {
        self.job.map_or(self.devices.len(), Job::devices)
    }
}

/// One of the shards that compute a batch together, each on a thread of its own.
#[derive(Debug)]
pub struct Shard {
    /// Its place in the group.
    place: usize,
    group: Arc<Group>,
}

/// Where the shards of a process leave what the others want.
#[derive(Debug)]
struct Group {
    job: Option<Job>,
    round: Mutex<Round>,
    changed: Condvar,
}

/// One exchange: every shard posts, the last one combines, then every shard reads. What is exchanged
/// are numbers of the host: a thread may not use another's tensors before they are computed, which
/// fused backends do not promise.
#[derive(Debug)]
struct Round {
    posted: Vec<Option<TensorData>>,
    combined: Option<Result<TensorData, JobError>>,
    /// Shards that have read.
    readers: usize,
    /// Whether a shard has ended: nobody waits for it.
    is_over: bool,
}

impl Group {
    fn round(&self) -> MutexGuard<'_, Round> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is_ready`.
    ///
    /// # Panics
    /// If a shard ended before.
    fn wait(&self, is_ready: impl Fn(&Round) -> bool) -> MutexGuard<'_, Round> {
        let mut round = self.round();
        while !is_ready(&round) {
            assert!(!round.is_over, "another device's thread has ended");
            round = self.changed.wait(round).unwrap_or_else(PoisonError::into_inner);
        }
        round
    }
}

impl Drop for Shard {
    fn drop(&mut self) {
        self.group.round().is_over = true;
        self.group.changed.notify_all();
    }
}

/// How the numbers of several become those of all.
#[derive(Clone, Copy)]
enum Combine {
    /// One after the other.
    Concat,
    /// Number by number.
    Sum,
}

impl Combine {
    /// What the shards of a process give, in their order, and then what the ranks of the job do.
    fn all(self, parts: Vec<TensorData>, job: Option<&Job>) -> Result<TensorData, JobError> {
        match self {
            Self::Concat => {
                let dtype = parts[0].dtype;
                let mut bytes = parts.iter().map(TensorData::as_bytes).collect::<Vec<_>>().concat();
                if let Some(job) = job {
                    bytes = job.gather(&bytes)?.concat();
                }
                let shape = [bytes.len() / dtype.size()];
                Ok(TensorData::from_bytes(Bytes::from_bytes_vec(bytes), shape, dtype))
            }
            Self::Sum => {
                let mut parts = parts.into_iter();
                let mut sum = parts.next().expect("a group has a shard");
                match sum.dtype {
                    DType::F64 => add(numbers::<f64>(&mut sum), parts),
                    DType::F32 => add(numbers::<f32>(&mut sum), parts),
                    other => {
                        unreachable!("gradients are summed in single precision, not in {other:?}")
                    }
                }
                match job {
                    Some(job) if sum.dtype == DType::F64 => {
                        job.sum(Numbers::F64(numbers(&mut sum)))?;
                    }
                    Some(job) => job.sum(Numbers::F32(numbers(&mut sum)))?,
                    None => {}
                }
                Ok(sum)
            }
        }
    }
}

fn numbers<E: Element>(data: &mut TensorData) -> &mut [E] {
    data.as_mut_slice().expect("the numbers are of their own type")
}

/// Adds the numbers of `parts` to those of `sum`, one part after the other.
///
/// # Panics
/// If they are not as many: a parameter has a gradient on one shard and none on another then, and
/// every number behind it would be added to a stranger.
fn add<E: Element + AddAssign>(sum: &mut [E], parts: impl Iterator<Item = TensorData>) {
    for part in parts {
        let part = part.as_slice::<E>().expect("all shards compute in one type");
        assert_eq!(sum.len(), part.len(), "every shard has gradients of the same parameters");
        for (a, b) in sum.iter_mut().zip(part) {
            *a += *b;
        }
    }
}

impl Shard {
    /// A group of `count` shards, in order; in a `job`, those of this process alone.
    pub fn group(count: usize, job: Option<Job>) -> Vec<Self> {
        let round = Round { posted: vec![None; count], combined: None, readers: 0, is_over: false };
        let group = Arc::new(Group { job, round: Mutex::new(round), changed: Condvar::new() });
        (0..count).map(|place| Self { place, group: group.clone() }).collect()
    }

    /// Which of `rows` rows are this shard's.
    pub fn rows(&self, rows: usize) -> Range<usize> {
        let (place, count) = match &self.group.job {
            Some(job) => (job.own_devices().start + self.place, job.devices()),
            None => (self.place, self.group.round().posted.len()),
        };
        rows * place / count..rows * (place + 1) / count
    }

    /// What the shards of all ranks give, combined; on the device of `own`.
    fn exchange<B: Backend>(
        &self,
        own: Tensor<B, 1>,
        combine: Combine,
    ) -> Result<Tensor<B, 1>, JobError> {
        let (device, dtype) = (own.device(), own.dtype());
        let own = own.into_data();
        let mut round = self.group.wait(|round| round.combined.is_none());
        round.posted[self.place] = Some(own);
        if round.posted.iter().all(Option::is_some) {
            let parts = round.posted.iter_mut().filter_map(Option::take).collect();
            drop(round);
            let combined = combine.all(parts, self.group.job.as_ref());
            self.group.round().combined = Some(combined);
            self.group.changed.notify_all();
        } else {
            drop(round);
        }
        let mut round = self.group.wait(|round| round.combined.is_some());
        round.readers += 1;
        let combined = if round.readers == round.posted.len() {
            round.readers = 0;
            self.group.changed.notify_all();
            round.combined.take()
        } else {
            round.combined.clone()
        };
        drop(round);
        let combined = combined.expect("waited for")?;
        Ok(Tensor::from_data(combined, (&device, dtype)))
    }

    /// The rows of all shards: `[own rows, …]` → `[all rows, …]`. Blocks until all have given theirs.
    ///
    /// # Errors
    /// If the exchange with other ranks fails.
    ///
    /// # Panics
    /// If another shard of the group is dropped before.
    pub fn gather<B: Backend, const D: usize>(
        &self,
        own: Tensor<B, D>,
    ) -> Result<Tensor<B, D>, JobError> {
        let mut shape = own.dims();
        let all = self.exchange(own.flatten(0, D - 1), Combine::Concat)?;
        shape[0] = all.dims()[0] / shape[1..].iter().product::<usize>();
        Ok(all.reshape(shape))
    }

    /// The sum of all shards' gradients of `module`. Blocks until all have given theirs.
    ///
    /// # Errors
    /// If the exchange with other ranks fails.
    ///
    /// # Panics
    /// If another shard of the group is dropped before.
    pub fn sum<A, M>(
        &self,
        module: &M,
        mut own: GradientsParams,
    ) -> Result<GradientsParams, JobError>
    where
        A: AutodiffBackend,
        M: AutodiffModule<A>,
    {
        let mut flat = Flatten::<A::InnerBackend> { from: &own, parts: Vec::new() };
        module.visit(&mut flat);
        if flat.parts.is_empty() {
            return Ok(own);
        }
        let flat = Tensor::cat(flat.parts, 0);
        let sum = self.exchange(flat, Combine::Sum)?;
        module.visit(&mut Unflatten { from: sum, at: 0, to: &mut own });
        Ok(own)
    }
}

/// Reads the gradients of a module, in its order.
struct Flatten<'a, B: Backend> {
    from: &'a GradientsParams,
    parts: Vec<Tensor<B, 1>>,
}

impl<A: AutodiffBackend> ModuleVisitor<A> for Flatten<'_, A::InnerBackend> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
        let gradient = self.from.get::<A::InnerBackend, D>(param.id);
        self.parts.extend(gradient.map(|gradient| gradient.flatten(0, D - 1)));
    }
}

/// Puts what [`Flatten`] read in its place.
struct Unflatten<'a, B: Backend> {
    from: Tensor<B, 1>,
    at: usize,
    to: &'a mut GradientsParams,
}

impl<A: AutodiffBackend> ModuleVisitor<A> for Unflatten<'_, A::InnerBackend> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<A, D>>) {
        if let Some(gradient) = self.to.remove::<A::InnerBackend, D>(param.id) {
            let shape = gradient.dims();
            let length = shape.iter().product();
            let sum = self.from.clone().narrow(0, self.at, length).reshape(shape);
            self.to.register(param.id, sum);
            self.at += length;
        }
    }
}
