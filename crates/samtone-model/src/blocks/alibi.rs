//! Attention with linear biases (Press et al. 2021, arXiv:2108.12409), looking both ways.

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor, TensorData};

/// The bias of every distance `key - query` from `1 - seq` up: minus the head's slope a token,
/// `[2 · seq - 1, heads]`.
pub(crate) fn distances<B: Backend>(
    heads: usize,
    seq: usize,
    device: (&B::Device, DType),
) -> Tensor<B, 2> {
    let slopes = slopes(heads);
    let rows = 2 * seq - 1;
    let values: Vec<f32> = (0..rows)
        .flat_map(|row| slopes.iter().map(move |slope| -slope * row.abs_diff(seq - 1) as f32))
        .collect();
    Tensor::from_data(TensorData::new(values, [rows, heads]), device)
}

/// The slope of each head: powers of `2^(-8/n)` for n heads, a power of two; for another number those
/// of the next lower one, then every second of the next higher one's.
fn slopes(heads: usize) -> Vec<f32> {
    let of_power = |n: usize| (1..=n).map(move |i| 2f64.powf(-8.0 * i as f64 / n as f64) as f32);
    if heads.is_power_of_two() {
        return of_power(heads).collect();
    }
    let above = heads.next_power_of_two();
    of_power(above / 2).chain(of_power(above).step_by(2)).take(heads).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_the_published_ones() {
        assert_eq!(slopes(4), [0.25, 0.0625, 0.015_625, 0.003_906_25]);
        assert_eq!(slopes(8)[0], 0.5);
        // Of 4, then 1st and 3rd of 8.
        assert_eq!(slopes(6), [0.25, 0.0625, 0.015_625, 0.003_906_25, 0.5, 0.125]);
    }
}
