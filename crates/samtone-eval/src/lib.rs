//! Runs and judgments to numbers: metrics, exact search, BM25, significance
