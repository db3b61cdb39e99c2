//! The order in which tiles are worked on.
//!
//! A tile adds to the rows of its row strip and of its column strip. Tiles come in rounds, no two
//! of a round touching the same strip, so a round may run in parallel without waiting, and every
//! strip sees its tiles in one order whatever the number of threads: results are reproducible.

/// Tiles (row strip, column strip) that may be worked on at the same time.
pub(super) type Round = Vec<(usize, usize)>;

/// Every tile of a matrix with the given numbers of strips.
pub(super) fn full(rows: usize, columns: usize) -> Vec<Round> {
    let (short, long) = (rows.min(columns), rows.max(columns));
    let round = |shift: usize| (0..short).map(move |i| (i, (i + shift) % long));
    let turned = |(i, j)| if rows <= columns { (i, j) } else { (j, i) };
    (0..long).map(|shift| round(shift).map(turned).collect()).collect()
}

/// The tiles on and above the diagonal of a matrix that is its own transpose.
///
/// The tiles above it are the games of a round-robin tournament, by the circle method: one player
/// stays, the others move one seat on.
pub(super) fn symmetric(strips: usize) -> Vec<Round> {
    let mut rounds = vec![(0..strips).map(|i| (i, i)).collect()];
    let seats = strips.next_multiple_of(2); // one seat stays empty where strips are odd
    for shift in 0..seats.saturating_sub(1) {
        let at = |seat: usize| if seat == 0 { 0 } else { 1 + (seat - 1 + shift) % (seats - 1) };
        let games = (0..seats / 2).map(|seat| (at(seat), at(seats - 1 - seat)));
        let games = games.map(|(i, j)| (i.min(j), i.max(j))).filter(|&(_, j)| j < strips);
        rounds.push(games.collect());
    }
    rounds
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn check(rounds: &[Round], expected: &HashSet<(usize, usize)>, disjoint_sides: bool) {
        let tiles: Vec<_> = rounds.iter().flatten().copied().collect();
        assert_eq!(tiles.len(), expected.len(), "every tile once");
        assert_eq!(&tiles.iter().copied().collect::<HashSet<_>>(), expected);
        for round in rounds {
            let strips = round.iter().flat_map(|&(i, j)| {
                let column = if disjoint_sides { j + 1000 } else { j };
                if column == i { vec![i] } else { vec![i, column] }
            });
            let strips: Vec<_> = strips.collect();
            let distinct: HashSet<_> = strips.iter().collect();
            assert_eq!(distinct.len(), strips.len(), "{round:?} shares a strip");
        }
    }

    #[test]
    fn rounds_cover_every_tile_once_and_share_no_strip() {
        for n in 1..12 {
            let upper = (0..n).flat_map(|i| (i..n).map(move |j| (i, j))).collect();
            check(&symmetric(n), &upper, false);
            for m in 1..12 {
                let all = (0..n).flat_map(|i| (0..m).map(move |j| (i, j))).collect();
                check(&full(n, m), &all, true);
            }
        }
    }
}
