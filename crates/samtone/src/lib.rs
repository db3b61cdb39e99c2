//! Train, judge and ship dual-encoder text retrievers
