//! Inputs at the edge of what numbers can hold, and inputs beyond it.

use burn::backend::{Autodiff, Flex, NdArray};
use burn::tensor::{DType, Tensor};
use samtone_loss::{
    Batch, Embeddings, Input, LossConfig, LossError, Preset, Relations, Temperature,
};
use samtone_testing::loss::{Found, Host, by_streaming, resolve};
use samtone_testing::{error, norm, values};

use crate::host::{
    HALF_ROUNDING, Tolerance, assert_close, by_definition, random, rounding, temperature, tracked,
};

/// Every preset on the fast and the portable path and in the definition.
fn everywhere(at: &Host, tau: f64, check: impl Fn(&str, &Found)) {
    for preset in Preset::ALL {
        let loss = LossConfig::preset(preset).resolve().unwrap();
        let tau = temperature(tau);
        for dtype in [DType::F32, DType::F64] {
            let how = |path: &str| format!("{preset}, {path}, {dtype:?}");
            check(&how("flex"), &by_streaming::<Flex>(&loss, at, tau, dtype));
            check(&how("ndarray"), &by_streaming::<NdArray>(&loss, at, tau, dtype));
            check(&how("definition"), &by_definition::<Flex>(&loss, at, tau, dtype));
        }
    }
}

fn assert_finite(how: &str, outcome: &Found) {
    let Found { loss, per_row, queries, documents, hard, log_temperature } = outcome;
    for values in [per_row, queries, documents, hard, &vec![*loss, *log_temperature]] {
        assert!(values.iter().all(|value| value.is_finite()), "{how}: {outcome:?}");
    }
}

#[test]
fn zero_vectors_score_zero_and_get_no_gradient() {
    let mut at = random(4, 5, 1, 1);
    at.queries[..5].fill(0.0);
    at.documents[5..10].fill(0.0);
    at.hard[10..15].fill(0.0);
    everywhere(&at, 0.05, |how, outcome| {
        assert_finite(how, outcome);
        let zero = [&outcome.queries[..5], &outcome.documents[5..10], &outcome.hard[10..15]];
        for row in zero {
            assert!(row.iter().all(|&value| value == 0.0), "{how}: {row:?}");
        }
    });
    everywhere(
        &Host { queries: vec![0.0; 20], documents: vec![0.0; 20], ..at },
        0.05,
        assert_finite,
    );
}

#[test]
fn long_and_short_vectors_have_their_direction() {
    let at = random(6, 5, 1, 2);
    for factor in [1e25, 1e-10] {
        let mut scaled = at.clone();
        scaled.queries.iter_mut().for_each(|value| *value *= factor);
        for preset in [Preset::Samtone, Preset::Gte] {
            let loss = LossConfig::preset(preset).resolve().unwrap();
            let tau = temperature(0.1);
            let expected = by_streaming::<NdArray>(&loss, &at, tau, DType::F64);
            for dtype in [DType::F32, DType::F64] {
                for mut got in [
                    by_streaming::<Flex>(&loss, &scaled, tau, dtype),
                    by_streaming::<NdArray>(&loss, &scaled, tau, dtype),
                    by_definition::<NdArray>(&loss, &scaled, tau, dtype),
                ] {
                    got.queries.iter_mut().for_each(|value| *value *= factor);
                    let how = format!("{preset} times {factor}, {dtype:?}");
                    let tolerance = Tolerance { share: rounding(dtype), ..Tolerance::F32 };
                    assert_close(&how, &got, &expected, tolerance);
                }
            }
        }
    }
}

#[test]
fn a_tiny_temperature_stays_finite() {
    everywhere(&random(7, 4, 2, 3), 0.001, assert_finite);
}

#[test]
fn scores_of_exactly_one_stay_finite() {
    let mut at = random(4, 2, 1, 4);
    at.queries = vec![1.0, 0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 1.0];
    at.documents = vec![1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0, 1.0];
    at.hard = at.documents.clone();
    for tau in [0.05, 0.01, 0.001] {
        everywhere(&at, tau, assert_finite);
    }
}

#[test]
fn a_single_pair_without_negatives_has_no_loss() {
    let at = random(1, 3, 0, 5);
    for preset in [Preset::Samtone, Preset::InBatch, Preset::Gecko, Preset::T5x] {
        let loss = LossConfig::preset(preset).resolve().unwrap();
        for dtype in [DType::F32, DType::F64] {
            let outcome = by_streaming::<Flex>(&loss, &at, loss.temperature(), dtype);
            let zero = rounding(dtype);
            assert!(outcome.loss.abs() < zero, "{preset}: {}", outcome.loss);
            assert!(norm(&outcome.queries) < zero, "{preset}");
        }
    }
}

#[test]
fn half_precision_is_computed_in_single_precision() {
    let at = random(12, 8, 1, 6);
    let loss = LossConfig::default().resolve().unwrap();
    for dtype in [DType::BF16, DType::F16] {
        let batch = at.batch::<Flex>(dtype);
        let result = loss.value_and_gradients(&batch, temperature(0.05)).unwrap();
        let gradient = result.embeddings.queries;
        assert_eq!(gradient.dtype(), dtype, "gradients have the type of the embeddings");
        assert_eq!(result.per_row.dtype(), DType::F32);
        let Embeddings { queries, documents, hard_negatives } = batch.embeddings;
        let rounded = Host {
            queries: values(queries),
            documents: values(documents),
            hard: values(hard_negatives.unwrap()),
            ..at.clone()
        };
        let expected = by_definition::<NdArray>(&loss, &rounded, temperature(0.05), DType::F64);
        assert!((result.loss - expected.loss).abs() < rounding(DType::F32) * expected.loss);
        let error = error(&values(gradient), &expected.queries, 0.0);
        assert!(error < HALF_ROUNDING, "rounded once, at the end: {error:e}");
    }
}

#[test]
fn what_is_not_finite_is_named() {
    let clean = random(5, 3, 2, 7);
    type Break = fn(&mut Host, f64);
    let places: [(Input, usize, Break); 3] = [
        (Input::Queries, 2, |at, bad| at.queries[7] = bad),
        (Input::Documents, 4, |at, bad| at.documents[12] = bad),
        (Input::HardNegatives, 1, |at, bad| at.hard[11] = bad),
    ];
    for (what, row, place) in places {
        for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            let mut at = clean.clone();
            place(&mut at, bad);
            for similarity in ["cosine", "dot"] {
                let config = format!("preset = 'samtone'\nsimilarity = '{similarity}'");
                let loss = resolve(&config);
                let expected = LossError::NonFinite { what, row };
                for dtype in [DType::F32, DType::F64] {
                    let tau = loss.temperature();
                    let flex = loss.value_and_gradients(&at.batch::<Flex>(dtype), tau);
                    let ndarray = loss.value_and_gradients(&at.batch::<NdArray>(dtype), tau);
                    // Flex in f32 counts rows of embeddings, the others too: one row of the batch.
                    assert_eq!(flex.unwrap_err(), expected, "flex, {dtype:?}, {similarity}");
                    assert_eq!(ndarray.unwrap_err(), expected, "ndarray, {dtype:?}, {similarity}");
                }
            }
        }
    }
}

#[test]
fn scores_that_overflow_are_reported() {
    let mut at = random(3, 2, 0, 8);
    at.queries[2..4].fill(1e30);
    at.documents[2..4].fill(1e30);
    let loss = resolve("similarity = 'dot'");
    let flex = loss.value_and_gradients(&at.batch::<Flex>(DType::F32), loss.temperature());
    let ndarray = loss.value_and_gradients(&at.batch::<NdArray>(DType::F32), loss.temperature());
    assert!(matches!(flex, Err(LossError::Overflow { .. })), "{flex:?}");
    assert!(matches!(ndarray, Err(LossError::Overflow { .. })), "{ndarray:?}");
}

#[test]
fn lists_that_do_not_fit_the_batch_are_refused() {
    let clean = random(3, 2, 1, 9);
    let loss = LossConfig::default().resolve().unwrap();
    let refuse = |at: Host, expected: LossError| {
        let result = loss.value_and_gradients(&at.batch::<Flex>(DType::F32), loss.temperature());
        assert_eq!(result.unwrap_err(), expected);
    };
    let with = |relations: Relations| Host { relations, ..clean.clone() };
    refuse(
        with(Relations { query_ids: Some(vec![1, 2]), ..Relations::default() }),
        LossError::Length { what: "query_ids", expected: 3, got: 2 },
    );
    refuse(
        with(Relations { hard_negative_ids: Some(vec![1]), ..Relations::default() }),
        LossError::Length { what: "hard_negative_ids", expected: 3, got: 1 },
    );
    refuse(
        with(Relations { known: vec![(0, 1), (2, 3)], ..Relations::default() }),
        LossError::KnownRow { index: 1, row: 3, rows: 3 },
    );
    let weigh = |weights: Vec<f64>| Host { weights: Some(weights), ..clean.clone() };
    refuse(weigh(vec![1.0, -1.0, 1.0]), LossError::RowWeight { row: 1, got: -1.0 });
    refuse(weigh(vec![0.0; 3]), LossError::NoRowWeight);
    refuse(weigh(vec![1.0; 4]), LossError::Length { what: "weights", expected: 3, got: 4 });
}

#[test]
fn an_empty_batch_is_refused() {
    let empty = Tensor::<Flex, 2>::zeros([0, 4], &Default::default());
    let loss = LossConfig::default().resolve().unwrap();
    let result = loss.value_and_gradients(&Batch::new(empty.clone(), empty), loss.temperature());
    assert_eq!(result.unwrap_err(), LossError::EmptyBatch { rows: 0, dim: 4 });
}

/// The tracked form has the value and the gradients of the untracked one, ln τ included.
#[test]
fn autodiff_receives_the_streaming_gradients() {
    let at = random(6, 4, 2, 10);
    let loss = LossConfig::preset(Preset::Samtone).resolve().unwrap();
    for dtype in [DType::F64, DType::F32, DType::BF16] {
        let device = Default::default();
        let batch = tracked::<Flex>(&at, dtype);
        let log = Tensor::<Autodiff<Flex>, 1>::from_data([0.1_f32.ln()], (&device, dtype));
        let log = log.require_grad();
        let value = loss.forward_learned(&batch, &log).unwrap();
        let tau = Temperature::from_log(values(log.clone())[0]).unwrap();
        let expected = by_streaming::<Flex>(&loss, &at, tau, dtype);
        // A factor on the loss must reach every gradient.
        let gradients = (value.clone() * 2.0).backward();
        let Embeddings { queries, documents, hard_negatives } = batch.embeddings;
        let parts = [
            ("loss", values(value * 2.0), vec![expected.loss]),
            ("queries", values(queries.grad(&gradients).unwrap()), expected.queries),
            ("documents", values(documents.grad(&gradients).unwrap()), expected.documents),
            ("hard", values(hard_negatives.unwrap().grad(&gradients).unwrap()), expected.hard),
            ("ln τ", values(log.grad(&gradients).unwrap()), vec![expected.log_temperature]),
        ];
        for (what, got, expected) in parts {
            let expected: Vec<f64> = expected.iter().map(|number| 2.0 * number).collect();
            let error = error(&got, &expected, 0.0);
            assert!(error <= rounding(dtype), "{what}, {dtype:?}: {error:e}");
        }
    }
}
