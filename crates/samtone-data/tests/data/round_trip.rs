//! Writing and reading is the identity, for every format.

use std::borrow::Cow;
use std::path::Path;

use proptest::prelude::*;
use samtone_data::import::columns::{self, Cell, RecordReader, Row};
use samtone_data::import::example::Example;
use samtone_data::import::tevatron::{self, Record};
use samtone_data::import::{Passage, flag_embedding, ms_marco, pairs, squad, trec};
use samtone_data::reading::{Line, Lines};
use samtone_data::{Dataset, Document, Judgment, Query};

/// Any text that is not white space alone.
fn text() -> impl Strategy<Value = String> {
    prop_oneof!["\\PC*[a-zé]\\PC*", any::<String>()].prop_filter("empty", |s| !s.trim().is_empty())
}

/// Text for one cell of a file without quoting.
fn cell() -> impl Strategy<Value = String> {
    "[^\\s\u{FEFF}][^\t\n\r\u{FEFF}]{0,20}"
}

fn id() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_.:/-]{1,8}"
}

fn passage(ids: bool, titles: bool) -> impl Strategy<Value = Passage<'static>> {
    (prop::option::of(id()), text(), text()).prop_map(move |(id, title, text)| Passage {
        id: id.filter(|_| ids).map(Cow::Owned),
        title: Cow::Owned(if titles { title } else { String::new() }),
        text: Cow::Owned(text),
        score: None,
    })
}

fn example(ids: bool, titles: bool) -> impl Strategy<Value = Example<'static>> {
    let many = || prop::collection::vec(passage(ids, titles), 1..4);
    (passage(ids, false), many(), many()).prop_map(|(query, positives, negatives)| Example {
        query,
        positives,
        negatives,
    })
}

/// Calls `each` with the single line that `write` writes.
fn line<T>(write: impl FnOnce(&mut Vec<u8>), each: impl FnOnce(Line<'_>) -> T) -> T {
    let mut bytes = Vec::new();
    write(&mut bytes);
    assert_eq!(bytes.pop(), Some(b'\n'));
    each(Line { number: 2, bytes: &bytes })
}

proptest! {
    #[test]
    fn pairs_come_back(mut example in example(true, false), scored in any::<bool>()) {
        example.positives.truncate(1);
        if scored {
            let passages = example.positives.iter_mut().chain(&mut example.negatives);
            passages.enumerate().for_each(|(i, passage)| passage.score = Some(0.3 - i as f64));
        }
        // The ids of negatives are all there or none is.
        if example.negatives.iter().any(|negative| negative.id.is_none()) {
            example.negatives.iter_mut().for_each(|negative| negative.id = None);
        }
        line(
            |out| pairs::write(out, &example).unwrap(),
            |line| assert_eq!(pairs::parse(line).unwrap(), example),
        );
    }

    #[test]
    fn flag_embedding_comes_back(example in example(false, false)) {
        line(
            |out| flag_embedding::write(out, &example).unwrap(),
            |line| assert_eq!(flag_embedding::parse(line).unwrap(), example),
        );
    }

    #[test]
    fn tevatron_comes_back(
        example in example(true, true),
        mut document in passage(true, true),
        ids in prop::collection::vec(id(), 1..4),
    ) {
        document.id.get_or_insert(Cow::Borrowed("d"));
        let ids: Vec<Cow<'_, str>> = ids.into_iter().map(Cow::Owned).collect();
        let query = example.query.clone();
        let records = [
            Record::Ids { query, positives: ids.clone(), negatives: ids },
            Record::Example(example),
            Record::Document(document),
        ];
        for record in records {
            line(
                |out| tevatron::write(out, &record).unwrap(),
                |line| assert_eq!(tevatron::parse(line).unwrap(), record),
            );
        }
    }

    #[test]
    fn columns_come_back(columns in prop::collection::vec((id(), any::<String>()), 1..5)) {
        let columns: Vec<_> = columns
            .into_iter()
            .map(|(name, text)| (Cow::Owned(format!("c{name}")), Cell::Text(Cow::Owned(text))))
            .collect();
        let row = Row(columns);
        let texts = row.0.iter().map(|(name, cell)| {
            let Cell::Text(text) = cell else { unreachable!("all are texts") };
            (&**name, &**text)
        });
        let json: String = texts
            .map(|(name, text)| format!("{}:{}", serde_json::json!(name), serde_json::json!(text)))
            .collect::<Vec<_>>()
            .join(",");
        line(
            |out| out.extend(format!("{{{json}}}\n").bytes()),
            |line| assert_eq!(columns::parse_json(line).unwrap(), row),
        );
    }

    #[test]
    fn records_come_back(
        rows in prop::collection::vec(prop::collection::vec("[a\",;|\t\n\r \u{FEFF}]{0,6}", 2..4), 1..6),
        delimiter in prop::sample::select(vec![b',', b';', b'\t', b'|']),
    ) {
        let mut writer = csv::WriterBuilder::new();
        let mut writer = writer.delimiter(delimiter).flexible(true).from_writer(Vec::new());
        for row in &rows {
            writer.write_record(row).unwrap();
        }
        // The mark at the start of a file is none of its content.
        let bytes = ["\u{FEFF}".as_bytes(), &writer.into_inner().unwrap()].concat();
        let mut lines = Lines::new(Path::new("a.csv"), Box::new(std::io::Cursor::new(bytes)));
        let mut reader = RecordReader::new(delimiter);
        let mut read = Vec::new();
        while let Some(line) = reader.next(&mut lines).unwrap() {
            read.push(reader.fields(line).unwrap());
        }
        prop_assert_eq!(read, rows);
    }

    #[test]
    fn ms_marco_comes_back(query in id(), document in id(), title in cell(), text in cell(), grade: i32) {
        line(
            |out| out.extend(format!("{document}\turl\t{title}\t{text}\n").bytes()),
            |line| assert_eq!(ms_marco::parse_document(line).unwrap(), (&*document, &*title, &*text)),
        );
        line(
            |out| out.extend(format!("{query}\t{text}\n").bytes()),
            |line| assert_eq!(ms_marco::parse_query(line).unwrap(), (&*query, &*text)),
        );
        line(
            |out| out.extend(format!("{query}\t{document}\t{title}\n").bytes()),
            |line| assert_eq!(ms_marco::parse_triple(line).unwrap(), [&*query, &*document, &*title]),
        );
        line(
            |out| out.extend(format!("{query} 0 {document} {grade}\n").bytes()),
            |line| assert_eq!(ms_marco::parse_judgment(line).unwrap(), (&*query, &*document, grade)),
        );
    }

    #[test]
    fn topics_come_back(
        id in id(),
        // A title may begin as its label does.
        start in "(Topic)?[a-zA-Z0-9é&'?.-]{1,8}",
        words in prop::collection::vec("[a-zA-Z0-9é&'?.-]{1,8}", 0..6),
    ) {
        let text = [vec![start], words].concat().join(" ");
        let topic = trec::Topic { id, text };
        line(
            |out| {
                let text = html_escape::encode_text(&topic.text);
                out.extend(format!("<top>\n<num> Number: {}\n<title> {text}\n</top>\n", topic.id).bytes());
            },
            |line| assert_eq!(trec::parse_topic(line).unwrap(), topic),
        );
    }

    #[test]
    fn trec_documents_come_back(
        id in id(),
        title in prop::collection::vec("[a-zA-Z0-9é&'?.-]{1,8}", 0..4),
        text in prop::collection::vec("[a-zA-Z0-9é&'?.-]{1,8}", 1..9),
    ) {
        let (title, text) = (title.join(" "), text.join(" "));
        let headline = if title.is_empty() { String::new() } else { format!("<HEADLINE>{title}</HEADLINE>\n") };
        let record = format!("<DOC>\n<DOCNO> {id} </DOCNO>\n{headline}<TEXT>\n{text}\n</TEXT>\n</DOC>\n");
        line(
            |out| out.extend(record.bytes()),
            |line| assert_eq!(trec::parse_document(line).unwrap(), trec::TrecDocument { id, title, text }),
        );
    }

    #[test]
    fn mrqa_comes_back(
        context in any::<String>(),
        questions in prop::collection::vec(
            (any::<String>(), any::<String>(), prop::collection::vec((any::<String>(), any::<u32>(), any::<u32>()), 0..3)),
            0..3,
        ),
        candidate in "[0-9a-f]{16,32}",
        (start, length) in (0_usize..1000, 0_usize..1000),
    ) {
        let qas: Vec<_> = questions
            .iter()
            .map(|(qid, question, answers)| {
                let answers: Vec<_> = answers
                    .iter()
                    .map(|(text, start, end)| serde_json::json!({ "text": text, "char_spans": [[start, end]] }))
                    .collect();
                serde_json::json!({ "qid": qid, "question": question, "detected_answers": answers })
            })
            .collect();
        let paragraph = squad::Paragraph {
            context: context.clone(),
            qas: questions
                .into_iter()
                .map(|(id, question, answers)| squad::SquadQuestion {
                    id,
                    question,
                    answers: answers
                        .into_iter()
                        .map(|(text, start, _)| squad::Answer { text, answer_start: start as usize })
                        .collect(),
                })
                .collect(),
        };
        line(
            |out| out.extend(format!("{}\n", serde_json::json!({ "context": context, "qas": qas })).bytes()),
            |line| assert_eq!(squad::parse_mrqa(line).unwrap(), Some(paragraph)),
        );
        let end = start + length;
        let boundary = serde_json::json!({
            "candidate_id": format!("SQuAD_{candidate}/_0_0"), "response_start": start, "response_end": end,
        });
        line(
            |out| out.extend(format!("{boundary}\n").bytes()),
            |line| assert_eq!(squad::parse_boundary(line).unwrap(), (candidate, start..end)),
        );
    }

    #[test]
    fn squad_comes_back(
        articles in prop::collection::vec(
            (any::<String>(), prop::collection::vec((any::<String>(), prop::collection::vec((any::<String>(), any::<String>(), prop::collection::vec((any::<String>(), any::<u32>()), 0..3)), 0..3)), 0..3)),
            0..4,
        ),
    ) {
        let articles: Vec<squad::Article> = articles
            .into_iter()
            .map(|(title, paragraphs)| squad::Article {
                title,
                paragraphs: paragraphs
                    .into_iter()
                    .map(|(context, qas)| squad::Paragraph {
                        context,
                        qas: qas
                            .into_iter()
                            .map(|(id, question, answers)| squad::SquadQuestion {
                                id,
                                question,
                                answers: answers
                                    .into_iter()
                                    .map(|(text, start)| squad::Answer { text, answer_start: start as usize })
                                    .collect(),
                            })
                            .collect(),
                    })
                    .collect(),
            })
            .collect();
        let json = serde_json::json!({ "version": "1.1", "data": articles });
        let mut read = Vec::new();
        let outcome = squad::read_articles(json.to_string().as_bytes(), &mut |article| {
            read.push(article);
            Ok::<(), ()>(())
        });
        prop_assert_eq!(outcome.unwrap(), Ok(()));
        prop_assert_eq!(read, articles);
    }

    #[test]
    fn beir_folders_come_back(
        documents in prop::collection::btree_map(id(), (any::<String>(), any::<String>()), 1..6),
        queries in prop::collection::btree_map(id(), text(), 1..6),
        grades in prop::collection::vec(any::<(prop::sample::Index, prop::sample::Index, i32)>(), 1..8),
    ) {
        let documents: Vec<Document> = documents
            .into_iter()
            .map(|(id, (title, text))| Document { id, title, text })
            .collect();
        let queries: Vec<Query> =
            queries.into_iter().map(|(id, text)| Query { id, text }).collect();
        let mut judgments: Vec<Judgment> = Vec::new();
        for (query, document, grade) in grades {
            let query_id = query.get(&queries).id.clone();
            let document_id = document.get(&documents).id.clone();
            let twice = judgments.iter().any(|j| j.query_id == query_id && j.document_id == document_id);
            if !twice {
                judgments.push(Judgment { query_id, document_id, grade });
            }
        }
        let dataset =
            Dataset::from_records(documents, queries, [("test".to_owned(), judgments)]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        dataset.save(dir.path()).unwrap();
        let again = Dataset::load(dir.path(), &["test"]).unwrap();
        prop_assert!(again.documents().eq(dataset.documents()));
        prop_assert_eq!(again.queries(), dataset.queries());
        prop_assert_eq!(again.judgments("test"), dataset.judgments("test"));
    }
}
