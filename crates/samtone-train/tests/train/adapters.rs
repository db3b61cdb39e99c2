//! What adapters learn, beside PEFT (`fixtures/generate_adapters.py`).

use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::{Autodiff, Flex};
use burn::tensor::FloatDType;
use samtone_loss::LossConfig;
use samtone_model::{DualEncoder, ModelFolder, Precision, Sharing};
use samtone_testing::assert_close;
use samtone_testing::model::parameters;
use samtone_train::step::{Engine, ModelOptimizer, StepRows, Update};
use serde::Deserialize;

type B = Autodiff<Flex>;

/// Ten steps in f32 on both sides, and AdamW's β as f32 here.
const LOSS_TOLERANCE: f64 = 1e-5;
/// The same of weights near 0.3, whose updates AdamW makes of gradients' signs where they are small.
const WEIGHT_TOLERANCE: f64 = 1e-3;

#[derive(Deserialize)]
struct Training {
    queries: Vec<Vec<u32>>,
    documents: Vec<Vec<u32>>,
    losses: Vec<f64>,
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/adapters").join(name)
}

fn load(name: &str, sharing: Sharing) -> DualEncoder<B> {
    let mut folder = ModelFolder::open(&fixture(name)).unwrap();
    folder.config.sharing = sharing;
    folder.load(0, &Default::default()).unwrap()
}

fn engine() -> Engine {
    let loss = serde_json::json!({ "preset": "st", "temperature": 0.1 });
    let loss: LossConfig = serde_json::from_value(loss).unwrap();
    let objective = loss.resolve().unwrap().into();
    Engine { objective, chunk: 8, pad_id: 0, precision: Precision::F32, recomputes: false }
}

/// The losses of training on the fixture's batch, and the model after it.
fn train(mut model: DualEncoder<B>, training: &Training) -> (Vec<f64>, DualEncoder<B>) {
    let engine = engine();
    let temperature = engine.objective.contrastive.temperature();
    let mut optimizer = ModelOptimizer::<B>::new(Update::default(), model.parameters());
    let batch = StepRows {
        queries: training.queries.clone(),
        documents: training.documents.clone(),
        ..StepRows::default()
    };
    let losses = training.losses.iter().map(|_| {
        let out = engine.gradients(&model, &batch, temperature, None).unwrap();
        model = optimizer.step(0.02, model.clone(), out.parameters);
        out.loss
    });
    let losses = losses.collect();
    (losses, model)
}

#[test]
fn ten_steps_are_those_of_peft() {
    for name in ["bert", "qwen3"] {
        let json = fs::read(fixture(name).join("losses.json")).unwrap();
        let training: Training = serde_json::from_slice(&json).unwrap();
        let start = format!("{name}/start");
        for dtype in [FloatDType::F32, FloatDType::F64] {
            let model = load(&start, Sharing::Sde).cast(dtype);
            let base = parameters(&model);
            let (losses, model) = train(model, &training);
            assert_close(name, &losses, &training.losses, LOSS_TOLERANCE);
            let end = parameters(&load(&format!("{name}/end"), Sharing::Sde));
            for (((path, got), (_, expected)), (_, before)) in
                parameters(&model).into_iter().zip(&end).zip(&base)
            {
                if path.contains(".lora_") {
                    assert_close(&path, &got, expected, WEIGHT_TOLERANCE);
                } else {
                    assert_eq!(&got, before, "{path} is the base's");
                }
            }
        }
        // Adapters of either tower learn too, and nothing of their base.
        let (losses, model) = train(load(&start, Sharing::AdeAdapter), &training);
        assert!(losses[9] < 0.9 * losses[0], "{losses:?}");
        for (path, got) in parameters(&model) {
            let is_trained = path.contains(".lora_");
            let own = parameters(&load(&start, Sharing::AdeAdapter));
            let before = &own.iter().find(|(known, _)| *known == path).unwrap().1;
            assert_eq!(&got != before, is_trained, "{path}");
        }
    }
}
