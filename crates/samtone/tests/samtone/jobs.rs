//! Several processes that a launcher has started: those that cannot train together are refused, the
//! others train one run.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::train::Bench;

/// `samtone` with what Hydra says to one of two processes.
fn launched(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    command.args(arguments).env("PMI_RANK", "1").env("PMI_SIZE", "2");
    command
}

/// What a command that must end with `code` says.
#[track_caller]
fn refused(mut command: Command, code: i32) -> String {
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    said
}

#[test]
fn what_works_in_one_process_is_refused_under_a_launcher() {
    for arguments in [&["infuse"][..], &["qa"], &["ablate", "--config", "grid.toml"]] {
        let said = refused(launched(arguments), 2);
        let name = arguments[0];
        let expected =
            format!("by `PMI_RANK` this is one of 2 processes, and `samtone {name}` works in one");
        assert!(said.contains(&expected), "{said}");
    }
    // A launcher of one process is none.
    let mut alone = launched(&["infuse", "--config", "nowhere.toml"]);
    alone.env("PMI_RANK", "0").env("PMI_SIZE", "1");
    assert!(refused(alone, 1).contains("cannot read `nowhere.toml`"));
}

#[test]
#[cfg(not(feature = "mpi"))]
fn a_build_without_mpi_refuses_to_train_under_a_launcher() {
    let bench = Bench::new("");
    let run = bench.path("run");
    let said = refused(launched(&["train", "--run-dir", run.to_str().unwrap()]), 2);
    assert!(said.contains("one of 2 processes, and this build trains in one"), "{said}");
    assert!(said.contains("build with `--features mpi`"), "{said}");
    assert!(!run.exists());
}

/// The blocks of the guide in one language; none where the package lies without the repository.
fn blocks(language: &str) -> Vec<String> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let page = above.map(|folder| folder.join("docs/scale.md")).find(|page| page.exists());
    let page = page.map(|page| fs::read_to_string(page).unwrap()).unwrap_or_default();
    let fence = format!("```{language}\n");
    let blocks = page.split(&*fence).skip(1);
    blocks.map(|block| block.split("```").next().unwrap().to_owned()).collect()
}

#[test]
#[cfg(feature = "flex")]
fn the_files_of_the_guide_call_samtone_as_it_wants_to_be_called() {
    let scripts = blocks("bash").into_iter().map(|script| script.replace("\\\n", " "));
    let lists = blocks("yaml").into_iter().filter_map(|file| {
        let (_, list) = file.split_once("args: [samtone, ")?;
        Some(format!("samtone {}", list.split(']').next().unwrap()))
    });
    let lists = lists.map(|list| list.replace(',', " "));
    let mut calls = 0;
    for line in scripts.chain(lists.map(|list| list.replace('\n', " "))) {
        for call in line.lines().filter_map(|line| line.split_once("samtone train")) {
            let words = call.1.replace("cuda", "flex");
            let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
            command.arg("train").args(words.split_whitespace());
            // All is well but for the file, which is the reader's.
            let said = refused(command, 1);
            assert!(said.starts_with("error: cannot read `/"), "{words}: {said}");
            calls += 1;
        }
    }
    assert!(calls == 3 || blocks("bash").is_empty(), "{calls} calls");
}

#[test]
#[cfg(unix)]
fn the_scripts_of_the_guide_are_a_shell_s() {
    for script in blocks("bash") {
        let checked = Command::new("bash").args(["-n", "-c", &script]).output().unwrap();
        assert!(checked.status.success(), "{script}{}", String::from_utf8_lossy(&checked.stderr));
    }
}

#[cfg(all(feature = "mpi", target_os = "linux"))]
mod mpi {
    use std::path::PathBuf;
    use std::process::{Child, Output, Stdio};
    use std::time::{Duration, Instant};

    use samtone_testing::mpi::{mpirun, process_of, wait_until};
    use samtone_train::run::{Checkpoints, Environment};

    use super::*;
    use crate::train::{ROUNDING, WEIGHTS, backend, is_exact, losses};

    /// `samtone train` into the folder `run` by as many ranks as there are `devices`, each with so many
    /// and all with `arguments`.
    fn ranks(bench: &Bench, run: &str, devices: &[usize], arguments: &[&str]) -> Command {
        let more: Vec<Vec<&str>> = vec![arguments.to_vec(); devices.len()];
        ranks_of(bench, run, devices, &more)
    }

    /// The same, each with arguments of its own.
    fn ranks_of(bench: &Bench, run: &str, devices: &[usize], arguments: &[Vec<&str>]) -> Command {
        let mut command = mpirun();
        for (place, (&devices, arguments)) in devices.iter().zip(arguments).enumerate() {
            if place > 0 {
                command.arg(":");
            }
            command.args(["-n", "1", env!("CARGO_BIN_EXE_samtone"), "train", "--run-dir"]);
            command.arg(bench.path(run));
            command.args(["--devices", &vec![backend(); devices].join(",")]).args(arguments);
        }
        command
    }

    fn config(bench: &Bench) -> String {
        bench.path("config.toml").display().to_string()
    }

    fn said(output: &Output) -> String {
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    /// What ranks that end well print, and say.
    #[track_caller]
    fn done(mut ranks: Command) -> [String; 2] {
        let output = ranks.output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        [String::from_utf8(output.stdout.clone()).unwrap(), said(&output)]
    }

    fn newest(bench: &Bench, run: &str) -> usize {
        let (newest, torn) = Checkpoints::new(bench.path(run).join("checkpoints")).newest();
        assert_eq!(torn, Vec::<PathBuf>::new());
        newest.map_or(0, |checkpoint| checkpoint.step)
    }

    #[track_caller]
    fn assert_same_run(bench: &Bench, one: &str, other: &str) {
        assert_eq!(losses(&bench.path(one)), losses(&bench.path(other)));
        for file in ["summary.json", WEIGHTS] {
            assert!(bench.bytes(one, file) == bench.bytes(other, file), "{file} differs");
        }
    }

    #[track_caller]
    fn assert_close_runs(bench: &Bench, one: &str, other: &str) {
        let [one, other] = [one, other].map(|run| losses(&bench.path(run)));
        assert_eq!(one.len(), other.len());
        for (step, (a, b)) in one.iter().zip(&other).enumerate() {
            assert!((a - b).abs() < ROUNDING * a.abs(), "step {step}: {a} and {b}");
        }
    }

    #[test]
    fn ranks_train_one_run_which_rank_0_writes() {
        let more = "eval_every = 5\nbest_by = \"mrr@10\"\nbaseline = \"in-batch\"\n";
        let bench = Bench::new(more);
        let config = config(&bench);
        bench.train("alone", &[]);
        let job = |run: &str, arguments: &[&str]| {
            let with = [&["--config", &config, "--format", "json"], arguments].concat();
            done(ranks(&bench, run, &[2, 1, 1], &with))
        };
        let [printed, said] = job("shared", &[]);
        // One object and one course, not three.
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(printed["environment"]["ranks"], 3);
        assert_eq!(said.matches("step 0 of 20").count(), 2, "{said}");
        assert!(!said.contains("warning: the run folder"), "{said}");
        let environment: Environment =
            serde_json::from_slice(&bench.bytes("shared", "environment.json")).unwrap();
        assert_eq!((environment.devices, environment.ranks), (4, 3));
        assert!(environment.versions["exchange"].contains("MPI"), "{:?}", environment.versions);
        assert!(environment.exchange_seconds.unwrap() > 0.0);
        assert!(bench.path("shared/report.html").is_file());
        assert_close_runs(&bench, "alone", "shared");
        if is_exact() {
            job("again", &[]);
            assert_same_run(&bench, "shared", "again");
        }
        // What has ended is told, and nothing is done.
        let [printed, said] = job("shared", &["--resume"]);
        assert_eq!(said.matches("has ended before").count(), 1, "{said}");
        let printed: serde_json::Value = serde_json::from_str(&printed).unwrap();
        assert_eq!(printed["summary"]["steps"], 20);
    }

    /// Starts ranks that train long enough for `then`, once their first checkpoint stands; what they end
    /// with, and how long that took from then on.
    #[track_caller]
    fn disturbed(mut ranks: Command, bench: &Bench, then: impl Fn(&Child)) -> (Output, Duration) {
        let mut job = ranks.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let first = bench.path("run/checkpoints/step-7");
        wait_until(&mut job, || first.exists());
        let started = Instant::now();
        then(&job);
        (job.wait_with_output().unwrap(), started.elapsed())
    }

    fn kill(signal: &str, process: u32) {
        let process = process.to_string();
        assert!(Command::new("kill").args([signal, &process]).status().unwrap().success());
    }

    const LONG: [&str; 4] = ["--set", "train.steps=3000", "--set", "train.log_every=1"];

    #[test]
    fn when_a_rank_is_killed_all_end_and_any_number_of_ranks_goes_on() {
        let bench = Bench::new("checkpoint_every = 7\nkeep = 500\n");
        let config = config(&bench);
        let (short, devices) = (["--config", &*config], [1, 2, 1]);
        done(ranks(&bench, "unbroken", &devices, &short));
        for rank in [0, 2] {
            let long = ranks(&bench, "run", &devices, &[&short[..], &LONG].concat());
            let (output, took) = disturbed(long, &bench, |job| kill("-9", process_of(job, rank)));
            let said = said(&output);
            assert!(!output.status.success(), "{said}");
            assert!(said.contains(&format!("process rank {rank}")), "{said}");
            assert!(took < Duration::from_secs(30), "{took:?}");
            assert!(newest(&bench, "run") >= 7);
            fs::remove_dir_all(bench.path("run")).unwrap();
        }

        // Of a run of twenty steps the last thirteen are done again, by as many ranks and by others.
        for (run, devices) in [("same", &devices[..]), ("fewer", &[3, 1]), ("one", &[1])] {
            done(ranks(&bench, run, &[1, 2, 1], &short));
            for gone in ["checkpoints/step-14", "checkpoints/step-20", "model"] {
                fs::remove_dir_all(bench.path(run).join(gone)).unwrap();
            }
            let [_, said] = done(ranks(&bench, run, devices, &["--resume"]));
            assert!(said.contains("step 7 of 20"), "{said}");
            assert_close_runs(&bench, "unbroken", run);
        }
        if is_exact() {
            assert_same_run(&bench, "unbroken", "same");
        }
    }

    #[test]
    fn a_signal_to_one_or_all_stops_all_after_one_step_with_one_checkpoint() {
        let bench = Bench::new("checkpoint_every = 7\nkeep = 500\n");
        let config = config(&bench);
        let long = [&["--config", &*config], &LONG[..]].concat();
        // `mpirun` passes the user's signal on to all; a scheduler may tell one rank alone.
        let signals: [&dyn Fn(&Child); 2] =
            [&|job| kill("-USR1", job.id()), &|job| kill("-TERM", process_of(job, 1))];
        for signal in signals {
            let (output, took) = disturbed(ranks(&bench, "run", &[1, 2], &long), &bench, signal);
            let said = said(&output);
            assert_eq!(output.status.code(), Some(1), "{said}");
            assert!(took < Duration::from_secs(30), "{took:?}");
            let steps: Vec<usize> = said
                .lines()
                .filter_map(|line| line.strip_prefix("error: interrupted after "))
                .map(|line| line.strip_suffix(" steps").unwrap().parse().unwrap())
                .collect();
            assert_eq!(steps, [newest(&bench, "run")], "{said}");
            assert_eq!(losses(&bench.path("run")).len(), steps[0]);
            fs::remove_dir_all(bench.path("run")).unwrap();
        }
    }

    #[test]
    fn ranks_that_would_train_something_else_leave_nothing_behind() {
        let bench = Bench::new("");
        let config = config(&bench);
        let own = vec!["--config", &*config];
        let other = [&own[..], &["--set", "train.lr=1e-4"]].concat();
        let output = ranks_of(&bench, "run", &[1, 1, 1], &[own.clone(), own, other]).output();
        let output = output.unwrap();
        let said = said(&output);
        let expected = "the ranks differ in the configuration: `lr = 0.0001` at rank 2, `lr = 0.003` at rank 0";
        assert_eq!(said.matches(expected).count(), 1, "{said}");
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(!bench.path("run").exists());
    }

    #[test]
    #[cfg(not(feature = "cuda"))]
    fn a_failure_of_one_rank_ends_all_with_its_error() {
        let bench = Bench::new("");
        let config = config(&bench);
        let mut job = ranks(&bench, "run", &[1, 1], &["--config", &config]);
        // A third, whose devices this build has not.
        job.args([":", "-n", "1", env!("CARGO_BIN_EXE_samtone"), "train", "--backend", "cuda"]);
        let started = Instant::now();
        let output = job.output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(
            said.contains("rank 2 ends all:\nerror: backend `cuda` is not in this build"),
            "{said}"
        );
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
        assert!(!bench.path("run").exists());
    }

    #[test]
    fn another_launcher_than_the_library_s_is_told() {
        let said = refused(launched(&["train"]), 1);
        assert!(said.contains("the launcher has started 2 processes, MPI finds 1"), "{said}");
        assert!(said.contains("srun --mpi=pmix"), "{said}");
    }
}
