use proptest::prelude::*;
use samtone_data::{Document, Judgment, Query};
use samtone_eval::Run;
use samtone_eval::bm25::{Analyzer, Bm25Config};
use samtone_eval::search::Similarity;

use super::*;

/// Scores given for every query and document; `None` for what the source does not hold.
struct Given(Vec<Vec<Option<f32>>>);

impl CandidateSource for Given {
    fn search(&self, queries: &[usize], depth: usize) -> Result<Vec<Vec<Hit>>, TrainError> {
        let ranked = |&query: &usize| {
            let scored = self.0[query].iter().enumerate();
            let mut hits: Vec<Hit> = scored
                .filter_map(|(index, &score)| score.map(|score| Hit { index, score }))
                .collect();
            hits.sort_by(|a, b| b.score.total_cmp(&a.score));
            hits.truncate(depth);
            hits
        };
        Ok(queries.iter().map(ranked).collect())
    }

    fn score(&self, query: usize, document: usize) -> Option<f32> {
        self.0[query][document]
    }
}

/// Documents of these texts; queries `what?`, `who?`, …; judgments (query, document, grade) of `train`
/// and of `test`.
fn dataset(
    texts: &[&str],
    queries: &[&str],
    train: &[(usize, usize, i32)],
    test: &[(usize, usize, i32)],
) -> Dataset {
    let documents = texts.iter().enumerate().map(|(i, text)| Document {
        id: format!("d{i}"),
        title: String::new(),
        text: (*text).into(),
    });
    let queries = queries
        .iter()
        .enumerate()
        .map(|(i, text)| Query { id: format!("q{i}"), text: (*text).into() });
    let judgments = |list: &[(usize, usize, i32)]| {
        let judgment = |&(query, document, grade): &(usize, usize, i32)| Judgment {
            query_id: format!("q{query}"),
            document_id: format!("d{document}"),
            grade,
        };
        list.iter().map(judgment).collect::<Vec<_>>()
    };
    let splits = [("train".to_owned(), judgments(train)), ("test".to_owned(), judgments(test))];
    Dataset::from_records(documents.collect(), queries.collect(), splits).unwrap()
}

/// Eight documents of different texts, scored 0.9, 0.8, …, 0.2 for the one query; the positive is the
/// third.
fn ladder() -> (Dataset, Given) {
    let texts = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let scores = (0..8).map(|i| Some(0.9 - 0.1 * i as f32)).collect();
    (dataset(&texts, &["what?"], &[(0, 2, 1)], &[]), Given(vec![scores]))
}

#[track_caller]
fn check(dataset: &Dataset, source: &Given, config: &MineConfig, expected: &[&[usize]]) {
    let mined = mine(dataset, "train", source, config).unwrap();
    let negatives: Vec<&[usize]> = mined.rows.iter().map(|row| &row.negatives[..]).collect();
    assert_eq!(negatives, expected);
}

fn config(ranks: &str, count: usize, margin: ScoreMargin) -> MineConfig {
    MineConfig { ranks: ranks.parse().unwrap(), count, margin, ..MineConfig::default() }
}

#[test]
fn ranks_count_what_is_not_relevant() {
    let (dataset, source) = ladder();
    check(&dataset, &source, &config("1-3", 9, ScoreMargin::NONE), &[&[0, 1, 3]]);
    check(&dataset, &source, &config("3-5", 2, ScoreMargin::NONE), &[&[3, 4]]);
    check(&dataset, &source, &config("7-99", 2, ScoreMargin::NONE), &[&[7]]);
    check(&dataset, &source, &config("8-99", 2, ScoreMargin::NONE), &[&[]]);
}

#[test]
fn a_margin_is_taken_from_the_positives_score() {
    let (dataset, source) = ladder();
    let margin = |absolute, relative| ScoreMargin { absolute, relative };
    // The positive scores 0.7.
    check(&dataset, &source, &config("1-99", 2, margin(None, Some(0.05))), &[&[3, 4]]);
    check(&dataset, &source, &config("1-99", 2, margin(None, Some(0.2))), &[&[4, 5]]);
    check(&dataset, &source, &config("1-99", 2, margin(Some(0.25), None)), &[&[5, 6]]);
    check(&dataset, &source, &config("1-99", 2, margin(Some(0.05), Some(0.5))), &[&[6, 7]]);
    // The range comes first: what it holds may all be too near.
    check(&dataset, &source, &config("1-2", 2, margin(None, Some(0.05))), &[&[]]);
    check(&dataset, &source, &config("1-4", 9, margin(None, Some(0.05))), &[&[3, 4]]);
}

#[test]
fn a_relative_margin_below_zero_still_lies_below() {
    let (dataset, _) = ladder();
    let scores = [-0.1, -0.2, -0.4, -0.41, -0.43, -0.5, -0.6, -0.7];
    let source = Given(vec![scores.map(Some).to_vec()]);
    // 5 % of 0.4 is 0.02: at most -0.42.
    check(&dataset, &source, &config("1-99", 2, ScoreMargin::default()), &[&[4, 5]]);
}

#[test]
fn no_positive_of_any_split_nor_a_copy_of_one_is_taken() {
    let texts = ["a", "b", "A ", "c", "what?", "b", "d"];
    let dataset = dataset(
        &texts,
        &["what?", "What? "],
        // Document 6 is relevant to a query of the same words.
        &[(0, 0, 1), (0, 3, 0)],
        &[(0, 3, 0), (1, 6, 2)],
    );
    let scores = (0..7).map(|i| Some(1.0 - 0.1 * i as f32)).collect();
    let source = Given(vec![scores, Vec::new()]);
    // 0 and 2 are the positive, 4 is the query itself, 5 is 1 once more.
    check(&dataset, &source, &config("1-99", 9, ScoreMargin::NONE), &[&[1, 3]]);
}

#[test]
fn without_a_score_of_the_positive_no_margin_can_be_kept() {
    let (dataset, mut source) = ladder();
    source.0[0][2] = None;
    let mined =
        mine(&dataset, "train", &source, &config("1-99", 2, ScoreMargin::default())).unwrap();
    assert_eq!((mined.report.unscored_positives, mined.report.without), (1, 1));
    check(&dataset, &source, &config("1-99", 2, ScoreMargin::NONE), &[&[0, 1]]);
}

#[test]
fn rows_with_too_few_are_kept_or_left_out() {
    let (dataset, source) = ladder();
    let kept = config("1-4", 3, ScoreMargin::default());
    let mined = mine(&dataset, "train", &source, &kept).unwrap();
    let report = &mined.report;
    assert_eq!((report.pairs, report.rows, report.negatives), (1, 1, 2));
    assert_eq!((report.short, report.without, report.too_near), (1, 0, 2));
    assert!((report.mean_positive_score.unwrap() - 0.7).abs() < 1e-6);
    assert!((report.mean_negative_score.unwrap() - 0.55).abs() < 1e-6);
    check(&dataset, &source, &MineConfig { whole_rows: true, ..kept }, &[]);
}

/// A filter that scores by the document alone counts how often each is looked at.
#[track_caller]
fn check_filter(config: &MineConfig, margin: f32, expected: &[usize], dropped: usize) {
    let (dataset, source) = ladder();
    // The positive is the third.
    let scores = [0.9, 0.1, 0.5, 0.6, 0.3, 0.45, 0.5, 0.2];
    let looked_at = std::cell::RefCell::new(vec![0_usize; 8]);
    let score = |pairs: &[(usize, usize)]| -> Result<Vec<f32>, TrainError> {
        let score = |&(query, document): &(usize, usize)| {
            assert_eq!(query, 0);
            looked_at.borrow_mut()[document] += 1;
            scores[document]
        };
        Ok(pairs.iter().map(score).collect())
    };
    let told = std::cell::Cell::new((0, 0));
    let observe = |done, all| told.set((done, all));
    let filter = Filter { score: &score, margin, observe: &observe };
    let mined = mine_filtered(&dataset, "train", &source, config, Some(&filter)).unwrap();
    assert_eq!(mined.rows[0].negatives, expected);
    assert_eq!((mined.report.false_negatives, told.get()), (dropped, (1, 1)));
    // The positive, the negatives, and what was dropped for them, each once.
    let looked_at = looked_at.into_inner();
    assert!(looked_at.iter().all(|&times| times <= 1), "{looked_at:?}");
    assert_eq!(looked_at.iter().sum::<usize>(), 1 + expected.len() + dropped);
}

#[test]
fn a_filter_drops_what_it_takes_to_be_relevant() {
    let all = |count| config("1-99", count, ScoreMargin::NONE);
    check_filter(&all(1), 0.0, &[1], 1);
    check_filter(&all(3), 0.0, &[1, 4, 5], 2);
    // As high as the positive is low enough.
    check_filter(&all(9), 0.0, &[1, 4, 5, 6, 7], 2);
    check_filter(&all(9), 0.1, &[1, 4, 7], 4);
    check_filter(&all(2), 1.0, &[], 7);
    check_filter(&config("1-4", 9, ScoreMargin::NONE), 0.0, &[1, 4], 2);
    // What the source's margin drops is not looked at.
    check_filter(&config("1-99", 2, ScoreMargin::default()), 0.0, &[4, 5], 1);
    let random = |seed| MineConfig { pick: Pick::Random, seed, ..all(9) };
    check_filter(&random(3), 0.1, &[1, 4, 7], 4);
}

#[test]
fn random_picks_follow_the_seed_and_cover_the_range() {
    let texts: Vec<String> = (0..40).map(|i| format!("text {i}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let judgments: Vec<(usize, usize, i32)> = (0..40).map(|document| (0, document, 1)).collect();
    // Forty rows of one query: the odd documents are relevant, the even ones are in range.
    let odd: Vec<_> = judgments.into_iter().filter(|&(_, document, _)| document % 2 == 1).collect();
    let dataset = dataset(&texts, &["what?"], &odd, &[]);
    let source = Given(vec![(0..40).map(|i| Some(1.0 - 0.01 * i as f32)).collect()]);
    let config =
        |seed| MineConfig { pick: Pick::Random, seed, ..config("1-10", 3, ScoreMargin::NONE) };
    let rows = |seed| mine(&dataset, "train", &source, &config(seed)).unwrap().rows;
    assert_eq!(rows(1), rows(1));
    assert_ne!(rows(1), rows(2));
    let all: Vec<Vec<usize>> = rows(1).into_iter().map(|row| row.negatives).collect();
    assert!(all.iter().all(|row| row.len() == 3 && row.is_sorted()), "{all:?}");
    let mut taken = all.concat();
    taken.sort_unstable();
    taken.dedup();
    assert_eq!(taken, (0..10).map(|i| 2 * i).collect::<Vec<_>>());
}

#[test]
fn a_document_without_the_text_that_is_read_is_no_negative() {
    let mut documents: Vec<Document> = ["a", "", "c"]
        .into_iter()
        .zip(["d0", "d1", "d2"])
        .map(|(text, id)| Document { id: id.into(), title: id.into(), text: text.into() })
        .collect();
    documents[0].title.clear();
    let query = Query { id: "q0".into(), text: "what?".into() };
    let judgment = Judgment { query_id: "q0".into(), document_id: "d0".into(), grade: 1 };
    let splits = [("train".to_owned(), vec![judgment])];
    let dataset = Dataset::from_records(documents, vec![query], splits).unwrap();
    let source = Given(vec![vec![Some(0.9), Some(0.8), Some(0.7)]]);
    let titled = config("1-9", 9, ScoreMargin::NONE);
    check(&dataset, &source, &titled, &[&[1, 2]]);
    check(&dataset, &source, &MineConfig { document_text: DocumentText::Text, ..titled }, &[&[2]]);
}

#[test]
fn sources_score_a_document_as_they_rank_it() {
    let texts = ["red sea", "red hill", "blue sea sea", "green", "the red red sea"];
    let dataset = dataset(&texts, &["red sea?", "sea"], &[(0, 0, 1), (1, 2, 1)], &[]);
    #[track_caller]
    fn check_scores(source: &impl CandidateSource, depth: usize) {
        for (query, hits) in source.search(&[0, 1], depth).unwrap().into_iter().enumerate() {
            assert!(!hits.is_empty());
            for hit in hits {
                let score = source.score(query, hit.index).unwrap();
                assert!((score - hit.score).abs() < 1e-6, "{query}, {hit:?}: {score}");
            }
        }
    }
    let bm25 =
        Lexical::new(&dataset, DocumentText::TitleText, Analyzer::default(), Bm25Config::default());
    check_scores(&bm25, 5);
    let (queries, documents) =
        ([0.1, 0.9, -0.5, 0.4], [1.0, 0.2, 0.3, -2.0, 0.1, 0.1, 0.0, 0.0, 3.0, 4.0]);
    for similarity in [Similarity::Cosine, Similarity::Dot] {
        let model = Dense::new(&[1, 0], &queries, &documents, 2, similarity);
        check_scores(&model, 5);
        // Row 0 is query 1.
        let dot = model.score(1, 0).unwrap()
            * if similarity == Similarity::Dot { 1.0 } else { (0.82_f32 * 1.04).sqrt() };
        assert!((dot - 0.28).abs() < 1e-6, "{dot}");
    }
    let run = Run::new([("q1", "d0", 0.5), ("q1", "d2", 0.7), ("q0", "d4", 1.5), ("q9", "x", 0.1)]);
    let run = Ranked::new(&run.unwrap(), &dataset).unwrap();
    check_scores(&run, 5);
    assert_eq!(run.score(0, 0), None);
    assert_eq!(
        run.search(&[1], 5).unwrap()[0].iter().map(|hit| hit.index).collect::<Vec<_>>(),
        [2, 0]
    );
}

#[test]
fn a_run_of_other_data_is_refused() {
    let (dataset, _) = ladder();
    for (run, message) in [
        ([("q9", "d0", 1.0)], "the query `q9` of the run is not in the data"),
        ([("q0", "d9", 1.0)], "the document `d9` of the run is not in the data"),
    ] {
        let error = Ranked::new(&Run::new(run).unwrap(), &dataset).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

proptest! {
    /// Whatever the scores: negatives are what the definition says, taken one by one.
    #[test]
    fn negatives_keep_every_rule(
        scores in prop::collection::vec(prop::collection::vec(-20_i32..20, 12), 3),
        judged in prop::collection::btree_set((0_usize..3, 0_usize..12), 1..8),
        first in 1_usize..6,
        more in 0_usize..8,
        count in 1_usize..5,
        relative in prop::option::of(0.0_f64..0.5),
        absolute in prop::option::of(0.0_f64..1.0),
    ) {
        let texts: Vec<String> = (0..12).map(|i| format!("text {}", i % 9)).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let judgments: Vec<_> = judged.iter().map(|&(query, document)| (query, document, 1)).collect();
        let dataset = dataset(&texts, &["one?", "two?", "three?"], &judgments, &[]);
        let score = |query: usize, document: usize| f64::from(scores[query][document] as f32 / 10.0);
        let given = scores.iter().map(|row| row.iter().map(|&score| Some(score as f32 / 10.0)).collect());
        let source = Given(given.collect());
        let margin = ScoreMargin { absolute, relative };
        let ranks = Ranks::new(first, first + more).unwrap();
        let config = MineConfig { ranks, count, margin, ..MineConfig::default() };
        let mined = mine(&dataset, "train", &source, &config).unwrap();
        prop_assert_eq!(mined.rows.len(), judgments.len());
        for (row, &(query, positive, _)) in mined.rows.iter().zip(&judgments) {
            let relevant = |document: usize| {
                judged.iter().any(|&(q, d)| q == query && d % 9 == document % 9)
            };
            let mut order: Vec<usize> = (0..12).filter(|&document| !relevant(document)).collect();
            order.sort_by(|&a, &b| score(query, b).total_cmp(&score(query, a)));
            let mut expected: Vec<usize> = Vec::new();
            for &document in order.iter().take(first + more).skip(first - 1) {
                let (s, p) = (score(query, document), score(query, positive));
                let low = relative.is_none_or(|r| s <= p - r * p.abs()) && absolute.is_none_or(|a| s <= p - a);
                // A copy has the fate of the first in range, even where that one scored too high.
                let copy = order[first - 1..].iter().take_while(|&&other| other != document).any(|other| other % 9 == document % 9);
                if low && !copy && expected.len() < count {
                    expected.push(document);
                }
            }
            prop_assert_eq!(&row.negatives, &expected);
        }
    }
}
