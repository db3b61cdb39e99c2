//! Which of a repository's files a retriever is read from.

use serde::Deserialize;

/// What describes a model or its tokenizer: another one, or none, gives other embeddings.
const ESSENTIAL: [&str; 8] = [
    "adapter_config.json",
    "config.json",
    "modules.json",
    "samtone.json",
    "router_config.json",
    "config_sentence_transformers.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

/// What other readers of the same folder want.
const BESIDE: [&str; 9] = [
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tokenizer.model",
    "generation_config.json",
];

/// The weights in one file, and the list of their parts.
pub(crate) const WEIGHTS: [(&str, &str); 2] = [
    ("model.safetensors", "model.safetensors.index.json"),
    ("pytorch_model.bin", "pytorch_model.bin.index.json"),
];

/// The weights of an adapter, of which a folder's first is read.
pub(crate) const ADAPTER_WEIGHTS: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// The files of a repository that are wanted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Wanted<'a> {
    /// Those that decide the embeddings.
    pub(crate) essential: Vec<&'a str>,
    /// Licence, card, and other forms of the tokenizer.
    pub(crate) beside: Vec<&'a str>,
}

/// Chooses among `files`, paths inside the repository; `stages` are the folders that belong to the
/// model.
pub(crate) fn wanted<'a>(files: &[&'a str], stages: &[String]) -> Wanted<'a> {
    let mut wanted = Wanted::default();
    for &file in files {
        let (folder, name) = split(file);
        if !is_of_model(folder, stages) {
            continue;
        }
        if ESSENTIAL.contains(&name) || is_length(name) || is_weight(files, folder, name) {
            wanted.essential.push(file);
        } else if BESIDE.contains(&name) || folder.is_empty() && is_for_people(name) {
            wanted.beside.push(file);
        }
    }
    wanted
}

/// A path's folder and the name in it.
pub(crate) fn split(file: &str) -> (&str, &str) {
    file.rsplit_once('/').unwrap_or(("", file))
}

/// Whether `folder` is the root, one of `stages` or in one.
pub(crate) fn is_of_model(folder: &str, stages: &[String]) -> bool {
    let is_in = |stage: &String| {
        folder.strip_prefix(&**stage).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    folder.is_empty() || stages.iter().any(is_in)
}

/// `sentence_bert_config.json` and its older names.
pub(crate) fn is_length(name: &str) -> bool {
    name.starts_with("sentence_") && name.ends_with("_config.json")
}

fn is_for_people(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    name == "README.MD"
        || ["LICEN", "NOTICE", "COPYING"].iter().any(|start| name.starts_with(start))
}

/// Whether `name` holds the weights of its folder: one file before several, safetensors before
/// pickles.
fn is_weight(files: &[&str], folder: &str, name: &str) -> bool {
    let is_there = |name: &str| files.iter().any(|file| split(file) == (folder, name));
    if ADAPTER_WEIGHTS.iter().find(|name| is_there(name)) == Some(&name) {
        return true;
    }
    WEIGHTS.iter().find_map(|&(whole, index)| {
        if is_there(whole) {
            Some(name == whole)
        } else if is_there(index) {
            Some(name == index || is_shard(name, whole))
        } else {
            None
        }
    }) == Some(true)
}

/// Whether `name` is a part of the weights that `whole` would hold: `model-00001-of-00002.safetensors`.
fn is_shard(name: &str, whole: &str) -> bool {
    let (stem, extension) = whole.rsplit_once('.').expect("both names have an extension");
    let numbers = name
        .strip_prefix(stem)
        .and_then(|rest| rest.strip_prefix('-'))
        .and_then(|rest| rest.strip_suffix(extension)?.strip_suffix('.'))
        .and_then(|rest| rest.split_once("-of-"));
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    numbers.is_some_and(|(part, parts)| is_number(part) && is_number(parts))
}

/// An entry of `modules.json`.
#[derive(Deserialize)]
pub(crate) struct Module {
    pub(crate) path: String,
    #[serde(rename = "type", default)]
    class: String,
}

impl Module {
    /// Whether it needs no file.
    pub(crate) fn is_bare(&self) -> bool {
        self.class.ends_with("Normalize")
    }
}

/// The modules that `modules.json` names; its faults are for who reads the model.
pub(crate) fn modules(read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<Module> {
    let parse = |bytes: Vec<u8>| serde_json::from_slice::<Vec<Module>>(&bytes).ok();
    let mut modules = read("modules.json").and_then(parse).unwrap_or_default();
    for module in &mut modules {
        let path = module.path.trim_start_matches("./").trim_end_matches('/');
        module.path = if path == "." { String::new() } else { path.to_owned() };
    }
    modules
}

/// The folders that belong to the model, by what its files in the root say, which `read` reads.
pub(crate) fn stages(read: &dyn Fn(&str) -> Option<Vec<u8>>) -> Vec<String> {
    #[derive(Deserialize)]
    struct Router {
        types: std::collections::BTreeMap<String, String>,
    }
    let paths = modules(read).into_iter().map(|module| module.path);
    let mut stages: Vec<String> = paths.filter(|path| !path.is_empty()).collect();
    let router = read("router_config.json");
    let router = router.and_then(|bytes| serde_json::from_slice::<Router>(&bytes).ok());
    stages.extend(router.into_iter().flat_map(|router| router.types.into_keys()));
    if read("samtone.json").is_some() {
        stages.extend(["query".to_owned(), "document".to_owned()]);
    }
    stages
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_an_adapter_its_description_and_one_file_of_weights_are_wanted() {
        let files = ["adapter_config.json", "adapter_model.bin", "adapter_model.safetensors"];
        assert_eq!(wanted(&files, &[]).essential, [files[0], files[2]]);
        assert_eq!(wanted(&files[..2], &[]).essential, files[..2]);
    }

    #[test]
    fn of_a_repository_what_a_retriever_needs_is_wanted() {
        let files = [
            ".gitattributes",
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "2_Dense/pytorch_model.bin",
            "LICENSE",
            "README.md",
            "checkpoint-9/model.safetensors",
            "config.json",
            "config_sentence_transformers.json",
            "coreml/config.json",
            "flax_model.msgpack",
            "model.safetensors",
            "modules.json",
            "onnx/config.json",
            "onnx/model.onnx",
            "openvino/openvino_model.bin",
            "pytorch_model.bin",
            "rust_model.ot",
            "sentence_bert_config.json",
            "tf_model.h5",
            "tokenizer.json",
            "train_script.py",
            "vocab.txt",
        ];
        let wanted = wanted(&files, &["1_Pooling".into(), "2_Dense".into()]);
        let essential = [
            "1_Pooling/config.json",
            "2_Dense/config.json",
            "2_Dense/model.safetensors",
            "config.json",
            "config_sentence_transformers.json",
            "model.safetensors",
            "modules.json",
            "sentence_bert_config.json",
            "tokenizer.json",
        ];
        assert_eq!(wanted.essential, essential);
        assert_eq!(wanted.beside, ["LICENSE", "README.md", "vocab.txt"]);
    }

    #[test]
    fn weights_are_taken_in_the_form_that_is_read() {
        let [safetensors, pickles] =
            [("model", "safetensors"), ("pytorch_model", "bin")].map(|(stem, end)| {
                ["", "-00001-of-00002", "-00002-of-00002"].map(|part| format!("{stem}{part}.{end}"))
            });
        let indexes = WEIGHTS.map(|(_, index)| index);
        let weights = |files: &[&str]| wanted(files, &[]).essential.join(" ");
        let all = |of: &[String; 3], index: &str| format!("{} {} {index}", of[1], of[2]);
        assert_eq!(weights(&[&safetensors[0], &pickles[0]]), safetensors[0]);
        let [one, two] = [&safetensors[1], &safetensors[2]];
        assert_eq!(weights(&[one, two, indexes[0], &pickles[0]]), all(&safetensors, indexes[0]));
        assert_eq!(weights(&[&safetensors[0], one, two, indexes[0]]), safetensors[0]);
        assert_eq!(weights(&[&pickles[0], "model.fp16.safetensors"]), pickles[0]);
        let [one, two] = [&pickles[1], &pickles[2]];
        assert_eq!(weights(&[one, two, indexes[1]]), all(&pickles, indexes[1]));
        assert_eq!(weights(&["model-a-of-b.safetensors"]), "");
    }

    #[test]
    fn the_folders_of_a_model_are_named_in_its_root() {
        let read = |name: &str| match name {
            "modules.json" => Some(
                br#"[{"path": "", "type": "T"}, {"path": "./1_Pooling/", "type": "P"}]"#.to_vec(),
            ),
            "router_config.json" => Some(br#"{"types": {"query_0_T": "T"}}"#.to_vec()),
            "samtone.json" => Some(b"{}".to_vec()),
            _ => None,
        };
        assert_eq!(stages(&read), ["1_Pooling", "query_0_T", "query", "document"]);
        assert_eq!(stages(&|_| None), [""; 0]);
        let stages = ["query".to_owned()];
        assert!(is_of_model("query/1_Pooling", &stages));
        assert!(!is_of_model("query_old", &stages));
    }
}
