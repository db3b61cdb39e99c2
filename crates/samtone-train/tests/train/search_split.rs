//! A split is searched to the same hits from its texts and from their token rows.

use burn::backend::Flex;
use samtone_data::embedded::World;
use samtone_eval::search::Similarity;
use samtone_eval::{Convention, Metric, evaluate};
use samtone_model::{BertConfig, ModelError, Side};
use samtone_testing::model::{one_layer_bert, retriever};
use samtone_text::DocumentText;
use samtone_train::run::{Embedded, JudgedSplit, similarity_of};

#[test]
fn texts_and_their_token_rows_are_embedded_and_found_alike() {
    // More documents than one step embeds.
    let dataset = World::generate(0, 2100).dataset();
    let split = JudgedSplit::new(&dataset, "test");
    let texts: Vec<_> = split.document_texts(DocumentText::Text).collect();
    let bert = BertConfig { intermediate: 8, ..one_layer_bert() };
    let retriever = retriever::<Flex>(&texts[..100], 300, bert, 42, false, "a: ");

    let mut seen = Vec::new();
    let from_texts = split
        .embed(&retriever, DocumentText::Text, 5, &mut |side, done, total| {
            seen.push((side, done, total));
        })
        .unwrap();
    let (q, d) = (split.queries().len(), texts.len());
    assert!(d > 2048);
    let expected = [
        (Side::Query, 0, q),
        (Side::Query, q, q),
        (Side::Document, 0, d),
        (Side::Document, 2048, d),
        (Side::Document, d, d),
    ];
    assert_eq!(seen, expected);

    let rows = |side, texts: &[&str]| retriever.tokenize(side, texts).unwrap();
    let texts: Vec<&str> = texts.iter().map(|text| &**text).collect();
    let (queries, documents) =
        (rows(Side::Query, &split.query_texts()), rows(Side::Document, &texts));
    let from_rows = Embedded::of(
        &retriever,
        (q, |range| Ok::<_, ModelError>(queries[range].to_vec())),
        (d, |range| Ok(documents[range].to_vec())),
        5,
        &mut |_, _, _| {},
    )
    .unwrap();
    assert_eq!(from_rows, from_texts);

    assert_eq!(similarity_of(&retriever), Similarity::Dot);
    let hits = from_rows.search(similarity_of(&retriever), 10, &[]).unwrap();
    let run = split.run(&hits).unwrap();
    let found =
        evaluate(&split.qrels().unwrap(), &run, &[Metric::MRR_10], Convention::default()).unwrap();
    assert_eq!((found.queries().len(), found.missing(), found.unjudged()), (q, 0, 0));
}
