//! The embedded corpus: a small seeded world of people, places and works, told in prose.
//!
//! A world is a list of facts (triples). Each fact is told by one document, whose title is the fact's
//! subject, and asked for by questions in other words: no content word of a relation's questions is
//! used by the documents that tell that relation. Every subject has six or seven documents, one a
//! fact, so matching names (what BM25 does) finds the subject but not the fact. What must be learnt is
//! which words ask for what, and that carries over to subjects never asked about in training: the
//! splits share relations and the parts of names, never a subject.
//!
//! On the default world BM25 reaches an nDCG@10 of about 0.5 and a P@1 of about 0.17 on the test
//! questions; a test keeps it there.
//!
//! Some questions have several relevant documents (a marriage is told from both sides; a teacher has
//! several pupils), and most documents answer several questions, so a batch can hold false negatives
//! as real data does. Nothing in it is made for one loss or another.

mod names;
mod prose;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::Path;

use samtone_text::Key;

use self::names::{Kind, Names};
use self::prose::{RELATIONS, Relation, Target, Value};
use crate::dataset::Dataset;
use crate::error::{DataError, Unwritten};
use crate::reading::knowledge::{self, QaPair, Triple};
use crate::record::{Document, Judgment, Query};

/// The part of the data a question belongs to. All questions about one subject lie in one split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// Eight subjects in ten.
    Train,
    /// One in ten.
    Dev,
    /// One in ten.
    Test,
}

impl Split {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Train, Self::Dev, Self::Test];

    /// The name of its qrels file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Dev => "dev",
            Self::Test => "test",
        }
    }
}

/// A question with everything that answers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Its text.
    pub text: String,
    /// The right answers: the objects of the facts asked for (for an inverse question, the subjects).
    pub answers: Vec<String>,
    /// The facts asked for, as indices into [`World::triples`].
    pub facts: Vec<usize>,
    /// Indices of the documents that tell them.
    pub documents: Vec<usize>,
    /// Where it belongs.
    pub split: Split,
}

/// A generated world.
///
/// # Examples
///
/// ```
/// use samtone_data::embedded::World;
///
/// let world = World::generate(7, 600);
/// assert_eq!(world.documents().len(), 600);
/// let question = &world.questions()[0];
/// let fact = &world.triples()[question.facts[0]];
/// assert!(question.answers.contains(&fact.object) || question.answers.contains(&fact.subject));
/// ```
#[derive(Clone, Debug)]
pub struct World {
    triples: Vec<Triple>,
    documents: Vec<Document>,
    questions: Vec<Question>,
}

/// A fact before it is put into words.
struct Fact {
    relation: &'static Relation,
    subject: usize,
    object: Object,
}

/// The other side of a fact: a thing of the world, or a plain value.
enum Object {
    Thing(usize),
    Value(String),
}

/// A thing: what it is and what it is called.
struct Thing {
    kind: Kind,
    name: String,
    split: Split,
}

impl World {
    /// The sizes a world can have, in documents.
    pub const SIZES: RangeInclusive<usize> = 100..=200_000;

    /// The size of the quick start's world, in documents.
    pub const DEFAULT_SIZE: usize = 2000;

    /// Generates the world of this seed with `size` documents.
    ///
    /// # Panics
    /// If `size` is not in [`World::SIZES`].
    pub fn generate(seed: u64, size: usize) -> Self {
        assert!(
            Self::SIZES.contains(&size),
            "a world has {} to {} documents, not {size}",
            Self::SIZES.start(),
            Self::SIZES.end()
        );
        let key = Key::new(seed).child("world");
        let things = things(key, size);
        let mut facts = facts(key, &things);
        facts.truncate(size);
        let object = |fact: &Fact| match &fact.object {
            Object::Thing(thing) => things[*thing].name.clone(),
            Object::Value(value) => value.clone(),
        };
        let triples: Vec<Triple> = facts
            .iter()
            .map(|fact| Triple {
                subject: things[fact.subject].name.clone(),
                relation: fact.relation.name.to_owned(),
                object: object(fact),
            })
            .collect();
        let documents = triples
            .iter()
            .zip(&facts)
            .enumerate()
            .map(|(i, (triple, fact))| Document {
                id: format!("d{i}"),
                title: triple.subject.clone(),
                text: prose::tell(key.child("prose").at(i as u64), fact.relation, triple),
            })
            .collect();
        let questions = questions(key, &things, &facts, &triples);
        Self { triples, documents, questions }
    }

    /// The facts, one per document and in their order.
    pub fn triples(&self) -> &[Triple] {
        &self.triples
    }

    /// The documents: document i tells fact i.
    pub fn documents(&self) -> &[Document] {
        &self.documents
    }

    /// The questions of all splits.
    pub fn questions(&self) -> &[Question] {
        &self.questions
    }

    /// The questions of a split with their answers, for closed-book question answering.
    pub fn qa(&self, split: Split) -> Vec<QaPair> {
        let of_split = self.questions.iter().filter(|question| question.split == split);
        of_split
            .map(|question| QaPair {
                question: question.text.clone(),
                answers: question.answers.clone(),
            })
            .collect()
    }

    /// Writes the world: a folder in BEIR layout, with `triples.tsv` and `qa/<split>.jsonl` beside it.
    /// It appears whole or not at all.
    ///
    /// # Errors
    /// If the folder exists, or a file cannot be written.
    pub fn save(&self, dir: &Path) -> Result<(), DataError> {
        if dir.exists() {
            return Err(DataError::Exists { path: dir.to_owned() });
        }
        let written = samtone_files::write_folder(dir, |dir| {
            self.dataset().save(dir)?;
            knowledge::write_triples(&dir.join("triples.tsv"), &self.triples)?;
            let qa = dir.join("qa");
            std::fs::create_dir(&qa)?;
            for split in Split::ALL {
                let path = qa.join(format!("{}.jsonl", split.name()));
                knowledge::write_qa(&path, &self.qa(split))?;
            }
            Ok(())
        });
        written.map_err(|failure: Unwritten| failure.at(dir))
    }

    /// The world as a retrieval data set with the splits `train`, `dev` and `test`.
    pub fn dataset(&self) -> Dataset {
        let queries = self.questions.iter().enumerate();
        let queries =
            queries.map(|(i, question)| Query { id: format!("q{i}"), text: question.text.clone() });
        let splits = Split::ALL.map(|split| {
            let questions = self.questions.iter().enumerate();
            let questions = questions.filter(|(_, question)| question.split == split);
            let judgments = questions.flat_map(|(i, question)| {
                question.documents.iter().map(move |document| Judgment {
                    query_id: format!("q{i}"),
                    document_id: format!("d{document}"),
                    grade: 1,
                })
            });
            (split.name().to_owned(), judgments.collect())
        });
        Dataset::from_records(self.documents.clone(), queries.collect(), splits)
            .expect("a world's ids are numbers, and its judgments name what is there")
    }
}

/// The things of a world large enough for `size` facts.
fn things(key: Key, size: usize) -> Vec<Thing> {
    let relations = |kind| RELATIONS.iter().filter(|relation| relation.subject == kind).count();
    let count = |kind, percent: usize| (size * percent).div_ceil(100 * relations(kind)) + 1;
    let counts = [
        (Kind::Person, count(Kind::Person, 50)),
        (Kind::Place, count(Kind::Place, 20)),
        (Kind::Work, count(Kind::Work, 30)),
    ];
    let mut things = Vec::new();
    for (kind, count) in counts {
        let names = Names::new(key.child("names"), kind, count);
        things.extend(names.map(|name| Thing { kind, name, split: Split::Train }));
    }
    // Within a kind every tenth thing of a random order is for dev, every tenth for test.
    let mut start = 0;
    for (kind, count) in counts {
        let order = key.child("splits").at(kind as u64).permutation(count);
        for (i, thing) in things[start..start + count].iter_mut().enumerate() {
            thing.split = match order[i] % 10 {
                0 => Split::Dev,
                1 => Split::Test,
                _ => Split::Train,
            };
        }
        start += count;
    }
    things
}

/// All facts: one per thing and relation of its kind, in a random order of things.
fn facts(key: Key, things: &[Thing]) -> Vec<Fact> {
    let of_kind = |kind| -> Vec<usize> {
        (0..things.len()).filter(|&thing| things[thing].kind == kind).collect()
    };
    let (people, places) = (of_kind(Kind::Person), of_kind(Kind::Place));
    let partners = partners(key.child("partners"), &people);
    let mut facts = Vec::new();
    for subject in key.child("order").permutation(things.len()) {
        let of_kind = RELATIONS.iter().enumerate();
        let of_kind = of_kind.filter(|(_, relation)| relation.subject == things[subject].kind);
        for (number, relation) in of_kind {
            let key = key.child("objects").at(number as u64).at(subject as u64);
            let thing = |among: &[usize]| {
                let mut attempts = (0..).map(|attempt| among[key.below(attempt, among.len())]);
                attempts.find(|&object| object != subject).unwrap_or(subject)
            };
            let object = match relation.object {
                Target::Partner => match partners.get(&subject) {
                    Some(&partner) => Object::Thing(partner),
                    None => continue,
                },
                Target::Person => Object::Thing(thing(&people)),
                Target::Place => Object::Thing(thing(&places)),
                Target::Value(Value::Year(from, to)) => {
                    Object::Value((from + key.below(0, to - from)).to_string())
                }
                Target::Value(Value::OneOf(words)) => {
                    Object::Value(words[key.below(0, words.len())].to_owned())
                }
            };
            facts.push(Fact { relation, subject, object });
        }
    }
    facts
}

/// Marriages: people in pairs; one stays single if their number is odd.
fn partners(key: Key, people: &[usize]) -> BTreeMap<usize, usize> {
    let order = key.permutation(people.len());
    let pairs = order.chunks_exact(2).map(|pair| (people[pair[0]], people[pair[1]]));
    pairs.flat_map(|(a, b)| [(a, b), (b, a)]).collect()
}

/// The questions of a world.
fn questions(key: Key, things: &[Thing], facts: &[Fact], triples: &[Triple]) -> Vec<Question> {
    let mut questions = Vec::new();
    // What each person teaches, governs, made or is honoured by: relation number, object -> facts.
    let mut inverse: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    // Both sides of a marriage, told by two documents: subject -> the other side's fact.
    let mut marriage: BTreeMap<usize, usize> = BTreeMap::new();
    for (index, fact) in facts.iter().enumerate() {
        if let Object::Thing(object) = fact.object {
            let number =
                RELATIONS.iter().position(|relation| std::ptr::eq(relation, fact.relation));
            inverse.entry((number.unwrap_or_default(), object)).or_default().push(index);
            if fact.relation.object == Target::Partner {
                marriage.insert(object, index);
            }
        }
    }
    for (index, (fact, triple)) in facts.iter().zip(triples).enumerate() {
        let key = key.child("questions").at(index as u64);
        let mut told = vec![index];
        if fact.relation.object == Target::Partner {
            told.extend(marriage.get(&fact.subject));
        }
        for text in prose::ask(key, fact.relation.questions, &triple.subject, 1 + key.below(9, 2)) {
            questions.push(Question {
                text,
                answers: vec![triple.object.clone()],
                facts: vec![index],
                documents: told.clone(),
                split: things[fact.subject].split,
            });
        }
    }
    for ((number, object), told) in inverse {
        let key = key.child("inverse").at(number as u64).at(object as u64);
        let name = &things[object].name;
        for text in prose::ask(key, RELATIONS[number].inverse, name, 1) {
            questions.push(Question {
                text,
                answers: told.iter().map(|&fact| triples[fact].subject.clone()).collect(),
                facts: told.clone(),
                documents: told.clone(),
                split: things[object].split,
            });
        }
    }
    // The order of the questions tells nothing about their facts.
    let order = key.child("shuffle").permutation(questions.len());
    let mut questions: Vec<Option<Question>> = questions.into_iter().map(Some).collect();
    order.into_iter().filter_map(|i| questions[i].take()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(12))]

        #[test]
        fn answers_follow_from_triples(seed: u64, size in 100_usize..3000) {
            let world = World::generate(seed, size);
            prop_assert_eq!(world.documents().len(), size);
            prop_assert_eq!(world.triples().len(), size);
            let mut objects: HashMap<(&str, &str), BTreeSet<&str>> = HashMap::new();
            let mut subjects: HashMap<(&str, &str), BTreeSet<&str>> = HashMap::new();
            for triple in world.triples() {
                let (s, r, o) = (&*triple.subject, &*triple.relation, &*triple.object);
                objects.entry((s, r)).or_default().insert(o);
                subjects.entry((o, r)).or_default().insert(s);
            }
            for question in world.questions() {
                let fact = &world.triples()[question.facts[0]];
                let answers: BTreeSet<&str> = question.answers.iter().map(String::as_str).collect();
                let forward = question.text.contains(&fact.subject);
                let expected = if forward {
                    &objects[&(&*fact.subject, &*fact.relation)]
                } else {
                    prop_assert!(question.text.contains(&fact.object));
                    &subjects[&(&*fact.object, &*fact.relation)]
                };
                prop_assert_eq!(&answers, expected, "{}", question.text);
                // Every document said to be relevant names what was asked and one of the answers.
                for &document in &question.documents {
                    let text = &world.documents()[document].text;
                    let told = &world.triples()[document];
                    prop_assert!(text.contains(&told.subject) && text.contains(&told.object));
                    prop_assert!(answers.iter().any(|answer| text.contains(answer)));
                }
            }
        }

        #[test]
        fn no_subject_is_asked_about_in_two_splits(seed: u64) {
            let world = World::generate(seed, 700);
            let mut split_of: HashMap<String, Split> = HashMap::new();
            for question in world.questions() {
                let fact = &world.triples()[question.facts[0]];
                let forward = question.text.contains(&fact.subject);
                let about = if forward { &fact.subject } else { &fact.object };
                let split = *split_of.entry(about.clone()).or_insert(question.split);
                prop_assert_eq!(split, question.split, "{}", question.text);
            }
        }
    }

    #[test]
    fn a_saved_world_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        let world = World::generate(0, 200);
        let out = dir.path().join("world");
        world.save(&out).unwrap();
        let dataset = Dataset::load(&out, &["train", "dev", "test"]).unwrap();
        assert!(dataset.documents().eq(world.documents().iter().map(Document::as_deref)));
        assert_eq!(knowledge::read_triples(&out.join("triples.tsv")).unwrap(), world.triples());
        let qa = knowledge::read_qa(&out.join("qa/test.jsonl")).unwrap();
        assert_eq!(qa, world.qa(Split::Test));
        assert!(matches!(world.save(&out), Err(DataError::Exists { .. })));
    }

    #[test]
    fn a_world_has_three_splits_and_says_so() {
        let dataset = World::generate(0, 100).dataset();
        assert!(dataset.split_names().eq(["dev", "test", "train"]));
        assert!(Split::ALL.iter().all(|split| !dataset.judgments(split.name()).is_empty()));
    }

    #[test]
    fn the_same_seed_gives_the_same_world() {
        let world = World::generate(0, 300);
        assert_eq!(World::generate(0, 300).documents(), world.documents());
        assert_eq!(World::generate(0, 300).questions(), world.questions());
        assert_ne!(World::generate(1, 300).documents(), world.documents());
    }

    #[test]
    fn names_and_questions_are_distinct_at_every_size() {
        for size in [100, 2000, 30_000] {
            let world = World::generate(3, size);
            let subjects: HashSet<(&str, &str)> = world
                .triples()
                .iter()
                .map(|triple| (&*triple.subject, &*triple.relation))
                .collect();
            assert_eq!(subjects.len(), size, "a name names two things");
            let texts: HashSet<&str> =
                world.questions().iter().map(|question| &*question.text).collect();
            assert_eq!(texts.len(), world.questions().len(), "a question is asked twice");
        }
    }

    #[test]
    fn the_default_world_is_large_enough_to_learn_from() {
        let dataset = World::generate(0, World::DEFAULT_SIZE).dataset();
        let (train, test) = (dataset.pairs("train").len(), dataset.queries_of("test").len());
        assert!((2000..4000).contains(&train), "{train} training pairs");
        assert!((200..500).contains(&test), "{test} test queries");
    }
}
