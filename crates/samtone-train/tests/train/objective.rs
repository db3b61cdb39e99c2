//! Gradients of every term of the objective against central differences of its value, in f64, and the
//! terms' values against their definitions.

use burn::backend::{Autodiff, Flex, NdArray};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Device};
use samtone_loss::{Embeddings, Relations, Temperature};
use samtone_testing::loss::resolve;
use samtone_testing::{tensor, values};
use samtone_text::Key;
use samtone_train::step::{DistillationConfig, DistillationLoss, MatryoshkaConfig, Objective};

const ROWS: usize = 4;
const NEGATIVES: usize = 3;
const DIM: usize = 6;
/// Numbers in all embeddings, queries first, then documents, then hard negatives.
const NUMBERS: usize = ROWS * (2 + NEGATIVES) * DIM;

/// Central differences in f64 err by 1e-9 here.
const TOLERANCE: f64 = 1e-7;

fn numbers() -> Vec<f64> {
    let key = Key::new(5);
    (0..NUMBERS as u64).map(|i| key.normal(i)).collect()
}

/// Scores of every candidate but one, and of none in the last row.
fn teacher() -> Vec<f64> {
    let key = Key::new(6);
    let width = 1 + NEGATIVES;
    let mut scores: Vec<f64> = (0..(ROWS * width) as u64).map(|i| 3.0 * key.normal(i)).collect();
    scores[2] = f64::NAN;
    scores[(ROWS - 1) * width..].fill(f64::NAN);
    scores
}

fn embeddings<B: Backend>(numbers: &[f64]) -> Embeddings<B>
where
    B::Device: Default,
{
    let (queries, rest) = numbers.split_at(ROWS * DIM);
    let (documents, hard) = rest.split_at(ROWS * DIM);
    Embeddings {
        queries: tensor(queries, [ROWS, DIM], DType::F64),
        documents: tensor(documents, [ROWS, DIM], DType::F64),
        hard_negatives: Some(tensor(hard, [ROWS, NEGATIVES, DIM], DType::F64)),
    }
}

/// The value, then the gradients by ln τ and by every number.
fn run<B: AutodiffBackend>(
    objective: &Objective,
    numbers: &[f64],
    log_temperature: f64,
) -> (f64, Vec<f64>)
where
    B::Device: Default,
    Device<B::InnerBackend>: Default,
{
    let temperature = Temperature::from_log(log_temperature).unwrap();
    let embeddings = embeddings::<B::InnerBackend>(numbers);
    let out = objective
        .value_and_gradients::<B>(&embeddings, &Relations::default(), &teacher(), temperature)
        .unwrap();
    let mut gradients = vec![out.log_temperature];
    gradients.extend(values(out.embeddings.queries));
    gradients.extend(values(out.embeddings.documents));
    gradients.extend(values(out.embeddings.hard_negatives.unwrap()));
    (out.loss, gradients)
}

fn contrastive(text: &str) -> Objective {
    resolve(text).into()
}

fn distillation(loss: DistillationLoss) -> DistillationConfig {
    DistillationConfig { loss, weight: 0.7, teacher_temperature: 2.0 }
}

/// Every objective that is tested, by name.
fn objectives() -> Vec<(&'static str, Objective)> {
    let base = || contrastive("preset = \"samtone\"");
    let matryoshka = MatryoshkaConfig { dims: vec![DIM, 4, 1], weights: vec![1.0, 0.5, 2.0] };
    let kl = distillation(DistillationLoss::Kl);
    let margin = distillation(DistillationLoss::MarginMse);
    let dot = contrastive("preset = \"in-batch\"\nsimilarity = \"dot\"");
    vec![
        ("contrastive", base()),
        ("matryoshka", base().with_matryoshka(&matryoshka)),
        ("kl", base().with_distillation(kl.clone())),
        ("margin-mse", base().with_distillation(margin.clone())),
        ("dot, margin-mse", dot.with_distillation(margin)),
        ("matryoshka, kl", base().with_matryoshka(&matryoshka).with_distillation(kl)),
    ]
}

fn check_gradients<B: AutodiffBackend>()
where
    B::Device: Default,
    Device<B::InnerBackend>: Default,
{
    let (numbers, log_temperature) = (numbers(), 0.4_f64.ln());
    for (name, objective) in objectives() {
        let (_, gradients) = run::<B>(&objective, &numbers, log_temperature);
        for (place, gradient) in gradients.iter().enumerate() {
            let step = 1e-5;
            let [up, down] = [step, -step].map(|step| {
                let (mut numbers, mut log_temperature) = (numbers.clone(), log_temperature);
                match place.checked_sub(1) {
                    Some(number) => numbers[number] += step,
                    None => log_temperature += step,
                }
                run::<B>(&objective, &numbers, log_temperature).0
            });
            let difference = (up - down) / (2.0 * step);
            assert!(
                (difference - gradient).abs() <= TOLERANCE * (1.0 + difference.abs()),
                "{name} [{place}]: {difference} by differences, {gradient} in closed form"
            );
        }
    }
}

#[test]
fn gradients_agree_with_central_differences_on_flex() {
    check_gradients::<Autodiff<Flex>>();
}

#[test]
fn gradients_agree_with_central_differences_on_ndarray() {
    check_gradients::<Autodiff<NdArray>>();
}

/// Cosines of row `row`'s query with its document and hard negatives.
fn cosines(numbers: &[f64], row: usize) -> Vec<f64> {
    let vector = |start: usize| &numbers[start..][..DIM];
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let query = vector(row * DIM);
    let own = vector((ROWS + row) * DIM);
    let hard = (0..NEGATIVES).map(|k| vector((2 * ROWS + row * NEGATIVES + k) * DIM));
    let cosine = |x: &[f64]| dot(query, x) / (dot(query, query) * dot(x, x)).sqrt();
    std::iter::once(own).chain(hard).map(cosine).collect()
}

/// The student's and the teacher's scores of each row's known candidates, the document first.
fn known(numbers: &[f64]) -> Vec<Vec<(f64, f64)>> {
    let teacher = teacher();
    let rows = (0..ROWS - 1).map(|row| {
        let teacher = &teacher[row * (1 + NEGATIVES)..][..=NEGATIVES];
        let pairs = cosines(numbers, row).into_iter().zip(teacher.iter().map(|t| t / 2.0));
        pairs.filter(|(_, t)| !t.is_nan()).collect()
    });
    rows.collect()
}

/// What a distillation term adds to the contrastive loss.
fn term(loss: DistillationLoss, numbers: &[f64], temperature: f64) -> f64 {
    let run = |objective| run::<Autodiff<Flex>>(&objective, numbers, temperature.ln()).0;
    let base = contrastive("preset = \"samtone\"");
    (run(base.clone().with_distillation(distillation(loss))) - run(base)) / 0.7
}

#[test]
fn kl_is_its_definition() {
    let (numbers, temperature) = (numbers(), 0.4);
    let softmax = |logits: Vec<f64>| {
        let sum: f64 = logits.iter().map(|x| x.exp()).sum();
        logits.into_iter().map(|x| x.exp() / sum).collect::<Vec<f64>>()
    };
    let rows = known(&numbers);
    let kl = rows.iter().map(|row| {
        let p = softmax(row.iter().map(|(_, t)| *t).collect());
        let q = softmax(row.iter().map(|(s, _)| s / temperature).collect());
        p.iter().zip(q).map(|(p, q)| p * (p / q).ln()).sum::<f64>()
    });
    let expected = kl.sum::<f64>() / rows.len() as f64;
    let got = term(DistillationLoss::Kl, &numbers, temperature);
    assert!((got - expected).abs() < 1e-12, "{got} for {expected}");
}

#[test]
fn margin_mse_is_its_definition() {
    let numbers = numbers();
    let squares: Vec<f64> = known(&numbers)
        .iter()
        .flat_map(|row| row[1..].iter().map(|(s, t)| (row[0].0 - s) - (row[0].1 - t)))
        .map(|error| error * error)
        .collect();
    let expected = squares.iter().sum::<f64>() / squares.len() as f64;
    let got = term(DistillationLoss::MarginMse, &numbers, 0.4);
    assert!((got - expected).abs() < 1e-12, "{got} for {expected}");
}

#[test]
fn matryoshka_is_the_weighted_sum_over_shortened_embeddings() {
    let numbers = numbers();
    let value = |objective: &Objective| run::<Autodiff<Flex>>(objective, &numbers, 0.4_f64.ln()).0;
    let base = || contrastive("preset = \"samtone\"");
    let only = |dim| {
        value(&base().with_matryoshka(&MatryoshkaConfig { dims: vec![dim], weights: vec![] }))
    };
    assert_eq!(only(DIM), value(&base()));
    let three = MatryoshkaConfig { dims: vec![DIM, 4, 1], weights: vec![1.0, 0.5, 2.0] };
    let expected = only(DIM) + 0.5 * only(4) + 2.0 * only(1);
    assert!((value(&base().with_matryoshka(&three)) - expected).abs() < 1e-12);
}
