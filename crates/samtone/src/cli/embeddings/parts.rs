//! The folders of the parts of one encoding: found, and checked to be all of them and of one kind.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Embeddings, IDS, RECORD};
use crate::error::Failure;
use crate::shard::Shard;

/// What the parts of one encoding do not share.
const OWN: [&str; 4] = ["shard", "input", "rows", "ranges"];

/// The folder of a part.
struct Part {
    folder: PathBuf,
    /// What `samtone encode` says of it.
    record: Map<String, Value>,
    shard: Shard,
}

impl Part {
    fn is_done(&self) -> bool {
        Embeddings::file_in(&self.folder).is_some()
    }
}

/// The folders that `given` means, in the order of their rows: one encoding's, or all its parts', each
/// given by itself or all by the folder that they lie in.
///
/// # Errors
/// If parts are missing, are there twice, or differ in model, input or settings.
pub(super) fn folders(given: &[PathBuf]) -> anyhow::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in given {
        let below = if is_encoding(path) { Vec::new() } else { encodings_in(path)? };
        if below.is_empty() { found.push(path.clone()) } else { found.extend(below) }
    }
    if let [folder] = &found[..]
        && record(folder)?.is_none_or(|record| shard(&record) == Some(Shard::WHOLE))
    {
        return Ok(found);
    }
    let mut parts = read(&found)?;
    check(&parts)?;
    let missing = missing(&parts);
    if !missing.is_empty() {
        let (where_, which) = (joined(given), ranges(&missing));
        let of = parts[0].shard.parts;
        let begun = parts.iter().filter(|part| !part.is_done()).count();
        let begun = if begun > 0 { format!(", {begun} of them begun") } else { String::new() };
        let message = format!("{where_} lacks parts of {of}: {which}{begun}");
        let hint = "encode them with the same `--shard I/N`; `samtone encode --missing --out \
                    FOLDER` names them";
        return Err(Failure::new(message, hint).into());
    }
    parts.sort_by_key(|part| part.shard.part);
    Ok(parts.into_iter().map(|part| part.folder).collect())
}

/// Of how many parts those in `folder` are, and which are not there whole.
///
/// # Errors
/// If there are none, or they differ in model, input or settings.
pub(crate) fn missing_in(folder: &Path) -> anyhow::Result<(usize, Vec<usize>)> {
    let found = encodings_in(folder)?;
    if found.is_empty() {
        let message = format!("`{}` holds no part", folder.display());
        return Err(Failure::new(message, "encode one with `--shard I/N`, it says the N").into());
    }
    let parts = read(&found)?;
    check(&parts)?;
    Ok((parts[0].shard.parts, missing(&parts)))
}

/// Checks, before the work, that the part `shard` may be written into `folder`, or the whole into it.
pub(crate) fn check_company(folder: &Path, shard: Shard) -> anyhow::Result<()> {
    let refuse = |what: &str| {
        let message = format!("`{}` holds {what}", folder.display());
        let hint = "give another `--out`, or remove the folder to begin again";
        Err(Failure::new(message, hint).into())
    };
    if shard != Shard::WHOLE && is_encoding(folder) {
        return refuse("embeddings, not parts of them");
    }
    let found = if folder.is_dir() { encodings_in(folder)? } else { Vec::new() };
    for other in found {
        let others = record(&other)?.as_ref().and_then(self::shard);
        if let Some(others) = others
            && others != Shard::WHOLE
            && others.parts != shard.parts
        {
            return refuse(&format!("part {others}, this is {shard}"));
        }
    }
    Ok(())
}

/// Checks, before the work, that the part that `record` tells of goes with those that lie in `folder`.
pub(crate) fn check_kin(folder: &Path, record: &impl Serialize) -> anyhow::Result<()> {
    let Ok(Value::Object(record)) = serde_json::to_value(record) else {
        unreachable!("a record is an object")
    };
    for other in encodings_in(folder)? {
        let Some(others) = self::record(&other)? else { continue };
        // What is begun of the part itself is compared where it goes on.
        if others.get("shard") == record.get("shard") {
            continue;
        }
        if let Some(what) = differences(&record, &others) {
            let message = format!("`{}` was encoded with another {what}", other.display());
            let hint = "parts are encoded with one model, input and settings: take these, or give \
                        another `--out`";
            return Err(Failure::new(message, hint).into());
        }
    }
    Ok(())
}

/// Numbers as arrays of schedulers are submitted: `7,12-14`.
pub(crate) fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let words = runs.map(|run| match run {
        [only] => only.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => unreachable!("a chunk holds something"),
    });
    words.collect::<Vec<_>>().join(",")
}

/// Paths in a message.
pub(crate) fn joined(paths: &[PathBuf]) -> String {
    match paths {
        [] => String::new(),
        [path] => format!("`{}`", path.display()),
        [path, rest @ ..] => format!("`{}` and {} more", path.display(), rest.len()),
    }
}

/// Whether `folder` itself is one that `samtone encode` writes, or was about to.
fn is_encoding(folder: &Path) -> bool {
    Embeddings::file_in(folder).is_some()
        || [IDS, RECORD].iter().any(|file| folder.join(file).exists())
}

/// The folders right below `folder` that say what they hold, by name.
fn encodings_in(folder: &Path) -> anyhow::Result<Vec<PathBuf>> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let list = || {
        let entries = fs::read_dir(folder)?.map(|entry| Ok(entry?.path()));
        let mut found = entries.collect::<std::io::Result<Vec<PathBuf>>>()?;
        found.retain(|path| path.join(RECORD).is_file());
        found.sort();
        Ok::<_, std::io::Error>(found)
    };
    list().with_context(|| format!("cannot read `{}`", folder.display()))
}

/// What `folder` says that it holds, if it does.
fn record(folder: &Path) -> anyhow::Result<Option<Map<String, Value>>> {
    let path = folder.join(RECORD);
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot read `{}`", path.display()))?,
    };
    let record = serde_json::from_str(&text);
    let wrong = || format!("`{}` is not what `samtone encode` writes", path.display());
    record.with_context(wrong).map(Some)
}

fn shard(record: &Map<String, Value>) -> Option<Shard> {
    match record.get("shard") {
        // Written by other hands: all there is.
        None => Some(Shard::WHOLE),
        Some(shard) => shard.as_str()?.parse().ok(),
    }
}

fn read(folders: &[PathBuf]) -> anyhow::Result<Vec<Part>> {
    let part = |folder: &PathBuf| {
        let refuse = |what: &str| {
            let message = format!("`{}` {what}", folder.display());
            let hint = "several folders are the parts of one encoding, by `samtone encode --shard`";
            Err(Failure::new(message, hint).into())
        };
        let Some(record) = record(folder)? else {
            return refuse(&format!("is no part: it has no `{RECORD}`"));
        };
        match shard(&record) {
            None => refuse(&format!("is no part: its `{RECORD}` names none")),
            Some(Shard::WHOLE) => refuse("is a whole encoding, not a part"),
            Some(shard) => Ok(Part { folder: folder.clone(), record, shard }),
        }
    };
    folders.iter().map(part).collect()
}

/// Whether `parts` are parts of one encoding, none of them twice.
fn check(parts: &[Part]) -> anyhow::Result<()> {
    let (first, rest) = parts.split_first().expect("somebody gave a folder");
    for part in rest {
        let (one, other) = (first.folder.display(), part.folder.display());
        let refuse = |message: String| {
            let hint = "parts are encoded with one model, input and settings";
            Err(Failure::new(message, hint).into())
        };
        if part.shard.parts != first.shard.parts {
            let (a, b) = (first.shard, part.shard);
            return refuse(format!("`{one}` is part {a}, `{other}` part {b}"));
        }
        if let Some(what) = differences(&first.record, &part.record) {
            return refuse(format!("`{one}` and `{other}` differ in {what}"));
        }
    }
    let mut sorted: Vec<&Part> = parts.iter().collect();
    sorted.sort_by_key(|part| part.shard.part);
    if let Some(&[a, b]) = sorted
        .windows(2)
        .find(|pair| pair[0].shard == pair[1].shard)
        .and_then(|pair| pair.first_chunk())
    {
        let (shard, a, b) = (a.shard, a.folder.display(), b.folder.display());
        let message = format!("part {shard} is there twice: `{a}` and `{b}`");
        return Err(Failure::new(message, "give one of the two").into());
    }
    Ok(())
}

/// The names of what two parts of one encoding would share and these do not.
fn differences(a: &Map<String, Value>, b: &Map<String, Value>) -> Option<String> {
    let mut names: Vec<&str> = a.keys().chain(b.keys()).map(String::as_str).collect();
    names.retain(|name| !OWN.contains(name) && a.get(*name) != b.get(*name));
    names.sort_unstable();
    names.dedup();
    (!names.is_empty()).then(|| names.join(", "))
}

/// The parts that are not there, or not whole.
fn missing(parts: &[Part]) -> Vec<usize> {
    let mut is_there = vec![false; parts[0].shard.parts];
    for part in parts {
        is_there[part.shard.part - 1] |= part.is_done();
    }
    (1..).zip(is_there).filter(|(_, there)| !there).map(|(part, _)| part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_are_a_range() {
        for (numbers, expected) in
            [(&[][..], ""), (&[7], "7"), (&[7, 12, 13, 14, 16, 17], "7,12-14,16-17")]
        {
            assert_eq!(ranges(numbers), expected);
        }
    }
}
