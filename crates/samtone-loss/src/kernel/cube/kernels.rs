//! The kernels. Sums are reduced in a fixed order, so a result does not change from run to run.

#![expect(
    clippy::trivially_copy_pass_by_ref,
    clippy::len_zero,
    reason = "the macro's expansion takes references, and a sequence has no `is_empty`"
)]

use cubecl::prelude::*;

use crate::rows;

/// Units of a cube along the columns of a tile, and [`DOWN`] along its rows. Neighbouring units have
/// neighbouring columns, so that memory is read by lines whichever axis the anchors lie on.
pub(super) const ACROSS: u32 = 32;
/// See [`ACROSS`].
pub(super) const DOWN: u32 = 8;

const HIDDEN: f32 = rows::HIDDEN as f32;
const LOWEST: f32 = f32::MIN;

/// Overwrites the scores at `places`, `row · columns + column`.
#[cube(launch)]
pub(super) fn hide(scores: &mut Tensor<f32>, places: &Array<u32>) {
    if ABSOLUTE_POS < places.len() {
        let columns = scores.shape(1);
        let place = places[ABSOLUTE_POS] as usize;
        let at = place / columns * scores.stride(0) + place % columns * scores.stride(1);
        scores[at] = f32::new(HIDDEN);
    }
}

/// The largest logit of each anchor and the sum of exponentials relative to it, over a tile and
/// `so_far`: none, or largest and sum.
///
/// A cube has some anchors of the tile, and for each several lanes that share its candidates.
#[cube(launch)]
pub(super) fn extend(
    scores: &Tensor<f32>,
    so_far: &Sequence<Tensor<f32>>,
    thresholds: &Sequence<Tensor<f32>>,
    largest: &mut Tensor<f32>,
    sum: &mut Tensor<f32>,
    first_anchor: usize,
    scale: f32,
    #[comptime] by_rows: bool,
) {
    let lanes = comptime!((if by_rows { ACROSS } else { DOWN }) as usize);
    let anchors = comptime!((if by_rows { DOWN } else { ACROSS }) as usize);
    let anchor_axis = comptime!(usize::from(!by_rows));
    let candidate_axis = comptime!(1 - anchor_axis);
    let lane = if comptime!(by_rows) { UNIT_POS_X as usize } else { UNIT_POS_Y as usize };
    let slot = if comptime!(by_rows) { UNIT_POS_Y as usize } else { UNIT_POS_X as usize };
    let anchor = CUBE_POS_X as usize * anchors + slot;
    let is_anchor = anchor < scores.shape(anchor_axis);

    let mut most = f32::new(LOWEST);
    let mut total = f32::new(0.0);
    if is_anchor {
        let start = anchor * scores.stride(anchor_axis);
        for candidate in range_stepped(lane, scores.shape(candidate_axis), lanes) {
            let score = scores[start + candidate * scores.stride(candidate_axis)];
            let logit = visible(score, thresholds, first_anchor + anchor) * scale;
            // One of the two exponentials of the online sum is always e^0.
            let smaller = (-(logit - most).abs()).exp();
            if logit > most {
                total = total * smaller + 1.0;
                most = logit;
            } else {
                total += smaller;
            }
        }
    }

    let mut most_of = SharedMemory::<f32>::new(comptime!(lanes * anchors));
    let mut total_of = SharedMemory::<f32>::new(comptime!(lanes * anchors));
    let here = slot * lanes + lane;
    most_of[here] = most;
    total_of[here] = total;
    let mut half = comptime!(lanes / 2).runtime();
    while half > 0 {
        sync_cube();
        if lane < half {
            let there = here + half;
            let top = most_of[here].max(most_of[there]);
            total_of[here] = total_of[here] * (most_of[here] - top).exp()
                + total_of[there] * (most_of[there] - top).exp();
            most_of[here] = top;
        }
        half /= 2;
    }

    if is_anchor && lane == 0 {
        let mut top = most_of[here];
        let mut all = total_of[here];
        if comptime!(so_far.len() > 0) {
            let before = so_far.index(0usize)[anchor * so_far.index(0usize).stride(0)];
            let sum_before = so_far.index(1usize)[anchor * so_far.index(1usize).stride(0)];
            let most = top.max(before);
            all = all * (top - most).exp() + sum_before * (before - most).exp();
            top = most;
        }
        largest[anchor * largest.stride(0)] = top;
        sum[anchor * sum.stride(0)] = all;
    }
}

/// Turns each score into `Σ_t factor·e^(a_t·s - shift)`, with shift and factor of its anchor in
/// the columns of `lambdas`.
#[cube(launch)]
pub(super) fn weigh(
    scores: &mut Tensor<f32>,
    lambdas: &Sequence<Tensor<f32>>,
    scales: &Sequence<f32>,
    thresholds: &Sequence<Tensor<f32>>,
    first_row: usize,
    first_column: usize,
    #[comptime] by_rows: Vec<bool>,
) {
    let row = ABSOLUTE_POS_Y as usize;
    let column = ABSOLUTE_POS_X as usize;
    if row < scores.shape(0) && column < scores.shape(1) {
        let at = row * scores.stride(0) + column * scores.stride(1);
        let score = scores[at];
        let mut weight = f32::new(0.0);
        #[unroll]
        for term in 0..lambdas.len() {
            let by_rows = comptime!(by_rows[term]);
            let anchor = if comptime!(by_rows) { first_row + row } else { first_column + column };
            let lambda = lambdas.index(term);
            let here = anchor * lambda.stride(0);
            let logit = visible(score, thresholds, anchor) * *scales.index(term);
            weight += (logit - lambda[here]).exp() * lambda[here + lambda.stride(1)];
        }
        scores[at] = weight;
    }
}

/// The score, or one out of sight where it is above the threshold of its anchor.
#[cube]
fn visible(score: f32, thresholds: &Sequence<Tensor<f32>>, anchor: usize) -> f32 {
    let mut seen = score;
    if comptime!(thresholds.len() > 0) {
        let threshold = thresholds.index(0usize);
        if score > threshold[anchor * threshold.stride(0)] {
            seen = f32::new(HIDDEN);
        }
    }
    seen
}
