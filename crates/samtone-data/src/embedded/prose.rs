//! The relations of the world, and the words that tell them and ask for them.

use samtone_text::Key;

use super::names::Kind;
use crate::reading::knowledge::Triple;

/// A relation: what it connects, and its wordings. `{s}` and `{o}` stand for subject and object.
pub(super) struct Relation {
    pub(super) name: &'static str,
    pub(super) subject: Kind,
    pub(super) object: Target,
    /// How documents tell it.
    pub(super) statements: &'static [&'static str],
    /// How questions about the subject ask for the object.
    pub(super) questions: &'static [&'static str],
    /// How questions about the object ask for the subject; `{s}` stands for the object here.
    pub(super) inverse: &'static [&'static str],
}

/// What stands on the other side of a relation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Person,
    Place,
    /// A person, who is related in the same way to the subject.
    Partner,
    Value(Value),
}

/// A plain value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Value {
    /// A year from the first to before the second.
    Year(usize, usize),
    OneOf(&'static [&'static str]),
}

/// The document that tells a fact: a sentence with it, and perhaps a remark that adds nothing.
pub(super) fn tell(key: Key, relation: &Relation, triple: &Triple) -> String {
    let statement = relation.statements[key.below(0, relation.statements.len())];
    let mut text = statement.replace("{s}", &triple.subject).replace("{o}", &triple.object);
    if key.below(1, 2) == 1 {
        text.push(' ');
        text.push_str(REMARKS[key.below(2, REMARKS.len())]);
    }
    text
}

/// `count` different questions about `subject`; fewer if there are fewer wordings.
pub(super) fn ask(
    key: Key,
    wordings: &'static [&'static str],
    subject: &str,
    count: usize,
) -> impl Iterator<Item = String> {
    let order = key.child("wordings").permutation(wordings.len());
    order.into_iter().take(count).map(move |i| wordings[i].replace("{s}", subject))
}

const TRADES: &[&str] = &[
    "baker",
    "beekeeper",
    "blacksmith",
    "bookbinder",
    "brewer",
    "carpenter",
    "clockmaker",
    "cooper",
    "dyer",
    "ferryman",
    "gardener",
    "glassblower",
    "goldsmith",
    "locksmith",
    "mason",
    "miller",
    "notary",
    "physician",
    "potter",
    "printer",
    "roofer",
    "saddler",
    "schoolmaster",
    "shepherd",
    "surveyor",
    "tailor",
    "tanner",
    "vintner",
    "weaver",
    "wheelwright",
];

const INSTRUMENTS: &[&str] = &[
    "bagpipe",
    "bassoon",
    "cello",
    "clarinet",
    "cornet",
    "drum",
    "dulcimer",
    "fiddle",
    "flute",
    "guitar",
    "harp",
    "horn",
    "lute",
    "lyre",
    "mandolin",
    "piccolo",
    "tambourine",
    "trumpet",
    "viol",
    "zither",
];

const RIVERS: &[&str] = &[
    "Aller", "Brann", "Cessa", "Darrow", "Eddle", "Fosse", "Garn", "Hebble", "Irwen", "Jorl",
    "Kenna", "Lisk", "Morrow", "Nidd", "Orrin", "Pharn", "Quenn", "Rill", "Sarn", "Tesk", "Ure",
    "Vessel", "Wend", "Yarrow",
];

const GOODS: &[&str] = &[
    "bells",
    "bricks",
    "brooms",
    "buttons",
    "candles",
    "carpets",
    "cheese",
    "cider",
    "cutlery",
    "glass",
    "gloves",
    "honey",
    "hats",
    "ink",
    "lace",
    "leather",
    "linen",
    "mustard",
    "paper",
    "perfume",
    "pipes",
    "porcelain",
    "ropes",
    "salt",
    "silk",
    "soap",
    "tiles",
    "toys",
    "violins",
    "wool",
];

const MONTHS: &[&str] = &[
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const REGIONS: &[&str] = &[
    "Ardenmark",
    "Belloria",
    "Carswold",
    "Dunmere",
    "Estrany",
    "Farrowland",
    "Gramont",
    "Hestia",
    "Ilmaria",
    "Kordova",
    "Lanmark",
    "Mirefen",
    "Norvale",
    "Ostrava",
    "Palwin",
    "Rothmark",
    "Suderland",
    "Tolmany",
    "Ultrania",
    "Wolden",
];

const FORMS: &[&str] = &[
    "ballad",
    "ballet",
    "cantata",
    "chronicle",
    "comedy",
    "drawing",
    "fresco",
    "hymn",
    "lullaby",
    "mosaic",
    "novel",
    "opera",
    "painting",
    "poem",
    "puppetry",
    "sculpture",
    "sonnet",
    "symphony",
    "tapestry",
    "tragedy",
];

const THEMES: &[&str] = &[
    "betrayal",
    "charity",
    "courage",
    "drought",
    "emigration",
    "exile",
    "famine",
    "fatherhood",
    "forgiveness",
    "friendship",
    "gambling",
    "greed",
    "harvest",
    "hunting",
    "illness",
    "jealousy",
    "justice",
    "loneliness",
    "loyalty",
    "motherhood",
    "mourning",
    "navigation",
    "poverty",
    "rebellion",
    "revenge",
    "shipwreck",
    "slavery",
    "solitude",
    "vanity",
    "witchcraft",
];

/// Sentences that fit any document and answer no question.
const REMARKS: &[&str] = &[
    "An old almanac confirms it.",
    "Later accounts agree.",
    "So the archives say.",
    "The matter was long disputed.",
    "Few remember it today.",
    "A plaque recalls the fact.",
    "Two witnesses swore to it.",
    "The record is brief but clear.",
    "Nothing else is known about the affair.",
    "Letters of the period mention it twice.",
    "Travellers still hear the story.",
    "A footnote in the annals adds no more.",
];

/// All relations. A question's words are never those of its relation's statements: a test holds that.
pub(super) const RELATIONS: &[Relation] = &[
    Relation {
        name: "born in",
        subject: Kind::Person,
        object: Target::Place,
        statements: &[
            "{s} first saw daylight in {o}.",
            "{s} came into the world at {o}.",
            "The cradle of {s} stood in {o}.",
            "{o} is the native soil of {s}.",
        ],
        questions: &[
            "where was {s} born",
            "what is the birthplace of {s}",
            "which town does {s} originate from",
            "where does {s} hail from",
        ],
        inverse: &[],
    },
    Relation {
        name: "birth year",
        subject: Kind::Person,
        object: Target::Value(Value::Year(1700, 1900)),
        statements: &[
            "{s} arrived as an infant in {o}.",
            "The parish register enters the baptism of {s} under {o}.",
            "A midwife delivered {s} in {o}.",
            "The childhood of {s} started in {o}.",
        ],
        questions: &[
            "when was {s} born",
            "what is the year of birth of {s}",
            "what is the birthday of {s}",
            "in which year does the life of {s} begin",
        ],
        inverse: &[],
    },
    Relation {
        name: "profession",
        subject: Kind::Person,
        object: Target::Value(Value::OneOf(TRADES)),
        statements: &[
            "{s} earned bread as a {o}.",
            "Guild rolls list {s} as a {o}.",
            "By trade {s} was a {o}.",
            "{s} fed the household as a {o}.",
        ],
        questions: &[
            "what did {s} do for work",
            "what was the profession of {s}",
            "what job did {s} have",
            "what is the occupation of {s}",
        ],
        inverse: &[],
    },
    Relation {
        name: "married to",
        subject: Kind::Person,
        object: Target::Partner,
        statements: &[
            "{s} exchanged vows with {o}.",
            "{s} and {o} shared a household and a ring.",
            "The wedding of {s} and {o} filled the chapel.",
            "{s} took {o} for a lifelong companion.",
        ],
        questions: &[
            "who is {s} married to",
            "who is the spouse of {s}",
            "what is the name of the husband or wife of {s}",
            "whom did {s} marry",
        ],
        inverse: &[],
    },
    Relation {
        name: "student of",
        subject: Kind::Person,
        object: Target::Person,
        statements: &[
            "{s} learned the craft from {o}.",
            "{o} guided the earliest steps of {s}.",
            "{s} sat at the feet of {o}.",
            "{s} was a pupil of {o}.",
        ],
        questions: &[
            "who taught {s}",
            "who was the teacher of {s}",
            "who instructed {s}",
            "by whom was {s} trained",
        ],
        inverse: &[
            "whom did {s} teach",
            "who were the students of {s}",
            "who was taught by {s}",
            "who was trained by {s}",
        ],
    },
    Relation {
        name: "died in",
        subject: Kind::Person,
        object: Target::Place,
        statements: &[
            "{s} drew a last breath in {o}.",
            "The grave of {s} lies in {o}.",
            "{s} was laid to rest at {o}.",
            "A final illness took {s} in {o}.",
        ],
        questions: &[
            "where did {s} die",
            "what is the place of death of {s}",
            "in which town did {s} pass away",
            "where does the life of {s} end",
        ],
        inverse: &[],
    },
    Relation {
        name: "plays",
        subject: Kind::Person,
        object: Target::Value(Value::OneOf(INSTRUMENTS)),
        statements: &[
            "{s} kept a {o} beside the hearth.",
            "Neighbours heard {s} practise the {o} at night.",
            "At dances {s} brought along a {o}.",
            "{s} owned a battered {o}.",
        ],
        questions: &[
            "what instrument did {s} play",
            "which musical instrument belonged to {s}",
            "with what did {s} make music",
            "what could {s} play",
        ],
        inverse: &[],
    },
    Relation {
        name: "lies on",
        subject: Kind::Place,
        object: Target::Value(Value::OneOf(RIVERS)),
        statements: &[
            "Barges reach {s} along the {o}.",
            "The {o} runs beneath the bridges of {s}.",
            "{s} was laid out on the banks of the {o}.",
            "The mills of {s} are driven by the {o}.",
        ],
        questions: &[
            "which river flows through {s}",
            "what river does {s} lie on",
            "what water passes by {s}",
            "name the stream that crosses {s}",
        ],
        inverse: &[],
    },
    Relation {
        name: "founded in",
        subject: Kind::Place,
        object: Target::Value(Value::Year(900, 1600)),
        statements: &[
            "The charter of {s} dates from {o}.",
            "Settlers drove the earliest stakes of {s} in {o}.",
            "{s} received its walls in {o}.",
            "The oldest deed of {s} was sealed in {o}.",
        ],
        questions: &[
            "when was {s} founded",
            "what is the age of {s}",
            "what year was {s} established",
            "in which year did {s} begin",
        ],
        inverse: &[],
    },
    Relation {
        name: "known for",
        subject: Kind::Place,
        object: Target::Value(Value::OneOf(GOODS)),
        statements: &[
            "Workshops in {s} turn out {o}.",
            "Merchants praise the {o} of {s}.",
            "Half of {s} lives by {o}.",
            "{s} ships {o} to every coast.",
        ],
        questions: &[
            "what is {s} famous for",
            "what does {s} produce",
            "which goods are made in {s}",
            "what can one buy in {s}",
        ],
        inverse: &[],
    },
    Relation {
        name: "governed by",
        subject: Kind::Place,
        object: Target::Person,
        statements: &[
            "{o} holds the keys of {s}.",
            "The council of {s} is chaired by {o}.",
            "Citizens of {s} elected {o}.",
            "{o} signs the decrees of {s}.",
        ],
        questions: &[
            "who is the mayor of {s}",
            "who governs {s}",
            "who runs {s}",
            "who leads the town of {s}",
        ],
        inverse: &[
            "which town does {s} govern",
            "of what town is {s} the mayor",
            "where does {s} rule",
            "what does {s} run",
        ],
    },
    Relation {
        name: "celebrates in",
        subject: Kind::Place,
        object: Target::Value(Value::OneOf(MONTHS)),
        statements: &[
            "Every {o} the streets of {s} fill with lanterns.",
            "{s} hangs out its banners in {o}.",
            "Drums sound in {s} each {o}.",
            "The great fair of {s} falls in {o}.",
        ],
        questions: &[
            "when does {s} celebrate",
            "in which month is the festival of {s}",
            "what time of year does {s} hold its feast",
            "when is the holiday of {s}",
        ],
        inverse: &[],
    },
    Relation {
        name: "located in",
        subject: Kind::Place,
        object: Target::Value(Value::OneOf(REGIONS)),
        statements: &[
            "{s} belongs to the district of {o}.",
            "On maps {s} appears inside {o}.",
            "{s} pays its taxes to {o}.",
            "The hills of {o} surround {s}.",
        ],
        questions: &[
            "what region is {s} in",
            "which province contains {s}",
            "where is {s} located",
            "in what part of the country is {s}",
        ],
        inverse: &[],
    },
    Relation {
        name: "created by",
        subject: Kind::Work,
        object: Target::Person,
        statements: &[
            "{o} laboured for years over {s}.",
            "{s} came from the hand of {o}.",
            "{s} bears the signature of {o}.",
            "{o} finished {s} by candlelight.",
        ],
        questions: &[
            "who created {s}",
            "who is the author of {s}",
            "who made {s}",
            "whose work is {s}",
        ],
        inverse: &[
            "what did {s} create",
            "name a work by {s}",
            "what is {s} the author of",
            "which works did {s} make",
        ],
    },
    Relation {
        name: "created in",
        subject: Kind::Work,
        object: Target::Value(Value::Year(1700, 1980)),
        statements: &[
            "Audiences met {s} in {o}.",
            "{s} left the workshop in {o}.",
            "Catalogues enter {s} under {o}.",
            "{s} became public in {o}.",
        ],
        questions: &[
            "when did {s} appear",
            "what year is {s} from",
            "when was {s} made",
            "what is the date of {s}",
        ],
        inverse: &[],
    },
    Relation {
        name: "is a",
        subject: Kind::Work,
        object: Target::Value(Value::OneOf(FORMS)),
        statements: &[
            "Critics shelve {s} beside every other {o}.",
            "{s} takes the shape of a {o}.",
            "Scholars call {s} a {o}.",
            "{s} is reckoned a fine {o}.",
        ],
        questions: &[
            "what kind of work is {s}",
            "what type of art is {s}",
            "what genre does {s} belong to",
            "what sort of thing is {s}",
        ],
        inverse: &[],
    },
    Relation {
        name: "is about",
        subject: Kind::Work,
        object: Target::Value(Value::OneOf(THEMES)),
        statements: &[
            "{s} dwells on {o}.",
            "Each scene of {s} returns to {o}.",
            "{s} turns around {o}.",
            "In the centre of {s} stands {o}.",
        ],
        questions: &[
            "what is {s} about",
            "what is the subject of {s}",
            "what topic does {s} deal with",
            "what theme does {s} treat",
        ],
        inverse: &[],
    },
    Relation {
        name: "first shown in",
        subject: Kind::Work,
        object: Target::Place,
        statements: &[
            "The curtain rose on {s} in {o}.",
            "A crowd in {o} greeted {s} before anyone else.",
            "{s} was unveiled at {o}.",
            "{o} hosted the opening night of {s}.",
        ],
        questions: &[
            "where was {s} first presented",
            "where did {s} have its premiere",
            "in which town was {s} introduced",
            "where was {s} seen first",
        ],
        inverse: &[],
    },
    Relation {
        name: "dedicated to",
        subject: Kind::Work,
        object: Target::Person,
        statements: &[
            "The front leaf of {s} honours {o}.",
            "{s} keeps the memory of {o}.",
            "{s} was a gift to {o}.",
            "{s} pays homage to {o}.",
        ],
        questions: &[
            "who is {s} dedicated to",
            "to whom was {s} offered",
            "for whom was {s} made",
            "whose name does {s} carry",
        ],
        inverse: &[
            "which work is dedicated to {s}",
            "what was offered to {s}",
            "what was made for {s}",
            "which work carries the name of {s}",
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// Words that carry no content.
    const STOP_WORDS: [&str; 30] = [
        "a", "about", "along", "and", "are", "as", "at", "by", "did", "do", "does", "for", "from",
        "in", "into", "is", "its", "of", "on", "or", "out", "the", "to", "was", "what", "which",
        "who", "with", "where", "be",
    ];

    fn content(wordings: &[&'static str]) -> BTreeSet<&'static str> {
        let words = wordings.iter().flat_map(|wording| wording.split([' ', '.', ',']));
        let words = words.filter(|word| !word.is_empty() && !word.starts_with('{'));
        words.filter(|word| !STOP_WORDS.contains(word)).collect()
    }

    #[test]
    fn questions_share_no_content_word_with_their_documents() {
        for relation in RELATIONS {
            let told = content(relation.statements);
            let asked = content(relation.questions);
            assert_eq!(
                told.intersection(&asked).collect::<Vec<_>>(),
                [&""; 0],
                "{}",
                relation.name
            );
            let asked = content(relation.inverse);
            assert_eq!(
                told.intersection(&asked).collect::<Vec<_>>(),
                [&""; 0],
                "{}",
                relation.name
            );
        }
    }

    #[test]
    fn wordings_name_what_they_must() {
        for relation in RELATIONS {
            for statement in relation.statements {
                assert!(statement.contains("{s}") && statement.contains("{o}"), "{statement}");
            }
            for question in relation.questions.iter().chain(relation.inverse) {
                assert!(question.contains("{s}") && !question.contains("{o}"), "{question}");
            }
        }
    }
}
