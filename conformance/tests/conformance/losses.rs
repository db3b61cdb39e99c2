//! Every loss with every mask, one tile and many, in every float type.

use burn::tensor::DType;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_loss::{
    Batch, Embeddings, Input, Loss, LossConfig, LossError, Preset, Relations, has_kernels,
};
use samtone_text::Key;
use serde::Deserialize;

use crate::{Tolerance, assert_near, conforms, supported, tensor, values};

conforms! {
    the_whole_family_is_the_reference
    many_tiles_with_every_mask_are_one_truth
    every_preset_is_one_truth_at_any_tile_and_temperature
    hardness_is_one_truth_where_terms_share_a_matrix
    a_number_that_is_not_finite_is_found
    kernels_run_where_there_are_some
}

const FLOATS: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::BF16];

/// A batch on the host.
struct Host {
    rows: usize,
    dim: usize,
    negatives: usize,
    /// Queries, documents, hard negatives.
    embeddings: [Vec<f64>; 3],
    relations: Relations,
    weights: Option<Vec<f64>>,
}

impl Host {
    fn batch<B: Backend>(&self, dtype: DType) -> Batch<B> {
        let [queries, documents, hard] = &self.embeddings;
        let shape = [self.rows, self.dim];
        let mut batch = Batch::new(tensor(queries, shape, dtype), tensor(documents, shape, dtype))
            .with_relations(self.relations.clone());
        if self.negatives > 0 {
            let shape = [self.rows, self.negatives, self.dim];
            batch = batch.with_hard_negatives(tensor(hard, shape, dtype));
        }
        if let Some(weights) = &self.weights {
            batch = batch.with_weights(weights.clone());
        }
        batch
    }

    /// The batch with its numbers as `dtype` holds them.
    fn rounded(&self, dtype: DType) -> Self {
        use burn::backend::Flex;
        let round = |numbers: &Vec<f64>| match dtype {
            DType::F64 => numbers.clone(),
            _ => values(tensor::<Flex, 1>(numbers, [numbers.len()], dtype)),
        };
        Self {
            embeddings: self.embeddings.each_ref().map(round),
            relations: self.relations.clone(),
            weights: self.weights.clone(),
            ..*self
        }
    }
}

/// The value, the rows' values and the gradients of a loss.
struct Outcome {
    loss: Vec<f64>,
    gradients: [Vec<f64>; 4],
}

impl Outcome {
    fn of<B: Backend>(loss: &Loss, at: &Host, dtype: DType) -> Self {
        let out = loss.value_and_gradients(&at.batch::<B>(dtype), loss.temperature()).unwrap();
        let Embeddings { queries, documents, hard_negatives } = out.embeddings;
        assert_eq!(queries.dtype(), dtype, "gradients have the embeddings' type");
        let mut value = vec![out.loss];
        value.extend(values(out.per_row));
        let hard = hard_negatives.map_or(Vec::new(), values);
        let gradients = [values(queries), values(documents), hard, vec![out.log_temperature]];
        Self { loss: value, gradients }
    }
}

/// Compares `loss` on backend `B` with Flex in f64, in every float type.
fn compare<B: Backend>(what: &str, loss: &Loss, at: &Host, dtypes: &[DType]) {
    use burn::backend::Flex;
    // Where a gradient vanishes its rounding is that of the terms it is summed from.
    let floor = 1e-2;
    for &dtype in dtypes {
        let at = at.rounded(dtype);
        let expected = Outcome::of::<Flex>(loss, &at, DType::F64);
        let got = Outcome::of::<B>(loss, &at, dtype);
        let tolerance = Tolerance::of(dtype);
        let what = format!("{what}, {dtype:?}");
        assert_near(&what, &got.loss, &expected.loss, tolerance.loss, 1.0);
        let names = ["queries", "documents", "hard negatives", "ln τ"];
        for ((name, got), expected) in names.iter().zip(&got.gradients).zip(&expected.gradients) {
            let what = format!("{what}, gradient of the {name}");
            // ln τ is no embedding: its gradient stays f64.
            let tolerance = if *name == "ln τ" { Tolerance::of(DType::F32) } else { tolerance };
            assert_near(&what, got, expected, tolerance.gradient, floor);
        }
    }
}

/// One case of the losses' own fixture, which NumPy and sentence-transformers computed.
#[derive(Deserialize)]
struct Case {
    name: String,
    config: String,
    #[serde(default)]
    negatives: usize,
    query_ids: Option<Vec<u64>>,
    document_ids: Option<Vec<u64>>,
    hard_negative_ids: Option<Vec<Vec<u64>>>,
    #[serde(default)]
    known: Vec<(usize, usize)>,
    weights: Option<Vec<f64>>,
    #[serde(default)]
    repeat: Vec<usize>,
    loss: f64,
}

impl Case {
    fn host(&self) -> Host {
        let wave = |a: f64| -> Vec<f64> {
            let entry = |i: f64, j: f64| (a + 1.7 * i + 0.9 * j + 0.31 * i * j).sin();
            (0..4).flat_map(|i| (0..5).map(move |j| entry(f64::from(i), f64::from(j)))).collect()
        };
        let (mut queries, mut documents) = (wave(0.0), wave(1.0));
        for &row in &self.repeat {
            queries.copy_within(0..5, row * 5);
            documents.copy_within(0..5, row * 5);
        }
        let hard: Vec<Vec<f64>> = (0..self.negatives).map(|k| wave(2.0 + k as f64)).collect();
        let rows = 0..4;
        let hard = rows.flat_map(|row| hard.iter().flat_map(move |h| h[row * 5..][..5].to_vec()));
        Host {
            rows: 4,
            dim: 5,
            negatives: self.negatives,
            embeddings: [queries, documents, hard.collect()],
            relations: Relations {
                query_ids: self.query_ids.clone(),
                document_ids: self.document_ids.clone(),
                hard_negative_ids: self.hard_negative_ids.as_ref().map(|ids| ids.concat()),
                known: self.known.clone(),
            },
            weights: self.weights.clone(),
        }
    }
}

fn resolve(config: &str) -> Loss {
    toml::from_str::<LossConfig>(config).unwrap().resolve().unwrap()
}

/// 150 pairs in tiles of 64, with repeated ids, known pairs, weights and hard negatives.
fn large() -> Host {
    let (rows, dim, negatives) = (150, 24, 2);
    let key = Key::new(9);
    let number =
        |name: &str, i: usize| key.child(name).below(i as u64, 2_000_001) as f64 / 1e6 - 1.0;
    let queries: Vec<f64> = (0..rows * dim).map(|i| number("query", i)).collect();
    let documents = queries.iter().enumerate().map(|(i, x)| x + 0.7 * number("document", i));
    let documents = documents.collect();
    let hard = (0..rows * negatives * dim).map(|i| number("hard", i)).collect();
    let ids = |name: &str, count: usize, range: usize| {
        Some((0..count).map(|i| key.child(name).below(i as u64, range) as u64).collect())
    };
    Host {
        rows,
        dim,
        negatives,
        embeddings: [queries, documents, hard],
        relations: Relations {
            query_ids: ids("query-id", rows, 120),
            document_ids: ids("document-id", rows, 130),
            hard_negative_ids: ids("hard-id", rows * negatives, 200),
            known: vec![(0, 149), (3, 70), (64, 63)],
        },
        weights: Some((0..rows).map(|i| (i % 5) as f64).collect()),
    }
}

mod check {
    use super::*;

    pub(super) fn the_whole_family_is_the_reference<B: AutodiffBackend>() {
        type Cases = Vec<Case>;
        let fixture = include_str!("../../../crates/samtone-loss/tests/fixtures/reference.json");
        let cases: Cases = serde_json::from_str(fixture).unwrap();
        let dtypes = supported::<B::InnerBackend>(&FLOATS);
        for case in cases {
            let (loss, at) = (resolve(&case.config), case.host());
            compare::<B::InnerBackend>(&case.name, &loss, &at, &dtypes);
            let got = Outcome::of::<B::InnerBackend>(&loss, &at, DType::F32).loss[0];
            assert_near(&case.name, &[got], &[case.loss], Tolerance::of(DType::F32).loss, 1.0);
        }
    }

    pub(super) fn many_tiles_with_every_mask_are_one_truth<B: AutodiffBackend>() {
        let dtypes = supported::<B::InnerBackend>(&[DType::F64, DType::F32]);
        let at = large();
        for preset in ["samtone", "gte", "qwen3", "pair"] {
            for masks in ["'none'", "'ids'", "{ ids = true, margin = { absolute = -0.1 } }"] {
                let config =
                    format!("preset = '{preset}'\ntemperature = 0.1\nfalse_negatives = {masks}");
                let loss = resolve(&config).with_tile(64);
                compare::<B::InnerBackend>(&config.replace('\n', ", "), &loss, &at, &dtypes);
            }
        }
        let config = "preset = 'samtone'\nsimilarity = 'dot'\nhardness = { on = 'all', strength = 2.0 }\ntemperature = 0.5";
        let loss = resolve(config).with_tile(64);
        compare::<B::InnerBackend>("dot products with hardness", &loss, &at, &dtypes);
    }

    pub(super) fn every_preset_is_one_truth_at_any_tile_and_temperature<B: AutodiffBackend>() {
        let at = large();
        let masks = "{ ids = true, known = true, margin = { absolute = 0.05, relative = -0.1 } }";
        // Tiles of 37 leave some of 2 rows, fewer than a kernel has units; one of 1000 holds all.
        for (tile, temperature) in [(37, 0.05), (1000, 0.01)] {
            for preset in Preset::ALL {
                let uses_hard = LossConfig::preset(preset).resolve().unwrap().uses_hard_negatives();
                let hard_negatives: &[&str] = if uses_hard {
                    &["hard_negatives = 'own'", "hard_negatives = 'all'"]
                } else {
                    &[""]
                };
                for hard in hard_negatives {
                    let config = format!(
                        "preset = '{preset}'\ntemperature = {temperature}\n{hard}\n\
                         false_negatives = {masks}"
                    );
                    let what = format!("{preset}, τ {temperature}, {hard}, tiles of {tile}");
                    let loss = resolve(&config).with_tile(tile);
                    compare::<B::InnerBackend>(&what, &loss, &at, &[DType::F32]);
                }
            }
        }
    }

    pub(super) fn hardness_is_one_truth_where_terms_share_a_matrix<B: AutodiffBackend>() {
        let at = large();
        for on in ["in-batch", "hard", "all"] {
            let config = format!(
                "temperature = 0.1\nhardness = {{ on = '{on}', strength = 3.0 }}\n\
                 [[group]]\nanchor = 'query'\ncandidates = ['cross', 'hard', 'opposite', 'opposite-hard']\n\
                 [[group]]\nanchor = 'document'\n\
                 candidates = ['cross', 'opposite', 'hard']"
            );
            let loss = resolve(&config).with_tile(40);
            let what = format!("hardness on {on}");
            compare::<B::InnerBackend>(&what, &loss, &at, &[DType::F32]);
        }
    }

    pub(super) fn a_number_that_is_not_finite_is_found<B: AutodiffBackend>() {
        let loss = LossConfig::default().resolve().unwrap().with_tile(64);
        let check = |number: f64| {
            let mut at = large();
            at.embeddings[1][70 * at.dim] = number;
            let batch = at.batch::<B::InnerBackend>(DType::F32);
            let error = loss.value_and_gradients(&batch, loss.temperature()).unwrap_err();
            let expected = LossError::NonFinite { what: Input::Documents, row: 70 };
            assert_eq!(error.to_string(), expected.to_string());
        };
        check(f64::NAN);
        check(f64::INFINITY);
    }

    pub(super) fn kernels_run_where_there_are_some<B: AutodiffBackend>() {
        let name = B::InnerBackend::name(&Default::default());
        let found = FLOATS.map(has_kernels::<B::InnerBackend>); // f64, f32, f16, bf16
        let expected = match () {
            () if name.contains("cubecl") => [false, true, true, true],
            () if name == "flex" => [false, true, false, false],
            () => [false; 4],
        };
        assert_eq!(found, expected, "{name}");
    }
}
