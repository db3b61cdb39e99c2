//! What is drawn: a [`Plot`] is a figure reduced to coordinates, names and short texts.
//!
//! The drawing beside the report ([`svg`](crate::svg)) and the interactive one in the page
//! (`assets/report.js`) are made from the same plot, so they cannot disagree.

use serde::Serialize;

use crate::{
    Curve, Figure, Histogram, LearningCurves, Scatter,
    scale::{count, extent, number, padded, rounded},
    text::clean,
};

/// Most characters of a name in a legend or on an axis.
pub(crate) const NAME_CHARS: usize = 60;
/// Most points drawn of one curve; more are thinned, extremes kept.
const CURVE_POINTS: usize = 4000;
/// Most points drawn of all curves, and the fewest that one of them gets.
const ALL_POINTS: usize = 8000;
const FEWEST_POINTS: usize = 50;
/// Of more curves the course is what is seen: they are thinned to means.
const FEW_CURVES: usize = 8;

/// A drawing over two axes.
#[derive(Debug, Serialize)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) description: String,
    /// What the drawing leaves out or does to the numbers; may be empty.
    pub(crate) notes: Vec<String>,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    /// Left, right, bottom, top.
    pub(crate) domain: [f64; 4],
    #[serde(flatten)]
    pub(crate) marks: Marks,
    /// A few numbers a series, for readers who do not see the drawing.
    #[serde(skip)]
    pub(crate) summary: Summary,
}

/// What is drawn over the axes.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Marks {
    /// Without a smoothing where the values are what they are. Muted series are the last.
    Lines {
        smoothing: Option<f64>,
        reference: Option<f64>,
        series: Vec<Line>,
    },
    Points {
        series: Vec<Cloud>,
    },
    Bars {
        edges: Vec<f64>,
        reference: Option<f64>,
        series: Vec<Bars>,
    },
}

#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) name: String,
    #[serde(rename = "muted", skip_serializing_if = "std::ops::Not::not")]
    pub(crate) is_muted: bool,
    /// `None` where the value is not finite.
    pub(crate) points: Vec<(f64, Option<f64>)>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Cloud {
    pub(crate) name: String,
    pub(crate) points: Vec<Dot>,
}

/// A point: position, id, text, and the (series, index) it belongs with.
#[derive(Debug, Serialize)]
pub(crate) struct Dot(
    pub(crate) f64,
    pub(crate) f64,
    String,
    String,
    pub(crate) Option<(usize, usize)>,
);

#[derive(Debug, Serialize)]
pub(crate) struct Bars {
    pub(crate) name: String,
    pub(crate) counts: Vec<usize>,
    /// Finite values, those outside the axis included: what shares are shares of.
    pub(crate) total: usize,
}

/// A small table: a head, then one row a series.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub(crate) head: Vec<&'static str>,
    pub(crate) rows: Vec<Vec<String>>,
}

impl Plot {
    /// The figure's plot, texts cut to `max_chars`; `None` for figures that are tables.
    pub(crate) fn of(figure: &Figure, max_chars: usize) -> Option<Self> {
        match figure {
            Figure::LearningCurves(figure) => Some(lines(figure)),
            Figure::Scatter(figure) => Some(points(figure, max_chars)),
            Figure::Histogram(figure) => Some(bars(figure)),
            Figure::MetricTable(_)
            | Figure::NeighbourBrowser(_)
            | Figure::KeyValues(_)
            | Figure::Table(_)
            | Figure::Examples(_) => None,
        }
    }

    /// The names in the legend.
    pub(crate) fn names(&self) -> Vec<&str> {
        match &self.marks {
            Marks::Lines { series, .. } => {
                series.iter().filter(|s| !s.is_muted).map(|s| s.name.as_str()).collect()
            }
            Marks::Points { series } => series.iter().map(|s| s.name.as_str()).collect(),
            Marks::Bars { series, .. } => series.iter().map(|s| s.name.as_str()).collect(),
        }
    }
}

fn lines(figure: &LearningCurves) -> Plot {
    let finite = || {
        let points = figure.curves.iter().flat_map(|curve| &curve.points);
        points.filter(|(x, y)| x.is_finite() && y.is_finite())
    };
    let (left, right) = padded_flat(extent(finite().map(|p| p.0)).unwrap_or((0.0, 1.0)));
    let (bottom, top) = padded(extent(finite().map(|p| p.1)).unwrap_or((0.0, 1.0)), 0.05);

    let mut curves: Vec<&Curve> = figure.curves.iter().collect();
    curves.sort_by_key(|curve| curve.is_muted);

    let mut notes = Vec::new();
    let longest = figure.curves.iter().map(|curve| curve.points.len()).max().unwrap_or(0);
    let most = (ALL_POINTS / figure.curves.len().max(1)).clamp(FEWEST_POINTS, CURVE_POINTS);
    let is_crowd = figure.curves.len() > FEW_CURVES;
    if longest > most {
        let (what, bins) =
            if is_crowd { ("mean", most) } else { ("lowest and highest value", most / 2) };
        notes.push(format!("Drawn from the {what} of {} bins.", count(bins)));
    }
    let all: usize = figure.curves.iter().map(|curve| curve.points.len()).sum();
    let broken = all - finite().count();
    if broken > 0 {
        notes.push(format!("{} values are not finite and leave gaps.", count(broken)));
    }
    Plot {
        title: clean(&figure.title, 200),
        description: clean(&figure.description, 1000),
        notes,
        x_label: clean(&figure.x_label, NAME_CHARS),
        y_label: clean(&figure.y_label, NAME_CHARS),
        domain: [left, right, bottom, top],
        summary: Summary {
            head: vec!["curve", "values", "first", "last", "lowest", "highest"],
            rows: curves.iter().copied().map(curve_summary).collect(),
        },
        marks: Marks::Lines {
            smoothing: (!figure.is_exact).then(|| first_smoothing(longest.min(most))),
            reference: figure.reference.filter(|x| (left..=right).contains(x)),
            series: curves
                .iter()
                .map(|curve| Line {
                    name: clean(&curve.name, NAME_CHARS),
                    is_muted: curve.is_muted,
                    points: if is_crowd {
                        averaged(&curve.points, most)
                    } else {
                        thinned(&curve.points, most)
                    },
                })
                .collect(),
        },
    }
}

/// The smoothing a figure starts with: an average over about a fiftieth of the longest curve, of at
/// most 20 points.
fn first_smoothing(points: usize) -> f64 {
    let weight = 1.0 - 50.0 / points.max(1) as f64;
    (weight.clamp(0.0, 0.95) * 100.0).round() / 100.0
}

/// A horizontal extent without margins, never empty.
fn padded_flat((low, high): (f64, f64)) -> (f64, f64) {
    if low < high { (low, high) } else { padded((low, high), 0.0) }
}

fn curve_summary(curve: &Curve) -> Vec<String> {
    let finite: Vec<f64> = curve.points.iter().map(|p| p.1).filter(|y| y.is_finite()).collect();
    let (low, high) = extent(finite.iter().copied()).unwrap_or((f64::NAN, f64::NAN));
    let first = finite.first().copied().unwrap_or(f64::NAN);
    let last = finite.last().copied().unwrap_or(f64::NAN);
    let name = clean(&curve.name, NAME_CHARS);
    let values = count(curve.points.len());
    vec![name, values, number(first), number(last), number(low), number(high)]
}

/// A point as it is drawn; without a y where that is not finite.
fn short(&(x, y): &(f64, f64)) -> (f64, Option<f64>) {
    (rounded(x), y.is_finite().then(|| rounded(y)))
}

/// The points that have a place on the x axis.
fn placed(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    points.iter().filter(|p| p.0.is_finite()).copied().collect()
}

/// At most `most` points: of each bin of neighbours the mean, at its last x.
fn averaged(points: &[(f64, f64)], most: usize) -> Vec<(f64, Option<f64>)> {
    let points = placed(points);
    let mean = |bin: &[(f64, f64)]| {
        let finite: Vec<f64> = bin.iter().map(|p| p.1).filter(|y| y.is_finite()).collect();
        (bin[bin.len() - 1].0, finite.iter().sum::<f64>() / finite.len() as f64)
    };
    let bin = points.len().div_ceil(most).max(1);
    points.chunks(bin).map(|bin| short(&mean(bin))).collect()
}

/// At most `most` points: of each bin of neighbours the lowest and the highest.
fn thinned(points: &[(f64, f64)], most: usize) -> Vec<(f64, Option<f64>)> {
    let points = placed(points);
    if points.len() <= most {
        return points.iter().map(short).collect();
    }
    let bin = points.len().div_ceil(most / 2);
    let mut out = Vec::with_capacity(most);
    for bin in points.chunks(bin) {
        let by_value = |a: &&(f64, f64), b: &&(f64, f64)| a.1.total_cmp(&b.1);
        let finite = || bin.iter().filter(|p| p.1.is_finite());
        let (Some(low), Some(high)) = (finite().min_by(by_value), finite().max_by(by_value)) else {
            out.extend(bin.first().map(short));
            continue;
        };
        let (first, second) = if low.0 <= high.0 { (low, high) } else { (high, low) };
        out.push(short(first));
        if second != first {
            out.push(short(second));
        }
    }
    out
}

/// An exponential moving average, corrected for its start; gaps stay gaps.
pub(crate) fn smooth(points: &[(f64, Option<f64>)], weight: f64) -> Vec<(f64, Option<f64>)> {
    let (mut mean, mut scale) = (0.0, 0.0);
    points
        .iter()
        .map(|&(x, y)| {
            let y = y.map(|y| {
                mean = weight * mean + (1.0 - weight) * y;
                scale = weight * scale + (1.0 - weight);
                mean / scale
            });
            (x, y)
        })
        .collect()
}

fn points(figure: &Scatter, max_chars: usize) -> Plot {
    let drawn: Vec<bool> = figure
        .points
        .iter()
        .map(|p| {
            p.position.0.is_finite() && p.position.1.is_finite() && p.group < figure.groups.len()
        })
        .collect();
    let shown = || figure.points.iter().zip(&drawn).filter(|(_, drawn)| **drawn).map(|(p, _)| p);

    // Where each point lands: its group and its place within it.
    let mut sizes = vec![0; figure.groups.len()];
    let places: Vec<Option<(usize, usize)>> = figure
        .points
        .iter()
        .zip(&drawn)
        .map(|(point, drawn)| {
            drawn.then(|| {
                sizes[point.group] += 1;
                (point.group, sizes[point.group] - 1)
            })
        })
        .collect();

    let mut series: Vec<Cloud> = figure
        .groups
        .iter()
        .map(|name| Cloud { name: clean(name, NAME_CHARS), points: Vec::new() })
        .collect();
    for point in shown() {
        let partner = point.partner.and_then(|index| places.get(index).copied().flatten());
        series[point.group].points.push(Dot(
            rounded(point.position.0),
            rounded(point.position.1),
            clean(&point.id, NAME_CHARS),
            clean(&point.text, max_chars),
            partner,
        ));
    }

    let (left, right) = padded(extent(shown().map(|p| p.position.0)).unwrap_or((0.0, 1.0)), 0.04);
    let (bottom, top) = padded(extent(shown().map(|p| p.position.1)).unwrap_or((0.0, 1.0)), 0.04);
    let hidden = drawn.iter().filter(|drawn| !**drawn).count();
    let notes = (hidden > 0).then(|| format!("{} points have no finite position.", count(hidden)));
    Plot {
        title: clean(&figure.title, 200),
        description: clean(&figure.description, 1000),
        notes: notes.into_iter().collect(),
        x_label: String::new(),
        y_label: String::new(),
        domain: [left, right, bottom, top],
        summary: Summary {
            head: vec!["group", "points"],
            rows: series.iter().map(|s| vec![s.name.clone(), count(s.points.len())]).collect(),
        },
        marks: Marks::Points { series },
    }
}

#[expect(clippy::cast_sign_loss, reason = "bins and ranks are counted from 0 up")]
fn bars(figure: &Histogram) -> Plot {
    let all = figure.groups.iter().flat_map(|group| group.values.iter().copied());
    let asked = figure.range.filter(|(low, high)| low.is_finite() && high.is_finite());
    let (low, high) = padded_flat(asked.or_else(|| extent(all)).unwrap_or((0.0, 1.0)));
    let bins = figure.bins.clamp(1, 400);
    let width = (high - low) / bins as f64;
    let edges: Vec<f64> = (0..=bins).map(|i| rounded(low + width * i as f64)).collect();

    let mut outside = 0_usize;
    let mut broken = 0;
    let mut series = Vec::new();
    let mut rows = Vec::new();
    for group in &figure.groups {
        let mut counts = vec![0; bins];
        let mut finite: Vec<f64> = group.values.iter().copied().filter(|v| v.is_finite()).collect();
        broken += group.values.len() - finite.len();
        for value in &finite {
            if (low..=high).contains(value) {
                counts[(((value - low) / width) as usize).min(bins - 1)] += 1;
            } else {
                outside += 1;
            }
        }
        finite.sort_by(f64::total_cmp);
        let name = clean(&group.name, NAME_CHARS);
        let quantile = |q: f64| {
            let last = finite.len().saturating_sub(1);
            finite.get((q * last as f64).round() as usize).copied().unwrap_or(f64::NAN)
        };
        rows.push(vec![
            name.clone(),
            count(finite.len()),
            number(finite.iter().sum::<f64>() / finite.len() as f64),
            number(quantile(0.05)),
            number(quantile(0.5)),
            number(quantile(0.95)),
        ]);
        series.push(Bars { name, counts, total: finite.len() });
    }

    let mut notes = Vec::new();
    if outside > 0 {
        notes.push(format!("{} values lie outside the axis.", count(outside)));
    }
    if broken > 0 {
        notes.push(format!("{} values are not finite.", count(broken)));
    }
    let tallest = series.iter().flat_map(|s| s.counts.iter().map(|c| share(*c, s.total)));
    let top = tallest.fold(0.0, f64::max);
    Plot {
        title: clean(&figure.title, 200),
        description: clean(&figure.description, 1000),
        notes,
        x_label: clean(&figure.x_label, NAME_CHARS),
        y_label: "share of the group (%)".to_owned(),
        domain: [low, high, 0.0, if top > 0.0 { top * 1.08 } else { 1.0 }],
        summary: Summary { head: vec!["group", "values", "mean", "5 %", "median", "95 %"], rows },
        marks: Marks::Bars {
            edges,
            reference: figure.reference.filter(|value| (low..=high).contains(value)),
            series,
        },
    }
}

/// `count` out of `total`, in percent.
pub(crate) fn share(count: usize, total: usize) -> f64 {
    if total == 0 { 0.0 } else { 100.0 * count as f64 / total as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Point;

    #[test]
    fn thinning_keeps_the_spike() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|i| (f64::from(i), 1.0)).collect();
        points[77_777].1 = 9.0;
        let thin = thinned(&points, CURVE_POINTS);
        assert!(thin.len() <= CURVE_POINTS);
        assert!(thin.contains(&(77_777.0, Some(9.0))));
    }

    #[test]
    fn means_keep_the_course_the_end_and_the_gaps() {
        let points: Vec<(f64, f64)> = (1..=6).map(|i| (f64::from(i), f64::from(i * i))).collect();
        let mean = [(2.0, Some(2.5)), (4.0, Some(12.5)), (6.0, Some(30.5))];
        assert_eq!(averaged(&points, 3), mean);
        let gap = [(1.0, f64::NAN), (2.0, f64::NAN), (3.0, 1.0)];
        assert_eq!(averaged(&gap, 2), [(2.0, None), (3.0, Some(1.0))]);
        assert_eq!(averaged(&[], 3), []);
    }

    #[test]
    fn smoothing_starts_at_the_first_value_and_keeps_gaps() {
        let points = [(0.0, Some(4.0)), (1.0, None), (2.0, Some(2.0))];
        let smooth = smooth(&points, 0.5);
        // 2nd value: (0.5·(0.5·4) + 0.5·2) / (0.5·0.5 + 0.5) = 2 / 0.75
        assert_eq!(smooth, [(0.0, Some(4.0)), (1.0, None), (2.0, Some(2.0 / 0.75))]);
    }

    #[test]
    fn histogram_counts_every_value_once() {
        let values = vec![0.0, 0.1, 0.5, 1.0, 7.0, f64::NAN];
        let figure = Histogram { bins: 2, ..Histogram::new("t", "x") };
        let plot = bars(&figure.group("g", values).range(0.0, 1.0));
        let Marks::Bars { series, edges, .. } = &plot.marks else { panic!("a histogram") };
        assert_eq!(edges, &[0.0, 0.5, 1.0]);
        assert_eq!((series[0].counts.as_slice(), series[0].total), ([2, 2].as_slice(), 5));
        assert_eq!(plot.notes.len(), 2, "one outside, one not finite: {:?}", plot.notes);
    }

    #[test]
    fn partners_survive_the_split_into_groups() {
        let point = |group, x: f64, partner| Point {
            group,
            position: (x, 0.0),
            partner,
            ..Point::default()
        };
        let mut figure = Scatter::new("t", ["queries", "documents"]);
        figure.points = vec![
            point(1, 0.0, None),
            point(0, f64::NAN, Some(0)),
            point(0, 1.0, Some(3)),
            point(1, 2.0, Some(2)),
        ];
        let plot = points(&figure, 100);
        let Marks::Points { series } = &plot.marks else { panic!("a scatter") };
        assert_eq!(series[0].points[0].4, Some((1, 1)));
        assert_eq!(series[1].points[1].4, Some((0, 0)));
        assert_eq!(series[1].points[0].4, None);
    }
}
