//! What a model folder says about itself holds until a key says otherwise: `encode`, `eval`, `train` and
//! `export` against each other, on tiny folders written as others write them.
//!
//! `cargo xtask parity folders` holds the same beside sentence-transformers. `SAMTONE_BACKEND` names
//! the backend (`flex` if unset).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use safetensors::tensor::{Dtype, TensorView};
use samtone_text::{Key, TextTokenizer};
use serde_json::{Value, json};

/// Largest difference of an element, as a share of the vector's length: f32 in another order.
const CLOSE: f32 = 1e-5;

/// A learning rate at which a trained weight is the one it started from.
const NO_LEARNING: &str = "1e-12";

const TWO_TOWERS: [&str; 4] = [
    "model.sharing=ade",
    "model.sharing=ade-ste",
    "model.sharing=ade-fte",
    "model.sharing=ade-spl",
];

const HIDDEN: usize = 16;
const DIM: usize = 8;
/// Fewer tokens than the longest text has.
const POSITIONS: usize = 32;

/// Documents with capitals, the last one longer than `POSITIONS` tokens.
const DOCUMENTS: [(&str, &str); 8] = [
    ("Mills", "The old mill grinds corn by the river."),
    ("Wells", "Water is drawn from the deep Well every morning."),
    ("", "A Baker bakes bread at night in the village."),
    ("Iron", "The Smith hammers iron into horse shoes."),
    ("Nets", "Fishermen mend their nets on the quay."),
    ("Coats", "The Tailor sews Coats of Wool for Winter."),
    ("Honey", "Bees make honey from clover and heather."),
    (
        "Ships and Rocks",
        "The Lighthouse warns Ships away from Rocks, every night and every morning, and from the \
         river by the old mill to the deep Well in the village nobody is away from the quay where \
         Fishermen mend their nets for Winter.",
    ),
];

const QUERIES: [&str; 8] = [
    "who grinds corn?",
    "where is Water drawn?",
    "who bakes bread?",
    "what does the Smith do?",
    "what do Fishermen mend?",
    "who sews Coats?",
    "what do Bees make?",
    "what warns Ships away from Rocks by the river, and the Fishermen who mend their nets on the quay?",
];

/// Where a folder says how long a text may be.
#[derive(Clone, Copy, Debug)]
enum Length {
    /// In `sentence_bert_config.json`, which `tokenizer_config.json` contradicts.
    Limits(usize),
    /// In the file of this older name.
    OldName(&'static str, usize),
    /// In `tokenizer_config.json` alone.
    Tokenizer(usize),
    /// Nowhere: what the encoder reads.
    Nowhere,
}

/// A folder as others write it.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fact of its own")]
struct Foreign {
    /// `bert`, `roberta` or `t5`.
    encoder: &'static str,
    /// Norms have TensorFlow's names, and `config.json` lacks what has a default.
    is_gamma: bool,
    is_cased: bool,
    lower_cases: bool,
    /// `tokenizer.json` has a truncation and a padding of its own.
    tokenizer_cuts: bool,
    pooling: &'static str,
    include_prompt: bool,
    query_prompt: &'static str,
    document_prompt: &'static str,
    default_prompt: Option<&'static str>,
    projects: bool,
    normalizes: bool,
    similarity: Option<&'static str>,
    length: Length,
    /// Of sentence-transformers: 2 knew fewer files and keys, 6 has other names for modules and poolings.
    release: u32,
}

/// all-MiniLM-L6-v2's layout.
const MINI: Foreign = Foreign {
    encoder: "bert",
    is_gamma: false,
    is_cased: false,
    lower_cases: false,
    tokenizer_cuts: false,
    pooling: "mean",
    include_prompt: true,
    query_prompt: "",
    document_prompt: "",
    default_prompt: None,
    projects: false,
    normalizes: true,
    similarity: Some("cosine"),
    length: Length::Limits(20),
    release: 3,
};

const CLS: Foreign = Foreign { pooling: "cls", query_prompt: "Ask: ", ..MINI };
const E5: Foreign = Foreign {
    is_cased: true,
    lower_cases: true,
    query_prompt: "Query: ",
    document_prompt: "Passage: ",
    ..MINI
};
const DOT: Foreign =
    Foreign { is_cased: true, pooling: "cls", normalizes: false, similarity: Some("dot"), ..MINI };
const CASED: Foreign = Foreign { is_cased: true, normalizes: false, similarity: None, ..MINI };
const LAST: Foreign = Foreign {
    encoder: "roberta",
    is_cased: true,
    pooling: "lasttoken",
    query_prompt: "Query: ",
    release: 6,
    ..MINI
};
const GTR: Foreign = Foreign { encoder: "t5", is_cased: true, projects: true, release: 2, ..MINI };

/// One of every kind.
fn folders() -> Vec<Foreign> {
    let prompted = Foreign { query_prompt: "Query: ", document_prompt: "Passage: ", ..MINI };
    vec![
        MINI,
        CLS,
        E5,
        DOT,
        CASED,
        LAST,
        GTR,
        Foreign { is_gamma: true, ..MINI },
        Foreign { tokenizer_cuts: true, ..CLS },
        Foreign { default_prompt: Some("query"), ..prompted.clone() },
        Foreign { include_prompt: false, ..prompted.clone() },
        Foreign { include_prompt: false, pooling: "cls", release: 6, ..prompted },
        Foreign { lower_cases: true, ..MINI },
        Foreign { projects: true, normalizes: false, similarity: Some("dot"), ..LAST },
        Foreign { length: Length::OldName("roberta", 12), release: 2, ..LAST },
        Foreign { length: Length::Tokenizer(12), release: 6, ..E5 },
        Foreign { length: Length::Nowhere, pooling: "lasttoken", ..MINI },
    ]
}

impl Foreign {
    /// Writes the folder; equal encoders have equal weights.
    fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let vocab_size = self.write_tokenizer(folder);
        let (config, weights) = self.encoder(vocab_size);
        write_json(&folder.join("config.json"), &config);
        write_weights(&folder.join("model.safetensors"), &weights);

        let mut stages = vec!["Transformer", "Pooling"];
        stages.extend(self.projects.then_some("Dense"));
        stages.extend(self.normalizes.then_some("Normalize"));
        let mut modules = Vec::new();
        for (number, stage) in stages.into_iter().enumerate() {
            let path = if number == 0 { String::new() } else { format!("{number}_{stage}") };
            let place = folder.join(&path);
            fs::create_dir_all(&place).unwrap();
            match stage {
                "Pooling" => write_json(&place.join("config.json"), &self.pooling()),
                "Dense" => write_dense(&place),
                _ => {}
            }
            let kind = match (self.release, stage) {
                (6, "Pooling") => "sentence_transformer.modules.pooling.Pooling".into(),
                (6, _) => format!("base.modules.{}.{stage}", stage.to_lowercase()),
                _ => format!("models.{stage}"),
            };
            let kind = format!("sentence_transformers.{kind}");
            let name = number.to_string();
            modules.push(json!({ "idx": number, "name": name, "path": path, "type": kind }));
        }
        write_json(&folder.join("modules.json"), &modules.into());

        let mut limits = json!({ "do_lower_case": self.lower_cases });
        let mut name = "bert";
        match self.length {
            Length::Limits(length) => limits["max_seq_length"] = length.into(),
            Length::OldName(old, length) => {
                (limits["max_seq_length"], name) = (length.into(), old);
            }
            Length::Tokenizer(_) | Length::Nowhere => {}
        }
        write_json(&folder.join(format!("sentence_{name}_config.json")), &limits);

        let prompts = [("query", self.query_prompt), ("document", self.document_prompt)];
        let prompts: BTreeMap<_, _> =
            prompts.into_iter().filter(|(_, text)| !text.is_empty()).collect();
        if self.release > 2 || !prompts.is_empty() {
            let top = json!({
                "__version__": { "sentence_transformers": format!("{}.0.0", self.release) },
                "prompts": prompts,
                "default_prompt_name": self.default_prompt,
                "similarity_fn_name": self.similarity,
            });
            write_json(&folder.join("config_sentence_transformers.json"), &top);
        }
    }

    fn write_tokenizer(&self, folder: &Path) -> usize {
        let mut texts = QUERIES.map(String::from).to_vec();
        texts.extend(DOCUMENTS.map(|(title, text)| format!("{title} {text} Query: Passage: Ask")));
        if self.is_cased {
            texts.extend(texts.clone().iter().map(|text| text.to_lowercase()));
        }
        let tokenizer = match self.encoder {
            "t5" => TextTokenizer::train_text_to_text(&texts, 400),
            _ => TextTokenizer::train_wordpiece(&texts, 400, !self.is_cased),
        }
        .unwrap();
        let path = folder.join("tokenizer.json");
        tokenizer.save(&path).unwrap();
        if self.tokenizer_cuts {
            let mut file: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
            let (strategy, direction) = ("LongestFirst", "Right");
            file["truncation"] = json!({
                "max_length": 6, "strategy": strategy, "stride": 0, "direction": direction
            });
            file["padding"] = json!({
                "strategy": { "Fixed": 10 }, "direction": direction, "pad_to_multiple_of": null,
                "pad_id": 0, "pad_type_id": 0, "pad_token": "[PAD]"
            });
            write_json(&path, &file);
        }
        let mut config = json!({ "tokenizer_class": "PreTrainedTokenizerFast" });
        match self.length {
            Length::Tokenizer(length) => config["model_max_length"] = length.into(),
            // What there is no room for.
            Length::Limits(_) | Length::OldName(..) => config["model_max_length"] = 512.into(),
            Length::Nowhere => {}
        }
        write_json(&folder.join("tokenizer_config.json"), &config);
        tokenizer.vocab_size()
    }

    fn pooling(&self) -> Value {
        if self.release == 6 {
            return json!({
                "embedding_dimension": HIDDEN,
                "pooling_mode": self.pooling,
                "include_prompt": self.include_prompt,
            });
        }
        let mut file = json!({ "word_embedding_dimension": HIDDEN });
        for (mode, key) in [("cls", "cls_token"), ("mean", "mean_tokens"), ("max", "max_tokens")] {
            file[format!("pooling_mode_{key}")] = (mode == self.pooling).into();
        }
        if self.release > 2 || self.pooling == "lasttoken" {
            file["pooling_mode_lasttoken"] = (self.pooling == "lasttoken").into();
            file["include_prompt"] = self.include_prompt.into();
        }
        file
    }

    /// `config.json` and the tensors by name, with their shapes.
    fn encoder(&self, vocab_size: usize) -> (Value, Vec<(String, Vec<usize>)>) {
        if self.encoder == "t5" {
            let config = json!({
                "model_type": "t5", "vocab_size": vocab_size, "d_model": HIDDEN, "d_kv": 8, "d_ff": 32,
                "num_layers": 1, "num_heads": 2, "relative_attention_num_buckets": 8,
                "relative_attention_max_distance": 16, "layer_norm_epsilon": 1e-6,
                "feed_forward_proj": "relu", "is_encoder_decoder": true,
            });
            let layer = |number: u32, name: &str, shape: &[usize]| {
                (format!("encoder.block.0.layer.{number}.{name}.weight"), shape.to_vec())
            };
            let square = [HIDDEN, HIDDEN];
            let mut weights = vec![
                ("shared.weight".to_owned(), vec![vocab_size, HIDDEN]),
                ("encoder.final_layer_norm.weight".to_owned(), vec![HIDDEN]),
                layer(0, "SelfAttention.relative_attention_bias", &[8, 2]),
                layer(0, "layer_norm", &[HIDDEN]),
                layer(1, "layer_norm", &[HIDDEN]),
                layer(1, "DenseReluDense.wi", &[32, HIDDEN]),
                layer(1, "DenseReluDense.wo", &[HIDDEN, 32]),
            ];
            let attention = ["q", "k", "v", "o"];
            weights.extend(attention.map(|of| layer(0, &format!("SelfAttention.{of}"), &square)));
            return (config, weights);
        }
        let is_bert = self.encoder == "bert";
        let mut config = json!({
            "model_type": self.encoder, "vocab_size": vocab_size, "hidden_size": HIDDEN,
            "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32,
            // RoBERTa's positions start behind its padding id.
            "max_position_embeddings": if is_bert { POSITIONS } else { POSITIONS + 2 },
            "pad_token_id": i32::from(!is_bert),
        });
        let types = if is_bert { 2 } else { 1 };
        if !self.is_gamma {
            config["type_vocab_size"] = types.into();
            config["hidden_act"] = "gelu".into();
            config["layer_norm_eps"] = 1e-12.into();
        }
        let mut weights = Vec::new();
        let positions = config["max_position_embeddings"].as_u64().unwrap() as usize;
        for (name, rows) in [("word", vocab_size), ("position", positions), ("token_type", types)] {
            weights.push((format!("embeddings.{name}_embeddings.weight"), vec![rows, HIDDEN]));
        }
        let linears = [
            ("attention.self.query", HIDDEN, HIDDEN),
            ("attention.self.key", HIDDEN, HIDDEN),
            ("attention.self.value", HIDDEN, HIDDEN),
            ("attention.output.dense", HIDDEN, HIDDEN),
            ("intermediate.dense", 32, HIDDEN),
            ("output.dense", HIDDEN, 32),
        ];
        for (name, rows, columns) in linears {
            weights.push((format!("encoder.layer.0.{name}.weight"), vec![rows, columns]));
            weights.push((format!("encoder.layer.0.{name}.bias"), vec![rows]));
        }
        let norms = ["embeddings", "encoder.layer.0.attention.output", "encoder.layer.0.output"];
        let [scale, shift] = if self.is_gamma { ["gamma", "beta"] } else { ["weight", "bias"] };
        for norm in norms {
            weights.push((format!("{norm}.LayerNorm.{scale}"), vec![HIDDEN]));
            weights.push((format!("{norm}.LayerNorm.{shift}"), vec![HIDDEN]));
        }
        (config, weights)
    }
}

fn write_dense(folder: &Path) {
    let config = json!({
        "in_features": HIDDEN, "out_features": DIM, "bias": false,
        "activation_function": "torch.nn.modules.linear.Identity",
    });
    write_json(&folder.join("config.json"), &config);
    let weight = ("linear.weight".to_owned(), vec![DIM, HIDDEN]);
    write_weights(&folder.join("model.safetensors"), &[weight]);
}

fn write_json(path: &Path, value: &Value) {
    fs::write(path, serde_json::to_string_pretty(value).unwrap()).unwrap();
}

/// Draws every tensor by its place, so that its name does not matter; norms' scales are near 1.
fn write_weights(path: &Path, tensors: &[(String, Vec<usize>)]) {
    let values: Vec<Vec<u8>> = tensors
        .iter()
        .enumerate()
        .map(|(place, (name, shape))| {
            let key = Key::new(7).at(place as u64);
            let is_scale = name.ends_with("Norm.weight")
                || name.ends_with("layer_norm.weight")
                || name.ends_with("gamma");
            let mean = if is_scale { 1.0 } else { 0.0 };
            let count = shape.iter().product::<usize>() as u64;
            let values = (0..count).map(|i| (mean + 0.3 * key.normal(i)) as f32);
            values.flat_map(f32::to_le_bytes).collect()
        })
        .collect();
    let views = tensors.iter().zip(&values).map(|((name, shape), values)| {
        (name, TensorView::new(Dtype::F32, shape.clone(), values).unwrap())
    });
    fs::write(path, safetensors::serialize(views, None).unwrap()).unwrap();
}

/// A folder with the data set, in which everything is written.
struct Bench {
    home: tempfile::TempDir,
}

/// The vectors of the queries and of the documents, row by row.
type Vectors = [Vec<Vec<f32>>; 2];

impl Bench {
    fn new() -> Self {
        let home = tempfile::tempdir().unwrap();
        let data = home.path().join("data");
        fs::create_dir_all(data.join("qrels")).unwrap();
        write_texts(&data, str::to_owned);
        for (split, offset) in [("train", 0), ("dev", 1), ("test", 3)] {
            let rows: String = (0..8)
                .map(|i| format!("q{i}\td{}\t1\n", (3 * i + offset) % 8))
                .collect::<Vec<_>>()
                .concat();
            let table = format!("query-id\tcorpus-id\tscore\n{rows}");
            fs::write(data.join(format!("qrels/{split}.tsv")), table).unwrap();
        }
        Self { home }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// A folder that is not there yet.
    fn free(&self, name: &str) -> PathBuf {
        let mut paths = (0..1000).map(|i| self.path(&format!("{name}-{i}")));
        paths.find(|path| !path.exists()).unwrap()
    }

    fn start(&self, foreign: &Foreign) -> PathBuf {
        let folder = self.free("start");
        foreign.write(&folder);
        folder
    }

    /// The vectors that `samtone encode` writes for the texts in the folder `data`.
    #[track_caller]
    fn vectors(&self, model: &Path, data: &str) -> Vectors {
        [("query", "queries.jsonl"), ("document", "corpus.jsonl")].map(|(side, file)| {
            let out = self.free("vectors");
            let mut command = samtone("encode");
            command.arg("--model").arg(model).args(["--side", side]);
            command.arg("--input").arg(self.path(data).join(file)).arg("--out").arg(&out);
            done(command);
            let bytes = fs::read(out.join("embeddings.safetensors")).unwrap();
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            let rows = file.tensor("embeddings").unwrap();
            let values = rows.data().as_chunks::<4>().0.iter().map(|x| f32::from_le_bytes(*x));
            let values: Vec<f32> = values.collect();
            values.chunks(rows.shape()[1]).map(<[f32]>::to_vec).collect()
        })
    }

    /// The metrics that `samtone eval` prints for the test split, and each pair's score by the run.
    #[track_caller]
    fn eval(&self, model: &Path) -> (Value, BTreeMap<(String, String), f32>) {
        let out = self.free("run.trec");
        let mut command = samtone("eval");
        command.arg("--model").arg(model).arg("--data").arg(self.path("data"));
        command.args(["--metrics", "mrr@10,ndcg@10,p@1", "--complete", "--format", "json"]);
        command.arg("--out").arg(&out);
        let printed: Value = serde_json::from_slice(&done(command)).unwrap();
        let run = fs::read_to_string(out).unwrap();
        let scores = run.lines().map(|line| {
            let columns: Vec<&str> = line.split(' ').collect();
            ((columns[0].to_owned(), columns[2].to_owned()), columns[4].parse().unwrap())
        });
        (printed["metrics"].clone(), scores.collect())
    }

    /// A run of two steps of a model that `section`, TOML of `[model]`, describes, with `keys`
    /// (`section.key=value`); its folder.
    #[track_caller]
    fn train_model(&self, section: &str, keys: &[&str]) -> PathBuf {
        let run = self.free("run");
        let config = self.free("config.toml");
        let text = format!(
            "[data]\ntrain = '{}'\n[model]\n{section}\n[train]\nsteps = 2\nbatch_size = 4\n\
             warmup = 0\nlr = 1e-2\n[eval]\nmetrics = [\"mrr@10\", \"ndcg@10\", \"p@1\"]\n",
            self.path("data").display(),
        );
        fs::write(&config, text).unwrap();
        let mut command = samtone("train");
        command.arg("--config").arg(config).arg("--run-dir").arg(&run);
        command.args(keys.iter().flat_map(|key| ["--set", key]));
        done(command);
        run
    }

    /// A run of two steps from the folder `start`.
    #[track_caller]
    fn train(&self, start: &Path, keys: &[&str]) -> PathBuf {
        self.train_model(&format!("path = '{}'", start.display()), keys)
    }

    /// As [`train`](Self::train), but that no weight changes.
    #[track_caller]
    fn untaught(&self, start: &Path, keys: &[&str]) -> PathBuf {
        let still = format!("train.lr={NO_LEARNING}");
        let keys: Vec<&str> = keys.iter().copied().chain([still.as_str()]).collect();
        self.train(start, &keys)
    }

    #[track_caller]
    fn export(&self, model: &Path) -> PathBuf {
        let out = self.free("exported");
        let mut command = samtone("export");
        command.arg("--model").arg(model).arg("--out").arg(&out);
        done(command);
        out
    }
}

/// Every text through `edit`.
fn write_texts(data: &Path, edit: impl Fn(&str) -> String) {
    fs::create_dir_all(data).unwrap();
    let line = |value: Value| format!("{value}\n");
    let documents = DOCUMENTS.iter().enumerate().map(|(i, (title, text))| {
        line(json!({ "_id": format!("d{i}"), "title": edit(title), "text": edit(text) }))
    });
    fs::write(data.join("corpus.jsonl"), documents.collect::<String>()).unwrap();
    let queries = QUERIES
        .iter()
        .enumerate()
        .map(|(i, text)| line(json!({ "_id": format!("q{i}"), "text": edit(text) })));
    fs::write(data.join("queries.jsonl"), queries.collect::<String>()).unwrap();
}

fn samtone(subcommand: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    let backend = std::env::var("SAMTONE_BACKEND").unwrap_or_else(|_| "flex".into());
    command.arg(subcommand).args(["--backend", &backend]);
    command
}

/// What a command that must succeed prints.
#[track_caller]
fn done(mut command: Command) -> Vec<u8> {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}\n{said}");
    output.stdout
}

fn length(vector: &[f32]) -> f32 {
    vector.iter().map(|x| x * x).sum::<f32>().sqrt()
}

/// The place of the first vector that differs, if any.
fn differing([a, b]: [&Vectors; 2]) -> Option<String> {
    for (side, (a, b)) in ["query", "document"].iter().zip(a.iter().zip(b)) {
        assert_eq!(a.len(), b.len());
        for (row, (a, b)) in a.iter().zip(b).enumerate() {
            if a.len() != b.len() {
                return Some(format!("{} and {} dimensions", a.len(), b.len()));
            }
            let away = a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            if away > CLOSE * length(b) {
                return Some(format!("{side} {row} differs by {away}"));
            }
        }
    }
    None
}

#[track_caller]
fn assert_same(vectors: &Vectors, expected: &Vectors, what: &dyn std::fmt::Debug) {
    if let Some(place) = differing([vectors, expected]) {
        panic!("{place}: {what:?}");
    }
}

/// Checks that `eval` scores by `similarity`.
#[track_caller]
fn assert_compared(bench: &Bench, model: &Path, similarity: Option<&str>, what: &Foreign) {
    let [queries, documents] = bench.vectors(model, "data");
    let (_, scores) = bench.eval(model);
    assert_eq!(scores.len(), queries.len() * documents.len());
    for (i, query) in queries.iter().enumerate() {
        for (j, document) in documents.iter().enumerate() {
            let dot: f32 = query.iter().zip(document).map(|(a, b)| a * b).sum();
            let unit = length(query) * length(document);
            let expected = if similarity == Some("dot") { dot } else { dot / unit };
            let got = scores[&(format!("q{i}"), format!("d{j}"))];
            let allowed = CLOSE * if similarity == Some("dot") { unit } else { 1.0 };
            assert!((got - expected).abs() < allowed, "{got}, expected {expected}: {what:?}");
        }
    }
}

/// Checks that the model of a run, and its export, are scored as the run was.
#[track_caller]
fn assert_judged(bench: &Bench, run: &Path, what: &dyn std::fmt::Debug) {
    let summary: Value =
        serde_json::from_slice(&fs::read(run.join("summary.json")).unwrap()).unwrap();
    let model = run.join("model");
    assert_eq!(bench.eval(&model).0, summary["test"], "{what:?}");
    assert_eq!(bench.eval(&bench.export(&model)).0, summary["test"], "the export: {what:?}");
}

#[test]
fn a_fact_reads_alike_wherever_it_stands() {
    let bench = Bench::new();
    let spellings = [
        (MINI, Foreign { is_gamma: true, ..MINI }),
        (MINI, Foreign { release: 2, ..MINI }),
        (MINI, Foreign { release: 6, ..MINI }),
        (MINI, Foreign { lower_cases: true, ..MINI }),
        (MINI, Foreign { tokenizer_cuts: true, ..MINI }),
        (MINI, Foreign { length: Length::Tokenizer(20), ..MINI }),
        (CLS, Foreign { release: 6, ..CLS }),
        (CLS, Foreign { default_prompt: Some("query"), ..CLS }),
        (LAST, Foreign { release: 3, ..LAST }),
        (LAST, Foreign { length: Length::OldName("roberta", 20), ..LAST }),
        (E5, Foreign { length: Length::OldName("xlm-roberta", 20), ..E5 }),
        (GTR, Foreign { length: Length::Tokenizer(20), ..GTR }),
        (
            Foreign { length: Length::Limits(POSITIONS), ..MINI },
            Foreign { length: Length::Nowhere, ..MINI },
        ),
    ];
    for (one, other) in spellings {
        let expected = bench.vectors(&bench.start(&one), "data");
        assert_same(&bench.vectors(&bench.start(&other), "data"), &expected, &other);
    }
}

#[test]
fn a_fact_of_a_folder_is_seen() {
    let bench = Bench::new();
    let facts = [
        (MINI, Foreign { pooling: "cls", ..MINI }),
        (MINI, Foreign { pooling: "lasttoken", ..MINI }),
        (MINI, Foreign { query_prompt: "Query: ", ..MINI }),
        (MINI, Foreign { document_prompt: "Passage: ", ..MINI }),
        (MINI, Foreign { length: Length::Limits(8), ..MINI }),
        (MINI, Foreign { length: Length::Tokenizer(8), ..MINI }),
        (MINI, Foreign { length: Length::OldName("albert", 8), ..MINI }),
        (MINI, Foreign { normalizes: false, ..MINI }),
        (E5, Foreign { lower_cases: false, ..E5 }),
        (E5, Foreign { include_prompt: false, ..E5 }),
        (GTR, Foreign { projects: false, ..GTR }),
    ];
    for (one, other) in facts {
        let vectors = [one, other.clone()].map(|one| bench.vectors(&bench.start(&one), "data"));
        assert!(differing([&vectors[0], &vectors[1]]).is_some(), "{other:?}");
    }
}

#[test]
fn a_folder_that_lower_cases_reads_a_text_and_its_lower_case_alike() {
    let bench = Bench::new();
    write_texts(&bench.path("lower"), str::to_lowercase);
    for foreign in [MINI, Foreign { query_prompt: "", document_prompt: "", ..E5 }] {
        let start = bench.start(&foreign);
        let [vectors, lower] = ["data", "lower"].map(|data| bench.vectors(&start, data));
        assert_same(&vectors, &lower, &foreign);
    }
    let starts = [DOT, CASED, LAST, GTR, MINI, E5];
    for (foreign, sharing) in starts.into_iter().zip(["sde", "ade", "sde", "ade-ste", "sde", "ade"])
    {
        let sharing = format!("model.sharing={sharing}");
        let run = bench.train(&bench.start(&foreign), &["data.lowercase=true", &sharing]);
        let model = run.join("model");
        let [vectors, lower] = ["data", "lower"].map(|data| bench.vectors(&model, data));
        assert_same(&vectors, &lower, &foreign);
        assert_same(&bench.vectors(&bench.export(&model), "data"), &vectors, &foreign);
    }
}

#[test]
fn eval_compares_as_the_folder_says() {
    let bench = Bench::new();
    for foreign in folders() {
        assert_compared(&bench, &bench.start(&foreign), foreign.similarity, &foreign);
    }
}

#[test]
fn an_export_is_what_it_was_made_of() {
    let bench = Bench::new();
    for foreign in folders() {
        let start = bench.start(&foreign);
        let exported = bench.export(&start);
        assert_same(&bench.vectors(&exported, "data"), &bench.vectors(&start, "data"), &foreign);
        assert_eq!(bench.eval(&exported).0, bench.eval(&start).0, "{foreign:?}");
        assert_compared(&bench, &exported, foreign.similarity, &foreign);
    }
}

#[test]
fn a_training_without_keys_keeps_every_fact() {
    let bench = Bench::new();
    for foreign in folders() {
        let start = bench.start(&foreign);
        let run = bench.untaught(&start, &[]);
        let model = run.join("model");
        assert_same(&bench.vectors(&model, "data"), &bench.vectors(&start, "data"), &foreign);
        assert_compared(&bench, &model, foreign.similarity, &foreign);
        assert_judged(&bench, &run, &foreign);
    }
}

#[test]
fn two_towers_keep_every_fact() {
    let bench = Bench::new();
    let starts = [
        (E5, "ade"),
        (CLS, "ade-ste"),
        (DOT, "ade-fte"),
        (LAST, "ade"),
        (GTR, "ade-spl"),
        (Foreign { length: Length::Tokenizer(12), ..GTR }, "ade-ste"),
    ];
    for (foreign, sharing) in starts {
        let start = bench.start(&foreign);
        let model = bench.untaught(&start, &[&format!("model.sharing={sharing}")]).join("model");
        let expected = bench.vectors(&start, "data");
        assert_same(&bench.vectors(&model, "data"), &expected, &foreign);
        assert_same(&bench.vectors(&bench.export(&model), "data"), &expected, &foreign);
        assert_compared(&bench, &model, foreign.similarity, &foreign);
    }
}

#[test]
fn a_key_changes_its_fact_alone() {
    let bench = Bench::new();
    let changes: [(Foreign, &[&str], Foreign); 14] = [
        (MINI, &["model.pooling=cls"], Foreign { pooling: "cls", ..MINI }),
        (MINI, &["model.pooling=last"], Foreign { pooling: "lasttoken", ..MINI }),
        (CLS, &["model.pooling=mean"], Foreign { pooling: "mean", ..CLS }),
        (CLS, &["model.query_prompt=\"\""], Foreign { query_prompt: "", ..CLS }),
        (E5, &["model.query_prompt=\"Ask: \""], Foreign { query_prompt: "Ask: ", ..E5 }),
        (E5, &["model.document_prompt=\"Ask: \""], Foreign { document_prompt: "Ask: ", ..E5 }),
        (
            E5,
            &["model.query_max_len=9", "model.document_max_len=9"],
            Foreign { length: Length::Limits(9), ..E5 },
        ),
        (
            Foreign { length: Length::Tokenizer(9), ..LAST },
            &["model.query_max_len=20", "model.document_max_len=20"],
            LAST,
        ),
        (MINI, &["model.normalize=false"], Foreign { normalizes: false, ..MINI }),
        (DOT, &["model.normalize=true"], Foreign { normalizes: true, ..DOT }),
        (DOT, &["loss.similarity=cosine"], Foreign { similarity: Some("cosine"), ..DOT }),
        (CASED, &["loss.similarity=dot"], Foreign { similarity: Some("dot"), ..CASED }),
        (CASED, &["data.lowercase=true"], Foreign { lower_cases: true, ..CASED }),
        (LAST, &["data.lowercase=true"], Foreign { lower_cases: true, ..LAST }),
    ];
    for (start, keys, expected) in changes {
        let run = bench.untaught(&bench.start(&start), keys);
        let model = run.join("model");
        let vectors = bench.vectors(&bench.start(&expected), "data");
        assert_same(&bench.vectors(&model, "data"), &vectors, &(&start, keys));
        assert_compared(&bench, &model, expected.similarity, &expected);
        assert_judged(&bench, &run, &(&start, keys));
    }
}

#[test]
fn a_length_of_one_side_leaves_the_other_side_alone() {
    let bench = Bench::new();
    for sharing in ["sde", "ade"] {
        let sharing = format!("model.sharing={sharing}");
        let start = bench.start(&E5);
        let model = bench.untaught(&start, &["model.query_max_len=7", &sharing]).join("model");
        let short = bench.start(&Foreign { length: Length::Limits(7), ..E5 });
        let [queries, _] = bench.vectors(&short, "data");
        let [_, documents] = bench.vectors(&start, "data");
        assert_same(&bench.vectors(&model, "data"), &[queries, documents], &sharing);
    }
}

#[test]
fn a_projection_is_added_to_a_folder_without() {
    let bench = Bench::new();
    for foreign in [MINI, DOT] {
        let run = bench.train(&bench.start(&foreign), &["model.projection=6"]);
        let vectors = bench.vectors(&run.join("model"), "data");
        assert!(vectors.iter().flatten().all(|row| row.len() == 6), "{foreign:?}");
        assert_compared(&bench, &run.join("model"), foreign.similarity, &foreign);
    }
}

#[test]
fn eval_finds_the_metrics_of_the_summary_with_two_towers() {
    let bench = Bench::new();
    for sharing in TWO_TOWERS {
        for (start, keys) in [
            (E5, vec![sharing, "model.projection=8"]),
            (Foreign { similarity: Some("dot"), ..GTR }, vec![sharing]),
        ] {
            let run = bench.train(&bench.start(&start), &keys);
            assert_judged(&bench, &run, &(start, sharing));
        }
    }
}

#[test]
fn eval_finds_the_metrics_of_the_summary_under_other_keys() {
    let bench = Bench::new();
    let trainings: [(Foreign, &[&str]); 10] = [
        (MINI, &["train.precision=bf16"]),
        (MINI, &["matryoshka.dims=[4,8,16]"]),
        (DOT, &["matryoshka.dims=[4,16]", "model.sharing=ade"]),
        (GTR, &["matryoshka.dims=[2,8]"]),
        (CASED, &["data.lowercase=true", "model.sharing=ade-ste"]),
        (MINI, &["loss.similarity=dot"]),
        (MINI, &["model.normalize=false", "loss.similarity=dot"]),
        (E5, &["model.query_max_len=8", "model.document_max_len=16", "model.sharing=ade"]),
        (MINI, &["data.document_text=text"]),
        (E5, &["data.document_text=text", "model.sharing=ade"]),
    ];
    for (start, keys) in trainings {
        let run = bench.train(&bench.start(&start), keys);
        assert_judged(&bench, &run, &(start, keys));
    }
}

#[test]
fn eval_finds_the_metrics_of_the_summary_without_a_start() {
    let bench = Bench::new();
    let sizes = "query_max_len = 16\ndocument_max_len = 24\n[model.encoder]\ntype = \"bert\"\n\
                 vocab_size = 200\nhidden = 16\nlayers = 1\nheads = 2\nintermediate = 32\n\
                 max_positions = 32";
    for keys in [
        &[][..],
        &["model.sharing=ade"],
        &["model.pooling=cls", "model.query_prompt=\"Ask: \"", "data.lowercase=false"],
        &["loss.similarity=dot", "model.normalize=false"],
        &["data.document_text=text", "model.document_max_len=9", "matryoshka.dims=[8,16]"],
    ] {
        assert_judged(&bench, &bench.train_model(sizes, keys), &keys);
    }
}

#[test]
fn a_run_that_starts_from_a_runs_model_keeps_what_its_keys_said() {
    let bench = Bench::new();
    let trainings: [(Foreign, &[&str]); 6] = [
        (MINI, &["model.query_max_len=8", "model.document_max_len=16"]),
        (E5, &["model.sharing=ade", "model.query_max_len=8", "model.pooling=cls"]),
        (DOT, &["model.sharing=ade-ste", "data.lowercase=true", "model.normalize=true"]),
        (GTR, &["model.sharing=ade-spl", "loss.similarity=dot"]),
        (CASED, &["loss.similarity=dot", "model.projection=6"]),
        (LAST, &["data.document_text=text", "model.query_prompt=\"Ask: \""]),
    ];
    for (start, keys) in trainings {
        let model = bench.train(&bench.start(&start), keys).join("model");
        let again = bench.untaught(&model, &[]).join("model");
        let expected = bench.vectors(&model, "data");
        assert_same(&bench.vectors(&again, "data"), &expected, &(&start, keys));
        assert_eq!(bench.eval(&again).0, bench.eval(&model).0, "{keys:?} from {start:?}");
    }
}
