//! Shards of a batch find what one device finds, duplicates across them masked.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

mod tiny;

use burn::backend::{Autodiff, Flex};
use burn::module::Module;
use burn::tensor::FloatDType;
use samtone_data::random::Key;
use samtone_loss::Relations;
use samtone_model::{DualEncoder, DualEncoderConfig, EncoderConfig, Sharing};
use samtone_train::config::Precision;
use samtone_train::engine::{Batch, Engine};
use samtone_train::shards::Shard;

use tiny::{NEGATIVES, ROWS, TOLERANCE, bert, texts};

type B = Autodiff<Flex>;

fn model() -> DualEncoder<B> {
    let config = DualEncoderConfig {
        encoder: EncoderConfig::Bert(bert()),
        sharing: Sharing::AdeSpl,
        projection: Some(6),
        ..DualEncoderConfig::default()
    };
    DualEncoder::init(&config, 1, &Default::default()).unwrap()
}

fn batch(relations: Relations) -> Batch {
    Batch {
        queries: texts("query", ROWS),
        documents: texts("document", ROWS),
        hard_negatives: texts("hard-negative", ROWS * NEGATIVES),
        relations,
        teacher: Vec::new(),
    }
}

/// Rows 0 and 6 share a query, 2 and 3 a document, and 1 knows the document of 5: with two shards
/// or more each pair lies on different ones.
fn duplicates() -> Relations {
    Relations {
        query_ids: Some(vec![0, 1, 2, 3, 4, 5, 0]),
        document_ids: Some(vec![10, 11, 12, 12, 14, 15, 16]),
        known: vec![(1, 5)],
        ..Relations::default()
    }
}

/// The loss, its gradient by ln τ, and every parameter's gradient, on each of `shards`.
fn gradients(
    model: &DualEncoder<B>,
    batch: &Batch,
    chunk: usize,
    shards: usize,
) -> Vec<Vec<Vec<f64>>> {
    let loss = tiny::loss();
    let temperature = loss.temperature();
    let engine = Engine { objective: loss.into(), chunk, pad_id: 0, precision: Precision::F32 };
    let dropout = Some(Key::new(3));
    let of = |model: &DualEncoder<B>, shard: Option<Shard<Flex>>| {
        let out =
            engine.shard_gradients(model, batch, temperature, dropout, shard.as_ref()).unwrap();
        let mut found = vec![vec![out.loss, out.log_temperature]];
        model.for_each_gradient(&out.parameters, |_, gradient| {
            found.push(gradient.unwrap().into_data().iter::<f64>().collect());
        });
        found
    };
    if shards == 1 {
        return vec![of(model, None)];
    }
    std::thread::scope(|scope| {
        let start = |shard| {
            let (of, model) = (&of, model.clone().fork(&Default::default()));
            scope.spawn(move || of(&model, Some(shard)))
        };
        let threads: Vec<_> = Shard::group(shards).into_iter().map(start).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    })
}

#[track_caller]
fn assert_close(what: &str, got: &[Vec<f64>], expected: &[Vec<f64>]) {
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(expected) {
        let scale = expected.iter().map(|x| x.abs()).fold(1e-2, f64::max);
        let worst = got.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst <= TOLERANCE * scale, "{what}: {worst:e} of {scale:e}");
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

#[test]
fn duplicates_on_other_shards_are_masked() {
    let model = model().cast(FloatDType::F64);
    let loss = |relations| gradients(&model, &batch(relations), ROWS * NEGATIVES, 4)[0][0][0];
    assert!(loss(duplicates()) < loss(Relations::default()) - 1e-3);
}

#[test]
#[should_panic(expected = "another device's thread has ended")]
fn a_shard_that_ends_leaves_nobody_waiting() {
    let mut shards = Shard::<Flex>::group(2);
    drop(shards.pop());
    let rows = burn::tensor::Tensor::zeros([1, 2], &Default::default());
    let _ = shards[0].gather(rows);
}
