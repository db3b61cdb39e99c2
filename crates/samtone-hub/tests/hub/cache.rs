use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use samtone_hub::{HubCache, HubError, ModelName, Snapshot};
use tempfile::TempDir;

const COMMIT: &str = "1234567aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
const OTHER: &str = "1234567bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// A cache as Hugging Face's libraries write it, with a sentence-transformers model.
struct Bench {
    home: TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { home: tempfile::tempdir().unwrap() };
        bench.refer("main", COMMIT);
        for file in WHOLE {
            bench.put(COMMIT, file);
        }
        bench
    }

    fn model(&self, inside: &str) -> PathBuf {
        self.home.path().join("models--org--name").join(inside)
    }

    fn refer(&self, revision: &str, commit: &str) {
        let path = self.model("refs").join(revision);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, commit).unwrap();
    }

    /// A blob, and its link in the snapshot.
    fn put(&self, commit: &str, file: &str) {
        let content = match file {
            "modules.json" => MODULES,
            "model.safetensors.index.json" => INDEX,
            _ => file,
        };
        let blob = format!("blobs/{}", file.replace('/', "-"));
        let link = self.model(&format!("snapshots/{commit}/{file}"));
        for folder in [self.model("blobs"), link.parent().unwrap().to_owned()] {
            fs::create_dir_all(folder).unwrap();
        }
        fs::write(self.model(&blob), content).unwrap();
        let up = "../".repeat(2 + file.matches('/').count());
        symlink(format!("{up}{blob}"), link).unwrap();
    }

    fn remove(&self, file: &str) {
        fs::remove_file(self.model(&format!("snapshots/{COMMIT}/{file}"))).unwrap();
    }

    /// Marks that the repository has no such file.
    fn mark(&self, file: &str) {
        let marks = self.model(&format!(".no_exist/{COMMIT}"));
        fs::create_dir_all(&marks).unwrap();
        fs::write(marks.join(file), "").unwrap();
    }

    fn find(&self, name: &str) -> Result<Snapshot, HubError> {
        HubCache::new(self.home.path().to_owned()).find(&name.parse()?)
    }

    /// What the snapshot lacks.
    fn missing(&self) -> Vec<String> {
        match self.find("org/name") {
            Ok(_) => Vec::new(),
            Err(HubError::Part { missing, .. }) => missing,
            Err(other) => panic!("{other}"),
        }
    }
}

const MODULES: &str = r#"[
    {"path": "", "type": "sentence_transformers.models.Transformer"},
    {"path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
    {"path": "2_Normalize", "type": "sentence_transformers.models.Normalize"}
]"#;

const INDEX: &str = r#"{"weight_map": {
    "a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"
}}"#;

const WHOLE: [&str; 8] = [
    "1_Pooling/config.json",
    "config.json",
    "config_sentence_transformers.json",
    "model.safetensors",
    "modules.json",
    "sentence_bert_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
];

#[test]
fn a_revision_is_a_ref_or_a_commit() {
    let bench = Bench::new();
    bench.refer("v1/final", COMMIT);
    let all = ["", "@main", "@v1/final", &format!("@{COMMIT}"), "@1234", "@1234567a"];
    for revision in all {
        let found = bench.find(&format!("org/name{revision}")).unwrap();
        assert_eq!(found.commit, COMMIT, "{revision}");
        assert_eq!(found.folder, bench.model(&format!("snapshots/{COMMIT}")));
        assert_eq!(found.pinned().to_string(), format!("org/name@{COMMIT}"));
    }
    for file in WHOLE {
        bench.put(OTHER, file);
    }
    assert_eq!(bench.find("org/name@1234567b").unwrap().commit, OTHER);
    let error = bench.find("org/name@1234").unwrap_err();
    assert_eq!(error.to_string(), format!("`org/name@1234` could be `{COMMIT}`, `{OTHER}`"));
    // A branch may be called like the beginning of a commit.
    bench.refer("1234", OTHER);
    assert_eq!(bench.find("org/name@1234").unwrap().commit, OTHER);

    let folder = bench.model("");
    let folder = folder.display().to_string();
    for unknown in ["v2", "123", "99999"] {
        let error = bench.find(&format!("org/name@{unknown}")).unwrap_err();
        let expected = format!(
            "`{}` holds the model at `1234`, `main`, `v1/final`, `{COMMIT}`, `{OTHER}`, not at `{unknown}`",
            folder.trim_end_matches('/')
        );
        assert_eq!(error.to_string(), expected);
        let hint = error.hint().unwrap();
        assert!(hint.ends_with(&format!("`samtone download org/name@{unknown}`")), "{hint}");
    }
    bench.refer("torn", "12");
    let error = bench.find("org/name@torn").unwrap_err();
    assert!(matches!(error, HubError::Io { .. }), "{error:?}");
}

#[test]
fn what_is_not_there_is_said_with_the_place() {
    let bench = Bench::new();
    let error = bench.find("org/other").unwrap_err();
    let home = bench.home.path().display();
    let expected = format!("the Hugging Face cache `{home}` holds no model `org/other`");
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().unwrap().contains("`samtone download org/other`"));
    // Asked for once, by a library that wanted to know the commit alone.
    bench.refer("next", OTHER);
    let error = bench.find("org/name@next").unwrap_err().to_string();
    assert!(error.contains("`config.json`, `model.safetensors`"), "{error}");
    fs::create_dir_all(bench.home.path().join("models--gpt2")).unwrap();
    let error = bench.find("gpt2").unwrap_err();
    let folder = bench.home.path().join("models--gpt2");
    let expected = format!("`{}` holds the model at no commit, not at `main`", folder.display());
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_part_of_a_model_is_not_read_as_another_model() {
    // What `AutoModel.from_pretrained` fetches: with the mean instead of the pooling it would be read.
    let bench = Bench::new();
    bench.remove("modules.json");
    assert_eq!(bench.missing(), ["modules.json"]);
    let error = bench.find("org/name").unwrap_err();
    let snapshot = bench.model(&format!("snapshots/{COMMIT}"));
    let expected =
        format!("`{}` is a part of the model: `modules.json` may be missing", snapshot.display());
    assert_eq!(error.to_string(), expected);
    assert_eq!(error.hint().unwrap(), "fetch what it lacks: `samtone download org/name`");
    // A repository that is known to have none.
    bench.mark("modules.json");
    assert_eq!(bench.missing(), [""; 0]);

    let absent = [
        ("config_sentence_transformers.json", "config_sentence_transformers.json"),
        ("sentence_bert_config.json", "sentence_bert_config.json"),
        ("tokenizer.json", "tokenizer.json"),
        ("tokenizer_config.json", "tokenizer_config.json"),
        ("1_Pooling/config.json", "1_Pooling/"),
        ("model.safetensors", "model.safetensors"),
    ];
    for (file, named) in absent {
        let bench = Bench::new();
        bench.remove(file);
        assert_eq!(bench.missing(), [named], "{file}");
    }
    let bench = Bench::new();
    bench.remove("sentence_bert_config.json");
    bench.put(COMMIT, "sentence_roberta_config.json");
    assert_eq!(bench.missing(), [""; 0]);
}

#[test]
fn what_is_fetched_as_a_whole_says_what_there_is_not() {
    let bench = Bench::new();
    for file in ["modules.json", "sentence_bert_config.json", "tokenizer_config.json"] {
        bench.remove(file);
    }
    assert_eq!(bench.missing(), ["modules.json", "tokenizer_config.json"]);
    bench.put(COMMIT, ".gitattributes");
    assert_eq!(bench.missing(), [""; 0]);
    // Unless it broke off.
    fs::write(bench.model("blobs/abc.1234abcd.incomplete"), "").unwrap();
    let error = bench.find("org/name").unwrap_err().to_string();
    let expected = "`modules.json`, `tokenizer_config.json` may be missing; a download of one file \
                    was broken off";
    assert!(error.ends_with(expected), "{error}");
}

#[test]
fn a_list_of_the_files_is_believed() {
    let bench = Bench::new();
    let list = |files: &[&str]| {
        let files: Vec<String> = files
            .iter()
            .map(|file| format!(r#""{file}": {{"size": 1, "blob_id": "0"}}"#))
            .collect();
        let tree = format!(r#"{{"format_version": 1, "files": {{{}}}}}"#, files.join(","));
        fs::create_dir_all(bench.model("trees")).unwrap();
        fs::write(bench.model(&format!("trees/{COMMIT}.json")), tree).unwrap();
    };
    bench.remove("modules.json");
    list(&["config.json", "model.safetensors", "onnx/model.onnx", "vocab.txt", "README.md"]);
    assert_eq!(bench.missing(), [""; 0]);
    list(&["config.json", "model.safetensors", "modules.json", "1_Pooling/config.json"]);
    assert_eq!(bench.missing(), ["modules.json"]);
}

#[test]
fn every_part_of_the_weights_is_asked_for() {
    let bench = Bench::new();
    bench.remove("model.safetensors");
    bench.put(COMMIT, "model.safetensors.index.json");
    bench.put(COMMIT, "model-00001-of-00002.safetensors");
    assert_eq!(bench.missing(), ["model-00002-of-00002.safetensors"]);
    bench.put(COMMIT, "model-00002-of-00002.safetensors");
    assert_eq!(bench.missing(), [""; 0]);
    // A blob that somebody cleared away.
    fs::remove_file(bench.model("blobs/model-00002-of-00002.safetensors")).unwrap();
    assert_eq!(bench.missing(), ["model-00002-of-00002.safetensors"]);

    // Pickles alone: whether there is something better is not known.
    let bench = Bench::new();
    bench.remove("model.safetensors");
    bench.put(COMMIT, "pytorch_model.bin");
    assert_eq!(bench.missing(), ["model.safetensors"]);
    bench.mark("model.safetensors");
    assert_eq!(bench.missing(), [""; 0]);
}

#[test]
fn two_towers_are_whole_without_a_root_of_their_own() {
    let bench = Bench { home: tempfile::tempdir().unwrap() };
    bench.refer("main", COMMIT);
    for file in ["samtone.json", "query/config.json", "query/model.safetensors"] {
        bench.put(COMMIT, file);
    }
    assert_eq!(bench.missing(), [""; 0]);
    let name: ModelName = "org/name".parse().unwrap();
    assert_eq!(bench.find("org/name").unwrap().name, name);
}
