//! Tiles of scores on CubeCL: CUDA and WGPU from one source.
//!
//! The scores are a product of Burn's, on tensor cores where the device has them. Each operation
//! of [`crate::tile`] is then one kernel: scale, thresholds and exponentials stay in registers, the
//! tile is read once by [`extend`] for each reading and overwritten by [`weigh`] in place.

mod kernels;
mod run;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use run::{Operation, runner};

use crate::plan::Axis;
use crate::reading::{Reading, ScaledSum};

/// Whether the kernels take scores of type `dtype` on `B`.
pub(crate) fn runs_on<B: Backend>(dtype: DType) -> bool {
    dtype == DType::F32 && runner::<B>().is_some()
}

fn run<B: Backend, const N: usize>(
    operation: Operation,
    inputs: Vec<Tensor<B, 2>>,
) -> [Tensor<B, 2>; N] {
    let run = runner::<B>().expect("`runs_on` was asked");
    let outputs = run(operation, inputs);
    outputs.try_into().expect("an operation has a fixed number of outputs")
}

/// [`crate::tile::hide`].
pub(crate) fn hide<B: Backend>(scores: Tensor<B, 2>, places: Vec<u32>) -> Tensor<B, 2> {
    let [hidden] = run(Operation::Hide { places }, vec![scores]);
    hidden
}

/// [`crate::tile::extend`].
pub(crate) fn extend<B: Backend>(
    so_far: Option<ScaledSum<B>>,
    scores: &Tensor<B, 2>,
    reading: &Reading<'_, B>,
) -> ScaledSum<B> {
    let operation = Operation::Extend {
        by_rows: reading.axis == Axis::Rows,
        first_anchor: reading.anchors.start,
        scale: reading.scale as f32,
        extends: so_far.is_some(),
    };
    let mut inputs = vec![scores.clone()];
    inputs.extend(so_far.into_iter().flat_map(|so_far| [so_far.largest, so_far.sum]));
    inputs.extend(reading.thresholds.cloned());
    let [largest, sum] = run(operation, inputs);
    ScaledSum { largest, sum }
}

/// [`crate::tile::weigh`].
pub(crate) fn weigh<B: Backend>(
    scores: Tensor<B, 2>,
    terms: Vec<(Reading<'_, B>, &Tensor<B, 2>)>,
) -> Tensor<B, 2> {
    let first = |axis| {
        let reading = terms.iter().find(|(reading, _)| reading.axis == axis);
        reading.map_or(0, |(reading, _)| reading.anchors.start)
    };
    let operation = Operation::Weigh {
        by_rows: terms.iter().map(|(reading, _)| reading.axis == Axis::Rows).collect(),
        scales: terms.iter().map(|(reading, _)| reading.scale as f32).collect(),
        first_anchors: [first(Axis::Rows), first(Axis::Columns)],
    };
    let mut inputs = vec![scores];
    inputs.extend(terms.iter().map(|(_, lambda)| (*lambda).clone()));
    inputs.extend(terms.first().and_then(|(reading, _)| reading.thresholds).cloned());
    let [weights] = run(operation, inputs);
    weights
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use burn_cubecl::CubeBackend;
    use burn_fusion::Fusion;
    use cubecl::wgpu::WgpuRuntime;

    use super::*;

    type Unfused = CubeBackend<WgpuRuntime, f32, i32, u32>;

    fn hides_in_a_copy<B: Backend>() {
        let scores = Tensor::<B, 2>::ones([2, 3], &B::Device::default());
        let hidden = hide(scores.clone(), vec![4]);
        let values = |x: Tensor<B, 2>| x.into_data().to_vec::<f32>().expect("f32");
        assert_eq!(values(scores), [1.0; 6]);
        assert_eq!(values(hidden), [1.0, 1.0, 1.0, 1.0, -1e30, 1.0]);
    }

    #[test]
    fn a_tile_that_is_still_read_is_not_overwritten() {
        hides_in_a_copy::<Unfused>();
        hides_in_a_copy::<Fusion<Unfused>>();
    }
}
