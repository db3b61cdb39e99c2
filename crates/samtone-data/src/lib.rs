//! Files and text to batches: formats, tokenizers, samplers, the embedded corpus
