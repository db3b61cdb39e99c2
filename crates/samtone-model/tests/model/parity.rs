//! The encoders against `transformers`, on tiny random checkpoints (`fixtures/generate.py`,
//! `fixtures/generate_encoders.py`).

use std::path::{Path, PathBuf};

use burn::backend::{Autodiff, Flex};
use burn::module::Module;
use burn::optim::GradientsParams;
use burn::tensor::FloatDType;
use burn::tensor::backend::Backend;
use samtone_model::{Checkpoint, DualEncoder, ModelFolder, Side};
use samtone_testing::model::fixture_batch;
use samtone_testing::{assert_close, values, weighed_sum};

/// Hidden states differ by rounding alone; the fixtures' are near 1 in size.
const STATES_TOLERANCE: f64 = 1e-5;
/// Relative to the largest element of each parameter's gradient.
const GRADIENT_TOLERANCE: f64 = 1e-4;

const FIRST_ENCODERS: [&str; 4] = ["bert", "roberta", "t5-v1.0", "t5-v1.1"];

pub(crate) const OTHER_ENCODERS: [&str; 19] = [
    "encoders/distilbert",
    "encoders/electra",
    "encoders/eurobert",
    "encoders/gemma3",
    "encoders/gemma3-bidirectional",
    "encoders/gte",
    "encoders/jina",
    "encoders/llama-prefixed",
    "encoders/mistral",
    "encoders/modernbert",
    "encoders/modernbert-biased",
    "encoders/mpnet",
    "encoders/new",
    "encoders/nomic",
    "encoders/nomic-renamed",
    "encoders/qwen2",
    "encoders/qwen3",
    "encoders/qwen3-bidirectional",
    "encoders/umt5",
];

fn encoders() -> impl Iterator<Item = &'static str> {
    FIRST_ENCODERS.into_iter().chain(OTHER_ENCODERS)
}

pub(crate) fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

pub(crate) fn expected(name: &str) -> Checkpoint {
    Checkpoint::read_file(&fixture(name).join("expected.safetensors"), |_| false).unwrap()
}

fn load<B: Backend>(name: &str) -> DualEncoder<B> {
    ModelFolder::open(&fixture(name)).unwrap().load(0, &Default::default()).unwrap()
}

#[test]
fn hidden_states_agree_with_transformers() {
    for name in encoders() {
        let model = load::<Flex>(name);
        let expected = expected(name);
        let states = expected.get("states", &[15, 12]).unwrap();
        for batch in [fixture_batch(0, 0), fixture_batch(1, 11)] {
            let got = values(model.token_states(Side::Query, &batch, None));
            assert_close(name, &got, &states.values, STATES_TOLERANCE);
        }
    }
}

/// Biases, norms and what scores owe to the distance between tokens do not.
#[test]
fn maps_and_tables_of_words_decay() {
    for name in encoders() {
        for parameter in load::<Flex>(name).parameters() {
            let is_of_distances = parameter.name.contains("relative_attention_bias");
            let decays = parameter.shape.len() == 2 && !is_of_distances;
            assert_eq!(parameter.decays, decays, "{name} {}", parameter.name);
        }
    }
}

#[test]
fn gradients_agree_with_transformers() {
    for name in encoders() {
        for dtype in [FloatDType::F32, FloatDType::F64] {
            let model = load::<Autodiff<Flex>>(name).cast(dtype);
            let states = model.token_states(Side::Query, &fixture_batch(0, 9), None);
            let gradients = GradientsParams::from_grads(weighed_sum(states).backward(), &model);
            let expected = expected(name);
            let mut compared = 0;
            model.for_each_gradient(&gradients, |parameter, gradient| {
                let what = format!("{name} {}", parameter.name);
                let key = format!("gradient.{}", parameter.name);
                // The bias of the keys moves all scores of a query alike: its gradient is 0, and
                // both sides hold the rounding of terms as large as those of the queries' bias.
                let scale_key = key.replace("self.key.bias", "self.query.bias");
                let largest = |key: &str| {
                    let tensor = expected.get(key, &parameter.shape).unwrap();
                    tensor.values.iter().map(|x| f64::from(x.abs())).fold(0.0, f64::max)
                };
                let scale = largest(&scale_key);
                let expected = expected.get(&key, &parameter.shape).unwrap();
                let got = values(gradient.unwrap());
                assert_close(&what, &got, &expected.values, GRADIENT_TOLERANCE * scale);
                compared += 1;
            });
            assert_eq!(compared, model.parameters().len());
            assert_eq!(model.num_parameters(), model.num_params());
        }
    }
}
