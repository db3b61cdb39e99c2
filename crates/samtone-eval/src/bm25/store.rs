//! Numbers in memory or in a mapped file.

use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::sync::Arc;

use bytemuck::AnyBitPattern;
use memmap2::Mmap;

/// Numbers of one kind, read as a slice.
#[derive(Debug)]
pub(super) enum Store<T> {
    /// In memory.
    Owned(Vec<T>),
    /// In a file, whose bytes lie as the type's do.
    Mapped { map: Arc<Mmap>, bytes: Range<usize>, kind: PhantomData<T> },
}

impl<T: AnyBitPattern> Store<T> {
    /// The numbers at `bytes` of a file.
    pub(super) fn mapped(map: &Arc<Mmap>, bytes: Range<usize>) -> Self {
        Self::Mapped { map: Arc::clone(map), bytes, kind: PhantomData }
    }
}

impl<T: AnyBitPattern> Deref for Store<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::Owned(numbers) => numbers,
            Self::Mapped { map, bytes, .. } => bytemuck::cast_slice(&map[bytes.clone()]),
        }
    }
}

impl<T> From<Vec<T>> for Store<T> {
    fn from(numbers: Vec<T>) -> Self {
        Self::Owned(numbers)
    }
}
