//! Shards of a batch find what one device finds, duplicates across them masked.

use burn::backend::{Autodiff, Flex};
use burn::module::Module;
use burn::tensor::FloatDType;
use samtone_loss::Relations;
use samtone_model::{DualEncoder, EncoderConfig, Pooling, Precision, Sharing};
use samtone_testing::assert_close_to_scale;
use samtone_testing::loss::learned;
use samtone_testing::model::{self, NEGATIVES, ROWS};
use samtone_text::Key;
use samtone_train::share::{Job, Shard};
use samtone_train::step::{Engine, StepRows};

use crate::threads::on_each_rank;
use crate::tiny::{TOLERANCE, batch};

pub(crate) type B = Autodiff<Flex>;

pub(crate) fn model() -> DualEncoder<B> {
    let bert = EncoderConfig::Bert(model::bert());
    model::model(&model::config(bert, Sharing::AdeSpl, Pooling::Mean), 1)
}

/// Rows 0 and 6 share a query, 2 and 3 a document, and 1 knows the document of 5: with two shards
/// or more each pair lies on different ones.
pub(crate) fn duplicates() -> Relations {
    Relations {
        query_ids: Some(vec![0, 1, 2, 3, 4, 5, 0]),
        document_ids: Some(vec![10, 11, 12, 12, 14, 15, 16]),
        known: vec![(1, 5)],
        ..Relations::default()
    }
}

/// The loss, its gradient by ln τ, and every parameter's gradient.
fn found(
    model: &DualEncoder<B>,
    batch: &StepRows,
    chunk: usize,
    shard: Option<&Shard>,
) -> Vec<Vec<f64>> {
    let loss = learned();
    let temperature = loss.temperature();
    let precision = Precision::F32;
    let engine = Engine { objective: loss.into(), chunk, pad_id: 0, precision, recomputes: false };
    let out = engine.shard_gradients(model, batch, temperature, Some(Key::new(3)), shard).unwrap();
    let mut found = vec![vec![out.loss, out.log_temperature]];
    found
        .extend(model::gradients(model, &out.parameters).into_iter().map(|(_, gradient)| gradient));
    found
}

/// The same on each of `shards`.
fn on_each(
    model: &DualEncoder<B>,
    batch: &StepRows,
    chunk: usize,
    shards: Vec<Shard>,
) -> Vec<Vec<Vec<f64>>> {
    std::thread::scope(|scope| {
        let start = |shard| {
            let model = model.clone().fork(&Default::default());
            scope.spawn(move || found(&model, batch, chunk, Some(&shard)))
        };
        let threads: Vec<_> = shards.into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

/// The same on each of so many shards of one process.
fn gradients(
    model: &DualEncoder<B>,
    batch: &StepRows,
    chunk: usize,
    shards: usize,
) -> Vec<Vec<Vec<f64>>> {
    match shards {
        1 => vec![found(model, batch, chunk, None)],
        _ => on_each(model, batch, chunk, Shard::group(shards, None)),
    }
}

#[track_caller]
fn assert_close(what: &str, got: &[Vec<f64>], expected: &[Vec<f64>]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        assert_close_to_scale(what, got, expected, TOLERANCE);
    }
}

#[test]
fn shards_find_what_one_device_finds_with_dropout_and_chunks() {
    let model = model().cast(FloatDType::F64);
    let batch = batch(duplicates());
    let whole = gradients(&model, &batch, ROWS * NEGATIVES, 1).remove(0);
    for shards in [2, 4, ROWS] {
        for chunk in [ROWS * NEGATIVES, 3, 1] {
            let all = gradients(&model, &batch, chunk, shards);
            assert_close(&format!("{shards} shards, chunks of {chunk}"), &all[0], &whole);
            assert!(all.iter().all(|one| *one == all[0]), "{shards} shards differ");
        }
    }
}

/// The same on every shard of ranks with so many devices each.
fn gradients_in_job(
    model: &DualEncoder<B>,
    batch: &StepRows,
    chunk: usize,
    devices: &[usize],
) -> Vec<Vec<Vec<f64>>> {
    // A rank has a model of its own.
    let own = devices.iter().map(|&count| (count, model.clone().fork(&Default::default())));
    let found = on_each_rank(own.collect(), |exchange, (count, model)| {
        let job = Job::new(exchange, count).unwrap();
        on_each(&model, batch, chunk, Shard::group(count, Some(job)))
    });
    found.into_iter().flatten().collect()
}

#[test]
fn ranks_find_what_one_device_finds_and_mask_duplicates_across_them() {
    let model = model().cast(FloatDType::F64);
    let batch = batch(duplicates());
    let whole = gradients(&model, &batch, ROWS * NEGATIVES, 1).remove(0);
    for devices in [&[1, 1][..], &[2, 1], &[1, 1, 3], &[7]] {
        for chunk in [ROWS * NEGATIVES, 2] {
            let all = gradients_in_job(&model, &batch, chunk, devices);
            assert_eq!(all.len(), devices.iter().sum::<usize>());
            assert_close(&format!("{devices:?}, chunks of {chunk}"), &all[0], &whole);
            assert!(all.iter().all(|one| *one == all[0]), "{devices:?} differ");
        }
    }
}

#[test]
fn duplicates_on_other_shards_are_masked() {
    let model = model().cast(FloatDType::F64);
    let loss = |relations| gradients(&model, &batch(relations), ROWS * NEGATIVES, 4)[0][0][0];
    assert!(loss(duplicates()) < loss(Relations::default()) - 1e-3);
}

#[test]
#[should_panic(expected = "another device's thread has ended")]
fn a_shard_that_ends_leaves_nobody_waiting() {
    let mut shards = Shard::group(2, None);
    drop(shards.pop());
    let rows = burn::tensor::Tensor::<Flex, 2>::zeros([1, 2], &Default::default());
    let _ = shards[0].gather(rows);
}
