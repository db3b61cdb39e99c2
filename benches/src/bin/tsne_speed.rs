//! t-SNE of a raw f32 file, once for each line on stdin; `benches/peers/tsne.py` drives it.
//!
//! `tsne POINTS DIM [THETA]`: for each line, prints the seconds one projection took; at the end of the
//! input, the divergence in nats and the positions, one point a line.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use samtone_report::Tsne;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (points, dim, tsne) = match arguments.as_slice() {
        [points, dim] => (points, dim, Tsne::default()),
        [points, dim, theta] => (points, dim, Tsne { theta: theta.parse()?, ..Tsne::default() }),
        _ => return Err("expected POINTS DIM [THETA]".into()),
    };
    let bytes = std::fs::read(points)?;
    let (values, _) = bytes.as_chunks::<4>();
    let points: Vec<f32> = values.iter().copied().map(f32::from_le_bytes).collect();
    let dim = dim.parse()?;
    let mut out = std::io::stdout().lock();
    let mut projection = None;
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        projection = Some(tsne.project(&points, dim)?);
        writeln!(out, "{}", start.elapsed().as_secs_f64())?;
        out.flush()?;
    }
    if let Some(projection) = projection {
        writeln!(out, "{}", projection.kl_divergence)?;
        for (x, y) in projection.positions {
            writeln!(out, "{x} {y}")?;
        }
    }
    Ok(())
}
