//! Times the products of an encoder's layers by `samtone-gemm` and by the crate `gemm`, in turns,
//! and prints GFLOP/s: medians of as many rounds as the argument says (15).
//!
//! `tokens×in → out`, each by rows among all threads as the fused layers cut them: `forward` is
//! X·Wᵀ, `input` the gradient for X, `weight` that for W.
//!
//! Then by `samtone-gemm` alone, in f32, in bf16 and in eight bits: from and to bf16 but for f32,
//! with W packed before. Beside them, in the same turns, what AVX-512 does in f32 out of registers.
//!
//! `product_speed TOKENS INPUTS OUTPUTS TIMES` reads lines from stdin, `f32` or `bf16`, and answers
//! each with the seconds of `forward` in that precision, the mean of as many products;
//! `benches/peers/product.py` alternates it with PyTorch.

use std::io::{BufRead, stdin};
use std::time::Instant;

use half::bf16;
use rayon::prelude::*;
use samtone_gemm::{Packed, Product, Rounding, View};

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
    seconds.map(|mut seconds| work / median(&mut seconds))
}

/// Multiplications and additions of a thread, in billions, out of registers, and what they come to.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
fn multiply_in_registers() -> (f64, f32) {
    use std::arch::x86_64::{_mm512_fmadd_ps, _mm512_reduce_add_ps, _mm512_set1_ps};
    const REGISTERS: usize = 12;
    const TIMES: usize = 1_000_000;
    let factor = _mm512_set1_ps(std::hint::black_box(0.5));
    let mut sums = [factor; REGISTERS];
    for _ in 0..TIMES {
        for sum in &mut sums {
            *sum = _mm512_fmadd_ps(*sum, factor, factor);
        }
    }
    let sum = sums.into_iter().map(|sum| _mm512_reduce_add_ps(sum)).sum();
    ((2 * 16 * REGISTERS * TIMES) as f64 / 1e9, sum)
}

/// GFLOP/s of all threads out of registers, where there is AVX-512.
fn peak() -> Option<f64> {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        let start = Instant::now();
        let work: f64 = rayon::broadcast(|_| {
            #[expect(unsafe_code, reason = "it wants the instructions")]
            // SAFETY: they are there.
            let (work, sum) = unsafe { multiply_in_registers() };
            std::hint::black_box(sum);
            work
        })
        .into_iter()
        .sum();
        return Some(work / start.elapsed().as_secs_f64());
    }
    None
}

/// A row of the second table: rates of X·Wᵀ and of the gradient for W.
fn by_type(tokens: usize, inputs: usize, outputs: usize, rounds: usize) -> String {
    let (x, weight) = (numbers(tokens * inputs), numbers(outputs * inputs));
    let gradient = numbers(tokens * outputs);
    let halves = |values: &[f32]| values.iter().copied().map(bf16::from_f32).collect::<Vec<bf16>>();
    let (half_x, half_gradient) = (halves(&x), halves(&gradient));
    let of_weight = View::new(&weight, [outputs, inputs], inputs).t();
    let [plain, half, bytes] = [Rounding::None, Rounding::Bf16, Rounding::Int8]
        .map(|rounding| Packed::new(of_weight, rounding));
    let mut y = vec![0.0; tokens * outputs];
    let mut half_y = vec![bf16::ZERO; tokens * outputs];
    let mut weights = vec![0.0; outputs * inputs];
    let rows = chunk(tokens);
    let mut seconds = [const { Vec::new() }; 5];
    let mut peaks = Vec::new();
    for _ in 0..rounds {
        let mut time = |side: usize, work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            seconds[side].push(start.elapsed().as_secs_f64());
        };
        time(0, &mut || {
            y.par_chunks_mut(rows * outputs).enumerate().for_each(|(i, y)| {
                let n = y.len() / outputs;
                let x = View::new(&x[i * rows * inputs..], [n, inputs], inputs);
                Product::with(x, &plain).write(y, outputs);
            });
        });
        for (side, packed) in [(1, &half), (2, &bytes)] {
            time(side, &mut || {
                half_y.par_chunks_mut(rows * outputs).enumerate().for_each(|(i, y)| {
                    let n = y.len() / outputs;
                    let x = View::new(&half_x[i * rows * inputs..], [n, inputs], inputs);
                    Product::with(x, packed).write(y, outputs);
                });
            });
        }
        let rows = chunk(outputs);
        time(3, &mut || {
            weights.par_chunks_mut(rows * inputs).enumerate().for_each(|(i, target)| {
                let n = target.len() / inputs;
                let gradient = View::new(&gradient[i * rows..], [tokens, n], outputs).t();
                let x = View::new(&x, [tokens, inputs], inputs);
                Product::new(gradient, x).write(target, inputs);
            });
        });
        time(4, &mut || {
            weights.par_chunks_mut(rows * inputs).enumerate().for_each(|(i, target)| {
                let n = target.len() / inputs;
                let gradient = View::new(&half_gradient[i * rows..], [tokens, n], outputs).t();
                let x = View::new(&half_x, [tokens, inputs], inputs);
                Product::new(gradient, x).write(target, inputs);
            });
        });
        peaks.extend(peak());
    }
    let work = 2.0 * (tokens * inputs * outputs) as f64 / 1e9;
    let [plain, half, bytes, of_plain, of_half] =
        seconds.map(|mut seconds| format!("{:.0}", work / median(&mut seconds)));
    let peak = if peaks.is_empty() { "–".into() } else { format!("{:.0}", median(&mut peaks)) };
    format!("{plain} | {half} | {bytes} | {of_plain} / {of_half} | {peak}")
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
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
    println!();
    println!("| product | forward in f32 | bf16 | eight bits | weight: f32 / bf16 | registers |");
    println!("|---|---:|---:|---:|---:|---:|");
    for (tokens, inputs, outputs) in layers {
        let cells = by_type(tokens, inputs, outputs, rounds);
        println!("| {tokens}×{inputs} → {outputs} | {cells} |");
    }
}
