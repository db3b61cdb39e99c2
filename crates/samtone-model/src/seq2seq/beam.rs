//! Beam search, on the host.
//!
//! The rules are those of `transformers`' (`early_stopping` off): every step ranks `2 · beams`
//! continuations of a text; those of the first `beams` that end are finished, the best that do not
//! go on; a text is settled once all its places are taken and no open hypothesis, scored as if it
//! ended now, beats the worst finished one.

use super::config::Decoding;

/// One text's search.
struct Beam {
    /// Open hypotheses, best first.
    open: Vec<Hypothesis>,
    /// Finished ones with their scores, best first.
    finished: Vec<(f64, Vec<u32>)>,
    is_settled: bool,
}

#[derive(Clone)]
struct Hypothesis {
    ids: Vec<u32>,
    /// Σ ln p.
    log_probability: f64,
}

/// A hypothesis and one more token.
#[derive(Clone, Copy)]
struct Continuation {
    parent: usize,
    id: u32,
    log_probability: f64,
}

/// Searches the best text for each of `texts`; gives its ids without `end`.
///
/// `next` gives the scores of every word, `[texts · beams, vocab]`: first with none, then with each
/// row's parent row and last token.
pub(super) fn search(
    texts: usize,
    end: u32,
    decoding: Decoding,
    mut next: impl FnMut(Option<(&[usize], &[u32])>) -> Vec<f32>,
) -> Vec<Vec<u32>> {
    let Decoding { max_tokens, beams, length_penalty } = decoding;
    assert!(beams > 0, "a search keeps at least one hypothesis");
    let first = Hypothesis { ids: Vec::new(), log_probability: 0.0 };
    let mut all: Vec<Beam> = (0..texts)
        .map(|_| Beam { open: vec![first.clone()], finished: Vec::new(), is_settled: false })
        .collect();
    let (mut parents, mut last) = (vec![0; texts * beams], vec![0; texts * beams]);
    for tokens in 1..=max_tokens {
        let scores = next((tokens > 1).then_some((parents.as_slice(), last.as_slice())));
        let vocab = scores.len() / (texts * beams);
        assert!(2 * beams <= vocab, "{beams} beams over a vocabulary of {vocab}");
        let is_last = tokens == max_tokens;
        for (text, beam) in all.iter_mut().enumerate().filter(|(_, beam)| !beam.is_settled) {
            let scores = &scores[text * beams * vocab..][..beams * vocab];
            let ranked = beam.rank(scores, vocab, 2 * beams);
            let ends = |c: &Continuation| c.id == end || is_last;
            let penalty = (tokens as f64).powf(length_penalty);
            for c in ranked[..beams].iter().filter(|c| ends(c)) {
                let mut ids = beam.open[c.parent].ids.clone();
                ids.extend((c.id != end).then_some(c.id));
                beam.finish(c.log_probability / penalty, ids, beams);
            }
            if is_last {
                continue;
            }
            let going: Vec<Continuation> =
                ranked.into_iter().filter(|c| !ends(c)).take(beams).collect();
            for (row, c) in going.iter().enumerate() {
                parents[text * beams + row] = text * beams + c.parent;
                last[text * beams + row] = c.id;
            }
            beam.go_on(&going);
            let best = beam.open[0].log_probability / penalty;
            beam.is_settled = beam.finished.len() == beams && best <= beam.finished[beams - 1].0;
        }
        if all.iter().all(|beam| beam.is_settled) {
            break;
        }
        for (text, _) in all.iter().enumerate().filter(|(_, beam)| beam.is_settled) {
            // A settled text's rows are computed along with the others and not looked at.
            let rows = text * beams..(text + 1) * beams;
            for (parent, row) in parents[rows.clone()].iter_mut().zip(rows) {
                *parent = row;
            }
        }
    }
    all.into_iter().map(|beam| beam.finished.into_iter().next().expect("some ended").1).collect()
}

impl Beam {
    /// The best `count` continuations, best first.
    fn rank(&self, scores: &[f32], vocab: usize, count: usize) -> Vec<Continuation> {
        let mut best: Vec<Continuation> = Vec::with_capacity(count + 1);
        let rows = self.open.iter().zip(scores.chunks_exact(vocab)).enumerate();
        for (parent, (hypothesis, scores)) in rows {
            let top = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let sum: f64 = scores.iter().map(|&score| f64::from(score - top).exp()).sum();
            let base = hypothesis.log_probability - f64::from(top) - sum.ln();
            for (id, &score) in scores.iter().enumerate() {
                let log_probability = base + f64::from(score);
                let is_full = best.len() == count;
                if is_full && best[count - 1].log_probability >= log_probability {
                    continue;
                }
                let at = best.partition_point(|other| other.log_probability >= log_probability);
                best.insert(at, Continuation { parent, id: id as u32, log_probability });
                best.truncate(count);
            }
        }
        best
    }

    fn finish(&mut self, score: f64, ids: Vec<u32>, places: usize) {
        let at = self.finished.partition_point(|other| other.0 >= score);
        self.finished.insert(at, (score, ids));
        self.finished.truncate(places);
    }

    fn go_on(&mut self, going: &[Continuation]) {
        let grown = going.iter().map(|c| Hypothesis {
            ids: [&self.open[c.parent].ids[..], &[c.id]].concat(),
            log_probability: c.log_probability,
        });
        self.open = grown.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Words: 0, 1 = end, 2, 3. Probabilities of the next word by the last one; the first by `None`.
    fn chain(last: Option<u32>) -> [f32; 4] {
        match last {
            None => [0.0, 0.0, 0.6, 0.4],
            Some(2) => [0.3, 0.3, 0.2, 0.2],
            Some(3) => [0.0, 0.9, 0.05, 0.05],
            _ => [0.25; 4],
        }
    }

    fn searched(beams: usize) -> Vec<Vec<u32>> {
        let decoding = Decoding { max_tokens: 4, beams, length_penalty: 0.0 };
        search(1, 1, decoding, |rows| {
            let last = rows
                .map_or(vec![None; beams], |(_, last)| last.iter().map(|&id| Some(id)).collect());
            last.into_iter().flat_map(|last| chain(last).map(f32::ln)).collect()
        })
    }

    #[test]
    fn a_wider_search_finds_what_greedy_passes_over() {
        // Greedy takes 2 (0.6) and can only come to 0.6 · 0.3; 3 then the end has 0.4 · 0.9.
        assert_eq!(searched(1)[0][0], 2);
        assert_eq!(searched(2), [[3]]);
    }
}
