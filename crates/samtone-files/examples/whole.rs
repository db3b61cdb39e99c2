//! A folder that appears whole or not at all, in the place of what is there.
//!
//! `cargo run -p samtone-files --example whole`

use std::{fs, io};

use samtone_files::write_folder;

fn main() -> io::Result<()> {
    let place = std::env::temp_dir().join(format!("samtone-whole-{}", std::process::id()));
    write_folder(&place, |folder| fs::write(folder.join("a.txt"), "first"))?;

    // Writing that fails leaves what was there.
    let broken = write_folder(&place, |folder| {
        fs::write(folder.join("a.txt"), "second")?;
        Err::<(), _>(io::Error::other("no more data"))
    });
    assert!(broken.is_err());
    assert_eq!(fs::read_to_string(place.join("a.txt"))?, "first");
    fs::remove_dir_all(place)
}

#[test]
fn what_fails_changes_nothing() -> io::Result<()> {
    main()
}
