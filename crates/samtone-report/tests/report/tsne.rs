//! The projection against scikit-learn's on the same points.
use samtone_report::{ReportError, Tsne};

const POINTS: usize = 300;
const DIM: usize = 16;
const CLUSTERS: usize = 6;
const PAIRS: usize = 300;
const PAIR_DIM: usize = 256;

/// How much of scikit-learn's trustworthiness may be lost.
const TOLERANCE: f64 = 0.02;

/// The generator of `fixtures/tsne.py`, bit for bit: uniform in [-0.5, 0.5).
fn numbers(count: usize) -> Vec<f64> {
    let mut state = 1_u64;
    let mut uniform = || {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1 << 24) - 0.5
    };
    (0..count).map(|_| uniform()).collect()
}

/// Six clusters.
fn clusters() -> Vec<f32> {
    let place = |i: usize, k: usize| if k % CLUSTERS == i % CLUSTERS { 0.8 } else { 0.0 };
    let numbers = numbers(POINTS * DIM).into_iter().enumerate();
    numbers.map(|(at, number)| (number + place(at / DIM, at % DIM)) as f32).collect()
}

/// Pairs without clusters, all about as far from each other: more diffuse than any model's towers.
fn pairs() -> Vec<f32> {
    let numbers = numbers(3 * PAIRS * PAIR_DIM);
    let (shared, own) = numbers.split_at(PAIRS * PAIR_DIM);
    let shared = shared.iter().chain(shared);
    shared.zip(own).map(|(shared, own)| (shared + 0.8 * own) as f32).collect()
}

/// For each of `count` points the others, nearest first.
fn neighbours(count: usize, distance: impl Fn(usize, usize) -> f64) -> Vec<Vec<usize>> {
    let order = |i: usize| {
        let mut others: Vec<usize> = (0..count).filter(|j| *j != i).collect();
        others.sort_by(|a, b| distance(i, *a).total_cmp(&distance(i, *b)));
        others
    };
    (0..count).map(order).collect()
}

/// Trustworthiness (Venna and Kaski 2001): 1 less a penalty for each of a point's `k` neighbours in
/// the plane that is none of its `k` in space, growing with its rank there.
fn trustworthiness(points: &[f32], dim: usize, plane: &[(f64, f64)], k: usize) -> f64 {
    let count = plane.len();
    let in_space = neighbours(count, |i, j| {
        let (a, b) = (&points[i * dim..][..dim], &points[j * dim..][..dim]);
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    });
    let in_plane = neighbours(count, |i, j| {
        (plane[i].0 - plane[j].0).powi(2) + (plane[i].1 - plane[j].1).powi(2)
    });
    let mut penalty = 0;
    for (space, plane) in in_space.iter().zip(&in_plane) {
        for neighbour in &plane[..k] {
            let rank =
                space.iter().position(|other| other == neighbour).expect("all others are ranked")
                    + 1;
            penalty += rank.saturating_sub(k);
        }
    }
    let (n, k) = (count as f64, k as f64);
    1.0 - 2.0 / (n * k * (2.0 * n - 3.0 * k - 1.0)) * penalty as f64
}

/// Projects `points` and compares with what `fixtures/tsne.py` prints (scikit-learn 1.9.1,
/// perplexity 30): the first number, trustworthiness@10 and the divergence in nats.
#[track_caller]
fn check(points: &[f32], dim: usize, (first, trust, divergence): (f32, f64, f64)) {
    assert!((points[0] - first).abs() < 1e-6, "{} is not the reference's {first}", points[0]);
    let projection = Tsne::default().project(points, dim).unwrap();
    let found = trustworthiness(points, dim, &projection.positions, 10);
    assert!(found > trust - TOLERANCE, "trustworthiness@10 {found}, scikit-learn's is {trust}");
    let found = projection.kl_divergence;
    assert!((found - divergence).abs() < 0.1, "{found} nats, scikit-learn's {divergence}");
}

#[test]
fn clusters_are_kept_as_well_as_by_scikit_learn() {
    check(&clusters(), DIM, (0.723_209_14, 0.973, 0.562));
}

#[test]
fn diffuse_neighbourhoods_are_kept_as_well_as_by_scikit_learn() {
    check(&pairs(), PAIR_DIM, (0.158_469_62, 0.695, 1.322));
}

/// The divergence of `plane` from `points` in nats, every step in f64: affinities of perplexity 30
/// to each point's 90 nearest, found by bisection.
fn divergence(points: &[f32], dim: usize, plane: &[(f64, f64)]) -> f64 {
    let count = plane.len();
    let square = |i: usize, j: usize| -> f64 {
        let (a, b) = (&points[i * dim..][..dim], &points[j * dim..][..dim]);
        a.iter().zip(b).map(|(a, b)| f64::from(a - b).powi(2)).sum()
    };
    let mut affinities = vec![0.0; count * count];
    for i in 0..count {
        let others = (0..count).filter(|j| *j != i);
        let mut near: Vec<(f64, usize)> = others.map(|j| (square(i, j), j)).collect();
        near.sort_by(|a, b| a.0.total_cmp(&b.0));
        near.truncate(90);
        let least = near[0].0;
        let weight = |beta: f64, square: f64| (-beta * (square - least)).exp();
        let (mut low, mut high) = (0.0, 1e4);
        for _ in 0..100 {
            let beta = f64::midpoint(low, high);
            let sum: f64 = near.iter().map(|(square, _)| weight(beta, *square)).sum();
            let mean: f64 =
                near.iter().map(|(square, _)| weight(beta, *square) * (square - least)).sum();
            let is_flat = sum.ln() + beta * mean / sum > 30_f64.ln();
            (low, high) = if is_flat { (beta, high) } else { (low, beta) };
        }
        let sum: f64 = near.iter().map(|(square, _)| weight(low, *square)).sum();
        for (square, j) in near {
            let share = weight(low, square) / sum / (2 * count) as f64;
            affinities[i * count + j] += share;
            affinities[j * count + i] += share;
        }
    }
    let closeness = |i: usize, j: usize| {
        1.0 / (1.0 + (plane[i].0 - plane[j].0).powi(2) + (plane[i].1 - plane[j].1).powi(2))
    };
    let pairs = || (0..count * count).map(|at| (at / count, at % count)).filter(|(i, j)| i != j);
    let total: f64 = pairs().map(|(i, j)| closeness(i, j)).sum();
    let term = |(i, j): (usize, usize)| {
        let p = affinities[i * count + j];
        if p > 0.0 { p * (p * total / closeness(i, j)).ln() } else { 0.0 }
    };
    pairs().map(term).sum()
}

/// How much of the divergence f32 may cost.
const ROUNDING: f64 = 0.01;

/// Two squares in the plane, far apart. Each point of the first has a dimension of its own besides,
/// so that its neighbours are all far, and in f32 `e^(-β·d²)` is next to nothing.
#[test]
fn far_neighbours_keep_their_affinities() {
    const EACH: usize = 150;
    const ROW: usize = 2 + EACH;
    let places = numbers(4 * EACH);
    let mut points = vec![0.0; 2 * EACH * ROW];
    for (i, (row, place)) in points.chunks_exact_mut(ROW).zip(places.chunks_exact(2)).enumerate() {
        let (shift, own) = if i < EACH { (0.0, 10.0) } else { (30.0, 0.0) };
        row[0] = (10.0 * place[0] + shift) as f32;
        row[1] = (10.0 * place[1]) as f32;
        row[2 + i % EACH] = own;
    }
    let projection = Tsne::default().project(&points, ROW).unwrap();
    let exact = divergence(&points, ROW, &projection.positions);
    let found = projection.kl_divergence;
    assert!((found - exact).abs() < ROUNDING * exact, "{found} nats, in f64 {exact}");
}

#[test]
fn the_seed_decides_every_bit() {
    let points = clusters();
    let project = |seed| {
        let tsne = Tsne { epochs: 300, seed, ..Tsne::default() };
        tsne.project(&points, DIM).unwrap()
    };
    assert!(project(1) == project(1), "the same seed gives other positions");
    assert!(project(1) != project(2), "another seed gives the same positions");
}

#[test]
fn equal_points_do_not_break_it() {
    let projection = Tsne { perplexity: 5.0, epochs: 50, ..Tsne::default() };
    let positions = projection.project(&[0.5; 40 * 3], 3).unwrap().positions;
    assert!(positions.iter().all(|(x, y)| x.is_finite() && y.is_finite()));
}

#[test]
fn mistakes_are_named() {
    let few = Tsne::default().project(&[0.0; 50 * 2], 2).unwrap_err();
    assert!(matches!(few, ReportError::TooFewPoints { points: 50, needed: 91, .. }), "{few}");
    assert_eq!(few.hint().unwrap(), "a perplexity of 16 or less works here");
    assert!(
        Tsne { perplexity: 16.0, epochs: 1, ..Tsne::default() }.project(&[0.0; 100], 2).is_ok()
    );

    let broken = [[0.0; 180].as_slice(), &[f32::NAN, 0.0]].concat();
    let broken = Tsne::default().project(&broken, 2).unwrap_err();
    assert!(matches!(broken, ReportError::NotFinite { point: 90 }), "{broken}");

    let zero = Tsne { perplexity: 0.0, ..Tsne::default() }.project(&[0.0; 20], 2).unwrap_err();
    assert!(matches!(zero, ReportError::Perplexity { .. }), "{zero}");
}
