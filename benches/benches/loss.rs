//! The loss with its gradients: `loss/<form>/<preset>/<batch>x<dim>`, throughput in pairs.
//!
//! `product/<batch>x<dim>` is one score matrix alone, throughput in multiplications and additions:
//! what the machine can do.
//!
//! `cargo bench -p samtone-benches --bench loss -- streaming/samtone-query` runs a part.

use std::time::Duration;

use burn::backend::{Autodiff, Flex};
use burn::tensor::{Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use samtone_loss::{Batch, Loss, LossConfig, Preset};

type Matrix = Tensor<Flex, 2>;

fn embeddings(rows: usize, dim: usize) -> (Matrix, Matrix) {
    let device = Default::default();
    let normal = || Matrix::random([rows, dim], Distribution::Normal(0.0, 1.0), &device);
    let queries = normal();
    let documents = queries.clone() + normal();
    (queries, documents)
}

fn streaming(loss: &Loss, queries: &Matrix, documents: &Matrix) -> f64 {
    let batch = Batch::new(queries.clone(), documents.clone());
    loss.value_and_gradients(&batch, loss.temperature()).expect("finite embeddings").loss
}

/// The definition, differentiated by autodiff: the whole score matrix in memory.
fn definition(loss: &Loss, queries: &Matrix, documents: &Matrix) -> (Matrix, Matrix) {
    let tracked =
        |rows: &Matrix| Tensor::<Autodiff<Flex>, 2>::from_inner(rows.clone()).require_grad();
    let (queries, documents) = (tracked(queries), tracked(documents));
    let batch = Batch::new(queries.clone(), documents.clone());
    let log = Tensor::from_data([loss.temperature().log()], &queries.device());
    let value = loss.definition(&batch, log).expect("a batch of pairs");
    let gradients = value.loss.backward();
    let of = |rows: &Tensor<_, 2>| rows.grad(&gradients).expect("a tracked input has a gradient");
    (of(&queries), of(&documents))
}

fn bench(criterion: &mut Criterion) {
    let presets = [
        Preset::SamtoneQuery,
        Preset::Samtone,
        Preset::InBatch,
        Preset::InBatchBoth,
        Preset::Gte,
        Preset::Qwen3,
    ];
    for (dim, largest_for_all) in [(384, 4096), (768, 2048)] {
        for rows in [256, 512, 1024, 2048, 4096, 8192, 16_384] {
            let (queries, documents) = embeddings(rows, dim);
            if rows <= 4096 {
                let mut group = criterion.benchmark_group("product");
                group.throughput(Throughput::Elements((2 * rows * rows * dim) as u64));
                group.sample_size(10).warm_up_time(Duration::from_millis(500));
                group.bench_function(BenchmarkId::from_parameter(format!("{rows}x{dim}")), |b| {
                    b.iter(|| queries.clone().matmul(documents.clone().transpose()));
                });
                group.finish();
            }
            for preset in presets {
                if preset != Preset::SamtoneQuery && rows > largest_for_all {
                    continue;
                }
                let loss = LossConfig::preset(preset).resolve().expect("a preset resolves");
                let size = format!("{rows}x{dim}");
                let mut group = criterion.benchmark_group(format!("loss/streaming/{preset}"));
                group.throughput(Throughput::Elements(rows as u64)).sample_size(10);
                group.warm_up_time(Duration::from_millis(500));
                group.bench_function(BenchmarkId::from_parameter(&size), |bencher| {
                    bencher.iter(|| streaming(&loss, &queries, &documents));
                });
                group.finish();
                if preset == Preset::SamtoneQuery && rows <= 4096 {
                    let mut group = criterion.benchmark_group(format!("loss/definition/{preset}"));
                    group.throughput(Throughput::Elements(rows as u64)).sample_size(10);
                    group.warm_up_time(Duration::from_millis(500));
                    group.bench_function(BenchmarkId::from_parameter(&size), |bencher| {
                        bencher.iter(|| definition(&loss, &queries, &documents));
                    });
                    group.finish();
                }
            }
        }
    }
}

criterion_group!(benches, bench);
criterion_main!(benches);
