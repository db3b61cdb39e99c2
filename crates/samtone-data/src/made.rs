//! A made collection in MS MARCO's files and of its size, for what must be tried at that size.
//!
//! Its texts mean nothing: words are drawn as often as Zipf's law says, the most frequent being English
//! function words. What makes it a retrieval problem is that passages have topics: about a fifth of a
//! passage's words are the rare ones of its topic, which 16 passages across the collection share. A query
//! is words of the passage that answers it; its hard negatives are other passages of the topic. One
//! passage in 1,000 repeats another of its topic word for word, one nearly.
//!
//! Every line is a pure function of the seed and its number, so that files are written as they are made.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

use rayon::prelude::*;
use samtone_text::Key;

use crate::error::DataError;

/// The collection of a seed and a size.
///
/// # Examples
///
/// ```
/// use samtone_data::import::{Format, ImportOptions, import};
/// use samtone_data::made::Collection;
///
/// let folder = tempfile::tempdir()?;
/// let raw = folder.path().join("raw");
/// Collection::new(0, 0.0001).write(&raw)?;
/// let inputs = Collection::FILES.map(|name| raw.join(name));
/// let out = folder.path().join("marco");
/// let report = import(Format::MsMarco, &inputs, &out, &ImportOptions::default(), &mut |_| {})?;
/// assert_eq!((report.documents, report.judgments["dev"]), (884, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Collection {
    key: Key,
    passages: u64,
    train: u64,
    dev: u64,
}

/// MS MARCO's passages, training queries with a judgment, and small dev set.
const PASSAGES: u64 = 8_841_823;
const TRAIN: u64 = 502_939;
const DEV: u64 = 6980;

/// Passages of a topic; all but the one that answers may be negatives.
const SIBLINGS: u64 = 16;
/// Hard negatives of a training query.
const NEGATIVES: u64 = 7;
/// Rare words of a topic.
const TOPIC: usize = 12;
/// Words that are not function words.
const VOCABULARY: f64 = 3e6;
/// Ids of dev queries start here, if there are no more training queries.
const DEV_IDS: u64 = 1_000_000;
/// Lines that a thread makes at a time.
const CHUNK: u64 = 4096;

/// The most frequent words, in their order.
const FUNCTION_WORDS: [&str; 32] = [
    "the", "of", "and", "to", "a", "in", "is", "for", "or", "that", "are", "it", "on", "with",
    "as", "be", "by", "this", "from", "can", "at", "an", "you", "your", "what", "how", "was",
    "not", "have", "if", "which", "will",
];

impl Collection {
    /// The files that [`write`](Self::write) makes: passages, queries, judgments of the splits `train` and
    /// `dev`, and the training queries' triples by id.
    pub const FILES: [&str; 6] = [
        "collection.tsv",
        "queries.train.tsv",
        "queries.dev.tsv",
        "qrels.train.tsv",
        "qrels.dev.tsv",
        "qidpidtriples.train.tsv",
    ];

    /// `scale` times MS MARCO's passages (8,841,823), training queries (502,939) and dev queries (6,980),
    /// but no fewer than two topics and a query each.
    ///
    /// # Panics
    /// If `scale` is not in `(0, 100]`.
    #[expect(clippy::cast_sign_loss, reason = "a scale is above 0")]
    pub fn new(seed: u64, scale: f64) -> Self {
        assert!(scale > 0.0 && scale <= 100.0, "a scale is above 0 and at most 100, not {scale}");
        let of = |size: u64| (size as f64 * scale).round() as u64;
        Self {
            key: Key::new(seed).child("made"),
            passages: of(PASSAGES).max(2 * SIBLINGS),
            train: of(TRAIN).max(1),
            dev: of(DEV).max(1),
        }
    }

    /// How many passages there are.
    pub fn passages(&self) -> u64 {
        self.passages
    }

    /// Writes [`FILES`](Self::FILES) into the folder `dir`, which appears whole or not at all.
    ///
    /// # Errors
    /// If the folder exists, or a file cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), DataError> {
        if dir.exists() {
            return Err(DataError::Exists { path: dir.to_owned() });
        }
        let written = samtone_files::write_folder(dir, |dir| {
            let [passages, train, dev, train_qrels, dev_qrels, triples] =
                Self::FILES.map(|name| dir.join(name));
            let (train_queries, dev_queries) = (0..self.train, self.dev_ids());
            let text = |query: u64| format!("{query}\t{}\n", self.query(query));
            let judgment = |query: u64| format!("{query}\t0\t{}\t1\n", self.answer(query));
            write_lines(&passages, 0..self.passages, |i| format!("{i}\t{}\n", self.passage(i)))?;
            write_lines(&train, train_queries.clone(), text)?;
            write_lines(&dev, dev_queries.clone(), text)?;
            write_lines(&train_qrels, train_queries.clone(), judgment)?;
            write_lines(&dev_qrels, dev_queries, judgment)?;
            write_lines(&triples, train_queries, |query| self.triples(query))
        });
        written.map_err(DataError::writing(dir))
    }

    /// Those of the dev queries, above all training queries'.
    fn dev_ids(&self) -> Range<u64> {
        let first = DEV_IDS.max(self.train);
        first..first + self.dev
    }

    fn topics(&self) -> u64 {
        self.passages.div_ceil(SIBLINGS)
    }

    /// The words of a passage.
    fn words(&self, passage: u64) -> Vec<u64> {
        let (topics, key) = (self.topics(), self.key.child("passage"));
        let (source, is_near) = match passage % 1000 {
            // The next passage of the topic, or the one before: a copy, and nearly one.
            250 => (self.sibling(passage, 1), false),
            750 => (self.sibling(passage, 1), true),
            _ => (passage, false),
        };
        let topic = self.key.child("topic").at(source % topics);
        let key = key.at(source);
        let mut words: Vec<u64> = (0..30 + key.below(0, 53) as u64)
            .map(|place| {
                let draw = key.at(place);
                if draw.below(0, 5) == 0 {
                    // Of a topic's words, the rank is uniform in its logarithm above the frequent ones.
                    rank(0.4 + 0.6 * topic.unit(draw.below(1, TOPIC) as u64))
                } else {
                    rank(draw.unit(1))
                }
            })
            .collect();
        if is_near {
            words[0] = rank(key.unit(1));
        }
        words
    }

    fn passage(&self, passage: u64) -> String {
        text(self.words(passage))
    }

    /// Another passage of the topic.
    fn sibling(&self, passage: u64, step: u64) -> u64 {
        let topics = self.topics();
        let topic = passage % topics;
        let count = (self.passages - topic).div_ceil(topics);
        topic + (passage / topics + step) % count * topics
    }

    /// The passage that answers a query.
    fn answer(&self, query: u64) -> u64 {
        self.key.child("answer").at(query).below(0, self.passages as usize) as u64
    }

    /// A query: some words of the passage that answers it.
    fn query(&self, query: u64) -> String {
        let key = self.key.child("query").at(query);
        let words = self.words(self.answer(query));
        let count = 3 + key.below(0, 7) as u64;
        text((1..=count).map(|place| words[key.below(place, words.len())]).collect())
    }

    /// A training query's triples: query, positive, negative.
    fn triples(&self, query: u64) -> String {
        let positive = self.answer(query);
        let mut lines = String::new();
        for step in 1..=NEGATIVES {
            lines.push_str(&format!("{query}\t{positive}\t{}\n", self.sibling(positive, step)));
        }
        lines
    }
}

/// The rank of a word, the most frequent being 0, of a uniform number: r about as often as 1/r.
#[expect(clippy::cast_sign_loss, reason = "a power of a positive number is positive")]
fn rank(unit: f64) -> u64 {
    VOCABULARY.powf(unit) as u64 - 1
}

/// Words by their ranks: a function word, or syllables.
fn text(ranks: Vec<u64>) -> String {
    const CONSONANTS: &[u8] = b"bcdfgjklmnprstvz";
    const VOWELS: &[u8] = b"aeiou";
    let mut text = String::with_capacity(6 * ranks.len());
    for rank in ranks {
        if !text.is_empty() {
            text.push(' ');
        }
        if let Some(word) = FUNCTION_WORDS.get(rank as usize) {
            text.push_str(word);
            continue;
        }
        // No word has one syllable: some of those are function words.
        let syllables = (CONSONANTS.len() * VOWELS.len()) as u64;
        let mut rest = rank + syllables;
        while rest > 0 {
            let syllable = (rest % syllables) as usize;
            text.push(CONSONANTS[syllable / VOWELS.len()].into());
            text.push(VOWELS[syllable % VOWELS.len()].into());
            rest /= syllables;
        }
    }
    text
}

/// Writes what `line` makes of each number, chunks on all threads.
fn write_lines(
    path: &Path,
    numbers: Range<u64>,
    line: impl Fn(u64) -> String + Sync,
) -> std::io::Result<()> {
    let mut out = BufWriter::new(File::create(path)?);
    let at_once = CHUNK * rayon::current_num_threads() as u64;
    for start in numbers.clone().step_by(at_once as usize) {
        let chunks: Vec<u64> =
            (start..numbers.end.min(start + at_once)).step_by(CHUNK as usize).collect();
        let chunks: Vec<String> = chunks
            .into_par_iter()
            .map(|start| (start..numbers.end.min(start + CHUNK)).map(&line).collect())
            .collect();
        chunks.iter().try_for_each(|chunk| out.write_all(chunk.as_bytes()))?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};
    use std::fs;

    use super::*;

    fn read(dir: &Path, name: &str) -> Vec<Vec<String>> {
        let text = fs::read_to_string(dir.join(name)).unwrap();
        text.lines().map(|line| line.split('\t').map(str::to_owned).collect()).collect()
    }

    #[test]
    fn files_have_their_sizes_and_name_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("raw");
        let collection = Collection::new(3, 0.001);
        collection.write(&dir).unwrap();
        let [passages, train, dev, train_qrels, dev_qrels, triples] =
            Collection::FILES.map(|name| read(&dir, name));
        let sizes = [passages.len(), train.len(), dev.len()];
        assert_eq!(sizes, [8842, 503, 7]);
        assert_eq!((train_qrels.len(), dev_qrels.len(), triples.len()), (503, 7, 503 * 7));
        let texts: HashMap<&str, &str> =
            passages.iter().map(|line| (&*line[0], &*line[1])).collect();
        let queries: HashMap<&str, &str> =
            train.iter().chain(&dev).map(|line| (&*line[0], &*line[1])).collect();
        for line in train_qrels.iter().chain(&dev_qrels) {
            let words: HashSet<&str> = texts[&*line[2]].split(' ').collect();
            assert!(queries[&*line[0]].split(' ').all(|word| words.contains(word)));
        }
        for line in &triples {
            assert_ne!(line[1], line[2]);
            assert!(texts.contains_key(&*line[2]) && queries.contains_key(&*line[0]));
        }
        // 1 passage in 1000 repeats another.
        let distinct: HashSet<&&str> = texts.values().collect();
        assert!((8..=18).contains(&(texts.len() - distinct.len())), "{}", distinct.len());
        let error = collection.write(&dir).unwrap_err();
        assert!(matches!(error, DataError::Exists { .. }), "{error}");
    }

    #[test]
    fn words_are_told_apart_and_frequent_as_zipf_says() {
        let words: HashSet<String> = (0..50_000).map(|rank| text(vec![rank])).collect();
        assert_eq!(words.len(), 50_000);
        let collection = Collection::new(0, 0.001);
        let mut counts: HashMap<u64, u32> = HashMap::new();
        for passage in 0..2000 {
            for word in collection.words(passage) {
                *counts.entry(word).or_default() += 1;
            }
        }
        let ratio = f64::from(counts[&0]) / f64::from(counts[&9]);
        // ln 2 against ln(11/10).
        assert!((6.0..8.5).contains(&ratio), "{ratio}");
    }
}
