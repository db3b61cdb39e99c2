//! A model by its name in the cache is the model in that folder, and stays it for a run that has begun.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;

use samtone_data::embedded::World;
use serde_json::Value;

use super::tiny::{printed, refused, samtone, save_model};

const COMMITS: [&str; 2] =
    ["1111111111111111111111111111111111111111", "2222222222222222222222222222222222222222"];

/// A folder with `org/name` in its cache, as a whole, at two commits; `main` is the first.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    let world = World::generate(0, 200).dataset();
    for (commit, seed) in COMMITS.into_iter().zip(1..) {
        let folder = snapshot(home.path(), commit);
        save_model(&world, &folder, seed, true);
        fs::write(folder.join(".gitattributes"), "").unwrap();
    }
    point(home.path(), COMMITS[0]);
    home
}

fn snapshot(home: &Path, commit: &str) -> PathBuf {
    home.join("hub/models--org--name/snapshots").join(commit)
}

/// Lets `main` be `commit`.
fn point(home: &Path, commit: &str) {
    let refs = home.join("hub/models--org--name/refs");
    fs::create_dir_all(&refs).unwrap();
    fs::write(refs.join("main"), commit).unwrap();
}

#[test]
fn a_name_is_the_folder_in_the_cache() {
    let home = home();
    fs::write(home.path().join("t.jsonl"), "{\"_id\":\"1\",\"text\":\"the old mill\"}\n").unwrap();
    let encode = |model: &str, out: &str| {
        let arguments = ["encode", "--model", model, "--side", "query", "--input", "t.jsonl"];
        let output = samtone(home.path(), &[&arguments[..], &["--out", out]].concat());
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{words}");
        let read = |file: &str| fs::read(home.path().join(out).join(file)).unwrap();
        (words, read("embeddings.safetensors"), read("encode.json"))
    };
    let [first, second] =
        COMMITS.map(|commit| encode(&format!("hub/models--org--name/snapshots/{commit}"), commit));
    assert_ne!(first.1, second.1);
    let (words, embeddings, record) = encode("org/name", "named");
    assert!(words.contains("`org/name` is in the Hugging Face cache: `hub/models--org"), "{words}");
    assert_eq!((&embeddings, &record), (&first.1, &first.2));
    assert_eq!(encode("org/name@2222", "other").1, second.1);
    // A folder of that name wins.
    save_model(&World::generate(0, 200).dataset(), &home.path().join("org/name"), 2, true);
    let (words, embeddings, _) = encode("org/name", "folder");
    assert!(!words.contains("cache"), "{words}");
    assert_eq!(embeddings, second.1);
}

#[test]
fn what_the_cache_has_not_is_refused_with_how_to_fetch_it() {
    let home = home();
    fs::remove_file(snapshot(home.path(), COMMITS[1]).join("model.safetensors")).unwrap();
    let refused =
        |model: &str| refused(home.path(), 1, &["export", "--model", model, "--out", "exported"]);
    let words = refused("org/other");
    let expected = "error: cannot export `org/other`\n  caused by: `org/other` is no folder\n  caused by: \
                    the Hugging Face cache `hub` holds no model `org/other`\n\nhint: if it is one of \
                    the hub's, fetch it: `samtone download org/other`\n";
    assert_eq!(words, expected);
    let words = refused("org/name@2222");
    let expected = format!(
        "`hub/models--org--name/snapshots/{}` is a part of the model: `model.safetensors` may be missing",
        COMMITS[1]
    );
    assert!(words.contains(&expected), "{words}");
    assert!(words.ends_with("`samtone download org/name@2222`\n"), "{words}");
}

#[test]
fn a_run_keeps_the_commit_that_it_began_with() {
    let home = home();
    World::generate(0, 200).save(&home.path().join("data")).unwrap();
    let sets = ["data.train=data", "train.batch_size=8", "train.warmup=1", "model.path=org/name"];
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    let train = ["train", "--run-dir", "run", "--resume"];
    let with = |steps: &str, sets: &[&str]| {
        let steps = format!("train.steps={steps}");
        [&train[..], sets, &["--set", &steps]].concat().join("\n")
    };
    let [two, three] = ["2", "3"].map(|steps| with(steps, &sets));
    let words = |line: &str| line.split('\n').map(str::to_owned).collect::<Vec<_>>();
    let run = |line: &str| {
        let arguments = words(line);
        printed(home.path(), &arguments.iter().map(String::as_str).collect::<Vec<_>>())
    };
    run(&two);
    let pinned = format!("org/name@{}", COMMITS[0]);
    let read = |file: &str| fs::read_to_string(home.path().join("run").join(file)).unwrap();
    for file in ["config.toml", "identity.json"] {
        assert!(read(file).contains(&format!("\"{pinned}\"")), "{file}: {}", read(file));
    }
    assert!(read("model/README.md").contains(&format!("from the weights of `{pinned}`")));
    run(&three);

    // The name means another model now: who names it is told, who goes on has the first.
    point(home.path(), COMMITS[1]);
    let arguments = words(&with("4", &sets));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let told = refused(home.path(), 1, &arguments);
    let expected = format!("`model.path` is \"org/name@{}\", was \"{pinned}\"", COMMITS[1]);
    assert!(told.contains(&expected), "{told}");
    run(&with("4", &[]));
    assert!(read("config.toml").contains(&pinned));
}

/// The files of the hub below: what each holds, and its sum.
const FILES: [(&str, &str, &str); 3] = [
    ("config.json", "{}", "9e26dfeeb6e641a33dae4961196235bdb965b21b"),
    ("model.safetensors", "[]", "0637a088a01e8ddab3bf3fa98dbe804cbde1a0dc"),
    ("model.onnx", "[]", "0637a088a01e8ddab3bf3fa98dbe804cbde1a0dc"),
];

/// A hub that answers until the test ends; its address.
fn hub() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let files = FILES.map(|(file, body, sum)| {
        serde_json::json!({ "rfilename": file, "size": body.len(), "blobId": sum })
    });
    let list = serde_json::json!({ "sha": COMMITS[0], "siblings": files }).to_string();
    let answer = move |mut stream: &TcpStream| {
        let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
        let asked = lines.next().unwrap();
        lines.take_while(|line| !line.is_empty()).for_each(drop);
        let file = FILES.iter().find(|(file, ..)| asked.contains(file));
        let body = file.map_or(&*list, |(_, body, _)| body);
        let length = body.len();
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\nConnection: close");
        write!(stream, "{head}\r\n\r\n{body}").unwrap();
    };
    std::thread::spawn(move || listener.incoming().for_each(|stream| answer(&stream.unwrap())));
    address
}

#[test]
fn what_is_downloaded_is_found_by_its_name() {
    let home = tempfile::tempdir().unwrap();
    let endpoint = hub();
    let command = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
        command.current_dir(home.path()).arg("download").args(arguments);
        for unwanted in ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy", "HF_TOKEN"] {
            command.env_remove(unwanted);
        }
        command.env("HF_HOME", ".").env("HF_ENDPOINT", &endpoint).env_remove("HF_HUB_CACHE");
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let [out, err] =
            [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
        (output.status.code().unwrap(), out, err)
    };
    let (code, out, err) = command(&[], &["org/name", "--format", "json"]);
    assert_eq!(code, 0, "{err}");
    let found: Value = serde_json::from_str(&out).unwrap();
    let folder = format!("./hub/models--org--name/snapshots/{}", COMMITS[0]);
    assert_eq!(found["folder"], Value::from(folder));
    assert_eq!(found["pinned"], Value::from(format!("org/name@{}", COMMITS[0])));
    assert_eq!((&found["files"], &found["fetched"]), (&Value::from(2), &Value::from(4)));
    assert!(err.contains("2 files of 4 B, 4 B to fetch"), "{err}");

    let (code, _, err) = command(&[("HF_HUB_OFFLINE", "1")], &["org/name"]);
    assert_eq!(code, 1);
    assert!(err.contains("`HF_HUB_OFFLINE` is set: nothing is downloaded"), "{err}");
    let (code, _, err) = command(&[], &["../name"]);
    assert_eq!(code, 2);
    assert!(err.contains("`../name` is no model's name"), "{err}");
}
