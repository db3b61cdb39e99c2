//! A training loop of one's own over `Engine`: no configuration file, no run folder.
//!
//! `cargo run -p samtone-train --example own_loop`

use burn::backend::{Autodiff, Flex};
use samtone_data::embedded::World;
use samtone_data::{BatchConfig, PairBatches};
use samtone_loss::{LossConfig, Preset, Relations};
use samtone_model::{BertConfig, DualEncoder, DualEncoderConfig, EncoderConfig};
use samtone_text::{DocumentText, Key, TextTokenizer};
use samtone_train::step::{Engine, ModelOptimizer, StepRows, Update};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let data = World::generate(0, 200).dataset();
    let texts: Vec<_> =
        data.documents().map(|document| document.passage(DocumentText::TitleText)).collect();
    let tokenizer = TextTokenizer::train_wordpiece(&texts, 400, true)?;
    let (vocab_size, hidden) = (tokenizer.vocab_size(), 32);
    let bert = BertConfig { vocab_size, hidden, layers: 1, heads: 2, ..Default::default() };
    let config = DualEncoderConfig { encoder: EncoderConfig::Bert(bert), ..Default::default() };
    let mut model = DualEncoder::<Autodiff<Flex>>::init(&config, 1, &Default::default())?;

    let loss = LossConfig::preset(Preset::Samtone).resolve()?;
    let temperature = loss.temperature();
    // A quarter of a batch at once: its gradients are those of the whole batch all the same.
    let engine = Engine::new(loss, 4, tokenizer.pad_id());
    let mut optimizer = ModelOptimizer::new(Update::default(), model.parameters());

    let pairs = data.pairs("train");
    let batches = PairBatches::new(&data, &pairs, Key::new(1), BatchConfig::new(16));
    let mut losses = Vec::new();
    for step in 0..30 {
        let rows = batches.batch(step);
        let (queries, documents): (Vec<usize>, Vec<usize>) =
            rows.iter().map(|&row| (pairs[row].query, pairs[row].document)).unzip();
        let keys =
            |keys: &[usize], of: &[usize]| Some(of.iter().map(|&i| keys[i] as u64).collect());
        let query_ids = keys(data.query_keys(), &queries);
        let document_ids = keys(data.document_keys(), &documents);
        let relations = Relations { query_ids, document_ids, ..Default::default() };
        let asked: Vec<_> = queries.iter().map(|&i| &*data.queries()[i].text).collect();
        let found: Vec<_> = documents.iter().map(|&i| &*texts[i]).collect();
        let (queries, documents) =
            (tokenizer.encode_batch(&asked, 32)?, tokenizer.encode_batch(&found, 48)?);
        let batch = StepRows { queries, documents, relations, ..Default::default() };
        let gradients = engine.gradients(&model, &batch, temperature, None)?;
        losses.push(gradients.loss);
        model = optimizer.step(3e-3, model, gradients.parameters);
    }
    let (first, last) = (losses[0], losses[29]);
    assert!(last < 0.8 * first, "the loss fell from {first} to {last}");
    Ok(())
}

#[test]
fn the_loss_falls() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
