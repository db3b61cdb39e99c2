//! Static tables against sentence-transformers (`fixtures/generate_static.py`), and what becomes of a
//! text without a token.

use std::fs;

use burn::backend::{Autodiff, Flex, NdArray};
use burn::optim::GradientsParams;
use burn::tensor::backend::Backend;
use safetensors::tensor::{Dtype, TensorView};
use samtone_model::{ModelError, Retriever, Side};
use samtone_testing::{assert_close, values, weighed_sum};
use samtone_text::TokenBatch;
use serde_json::Value;

use crate::parity::fixture;

/// The embeddings are near 1 in size, and sums of few numbers.
const TOLERANCE: f64 = 1e-6;

fn check<B: Backend>(name: &str) {
    let cases: Value =
        serde_json::from_slice(&fs::read(fixture("static/cases.json")).unwrap()).unwrap();
    let texts: Vec<String> = serde_json::from_value(cases["texts"].clone()).unwrap();
    let expected: Vec<Vec<f32>> = serde_json::from_value(cases[name].clone()).unwrap();
    let expected = expected.concat();
    let retriever =
        Retriever::<B>::open(&fixture("static").join(name), &Default::default()).unwrap();
    for side in Side::ALL {
        let got = retriever.encode_texts(side, &texts).unwrap();
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        assert_close(name, &got, &expected, TOLERANCE);
    }
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("model");
    retriever.save(&saved).unwrap();
    let again = Retriever::<B>::open(&saved, &Default::default()).unwrap();
    assert_eq!(
        again.encode_texts(Side::Query, &texts).unwrap(),
        retriever.encode_texts(Side::Query, &texts).unwrap()
    );
}

#[test]
fn a_table_embeds_as_sentence_transformers_does() {
    for name in ["model", "mapped"] {
        check::<Flex>(name);
        check::<NdArray>(name);
    }
}

#[test]
fn a_table_learns_and_no_token_teaches_it_nothing() {
    type B = Autodiff<Flex>;
    let retriever = Retriever::<B>::open(&fixture("static/model"), &Default::default()).unwrap();
    let model = &retriever.model;
    let nothing = model.config().encoder.vocab_size() as u32;
    let batch = TokenBatch::pad(&[vec![7, 7, 9], vec![nothing], vec![9]], nothing);
    let embeddings = model.encode(Side::Query, &batch, None);
    assert_eq!(values(embeddings.clone())[6..12], [0.0; 6]);
    let gradients = GradientsParams::from_grads(weighed_sum(embeddings).backward(), model);
    model.for_each_gradient(&gradients, |_, gradient| {
        let gradient = values(gradient.unwrap());
        let learns: Vec<usize> = (0..gradient.len() / 6)
            .filter(|row| gradient[row * 6..][..6].iter().any(|x| *x != 0.0))
            .collect();
        assert_eq!(learns, [7, 9]);
    });
}

#[test]
fn a_mapping_out_of_its_table_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let source = fixture("static/mapped");
    for file in ["modules.json", "tokenizer.json"] {
        fs::copy(source.join(file), home.path().join(file)).unwrap();
    }
    let write = |mapping: i64| {
        // A row for each token, of which one is outside.
        let mut places = [0i64; 80];
        places[5] = mapping;
        let (table, mapping) = ([0u8; 24], places.map(i64::to_le_bytes).concat());
        let tensors = [
            ("embeddings", TensorView::new(Dtype::F32, vec![3, 2], &table).unwrap()),
            ("mapping", TensorView::new(Dtype::I64, vec![80], &mapping).unwrap()),
        ];
        let bytes = safetensors::serialize(tensors, None).unwrap();
        fs::write(home.path().join("model.safetensors"), bytes).unwrap();
        Retriever::<Flex>::open(home.path(), &Default::default()).map(|_| ()).unwrap_err()
    };
    for outside in [3, -1] {
        let error = write(outside);
        assert!(matches!(error, ModelError::Mapping { .. }), "{error}");
        assert!(error.to_string().contains("`mapping`"), "{error}");
    }
}
