//! Sharing a batch: between the devices of a process, and between processes on several machines.
//!
//! The devices of a process are the [`Shard`]s of a batch; processes that train together are a
//! [`Job`], whose [`Exchange`] hands numbers from one to the others: by MPI, with the feature `mpi`.

pub(crate) mod job;
#[cfg(feature = "mpi")]
mod mpi;
pub(crate) mod shards;

pub use self::job::{Exchange, Job, JobError, Numbers};
#[cfg(feature = "mpi")]
pub use self::mpi::{Mpi, abort};
pub use self::shards::{Shard, Workers};
