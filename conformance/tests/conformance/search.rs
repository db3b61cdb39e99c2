//! Exact search on the backend finds what the CPU's own search finds.

use burn::tensor::DType;
use burn::tensor::backend::AutodiffBackend;
use samtone_eval::search::{Similarity, top_k, top_k_on};
use samtone_testing::tensor;

use crate::conforms;

conforms! {
    the_device_finds_what_the_host_finds
}

mod check {
    use super::*;

    pub(super) fn the_device_finds_what_the_host_finds<B: AutodiffBackend>() {
        let (queries, documents, dim, k) = (1100, 9000, 6, 7);
        // Small whole numbers: products are exact, and ties are many.
        let rows = |count: usize, salt: usize| -> Vec<f64> {
            (0..count * dim).map(|i| ((i * i * 31 + i * salt) % 11) as f64 - 5.0).collect()
        };
        let single = |rows: &[f64]| -> Vec<f32> { rows.iter().map(|&x| x as f32).collect() };
        let (q, d) = (rows(queries, 7), rows(documents, 13));
        let on_q = tensor::<B::InnerBackend, 2>(&q, [queries, dim], DType::F32);
        let on_d = tensor::<B::InnerBackend, 2>(&d, [documents, dim], DType::F32);
        let (q, d) = (single(&q), single(&d));
        let found = top_k_on(&on_q, &on_d, k, Similarity::Dot).unwrap();
        assert_eq!(found, top_k(&q, &d, dim, k, Similarity::Dot).unwrap());
        let cosine = top_k_on(&on_q, &on_d, k, Similarity::Cosine).unwrap();
        let expected = top_k(&q, &d, dim, k, Similarity::Cosine).unwrap();
        for (a, b) in cosine.iter().flatten().zip(expected.iter().flatten()) {
            assert!((a.score - b.score).abs() < 1e-6, "{a:?} {b:?}");
        }
    }
}
