//! Rows of unequal lengths in batches with little padding.

/// Rows of these `lengths`, in tokens, in batches of at most `batch_tokens` tokens, or of one row where
/// that is longer; the longest rows come first.
pub(crate) fn length_batches(lengths: &[usize], batch_tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..lengths.len()).collect();
    order.sort_by_key(|&row| std::cmp::Reverse(lengths[row]));
    let mut batches = Vec::new();
    let mut rest = order.as_slice();
    while let Some(&longest) = rest.first() {
        let fitting = (batch_tokens / lengths[longest].max(1)).clamp(1, rest.len());
        let (now, later) = rest.split_at(fitting);
        batches.push(now.to_vec());
        rest = later;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::length_batches;

    #[test]
    fn a_batch_holds_as_many_rows_as_fit_under_its_longest() {
        let lengths = [2, 9, 0, 3, 4, 3];
        for (tokens, expected) in [
            (8, vec![vec![1], vec![4, 3], vec![5, 0], vec![2]]),
            (1, vec![vec![1], vec![4], vec![3], vec![5], vec![0], vec![2]]),
            (99, vec![vec![1, 4, 3, 5, 0, 2]]),
        ] {
            assert_eq!(length_batches(&lengths, tokens), expected, "{tokens}");
        }
        assert!(length_batches(&[], 8).is_empty());
    }
}
