//! Times the products of an encoder's layers by `samtone-gemm` and by the crate `gemm`, in turns,
//! and prints GFLOP/s: medians of as many rounds as the argument says (15).
//!
//! `tokens×in → out`, each by rows among all threads as the fused layers cut them: `forward` is
//! X·Wᵀ, `input` the gradient for X, `weight` that for W.
//!
//! `product_speed TOKENS INPUTS OUTPUTS TIMES` reads lines from stdin, `f32` or `bf16`, and answers
//! each with the seconds of `forward` in that precision, the mean of as many products;
//! `benches/peers/product.py` alternates it with PyTorch.

use std::io::{BufRead, stdin};
use std::time::Instant;

use rayon::prelude::*;
use samtone_gemm::{Product, View};

/// Rows of a chunk, as the fused layers cut them.
fn chunk(rows: usize) -> usize {
    let threads = rayon::current_num_threads();
    let rounds = rows.div_ceil(threads * 512).max(1);
    rows.div_ceil(threads * rounds).next_multiple_of(16).max(32)
}

fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919) % 1000) as f32 / 500.0 - 1.0).collect()
}

/// A matrix, row-major or the transpose of one.
#[derive(Clone, Copy)]
struct Matrix<'a> {
    values: &'a [f32],
    shape: [usize; 2],
    transposed: bool,
}

impl<'a> Matrix<'a> {
    fn view(self) -> View<'a> {
        let [rows, columns] = self.shape;
        if self.transposed {
            View::new(self.values, [columns, rows], rows).t()
        } else {
            View::new(self.values, [rows, columns], columns)
        }
    }

    /// Strides of rows and columns.
    fn strides(self) -> [isize; 2] {
        let [rows, columns] = self.shape.map(|size| size as isize);
        if self.transposed { [1, rows] } else { [columns, 1] }
    }
}

fn ours(target: &mut [f32], left: Matrix<'_>, right: Matrix<'_>) {
    shared(target, left, right, false);
}

/// A product by rows among all threads, of factors rounded to bf16 if `is_half`.
fn shared(target: &mut [f32], left: Matrix<'_>, right: Matrix<'_>, is_half: bool) {
    let width = right.shape[1];
    let rows = chunk(left.shape[0]);
    target.par_chunks_mut(rows * width).enumerate().for_each(|(i, target)| {
        let left = left.view().rows(i * rows..i * rows + target.len() / width);
        let product = Product::new(left, right.view());
        let product = if is_half { product.in_bf16() } else { product };
        product.write(target, width);
    });
}

fn theirs(target: &mut [f32], left: Matrix<'_>, right: Matrix<'_>) {
    let ([_, depth], width) = (left.shape, right.shape[1]);
    let rows = chunk(left.shape[0]);
    let ([row, step], [right_row, right_step]) = (left.strides(), right.strides());
    target.par_chunks_mut(rows * width).enumerate().for_each(|(i, target)| {
        let m = target.len() / width;
        #[expect(unsafe_code, reason = "it takes pointers")]
        // SAFETY: the matrices hold their shapes, the target `m` rows.
        unsafe {
            let from = left.values.as_ptr().offset((i * rows) as isize * row);
            gemm::gemm(
                m,
                width,
                depth,
                target.as_mut_ptr(),
                1,
                width as isize,
                false,
                from,
                step,
                row,
                right.values.as_ptr(),
                right_step,
                right_row,
                1.0,
                1.0,
                false,
                false,
                false,
                gemm::Parallelism::None,
            );
        }
    });
}

type Side = fn(&mut [f32], Matrix<'_>, Matrix<'_>);

/// GFLOP/s of both sides: medians.
fn rates(left: Matrix<'_>, right: Matrix<'_>, rounds: usize) -> [f64; 2] {
    let ([rows, depth], columns) = (left.shape, right.shape[1]);
    let mut target = vec![0.0; rows * columns];
    let terms = rows * columns * depth;
    let work = 2.0 * terms as f64 / 1e9;
    // Small products many times.
    let times = 10_000_000_usize.div_ceil(terms);
    let mut seconds = [vec![], vec![]];
    for _ in 0..rounds {
        for (side, seconds) in [ours as Side, theirs].into_iter().zip(&mut seconds) {
            let start = Instant::now();
            for _ in 0..times {
                side(&mut target, left, right);
            }
            seconds.push(start.elapsed().as_secs_f64() / times as f64);
        }
    }
    seconds.map(|mut seconds| {
        seconds.sort_by(f64::total_cmp);
        work / seconds[rounds / 2]
    })
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Result<Vec<usize>, _> = std::env::args().skip(1).map(|n| n.parse()).collect();
    match *arguments? {
        [] => table(15),
        [rounds] => table(rounds),
        [tokens, inputs, outputs, times] => answer([tokens, inputs, outputs], times)?,
        _ => return Err("expected nothing, ROUNDS, or TOKENS INPUTS OUTPUTS TIMES".into()),
    }
    Ok(())
}

/// Times what each line of stdin asks for.
#[expect(clippy::print_stdout, reason = "the answers are its purpose")]
fn answer(
    [tokens, inputs, outputs]: [usize; 3],
    times: usize,
) -> Result<(), Box<dyn std::error::Error>> {
    let (x, weight) = (numbers(tokens * inputs), numbers(outputs * inputs));
    let left = Matrix { values: &x, shape: [tokens, inputs], transposed: false };
    let right = Matrix { values: &weight, shape: [inputs, outputs], transposed: true };
    let mut target = vec![0.0; tokens * outputs];
    for line in stdin().lock().lines() {
        let start = Instant::now();
        for _ in 0..times {
            match line.as_deref() {
                Ok("f32") => shared(&mut target, left, right, false),
                Ok("bf16") => shared(&mut target, left, right, true),
                _ => return Err("expected f32 or bf16".into()),
            }
        }
        println!("{}", start.elapsed().as_secs_f64() / times as f64);
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the answers are its purpose")]
fn table(rounds: usize) {
    println!("| product | forward: samtone-gemm / gemm | input | weight |");
    println!("|---|---:|---:|---:|");
    let layers = [
        (2048, 384, 384),
        (2048, 384, 1536),
        (2048, 1536, 384),
        (1024, 768, 768),
        (1024, 768, 3072),
        (1024, 3072, 768),
        (512, 1024, 3072),
        (512, 3072, 1024),
        (16, 384, 1536),
    ];
    for (tokens, inputs, outputs) in layers {
        let (x, weight) = (numbers(tokens * inputs), numbers(outputs * inputs));
        let gradient = numbers(tokens * outputs);
        let matrix = |values, shape, transposed| Matrix { values, shape, transposed };
        let products = [
            (matrix(&x, [tokens, inputs], false), matrix(&weight, [inputs, outputs], true)),
            (
                matrix(&gradient, [tokens, outputs], false),
                matrix(&weight, [outputs, inputs], false),
            ),
            (matrix(&gradient, [outputs, tokens], true), matrix(&x, [tokens, inputs], false)),
        ];
        let cells = products.map(|(left, right)| {
            let [ours, theirs] = rates(left, right, rounds);
            format!("{ours:.0} / {theirs:.0}")
        });
        println!("| {tokens}×{inputs} → {outputs} | {} |", cells.join(" | "));
    }
}
