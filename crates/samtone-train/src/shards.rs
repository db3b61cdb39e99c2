//! Several devices that train on one batch: each encodes its share of the rows, all see every
//! embedding, and their gradients are summed.
//!
//! Embeddings are exchanged by value and each shard takes its rows of the loss's closed-form
//! gradient, so nothing is sent back through an exchange. Sums are taken in the order of the
//! shards: the same bits on every one.

use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use burn::module::{AutodiffModule, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

/// One of the shards that compute a batch together, each on a thread of its own.
#[derive(Debug)]
pub struct Shard<B: Backend> {
    rank: usize,
    group: Arc<Group<B>>,
}

/// Where shards leave what the others want.
#[derive(Debug)]
struct Group<B: Backend> {
    round: Mutex<Round<B>>,
    changed: Condvar,
}

/// One exchange: every shard posts, then every shard reads all.
#[derive(Debug)]
struct Round<B: Backend> {
    posted: Vec<Option<Tensor<B, 1>>>,
    /// Shards that have read.
    readers: usize,
    /// Whether a shard has ended: nobody waits for it.
    is_over: bool,
}

impl<B: Backend> Group<B> {
    fn round(&self) -> MutexGuard<'_, Round<B>> {
        self.round.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `is_ready`.
    ///
    /// # Panics
    /// If a shard ended before.
    fn wait(&self, is_ready: impl Fn(&Round<B>) -> bool) -> MutexGuard<'_, Round<B>> {
        let mut round = self.round();
        while !is_ready(&round) {
            assert!(!round.is_over, "another device's thread has ended");
            round = self.changed.wait(round).unwrap_or_else(PoisonError::into_inner);
        }
        round
    }
}

impl<B: Backend> Drop for Shard<B> {
    fn drop(&mut self) {
        self.group.round().is_over = true;
        self.group.changed.notify_all();
    }
}

impl<B: Backend> Shard<B> {
    /// A group of `count` shards, in order.
    pub fn group(count: usize) -> Vec<Self> {
        let posted = vec![None; count];
        let round = Mutex::new(Round { posted, readers: 0, is_over: false });
        let group = Arc::new(Group { round, changed: Condvar::new() });
        (0..count).map(|rank| Self { rank, group: group.clone() }).collect()
    }

    /// Shards in the group.
    pub fn count(&self) -> usize {
        self.group.round().posted.len()
    }

    /// Which of `rows` rows are this shard's.
    pub fn rows(&self, rows: usize) -> Range<usize> {
        let count = self.count();
        rows * self.rank / count..rows * (self.rank + 1) / count
    }

    /// What each shard gives, in order, wherever it lies.
    fn exchange(&self, own: Tensor<B, 1>) -> Vec<Tensor<B, 1>> {
        let mut round = self.group.wait(|round| round.posted[self.rank].is_none());
        round.posted[self.rank] = Some(own);
        drop(round);
        self.group.changed.notify_all();
        let mut round = self.group.wait(|round| round.posted.iter().all(Option::is_some));
        let all = round.posted.iter().flatten().cloned().collect();
        round.readers += 1;
        if round.readers == round.posted.len() {
            round.readers = 0;
            round.posted.fill(None);
            self.group.changed.notify_all();
        }
        all
    }

    /// The rows of all shards: `[own rows, dim]` → `[all rows, dim]`. Blocks until all have given
    /// theirs.
    ///
    /// # Panics
    /// If another shard of the group is dropped before.
    pub fn gather(&self, own: Tensor<B, 2>) -> Tensor<B, 2> {
        let (device, [_, dim]) = (own.device(), own.dims());
        let parts = self.exchange(own.flatten(0, 1)).into_iter().map(|part| {
            let rows = part.dims()[0] / dim;
            part.to_device(&device).reshape([rows, dim])
        });
        Tensor::cat(parts.collect(), 0)
    }

    /// The sum of all shards' gradients of `module`. Blocks until all have given theirs.
    ///
    /// # Panics
    /// If another shard of the group is dropped before.
    pub fn sum<A, M>(&self, module: &M, mut own: GradientsParams) -> GradientsParams
    where
        A: AutodiffBackend<InnerBackend = B>,
        M: AutodiffModule<A>,
    {
        let mut flat = Flatten { from: &own, parts: Vec::new() };
        module.visit(&mut flat);
        if flat.parts.is_empty() {
            return own;
        }
        let flat = Tensor::cat(flat.parts, 0);
        let device = flat.device();
        let parts = self.exchange(flat).into_iter().map(|part| part.to_device(&device));
        let sum = parts.reduce(|sum, part| sum + part).expect("a group has a shard");
        module.visit(&mut Unflatten { from: sum, at: 0, to: &mut own });
        own
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
