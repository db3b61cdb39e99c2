//! Where the models lie that are named, in the cache of this machine.
//!
//! `cargo run -p samtone-hub --example by_name sentence-transformers/all-MiniLM-L6-v2`

#![expect(clippy::print_stdout, reason = "an example shows what it finds")]

use samtone_hub::{HubCache, HubError, ModelName};

fn main() -> Result<(), HubError> {
    let cache = HubCache::of_machine()?;
    println!("{}", cache.root().display());
    for name in std::env::args().skip(1) {
        let name: ModelName = name.parse()?;
        match cache.find(&name) {
            Ok(snapshot) => println!("{}: {}", snapshot.pinned(), snapshot.folder.display()),
            Err(error) => println!("{name}: {error}\n{}", error.hint().unwrap_or_default()),
        }
    }
    Ok(())
}

#[test]
fn what_is_not_there_is_told_with_what_to_do() -> Result<(), HubError> {
    let error = HubCache::new("none".into()).find(&"a/b@c".parse()?).unwrap_err();
    assert_eq!(error.to_string(), "the Hugging Face cache `none` holds no model `a/b`");
    assert!(error.hint().is_some_and(|hint| hint.ends_with("`samtone download a/b@c`")));
    Ok(())
}
