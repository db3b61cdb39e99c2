//! A split parted into several, without leaks.
//!
//! Queries that have a relevant document in common belong together, and so do queries whose texts are
//! equal or whose relevant documents are copies of one another (case and white space aside). What
//! belongs together, a *component*, stays in one split: no text is trained on and tested.
//!
//! Kept are the ids of the queries judged and of the documents relevant to them, and hashes of their
//! texts, never the texts.

mod deal;
mod share;
mod ties;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::Write;
use std::path::Path;

use samtone_text::Key;
use serde::Serialize;

use self::deal::deal;
pub use self::share::{BadShare, Share};
use self::ties::Ties;
use crate::error::{DataError, ShareFault, Unwritten};
use crate::output::{Folder, Output};
use crate::reading::beir::{BeirFolder, JudgmentLine, QRELS_HEADER};
use crate::reading::lines::{Compression, Lines};

/// What is taken out of which split.
#[derive(Clone, Debug, PartialEq)]
pub struct SplitOptions {
    /// The split that is parted; it keeps what no share takes.
    pub from: String,
    /// The new splits, and how many of its queries each gets.
    pub shares: Vec<(String, Share)>,
    /// What the choice is drawn by.
    pub seed: u64,
}

impl Default for SplitOptions {
    fn default() -> Self {
        Self { from: "train".to_owned(), shares: Vec::new(), seed: 0 }
    }
}

/// What came of parting a split.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitReport {
    /// The split that was parted, then the new ones in the order in which they were asked for.
    pub splits: Vec<SplitSize>,
    /// Groups of queries that belong together.
    pub components: usize,
    /// Queries of the largest of them.
    pub largest: usize,
}

/// How large a split became.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SplitSize {
    /// Its name.
    pub name: String,
    /// Its queries.
    pub queries: usize,
    /// Its judgments.
    pub judgments: u64,
    /// The documents relevant to its queries.
    pub documents: usize,
}

/// Copies a folder in BEIR layout to `out`, one of its splits parted; the others stay as they are.
///
/// Judgments of grade 0 go with their query and join nothing. Queries without a relevant document stay
/// in the split that is parted. The folder appears when all is done, and only then.
///
/// # Errors
/// If `out` exists, a file cannot be read or written, a new split is there already, or the shares
/// cannot be met.
///
/// # Examples
///
/// ```
/// use samtone_data::embedded::World;
/// use samtone_data::split::{SplitOptions, split};
///
/// let dir = tempfile::tempdir()?;
/// let (input, out) = (dir.path().join("world"), dir.path().join("parted"));
/// World::generate(0, 300).save(&input)?;
/// let shares = vec![("held-out".to_owned(), "10%".parse()?)];
/// let report = split(&input, &out, &SplitOptions { shares, ..SplitOptions::default() })?;
/// assert_eq!(report.splits[1].name, "held-out");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn split(input: &Path, out: &Path, options: &SplitOptions) -> Result<SplitReport, DataError> {
    if out.exists() {
        return Err(DataError::Exists { path: out.to_owned() });
    }
    let folder = BeirFolder::open(input)?;
    check_names(&folder, options)?;
    let written = samtone_files::write_folder(out, |inside| -> Result<_, Unwritten> {
        // One waits for the disk, the other for a processor.
        let (copied, plan) = rayon::join(|| copy(&folder, inside), || Plan::of(&folder, options));
        let plan = plan?;
        copied?;
        Ok(plan.write(&BeirFolder::open(inside)?)?)
    });
    written.map_err(|unwritten| unwritten.at(out))
}

/// Parts a split of a folder that nobody reads yet.
pub(crate) fn split_in_place(
    folder: &Path,
    options: &SplitOptions,
) -> Result<SplitReport, DataError> {
    let folder = BeirFolder::open(folder)?;
    check_names(&folder, options)?;
    Plan::of(&folder, options)?.write(&folder)
}

/// Copies the files of the layout, to the disk itself.
fn copy(folder: &BeirFolder, to: &Path) -> Result<(), DataError> {
    let qrels = to.join("qrels");
    fs::create_dir(&qrels).map_err(DataError::writing(&qrels))?;
    let copy = |from: &Path, to: &Path| {
        let to = to.join(from.file_name().unwrap_or_default());
        let copied = fs::copy(from, &to).and_then(|_| File::open(&to)?.sync_all());
        copied.map_err(DataError::writing(&to))
    };
    copy(folder.corpus(), to)?;
    copy(folder.queries(), to)?;
    folder.splits().iter().try_for_each(|split| copy(&folder.qrels(split)?, &qrels))
}

/// Which query goes to which split.
struct Plan {
    /// The split that is parted, then the new ones.
    names: Vec<String>,
    ties: Ties,
    /// Per component, the place of its split in `names`.
    parts: Vec<usize>,
}

impl Plan {
    fn of(folder: &BeirFolder, options: &SplitOptions) -> Result<Self, DataError> {
        let (dir, from) = (folder.dir(), &options.from);
        let wrong = |fault| wrong(folder, options, fault);
        let ties = Ties::of(folder, from)?;
        if ties.queries() == 0 {
            let (dir, split) = (dir.to_owned(), from.clone());
            return Err(DataError::EmptySplit { dir, split, available: folder.splits() });
        }
        let asked = asked(options, ties.queries()).map_err(wrong)?;
        let key = Key::new(options.seed).child("split");
        let parts = deal(ties.components(), &asked, key);
        let parts = parts.ok_or_else(|| wrong(ties.fault(asked.iter().sum())))?;
        let names = options.shares.iter().map(|(name, _)| name);
        let names = std::iter::once(from).chain(names).cloned().collect();
        Ok(Self { names, ties, parts })
    }

    /// Writes the judgments of `folder` anew, each in its query's split.
    fn write(&self, folder: &BeirFolder) -> Result<SplitReport, DataError> {
        let path = folder.qrels(&self.names[0])?;
        let out = Folder::new(folder.dir(), Compression::of(&path) == Compression::Gzip);
        let given = path.with_file_name(format!(".{}", name_of(&path)));
        fs::rename(&path, &given).map_err(DataError::writing(&given))?;
        let create = |name: &String| out.create(&format!("qrels/{name}.tsv"));
        let mut files = self.names.iter().map(create).collect::<Result<Vec<_>, _>>()?;
        for file in &mut files {
            file.write(|out| writeln!(out, "{QRELS_HEADER}"))?;
        }
        let mut judgments = vec![0; files.len()];
        let mut lines = Lines::open(&given)?;
        while let Some(line) = lines.next()? {
            let number = line.number;
            let at = |fault| DataError::Record { path: given.clone(), line: number, fault };
            let Some(judgment) = JudgmentLine::parse(line).map_err(at)? else { continue };
            let JudgmentLine { query_id, document_id, grade } = judgment;
            let part = self.ties.component_of(query_id).map_or(0, |it| self.parts[it]);
            judgments[part] += 1;
            files[part].write(|out| writeln!(out, "{query_id}\t{document_id}\t{grade}"))?;
        }
        files.iter_mut().try_for_each(Output::close)?;
        fs::remove_file(&given).map_err(DataError::writing(&given))?;
        Ok(self.report(&judgments))
    }

    fn report(&self, judgments: &[u64]) -> SplitReport {
        let components = self.ties.components();
        let size = |(part, name): (usize, &String)| {
            let its = || components.iter().zip(&self.parts).filter(move |(_, its)| **its == part);
            SplitSize {
                name: name.clone(),
                queries: its().map(|(component, _)| component.queries).sum(),
                judgments: judgments[part],
                documents: its().map(|(component, _)| component.documents).sum(),
            }
        };
        SplitReport {
            splits: self.names.iter().enumerate().map(size).collect(),
            components: components.len(),
            largest: self.ties.largest(),
        }
    }
}

fn name_of(path: &Path) -> Cow<'_, str> {
    path.file_name().unwrap_or_default().to_string_lossy()
}

/// What is wrong with the shares of a folder's split.
fn wrong(folder: &BeirFolder, options: &SplitOptions, fault: ShareFault) -> DataError {
    DataError::Shares { dir: folder.dir().to_owned(), split: options.from.clone(), fault }
}

/// Refuses a split to part that is not there, and a new one that is there already or asked for twice.
fn check_names(folder: &BeirFolder, options: &SplitOptions) -> Result<(), DataError> {
    folder.qrels(&options.from)?;
    let present = folder.splits();
    for (place, (name, _)) in options.shares.iter().enumerate() {
        let name = name.clone();
        if present.contains(&name) {
            return Err(wrong(folder, options, ShareFault::Exists { name }));
        }
        if options.shares[..place].iter().any(|(other, _)| *other == name) {
            return Err(wrong(folder, options, ShareFault::Twice { name }));
        }
    }
    Ok(())
}

/// How many of `queries` each share asks for.
fn asked(options: &SplitOptions, queries: usize) -> Result<Vec<usize>, ShareFault> {
    let mut asked = Vec::new();
    for (_, share) in &options.shares {
        match share.of(queries) {
            0 => return Err(ShareFault::Nothing { share: share.to_string(), queries }),
            count => asked.push(count),
        }
    }
    match asked.iter().fold(0_usize, |sum, &count| sum.saturating_add(count)) {
        all if all >= queries => Err(ShareFault::All { asked: all, queries }),
        _ => Ok(asked),
    }
}
