//! How fast files are parsed and texts tokenised, and in how much memory.
//!
//! ```text
//! throughput parse FOLDER                       MB/s of each parser, on files made in FOLDER
//! throughput tokenize TOKENIZER TEXTS MAX_LEN   seconds to encode the lines of TEXTS, as JSON
//! throughput collection FOLDER LINES            imports and tokenises a collection made in FOLDER
//! ```

#![expect(clippy::print_stdout, reason = "results are what this is for")]

use std::error::Error;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use samtone_data::Fault;
use samtone_data::import::{
    Format, ImportOptions, columns, flag_embedding, import, pairs, tevatron,
};
use samtone_data::reading::{DocumentLine, JudgmentLine, Line, Lines, for_each_document};
use samtone_text::{Key, TextTokenizer, TokenCache};

type Result<T = ()> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["parse", folder] => parse(Path::new(folder)),
        ["tokenize", tokenizer, texts, max_len] => {
            tokenize(Path::new(tokenizer), Path::new(texts), max_len.parse()?)
        }
        ["collection", folder, lines] => collection(Path::new(folder), lines.parse()?),
        _ => Err("expected parse, tokenize or collection: see the head of this file".into()),
    }
}

/// `count` words of a vocabulary with a long tail.
fn words(key: Key, count: usize) -> String {
    let mut text = String::new();
    for i in 0..count as u64 {
        // The least of four uniform numbers: low ranks are frequent.
        let rank = (0..4).map(|draw| key.below(4 * i + draw, 30_000)).min().unwrap_or(0) as u64;
        let length = 2 + (Key::new(rank).below(0, 8));
        for letter in 0..length as u64 {
            text.push(char::from(b'a' + Key::new(rank).below(letter + 1, 26) as u8));
        }
        text.push(' ');
    }
    text.pop();
    text
}

/// Parses each kind of file; the median of seven passes over each.
fn parse(folder: &Path) -> Result {
    fs::create_dir_all(folder)?;
    let key = Key::new(1).child("throughput");
    let names = ["corpus", "pairs", "flag-embedding", "tevatron", "columns"];
    let paths = names.map(|name| folder.join(format!("{name}.jsonl")));
    let [corpus, pair_file, flag_file, tevatron_file, column_file] = &paths;
    let qrels = folder.join("qrels.tsv");
    let mut out = paths
        .iter()
        .chain([&qrels])
        .map(|path| File::create(path).map(BufWriter::new))
        .collect::<std::io::Result<Vec<_>>>()?;
    for i in 0..200_000_u64 {
        let text = words(key.at(i), 60);
        let (start, end) = (&text[..text.len() / 8], &text[text.len() / 2..]);
        // Every tenth text holds an escape: such a text must be copied.
        let escape = if i % 10 == 0 { "\\\"quoted\\\" " } else { "" };
        writeln!(out[0], r#"{{"_id": "d{i}", "title": "{start}", "text": "{escape}{text}"}}"#)?;
        writeln!(
            out[1],
            r#"{{"query": "{start}", "positive": "{text}", "negatives": ["{end}"]}}"#
        )?;
        writeln!(out[2], r#"{{"query": "{start}", "pos": ["{text}"], "neg": ["{end}"]}}"#)?;
        writeln!(
            out[3],
            r#"{{"query_id": "{i}", "query": "{start}", "positive_passages": [{{"docid": "d{i}", "title": "", "text": "{text}"}}], "negative_passages": [{{"docid": "n{i}", "title": "", "text": "{end}"}}]}}"#
        )?;
        writeln!(
            out[4],
            r#"{{"anchor": "{start}", "positive": "{escape}{text}", "negative": "{end}"}}"#
        )?;
        for grade in 0..5 {
            writeln!(out[5], "question-{}\tdocument-{i}-{grade}\t{grade}", i / 3)?;
        }
    }
    drop(out);
    time("corpus.jsonl", corpus, |line| DocumentLine::parse(line).map(|it| it.text.len()))?;
    time("pairs.jsonl", pair_file, |line| pairs::parse(line).map(|it| it.query.text.len()))?;
    time("flag-embedding.jsonl", flag_file, |line| {
        flag_embedding::parse(line).map(|it| it.query.text.len())
    })?;
    time("tevatron.jsonl", tevatron_file, |line| {
        tevatron::parse(line).map(|it| usize::from(matches!(it, tevatron::Record::Example(_))))
    })?;
    time("columns.jsonl", column_file, |line| columns::parse_json(line).map(|row| row.0.len()))?;
    time("qrels.tsv", &qrels, |line| {
        JudgmentLine::parse(line).map(|it| it.map_or(0, |judgment| judgment.query_id.len()))
    })
}

fn time(
    name: &str,
    path: &Path,
    parse: impl Fn(Line<'_>) -> std::result::Result<usize, Fault>,
) -> Result {
    let megabytes = fs::metadata(path)?.len() as f64 / 1e6;
    let mut rates = Vec::new();
    for _ in 0..7 {
        let start = Instant::now();
        let (mut lines, mut sum) = (Lines::open(path)?, 0);
        while let Some(line) = lines.next()? {
            sum += parse(line)?;
        }
        std::hint::black_box(sum);
        rates.push(megabytes / start.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    println!(
        "{name}: {megabytes:.0} MB, median {:.0} MB/s, best {:.0} MB/s on one thread",
        rates[3], rates[6]
    );
    Ok(())
}

fn tokenize(tokenizer: &Path, texts: &Path, max_len: usize) -> Result {
    let tokenizer = TextTokenizer::from_file(tokenizer)?;
    let text = fs::read_to_string(texts)?;
    let texts: Vec<&str> = text.lines().collect();
    let start = Instant::now();
    let tokens: usize = tokenizer.encode_batch(&texts, max_len)?.iter().map(Vec::len).sum();
    let seconds = start.elapsed().as_secs_f64();
    println!("{{\"seconds\": {seconds}, \"texts\": {}, \"tokens\": {tokens}}}", texts.len());
    Ok(())
}

/// Makes an MS MARCO collection, imports it, and tokenises what was imported, all in this process.
fn collection(folder: &Path, lines: u64) -> Result {
    fs::create_dir_all(folder)?;
    let key = Key::new(2).child("collection");
    let names = ["collection.tsv", "queries.train.tsv", "qrels.train.tsv"];
    let inputs: Vec<PathBuf> = names.iter().map(|name| folder.join(name)).collect();
    let mut out = inputs
        .iter()
        .map(|path| File::create(path).map(BufWriter::new))
        .collect::<std::io::Result<Vec<_>>>()?;
    // 5000 different texts in turn, told apart by their number: the generator is not what is measured.
    let texts: Vec<String> = (0..5000).map(|i| words(key.at(i), 56)).collect();
    for i in 0..lines {
        writeln!(out[0], "{i}\tpassage {i} {}", texts[(i % 5000) as usize])?;
        if i % 10 == 0 {
            writeln!(out[1], "{i}\t{}", &texts[(i % 5000) as usize][..40])?;
            writeln!(out[2], "{i}\t0\t{i}\t1")?;
        }
    }
    drop(out);
    let tokenizer = TextTokenizer::train_wordpiece(&texts, 30_000, true)?;
    println!("before: peak memory {} MB", peak_megabytes()?);

    let start = Instant::now();
    let imported = folder.join("imported");
    let report =
        import(Format::MsMarco, &inputs, &imported, &ImportOptions::default(), &mut |_| {})?;
    let seconds = start.elapsed().as_secs_f64();
    println!(
        "imported {} documents and {} queries in {seconds:.1} s: peak memory {} MB",
        report.documents,
        report.queries,
        peak_megabytes()?
    );

    let start = Instant::now();
    let cache = TokenCache::of_stream(&folder.join("cache"), &tokenizer, 128, |each| {
        for_each_document(&imported.join("corpus.jsonl"), |document, _| {
            each(&document.text);
            Ok(())
        })
    })?;
    let tokens: usize = (0..cache.len()).map(|row| cache.row_len(row)).sum();
    println!(
        "tokenised {} texts to {tokens} tokens in {:.1} s: peak memory {} MB",
        cache.len(),
        start.elapsed().as_secs_f64(),
        peak_megabytes()?
    );
    Ok(())
}

/// The most memory this process has held, in MB of 1,000,000 bytes (Linux).
fn peak_megabytes() -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
    let kibibytes: u64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
    Ok(kibibytes * 1024 / 1_000_000)
}
