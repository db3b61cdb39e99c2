//! The losses that every backend computes, and the batch that they are computed of.

use samtone_loss::{Loss, LossConfig, Preset, Relations};
use samtone_testing::loss::{Host, resolve};
use samtone_text::Key;

/// 150 pairs in tiles of 64, with repeated ids, known pairs, weights and hard negatives.
pub(crate) fn large() -> Host {
    let (rows, dim, negatives) = (150, 24, 2);
    let key = Key::new(9);
    let number =
        |name: &str, i: usize| key.child(name).below(i as u64, 2_000_001) as f64 / 1e6 - 1.0;
    let queries: Vec<f64> = (0..rows * dim).map(|i| number("query", i)).collect();
    let documents = queries.iter().enumerate().map(|(i, x)| x + 0.7 * number("document", i));
    let documents = documents.collect();
    let hard = (0..rows * negatives * dim).map(|i| number("hard", i)).collect();
    let ids = |name: &str, count: usize, range: usize| {
        Some((0..count).map(|i| key.child(name).below(i as u64, range) as u64).collect())
    };
    Host {
        rows,
        dim,
        negatives,
        queries,
        documents,
        hard,
        relations: Relations {
            query_ids: ids("query-id", rows, 120),
            document_ids: ids("document-id", rows, 130),
            hard_negative_ids: ids("hard-id", rows * negatives, 200),
            known: vec![(0, 149), (3, 70), (64, 63)],
        },
        weights: Some((0..rows).map(|i| (i % 5) as f64).collect()),
    }
}

/// Losses of few tiles and many, by what they are.
pub(crate) type Losses = Vec<(String, Loss)>;

/// Tiles of 64 with and without what hides scores.
pub(crate) fn many_tiles() -> Losses {
    let mut losses = Losses::new();
    for preset in ["samtone", "gte", "qwen3", "pair"] {
        for masks in ["'none'", "'ids'", "{ ids = true, margin = { absolute = -0.1 } }"] {
            let config =
                format!("preset = '{preset}'\ntemperature = 0.1\nfalse_negatives = {masks}");
            losses.push((config.replace('\n', ", "), resolve(&config).with_tile(64)));
        }
    }
    let config = "preset = 'samtone'\nsimilarity = 'dot'\n\
                  hardness = { on = 'all', strength = 2.0 }\ntemperature = 0.5";
    losses.push(("dot products with hardness".into(), resolve(config).with_tile(64)));
    losses
}

/// Every preset with every mask.
pub(crate) fn presets() -> Losses {
    let masks = "{ ids = true, known = true, margin = { absolute = 0.05, relative = -0.1 } }";
    let mut losses = Losses::new();
    // Tiles of 37 leave some of 2 rows, fewer than a kernel has units; one of 1000 holds all.
    for (tile, temperature) in [(37, 0.05), (1000, 0.01)] {
        for preset in Preset::ALL {
            let uses_hard = LossConfig::preset(preset).resolve().unwrap().uses_hard_negatives();
            let hard_negatives: &[&str] = if uses_hard {
                &["hard_negatives = 'own'", "hard_negatives = 'all'"]
            } else {
                &[""]
            };
            for hard in hard_negatives {
                let config = format!(
                    "preset = '{preset}'\ntemperature = {temperature}\n{hard}\n\
                     false_negatives = {masks}"
                );
                let what = format!("{preset}, τ {temperature}, {hard}, tiles of {tile}");
                losses.push((what, resolve(&config).with_tile(tile)));
            }
        }
    }
    losses
}

/// Terms of several scales that share a matrix.
pub(crate) fn hardness() -> Losses {
    let of = |on: &str| {
        let config = format!(
            "temperature = 0.1\nhardness = {{ on = '{on}', strength = 3.0 }}\n\
             [[group]]\nanchor = 'query'\ncandidates = ['cross', 'hard', 'opposite', 'opposite-hard']\n\
             [[group]]\nanchor = 'document'\n\
             candidates = ['cross', 'opposite', 'hard']"
        );
        (format!("hardness on {on}"), resolve(&config).with_tile(40))
    };
    ["in-batch", "hard", "all"].map(of).into()
}
