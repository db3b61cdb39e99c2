//! A collection on a server is an index: made once, filled by whoever has a part, searched as one here.
//! Against Milvus itself the same is done by `cargo xtask parity clusters`.

#[cfg(feature = "qdrant")]
mod collection;
#[cfg(feature = "qdrant")]
mod qdrant;

#[cfg(not(all(feature = "qdrant", feature = "milvus")))]
#[test]
fn a_build_without_a_client_says_so() {
    use super::tiny::{printed, refused, two_models};

    let home = two_models();
    let home = home.path();
    let encode = ["encode", "--model", "model", "--side", "document", "--input"];
    printed(home, &[&encode[..], &["data/corpus.jsonl", "--out", "d"]].concat());
    for (name, is_there) in
        [("qdrant", cfg!(feature = "qdrant")), ("milvus", cfg!(feature = "milvus"))]
    {
        if is_there {
            continue;
        }
        let url = format!("{name}://127.0.0.1:1/documents");
        for command in [
            &["index", "--documents", "d", "--to", &url][..],
            &["search", "--queries", "d", "--out", "r", "--index", &url],
            &["ask", "--model", "model", "--data", "data", "--index", &url, "who"],
            &["eval", "--model", "model", "--data", "data", "--index", &url],
        ] {
            let words = refused(home, 2, command);
            let expected = format!("this build of `samtone` has no client for `{name}://`\n");
            assert!(words.contains(&expected), "{words}");
            assert!(words.contains(&format!("build with `--features {name}`\n")), "{words}");
        }
    }
}
