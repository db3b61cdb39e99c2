//! Several devices that train on one batch: each encodes its share of the rows, all see every
//! embedding, and their gradients are summed.
//!
//! Embeddings are exchanged by value and each shard takes its rows of the loss's closed-form
//! gradient, so nothing is sent back through an exchange. The shards of a process meet in memory, and
//! one of them exchanges with other [`Nodes`] for all. Sums are taken in the order of the shards, then
//! of the nodes: the same bits on every one.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{Bytes, DType, Tensor, TensorData};

use crate::share::nodes::{Nodes, NodesError};

/// Who shares the work on a batch.
#[derive(Debug)]
pub struct Workers<'a, B: Backend> {
    /// This process's devices, the model's first.
    pub devices: &'a [B::Device],
    /// Other processes with devices of theirs.
    pub nodes: Option<&'a Arc<Nodes>>,
}

impl<B: Backend> Workers<'_, B> {
    /// How many devices all have.
    pub fn count(&self) -> usize {
        self.nodes.map_or(self.devices.len(), |nodes| nodes.devices())
    }
}

/// One of the shards that compute a batch together, each on a thread of its own.
#[derive(Debug)]
pub struct Shard {
    /// Its place in the group.
    rank: usize,
    group: Arc<Group>,
}

/// Where the shards of a process leave what the others want.
#[derive(Debug)]
struct Group {
    nodes: Option<Arc<Nodes>>,
    round: Mutex<Round>,
    changed: Condvar,
}

/// One exchange: every shard posts, the last one combines, then every shard reads. What is exchanged
/// are numbers of the host: a thread may not use another's tensors before they are computed, which
/// fused backends do not promise.
#[derive(Debug)]
struct Round {
    posted: Vec<Option<Vec<u8>>>,
    combined: Option<Result<Arc<Vec<u8>>, NodesError>>,
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
    /// Number by number, of this type.
    Sum(DType),
}

impl Combine {
    fn all(self, parts: Vec<Vec<u8>>) -> Vec<u8> {
        let Self::Sum(dtype) = self else { return parts.concat() };
        let mut parts = parts.into_iter();
        let mut sum = parts.next().expect("a group has a shard");
        for part in parts {
            match dtype {
                DType::F64 => add(&mut sum, &part, |a, b| {
                    (f64::from_ne_bytes(a) + f64::from_ne_bytes(b)).to_ne_bytes()
                }),
                DType::F32 => add(&mut sum, &part, |a, b| {
                    (f32::from_ne_bytes(a) + f32::from_ne_bytes(b)).to_ne_bytes()
                }),
                other => unreachable!("gradients are summed in single precision, not in {other:?}"),
            }
        }
        sum
    }
}

/// Adds the numbers of `part` to those of `sum`, each of `N` bytes.
///
/// # Panics
/// If they are not as many: a parameter has a gradient on one shard and none on another then, and
/// every number behind it would be added to a stranger.
fn add<const N: usize>(sum: &mut [u8], part: &[u8], add: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
    assert_eq!(sum.len(), part.len(), "every shard has gradients of the same parameters");
    for (a, b) in sum.as_chunks_mut().0.iter_mut().zip(part.as_chunks().0) {
        *a = add(*a, *b);
    }
}

impl Shard {
    /// A group of `count` shards, in order; with other `nodes`, those of this process alone.
    pub fn group(count: usize, nodes: Option<Arc<Nodes>>) -> Vec<Self> {
        let round = Round { posted: vec![None; count], combined: None, readers: 0, is_over: false };
        let group = Arc::new(Group { nodes, round: Mutex::new(round), changed: Condvar::new() });
        (0..count).map(|rank| Self { rank, group: group.clone() }).collect()
    }

    /// Which of `rows` rows are this shard's.
    pub fn rows(&self, rows: usize) -> Range<usize> {
        let (rank, count) = match &self.group.nodes {
            Some(nodes) => (nodes.own_devices().start + self.rank, nodes.devices()),
            None => (self.rank, self.group.round().posted.len()),
        };
        rows * rank / count..rows * (rank + 1) / count
    }

    /// What the shards of all nodes give, combined; on the device of `own`.
    fn exchange<B: Backend>(
        &self,
        own: Tensor<B, 1>,
        combine: Combine,
    ) -> Result<Tensor<B, 1>, NodesError> {
        let (device, dtype) = (own.device(), own.dtype());
        let own = own.into_data().as_bytes().to_vec();
        let mut round = self.group.wait(|round| round.combined.is_none());
        round.posted[self.rank] = Some(own);
        if round.posted.iter().all(Option::is_some) {
            let parts = round.posted.iter_mut().filter_map(Option::take).collect();
            drop(round);
            let own = combine.all(parts);
            let combined = match &self.group.nodes {
                Some(nodes) => nodes.exchange(own, |all| combine.all(all)),
                None => Ok(own),
            };
            self.group.round().combined = Some(combined.map(Arc::new));
            self.group.changed.notify_all();
        } else {
            drop(round);
        }
        let mut round = self.group.wait(|round| round.combined.is_some());
        let combined = round.combined.clone().expect("waited for");
        round.readers += 1;
        if round.readers == round.posted.len() {
            round.readers = 0;
            round.combined = None;
            self.group.changed.notify_all();
        }
        drop(round);
        let bytes = Bytes::from_bytes_vec(combined?.to_vec());
        let shape = [bytes.len() / dtype.size()];
        Ok(Tensor::from_data(TensorData::from_bytes(bytes, shape, dtype), (&device, dtype)))
    }

    /// The rows of all shards: `[own rows, …]` → `[all rows, …]`. Blocks until all have given theirs.
    ///
    /// # Errors
    /// If another node is gone.
    ///
    /// # Panics
    /// If another shard of the group is dropped before.
    pub fn gather<B: Backend, const D: usize>(
        &self,
        own: Tensor<B, D>,
    ) -> Result<Tensor<B, D>, NodesError> {
        let mut shape = own.dims();
        let all = self.exchange(own.flatten(0, D - 1), Combine::Concat)?;
        shape[0] = all.dims()[0] / shape[1..].iter().product::<usize>();
        Ok(all.reshape(shape))
    }

    /// The sum of all shards' gradients of `module`. Blocks until all have given theirs.
    ///
    /// # Errors
    /// If another node is gone.
    ///
    /// # Panics
    /// If another shard of the group is dropped before.
    pub fn sum<A, M>(
        &self,
        module: &M,
        mut own: GradientsParams,
    ) -> Result<GradientsParams, NodesError>
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
        let dtype = flat.dtype();
        let sum = self.exchange(flat, Combine::Sum(dtype))?;
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
