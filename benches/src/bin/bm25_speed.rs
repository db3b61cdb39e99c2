//! BM25 over the lines of a file, once for each line on stdin; `benches/peers/bm25.py` drives it.
//!
//! `bm25_speed TEXTS QUERIES K K1 B [INDEX]`: prints the seconds that building took, or opening INDEX,
//! where it is kept; for each line, prints the seconds that all queries took; at the end of the input,
//! the most memory held, in bytes, and the indices found, one query a line.

use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::time::Instant;

use samtone_eval::bm25::{Analyzer, Bm25, Bm25Config};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (needed, index) = match arguments.as_slice() {
        [needed @ .., index] if needed.len() == 5 => (needed, Some(Path::new(index))),
        needed => (needed, None),
    };
    let [texts, queries, k, k1, b] = needed else {
        return Err("expected TEXTS QUERIES K K1 B [INDEX]".into());
    };
    let config = Bm25Config { k1: k1.parse()?, b: b.parse()?, ..Bm25Config::default() };
    let queries = fs::read_to_string(queries)?;
    let queries: Vec<&str> = queries.lines().collect();
    let k = k.parse()?;
    let mut out = io::stdout().lock();
    let start = Instant::now();
    let analyzer = Analyzer::default();
    let bm25 = match index {
        None => Bm25::build(lines(Path::new(texts))?, analyzer, config),
        Some(index) => Bm25::kept(index, Texts(Path::new(texts)), analyzer, config)?,
    };
    writeln!(out, "{}", start.elapsed().as_secs_f64())?;
    out.flush()?;
    let mut hits = Vec::new();
    for line in io::stdin().lock().lines() {
        line?;
        let start = Instant::now();
        hits = bm25.search_all(&queries, k);
        writeln!(out, "{}", start.elapsed().as_secs_f64())?;
        out.flush()?;
    }
    writeln!(out, "{}", peak_bytes()?)?;
    for hits in hits {
        let indices: Vec<String> = hits.iter().map(|hit| hit.index.to_string()).collect();
        writeln!(out, "{}", indices.join(" "))?;
    }
    Ok(())
}

/// The lines of a file, which are read as they are asked for.
fn lines(path: &Path) -> io::Result<impl Iterator<Item = String>> {
    Ok(BufReader::with_capacity(1 << 20, File::open(path)?)
        .lines()
        .map(|line| line.expect("a line of UTF-8")))
}

/// As [`lines`], for who reads them twice.
#[derive(Clone, Copy)]
struct Texts<'a>(&'a Path);

impl<'a> IntoIterator for Texts<'a> {
    type Item = String;
    type IntoIter = Box<dyn Iterator<Item = String> + 'a>;

    fn into_iter(self) -> Self::IntoIter {
        Box::new(lines(self.0).expect("the file is readable"))
    }
}

/// The most memory this process has held, in bytes (Linux).
fn peak_bytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kibibytes * 1024)
}
