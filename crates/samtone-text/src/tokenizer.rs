//! Text to token ids.

use std::path::Path;

use rayon::prelude::*;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as DecoderSequence;
use tokenizers::decoders::strip::Strip;
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::normalizers::utils::{Lowercase, Sequence as NormalizerSequence};
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::pre_tokenizers::punctuation::Punctuation;
use tokenizers::pre_tokenizers::sequence::Sequence as PreTokenizerSequence;
use tokenizers::processors::bert::BertProcessing;
use tokenizers::processors::template::TemplateProcessing;
use tokenizers::{
    AddedToken, Encoding, Model, NormalizedString, Normalizer, NormalizerWrapper,
    OffsetReferential, OffsetType, PostProcessor, PreTokenizedString, PreTokenizer,
    SplitDelimiterBehavior, Token, Tokenizer, TruncationDirection, TruncationParams,
    truncate_encodings,
};

use crate::TextError;
use crate::error::{read_error, write_error};
use crate::wordpiece::{self, WordCounts};

/// BERT's special tokens, in the order of their ids.
const SPECIAL: [&str; 5] = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"];

/// What stands for a space inside tokens of models that write texts.
const SPACE: char = '▁';

/// The paper's mark of a masked entity.
pub const MASK: &str = "[MASK]";

/// Sentinels that are used, and that a vocabulary trained here has: as many as T5's.
pub const SENTINELS: usize = 100;

/// T5's `number`-th sentinel, from 0: what stands for a part of a text that was taken out.
pub fn sentinel(number: usize) -> String {
    format!("<extra_id_{number}>")
}

/// Turns texts into token ids as a Hugging Face `tokenizer.json` says.
///
/// # Examples
///
/// ```
/// use samtone_text::TextTokenizer;
///
/// let texts = ["a well holds water", "water runs", "a well runs dry"];
/// let tokenizer = TextTokenizer::train_wordpiece(&texts, 60, true)?;
/// let rows = tokenizer.encode_batch(&["Water runs", "a well holds water"], 4)?;
/// assert!(rows.iter().all(|row| row.len() <= 4));
/// assert_eq!(rows[0][0], tokenizer.token_id("[CLS]").unwrap());
/// # Ok::<(), samtone_text::TextError>(())
/// ```
#[derive(Clone)]
pub struct TextTokenizer {
    inner: Tokenizer,
    /// The file as read or made: what [`TextTokenizer::save`] writes.
    json: String,
    before: Vec<u32>,
    after: Vec<u32>,
    pad_id: u32,
    /// Whether texts get no special tokens, whatever the file says.
    is_bare: bool,
    /// The file's own truncation: the length, in tokens, and whether it takes a text's beginning.
    truncation: Option<(usize, bool)>,
    /// No text is given this id or a greater one; none: any id is.
    limit: Option<u32>,
}

impl TextTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// Its own truncation and padding are left aside: lengths are given with each batch.
    ///
    /// # Errors
    /// If the file cannot be read or is not a tokenizer.
    pub fn from_file(path: &Path) -> Result<Self, TextError> {
        let json = std::fs::read_to_string(path).map_err(read_error(path))?;
        Self::from_json(json)
            .map_err(|source| TextError::Tokenizer { path: path.to_owned(), source })
    }

    /// Trains a lower-casing or cased WordPiece tokenizer in BERT's manner, with the special tokens
    /// `[PAD]`, `[UNK]`, `[CLS]`, `[SEP]` and `[MASK]`.
    ///
    /// The same texts, in any order, give the same bytes on every machine.
    ///
    /// # Errors
    /// If `vocab_size` (in tokens) does not hold the special tokens and the characters.
    pub fn train_wordpiece<S: AsRef<str> + Sync>(
        texts: &[S],
        vocab_size: usize,
        lowercase: bool,
    ) -> Result<Self, TextError> {
        let normalizer = BertNormalizer::new(true, true, None, lowercase);
        let words = count_words(texts, |text, word| {
            let mut normalized = NormalizedString::from(text);
            normalizer.normalize(&mut normalized).expect("BERT's normalizer accepts every text");
            let mut split = PreTokenizedString::from(normalized);
            BertPreTokenizer.pre_tokenize(&mut split).expect("BERT's splitter accepts every text");
            for (piece, _, _) in split.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
                word(piece);
            }
        });
        let tokens = wordpiece::train(&words, &SPECIAL, vocab_size)
            .map_err(|least| TextError::VocabularyTooSmall { got: vocab_size, least })?;
        let build = || -> tokenizers::Result<Self> {
            let model = WordPiece::builder()
                .vocab(WordPiece::read_bytes(tokens.join("\n").as_bytes())?)
                .build()?;
            let processor = BertProcessing::new(special("[SEP]"), special("[CLS]"));
            let mut inner = Tokenizer::new(model);
            inner
                .with_normalizer(Some(normalizer))?
                .with_pre_tokenizer(Some(BertPreTokenizer))
                .with_post_processor(Some(processor))
                .with_decoder(Some(WordPieceDecoder::default()));
            inner.add_special_tokens(SPECIAL.map(|token| AddedToken::from(token, true)))?;
            Self::from_json(inner.to_string(true)?)
        };
        // The parts are this function's own: a refusal would be its mistake, not the caller's.
        Ok(build().expect("a trained vocabulary makes a tokenizer"))
    }

    /// Trains a tokenizer for models that write texts, in T5's manner: cased, without loss (decoding
    /// gives the text back), with the special tokens `<pad>`, `</s>` and `<unk>` as 0, 1 and 2, `</s>`
    /// after every text, and `[MASK]` and a hundred sentinels `<extra_id_N>` as the last ids.
    ///
    /// Words are cut as WordPiece cuts them; T5's own vocabulary is a unigram model.
    /// The same texts, in any order, give the same bytes on every machine.
    ///
    /// # Errors
    /// If `vocab_size` (in tokens) does not hold the special tokens and the characters.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_text::TextTokenizer;
    ///
    /// let tokenizer = TextTokenizer::train_text_to_text(&["It's O'Neil (1990)."], 150)?;
    /// let ids = tokenizer.encode("It's O'Neil (1990).", 99)?;
    /// assert_eq!(ids.last(), Some(&1));
    /// assert_eq!(tokenizer.decode(&ids)?, "It's O'Neil (1990).");
    /// # Ok::<(), samtone_text::TextError>(())
    /// ```
    pub fn train_text_to_text<S: AsRef<str> + Sync>(
        texts: &[S],
        vocab_size: usize,
    ) -> Result<Self, TextError> {
        let added = 1 + SENTINELS;
        let pieces = PreTokenizerSequence::new(vec![
            Metaspace::new(SPACE, PrependScheme::First, true).into(),
            Punctuation::new(SplitDelimiterBehavior::Isolated).into(),
        ]);
        let words = count_words(texts, |text, word| {
            let mut split = PreTokenizedString::from(text);
            pieces.pre_tokenize(&mut split).expect("the splitters accept every text");
            for (piece, _, _) in split.get_splits(OffsetReferential::Normalized, OffsetType::Byte) {
                word(piece);
            }
        });
        let special = ["<pad>", "</s>", "<unk>"];
        let tokens = wordpiece::train(&words, &special, vocab_size.saturating_sub(added)).map_err(
            |least| TextError::VocabularyTooSmall { got: vocab_size, least: least + added },
        )?;
        let build = || -> tokenizers::Result<Self> {
            let model = WordPiece::builder()
                .vocab(WordPiece::read_bytes(tokens.join("\n").as_bytes())?)
                .unk_token("<unk>".into())
                .build()?;
            let end = TemplateProcessing::builder()
                .try_single("$A </s>")?
                .special_tokens(vec![("</s>", 1)])
                .build()?;
            let continuation = ReplacePattern::Regex(format!("^{}", wordpiece::CONTINUATION));
            let decoder = DecoderSequence::new(vec![
                Replace::new(continuation, "")?.into(),
                Replace::new(SPACE.to_string(), " ")?.into(),
                Fuse::new().into(),
                Strip::new(' ', 1, 0).into(),
            ]);
            let mut inner = Tokenizer::new(model);
            inner
                .with_pre_tokenizer(Some(pieces.clone()))
                .with_post_processor(Some(end))
                .with_decoder(Some(decoder));
            inner.add_special_tokens(special.map(|token| AddedToken::from(token, true)))?;
            // A space before a mask belongs to it, as in T5's vocabulary.
            let sentinels = (0..SENTINELS).rev().map(sentinel);
            let masks = std::iter::once(MASK.to_owned()).chain(sentinels);
            inner.add_special_tokens(
                masks.map(|token| AddedToken::from(token, true).lstrip(true)),
            )?;
            Self::from_json(inner.to_string(true)?)
        };
        // The parts are this function's own: a refusal would be its mistake, not the caller's.
        Ok(build().expect("a trained vocabulary makes a tokenizer"))
    }

    fn from_json(json: String) -> tokenizers::Result<Self> {
        let mut inner: Tokenizer = json.parse()?;
        let padding = inner.get_padding().map(|padding| padding.pad_id);
        let truncation = inner.get_truncation().map(|truncation| {
            (truncation.max_length, truncation.direction == TruncationDirection::Left)
        });
        inner.with_truncation(None)?;
        inner.with_padding(None);
        let (before, after) = special_tokens(&inner)?;
        let pad_id = padding
            .or_else(|| ["[PAD]", "<pad>"].iter().find_map(|token| inner.token_to_id(token)))
            .unwrap_or(0);
        let (limit, is_bare) = (None, false);
        Ok(Self { inner, json, before, after, pad_id, is_bare, truncation, limit })
    }

    /// This tokenizer for a table of `ids` embeddings: a text that would be given an id beyond it is
    /// an error.
    ///
    /// The tokens that a vocabulary was trained on must all be in the table, and so must those that are
    /// put around every text. Others were added to it, some for what is no text (an image): they are met
    /// only where a text spells them out.
    ///
    /// # Errors
    /// [`TextError::BeyondTable`] if the table lacks a token that any text may be given.
    pub fn limited_to(mut self, ids: usize) -> Result<Self, TextError> {
        let limit = u32::try_from(ids).unwrap_or(u32::MAX);
        let own = self.inner.get_model().get_vocab().into_values();
        let everywhere = own.chain(self.before.iter().chain(&self.after).copied());
        if let Some(id) = everywhere.max().filter(|&id| id >= limit) {
            return Err(self.beyond_table(id, ids));
        }
        self.limit = (self.vocab_size() > ids).then_some(limit);
        if self.pad_id >= limit {
            // Nobody reads it.
            self.pad_id = 0;
        }
        Ok(self)
    }

    /// Whether the file's own truncation takes a text's beginning rather than its end, which is what
    /// is taken here.
    pub fn cuts_left(&self) -> bool {
        self.truncation.is_some_and(|(_, is_left)| is_left)
    }

    /// What the file's own truncation cuts texts to, in tokens; none: it does not cut them.
    pub fn file_limit(&self) -> Option<usize> {
        self.truncation.map(|(max_len, _)| max_len)
    }

    /// This tokenizer with a `tokenizer.json` whose own truncation cuts texts to `max_len` tokens, for
    /// whoever goes by it.
    ///
    /// # Errors
    /// [`TextError::Limit`] if the library refuses the tokenizer so changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_text::TextTokenizer;
    ///
    /// let tokenizer = TextTokenizer::train_wordpiece(&["water runs", "water runs"], 60, false)?;
    /// assert_eq!(tokenizer.with_file_limit(9)?.file_limit(), Some(9));
    /// # Ok::<(), samtone_text::TextError>(())
    /// ```
    pub fn with_file_limit(&self, max_len: usize) -> Result<Self, TextError> {
        let build = || -> tokenizers::Result<Self> {
            let mut inner: Tokenizer = self.json.parse()?;
            let before = inner.get_truncation().cloned().unwrap_or_default();
            let truncation = TruncationParams { max_length: max_len, ..before };
            inner.with_truncation(Some(truncation))?;
            Self::from_json(inner.to_string(true)?)
        };
        build().map_err(|source| TextError::Limit { source })
    }

    /// The special tokens before and after every text.
    pub fn ends(&self) -> [&[u32]; 2] {
        [&self.before, &self.after]
    }

    /// This tokenizer with every text turned into lower case before anything else, by a normalizer of
    /// its `tokenizer.json`: whoever reads the file does the same. Unchanged if it
    /// [does so already](TextTokenizer::is_lowercasing).
    ///
    /// Tokens that are looked for before texts are normalized, as special ones are, keep their case.
    ///
    /// # Errors
    /// [`TextError::Lowercase`] if the library refuses the tokenizer so changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_text::TextTokenizer;
    ///
    /// let cased = TextTokenizer::train_wordpiece(&["Water runs", "water runs"], 60, false)?;
    /// let lowercased = cased.lowercased()?;
    /// assert_eq!(lowercased.encode("WATER Runs", 9)?, lowercased.encode("water runs", 9)?);
    /// # Ok::<(), samtone_text::TextError>(())
    /// ```
    pub fn lowercased(self) -> Result<Self, TextError> {
        if self.is_lowercasing() {
            return Ok(self);
        }
        let build = || -> tokenizers::Result<Self> {
            // From the file again: what is in use has lost the file's truncation and padding.
            let mut inner: Tokenizer = self.json.parse()?;
            let mut steps = vec![Lowercase.into()];
            match inner.get_normalizer().cloned() {
                Some(NormalizerWrapper::Sequence(sequence)) => steps.extend(sequence),
                other => steps.extend(other),
            }
            inner.with_normalizer(Some(NormalizerSequence::new(steps)))?;
            Self::from_json(inner.to_string(true)?)
        };
        build().map_err(|source| TextError::Lowercase { source })
    }

    /// Whether the first thing done to a text makes its letters lower case.
    pub fn is_lowercasing(&self) -> bool {
        fn lowercases(normalizer: &NormalizerWrapper) -> bool {
            match normalizer {
                NormalizerWrapper::Lowercase(_) => true,
                NormalizerWrapper::BertNormalizer(bert) => bert.lowercase,
                NormalizerWrapper::Sequence(steps) => {
                    steps.as_ref().first().is_some_and(lowercases)
                }
                _ => false,
            }
        }
        self.inner.get_normalizer().is_some_and(lowercases)
    }

    /// The token ids of each text, at most `max_len` of them, the special tokens included: a longer
    /// text loses its end, never its special tokens.
    ///
    /// Texts are encoded in parallel; the result does not depend on it. A text without any token (an
    /// empty one, under a tokenizer that adds no special tokens) becomes one padding token, so that
    /// every row can be pooled.
    ///
    /// # Errors
    /// [`TextError::NoRoom`] if `max_len` is not greater than
    /// [`special_tokens`](TextTokenizer::special_tokens), or if the tokenizer cannot encode a text.
    pub fn encode_batch<S: AsRef<str> + Sync>(
        &self,
        texts: &[S],
        max_len: usize,
    ) -> Result<Vec<Vec<u32>>, TextError> {
        let room = self.room(max_len)?;
        texts
            .par_iter()
            .with_min_len(16)
            .map(|text| {
                let encoding = self.encoding(text.as_ref())?;
                let ids = encoding.get_ids();
                let ids = &ids[..ids.len().min(room)];
                let mut row = Vec::with_capacity(ids.len() + self.special_tokens());
                row.extend_from_slice(&self.before);
                row.extend_from_slice(ids);
                row.extend_from_slice(&self.after);
                if row.is_empty() {
                    row.push(self.pad_id);
                }
                Ok(row)
            })
            .collect()
    }

    /// The token ids of one text: [`TextTokenizer::encode_batch`] of it alone.
    ///
    /// # Errors
    /// As [`TextTokenizer::encode_batch`].
    pub fn encode(&self, text: &str, max_len: usize) -> Result<Vec<u32>, TextError> {
        Ok(self.encode_batch(&[text], max_len)?.swap_remove(0))
    }

    /// The tokens of each pair of texts as one row, at most `max_len` of them, the special tokens
    /// included: of a longer row the longer text loses its end, both where both are long
    /// (transformers' `longest_first`).
    ///
    /// Pairs are encoded in parallel; the result does not depend on it. A row is never empty, as in
    /// [`encode_batch`](TextTokenizer::encode_batch).
    ///
    /// # Errors
    /// [`TextError::NoRoom`] if `max_len` is not greater than
    /// [`pair_special_tokens`](TextTokenizer::pair_special_tokens), or if the tokenizer cannot encode a
    /// text.
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_text::TextTokenizer;
    ///
    /// let tokenizer = TextTokenizer::train_wordpiece(&["a well runs dry"], 60, true)?;
    /// let rows = tokenizer.encode_pairs(&[("well", "a well runs")], 32)?;
    /// assert_eq!(tokenizer.decode(&rows[0].ids)?, "well a well runs");
    /// assert_eq!((rows[0].types.first(), rows[0].types.last()), (Some(&0), Some(&1)));
    /// # Ok::<(), samtone_text::TextError>(())
    /// ```
    pub fn encode_pairs<S: AsRef<str> + Sync, T: AsRef<str> + Sync>(
        &self,
        pairs: &[(S, T)],
        max_len: usize,
    ) -> Result<Vec<PairTokens>, TextError> {
        let max_length = room(max_len, self.pair_special_tokens())?;
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        let encode = |(first, second): &(S, T)| {
            let text = first.as_ref();
            let (first, mut second) = (self.encoding(text)?, self.encoding(second.as_ref())?);
            second.set_type_ids(vec![1; second.len()]);
            let joined = || {
                let (mut first, mut second) = truncate_encodings(first, Some(second), &truncation)?;
                // What was cut off would be joined as well.
                first.take_overflowing();
                second.as_mut().map(Encoding::take_overflowing);
                self.inner.post_process(first, second, true)
            };
            let row = joined().map_err(encode_error(text))?;
            let (mut ids, mut types) = (row.get_ids().to_vec(), row.get_type_ids().to_vec());
            if ids.is_empty() {
                (ids, types) = (vec![self.pad_id], vec![0]);
            }
            Ok(PairTokens { ids, types })
        };
        pairs.par_iter().with_min_len(16).map(encode).collect()
    }

    /// A text's tokens without special ones.
    fn encoding(&self, text: &str) -> Result<Encoding, TextError> {
        let encoding = self.inner.encode_fast(text, false).map_err(encode_error(text))?;
        if let Some(limit) = self.limit
            && let Some(&id) = encoding.get_ids().iter().find(|&&id| id >= limit)
        {
            return Err(self.beyond_table(id, limit as usize));
        }
        Ok(encoding)
    }

    fn beyond_table(&self, id: u32, ids: usize) -> TextError {
        let token = self.inner.id_to_token(id).unwrap_or_default();
        TextError::BeyondTable { token, id, ids }
    }

    /// The token ids of one text without special tokens, at most `max_len` of them.
    ///
    /// # Errors
    /// If the tokenizer cannot encode the text.
    pub fn encode_bare(&self, text: &str, max_len: usize) -> Result<Vec<u32>, TextError> {
        let encoding = self.encoding(text)?;
        let ids = encoding.get_ids();
        Ok(ids[..ids.len().min(max_len)].to_vec())
    }

    /// What [`encode`](Self::encode) makes of `text`, to be looked at.
    ///
    /// # Errors
    /// As [`encode`](Self::encode).
    ///
    /// # Examples
    ///
    /// ```
    /// use samtone_text::TextTokenizer;
    ///
    /// let tokenizer = TextTokenizer::train_wordpiece(&["a well holds water"; 2], 60, true)?;
    /// let seen = tokenizer.seen("A well holds water", 4)?;
    /// let tokens: Vec<&str> = seen.tokens.iter().map(|token| &*token.text).collect();
    /// assert_eq!(tokens, ["[CLS]", "a", "well", "[SEP]"]);
    /// assert_eq!((&"A well holds water"[seen.end..], seen.whole), (" holds water", 6));
    /// # Ok::<(), samtone_text::TextError>(())
    /// ```
    pub fn seen(&self, text: &str, max_len: usize) -> Result<SeenText, TextError> {
        let room = self.room(max_len)?;
        // Unlike the other, this notes where in the text a token stands.
        let encoding = self.inner.encode(text, false).map_err(encode_error(text))?;
        let written = |id: &u32| self.inner.id_to_token(*id).unwrap_or_default();
        let special = |id: &u32| SeenToken { text: written(id), start: None };
        let own = encoding.get_ids().iter().zip(encoding.get_offsets()).take(room);
        let own = own.map(|(id, offsets)| SeenToken { text: written(id), start: Some(offsets.0) });
        let tokens = self.before.iter().map(special).chain(own);
        let is_cut = encoding.len() > room;
        let last = encoding.get_offsets().get(room.wrapping_sub(1)).filter(|_| is_cut);
        Ok(SeenText {
            tokens: tokens.chain(self.after.iter().map(special)).collect(),
            whole: encoding.len() + self.special_tokens(),
            end: if is_cut { last.map_or(0, |offsets| offsets.1) } else { text.len() },
        })
    }

    /// The same tokenizer for texts without special tokens: none is added, and a text without any token
    /// becomes one of `pad_id`, which no text should have.
    #[must_use]
    pub fn without_special_tokens(self, pad_id: u32) -> Self {
        Self { before: Vec::new(), after: Vec::new(), pad_id, is_bare: true, ..self }
    }

    /// Bare token ids between the special tokens that belong to a text.
    pub fn wrap(&self, ids: &[u32]) -> Vec<u32> {
        [&self.before, ids, &self.after].concat()
    }

    /// The text of token ids, special tokens left out.
    ///
    /// # Errors
    /// If the tokenizer cannot decode them.
    pub fn decode(&self, ids: &[u32]) -> Result<String, TextError> {
        self.inner
            .decode(ids, true)
            .map_err(|source| TextError::Decode { ids: ids.to_vec(), source })
    }

    /// The id that fills rows up to one length.
    pub fn pad_id(&self) -> u32 {
        self.pad_id
    }

    /// The id of a token, if the vocabulary has it.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Tokens in the vocabulary, the added ones included: one more than the greatest id.
    pub fn vocab_size(&self) -> usize {
        let greatest = self.inner.get_vocab(true).into_values().max();
        greatest.map_or(0, |id| id as usize + 1)
    }

    /// Special tokens added to every text: a length must be greater.
    pub fn special_tokens(&self) -> usize {
        self.before.len() + self.after.len()
    }

    /// Special tokens added to every pair of texts: a length must be greater.
    pub fn pair_special_tokens(&self) -> usize {
        self.inner.get_post_processor().map_or(0, |processor| processor.added_tokens(true))
    }

    /// Tokens of a text itself in `max_len` tokens, at least one.
    ///
    /// # Errors
    /// [`TextError::NoRoom`] if the special tokens leave none.
    pub fn room(&self, max_len: usize) -> Result<usize, TextError> {
        room(max_len, self.special_tokens())
    }

    /// The id of T5's `number`-th sentinel, if it is what the tokenizer reads in a text that holds it,
    /// and falls away in decoding.
    pub fn sentinel(&self, number: usize) -> Option<u32> {
        let token = sentinel(number);
        let id = self.token_id(&token)?;
        let is_read = self.encode_bare(&token, usize::MAX).is_ok_and(|ids| ids.contains(&id));
        let falls_away = self.decode(&[id]).is_ok_and(|text| text.trim().is_empty());
        (is_read && falls_away).then_some(id)
    }

    /// Writes the `tokenizer.json`: the bytes read, or those made by training.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), TextError> {
        std::fs::write(path, &self.json).map_err(write_error(path))
    }

    /// The `tokenizer.json`: what was read, or made by training.
    pub fn json(&self) -> &str {
        &self.json
    }

    /// The BLAKE3 hash of the `tokenizer.json`, in hexadecimal: equal for equal tokenizers. One that was
    /// made to add no special tokens has another.
    pub fn fingerprint(&self) -> String {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.json.as_bytes());
        if self.is_bare {
            hasher.update(b"without special tokens");
        }
        hasher.finalize().to_hex().to_string()
    }

    /// The tokenizer itself.
    pub fn inner(&self) -> &Tokenizer {
        &self.inner
    }
}

/// The tokens of a text, to be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenText {
    /// The tokens that are kept, special ones among them.
    pub tokens: Vec<SeenToken>,
    /// Tokens of the whole text, special ones among them.
    pub whole: usize,
    /// The byte of the text at which the kept tokens end: its length unless it is cut.
    pub end: usize,
}

/// A token of a [`SeenText`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenToken {
    /// As the vocabulary writes it.
    pub text: String,
    /// The byte of the text at which it begins; none of a special token.
    pub start: Option<usize>,
}

impl std::fmt::Debug for TextTokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextTokenizer")
            .field("vocab_size", &self.vocab_size())
            .field("pad_id", &self.pad_id)
            .finish_non_exhaustive()
    }
}

/// Two texts in one row of tokens: `[CLS] first [SEP] second [SEP]`, where the tokenizer is BERT's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PairTokens {
    /// The tokens' ids.
    pub ids: Vec<u32>,
    /// For each token 0 if it is the first text's, 1 if it is the second's.
    pub types: Vec<u32>,
}

/// What `max_len` tokens hold beside `special` ones, at least one.
fn room(max_len: usize, special: usize) -> Result<usize, TextError> {
    let room = max_len.checked_sub(special).filter(|&room| room > 0);
    room.ok_or(TextError::NoRoom { max_len, special })
}

fn encode_error(text: &str) -> impl FnOnce(tokenizers::Error) -> TextError + '_ {
    |source| TextError::Encode { text: text.chars().take(40).collect(), source }
}

/// A special token with its id.
fn special(token: &str) -> (String, u32) {
    let id = SPECIAL.iter().position(|&special| special == token).unwrap_or_default();
    (token.to_owned(), id as u32)
}

/// The special tokens before and after a text: a token that no tokenizer has is put through what adds
/// them.
fn special_tokens(tokenizer: &Tokenizer) -> tokenizers::Result<(Vec<u32>, Vec<u32>)> {
    let probe = Encoding::from_tokens(vec![Token::new(u32::MAX, "a".into(), (0, 1))], 0);
    let whole = tokenizer.post_process(probe, None, true)?;
    let parts: Vec<&[u32]> = whole.get_ids().split(|&id| id == u32::MAX).collect();
    let [before, after] = parts.as_slice() else {
        return Err("the tokenizer's special tokens do not surround the text".into());
    };
    Ok((before.to_vec(), after.to_vec()))
}

/// How often each word occurs; `split` passes the words of a text to its argument.
fn count_words<S: AsRef<str> + Sync>(
    texts: &[S],
    split: impl Fn(&str, &mut dyn FnMut(&str)) + Sync,
) -> WordCounts {
    let count = |mut counts: WordCounts, text: &S| {
        split(text.as_ref(), &mut |word| match counts.get_mut(word) {
            Some(count) => *count += 1,
            None => {
                counts.insert(word.to_owned(), 1);
            }
        });
        counts
    };
    let add = |mut all: WordCounts, part: WordCounts| {
        for (word, count) in part {
            *all.entry(word).or_default() += count;
        }
        all
    };
    texts.par_iter().fold(WordCounts::new, count).reduce(WordCounts::new, add)
}

#[cfg(test)]
mod tests {
    use tokenizers::{PaddingParams, TruncationParams, normalizers::NFC};

    use super::*;
    use crate::cache::TokenCache;

    const TEXTS: [&str; 4] = [
        "The quick brown fox jumps over the lazy dog.",
        "A quicker fox; a browner dog!",
        "Nobody jumps higher than the laziest dog, nobody.",
        "Überquerung: café, naïve, 東京",
    ];

    #[test]
    fn the_same_texts_give_the_same_bytes_in_any_order() {
        let forward = TextTokenizer::train_wordpiece(&TEXTS, 120, true).unwrap();
        let mut reversed = TEXTS;
        reversed.reverse();
        for _ in 0..20 {
            let again = TextTokenizer::train_wordpiece(&reversed, 120, true).unwrap();
            assert_eq!(again.json, forward.json);
            assert_eq!(again.fingerprint(), forward.fingerprint());
        }
        // Written down once: holds across machines and versions.
        assert_eq!(
            forward.fingerprint(),
            "cd0bf2fa6cda2bf366520e83eeacdb4d2d2c1f4f8dec564573fae21b1a1ff3df"
        );
    }

    #[test]
    fn truncation_keeps_the_special_tokens() {
        let tokenizer = TextTokenizer::train_wordpiece(&TEXTS, 120, true).unwrap();
        let (cls, sep) =
            (tokenizer.token_id("[CLS]").unwrap(), tokenizer.token_id("[SEP]").unwrap());
        let whole = tokenizer.encode(TEXTS[0], 512).unwrap();
        let cut = tokenizer.encode(TEXTS[0], 5).unwrap();
        assert_eq!(cut, [&whole[..4], &[sep]].concat());
        assert_eq!(whole[0], cls);
        assert_eq!(tokenizer.encode("", 5).unwrap(), [cls, sep]);
        assert_eq!(tokenizer.pad_id(), 0);
        assert_eq!(
            tokenizer.decode(&whole).unwrap(),
            "the quick brown fox jumps over the lazy dog."
        );
    }

    #[test]
    fn of_a_pair_the_longer_text_is_cut() {
        let tokenizer = TextTokenizer::train_wordpiece(&TEXTS, 120, true).unwrap();
        let id = |token| tokenizer.token_id(token).unwrap();
        let (cls, sep) = (id("[CLS]"), id("[SEP]"));
        let long = tokenizer.encode_bare(TEXTS[0], 99).unwrap();
        let short = tokenizer.encode_bare("a", 99).unwrap();
        assert_eq!((tokenizer.pair_special_tokens(), short.len()), (3, 1));
        // (pair, longest row, tokens of each text that are left)
        for (pair, max_len, [first, second]) in [
            (("a", TEXTS[0]), 99, [1, long.len()]),
            (("a", TEXTS[0]), 9, [1, 5]),
            ((TEXTS[0], "a"), 9, [5, 1]),
            ((TEXTS[0], TEXTS[0]), 9, [3, 3]),
            ((TEXTS[0], TEXTS[0]), 10, [3, 4]),
            ((TEXTS[0], TEXTS[0]), 4, [0, 1]),
            (("", TEXTS[0]), 5, [0, 2]),
            (("", ""), 5, [0, 0]),
        ] {
            let text = |text: &str, length| match text {
                "a" => short[..length].to_vec(),
                _ => long[..length].to_vec(),
            };
            let (first, second) = (text(pair.0, first), text(pair.1, second));
            let row = tokenizer.encode_pairs(&[pair], max_len).unwrap().remove(0);
            assert_eq!(row.ids, [&[cls], &first[..], &[sep], &second, &[sep]].concat(), "{pair:?}");
            let types = [vec![0; first.len() + 2], vec![1; second.len() + 1]].concat();
            assert_eq!(row.types, types, "{pair:?}");
        }
        let error = tokenizer.encode_pairs(&[("a", "a")], 3).unwrap_err();
        assert!(matches!(error, TextError::NoRoom { max_len: 3, special: 3 }), "{error}");
        // T5's manner: one special token for both.
        let written = TextTokenizer::train_text_to_text(&TEXTS, 400).unwrap();
        let rows = written.encode_pairs(&[("a", "a")], 99).unwrap();
        assert_eq!(rows[0].types.len(), rows[0].ids.len());
    }

    #[test]
    fn a_length_without_room_is_an_error() {
        let tokenizer = TextTokenizer::train_wordpiece(&TEXTS, 120, true).unwrap();
        assert_eq!(tokenizer.special_tokens(), 2);
        for max_len in 0..3 {
            let error = tokenizer.encode_batch(&TEXTS, max_len).unwrap_err();
            assert!(matches!(error, TextError::NoRoom { special: 2, .. }), "{error}");
            let dir = tempfile::tempdir().unwrap();
            let cached = TokenCache::of(&dir.path().join("cache"), &tokenizer, max_len, &TEXTS);
            assert!(matches!(cached, Err(TextError::NoRoom { .. })));
            assert!(!dir.path().join("cache").exists());
        }
        assert_eq!(tokenizer.encode(TEXTS[0], 3).unwrap().len(), 3);
        let error = tokenizer.encode("x", 2).unwrap_err();
        assert_eq!(
            error.to_string(),
            "a length of 2 tokens leaves no room beside 2 special tokens"
        );
        assert_eq!(error.hint().unwrap(), "give 3 tokens at least");
    }

    #[test]
    fn saving_and_reading_is_the_identity() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        let tokenizer = TextTokenizer::train_wordpiece(&TEXTS, 120, false).unwrap();
        tokenizer.save(&path).unwrap();
        let again = TextTokenizer::from_file(&path).unwrap();
        assert_eq!(again.fingerprint(), tokenizer.fingerprint());
        assert_eq!(again.vocab_size(), tokenizer.vocab_size());
        assert_eq!(
            again.encode_batch(&TEXTS, 20).unwrap(),
            tokenizer.encode_batch(&TEXTS, 20).unwrap()
        );
    }

    #[test]
    fn lowercasing_goes_into_the_file() {
        let texts = ["Überquerung und Fuchs", "fuchs und überquerung", "a b"];
        let cased = TextTokenizer::train_wordpiece(&texts, 120, false).unwrap();
        // T5's manner: no normalizer, tokens that end the vocabulary.
        let written = TextTokenizer::train_text_to_text(&texts, 200).unwrap();
        // A sequence that lowers nothing stands before as it stood, behind the new step.
        let mut sequence = cased.inner.clone();
        let steps = vec![NFC.into(), BertNormalizer::new(true, true, None, false).into()];
        sequence.with_normalizer(Some(NormalizerSequence::new(steps))).unwrap();
        sequence
            .with_truncation(Some(TruncationParams { max_length: 7, ..Default::default() }))
            .unwrap();
        sequence.with_padding(Some(PaddingParams { pad_id: 3, ..Default::default() }));
        sequence.add_tokens([AddedToken::from("[Named]", false).normalized(false)]).unwrap();
        sequence.add_tokens([AddedToken::from("Loose", false)]).unwrap();
        let sequence = TextTokenizer::from_json(sequence.to_string(true).unwrap()).unwrap();

        for (tokenizer, mask) in
            [(cased, "[MASK]"), (written, "<extra_id_7>"), (sequence, "[Named]")]
        {
            assert!(!tokenizer.is_lowercasing());
            let mixed = format!("FUCHS {mask} Überquerung");
            let lower = format!("fuchs {mask} überquerung");
            let expected = tokenizer.encode(&lower, 99).unwrap();
            assert_ne!(tokenizer.encode(&mixed, 99).unwrap(), expected);
            assert!(expected.contains(&tokenizer.token_id(mask).unwrap()));
            let lowercased = tokenizer.clone().lowercased().unwrap();
            assert!(lowercased.is_lowercasing());
            assert_ne!(lowercased.fingerprint(), tokenizer.fingerprint());

            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("tokenizer.json");
            lowercased.save(&path).unwrap();
            for lowercased in [&lowercased, &TextTokenizer::from_file(&path).unwrap()] {
                for text in [&mixed, &lower] {
                    assert_eq!(lowercased.encode(text, 99).unwrap(), expected);
                }
                assert_eq!(lowercased.pad_id(), tokenizer.pad_id());
                assert_eq!(lowercased.vocab_size(), tokenizer.vocab_size());
                assert_eq!(lowercased.special_tokens(), tokenizer.special_tokens());
            }
            let json: serde_json::Value = serde_json::from_str(&lowercased.json).unwrap();
            let before: serde_json::Value = serde_json::from_str(&tokenizer.json).unwrap();
            assert_eq!(json["normalizer"]["type"], "Sequence");
            assert_eq!(json["normalizer"]["normalizers"][0]["type"], "Lowercase");
            for part in ["truncation", "padding", "added_tokens", "post_processor", "model"] {
                assert_eq!(json[part], before[part]);
            }
            let again = lowercased.clone().lowercased().unwrap();
            assert_eq!(again.json, lowercased.json);
        }
    }

    #[test]
    fn an_added_token_that_is_normalized_is_found_in_any_case() {
        let tokenizer = TextTokenizer::train_wordpiece(&TEXTS, 120, false).unwrap();
        let mut inner = tokenizer.inner.clone();
        inner.add_tokens([AddedToken::from("LazyDog", false)]).unwrap();
        let tokenizer = TextTokenizer::from_json(inner.to_string(true).unwrap()).unwrap();
        let lowercased = tokenizer.lowercased().unwrap();
        let id = lowercased.token_id("LazyDog").unwrap();
        for text in ["a LazyDog", "a lazydog", "a LAZYDOG"] {
            assert!(lowercased.encode(text, 99).unwrap().contains(&id), "{text}");
        }
    }

    #[test]
    fn a_tokenizer_that_lowers_already_stays_as_it_is() {
        let tokenizer = TextTokenizer::train_wordpiece(&TEXTS, 120, true).unwrap();
        assert!(tokenizer.is_lowercasing());
        let fingerprint = tokenizer.fingerprint();
        assert_eq!(tokenizer.lowercased().unwrap().fingerprint(), fingerprint);
    }

    #[test]
    fn a_file_that_is_no_tokenizer_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tokenizer.json");
        std::fs::write(&path, "{}").unwrap();
        let error = TextTokenizer::from_file(&path).unwrap_err();
        assert!(matches!(error, TextError::Tokenizer { .. }), "{error}");
    }

    #[test]
    fn a_vocabulary_too_small_for_the_characters_is_refused() {
        let error = TextTokenizer::train_wordpiece(&TEXTS, 10, true).unwrap_err();
        assert!(matches!(error, TextError::VocabularyTooSmall { got: 10, .. }), "{error}");
    }
}
