//! Gradient caching gives the gradients of the whole batch, whatever the chunk: in f64, where nothing
//! but the order of sums can differ.

use burn::backend::{Autodiff, Flex, NdArray};
use burn::tensor::FloatDType;
use burn::tensor::backend::AutodiffBackend;
use samtone_loss::Relations;
use samtone_model::{DualEncoder, DualEncoderConfig, EncoderConfig, Pooling, Sharing, T5Config};
use samtone_text::Key;
use samtone_train::step::{Engine, Precision, StepRows};

use crate::tiny::{NEGATIVES, ROWS, TOLERANCE, bert, loss, texts};

fn encoders() -> [EncoderConfig; 2] {
    let t5 = T5Config {
        vocab_size: 30,
        hidden: 8,
        layers: 2,
        heads: 2,
        head_dim: 4,
        intermediate: 12,
        relative_buckets: 8,
        relative_max_distance: 6,
        dropout: 0.2,
        ..T5Config::default()
    };
    [EncoderConfig::Bert(bert()), EncoderConfig::T5(t5)]
}

/// The loss, its gradient by ln τ, and every parameter's gradient.
fn gradients<B: AutodiffBackend>(
    model: &DualEncoder<B>,
    texts: &[Vec<Vec<u32>>; 3],
    dropout: Option<Key>,
    chunk: usize,
) -> Vec<(String, Vec<f64>)> {
    let loss = loss();
    let temperature = loss.temperature();
    let [queries, documents, hard_negatives] = texts.clone();
    let batch = StepRows {
        queries,
        documents,
        hard_negatives,
        relations: Relations { known: vec![(1, 4)], ..Relations::default() },
        teacher: Vec::new(),
    };
    let engine = Engine { objective: loss.into(), chunk, pad_id: 0, precision: Precision::F32 };
    let out = engine.gradients(model, &batch, temperature, dropout).unwrap();
    let mut found = vec![("loss".into(), vec![out.loss, out.log_temperature])];
    model.for_each_gradient(&out.parameters, |parameter, gradient| {
        let gradient = gradient.unwrap().into_data().iter::<f64>().collect();
        found.push((parameter.path.clone(), gradient));
    });
    found
}

fn check<B: AutodiffBackend>()
where
    B::Device: Default,
{
    let texts =
        [texts("query", ROWS), texts("document", ROWS), texts("hard-negative", ROWS * NEGATIVES)];
    for encoder in encoders() {
        let config = DualEncoderConfig {
            encoder,
            sharing: Sharing::AdeSpl,
            pooling: Pooling::Mean,
            projection: Some(6),
            normalize: true,
        };
        let model =
            DualEncoder::<B>::init(&config, 1, &Default::default()).unwrap().cast(FloatDType::F64);
        for dropout in [None, Some(Key::new(3))] {
            let whole = gradients(&model, &texts, dropout, ROWS * NEGATIVES);
            for chunk in [1, 2, 3, 5, ROWS] {
                let chunked = gradients(&model, &texts, dropout, chunk);
                for ((path, whole), (_, chunked)) in whole.iter().zip(&chunked) {
                    let scale = whole.iter().map(|x| x.abs()).fold(1e-2, f64::max);
                    let pairs = whole.iter().zip(chunked);
                    let worst = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
                    assert!(
                        worst <= TOLERANCE * scale,
                        "{path}, chunk {chunk}, dropout {}: {worst:e} of {scale:e}",
                        dropout.is_some()
                    );
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
