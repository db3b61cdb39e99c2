//! Towers of every sharing and pooling, and gradient caching, against Flex in f64.

use burn::backend::{Autodiff, Flex};
use burn::tensor::FloatDType;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_loss::Relations;
use samtone_model::{
    Dropout, DualEncoder, EncoderConfig, Pooling, Precision, Sharing, Side, StaticConfig,
};
use samtone_testing::loss::learned;
use samtone_testing::model::{self as tiny, NEGATIVES, ROWS, encoders, parameters, texts};
use samtone_testing::{assert_near, values};
use samtone_text::{Key, TokenBatch};
use samtone_train::share::Workers;
use samtone_train::step::{Engine, StepRows};

use crate::conforms;

conforms! {
    weights_are_the_same_to_the_bit
    embeddings_of_every_tower_agree
    a_text_alone_or_padded_has_one_embedding
    gradients_of_a_step_agree_whole_and_in_chunks
    workers_on_one_device_find_what_one_finds
}

/// Embeddings of length 1, by their norm: two layers in f32.
const EMBEDDINGS: f64 = 5e-6;
/// The gradient of a step, by parameter.
const GRADIENTS: f64 = 1e-3;
/// Gradients in chunks against those of the whole batch: sums in another order.
const CHUNKS: f64 = 1e-4;

/// Every kind of encoder; the families of transformers are held to their own fixtures.
fn kinds() -> impl Iterator<Item = EncoderConfig> {
    let table = StaticConfig { vocab_size: 30, hidden: 8 };
    encoders().into_iter().chain([EncoderConfig::Static(table)])
}

fn model<B: Backend>(encoder: EncoderConfig, sharing: Sharing, pooling: Pooling) -> DualEncoder<B> {
    tiny::model(&tiny::config(encoder, sharing, pooling), 1)
}

/// The loss, its gradient by ln τ, and every parameter's gradient, the work shared by so many threads.
fn gradients<B: AutodiffBackend>(
    model: &DualEncoder<B>,
    dropout: Option<Key>,
    chunk: usize,
    workers: usize,
) -> Vec<(String, Vec<f64>)> {
    let loss = learned();
    let temperature = loss.temperature();
    let [queries, documents, hard_negatives] = tiny::rows();
    let batch = StepRows {
        queries,
        documents,
        hard_negatives,
        relations: Relations { known: vec![(1, 4)], ..Relations::default() },
        teacher: Vec::new(),
    };
    let engine = Engine {
        objective: loss.into(),
        chunk,
        pad_id: 0,
        precision: Precision::F32,
        recomputes: false,
    };
    let devices = vec![B::Device::default(); workers];
    let workers = Workers { devices: &devices, job: None };
    let out = engine.shared_gradients(&workers, model, &batch, temperature, dropout).unwrap();
    let mut found = vec![("loss".into(), vec![out.loss, out.log_temperature])];
    found.extend(tiny::gradients(model, &out.parameters));
    found
}

/// Compares gradients by parameter. Some are zero but for rounding, so each may also be off by the
/// tolerance's share of a hundredth.
#[track_caller]
fn compare(
    what: &str,
    got: &[(String, Vec<f64>)],
    expected: &[(String, Vec<f64>)],
    tolerance: f64,
) {
    for ((path, got), (_, expected)) in got.iter().zip(expected) {
        assert_near(&format!("{what}: {path}"), got, expected, tolerance, 1e-2);
    }
}

mod check {
    use super::*;

    pub(super) fn weights_are_the_same_to_the_bit<B: AutodiffBackend>() {
        for encoder in kinds() {
            let here = model::<B::InnerBackend>(encoder.clone(), Sharing::Ade, Pooling::Mean);
            let expected = model::<Flex>(encoder, Sharing::Ade, Pooling::Mean);
            assert_eq!(parameters(&here), parameters(&expected));
        }
    }

    pub(super) fn embeddings_of_every_tower_agree<B: AutodiffBackend>() {
        let all = Sharing::ALL.map(|sharing| (sharing, Pooling::Mean));
        let more = [Pooling::Cls, Pooling::Last].map(|pooling| (Sharing::Ade, pooling));
        let batch = TokenBatch::pad(&texts("query", ROWS), 0);
        let dropout = Some(Dropout { key: Key::new(3), first_row: 2 });
        for encoder in kinds() {
            // A table has no pooling but the mean.
            let more = more.into_iter().filter(|_| !matches!(encoder, EncoderConfig::Static(_)));
            // Nor has it maps that adapters could lie on.
            let is_possible = |&(sharing, _): &(Sharing, Pooling)| {
                sharing != Sharing::AdeAdapter || !matches!(encoder, EncoderConfig::Static(_))
            };
            for (sharing, pooling) in all.into_iter().chain(more).filter(is_possible) {
                let here = model::<B::InnerBackend>(encoder.clone(), sharing, pooling);
                let exact = model::<Flex>(encoder.clone(), sharing, pooling).cast(FloatDType::F64);
                for side in Side::ALL {
                    for dropout in [None, dropout] {
                        let what = format!("{sharing}, {pooling:?}, {side:?}, {dropout:?}");
                        let got = values(here.encode(side, &batch, dropout));
                        let expected = values(exact.encode(side, &batch, dropout));
                        assert_near(&what, &got, &expected, EMBEDDINGS, 0.0);
                    }
                }
            }
        }
    }

    pub(super) fn a_text_alone_or_padded_has_one_embedding<B: AutodiffBackend>() {
        let rows = texts("document", 4);
        for encoder in kinds() {
            let model = model::<B::InnerBackend>(encoder, Sharing::Sde, Pooling::Mean);
            let embed = |batch: &TokenBatch| values(model.encode(Side::Document, batch, None));
            let together = embed(&TokenBatch::pad(&rows, 0));
            let padded = embed(&TokenBatch::pad_to(&rows, 13, 16));
            assert_near("more padding", &padded, &together, EMBEDDINGS, 0.0);
            let alone: Vec<f64> =
                rows.iter().flat_map(|row| embed(&TokenBatch::pad(&[row], 0))).collect();
            assert_near("alone", &alone, &together, EMBEDDINGS, 0.0);
        }
    }

    pub(super) fn gradients_of_a_step_agree_whole_and_in_chunks<B: AutodiffBackend>() {
        for encoder in kinds() {
            let here = model::<B>(encoder.clone(), Sharing::AdeSpl, Pooling::Mean);
            let exact = model::<Autodiff<Flex>>(encoder, Sharing::AdeSpl, Pooling::Mean);
            let exact = exact.cast(FloatDType::F64);
            for dropout in [None, Some(Key::new(3))] {
                let expected = gradients(&exact, dropout, ROWS * NEGATIVES, 1);
                let whole = gradients(&here, dropout, ROWS * NEGATIVES, 1);
                compare("whole", &whole, &expected, GRADIENTS);
                for chunk in [2, 5] {
                    let chunked = gradients(&here, dropout, chunk, 1);
                    compare(&format!("chunks of {chunk}"), &chunked, &whole, CHUNKS);
                }
            }
        }
    }

    pub(super) fn workers_on_one_device_find_what_one_finds<B: AutodiffBackend>() {
        let [bert, _] = encoders();
        let model = model::<B>(bert, Sharing::AdeSpl, Pooling::Mean);
        let (dropout, chunk) = (Some(Key::new(3)), ROWS * NEGATIVES);
        let one = gradients(&model, dropout, chunk, 1);
        for workers in [2, 3] {
            let shared = gradients(&model, dropout, chunk, workers);
            compare(&format!("{workers} workers"), &shared, &one, CHUNKS);
        }
    }
}
