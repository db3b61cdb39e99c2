//! Sharing a batch: between the devices of a process, and between processes on several machines.

pub(crate) mod nodes;
pub(crate) mod shards;

pub use self::nodes::{Nodes, NodesError, Seat};
pub use self::shards::{Shard, Workers};
