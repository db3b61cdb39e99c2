//! Towers of every sharing and pooling, and gradient caching, against Flex in f64.

use burn::backend::{Autodiff, Flex};
use burn::optim::GradientsParams;
use burn::tensor::FloatDType;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_loss::Relations;
use samtone_model::{
    Dropout, DualEncoder, EncoderConfig, LayerFloats, Pooling, Precision, RotaryConfig, Sharing,
    Side, StaticConfig,
};
use samtone_testing::loss::learned;
use samtone_testing::model::{self as tiny, NEGATIVES, ROWS, encoders, parameters, texts};
use samtone_testing::{assert_near, values, weighed_sum};
use samtone_text::{Key, TokenBatch};
use samtone_train::share::Workers;
use samtone_train::step::{Engine, StepRows};

use crate::conforms;

conforms! {
    weights_are_the_same_to_the_bit
    embeddings_of_every_tower_agree
    a_text_alone_or_padded_has_one_embedding
    gradients_of_a_step_agree_whole_in_chunks_and_layer_by_layer
    gradients_of_long_texts_agree
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
    recomputes: bool,
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
    let engine =
        Engine { objective: loss.into(), chunk, pad_id: 0, precision: Precision::F32, recomputes };
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

    pub(super) fn gradients_of_a_step_agree_whole_in_chunks_and_layer_by_layer<
        B: AutodiffBackend,
    >() {
        for encoder in kinds() {
            let here = model::<B>(encoder.clone(), Sharing::AdeSpl, Pooling::Mean);
            let exact = model::<Autodiff<Flex>>(encoder, Sharing::AdeSpl, Pooling::Mean);
            let exact = exact.cast(FloatDType::F64);
            for dropout in [None, Some(Key::new(3))] {
                let all = ROWS * NEGATIVES;
                let expected = gradients(&exact, dropout, all, 1, false);
                let whole = gradients(&here, dropout, all, 1, false);
                compare("whole", &whole, &expected, GRADIENTS);
                for (chunk, recomputes) in [(2, false), (5, false), (all, true), (5, true)] {
                    let other = gradients(&here, dropout, chunk, 1, recomputes);
                    let what = format!("chunks of {chunk}, layers again: {recomputes}");
                    compare(&what, &other, &whole, CHUNKS);
                }
            }
        }
    }

    /// Of several blocks of queries and of keys.
    pub(super) fn gradients_of_long_texts_agree<B: AutodiffBackend>() {
        let rows = [LayerFloats::KEYS + 20, 530].map(|length| {
            let token = |at: usize| 1 + (at * at % 29) as u32;
            (0..length).map(token).collect::<Vec<_>>()
        });
        let batch = TokenBatch::pad(&rows, 0);
        let window = RotaryConfig {
            vocab_size: 30,
            hidden: 8,
            layers: 2,
            heads: 2,
            kv_heads: 1,
            head_dim: 4,
            intermediate: 12,
            window: Some(40),
            global_every: 2,
            is_causal: true,
            ..RotaryConfig::default()
        };
        fn found<B: AutodiffBackend>(
            model: &DualEncoder<B>,
            batch: &TokenBatch,
        ) -> Vec<(String, Vec<f64>)> {
            let embeddings = model.encode_with_graph(Side::Query, batch, None);
            let gradients = weighed_sum(embeddings.clone()).backward();
            let gradients = GradientsParams::from_grads(gradients, model);
            let embeddings = ("embeddings".to_owned(), values(embeddings));
            [embeddings].into_iter().chain(tiny::gradients(model, &gradients)).collect()
        }
        for encoder in [EncoderConfig::T5(tiny::t5()), EncoderConfig::Rotary(window)] {
            let here = model::<B>(encoder.clone(), Sharing::Sde, Pooling::Mean);
            let exact = model::<Autodiff<Flex>>(encoder, Sharing::Sde, Pooling::Mean);
            let expected = found(&exact.cast(FloatDType::F64), &batch);
            compare("long", &found(&here, &batch), &expected, GRADIENTS);
        }
    }

    pub(super) fn workers_on_one_device_find_what_one_finds<B: AutodiffBackend>() {
        for sharing in [Sharing::AdeSpl, Sharing::AdeAdapter] {
            let [bert, _] = encoders();
            let model = model::<B>(bert, sharing, Pooling::Mean);
            let (dropout, chunk) = (Some(Key::new(3)), ROWS * NEGATIVES);
            let one = gradients(&model, dropout, chunk, 1, false);
            for (workers, recomputes) in [(2, false), (3, false), (2, true)] {
                let shared = gradients(&model, dropout, chunk, workers, recomputes);
                let what = format!("{sharing}, {workers} workers, layers again: {recomputes}");
                compare(&what, &shared, &one, CHUNKS);
            }
        }
    }
}
