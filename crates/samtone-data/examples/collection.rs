//! Making a collection in MS MARCO's files, of its size times SCALE.
//!
//! `cargo run --release -p samtone-data --example collection -- FOLDER SCALE [SEED]`

use std::path::Path;

use samtone_data::made::Collection;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (folder, scale, seed) = match arguments.as_slice() {
        [folder, scale] => (folder, scale, 0),
        [folder, scale, seed] => (folder, scale, seed.parse()?),
        _ => return Err("expected FOLDER SCALE [SEED]".into()),
    };
    let scale: f64 = scale.parse()?;
    if !(scale > 0.0 && scale <= 100.0) {
        return Err("SCALE is above 0 and at most 100".into());
    }
    Ok(Collection::new(seed, scale).write(Path::new(folder))?)
}

#[test]
fn a_collection_is_made() -> Result<(), Box<dyn std::error::Error>> {
    let folder = tempfile::tempdir()?;
    let made = folder.path().join("made");
    Collection::new(0, 1e-6).write(&made)?;
    let passages = std::fs::read_to_string(made.join("collection.tsv"))?;
    assert_eq!(passages.lines().count(), 32);
    Ok(())
}
