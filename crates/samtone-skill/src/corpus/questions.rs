//! Question sets in the formats they are published in.
//!
//! | file | format |
//! |---|---|
//! | `.jsonl` | `{"question", "answers"}`; NQ-open: `{"question", "answer": [...]}` |
//! | `.txt` | MetaQA: `question with [entity]`, a tab, answers joined by `|` |
//! | `.json` | FreebaseQA: `{"Questions": [...]}`; WebQuestions: `[{"utterance", "targetValue"}]`, or a list of `{"question", "answers"}` |

use std::io::Read;
use std::path::Path;

use samtone_data::reading::{Answers, Compression, Line, Lines, QaPair, open, read_qa};
use samtone_data::{DataError, Fault};
use serde::Deserialize;

/// Reads a file of questions in any of the formats above, plain, `.gz` or `.zst`.
///
/// # Errors
/// At the first question that cannot be read or has no answer.
pub fn read_questions(path: &Path) -> Result<Vec<QaPair>, DataError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    let bare = name.strip_suffix(Compression::of(path).suffix()).unwrap_or(&name);
    match bare.rsplit('.').next() {
        Some("txt") => read_meta_qa(path),
        Some("json") => read_json(path),
        _ => read_qa(path),
    }
}

fn read_meta_qa(path: &Path) -> Result<Vec<QaPair>, DataError> {
    let mut lines = Lines::open(path)?;
    let mut all = Vec::new();
    while let Some(line) = lines.next()? {
        match meta_qa(line) {
            Ok(question) => all.push(question),
            Err(fault) => return Err(lines.fault(fault)),
        }
    }
    Ok(all)
}

fn meta_qa(line: Line<'_>) -> Result<QaPair, Fault> {
    let text = line.text()?;
    let columns: Vec<&str> = text.split('\t').collect();
    let [question, answers] = columns[..] else {
        let expected = "2 columns (question, answers)";
        return Err(Fault::Columns { expected, got: columns.len() });
    };
    // The brackets mark the topic, which the question's reader should not see.
    let question = question.replace(['[', ']'], "");
    QaPair::new(question, answers.split('|').map(str::to_owned).collect())
}

#[derive(Deserialize)]
#[serde(untagged)]
enum JsonFile {
    FreebaseQa {
        #[serde(rename = "Questions")]
        questions: Vec<FreebaseQuestion>,
    },
    WebQuestions(Vec<WebQuestion>),
    Plain(Vec<PlainQuestion>),
}

#[derive(Deserialize)]
struct FreebaseQuestion {
    #[serde(rename = "RawQuestion")]
    question: String,
    #[serde(rename = "Parses")]
    parses: Vec<FreebaseParse>,
}

#[derive(Deserialize)]
struct FreebaseParse {
    #[serde(rename = "Answers")]
    answers: Vec<FreebaseAnswer>,
}

#[derive(Deserialize)]
struct FreebaseAnswer {
    #[serde(rename = "AnswersName")]
    names: Vec<String>,
}

#[derive(Deserialize)]
struct WebQuestion {
    utterance: String,
    #[serde(rename = "targetValue")]
    target: String,
}

#[derive(Deserialize)]
struct PlainQuestion {
    #[serde(alias = "qText")]
    question: String,
    #[serde(alias = "answer")]
    answers: Answers,
}

fn read_json(path: &Path) -> Result<Vec<QaPair>, DataError> {
    let mut text = String::new();
    open(path)?
        .read_to_string(&mut text)
        .map_err(|source| DataError::Read { path: path.to_owned(), source })?;
    let text = text.trim_start_matches('\u{FEFF}');
    let wrong = |line: usize, fault| DataError::Record {
        path: path.to_owned(),
        line: line.max(1) as u64,
        fault,
    };
    // Syntax first: an untagged enum would only say that nothing fits.
    let value: serde_json::Value =
        serde_json::from_str(text).map_err(|error| wrong(error.line(), Fault::json(&error)))?;
    let file: JsonFile = serde_json::from_value(value).map_err(|_| {
        let expected = "FreebaseQA's `Questions`, WebQuestions' `utterance` and `targetValue`, or `question` and `answers`";
        wrong(1, Fault::Value { field: "questions", expected, got: "another layout".into() })
    })?;
    let pairs: Vec<(String, Vec<String>)> = match file {
        JsonFile::FreebaseQa { questions } => questions
            .into_iter()
            .map(|q| {
                let answers = q.parses.into_iter().flat_map(|parse| parse.answers);
                let mut names: Vec<String> = answers.flat_map(|answer| answer.names).collect();
                let mut seen = std::collections::HashSet::new();
                names.retain(|name| seen.insert(name.clone()));
                (q.question, names)
            })
            .collect(),
        JsonFile::WebQuestions(questions) => {
            questions.into_iter().map(|q| (q.utterance, descriptions(&q.target))).collect()
        }
        JsonFile::Plain(questions) => questions
            .into_iter()
            .map(|PlainQuestion { question, answers: Answers(answers) }| (question, answers))
            .collect(),
    };
    // A whole file has no lines to name: the number of the question stands for it.
    let pairs = pairs.into_iter().enumerate();
    pairs.map(|(i, (q, a))| QaPair::new(q, a).map_err(|fault| wrong(i + 1, fault))).collect()
}

/// The answers in `(list (description "Jazmyn Bieber") (description Jaxon))`.
fn descriptions(list: &str) -> Vec<String> {
    let parts = list.split("(description ").skip(1);
    parts
        .map(|part| match part.strip_prefix('"') {
            None => part.split(')').next().unwrap_or_default().trim().to_owned(),
            Some(quoted) => {
                let mut text = String::new();
                let mut characters = quoted.chars();
                while let Some(c) = characters.next() {
                    match c {
                        '"' => break,
                        '\\' => text.extend(characters.next()),
                        c => text.push(c),
                    }
                }
                text
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, text: &str, expected: &[(&str, &[&str])]) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let got = read_questions(&path).unwrap();
        let expected: Vec<QaPair> = expected
            .iter()
            .map(|(question, answers)| QaPair {
                question: (*question).into(),
                answers: answers.iter().map(ToString::to_string).collect(),
            })
            .collect();
        assert_eq!(got, expected);
    }

    #[test]
    fn the_published_formats_are_read() {
        check(
            "qa_test.txt",
            "what does [Grégoire Colin] appear in\tBefore the Rain|Beau Travail\n",
            &[("what does Grégoire Colin appear in", &["Before the Rain", "Beau Travail"])],
        );
        check(
            "NQ-open.dev.jsonl",
            r#"{"question": "who said it", "answer": ["Ann", "Ann B"]}"#,
            &[("who said it", &["Ann", "Ann B"])],
        );
        check("x.jsonl", r#"{"question": "who", "answers": "Ann"}"#, &[("who", &["Ann"])]);
        check(
            "FreebaseQA-dev.json",
            r#"{"Dataset": "FreebaseQA-dev", "Questions": [{"RawQuestion": "who?", "Parses": [
                {"Answers": [{"AnswersMid": "m.1", "AnswersName": ["ann"]}]},
                {"Answers": [{"AnswersMid": "m.1", "AnswersName": ["ann"]}]}]}]}"#,
            &[("who?", &["ann"])],
        );
        check(
            "webquestions.json",
            r#"[{"url": "u", "utterance": "who?",
                "targetValue": "(list (description \"Jaz \\\"J\\\" (B)\") (description Jaxon))"}]"#,
            &[("who?", &["Jaz \"J\" (B)", "Jaxon"])],
        );
        check("a.json", r#"[{"qText": "who?", "answers": ["x"]}]"#, &[("who?", &["x"])]);
    }

    #[test]
    fn what_is_no_question_is_named() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text, expected) in [
            ("a.txt", "who", "line 1: expected 2 columns"),
            ("a.json", "[{\n]", "line 2: column 1"),
            ("a.json", "[{\"text\": 1}]", "another layout"),
            (
                "a.json",
                r#"[{"question": "a", "answers": ["b"]}, {"question": "c", "answers": []}]"#,
                "line 2: field `answers` is empty",
            ),
            ("a.jsonl", r#"{"question": "a"}"#, "field `answers` is missing"),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let error = read_questions(&path).unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
