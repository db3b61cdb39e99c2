//! What CUDA's compiler, NVRTC, takes without a GPU: the driver is `examples/cuda.rs`, whose kernels
//! do nothing. Run by `cargo xtask conformance nvrtc`, for each architecture in a process of its own.
//!
//! A kernel that NVRTC refuses is an error of the stream it was launched on: the next number that is
//! read panics with the compiler's log and the source. Numbers themselves mean nothing here.

#![expect(clippy::unwrap_used, reason = "a test's helpers fail as the test does")]

#[path = "conformance/cases.rs"]
mod cases;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use burn::backend::Cuda;
use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_fusion::Fusion;
use cases::{hardness, large, many_tiles, presets};
use samtone_loss::{Embeddings, Loss, LossError, has_kernels};
use samtone_testing::loss::Host;

/// A backend without the kernel fusion around it.
trait Fused {
    type Inner: Backend;
}

impl<B: burn_fusion::FusionBackend> Fused for Fusion<B> {
    type Inner = B;
}

/// Anchors along the rows or the columns, sums so far or none, thresholds or none.
const VARIANTS_OF_EXTEND: usize = 8;

/// Has every kernel of the loss compiled that it is computed with.
fn compute<B: Backend>(loss: &Loss, at: &Host, dtype: DType) {
    match loss.value_and_gradients(&at.batch::<B>(dtype), loss.temperature()) {
        Ok(found) => {
            let Embeddings { queries, documents, hard_negatives } = found.embeddings;
            queries.into_data();
            documents.into_data();
            hard_negatives.map(|gradient| gradient.into_data());
        }
        Err(LossError::NonFinite { .. } | LossError::Overflow { .. }) => {}
        Err(error) => panic!("{error}"),
    }
}

fn losses<B: Backend>() {
    let at = large();
    for (_, loss) in [many_tiles(), presets(), hardness()].concat() {
        compute::<B>(&loss, &at, DType::F32);
    }
    for dtype in [DType::F16, DType::BF16] {
        assert!(has_kernels::<B>(dtype));
        compute::<B>(&many_tiles()[0].1, &at, dtype);
    }
}

/// The names of the kernels in the crates' sources, by `#[cube(launch)]`.
fn names(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(names(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            for after in text.split("#[cube(launch").skip(1) {
                let (_, name) = after.split_once("fn ").unwrap();
                found.push(name.split(['(', '<']).next().unwrap().to_owned());
            }
        }
    }
    found
}

#[test]
fn nvrtc_takes_every_kernel() {
    let folder = std::env::var_os("SAMTONE_PTX").map(PathBuf::from);
    let folder = folder.expect("run by `cargo xtask conformance nvrtc`");
    losses::<<Cuda as Fused>::Inner>();
    losses::<Cuda>();

    // What the driver was given: `NAME-HASH.ptx`.
    let mut compiled = BTreeMap::<String, usize>::new();
    for entry in fs::read_dir(folder).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        *compiled.entry(file.rsplit_once('-').unwrap().0.to_owned()).or_default() += 1;
    }
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates");
    let names = names(&crates);
    for name in &names {
        assert!(compiled.contains_key(name), "`{name}` was not launched: {compiled:?}");
    }
    assert_eq!(compiled["extend"], VARIANTS_OF_EXTEND);
}
