//! Exact search: `search/QUERIESxDOCUMENTSxDIM/top-K`, random unit embeddings.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use samtone_eval::search::{Similarity, top_k};

fn rows(count: usize, dim: usize, seed: u64) -> Vec<f32> {
    let mut state = seed;
    let mut next = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1 << 24) as f32) - 0.5
    };
    (0..count * dim).map(|_| next()).collect()
}

fn search(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("search");
    group.sample_size(10);
    for (queries, documents, dim, k) in
        [(1, 200_000, 384, 100), (1000, 20_000, 384, 100), (1000, 200_000, 384, 100)]
    {
        let (q, d) = (rows(queries, dim, 1), rows(documents, dim, 2));
        // An element is a multiplication and an addition.
        group.throughput(Throughput::Elements((queries * documents * dim) as u64));
        for similarity in [Similarity::Dot, Similarity::Cosine] {
            let name = format!("{queries}x{documents}x{dim}/top-{k}/{similarity:?}").to_lowercase();
            group.bench_function(name, |bencher| {
                bencher.iter(|| top_k(&q, &d, dim, k, similarity).expect("the rows are finite"));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, search);
criterion_main!(benches);
