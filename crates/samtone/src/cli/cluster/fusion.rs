//! Two rankings made one, by ranks alone.

use std::collections::HashMap;

use super::engine::Found;

/// Documents of each ranking that are looked at, at least.
pub(super) const DEPTH: usize = 100;

/// What is added to a rank: the first is worth little more than the second.
const OFFSET: f32 = 60.0;

/// The documents of all `rankings`, each scored by the sum of 1 / (60 + its rank) over those that it
/// stands in, in no order (reciprocal rank fusion: Cormack et al. 2009, doi:10.1145/1571941.1572114).
///
/// By our own arithmetic, not an engine's: Qdrant adds 2 to a rank where Milvus adds 60.
pub(super) fn fused(mut rankings: [Vec<Found>; 2]) -> Vec<Found> {
    let mut scores: HashMap<String, f32> = HashMap::new();
    for ranking in &mut rankings {
        super::in_order(ranking);
        for (rank, Found { id, .. }) in (1_u32..).zip(ranking.drain(..)) {
            *scores.entry(id).or_default() += 1.0 / (OFFSET + rank as f32);
        }
    }
    scores.into_iter().map(|(id, score)| Found { id, score }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_of_both_rankings_comes_before_the_first_of_one() {
        let ranking = |ids: &[&str]| -> Vec<Found> {
            let found = ids.iter().zip([0.9, 0.8, 0.7]);
            // In another order than their scores'.
            found.map(|(id, score)| Found { id: (*id).into(), score }).rev().collect()
        };
        let mut found = fused([ranking(&["a", "b", "c"]), ranking(&["d", "b"])]);
        super::super::in_order(&mut found);
        let ids: Vec<&str> = found.iter().map(|found| &*found.id).collect();
        assert_eq!(ids, ["b", "a", "d", "c"]);
        assert_eq!(found[0].score, 2.0 / 62.0);
        assert_eq!(found[3].score, 1.0 / 63.0);
    }
}
