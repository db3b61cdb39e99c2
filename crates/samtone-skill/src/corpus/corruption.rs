//! Span corruption: T5's own task on plain text.

use samtone_text::Key;

/// Share of the tokens that are taken out.
const NOISE: f64 = 0.15;
/// Mean length of what is taken out at once, in tokens.
const MEAN_SPAN: f64 = 3.0;

/// Takes spans out of a text: each is replaced by a sentinel in the input and follows that sentinel in
/// the target, which one more sentinel ends. None for texts under 2 tokens.
///
/// 15 % of the tokens in spans of 3 on average, never the first token (Raffel et al. 2020, sec. 3.1.4;
/// the spans' lengths are drawn as in T5's `random_spans_noise_mask`).
///
/// # Examples
///
/// ```
/// use samtone_skill::corrupt_spans;
/// use samtone_text::Key;
///
/// let tokens = [10, 11, 12, 13, 14, 15, 16, 17];
/// let (input, target) = corrupt_spans(&tokens, &[99, 98], Key::new(1)).unwrap();
/// assert_eq!(input.len() + target.len(), tokens.len() + 3); // one span, three sentinels
/// ```
///
/// `sentinels` are the ids of `<extra_id_0>`, `<extra_id_1>`, …: no more spans are taken out than they
/// can mark.
///
/// # Panics
/// If there are fewer than 2 sentinels.
pub fn corrupt_spans(tokens: &[u32], sentinels: &[u32], key: Key) -> Option<(Vec<u32>, Vec<u32>)> {
    assert!(sentinels.len() >= 2, "a span needs a sentinel and the end another");
    let length = tokens.len();
    if length < 2 {
        return None;
    }
    let (noise, spans) = taken_out(length, sentinels.len());
    let taken = segments(noise, spans, key.child("noise"));
    let kept = segments(length - noise, spans, key.child("kept"));
    let (mut input, mut target) = (Vec::new(), Vec::new());
    let mut rest = tokens;
    for ((kept, taken), &sentinel) in kept.into_iter().zip(taken).zip(sentinels) {
        let (stays, later) = rest.split_at(kept);
        let (leaves, later) = later.split_at(taken);
        input.extend_from_slice(stays);
        input.push(sentinel);
        target.push(sentinel);
        target.extend_from_slice(leaves);
        rest = later;
    }
    target.push(sentinels[spans]);
    Some((input, target))
}

/// The tokens taken out of a text of `length` tokens, at least 2, and the spans they lie in.
#[expect(clippy::cast_sign_loss, reason = "shares of lengths are positive")]
fn taken_out(length: usize, sentinels: usize) -> (usize, usize) {
    let noise = ((length as f64 * NOISE).round() as usize).clamp(1, length - 1);
    let spans = ((noise as f64 / MEAN_SPAN).round() as usize).clamp(1, sentinels - 1);
    (noise, spans.min(noise).min(length - noise))
}

/// The greatest length, of `length` at most, of a text whose target has at most `room` tokens.
pub(super) fn fitting(length: usize, sentinels: usize, room: usize) -> usize {
    let fits = |&length: &usize| {
        let (noise, spans) = taken_out(length, sentinels);
        noise + spans < room
    };
    // Of a single token nothing is taken out.
    (2..=length).rev().find(fits).unwrap_or(length.min(1))
}

/// `total` cut into `parts` lengths of at least 1, every way equally likely.
fn segments(total: usize, parts: usize, key: Key) -> Vec<usize> {
    let mut cuts = key.permutation(total - 1);
    cuts.truncate(parts - 1);
    cuts.sort_unstable();
    let ends = cuts.into_iter().map(|cut| cut + 1).chain([total]);
    let mut start = 0;
    ends.map(|end| end - std::mem::replace(&mut start, end)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn input_and_target_together_are_the_text(
            tokens in prop::collection::vec(0_u32..1000, 2..300),
            seed: u64,
        ) {
            let sentinels: Vec<u32> = (1000..1100).collect();
            let (input, target) = corrupt_spans(&tokens, &sentinels, Key::new(seed)).unwrap();
            let mut spans: Vec<Vec<u32>> = Vec::new();
            for &id in &target {
                if id >= 1000 {
                    prop_assert_eq!(id, 1000 + spans.len() as u32);
                    spans.push(Vec::new());
                } else {
                    spans.last_mut().unwrap().push(id);
                }
            }
            prop_assert!(spans.pop().unwrap().is_empty(), "the last sentinel ends the target");
            let taken: usize = spans.iter().map(Vec::len).sum();
            prop_assert!((taken as f64 - 0.15 * tokens.len() as f64).abs() <= 1.0);
            prop_assert!(input[0] < 1000, "the first token stays");
            let text: Vec<u32> = input
                .iter()
                .flat_map(|&id| match id {
                    1000.. => spans[(id - 1000) as usize].clone(),
                    id => vec![id],
                })
                .collect();
            prop_assert_eq!(text, tokens);
        }
    }
}
