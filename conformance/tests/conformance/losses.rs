//! Every loss with every mask, one tile and many, in every float type.

use burn::tensor::DType;
use burn::tensor::backend::{AutodiffBackend, Backend};
use samtone_loss::{Input, Loss, LossConfig, LossError, has_kernels};
use samtone_testing::assert_near;
use samtone_testing::loss::{Case, Found, Host, by_streaming, resolve};

use crate::cases::{hardness, large, many_tiles, presets};
use crate::{Tolerance, conforms, supported};

conforms! {
    the_whole_family_is_the_reference
    many_tiles_with_every_mask_are_one_truth
    every_preset_is_one_truth_at_any_tile_and_temperature
    hardness_is_one_truth_where_terms_share_a_matrix
    a_number_that_is_not_finite_is_found
    kernels_run_where_there_are_some
}

const FLOATS: [DType; 4] = [DType::F64, DType::F32, DType::F16, DType::BF16];

/// Compares `loss` on backend `B` with Flex in f64, in every float type.
fn compare<B: Backend>(what: &str, loss: &Loss, at: &Host, dtypes: &[DType]) {
    use burn::backend::Flex;
    // Where a gradient vanishes its rounding is that of the terms it is summed from.
    let floor = 1e-2;
    for &dtype in dtypes {
        let at = at.clone().rounded(dtype);
        let expected = by_streaming::<Flex>(loss, &at, loss.temperature(), DType::F64);
        let got = by_streaming::<B>(loss, &at, loss.temperature(), dtype);
        let tolerance = Tolerance::of(dtype);
        let what = format!("{what}, {dtype:?}");
        let value = |outcome: &Found| [&[outcome.loss], &outcome.per_row[..]].concat();
        assert_near(&what, &value(&got), &value(&expected), tolerance.loss, 1.0);
        let parts = got.parts().into_iter().zip(expected.parts());
        for ((name, got), (_, expected)) in parts.skip(2) {
            let what = format!("{what}, gradient of the {name}");
            // ln τ is no embedding: its gradient stays f64.
            let tolerance = if name == "ln τ" { Tolerance::of(DType::F32) } else { tolerance };
            assert_near(&what, got, expected, tolerance.gradient, floor);
        }
    }
}

mod check {
    use super::*;

    pub(super) fn the_whole_family_is_the_reference<B: AutodiffBackend>() {
        let dtypes = supported::<B::InnerBackend>(&FLOATS);
        for case in Case::all() {
            let (loss, at) = (resolve(&case.config), case.host());
            compare::<B::InnerBackend>(&case.name, &loss, &at, &dtypes);
            let tau = loss.temperature();
            let got = by_streaming::<B::InnerBackend>(&loss, &at, tau, DType::F32).loss;
            let expected = case.outcome().loss;
            assert_near(&case.name, &[got], &[expected], Tolerance::of(DType::F32).loss, 1.0);
        }
    }

    pub(super) fn many_tiles_with_every_mask_are_one_truth<B: AutodiffBackend>() {
        let dtypes = supported::<B::InnerBackend>(&[DType::F64, DType::F32]);
        let at = large();
        for (what, loss) in many_tiles() {
            compare::<B::InnerBackend>(&what, &loss, &at, &dtypes);
        }
    }

    pub(super) fn every_preset_is_one_truth_at_any_tile_and_temperature<B: AutodiffBackend>() {
        let at = large();
        for (what, loss) in presets() {
            compare::<B::InnerBackend>(&what, &loss, &at, &[DType::F32]);
        }
    }

    pub(super) fn hardness_is_one_truth_where_terms_share_a_matrix<B: AutodiffBackend>() {
        let at = large();
        for (what, loss) in hardness() {
            compare::<B::InnerBackend>(&what, &loss, &at, &[DType::F32]);
        }
    }

    pub(super) fn a_number_that_is_not_finite_is_found<B: AutodiffBackend>() {
        let loss = LossConfig::default().resolve().unwrap().with_tile(64);
        let check = |number: f64| {
            let mut at = large();
            at.documents[70 * at.dim] = number;
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
