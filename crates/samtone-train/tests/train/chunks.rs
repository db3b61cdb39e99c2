//! Gradient caching gives the gradients of the whole batch, whatever the chunk, and so do layers that
//! are computed again: in f64, where nothing but the order of sums can differ.

use burn::backend::{Autodiff, Flex, NdArray};
use burn::tensor::FloatDType;
use burn::tensor::backend::AutodiffBackend;
use samtone_loss::Relations;
use samtone_model::{
    BertConfig, DualEncoder, EncoderConfig, Pooling, Precision, Sharing, T5Config,
};
use samtone_testing::assert_close_to_scale;
use samtone_testing::loss::learned;
use samtone_testing::model::{self, NEGATIVES, ROWS};
use samtone_text::Key;
use samtone_train::step::{Engine, StepRows};

use crate::tiny::{TOLERANCE, batch};

/// Of so many layers that two go back at once, and one that is left.
fn encoders() -> [EncoderConfig; 2] {
    let layers = 5;
    [
        EncoderConfig::Bert(BertConfig { layers, ..model::bert() }),
        EncoderConfig::T5(T5Config { layers, ..model::t5() }),
    ]
}

/// The loss, its gradient by ln τ, and every parameter's gradient.
fn gradients<B: AutodiffBackend>(
    model: &DualEncoder<B>,
    dropout: Option<Key>,
    chunk: usize,
    recomputes: bool,
) -> Vec<(String, Vec<f64>)> {
    let loss = learned();
    let temperature = loss.temperature();
    let batch = batch(Relations { known: vec![(1, 4)], ..Relations::default() });
    let precision = Precision::F32;
    let engine = Engine { objective: loss.into(), chunk, pad_id: 0, precision, recomputes };
    let out = engine.gradients(model, &batch, temperature, dropout).unwrap();
    let mut found = vec![("loss".into(), vec![out.loss, out.log_temperature])];
    found.extend(model::gradients(model, &out.parameters));
    found
}

fn check<B: AutodiffBackend>()
where
    B::Device: Default,
{
    for encoder in encoders() {
        let config = model::config(encoder, Sharing::AdeSpl, Pooling::Mean);
        let model = model::model::<B>(&config, 1).cast(FloatDType::F64);
        for dropout in [None, Some(Key::new(3))] {
            let all = ROWS * NEGATIVES;
            let whole = gradients(&model, dropout, all, false);
            let chunks = [1, 2, 3, 5, ROWS].map(|chunk| (chunk, false));
            for (chunk, recomputes) in chunks.into_iter().chain([(all, true), (3, true)]) {
                let chunked = gradients(&model, dropout, chunk, recomputes);
                for ((path, whole), (_, chunked)) in whole.iter().zip(&chunked) {
                    let what = format!(
                        "{path}, chunk {chunk}, recomputes {recomputes}, dropout {}",
                        dropout.is_some()
                    );
                    assert_close_to_scale(&what, chunked, whole, TOLERANCE);
                }
            }
        }
    }
}

#[test]
fn chunks_change_nothing_in_f64_on_flex() {
    check::<Autodiff<Flex>>();
}

#[test]
fn chunks_change_nothing_in_f64_on_ndarray() {
    check::<Autodiff<NdArray>>();
}

/// Roundings of f32 in other orders.
const F32_TOLERANCE: f64 = 1e-5;

#[test]
fn texts_that_go_back_in_several_parts_change_nothing() {
    let several = |rows: Vec<Vec<u32>>| rows.into_iter().cycle().take(600).collect::<Vec<_>>();
    let StepRows { queries, documents, .. } = batch(Relations::default());
    let (queries, documents) = (several(queries), several(documents));
    let rows = StepRows { queries, documents, ..StepRows::default() };
    assert!(rows.tokens() > 2 * 2048, "no more tokens than go back at once");
    for encoder in encoders() {
        let config = model::config(encoder, Sharing::Sde, Pooling::Mean);
        let model = model::model::<Autodiff<Flex>>(&config, 1);
        let gradients = |recomputes| {
            let engine = Engine { recomputes, ..Engine::new(learned(), 600, 0) };
            let dropout = Some(Key::new(3));
            let out = engine.gradients(&model, &rows, learned().temperature(), dropout).unwrap();
            let mut found = vec![("loss".to_owned(), vec![out.loss, out.log_temperature])];
            found.extend(model::gradients(&model, &out.parameters));
            found
        };
        for ((path, whole), (_, parts)) in gradients(false).into_iter().zip(gradients(true)) {
            assert_close_to_scale(&path, &parts, &whole, F32_TOLERANCE);
        }
    }
}
