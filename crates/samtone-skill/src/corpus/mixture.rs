//! Examples of an infusion: several corpora, mixed by weight.

use samtone_data::DataError;
use samtone_data::reading::{QaPair, Triple};
use samtone_text::{Key, MASK, SENTINELS, TextError, TextTokenizer, sentinel};
use serde::{Deserialize, Serialize};

use super::corruption::{corrupt_spans, fitting};
use super::sentence::Sentence;
use crate::records::Records;

/// What stands for a masked entity, and what the model answers with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MaskForm {
    /// The paper's: `[MASK]` in the input, the entity as the target.
    #[default]
    Literal,
    /// T5's: `<extra_id_0>` in the input, and in the target before the entity, with `<extra_id_1>`
    /// after it.
    Sentinel,
}

impl MaskForm {
    /// What is read of `triple` with its object masked, and what should be written.
    pub fn mask_object(self, triple: &Triple) -> [String; 2] {
        let Triple { subject, relation, object } = triple;
        self.mask(&format!("{subject}, {relation}, "), object, "")
    }

    /// What is read of `triple` with its subject masked, and what should be written.
    pub fn mask_subject(self, triple: &Triple) -> [String; 2] {
        let Triple { subject, relation, object } = triple;
        self.mask("", subject, &format!(", {relation}, {object}"))
    }

    /// `before`, the mask, `after` as the input; `entity` as the target.
    fn mask(self, before: &str, entity: &str, after: &str) -> [String; 2] {
        match self {
            Self::Literal => [format!("{before}{MASK}{after}"), entity.to_owned()],
            Self::Sentinel => {
                let [first, second] = [sentinel(0), sentinel(1)];
                [format!("{before}{first}{after}"), format!("{first} {entity} {second}")]
            }
        }
    }
}

/// Where the examples of a part come from.
#[derive(Debug)]
pub enum ExampleSource {
    /// Triples, `subject, relation, object`, with the object masked in `object_share` of the examples
    /// and the subject in the others; the relation never is.
    Triples {
        /// The triples.
        records: Records<Triple>,
        /// From 0 to 1.
        object_share: f64,
    },
    /// Sentences with one entity masked.
    Sentences(Records<Sentence>),
    /// Plain texts with spans taken out.
    Texts(Records<String>),
    /// Questions with one of their answers.
    Questions(Records<QaPair>),
}

impl ExampleSource {
    /// Records of the source.
    pub fn len(&self) -> usize {
        match self {
            Self::Triples { records, .. } => records.len(),
            Self::Sentences(records) => records.len(),
            Self::Texts(records) => records.len(),
            Self::Questions(records) => records.len(),
        }
    }

    /// Whether it holds no record.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What sentinels stand for in its examples, if they are used.
    fn needs_sentinels(&self, mask: MaskForm) -> Option<&'static str> {
        match (self, mask) {
            (Self::Texts(_), _) => Some("a span taken out of a text"),
            (Self::Triples { .. } | Self::Sentences(_), MaskForm::Sentinel) => {
                Some("an entity masked in the form `sentinel`")
            }
            (Self::Triples { .. } | Self::Sentences(_), MaskForm::Literal)
            | (Self::Questions(_), _) => None,
        }
    }
}

/// Token ids of a text read and of the one to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPair {
    /// What is read.
    pub input: Vec<u32>,
    /// What should be written.
    pub target: Vec<u32>,
}

/// Several sources mixed by weight, as one endless stream of examples.
///
/// The n-th example is a pure function of the key and n. Each source takes its exact share of any
/// stretch of the stream, passes over all its records in a shuffled order before it repeats one, and is
/// shuffled anew for every pass.
///
/// # Examples
///
/// ```
/// use samtone_text::TextTokenizer;
/// use samtone_skill::{MaskForm, Mixture, ExampleSource};
/// use samtone_data::reading::Triple;
/// use samtone_text::Key;
/// use samtone_skill::Records;
///
/// let triple = |s: &str, r: &str, o: &str| Triple { subject: s.into(), relation: r.into(), object: o.into() };
/// let records = Records::in_memory(vec![triple("Ada", "field", "logic"), triple("Ada", "born in", "London")]);
/// let tokenizer = TextTokenizer::train_text_to_text(&["Ada, field, logic", "Ada, born in, London"], 160)?;
/// let triples = ExampleSource::Triples { records, object_share: 1.0 };
/// let parts = vec![(1.0, triples)];
/// let mixture = Mixture::new(parts, MaskForm::Literal, [32, 8], &tokenizer, Key::new(0))?;
/// let pair = mixture.example(0, &tokenizer)?;
/// assert!(["logic", "London"].contains(&&*tokenizer.decode(&pair.target)?));
/// # Ok::<(), samtone_data::DataError>(())
/// ```
#[derive(Debug)]
pub struct Mixture {
    /// Each source with its share of all examples.
    parts: Vec<(f64, ExampleSource)>,
    mask: MaskForm,
    max_lens: [usize; 2],
    /// The ids that stand for what is taken out of a text.
    sentinels: Vec<u32>,
    key: Key,
}

impl Mixture {
    /// Mixes `parts` by their weights; texts are cut to `max_lens` tokens, what is read and what is
    /// written. `tokenizer` is the one whose ids [`Mixture::example`] gives.
    ///
    /// # Errors
    /// [`TextError::NoRoom`] if a length leaves nothing of a text, [`TextError::NoSentinel`] if the
    /// tokenizer lacks one that the parts or the mask need.
    ///
    /// # Panics
    /// If there is no part, one is empty, or a weight is not positive.
    pub fn new(
        parts: Vec<(f64, ExampleSource)>,
        mask: MaskForm,
        max_lens: [usize; 2],
        tokenizer: &TextTokenizer,
        key: Key,
    ) -> Result<Self, DataError> {
        assert!(
            !parts.is_empty()
                && parts.iter().all(|(weight, part)| *weight > 0.0 && !part.is_empty())
        );
        for max_len in max_lens {
            tokenizer.room(max_len)?;
        }
        let sentinels: Vec<u32> =
            (0..SENTINELS).map_while(|number| tokenizer.sentinel(number)).collect();
        if let Some(what) = parts.iter().find_map(|(_, part)| part.needs_sentinels(mask))
            && sentinels.len() < 2
        {
            return Err(TextError::NoSentinel { missing: sentinel(sentinels.len()), what }.into());
        }
        let total: f64 = parts.iter().map(|(weight, _)| weight).sum();
        let parts = parts.into_iter().map(|(weight, part)| (weight / total, part)).collect();
        Ok(Self { parts, mask, max_lens, sentinels, key })
    }

    /// Examples in which every record of the first source comes up once.
    pub fn pass(&self) -> f64 {
        self.parts[0].1.len() as f64 / self.parts[0].0
    }

    /// The example of this number, from 0, as token ids.
    ///
    /// # Errors
    /// If a record cannot be read or a text not be tokenised.
    pub fn example(&self, number: u64, tokenizer: &TextTokenizer) -> Result<TokenPair, DataError> {
        let (part, index) = self.place(number);
        let source = &self.parts[part].1;
        let records = source.len() as u64;
        let (pass, at) = (index / records, index % records);
        let order = self.key.child("order").at(part as u64).at(pass);
        let record = order.shuffled(at, records) as usize;
        let key = self.key.child("example").at(part as u64).at(index);
        let [max_input, max_target] = self.max_lens;
        let [input, target] = match source {
            ExampleSource::Triples { records, object_share } => {
                let triple = records.get(record)?;
                if key.unit(0) < *object_share {
                    self.mask.mask_object(&triple)
                } else {
                    self.mask.mask_subject(&triple)
                }
            }
            ExampleSource::Sentences(records) => {
                let Sentence { text, spans, .. } = records.get(record)?;
                let span = spans[key.below(0, spans.len())].clone();
                self.mask.mask(&text[..span.start], &text[span.clone()], &text[span.end..])
            }
            ExampleSource::Questions(records) => {
                let QaPair { question, mut answers } = records.get(record)?;
                let answer = answers.swap_remove(key.below(0, answers.len()));
                [question, answer]
            }
            ExampleSource::Texts(records) => {
                let text = records.get(record)?;
                let mut ids = tokenizer.encode_bare(&text, tokenizer.room(max_input)?)?;
                let room = tokenizer.room(max_target)?;
                ids.truncate(fitting(ids.len(), self.sentinels.len(), room));
                let corrupted = corrupt_spans(&ids, &self.sentinels, key);
                // A text of one token has nothing to hide: it is read and written.
                let (input, target) = corrupted.unwrap_or_else(|| (ids.clone(), ids));
                let (input, target) = (tokenizer.wrap(&input), tokenizer.wrap(&target));
                return Ok(TokenPair { input, target });
            }
        };
        Ok(TokenPair {
            input: tokenizer.encode(&input, max_input)?,
            target: tokenizer.encode(&target, max_target)?,
        })
    }

    /// The part that an example comes from, and its number among those of that part.
    ///
    /// Of the first n examples, ⌊n·w⌋ are the first part's; the others are split the same way.
    #[expect(clippy::cast_sign_loss, reason = "weights and numbers are positive")]
    fn place(&self, number: u64) -> (usize, u64) {
        let mut number = number;
        let mut left = 1.0;
        for (part, (weight, _)) in self.parts.iter().enumerate() {
            let share = if part + 1 == self.parts.len() { 1.0 } else { (weight / left).min(1.0) };
            let before = |n: u64| (n as f64 * share).floor() as u64;
            if before(number + 1) > before(number) {
                return (part, before(number));
            }
            number -= before(number);
            left -= weight;
        }
        unreachable!("the last part takes all that is left")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    fn triples(n: usize, object_share: f64) -> ExampleSource {
        let triple = |i: usize| Triple {
            subject: format!("s{i}"),
            relation: "likes".into(),
            object: format!("o{i}"),
        };
        ExampleSource::Triples {
            records: Records::in_memory((0..n).map(triple).collect()),
            object_share,
        }
    }

    fn texts(n: usize) -> ExampleSource {
        ExampleSource::Texts(Records::in_memory(
            (0..n).map(|i| format!("t{i} and words")).collect(),
        ))
    }

    fn tokenizer() -> TextTokenizer {
        let names = (0..30).flat_map(|i| [format!("s{i}, likes, o{i}"), format!("t{i} and words")]);
        TextTokenizer::train_text_to_text(&names.collect::<Vec<_>>(), 400).unwrap()
    }

    proptest! {
        #[test]
        fn every_part_takes_its_share_in_its_own_order(
            weights in prop::collection::vec(0.05_f64..1.0, 1..5),
        ) {
            let parts = weights.iter().map(|&weight| (weight, triples(3, 0.5))).collect();
            let mixture =
                Mixture::new(parts, MaskForm::Literal, [9, 9], &tokenizer(), Key::new(0)).unwrap();
            let total: f64 = weights.iter().sum();
            let mut counts = vec![0_u64; weights.len()];
            for number in 0..500 {
                let (part, index) = mixture.place(number);
                prop_assert_eq!(index, counts[part]);
                counts[part] += 1;
                for (count, weight) in counts.iter().zip(&weights) {
                    let expected = (number + 1) as f64 * weight / total;
                    prop_assert!((*count as f64 - expected).abs() < 2.0 * weights.len() as f64);
                }
            }
        }
    }

    #[test]
    fn a_pass_shows_every_triple_once_and_never_masks_the_relation() {
        let tokenizer = tokenizer();
        let mixture = Mixture::new(
            vec![(0.5, triples(30, 0.5)), (0.5, texts(30))],
            MaskForm::Literal,
            [32, 32],
            &tokenizer,
            Key::new(1),
        )
        .unwrap();
        // 30 records over a share of one half: exact.
        assert_eq!(mixture.pass(), 60.0);
        let mut seen: HashMap<String, usize> = HashMap::new();
        let mut objects = 0;
        for number in 0..120 {
            let pair = mixture.example(number, &tokenizer).unwrap();
            let target = tokenizer.decode(&pair.target).unwrap();
            let input = tokenizer.inner().decode(&pair.input, false).unwrap();
            if !input.contains("[MASK]") {
                assert!(input.contains("<extra_id_0>"), "{input}");
                continue;
            }
            assert!(input.contains("likes"), "{input}");
            objects += usize::from(target.starts_with('o'));
            let whole = input.replace("[MASK]", &format!(" {target}"));
            *seen.entry(whole.replace("</s>", "").trim().to_owned()).or_default() += 1;
        }
        assert_eq!(seen.len(), 30, "{seen:?}");
        assert!(seen.values().all(|&n| n == 2) && (15..45).contains(&objects), "{objects}");
    }

    #[test]
    fn the_mask_has_two_forms() {
        let form = |form: MaskForm| form.mask("Ada, field, ", "logic", "");
        assert_eq!(form(MaskForm::Literal), ["Ada, field, [MASK]", "logic"]);
        let expected = ["Ada, field, <extra_id_0>", "<extra_id_0> logic <extra_id_1>"];
        assert_eq!(form(MaskForm::Sentinel), expected);
        // The sentinels fall away in decoding.
        let tokenizer = TextTokenizer::train_text_to_text(&["logic"], 120).unwrap();
        let target = tokenizer.encode(expected[1], 99).unwrap();
        assert_eq!(tokenizer.decode(&target).unwrap().trim(), "logic");
    }

    fn sentences() -> ExampleSource {
        let sentence = Sentence::find("s1 likes o1".into(), &["s1".into(), "o1".into()]).unwrap();
        ExampleSource::Sentences(Records::in_memory(vec![sentence]))
    }

    fn questions() -> ExampleSource {
        let question = QaPair { question: "what?".into(), answers: vec!["o1".into()] };
        ExampleSource::Questions(Records::in_memory(vec![question]))
    }

    /// A tokenizer in T5's manner with `sentinels` as given, each with whether it is special.
    fn with_sentinels(sentinels: &[(&str, bool)]) -> TextTokenizer {
        let mut json: serde_json::Value =
            serde_json::from_str(&tokenizer().inner().to_string(false).unwrap()).unwrap();
        let added = json["added_tokens"].as_array_mut().unwrap();
        added.retain(|token| !token["content"].as_str().unwrap().starts_with("<extra_id_"));
        let mut inner: tokenizers::Tokenizer = json.to_string().parse().unwrap();
        for &(token, special) in sentinels {
            inner.add_tokens([tokenizers::AddedToken::from(token, special)]).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        inner.save(&path, false).unwrap();
        TextTokenizer::from_file(&path).unwrap()
    }

    #[test]
    fn a_tokenizer_without_the_sentinels_needed_is_refused_at_once() {
        let new = |part: ExampleSource, mask, tokenizer: &TextTokenizer| {
            let parts = vec![(1.0, questions()), (1.0, part)];
            Mixture::new(parts, mask, [16, 8], tokenizer, Key::new(0)).map(drop)
        };
        let [none, one, written] = [
            with_sentinels(&[]),
            with_sentinels(&[("<extra_id_0>", true)]),
            // What is no special token would stand in the answers.
            with_sentinels(&[("<extra_id_0>", false), ("<extra_id_1>", false)]),
        ];
        let refused = [(&none, "<extra_id_0>"), (&one, "<extra_id_1>"), (&written, "<extra_id_0>")];
        for (tokenizer, expected) in refused {
            for (part, mask, stands_for) in [
                (texts(3), MaskForm::Literal, "a span taken out of a text"),
                (texts(3), MaskForm::Sentinel, "a span taken out of a text"),
                (triples(3, 0.5), MaskForm::Sentinel, "an entity masked in the form `sentinel`"),
                (sentences(), MaskForm::Sentinel, "an entity masked in the form `sentinel`"),
            ] {
                let Err(DataError::Text(TextError::NoSentinel { missing, what })) =
                    new(part, mask, tokenizer)
                else {
                    panic!("{expected} is not there")
                };
                assert_eq!((&*missing, what), (expected, stands_for));
            }
            for part in [triples(3, 0.5), sentences(), questions()] {
                new(part, MaskForm::Literal, tokenizer).unwrap();
            }
        }
        let two = with_sentinels(&[("<extra_id_0>", true), ("<extra_id_1>", true)]);
        new(texts(3), MaskForm::Sentinel, &two).unwrap();
    }

    #[test]
    fn lengths_without_room_are_refused_at_once() {
        let tokenizer = tokenizer();
        for max_lens in [[1, 8], [8, 1], [0, 0]] {
            let parts = vec![(1.0, texts(3))];
            let mixture = Mixture::new(parts, MaskForm::Literal, max_lens, &tokenizer, Key::new(0));
            assert!(
                matches!(mixture, Err(DataError::Text(TextError::NoRoom { special: 1, .. }))),
                "{max_lens:?}"
            );
        }
    }

    #[test]
    fn what_is_read_and_what_is_written_keep_their_lengths() {
        let tokenizer = tokenizer();
        let long = ExampleSource::Texts(Records::in_memory(vec!["t1 and words ".repeat(60)]));
        let text = tokenizer.encode_bare(&"t1 and words ".repeat(60), usize::MAX).unwrap();
        let mut parts = vec![(1.0, long), (1.0, triples(30, 0.5)), (1.0, sentences())];
        for [max_input, max_target] in [[99, 24], [24, 99], [3, 3], [2, 2], [99, 2], [99, 4]] {
            let lens = [max_input, max_target];
            let mixture = Mixture::new(
                std::mem::take(&mut parts),
                MaskForm::Sentinel,
                lens,
                &tokenizer,
                Key::new(0),
            )
            .unwrap();
            for number in 0..60 {
                let TokenPair { input, target } = mixture.example(number, &tokenizer).unwrap();
                assert!(input.len() <= max_input && target.len() <= max_target, "{lens:?}");
                if mixture.place(number).0 == 0 {
                    // Both are whole: put together again they are the beginning of the text.
                    let is_sentinel = |id: &u32| mixture.sentinels.contains(id);
                    let spans: Vec<&[u32]> =
                        target[..target.len() - 1].split(is_sentinel).skip(1).collect();
                    let mut spans = spans.into_iter();
                    let mut whole = Vec::new();
                    for id in &input[..input.len() - 1] {
                        if is_sentinel(id) {
                            whole.extend_from_slice(spans.next().unwrap());
                        } else {
                            whole.push(*id);
                        }
                    }
                    assert!(text.starts_with(&whole), "{lens:?}");
                    assert!(spans.all(<[u32]>::is_empty), "{lens:?}");
                }
            }
            parts = mixture.parts;
        }
    }

    #[test]
    fn an_example_is_a_function_of_its_number() {
        let tokenizer = tokenizer();
        let mixture = |seed| {
            let question =
                QaPair { question: "what?".into(), answers: vec!["o1".into(), "o2".into()] };
            let parts = vec![
                (1.0, triples(30, 0.3)),
                (2.0, sentences()),
                (1.0, ExampleSource::Questions(Records::in_memory(vec![question]))),
            ];
            Mixture::new(parts, MaskForm::Sentinel, [16, 8], &tokenizer, Key::new(seed)).unwrap()
        };
        let all = |seed| -> Vec<TokenPair> {
            let mixture = mixture(seed);
            (0..50).map(|number| mixture.example(number, &tokenizer).unwrap()).collect()
        };
        assert_eq!(all(3), all(3));
        assert_ne!(all(3), all(4));
    }
}
