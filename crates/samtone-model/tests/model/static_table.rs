//! Static tables against sentence-transformers and model2vec (`fixtures/generate_static.py`), and what
//! becomes of a text without a token.

use std::fs;
use std::path::Path;

use burn::backend::{Autodiff, Flex, NdArray};
use burn::optim::GradientsParams;
use burn::tensor::backend::Backend;
use safetensors::tensor::{Dtype, TensorView};
use samtone_model::{ModelError, Retriever, Side};
use samtone_testing::{assert_close, values, weighed_sum};
use samtone_text::{TextTokenizer, TokenBatch};
use serde_json::Value;

use crate::folders::copy_folder;
use crate::parity::fixture;

/// The embeddings are near 1 in size, and sums of few numbers.
const TOLERANCE: f64 = 1e-6;
/// Those of whole numbers are up to 127 in size.
const ROUNDED_TOLERANCE: f64 = 127.0 * TOLERANCE;

fn check<B: Backend>(name: &str, tolerance: f64) {
    let cases: Value =
        serde_json::from_slice(&fs::read(fixture("static/cases.json")).unwrap()).unwrap();
    let of = |key: &str| cases[name][key].clone();
    let texts: Vec<String> = serde_json::from_value(of("texts")).unwrap();
    let expected: Vec<Vec<f32>> = serde_json::from_value(of("embeddings")).unwrap();
    let expected = expected.concat();
    let retriever =
        Retriever::<B>::open(&fixture("static").join(name), &Default::default()).unwrap();
    for side in Side::ALL {
        let got = retriever.encode_texts(side, &texts).unwrap();
        let got: Vec<f64> = got.into_iter().map(f64::from).collect();
        assert_close(name, &got, &expected, tolerance);
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
fn a_table_embeds_as_its_library_does() {
    // Of `rounded` model2vec keeps no scale, and so its numbers stand for themselves.
    let tables = [("model", TOLERANCE), ("mapped", TOLERANCE), ("rounded", ROUNDED_TOLERANCE)];
    for (name, tolerance) in tables {
        check::<Flex>(name, tolerance);
        check::<NdArray>(name, tolerance);
    }
}

/// sentence-transformers goes by `tokenizer.json` alone.
#[test]
fn a_tables_texts_are_cut_by_its_tokenizers_own_truncation() {
    let home = tempfile::tempdir().unwrap();
    let open = |path: &Path| Retriever::<Flex>::open(path, &Default::default()).unwrap();
    let embed = |retriever: &Retriever<Flex>, text: &str| {
        retriever.encode_texts(Side::Query, &[text]).unwrap()
    };
    let whole = open(&fixture("static/model"));
    let [long, short] = ["the old well runs", "the old"];
    let cut = home.path().join("cut");
    copy_folder(&fixture("static/model"), &cut);
    fs::write(cut.join("tokenizer_config.json"), r#"{"model_max_length": 1}"#).unwrap();
    assert_eq!(embed(&open(&cut), long), embed(&whole, long));
    let tokenizer = TextTokenizer::from_file(&cut.join("tokenizer.json")).unwrap();
    let tokens = tokenizer.encode_bare(short, 99).unwrap().len();
    tokenizer.with_file_limit(tokens).unwrap().save(&cut.join("tokenizer.json")).unwrap();
    assert_ne!(embed(&whole, long), embed(&whole, short));
    assert_eq!(embed(&open(&cut), long), embed(&whole, short));
    // A length that was asked for is written there.
    let mut asked = whole;
    for side in Side::ALL {
        asked.set_max_tokens(side, tokens).unwrap();
    }
    let saved = home.path().join("saved");
    asked.save(&saved).unwrap();
    let tokenizer = TextTokenizer::from_file(&saved.join("tokenizer.json")).unwrap();
    assert_eq!(tokenizer.file_limit(), Some(tokens));
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

/// A tensor of a file: its name, its type, its shape and its bytes.
type Stored<'a> = (&'a str, Dtype, Vec<usize>, Vec<u8>);

/// Why a folder with these tensors does not open.
fn refusal(tensors: &[Stored<'_>]) -> ModelError {
    let home = tempfile::tempdir().unwrap();
    let source = fixture("static/mapped");
    for file in ["modules.json", "tokenizer.json"] {
        fs::copy(source.join(file), home.path().join(file)).unwrap();
    }
    let views = tensors.iter().map(|(name, dtype, shape, bytes)| {
        (*name, TensorView::new(*dtype, shape.clone(), bytes).unwrap())
    });
    fs::write(home.path().join("model.safetensors"), safetensors::serialize(views, None).unwrap())
        .unwrap();
    Retriever::<Flex>::open(home.path(), &Default::default()).map(|_| ()).unwrap_err()
}

/// A table of `rows` rows of two zeros.
fn zeros(name: &str, rows: usize) -> Stored<'_> {
    (name, Dtype::F32, vec![rows, 2], vec![0; 8 * rows])
}

#[test]
fn a_mapping_out_of_its_table_is_refused() {
    for outside in [3, -1] {
        // A row for each token, of which one is outside.
        let mut places = [0i64; 80];
        places[5] = outside;
        let mapping = places.map(i64::to_le_bytes).concat();
        let error = refusal(&[zeros("embeddings", 3), ("mapping", Dtype::I64, vec![80], mapping)]);
        assert!(matches!(error, ModelError::Mapping { .. }), "{error}");
        assert!(error.to_string().contains("`mapping`"), "{error}");
    }
}

#[test]
fn what_makes_no_table_is_refused_by_name() {
    let mapping = |dtype, shape: &[usize], bytes: usize| {
        ("mapping", dtype, shape.to_vec(), vec![0; shape.iter().product::<usize>() * bytes])
    };
    let weights = |shape: &[usize]| {
        ("weights", Dtype::F32, shape.to_vec(), vec![0; shape.iter().product::<usize>() * 4])
    };
    let wide = ("embeddings", Dtype::F32, vec![1, 1 << 16], vec![0; 4 << 16]);
    for (table, more, expected) in [
        (zeros("embeddings", 3), mapping(Dtype::F32, &[80], 4), "`mapping` of "),
        (zeros("embeddings", 3), mapping(Dtype::F32, &[80], 4), "type F32, expected I64 or I32"),
        (zeros("embeddings", 3), mapping(Dtype::I64, &[], 8), "shape [], expected [1]"),
        (zeros("embeddings", 3), mapping(Dtype::I64, &[40, 2], 8), "shape [40, 2], expected [80]"),
        (zeros("embeddings", 80), weights(&[79]), "shape [79], expected [80]"),
        (zeros("embeddings", 80), weights(&[80, 1]), "shape [80, 1], expected [80]"),
        // Would take 8 GiB, of a file of 384 KiB.
        (wide, mapping(Dtype::I32, &[1 << 15], 4), "32768 rows of 65536 numbers"),
        (zeros("embeddings", 80), zeros("scales", 80), "holds tensor `scales`"),
        // sentence-transformers would leave it out, model2vec would not.
        (zeros("embedding.weight", 80), weights(&[80]), "holds tensor `weights`"),
        (("embeddings", Dtype::U8, vec![80, 2], vec![0; 160]), weights(&[80]), "BF16 or I8"),
        (("embeddings", Dtype::F32, vec![80], vec![0; 320]), weights(&[80]), "has shape [80]"),
    ] {
        let message = refusal(&[table, more]).to_string();
        assert!(message.contains(expected), "{message}");
    }
}
