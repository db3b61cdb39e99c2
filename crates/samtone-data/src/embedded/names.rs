//! Names of two parts, the parts shared by many.

use samtone_text::Key;

/// A kind of thing in the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Person,
    Place,
    Work,
}

const GIVEN: [&str; 40] = [
    "Ada", "Alban", "Anselm", "Beatrix", "Benno", "Cecily", "Clement", "Cosima", "Damaris",
    "Dorian", "Edith", "Emeric", "Esther", "Felix", "Flora", "Gerard", "Greta", "Hector", "Ida",
    "Isidor", "Jasper", "Juno", "Klara", "Lambert", "Leonie", "Ludo", "Mabel", "Magnus", "Mirabel",
    "Nestor", "Odile", "Oskar", "Petra", "Quentin", "Rosalind", "Rufus", "Sabine", "Silas", "Thea",
    "Victor",
];

const BEGINNINGS: [&str; 24] = [
    "Bram", "Cald", "Dor", "Elm", "Fenn", "Gal", "Harl", "Ister", "Jarn", "Kest", "Lor", "Marl",
    "Nor", "Oster", "Pell", "Quill", "Rav", "Sel", "Tarn", "Ulver", "Vand", "Wex", "Yar", "Zell",
];

const FAMILY_ENDINGS: [&str; 20] = [
    "wick", "man", "son", "stein", "ley", "croft", "mere", "ow", "hart", "brook", "ard", "en",
    "ing", "ander", "ost", "well", "eck", "aby", "ulin", "ess",
];

const PLACE_ENDINGS: [&str; 20] = [
    "ford", "bury", "holm", "stead", "haven", "gate", "minster", "moor", "combe", "field", "ton",
    "by", "dale", "mouth", "worth", "burgh", "ham", "cliff", "pool", "thorpe",
];

const PLACE_FIRSTS: [&str; 16] = [
    "Upper", "Lower", "Old", "New", "Great", "Little", "Port", "Saint", "Castle", "Market", "East",
    "West", "Fort", "Abbey", "Long", "High",
];

const ADJECTIVES: [&str; 40] = [
    "Silent",
    "Crimson",
    "Broken",
    "Golden",
    "Hollow",
    "Burning",
    "Frozen",
    "Wandering",
    "Hidden",
    "Gentle",
    "Bitter",
    "Patient",
    "Restless",
    "Silver",
    "Forgotten",
    "Crooked",
    "Distant",
    "Faithful",
    "Painted",
    "Sleeping",
    "Stolen",
    "Tender",
    "Velvet",
    "Wooden",
    "Amber",
    "Blind",
    "Copper",
    "Drowned",
    "Empty",
    "Fallen",
    "Grey",
    "Humble",
    "Iron",
    "Jealous",
    "Lonely",
    "Marble",
    "Nameless",
    "Proud",
    "Scarlet",
    "Winter",
];

const NOUNS: [&str; 50] = [
    "Orchard",
    "Lantern",
    "Mirror",
    "Bridge",
    "Garden",
    "Ladder",
    "Compass",
    "Sparrow",
    "Thimble",
    "Violet",
    "Anchor",
    "Basket",
    "Candle",
    "Doorway",
    "Emerald",
    "Feather",
    "Goblet",
    "Hammer",
    "Island",
    "Jester",
    "Kettle",
    "Lighthouse",
    "Meadow",
    "Needle",
    "Oak",
    "Pilgrim",
    "Quarry",
    "Raven",
    "Shepherd",
    "Tower",
    "Umbrella",
    "Valley",
    "Wagon",
    "Window",
    "Beekeeper",
    "Clock",
    "Dancer",
    "Elephant",
    "Falcon",
    "Gypsum",
    "Heron",
    "Ivory",
    "Juniper",
    "Knight",
    "Locket",
    "Mask",
    "Nightingale",
    "Ox",
    "Peacock",
    "Rope",
];

/// Distinct names of one kind, as many as asked for.
pub(super) struct Names {
    kind: Kind,
    key: Key,
    /// How many second parts are in use: enough, and few enough that each is shared.
    seconds: usize,
    /// A random order of all combinations.
    order: std::vec::IntoIter<usize>,
}

/// Each second part of a name is shared by about this many things.
const SHARED_BY: usize = 6;

impl Names {
    pub(super) fn new(key: Key, kind: Kind, count: usize) -> Self {
        let firsts = firsts(kind).len();
        // Never fewer than fill the combinations, at most half of them in use.
        let seconds = (count / SHARED_BY).max((2 * count).div_ceil(firsts)).max(12);
        let key = key.at(kind as u64);
        let mut order = key.child("order").permutation(firsts * seconds);
        order.truncate(count);
        Self { kind, key, seconds, order: order.into_iter() }
    }
}

impl Iterator for Names {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let combination = self.order.next()?;
        let first = firsts(self.kind)[combination / self.seconds];
        let second = second(self.kind, self.key, combination % self.seconds);
        Some(match self.kind {
            Kind::Person | Kind::Place => format!("{first} {second}"),
            Kind::Work => format!("The {first} {second}"),
        })
    }
}

fn firsts(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Person => &GIVEN,
        Kind::Place => &PLACE_FIRSTS,
        Kind::Work => &ADJECTIVES,
    }
}

/// The second part with this number.
fn second(kind: Kind, key: Key, number: usize) -> String {
    match kind {
        Kind::Person => compound(key, &FAMILY_ENDINGS, number),
        Kind::Place => compound(key, &PLACE_ENDINGS, number),
        Kind::Work => {
            let noun = NOUNS[number % NOUNS.len()];
            match number / NOUNS.len() {
                0 => noun.to_owned(),
                // Large worlds need more: "Lantern of Bramford".
                round => format!("{noun} of {}", compound(key, &PLACE_ENDINGS, round - 1)),
            }
        }
    }
}

/// A beginning and an ending: different numbers below 480 make different words, and each further 480
/// put one more beginning in front.
fn compound(key: Key, endings: &[&str], number: usize) -> String {
    let all = BEGINNINGS.len() * endings.len();
    let place = key.child("compounds").permutation(all)[number % all];
    let word = format!("{}{}", BEGINNINGS[place / endings.len()], endings[place % endings.len()]);
    match number / all {
        0 => word,
        round => {
            let front = BEGINNINGS[(round - 1) % BEGINNINGS.len()];
            let rounds = (round - 1) / BEGINNINGS.len();
            format!("{}-{word}", front.repeat(rounds + 1))
        }
    }
}
