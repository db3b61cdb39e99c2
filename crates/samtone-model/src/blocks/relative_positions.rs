//! Relative positions: the distance between two tokens as a learned bias of their score.

use burn::module::{Module, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{Int, Tensor, TensorData};

use crate::blocks::layout::index;
use crate::error::ModelError;
use crate::parameter::{Builder, Init};

/// The bias of every class of distances, one for each head; layers may share it.
#[derive(Module, Debug)]
pub(crate) struct RelativePositions<B: Backend> {
    table: Param<Tensor<B, 2>>,
    #[module(skip)]
    classes: Classes,
}

/// How distances fall into classes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Classes {
    pub(crate) buckets: usize,
    /// Distance, in tokens, from which all share a class.
    pub(crate) furthest: usize,
    /// Whether keys after the query have classes of their own (encoder), or none (decoder).
    pub(crate) looks_ahead: bool,
}

impl<B: Backend> RelativePositions<B> {
    /// The positions whose table is called `name`: how it begins, how many heads it serves, and what
    /// distances it knows.
    pub(crate) fn new(
        builder: &mut Builder<'_, B>,
        name: &str,
        heads: usize,
        init: Init,
        classes: Classes,
    ) -> Result<Self, ModelError> {
        let table = builder.distances(&format!("{name}.weight"), [classes.buckets, heads], init)?;
        Ok(Self { table, classes })
    }

    /// The bias of every distance `key - query` from `1 - seq` up, `[2 · seq - 1, heads]`.
    pub(crate) fn distances(&self, seq: usize) -> Tensor<B, 2> {
        self.rows((0..2 * seq - 1).map(|row| (row.abs_diff(seq - 1), row + 1 > seq)))
    }

    /// The bias of the keys from the first token to the query's own, at position `query`:
    /// `[query + 1, heads]`.
    pub(crate) fn before(&self, query: usize) -> Tensor<B, 2> {
        self.rows((0..=query).map(|key| (query - key, false)))
    }

    fn rows(&self, distances: impl Iterator<Item = (usize, bool)>) -> Tensor<B, 2> {
        let rows: Vec<i32> = distances
            .map(|(distance, is_after)| index(self.classes.of(distance, is_after)))
            .collect();
        let table = self.table.val();
        let shape = [rows.len()];
        let rows: Tensor<B, 1, Int> =
            Tensor::from_data(TensorData::new(rows, shape), &table.device());
        table.select(0, rows)
    }
}

impl Classes {
    /// The class of a distance in tokens, and of whether the key comes after the query: exact when
    /// near, logarithmic further off.
    ///
    /// Computed in f32, as Hugging Face does, so that the classes' borders are the same.
    #[expect(clippy::cast_sign_loss, reason = "the logarithm of a number above 1 is positive")]
    fn of(self, distance: usize, is_after: bool) -> usize {
        let (count, base, distance) = match (self.looks_ahead, is_after) {
            (true, true) => (self.buckets / 2, self.buckets / 2, distance),
            (true, false) => (self.buckets / 2, 0, distance),
            // What lies ahead is never attended to: its class is anyone's.
            (false, true) => (self.buckets, 0, 0),
            (false, false) => (self.buckets, 0, distance),
        };
        let exact = count / 2;
        let class = if distance < exact {
            distance
        } else {
            let reach = (self.furthest as f64 / exact as f64).ln() as f32;
            let share = (distance as f32 / exact as f32).ln() / reach;
            count.min(exact + (share * (count - exact) as f32) as usize + 1) - 1
        };
        base + class
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(looks_ahead: bool, expected: &[(i32, usize)]) {
        let classes = Classes { buckets: 32, furthest: 128, looks_ahead };
        for &(distance, expected) in expected {
            let got = classes.of(distance.unsigned_abs() as usize, distance > 0);
            assert_eq!(got, expected, "distance {distance}");
        }
    }

    #[test]
    fn distances_fall_into_the_published_buckets() {
        // Worked by hand from the formula with 32 buckets and a maximum distance of 128.
        check(
            true,
            &[
                (0, 0),
                (-1, 1),
                (1, 17),
                (-7, 7),
                (7, 23),
                (-8, 8),
                (-16, 10),
                (-127, 15),
                (500, 31),
            ],
        );
        check(false, &[(0, 0), (-1, 1), (-15, 15), (-16, 16), (-32, 21), (-127, 31), (-500, 31)]);
    }
}
