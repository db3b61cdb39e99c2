//! The command line's words: each success and each mistake, as a user sees them.
//!
//! `TRYCMD=overwrite cargo xtask test --test samtone` rewrites the snapshots; read the difference.

#[test]
fn snapshots() {
    trycmd::TestCases::new().env("HF_HUB_CACHE", "no-cache").case("tests/cli/*.trycmd");
}
