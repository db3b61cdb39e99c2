//! The command line's words: each success and each mistake, as a user sees them.
//!
//! `TRYCMD=overwrite cargo test -p samtone --test cli` rewrites the snapshots; read the difference.

#[test]
fn snapshots() {
    trycmd::TestCases::new().case("tests/cli/*.trycmd");
}
