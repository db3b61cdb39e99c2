//! Which questions a graph speaks of.

use std::collections::{BTreeSet, HashMap};

use samtone_data::reading::{QaPair, Triple};
use samtone_text::Key;

/// Whether names are mentioned in a text: as whole words, whatever their case.
#[derive(Clone, Debug)]
pub struct Mentions {
    text: String,
}

impl Mentions {
    /// Of `text`.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_lowercase() }
    }

    /// Whether `name`, in lower case, is mentioned.
    fn has(&self, name: &str) -> bool {
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        self.text.match_indices(name).any(|(start, found)| {
            let (before, after) = (&self.text[..start], &self.text[start + found.len()..]);
            !is_letter(before.chars().next_back()) && !is_letter(after.chars().next())
        })
    }
}

/// The questions of which `triples` speak: an answer is the subject or the object of some triple, and
/// the question mentions the other one.
///
/// The "-matched" subsets of SKILL (section 3.2). Triples are looked at one by one: memory grows with
/// the questions alone.
///
/// # Errors
/// The first error among `triples`.
pub fn matched<E>(
    questions: &[QaPair],
    triples: impl IntoIterator<Item = Result<Triple, E>>,
) -> Result<Vec<bool>, E> {
    let mut answered: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, question) in questions.iter().enumerate() {
        for answer in &question.answers {
            answered.entry(answer.to_lowercase()).or_default().push(number);
        }
    }
    let texts: Vec<Mentions> = questions.iter().map(|q| Mentions::new(&q.question)).collect();
    let mut is_matched = vec![false; questions.len()];
    for triple in triples {
        let triple = triple?;
        let (subject, object) = (triple.subject.to_lowercase(), triple.object.to_lowercase());
        for (answer, other) in [(&subject, &object), (&object, &subject)] {
            for &number in answered.get(answer).into_iter().flatten() {
                is_matched[number] |= texts[number].has(other);
            }
        }
    }
    Ok(is_matched)
}

/// A closed part of a graph: questions in a shuffled order and the triples that answer them, until there
/// are `size` triples; and of each split the questions all of whose answers the part holds.
///
/// A triple answers a question if it joins one of its answers with an entity that the question mentions.
/// Questions with an answer that no triple joins are left out. The triples keep their order.
pub fn closed_part(
    triples: &[Triple],
    splits: &[Vec<QaPair>],
    size: usize,
    key: Key,
) -> (Vec<Triple>, Vec<Vec<QaPair>>) {
    let mut named: HashMap<String, Vec<usize>> = HashMap::new();
    for (number, triple) in triples.iter().enumerate() {
        for name in [&triple.subject, &triple.object] {
            named.entry(name.to_lowercase()).or_default().push(number);
        }
    }
    // For each question the triples of all its answers; none if an answer has none.
    let answering = |question: &QaPair| -> Option<Vec<usize>> {
        let text = Mentions::new(&question.question);
        let mut all = Vec::new();
        for answer in &question.answers {
            let answer = answer.to_lowercase();
            let joins = |&&number: &&usize| {
                let triple = &triples[number];
                let names = [&triple.subject, &triple.object].map(|name| name.to_lowercase());
                let other = if names[0] == answer { &names[1] } else { &names[0] };
                text.has(other)
            };
            let found = named.get(&answer).into_iter().flatten().filter(joins);
            let before = all.len();
            all.extend(found.copied());
            if all.len() == before {
                return None;
            }
        }
        Some(all)
    };
    let questions: Vec<(usize, &QaPair, Vec<usize>)> = splits
        .iter()
        .enumerate()
        .flat_map(|(split, questions)| questions.iter().map(move |question| (split, question)))
        .filter_map(|(split, question)| Some((split, question, answering(question)?)))
        .collect();
    let mut part: BTreeSet<usize> = BTreeSet::new();
    for at in key.permutation(questions.len()) {
        if part.len() >= size {
            break;
        }
        part.extend(&questions[at].2);
    }
    let mut chosen = vec![Vec::new(); splits.len()];
    for (split, question, answering) in questions {
        if answering.iter().all(|number| part.contains(number)) {
            chosen[split].push(question.clone());
        }
    }
    (part.into_iter().map(|number| triples[number].clone()).collect(), chosen)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn triple(subject: &str, object: &str) -> Triple {
        Triple { subject: subject.into(), relation: "directed by".into(), object: object.into() }
    }

    fn question(question: &str, answers: &[&str]) -> QaPair {
        let answers = answers.iter().map(ToString::to_string).collect();
        QaPair { question: question.into(), answers }
    }

    #[test]
    fn matched_questions_mention_the_other_side() {
        let triples = [triple("Pulp Fiction", "Quentin Tarantino"), triple("It", "A. B.")];
        let questions = [
            question("who directed pulp fiction?", &["Nobody", "QUENTIN TARANTINO"]),
            question("what did Quentin Tarantino direct", &["Pulp Fiction"]),
            question("who directed Pulp Fictions?", &["Quentin Tarantino"]),
            question("who directed items", &["A. B."]),
            question("who directed It?", &["A. B."]),
            question("who directed Pulp Fiction?", &["Someone"]),
        ];
        let got = matched(&questions, triples.map(Ok::<_, Infallible>)).unwrap();
        assert_eq!(got, [true, true, false, false, true, false]);
    }

    #[test]
    fn a_closed_part_answers_its_questions() {
        let films: Vec<Triple> =
            (0..100).map(|i| triple(&format!("film{i}"), &format!("person{}", i / 2))).collect();
        let train: Vec<QaPair> = (0..100)
            .map(|i| question(&format!("who made film{i}"), &[&format!("person{}", i / 2)]))
            .collect();
        let test: Vec<QaPair> = (0..50)
            .map(|i| {
                let films = [format!("film{}", 2 * i), format!("film{}", 2 * i + 1)];
                question(&format!("what did person{i} make"), &films.each_ref().map(|x| &**x))
            })
            .chain([question("who made film1", &["person7"])])
            .collect();
        let splits = [train, test];
        let (part, chosen) = closed_part(&films, &splits, 30, Key::new(4));
        assert!((30..32).contains(&part.len()), "{}", part.len());
        for split in &chosen {
            let matched = matched(split, part.iter().cloned().map(Ok::<_, Infallible>)).unwrap();
            assert!(!split.is_empty() && matched.iter().all(|&is| is));
        }
        assert_eq!(closed_part(&films, &splits, 30, Key::new(4)), (part, chosen));
    }
}
