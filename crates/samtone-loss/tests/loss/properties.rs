//! The streaming form equals the definition over the whole key space, and both obey the laws that
//! the losses obey on paper.

use burn::backend::{Flex, NdArray};
use burn::tensor::DType;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use samtone_loss::{
    Anchor, Candidates, FalseNegatives, GroupConfig, Hardness, HardnessOn, Loss, LossConfig,
    Margin, Preset, Relations, Similarity, Temperature,
};
use samtone_testing::loss::{Found, Host, by_streaming, resolve};
use samtone_testing::norm;

use crate::host::{Tolerance, assert_close, by_definition, random, rounding, temperature};

/// In f64 over the whole key space, where τ is as low as 0.03: the rounding of a logit is the relative
/// error of its exponential, and terms as large as 1/τ cancel.
const DRAWN: Tolerance = Tolerance { share: 1e-10, ..Tolerance::F64 };

/// A central difference errs by its step's square times a third derivative, which is tens here.
const DIFFERENCE: f64 = 1e-8;

/// How far to each side: rounding, 1e-16 over the step, is far below that error.
const STEP: f64 = 1e-5;

/// A few roundings of f32 in a number near 2.
const F32_LOGARITHM: f64 = 1e-6;

/// Any groups, or any preset.
fn groups() -> impl Strategy<Value = (Option<Preset>, Option<Vec<GroupConfig>>)> {
    let candidates = |anchor: Anchor| {
        let mut all = vec![
            Candidates::Cross,
            Candidates::Same,
            Candidates::HardOwn,
            Candidates::HardOthers,
            Candidates::Opposite,
            Candidates::OppositePositives,
        ];
        if anchor == Anchor::Query {
            all.push(Candidates::OppositeHard);
        }
        let count = all.len();
        prop::sample::subsequence(all, 1..=count)
    };
    let group =
        prop_oneof![Just(Anchor::Query), Just(Anchor::Document)].prop_flat_map(move |anchor| {
            (0.1..2.0, candidates(anchor), any::<bool>()).prop_map(
                move |(weight, candidates, positive_twice)| GroupConfig {
                    anchor,
                    weight,
                    candidates,
                    positive_twice,
                },
            )
        });
    prop_oneof![
        prop::sample::select(Preset::ALL.to_vec()).prop_map(|preset| (Some(preset), None)),
        prop::collection::vec(group, 1..4).prop_map(|groups| (None, Some(groups))),
    ]
}

fn false_negatives() -> impl Strategy<Value = FalseNegatives> {
    let margin = prop::option::of((-0.6..0.6, -0.5..0.5))
        .prop_map(|margin| margin.map(|(absolute, relative)| Margin { absolute, relative }));
    (any::<bool>(), any::<bool>(), margin).prop_map(|(ids, known, margin)| FalseNegatives {
        ids,
        known,
        margin,
    })
}

/// A resolved loss from anywhere in the key space.
fn losses() -> impl Strategy<Value = Loss> {
    let hardness = prop::option::of((
        prop::sample::select(vec![HardnessOn::InBatch, HardnessOn::Hard, HardnessOn::All]),
        0.5..9.0,
    ));
    let similarity = prop_oneof![3 => Just(Similarity::Cosine), 1 => Just(Similarity::Dot)];
    (groups(), similarity, false_negatives(), hardness).prop_map(
        |((preset, group), similarity, false_negatives, hardness)| {
            let mut config = LossConfig {
                preset,
                group,
                similarity: Some(similarity),
                false_negatives: Some(false_negatives),
                hardness: hardness.map(|(on, strength)| Hardness { on, strength }),
                ..LossConfig::default()
            };
            config.resolve().unwrap_or_else(|_| {
                config.hardness = None; // it found no candidates to act on
                config.resolve().unwrap()
            })
        },
    )
}

/// Batches with ids that collide, known pairs and weights.
fn batches() -> impl Strategy<Value = Host> {
    (1_usize..20, 1_usize..9, 0_usize..4, any::<u64>()).prop_flat_map(
        |(rows, dim, negatives, seed)| {
            let ids = |count: usize| prop::option::of(prop::collection::vec(0..rows as u64, count));
            let known = prop::collection::vec((0..rows, 0..rows), 0..3);
            let weights = prop::option::of(prop::collection::vec(0.0..2.0, rows));
            (ids(rows), ids(rows), ids(rows * negatives), known, weights).prop_map(
                move |(query_ids, document_ids, hard_negative_ids, known, mut weights)| {
                    if let Some(weights) = &mut weights {
                        weights[rows - 1] = 0.7;
                        if rows > 2 {
                            weights[0] = 0.0;
                        }
                    }
                    let relations = Relations { query_ids, document_ids, hard_negative_ids, known };
                    Host { relations, weights, ..random(rows, dim, negatives, seed) }
                },
            )
        },
    )
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0),
        failure_persistence: None,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(cases(400))]

    #[test]
    fn streaming_equals_the_definition(
        loss in losses(), at in batches(), tau in 0.03..1.0, tile in 1_usize..24,
    ) {
        let expected = by_definition::<Flex>(&loss, &at, temperature(tau), DType::F64);
        let loss = loss.with_tile(tile);
        let flex = by_streaming::<Flex>(&loss, &at, temperature(tau), DType::F64);
        let ndarray = by_streaming::<NdArray>(&loss, &at, temperature(tau), DType::F64);
        assert_close("flex", &flex, &expected, DRAWN);
        assert_close("ndarray", &ndarray, &expected, DRAWN);
    }

    #[test]
    fn the_f32_kernel_equals_the_definition(
        loss in losses(), at in batches(), tau in 0.1..1.0, tile in 1_usize..24,
    ) {
        // The definition sees the embeddings as f32 holds them.
        let at = at.rounded(DType::F32);
        let tau = if loss.similarity() == Similarity::Dot { 4.0 * tau } else { tau };
        let expected = by_definition::<NdArray>(&loss, &at, temperature(tau), DType::F64);
        let loss = loss.with_tile(tile);
        let kernel = by_streaming::<Flex>(&loss, &at, temperature(tau), DType::F32);
        let portable = by_streaming::<NdArray>(&loss, &at, temperature(tau), DType::F32);
        assert_close("kernel", &kernel, &expected, Tolerance::F32);
        assert_close("portable", &portable, &expected, Tolerance::F32);
    }
}

/// Sizes around whole tiles, with strips enough for every kind of round.
#[test]
fn any_number_of_rows_fits_the_tiles() {
    let loss = resolve("preset = 'gte'\ntemperature = 0.1");
    for rows in [1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 97] {
        let at = random(rows, 6, 2, 5).rounded(DType::F32);
        let tau = loss.temperature();
        let expected = by_definition::<Flex>(&loss, &at, tau, DType::F64);
        for tile in [15, 16, 17, 97] {
            let loss = loss.clone().with_tile(tile);
            let how = format!("{rows} rows in tiles of {tile}");
            let portable = by_streaming::<NdArray>(&loss, &at, tau, DType::F64);
            assert_close(&how, &portable, &expected, Tolerance::F64);
            let kernel = by_streaming::<Flex>(&loss, &at, tau, DType::F32);
            assert_close(&how, &kernel, &expected, Tolerance::F32);
        }
    }
}

#[test]
fn gradients_equal_finite_differences() {
    let configs = [
        "preset = 'samtone'",
        "preset = 'gte'",
        "preset = 'qwen3'\nhard_negatives = 'all'",
        "preset = 'pair'\nsimilarity = 'dot'",
        "preset = 't5x'\nfalse_negatives = { margin = { absolute = -0.2, relative = 0.1 } }",
    ];
    for config in configs {
        let loss = resolve(config);
        let at = Host {
            relations: Relations { query_ids: Some(vec![1, 2, 1, 3, 4]), ..Relations::default() },
            weights: Some(vec![1.0, 0.5, 2.0, 1.0, 1.0]),
            ..random(5, 4, 2, 11)
        };
        let log = 0.2_f64.ln();
        let value = |at: &Host, log: f64| {
            let tau = Temperature::from_log(log).unwrap();
            by_streaming::<NdArray>(&loss.clone().with_tile(2), at, tau, DType::F64)
        };
        let outcome = value(&at, log);
        let difference = |shift: &dyn Fn(f64) -> f64| (shift(STEP) - shift(-STEP)) / (2.0 * STEP);
        let close = |what: &str, got: f64, expected: f64| {
            assert!(
                (got - expected).abs() < DIFFERENCE,
                "{config}: {what}: {got} against {expected}"
            );
        };
        close("ln τ", outcome.log_temperature, difference(&|by| value(&at, log + by).loss));
        type Part = (&'static str, fn(&mut Host) -> &mut Vec<f64>, fn(&Found) -> &Vec<f64>);
        let parts: [Part; 3] = [
            ("queries", |at| &mut at.queries, |outcome| &outcome.queries),
            ("documents", |at| &mut at.documents, |outcome| &outcome.documents),
            ("hard negatives", |at| &mut at.hard, |outcome| &outcome.hard),
        ];
        for (what, part, gradient) in parts {
            for (index, &got) in gradient(&outcome).iter().enumerate() {
                let expected = difference(&|by| {
                    let mut at = at.clone();
                    part(&mut at)[index] += by;
                    value(&at, log).loss
                });
                close(what, got, expected);
            }
        }
    }
}

#[test]
fn both_sides_of_samtone_are_nt_xent_over_all_embeddings() {
    let at = random(9, 5, 0, 3);
    let tau = 0.1;
    // NT-Xent by hand: 2N unit vectors, each against its partner among all others.
    let unit = |row: &[f64]| {
        let norm = norm(row);
        row.iter().map(|value| value / norm).collect::<Vec<_>>()
    };
    let rows: Vec<_> = at.queries.chunks(5).chain(at.documents.chunks(5)).map(unit).collect();
    let score = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>() / tau;
    let of_row = |i: usize| {
        let others = (0..18).filter(|&j| j != i);
        let z: f64 = others.map(|j| score(&rows[i], &rows[j]).exp()).sum();
        z.ln() - score(&rows[i], &rows[(i + 9) % 18])
    };
    let expected = (0..18).map(of_row).sum::<f64>() / 18.0;
    let outcome =
        by_streaming::<NdArray>(&resolve("preset = 'samtone'"), &at, temperature(tau), DType::F64);
    assert!(
        (outcome.loss - expected).abs() < rounding(DType::F64),
        "{} against {expected}",
        outcome.loss
    );
}

#[test]
fn equal_similarities_give_the_logarithm_of_the_candidates() {
    let rows = 7;
    let at = Host { queries: vec![1.0; 28], documents: vec![1.0; 28], ..random(rows, 4, 0, 0) };
    for (preset, candidates) in
        [("in-batch", 7.0_f64), ("in-batch-both", 7.0), ("samtone-query", 13.0), ("samtone", 13.0)]
    {
        let loss = resolve(&format!("preset = '{preset}'"));
        for (dtype, tolerance) in [(DType::F64, rounding(DType::F64)), (DType::F32, F32_LOGARITHM)]
        {
            let outcome = by_streaming::<Flex>(&loss, &at, loss.temperature(), dtype);
            let error = (outcome.loss - candidates.ln()).abs();
            assert!(error < tolerance, "{preset}, {dtype:?}: {error:e}");
        }
    }
}

#[test]
fn permuting_pairs_permutes_rows() {
    let at = random(8, 3, 2, 21);
    let order = [3, 1, 7, 0, 2, 6, 5, 4];
    let permute = |values: &[f64], width: usize| -> Vec<f64> {
        order.iter().flat_map(|&row| values[row * width..(row + 1) * width].to_vec()).collect()
    };
    let permuted = Host {
        queries: permute(&at.queries, 3),
        documents: permute(&at.documents, 3),
        hard: permute(&at.hard, 6),
        ..at.clone()
    };
    for preset in Preset::ALL {
        let loss = LossConfig::preset(preset).resolve().unwrap();
        let tau = temperature(0.1);
        let before = by_streaming::<NdArray>(&loss, &at, tau, DType::F64);
        let after = by_streaming::<NdArray>(&loss, &permuted, tau, DType::F64);
        let expected = Found {
            loss: before.loss,
            per_row: permute(&before.per_row, 1),
            queries: permute(&before.queries, 3),
            documents: permute(&before.documents, 3),
            hard: permute(&before.hard, 6),
            log_temperature: before.log_temperature,
        };
        assert_close(preset.name(), &after, &expected, Tolerance::F64);
    }
}

#[test]
fn same_tower_negatives_never_lower_the_loss() {
    for seed in 0..20 {
        let at = random(1 + seed as usize, 4, 1, seed);
        let loss = |preset: &str| {
            by_streaming::<NdArray>(&resolve(preset), &at, temperature(0.07), DType::F64)
        };
        let (plain, samtone) = (loss("preset = 'in-batch'"), loss("preset = 'samtone-query'"));
        for (plain, samtone) in plain.per_row.iter().zip(&samtone.per_row) {
            assert!(samtone >= plain);
        }
        if seed == 0 {
            assert!((plain.loss - samtone.loss).abs() < rounding(DType::F64), "equal at batch 1");
        }
    }
}

/// What fits in memory and how many threads there are change the time, not the numbers.
#[test]
fn memory_and_threads_do_not_change_a_bit() {
    let at = random(700, 24, 1, 4);
    let run = |config: &str, threads: usize| {
        let loss = resolve(config).with_tile(128);
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| by_streaming::<Flex>(&loss, &at, temperature(0.05), DType::F32))
    };
    let expected = run("preset = 'samtone'", 1);
    assert_eq!(run("preset = 'samtone'", 3), expected);
    assert_eq!(run("preset = 'samtone'\nscore_memory_mib = 1", 2), expected);
}
