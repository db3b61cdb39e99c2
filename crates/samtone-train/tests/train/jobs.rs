//! What the ranks of a job find together is what one process finds: over threads, and over MPI where the
//! build has it, whose ranks are this same program under `mpirun`.

use std::ops::Range;
use std::sync::Arc;

use burn::module::Module;
use burn::tensor::FloatDType;
use samtone_model::DualEncoder;
use samtone_testing::assert_close_to_scale;
use samtone_testing::loss::learned;
use samtone_testing::model::{self, NEGATIVES, ROWS};
use samtone_text::Key;
use samtone_train::share::{Exchange, Job, JobError, Numbers, Workers};
use samtone_train::step::{Engine, ModelOptimizer, StepRows, Update};
use serde::{Deserialize, Serialize};

use crate::shards::{self, B, duplicates};
use crate::threads::on_each_rank;
use crate::tiny::{TOLERANCE, batch};

/// How many devices each rank has.
const LAYOUTS: [&[usize]; 4] = [&[1], &[2, 1], &[1, 2, 1], &[1, 1, 2, 1, 1]];

const STEPS: usize = 20;

/// A training after some of its steps.
#[derive(Clone)]
struct Course {
    model: DualEncoder<B>,
    optimizer: ModelOptimizer<B>,
    losses: Vec<f64>,
    /// Of the first step.
    gradients: Vec<Vec<f64>>,
}

/// What can be compared of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Numbered {
    losses: Vec<f64>,
    gradients: Vec<Vec<f64>>,
    weights: Vec<Vec<f64>>,
}

/// The pairs of a step: the same ones, a place further in each.
fn batch_of(step: usize) -> StepRows {
    let mut rows = batch(duplicates());
    rows.queries.rotate_left(step % ROWS);
    rows.documents.rotate_left(step % ROWS);
    rows.hard_negatives.rotate_left(step % ROWS * NEGATIVES);
    rows
}

impl Course {
    fn new(float: FloatDType) -> Self {
        let model = shards::model().cast(float);
        let optimizer = ModelOptimizer::new(Update::default(), model.parameters());
        Self { model, optimizer, losses: Vec::new(), gradients: Vec::new() }
    }

    /// The same for another rank, which has a model of its own.
    fn forked(&self) -> Self {
        let model = self.model.clone().fork(&Default::default());
        Self { model, ..self.clone() }
    }

    /// The steps of these numbers, shared with the other ranks of `job`.
    fn train(&mut self, steps: Range<usize>, devices: usize, job: Option<&Job>) {
        let loss = learned();
        let temperature = loss.temperature();
        let engine = Engine::new(loss, 3, 0);
        let devices = vec![Default::default(); devices];
        let workers = Workers::<B> { devices: &devices, job };
        for step in steps {
            let (batch, dropout) = (batch_of(step), Key::new(3).at(step as u64));
            let out = engine
                .shared_gradients(&workers, &self.model, &batch, temperature, Some(dropout))
                .unwrap();
            self.losses.push(out.loss);
            if step == 0 {
                let gradients = model::gradients(&self.model, &out.parameters);
                self.gradients = gradients.into_iter().map(|(_, gradient)| gradient).collect();
            }
            self.model = self.optimizer.step(1e-2, self.model.clone(), out.parameters);
        }
    }

    fn numbered(self) -> Numbered {
        let mut weights = Vec::new();
        self.model.for_each_parameter(|_, values| {
            weights.push(values.into_data().iter::<f64>().collect());
        });
        Numbered { losses: self.losses, gradients: self.gradients, weights }
    }
}

fn alone() -> Numbered {
    let mut course = Course::new(FloatDType::F64);
    course.train(0..STEPS, 1, None);
    course.numbered()
}

#[track_caller]
fn assert_close(what: &str, got: &Numbered, expected: &Numbered) {
    assert_close_to_scale(what, &got.losses, &expected.losses, TOLERANCE);
    let parts = [(&got.gradients, &expected.gradients), (&got.weights, &expected.weights)];
    for (got, expected) in parts {
        assert_eq!(got.len(), expected.len());
        for (got, expected) in got.iter().zip(expected) {
            assert_close_to_scale(what, got, expected, TOLERANCE);
        }
    }
}

#[test]
fn twenty_steps_of_any_number_of_ranks_are_those_of_one_process() {
    let alone = alone();
    assert!(alone.losses[19] < 0.9 * alone.losses[0], "{:?}", alone.losses);
    for devices in LAYOUTS {
        let all = on_each_rank(devices.to_vec(), |exchange, own| {
            let job = Job::new(exchange, own).unwrap();
            let mut course = Course::new(FloatDType::F64);
            course.train(0..STEPS, own, Some(&job));
            course.numbered()
        });
        assert!(all.iter().all(|one| *one == all[0]), "{devices:?} differ");
        assert_close(&format!("{devices:?}"), &all[0], &alone);
    }
}

#[test]
fn another_number_of_ranks_goes_on_where_some_have_stopped() {
    let alone = alone();
    let go_on = |course: &Course, steps: Range<usize>, devices: &[usize]| {
        let own = devices.iter().map(|&devices| (devices, course.forked()));
        let all = on_each_rank(own.collect(), |exchange, (devices, mut course)| {
            let job = Job::new(exchange, devices).unwrap();
            course.train(steps.clone(), devices, Some(&job));
            course
        });
        all.into_iter().next().unwrap()
    };
    let half = go_on(&Course::new(FloatDType::F64), 0..9, &[1, 2, 1]);
    for devices in LAYOUTS {
        let whole = go_on(&half, 9..STEPS, devices).numbered();
        assert_close(&format!("three ranks, then {devices:?}"), &whole, &alone);
    }
}

/// What every rank of three must find, whatever exchanges.
fn check_exchange(exchange: Arc<dyn Exchange>) {
    let rank = exchange.rank();
    let job = Job::new(exchange, rank + 1).unwrap();
    assert_eq!((job.rank(), job.size(), job.devices()), (rank, 3, 6));
    assert_eq!(job.own_devices(), [0..1, 1..3, 3..6][rank]);
    // Of different lengths, one of them empty.
    let all = job.gather(&vec![rank as u8; 5 * rank]).unwrap();
    assert_eq!(all, [vec![], vec![1; 5], vec![2; 10]]);
    assert_eq!([job.any(rank == 2).unwrap(), job.any(false).unwrap()], [true, false]);
    assert_eq!(job.of_first(vec![rank as u8 + 7; 3 - rank]).unwrap(), [7, 7, 7]);
    let given = (2.5, "π".to_owned());
    let taken = if job.leads() { job.give(&given).map(|()| given.clone()) } else { job.take() };
    assert_eq!(taken.unwrap(), given);
    let mut single = [rank as f32, 0.5, -1.0];
    job.sum(Numbers::F32(&mut single)).unwrap();
    assert_eq!(single, [3.0, 1.5, -3.0]);
    let mut double = [rank as f64 * 1e-12; 1000];
    job.sum(Numbers::F64(&mut double)).unwrap();
    assert!(double.iter().all(|sum| (sum - 3e-12).abs() < 1e-24));
    job.agree("seed", "seed = 1\n").unwrap();
    let rate = if rank == 2 { "lr = 2" } else { "lr = 1" };
    let error = job.agree("the configuration", &format!("seed = 1\n{rate}\n")).unwrap_err();
    let expected = "the ranks differ in the configuration: `lr = 2` at rank 2, `lr = 1` at rank 0";
    assert_eq!(error.to_string(), expected);
    let error = job.agree("the lines", ["a\nb\n", "a\nb"][usize::from(rank == 1)]).unwrap_err();
    assert!(matches!(error, JobError::Differ { .. }), "{error}");
    job.wait().unwrap();
    assert!(job.exchange_seconds() > 0.0);
}

#[test]
fn ranks_exchange_in_their_order() {
    on_each_rank(vec![(); 3], |exchange, ()| check_exchange(exchange));
}

#[test]
#[should_panic(expected = "called `Result::unwrap()` on an `Err` value")]
fn ranks_with_other_gradients_are_not_summed() {
    on_each_rank(vec![(); 2], |exchange, ()| {
        let job = Job::new(exchange, 1).unwrap();
        let _ = job.sum(Numbers::F32(&mut vec![0.0; 1 + job.rank()]));
    });
}

#[cfg(all(feature = "mpi", target_os = "linux"))]
mod mpi {
    use std::process::{Command, Output};
    use std::time::{Duration, Instant};

    use samtone_testing::mpi::mpirun;
    use samtone_train::share::Mpi;

    use super::*;

    /// This program as each of so many ranks, in which the test `a_rank` does `task`.
    fn ranks(count: usize, task: &str) -> Command {
        let mut command = mpirun();
        command.args(["-n", &count.to_string()]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", "jobs::mpi::a_rank", "--ignored", "--nocapture"]);
        command.env("SAMTONE_RANK_TASK", task);
        command
    }

    /// The folder of what rank 0 leaves.
    const OUT: &str = "SAMTONE_RANK_OUT";

    #[test]
    #[ignore = "it is one rank of the tests beside it"]
    fn a_rank() {
        let variable = |name: &str| std::env::var(name).unwrap();
        let task = variable("SAMTONE_RANK_TASK");
        let size = variable("OMPI_COMM_WORLD_SIZE").parse().unwrap();
        let mpi = Mpi::join(size).unwrap();
        let (rank, devices) = (mpi.exchange().rank(), LAYOUTS.iter().find(|all| all.len() == size));
        match &*task {
            "exchange" => check_exchange(mpi.exchange()),
            "panic" => {
                let job = Job::new(mpi.exchange(), 1).unwrap();
                job.wait().unwrap();
                assert_ne!(job.rank(), 1, "this rank has had enough");
                job.wait().unwrap();
            }
            float => {
                let float = if float == "f64" { FloatDType::F64 } else { FloatDType::F32 };
                let own = devices.unwrap()[rank];
                let job = Job::new(mpi.exchange(), own).unwrap();
                let mut course = Course::new(float);
                course.train(0..STEPS, own, Some(&job));
                let own = serde_json::to_string(&course.numbered()).unwrap();
                let sum = blake3::hash(own.as_bytes()).to_string();
                job.agree("what they found", &sum).unwrap();
                if job.leads() {
                    std::fs::write(variable(OUT), own).unwrap();
                }
            }
        }
        mpi.leave();
    }

    fn said(Output { stdout, stderr, .. }: &Output) -> String {
        [stdout, stderr].map(|said| String::from_utf8_lossy(said)).concat()
    }

    /// What so many ranks find by twenty steps in numbers of type `float`.
    #[track_caller]
    fn trained(count: usize, float: &str) -> Numbered {
        let out = tempfile::NamedTempFile::new().unwrap();
        let output = ranks(count, float).env(OUT, out.path()).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice(&std::fs::read(out.path()).unwrap()).unwrap()
    }

    #[test]
    fn twenty_steps_over_mpi_are_those_of_one_process() {
        let alone = alone();
        for devices in LAYOUTS {
            assert_close(&format!("{devices:?}"), &trained(devices.len(), "f64"), &alone);
        }
    }

    #[test]
    fn the_same_ranks_find_the_same_bits_in_single_precision() {
        for count in [2, 3, 5] {
            assert!(trained(count, "f32") == trained(count, "f32"), "{count} ranks");
        }
    }

    #[test]
    fn ranks_exchange_over_mpi() {
        let output = ranks(3, "exchange").output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
    }

    #[test]
    fn a_panic_on_one_rank_ends_all_with_its_message() {
        let started = Instant::now();
        let output = ranks(3, "panic").output().unwrap();
        let said = said(&output);
        assert_eq!(output.status.code(), Some(101), "{said}");
        assert!(said.contains("this rank has had enough"), "{said}");
        assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
    }
}
