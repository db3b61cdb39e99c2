//! The pages name every key that a configuration may have, and say of each preset what it is.

use std::fmt::Debug;

use samtone_loss::{LossConfig, Preset};
use samtone_skill::{InfuseConfig, QaConfig};
use samtone_train::config::ExperimentConfig;
use serde::de::DeserializeOwned;

/// Asks serde for the keys of each section, by one that is none, and looks for them in `page`.
#[track_caller]
fn names_every_key<C: DeserializeOwned + Debug>(page: &str, sections: &[&str]) {
    for section in sections {
        let text = format!("[{section}]\nno_such_key = 1");
        let error = toml::from_str::<C>(&text).expect_err("no such key");
        let message = error.message();
        let (_, known) = message.split_once("expected").expect("the known keys are listed");
        let keys: Vec<&str> = known.split('`').skip(1).step_by(2).collect();
        assert!(!keys.is_empty(), "{message}");
        for key in keys {
            let named =
                [format!("`{key}`"), format!("`{section}.{key}`"), format!("[{section}.{key}]")];
            assert!(named.iter().any(|name| page.contains(name)), "`{section}.{key}`");
        }
    }
}

#[test]
fn the_page_of_the_configuration_names_every_key() {
    let sections = [
        "data",
        "model",
        "loss",
        "loss.false_negatives",
        "matryoshka",
        "distillation",
        "second_stage",
        "train",
        "eval",
        "ablate",
    ];
    names_every_key::<ExperimentConfig>(include_str!("../../docs/configuration.md"), &sections);
}

#[test]
fn the_page_of_skill_names_every_key() {
    let page = include_str!("../../docs/skill.md");
    let infuse = ["data", "model", "train", "qa", "qa.data", "qa.train", "qa.eval"];
    names_every_key::<InfuseConfig>(page, &infuse);
    names_every_key::<QaConfig>(page, &["data", "model", "train", "eval"]);
}

#[test]
fn the_page_of_the_configuration_says_of_each_preset_what_it_is() {
    let page = include_str!("../../docs/configuration.md");
    for preset in Preset::ALL {
        let start = format!("| `{preset}` | ");
        let row = page.lines().find(|line| line.starts_with(&start));
        let row = row.unwrap_or_else(|| panic!("`{preset}` has no row"));
        let [temperature, hides] =
            [4, 5].map(|column| row.split('|').nth(column).unwrap_or_default().trim());
        let loss = LossConfig::preset(preset).resolve().expect("a preset resolves");
        assert_eq!(temperature, loss.temperature().to_string(), "{row}");
        let rule = loss.false_negatives();
        let margin = rule.margin.map(|margin| format!(", and a margin of {}", margin.absolute));
        let ids = if rule.ids && rule.known { "ids" } else { "none" };
        assert_eq!(hides, format!("`\"{ids}\"`{}", margin.unwrap_or_default()), "{row}");
    }
}
