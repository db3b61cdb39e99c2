//! The pages name every key that a configuration may have.

use std::fmt::Debug;

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
    let sections =
        ["data", "model", "matryoshka", "distillation", "second_stage", "train", "eval", "ablate"];
    names_every_key::<ExperimentConfig>(include_str!("../../docs/configuration.md"), &sections);
}

#[test]
fn the_page_of_skill_names_every_key() {
    let page = include_str!("../../docs/skill.md");
    let infuse = ["data", "model", "train", "qa", "qa.data", "qa.train", "qa.eval"];
    names_every_key::<InfuseConfig>(page, &infuse);
    names_every_key::<QaConfig>(page, &["data", "model", "train", "eval"]);
}
