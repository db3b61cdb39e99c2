//! A backend that cannot run here is a usage error that says what to do.

use std::process::{Command, Output};

fn loss_on(backend: &str, settings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    command.args(["loss", "--random", "8x4", "--repeat", "1", "--backend", backend]);
    command.envs(settings.iter().copied()).output().expect("the binary was built")
}

#[track_caller]
fn check_refused(output: &Output, parts: &[&str]) {
    let words = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{words}");
    for part in parts {
        assert!(words.contains(part), "no `{part}` in:\n{words}");
    }
    assert!(output.stdout.is_empty());
}

#[test]
fn a_backend_that_does_not_exist_is_refused_with_those_that_do() {
    check_refused(&loss_on("tpu", &[]), &["expected flex, ndarray, wgpu, cuda or cuda:INDEX"]);
    check_refused(&loss_on("flex:3", &[]), &["expected flex, ndarray, wgpu, cuda or cuda:INDEX"]);
}

#[test]
fn devices_of_several_backends_cannot_share_a_batch() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    let output = command.args(["train", "--devices", "flex,ndarray"]).output();
    let parts = ["`flex` and `ndarray` cannot share a batch", "name devices of one backend"];
    check_refused(&output.expect("the binary was built"), &parts);
}

#[test]
#[cfg(not(all(feature = "ndarray", feature = "wgpu", feature = "cuda")))]
fn a_backend_that_is_not_built_names_its_feature() {
    let absent = [
        ("ndarray", cfg!(feature = "ndarray")),
        ("wgpu", cfg!(feature = "wgpu")),
        ("cuda", cfg!(feature = "cuda")),
    ];
    for (name, _) in absent.into_iter().filter(|(_, is_built)| !is_built) {
        let message = format!("backend `{name}` is not in this build");
        check_refused(&loss_on(name, &[]), &[&message, &format!("build with `--features {name}`")]);
    }
}

#[test]
#[cfg(all(feature = "wgpu", target_os = "linux"))]
fn vulkan_without_adapters_is_refused() {
    let none = [("VK_ICD_FILENAMES", "/dev/null"), ("VK_DRIVER_FILES", "/dev/null")];
    let parts = ["backend `wgpu` finds no device here", "caused by", "vulkaninfo --summary"];
    check_refused(&loss_on("wgpu", &none), &parts);
}

#[test]
#[cfg(feature = "cuda")]
fn a_device_index_that_does_not_exist_is_refused() {
    let parts = ["backend `cuda:4000` finds no device here", "caused by", "nvidia-smi -L"];
    check_refused(&loss_on("cuda:4000", &[]), &parts);
}
