//! Values from independent implementations: sentence-transformers 6.2.0 and NumPy, in f64.
//!
//! The pairs are `samtone_testing`'s, at scale 20; its `fixtures/reference.py` computes every value
//! here again.

use burn::backend::{Flex, NdArray};
use burn::tensor::DType;
use samtone_loss::Relations;
use samtone_testing::loss::{Case, Found, Host, by_streaming, pairs, resolve};
use samtone_testing::norm;

use crate::host::{Tolerance, assert_close, by_definition};

/// The values below have ten decimals, those of the fixture twelve digits.
const TOLERANCE: f64 = 1e-10;

/// The norms below have eight decimals.
const NORM_TOLERANCE: f64 = 1e-8;

/// Every way to compute a configuration on a host batch.
fn outcomes(config: &str, at: &Host) -> Vec<(String, Found)> {
    let loss = resolve(config);
    let temperature = loss.temperature();
    let mut all = vec![
        ("definition, flex".into(), by_definition::<Flex>(&loss, at, temperature, DType::F64)),
        (
            "definition, ndarray".into(),
            by_definition::<NdArray>(&loss, at, temperature, DType::F64),
        ),
        ("streaming, flex".into(), by_streaming::<Flex>(&loss, at, temperature, DType::F64)),
    ];
    for tile in [1, 2, 3, 4, 5] {
        let loss = loss.clone().with_tile(tile);
        let outcome = by_streaming::<NdArray>(&loss, at, temperature, DType::F64);
        all.push((format!("streaming in tiles of {tile}, ndarray"), outcome));
    }
    all
}

#[track_caller]
fn check(config: &str, negatives: usize, expected: f64, norms: &[f64]) {
    check_at(config, &pairs(negatives), expected, norms);
}

/// The value against `expected`, everything else of the streaming form against the definition's.
#[track_caller]
fn check_at(config: &str, at: &Host, expected: f64, norms: &[f64]) {
    let outcomes = outcomes(config, at);
    for (how, outcome) in &outcomes {
        let Found { loss, queries, documents, hard, .. } = outcome;
        assert!((loss - expected).abs() < TOLERANCE, "{how}: {loss:.12}, expected {expected}");
        for (gradient, expected) in [queries, documents, hard].iter().zip(norms) {
            let got = norm(gradient);
            let error = (got - expected).abs();
            assert!(error < NORM_TOLERANCE, "{how}: norm {got:.10}, expected {expected}");
        }
        assert_close(how, outcome, &outcomes[0].1, Tolerance::F64);
    }
}

#[test]
fn one_direction_is_in_batch_cross_entropy() {
    check("preset = 'in-batch'", 0, 0.281_668_034_9, &[2.778_403_39, 2.280_250_99]);
    check("preset = 'st'", 0, 0.281_668_034_9, &[2.778_403_39, 2.280_250_99]);
    let norms = [7.924_292_70, 5.219_114_64, 2.965_159_12];
    check("preset = 'in-batch'", 1, 5.487_916_903_8, &norms);
}

#[test]
fn both_directions_are_averaged_or_summed() {
    let norms = [2.514_552_73, 2.487_291_51];
    check("preset = 'in-batch-both'", 0, 0.303_994_812_4, &norms);
    check("preset = 'in-batch-both'\ncombine = 'sum'", 0, 2.0 * 0.303_994_812_4, &[]);
    check("preset = 't5x'\ntemperature = 0.05", 0, 2.0 * 0.303_994_812_4, &[]);
    check("preset = 't5x'\ntemperature = 0.05\ncombine = 'mean'", 0, 0.303_994_812_4, &[]);
}

#[test]
fn samtone_adds_the_same_tower() {
    check("preset = 'samtone-query'", 0, 0.294_172_704_4, &[2.823_774_22, 2.322_350_04]);
    check("preset = 'samtone-document'", 0, 0.326_607_268_0, &[2.777_001_87, 3.132_783_84]);
    check("preset = 'samtone'", 0, 0.310_389_986_2, &[]);
    check("preset = 'samtone'\ncombine = 'sum'", 0, 0.620_779_972_4, &[]);
    let norms = [7.926_800_11, 5.219_264_48, 2.963_397_26];
    check("preset = 'samtone-query'", 1, 5.488_495_670_7, &norms);
    check("preset = 'samtone-query'", 2, 5.529_995_467_6, &[]);
    check("preset = 'samtone-query'\ntemperature = 0.01", 0, 0.074_142_826_5, &[]);
}

#[test]
fn gecko_sees_its_own_hard_negatives_alone() {
    check("preset = 'gecko'", 1, 0.294_172_754_0, &[]);
    check("preset = 'samtone-query'\nhard_negatives = 'own'", 1, 0.294_172_754_0, &[]);
    check("preset = 'gecko'\nhard_negatives = 'all'", 1, 5.488_495_670_7, &[]);
}

#[test]
fn qwen3_adds_the_documents_to_the_query_side() {
    check("preset = 'qwen3'", 0, 0.294_482_884_1, &[]);
    check("preset = 'qwen3'", 1, 0.294_482_933_7, &[]);
}

#[test]
fn gte_counts_the_positive_twice() {
    let norms = [3.186_091_86, 3.140_196_10];
    check("preset = 'gte'\ntemperature = 0.05", 0, 1.042_518_293_4, &norms);
    let norms = [7.738_745_90, 5.066_312_64, 2.818_728_17];
    check("preset = 'gte'\ntemperature = 0.05", 1, 5.542_484_292_5, &norms);
    check("preset = 'gte'\ntemperature = 0.05", 2, 6.253_329_275_4, &[]);
    let once = "false_negatives = 'none'\n[[group]]\nanchor = 'query'\n\
        candidates = ['cross', 'same', 'hard', 'opposite', 'opposite-same']\n";
    check(once, 0, 0.607_017_576_0, &[]);
}

#[test]
fn single_blocks_combine_freely() {
    let group = |candidates: &str| format!("[[group]]\nanchor = 'query'\n{candidates}\n");
    check(
        &group("candidates = ['cross', 'opposite-same']"),
        0,
        0.281_987_096_4,
        &[2.778_780_19, 2.282_041_95],
    );
    let twice = "candidates = ['cross', 'opposite']\npositive_twice = true";
    check(&group(twice), 0, 1.036_902_570_2, &[3.162_446_61, 3.130_983_24]);
}

#[test]
fn pair_weighs_the_passage_term() {
    check("preset = 'pair'", 0, 0.253_540_797_5, &[]);
    check("preset = 'pair'\nalpha = 0.0", 0, 0.281_668_034_9, &[]);
}

#[test]
fn hardness_lifts_close_negatives() {
    let hardness = |preset: &str, on: &str, strength: f64| {
        format!("preset = '{preset}'\nhardness = {{ on = '{on}', strength = {strength:?} }}")
    };
    check(&hardness("in-batch", "in-batch", 9.0), 1, 12.471_889_955_0, &[]);
    check(&hardness("in-batch", "hard", 5.0), 1, 5.487_916_900_5, &[]);
    check(&hardness("in-batch", "all", 5.0), 1, 9.352_674_870_8, &[]);
    check(&hardness("samtone-query", "all", 5.0), 1, 9.352_702_413_4, &[]);
}

/// Rows 0 and 1 made identical in queries and documents: what one repeated pair costs.
#[test]
fn a_repeated_pair_is_dear_to_samtone_until_ids_hide_it() {
    let mut at = pairs(0);
    at.queries.copy_within(0..5, 5);
    at.documents.copy_within(0..5, 5);
    check_at("preset = 'in-batch'", &at, 0.496_645_251_3, &[]);
    check_at("preset = 'samtone-query'", &at, 4.711_474_232_8, &[]);
    at.relations = Relations { query_ids: Some(vec![7, 7, 8, 9]), ..Relations::default() };
    for (how, outcome) in outcomes("preset = 'samtone-query'", &at) {
        assert!(outcome.loss < 0.5, "{how}: {}", outcome.loss);
    }
}

/// Every preset with and without hard negatives, and every rule that hides or lifts candidates.
#[test]
fn the_whole_family_equals_an_independent_implementation() {
    for case in Case::all() {
        for (how, outcome) in outcomes(&case.config, &case.host()) {
            let how = format!("{}, {how}", case.name);
            let tolerance = Tolerance { share: TOLERANCE, floor: 1.0 };
            assert_close(&how, &outcome, &case.outcome(), tolerance);
        }
    }
}
