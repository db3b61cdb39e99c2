//! A layer's map, its weight packed once for all batches, the rows of each batch cut among threads.
//!
//! `cargo run -p samtone-gemm --example product`

use samtone_gemm::{Packed, Product, Rounding, View, instructions};

const INPUTS: usize = 96;
const OUTPUTS: usize = 160;

/// `x Wᵀ + b`, `[rows, INPUTS]` → `[rows, OUTPUTS]`, by some threads.
fn map(x: &[f32], weight: &Packed, bias: &[f32], threads: usize) -> Vec<f32> {
    let rows = x.len() / INPUTS;
    let mut y = vec![0.0; rows * OUTPUTS];
    let share = rows.div_ceil(threads);
    std::thread::scope(|scope| {
        let parts = x.chunks(share * INPUTS).zip(y.chunks_mut(share * OUTPUTS));
        for (x, y) in parts {
            let x = View::new(x, [x.len() / INPUTS, INPUTS], INPUTS);
            scope.spawn(move || Product::with(x, weight).write_onto(bias, y, OUTPUTS));
        }
    });
    y
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Those that the environment asks for, if the processor has them.
    instructions()?;
    let number = |i: usize| ((i * 7919) % 1000) as f32 / 500.0 - 1.0;
    let weight: Vec<f32> = (0..OUTPUTS * INPUTS).map(number).collect();
    let bias: Vec<f32> = (0..OUTPUTS).map(number).collect();
    // Rows are outputs: the product takes its transpose.
    let weight = View::new(&weight, [OUTPUTS, INPUTS], INPUTS);
    let packed = Packed::new(weight.t(), Rounding::None);
    for rows in [1, 7, 100] {
        let x: Vec<f32> = (0..rows * INPUTS).map(number).collect();
        let y = map(&x, &packed, &bias, 2);
        assert_eq!(y, map(&x, &packed, &bias, 1), "the cut changes nothing");
    }
    Ok(())
}

#[test]
fn the_cut_changes_nothing() -> Result<(), Box<dyn std::error::Error>> {
    main()
}
