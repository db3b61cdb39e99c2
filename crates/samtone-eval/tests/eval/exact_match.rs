//! Exact match against SQuAD's own code on a thousand strange pairs
//! (`fixtures/exact_match.py`).

use samtone_eval::{exact_match, normalize_answer};
use serde::Deserialize;

#[derive(Deserialize)]
struct Pair {
    prediction: String,
    answers: Vec<String>,
    normalized: String,
    #[serde(rename = "match")]
    is_match: bool,
}

#[test]
fn strange_pairs_are_judged_as_squad_judges_them() {
    let text = include_str!("../fixtures/exact_match.jsonl");
    let pairs: Vec<Pair> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(pairs.len(), 1000);
    for (i, pair) in pairs.iter().enumerate() {
        let Pair { prediction, answers, normalized, is_match } = pair;
        assert_eq!(&normalize_answer(prediction), normalized, "pair {i}: {prediction:?}");
        assert_eq!(exact_match(prediction, answers), *is_match, "pair {i}: {prediction:?}");
    }
    let matching = pairs.iter().filter(|pair| pair.is_match).count();
    assert!((200..800).contains(&matching), "{matching} match: the pairs tell little");
}
