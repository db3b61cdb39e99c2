//! Exact search over raw f32 files, once for each line on stdin; `benches/peers/search.py` drives it.
//!
//! `search QUERIES DOCUMENTS DIM K`: for each line, prints the seconds one search took; at the end
//! of the input, the indices found, one query a line.

use std::error::Error;
use std::io::{BufRead, Write};
use std::time::Instant;

use samtone_eval::search::{Similarity, top_k};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [queries, documents, dim, k] = arguments.as_slice() else {
        return Err("expected QUERIES DOCUMENTS DIM K".into());
    };
    let (queries, documents) = (std::fs::read(queries)?, std::fs::read(documents)?);
    let (queries, documents) = (bytemuck::cast_slice(&queries), bytemuck::cast_slice(&documents));
    let (dim, k) = (dim.parse()?, k.parse()?);
    let mut out = std::io::stdout().lock();
    let mut hits = Vec::new();
    for line in std::io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        hits = top_k(queries, documents, dim, k, Similarity::Dot)?;
        writeln!(out, "{}", start.elapsed().as_secs_f64())?;
        out.flush()?;
    }
    for hits in hits {
        let indices: Vec<String> = hits.iter().map(|hit| hit.index.to_string()).collect();
        writeln!(out, "{}", indices.join(" "))?;
    }
    Ok(())
}
