//! The encoders against transformers, on tiny random checkpoints.

use std::path::Path;

use burn::optim::GradientsParams;
use burn::tensor::DType;
use burn::tensor::backend::AutodiffBackend;
use samtone_model::{Checkpoint, DualEncoder, ModelFolder, Side};
use samtone_testing::model::fixture_batch;
use samtone_testing::{assert_near, norm, values, weighed_sum};

use crate::{conforms, supported};

conforms! {
    states_and_gradients_are_those_of_transformers
    adapters_are_those_of_peft
}

/// Hidden states, by their norm.
const STATES: f64 = 1e-5;

/// One of each family that computes otherwise than another.
const ENCODERS: [&str; 17] = [
    "bert",
    "roberta",
    "t5-v1.0",
    "t5-v1.1",
    "encoders/distilbert",
    "encoders/electra",
    "encoders/eurobert",
    "encoders/gemma3",
    "encoders/gte",
    "encoders/jina",
    "encoders/mistral",
    "encoders/modernbert",
    "encoders/mpnet",
    "encoders/nomic",
    "encoders/qwen2",
    "encoders/qwen3",
    "encoders/umt5",
];

/// PEFT's adapters on one of each way to name maps, ModernBERT's of several in one, whose gradients are
/// named otherwise here.
const ADAPTERS: [&str; 5] = ["bert", "t5", "qwen3", "gemma3", "modernbert"];

/// A parameter's gradient, by its norm. In f64 a larger difference is another formula (Burn's own
/// gradient of GELU is 2e-4 to 9e-4 off); in f32 those of queries and keys are small differences of
/// large terms.
fn gradient_tolerance(dtype: DType) -> f64 {
    if dtype == DType::F64 { 1e-4 } else { 1e-3 }
}

fn double(values: &[f32]) -> Vec<f64> {
    values.iter().copied().map(f64::from).collect()
}

mod check {
    use super::*;

    /// A fixture's model, and what is expected of it.
    fn fixture<B: AutodiffBackend>(name: &str) -> (DualEncoder<B>, Checkpoint) {
        // Cargo says where the crate lies at run time too, and so does who runs the suite without it.
        let here = std::env::var("CARGO_MANIFEST_DIR");
        let here = here.unwrap_or_else(|_| env!("CARGO_MANIFEST_DIR").into());
        let folder = Path::new(&here).join("../crates/samtone-model/tests/fixtures").join(name);
        let model = ModelFolder::open(&folder).unwrap().load(0, &Default::default()).unwrap();
        let expected = folder.join("expected.safetensors");
        (model, Checkpoint::read_file(&expected, |_| false).unwrap())
    }

    pub(super) fn adapters_are_those_of_peft<B: AutodiffBackend>() {
        for name in ADAPTERS {
            let (model, expected) = fixture::<B>(&format!("adapters/{name}"));
            for dtype in supported::<B::InnerBackend>(&[DType::F64, DType::F32]) {
                let model = model.clone().cast(dtype.into());
                let states = model.token_states(Side::Query, &fixture_batch(0, 9), None);
                let expected_states = &expected.get("states", &[15, 12]).unwrap().values;
                assert_near(name, &values(states.clone()), &double(expected_states), STATES, 0.0);

                let gradients = GradientsParams::from_grads(weighed_sum(states).backward(), &model);
                model.for_each_gradient(&gradients, |parameter, gradient| {
                    assert_eq!(gradient.is_some(), parameter.is_trainable, "{}", parameter.path);
                    let own = parameter.name.trim_end_matches(".weight");
                    let key = format!("gradient.{own}");
                    let (Some(gradient), Ok(expected)) =
                        (gradient, expected.get(&key, &parameter.shape))
                    else {
                        return;
                    };
                    let (got, expected) = (values(gradient), double(&expected.values));
                    let what = format!("{name} {own}, {dtype:?}");
                    assert_near(&what, &got, &expected, gradient_tolerance(dtype), 0.0);
                });
            }
        }
    }

    pub(super) fn states_and_gradients_are_those_of_transformers<B: AutodiffBackend>() {
        for name in ENCODERS {
            let (model, expected) = fixture::<B>(name);
            for dtype in supported::<B::InnerBackend>(&[DType::F64, DType::F32]) {
                let model = model.clone().cast(dtype.into());
                let states = model.token_states(Side::Query, &fixture_batch(0, 9), None);
                let expected_states = &expected.get("states", &[15, 12]).unwrap().values;
                assert_near(name, &values(states.clone()), &double(expected_states), STATES, 0.0);

                let gradients = GradientsParams::from_grads(weighed_sum(states).backward(), &model);
                model.for_each_gradient(&gradients, |parameter, gradient| {
                    let of = |key: &str| {
                        let key = format!("gradient.{key}");
                        double(&expected.get(&key, &parameter.shape).unwrap().values)
                    };
                    // The bias of the keys moves all scores of a query alike: its gradient is 0 but for
                    // the rounding of terms as large as those of the queries' bias.
                    let terms = of(&parameter.name.replace("self.key.bias", "self.query.bias"));
                    let floor = norm(&terms);
                    let what = format!("{name} {}, {dtype:?}", parameter.name);
                    let got = values(gradient.unwrap());
                    assert_near(
                        &what,
                        &got,
                        &of(&parameter.name),
                        gradient_tolerance(dtype),
                        floor,
                    );
                });
            }
        }
    }
}
