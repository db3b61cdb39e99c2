/// Floats that one token keeps in one layer until the backward pass has used them, as the fused
/// operations keep them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerFloats {
    /// Whatever is trained.
    pub kept: usize,
    /// The inputs of maps, for the gradients of their weights.
    pub inputs: usize,
    /// Heads, each of which has scores: where attention is not fused, of [`QUERIES`](Self::QUERIES)
    /// queries by [`KEYS`](Self::KEYS) keys at a time.
    pub heads: usize,
}

impl LayerFloats {
    /// Queries of a text whose scores exist at once where attention is not fused.
    pub const QUERIES: usize = 512;
    /// Keys by which they exist.
    pub const KEYS: usize = 2048;
}

/// Asks the system's allocator to keep the memory that is freed instead of giving it back.
///
/// Every operation of a step makes tensors of many megabytes and frees them soon. glibc gives such
/// memory back at once and takes it again, empty, a page at a time: a tenth to a fifth of a step.
/// For a program that trains or encodes, to be called once when it starts; `samtone` does. What the
/// process holds stays at its peak. Other systems' allocators are left as they are.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::ffi::c_int;

        // mallopt(3)
        const M_TRIM_THRESHOLD: c_int = -1;
        const M_MMAP_THRESHOLD: c_int = -3;
        #[expect(unsafe_code, reason = "a setting of the C library")]
        unsafe extern "C" {
            safe fn mallopt(parameter: c_int, value: c_int) -> c_int;
        }
        // What is larger still comes as pages of zeros, of which a gradient of a vocabulary uses few.
        mallopt(M_MMAP_THRESHOLD, 256 << 20);
        mallopt(M_TRIM_THRESHOLD, c_int::MAX);
    }
}
