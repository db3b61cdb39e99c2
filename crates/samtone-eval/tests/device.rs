//! Search on a Burn backend equals search on the CPU: `--features burn-flex`.
#![cfg(feature = "burn-flex")]

use burn::backend::Flex;
use burn::tensor::{Tensor, TensorData};
use samtone_eval::search::{Similarity, top_k, top_k_on};

#[test]
fn the_device_finds_what_the_cpu_finds() {
    let (queries, documents, dim, k) = (1100, 9000, 6, 7);
    // Small whole numbers: products are exact, and ties are many.
    let rows = |count: usize, salt: usize| -> Vec<f32> {
        (0..count * dim).map(|i| ((i * i * 31 + i * salt) % 11) as f32 - 5.0).collect()
    };
    let (q, d) = (rows(queries, 7), rows(documents, 13));
    let tensor = |rows: &[f32], count| {
        Tensor::<Flex, 2>::from_data(
            TensorData::new(rows.to_vec(), [count, dim]),
            &Default::default(),
        )
    };
    let (on_q, on_d) = (tensor(&q, queries), tensor(&d, documents));
    let found = top_k_on(&on_q, &on_d, k, Similarity::Dot).unwrap();
    assert_eq!(found, top_k(&q, &d, dim, k, Similarity::Dot).unwrap());
    let cosine = top_k_on(&on_q, &on_d, k, Similarity::Cosine).unwrap();
    let expected = top_k(&q, &d, dim, k, Similarity::Cosine).unwrap();
    for (a, b) in cosine.iter().flatten().zip(expected.iter().flatten()) {
        assert!((a.score - b.score).abs() < 1e-6, "{a:?} {b:?}");
    }
}
