//! The loss in a plain Burn training loop: two towers learn which document answers which query.
//!
//! `cargo run -p samtone-loss --example plain_loop`

use burn::backend::{Autodiff, Flex};
use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::optim::{AdamConfig, GradientsParams, Optimizer};
use burn::tensor::backend::Backend;
use burn::tensor::{Distribution, Tensor};
use samtone_loss::{Batch, LossConfig, Preset};

const PAIRS: usize = 64;
const WORDS: usize = 200;

/// Two towers over bags of words.
#[derive(Module, Debug)]
struct Towers<B: Backend> {
    query: Linear<B>,
    document: Linear<B>,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    type B = Autodiff<Flex>;
    let device = Default::default();
    B::seed(&device, 1);
    let tower = || LinearConfig::new(WORDS, 32).init(&device);
    let mut model = Towers::<B> { query: tower(), document: tower() };
    let mut optimizer = AdamConfig::new().init();

    // Ten words in a document or so, and about half of them in its query.
    let bag =
        |share| Tensor::<B, 2>::random([PAIRS, WORDS], Distribution::Bernoulli(share), &device);
    let documents = bag(0.05);
    let queries = documents.clone() * bag(0.5);

    let loss = LossConfig::preset(Preset::Samtone).resolve()?;
    let mut values = Vec::new();
    for _step in 0..50 {
        let q = model.query.forward(queries.clone());
        let d = model.document.forward(documents.clone());
        let value = loss.forward(&Batch::new(q, d), loss.temperature())?;
        values.push(value.clone().into_scalar());
        let gradients = GradientsParams::from_grads(value.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    assert!(values[49] < 0.1 * values[0], "the loss fell from {} to {}", values[0], values[49]);
    Ok(())
}

#[test]
fn the_loss_falls() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
