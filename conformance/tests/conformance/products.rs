//! Matrix products, whatever the number of terms in a sum.
//!
//! A device reads the terms in stages. CubeCL's kernels that read two stages ahead summed one that was
//! not there where the stages were odd in number, so that a product was wrong by what lay behind.

use burn::backend::Flex;
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor};
use samtone_testing::tensor;

use crate::conforms;

conforms! {
    a_product_is_right_at_every_length_of_its_sums
}

mod check {
    use super::*;

    pub(super) fn a_product_is_right_at_every_length_of_its_sums<B: AutodiffBackend>() {
        // Parts of a stage, and stages of 8, 16 and 32 terms in odd and in even numbers.
        for length in [1, 5, 8, 16, 24, 32, 64, 72, 96, 104, 160] {
            let found = products::<B::InnerBackend>(length);
            for (found, expected) in found.into_iter().zip(products::<Flex>(length)) {
                assert!(found == expected, "sums of {length} terms");
            }
        }
    }

    /// `A·B`, `A·Bᵀ` and `Aᵀ·B` of small whole numbers, with `length` terms in a sum: exact in every
    /// float type that a product may be computed in.
    fn products<B: Backend>(length: usize) -> [Vec<f32>; 3] {
        let (rows, columns) = (1030, 270);
        let matrix = |rows: usize, columns: usize, salt: usize| {
            let numbers: Vec<f64> =
                (0..rows * columns).map(|i| ((i * i * 31 + i * salt) % 11) as f64 - 5.0).collect();
            tensor::<B, 2>(&numbers, [rows, columns], DType::F32)
        };
        let values = |x: Tensor<B, 2>| x.into_data().to_vec::<f32>().expect("f32");
        [
            matrix(rows, length, 7).matmul(matrix(length, columns, 13)),
            matrix(rows, length, 7).matmul(matrix(columns, length, 13).transpose()),
            matrix(length, rows, 7).transpose().matmul(matrix(length, columns, 13)),
        ]
        .map(values)
    }
}
