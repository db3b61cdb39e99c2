//! The pages of runs: their numbers are those of the record, old folders are read, and what is served is
//! served to this machine alone.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use samtone_data::embedded::World;
use samtone_train::run::{Environment, StepRecord, Summary};
use serde_json::Value;

use crate::train::Bench;

/// A run with everything that a page can show.
fn run(bench: &Bench, name: &str, more: &[&str]) -> Value {
    let data = bench.path("data");
    let zero_shot = format!("data.zero_shot=[{:?}]", data.display().to_string());
    let mut arguments = vec![
        "--set",
        "eval.start=true",
        "--set",
        "train.eval_every=5",
        "--set",
        "train.best_by=mrr@10",
        "--set",
        "matryoshka.dims=[32, 8]",
        "--set",
        &zero_shot,
        "--format",
        "json",
    ];
    arguments.extend(more);
    serde_json::from_slice(&bench.train(name, &arguments).stdout).unwrap()
}

fn json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap()
}

fn samtone(bench: &Bench, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_samtone"));
    command.current_dir(bench.path("")).args(arguments).output().unwrap()
}

/// The values of a figure of metrics by row, as its file holds them.
fn row<'a>(figure: &'a Value, name: &str) -> Vec<&'a Value> {
    let rows = figure["rows"].as_array().unwrap();
    let row = rows.iter().find(|row| row["name"] == name).unwrap_or_else(|| panic!("no {name}"));
    row["values"].as_array().unwrap().iter().map(|value| &value["value"]).collect()
}

/// The cells of the rows of a table of the page: the number where there is one, else the text.
fn cells(page: &str, figure: &str) -> Vec<Vec<String>> {
    let start =
        page.find(&format!("id=\"figure-{figure}\"")).unwrap_or_else(|| panic!("no {figure}"));
    let table = page[start..].split("</table>").next().unwrap();
    let body = table.split("<tbody>").nth(1).unwrap();
    let cell = |cell: &str| match cell.split_once("data-number=\"") {
        Some((_, rest)) => rest.split('"').next().unwrap().to_owned(),
        None => cell
            .split("<bdi class=\"value")
            .nth(1)
            .unwrap()
            .split(['>', '<'])
            .nth(1)
            .unwrap()
            .to_owned(),
    };
    body.split("<tr")
        .skip(1)
        .map(|row| {
            row.split("</td>")
                .flat_map(|part| part.split("</th>"))
                .filter(|part| part.contains("<bdi"))
                .map(cell)
                .collect()
        })
        .collect()
}

#[test]
#[expect(clippy::too_many_lines, reason = "one page, part by part")]
fn every_number_of_a_page_is_that_of_the_record() {
    let bench = Bench::new("baseline = \"in-batch-both\"\n");
    let printed = run(&bench, "run", &[]);
    let folder = bench.path("run");
    let summary: Summary = serde_json::from_value(printed["summary"].clone()).unwrap();
    let environment: Environment =
        serde_json::from_value(json(&folder.join("environment.json"))).unwrap();
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    let figure = |name: &str| json(&folder.join(format!("figures/{name}.json")));
    let names = ["mrr@10", "p@1", "ndcg@10", "recall@100"];

    // Results, to the last digit in the files and as it is read in the page.
    let own = figure("metrics-on-test");
    let start = summary.start.clone().unwrap();
    let baseline = summary.baseline.clone().unwrap();
    let scored = [
        ("samtone", &summary.test),
        ("start", &start.test),
        ("in-batch-both", &baseline.test),
        ("BM25", &summary.bm25),
    ];
    for (name, metrics) in scored {
        let expected: Vec<f64> = names.iter().map(|metric| metrics[*metric]).collect();
        assert_eq!(
            row(&own, name),
            expected
                .iter()
                .map(|v| serde_json::json!(v))
                .collect::<Vec<_>>()
                .iter()
                .collect::<Vec<_>>()
        );
        for value in expected {
            assert!(page.contains(&format!(">{value:.4}<")), "{name}: {value}");
        }
    }
    let dims = figure("fewer-dimensions-on-test");
    assert_eq!(
        *row(&dims, "samtone, 8 dimensions")[0],
        serde_json::json!(summary.dims[&8]["mrr@10"])
    );
    let zero_shot = figure("zero-shot");
    assert_eq!(
        *row(&zero_shot, "data (zero-shot)")[0],
        serde_json::json!(summary.zero_shot["data"]["mrr@10"])
    );

    // What was gained, against each of three in four metrics.
    let gained = cells(&page, "what-was-gained");
    let gains = printed["gains"].as_array().unwrap();
    let expected: Vec<Vec<String>> = gains
        .iter()
        .flat_map(|gain| {
            gain["rows"].as_array().unwrap().iter().map(|row| {
                let number = |name: &str| row[name].as_f64().unwrap().to_string();
                let texts = [
                    row["metric"].as_str().unwrap().to_owned(),
                    gain["baseline"].as_str().unwrap().to_owned(),
                ];
                let low = row["interval"][0].as_f64().unwrap().to_string();
                let numbers =
                    ["baseline", "mean", "difference"].map(number).into_iter().chain([low]);
                texts
                    .into_iter()
                    .chain(numbers)
                    .chain(["p", "p_holm", "wins", "ties", "losses"].map(number))
                    .collect()
            })
        })
        .collect();
    assert_eq!((gained.len(), &gained), (12, &expected));

    // Dev evaluations: the start, then those of the log, the best marked.
    let log = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let log: Vec<StepRecord> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let dev = cells(&page, "dev-evaluations");
    let line = |step: usize, metrics: &samtone_train::run::Metrics| -> Vec<String> {
        std::iter::once(step.to_string())
            .chain(names.iter().map(|name| metrics[*name].to_string()))
            .collect()
    };
    let judged = log.iter().filter(|step| !step.dev.is_empty());
    let expected: Vec<Vec<String>> = std::iter::once(line(0, &start.dev))
        .chain(judged.map(|step| line(step.step, &step.dev)))
        .collect();
    assert_eq!(dev, expected);
    let best = summary.best.clone().unwrap();
    let marked = page
        .split("<tr class=\"marked\">")
        .skip(1)
        .find(|row| row.contains("\"tag\">best<"))
        .unwrap();
    assert!(marked.contains(&format!("data-number=\"{}\"", best.step)), "{marked}");

    // Curves hold the log's lines.
    let loss = figure("loss");
    let points = loss["curves"][0]["points"].as_array().unwrap();
    let expected: Vec<Value> =
        log.iter().map(|step| serde_json::json!([step.step as f64, step.loss])).collect();
    assert_eq!(points, &expected);
    assert_eq!(figure("learning-rate")["is_exact"], true);
    let memory = figure("memory");
    let expected = log[0].rss_bytes.map(|bytes| bytes as f64 / 1e9);
    assert_eq!(memory["curves"][0]["points"][0][1].as_f64(), expected);

    // The record.
    let values = |name: &str| {
        let rows = figure(name)["rows"].as_array().unwrap().clone();
        move |key: &str| {
            let row =
                rows.iter().find(|row| row["name"] == key).unwrap_or_else(|| panic!("no {key}"));
            (row["value"].as_str().unwrap().to_owned(), row["mark"] == "changed")
        }
    };
    let machine = values("machine");
    assert_eq!(machine("pairs a second").0, format!("{:.1}", environment.pairs_per_second));
    assert_eq!(machine("parameters").0.replace('\u{202f}', ""), environment.parameters.to_string());
    let config = values("configuration");
    assert_eq!(config("train.batch_size"), ("16".into(), true));
    assert_eq!(config("train.clip"), ("1.0".into(), false));
    let read = values("what-it-read");
    let sum = json(&folder.join("identity.json"))["inputs"]["the query's tokenizer"].clone();
    assert_eq!(read("the query's tokenizer").0, sum.as_str().unwrap()[..12]);

    // Texts: queries, and pairs as the model sees them.
    let queries = json(&folder.join("queries.json"));
    assert_eq!(
        queries["systems"],
        serde_json::json!(["samtone", "start", "in-batch-both", "BM25"])
    );
    for query in queries["queries"].as_array().unwrap() {
        let ranks: Vec<u64> = query["found"][0]["right"]
            .as_array()
            .unwrap()
            .iter()
            .map(|right| right[1].as_u64().unwrap())
            .collect();
        // The metric is the reciprocal of the first right rank, among ten.
        let expected =
            ranks.first().filter(|&&rank| rank <= 10).map_or(0.0, |&rank| 1.0 / rank as f64);
        assert_eq!(query["found"][0]["value"].as_f64(), Some(expected), "{query}");
        assert!(page.contains(query["id"].as_str().unwrap()));
    }
    let data = json(&folder.join("data.json"));
    assert_eq!(data["examples"].as_array().unwrap().len(), 10);
    let first = &data["examples"][0]["document"];
    let (read, whole) =
        (first["tokens"].as_array().unwrap().len() as u64, first["whole"].as_u64().unwrap());
    assert_eq!((read == 24 && whole > 24), !first["cut"].as_str().unwrap().is_empty(), "{first}");
    assert!(page.len() < 3_000_000);
}

#[test]
fn an_older_run_is_shown_with_what_it_has() {
    let bench = Bench::new("");
    bench.train("run", &[]);
    let folder = bench.path("run");
    let whole = fs::read_to_string(folder.join("report.html")).unwrap();
    // The same files give the same page.
    assert!(samtone(&bench, &["report", "run"]).status.success());
    assert_eq!(fs::read_to_string(folder.join("report.html")).unwrap(), whole);

    for name in ["origin.json", "data.json", "queries.json"] {
        fs::remove_file(folder.join(name)).unwrap();
    }
    fs::remove_dir_all(folder.join("rankings")).unwrap();
    let mut environment = json(&folder.join("environment.json"));
    environment.as_object_mut().unwrap().remove("ended").unwrap();
    fs::write(folder.join("environment.json"), environment.to_string()).unwrap();
    let log = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let without = |line: &str| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line.as_object_mut().unwrap().remove("rss_bytes");
        format!("{line}\n")
    };
    fs::write(folder.join("metrics.jsonl"), log.lines().map(without).collect::<String>()).unwrap();
    assert!(samtone(&bench, &["report", "run"]).status.success());
    let page = fs::read_to_string(folder.join("report.html")).unwrap();
    assert!(page.contains("Metrics on test") && !page.contains("As the model sees them"));
}

#[test]
fn the_same_ids_over_other_texts_are_another_set() {
    let bench = Bench::new("");
    World::generate(0, 200).dataset().save(&bench.path("other")).unwrap();
    let corpus = bench.path("other/corpus.jsonl");
    let texts = fs::read_to_string(&corpus).unwrap();
    fs::write(&corpus, texts.replace("\"text\":\"", "\"text\":\"Elsewhere ")).unwrap();
    assert_ne!(fs::read_to_string(&corpus).unwrap(), texts);
    let elsewhere = format!("data.zero_shot=[{:?}]", bench.path("other").display().to_string());
    bench.train("runs/here", &["--set", &elsewhere]);
    let train = format!("data.train={:?}", bench.path("other").display().to_string());
    bench.train("runs/there", &["--set", &train]);
    assert!(samtone(&bench, &["report", "runs"]).status.success());
    let page = fs::read_to_string(bench.path("runs/report.html")).unwrap();
    let [here, there] =
        ["here", "there"].map(|run| json(&bench.path(&format!("runs/{run}/summary.json"))));
    let shown = |value: &Value| value["mrr@10"].as_f64().unwrap().to_string();
    let board = cells(&page, "mrr-10-by-data-set");
    let elsewhere = [shown(&here["zero_shot"]["other"]), shown(&there["test"])];
    assert_eq!(board[0][2..], [shown(&here["test"]), elsewhere[0].clone()]);
    assert_eq!(board[1][2..], ["–".to_owned(), elsewhere[1].clone()]);
}

#[test]
fn a_run_that_is_prolonged_is_repeated_by_both_commands() {
    let bench = Bench::new("");
    bench.train("run", &[]);
    bench.train("run", &["--resume", "--set", "train.steps=24"]);
    let origin = json(&bench.path("run/origin.json"));
    let prolonged = origin["prolonged"].as_array().unwrap();
    assert!(prolonged.len() == 1 && prolonged[0].as_str().unwrap().contains("train.steps=24"));
    let page = fs::read_to_string(bench.path("run/report.html")).unwrap();
    let copied = page.split("class=\"command\" data-copied=\"").nth(1).unwrap();
    let copied = copied.split('"').next().unwrap();
    assert!(copied.lines().count() == 2 && copied.ends_with("train.steps=24"), "{copied}");
}

#[test]
fn several_runs_are_one_page() {
    let bench = Bench::new("");
    for (run, lr) in [("runs/a", "1e-3"), ("runs/b", "3e-3"), ("runs/c", "1e-4")] {
        bench.train(run, &["--set", &format!("train.lr={lr}")]);
    }
    let output = samtone(&bench, &["report", "runs"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let page = fs::read_to_string(bench.path("runs/report.html")).unwrap();
    let scores: Vec<f64> = ["a", "b", "c"]
        .map(|run| {
            json(&bench.path(&format!("runs/{run}/summary.json")))["test"]["mrr@10"]
                .as_f64()
                .unwrap()
        })
        .to_vec();
    let table = cells(&page, "runs-on-data-test");
    let shown: Vec<&str> = table.iter().map(|row| row[2].as_str()).collect();
    assert_eq!(shown, scores.iter().map(ToString::to_string).collect::<Vec<_>>());
    assert_eq!(table.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(page.contains("href=\"./b/report.html\""));

    // What differs is the rate alone, beside what it came to.
    let settings = cells(&page, "settings-that-differ");
    let expected: Vec<Vec<String>> = ["a", "b", "c"]
        .iter()
        .zip(&scores)
        .zip(["0.001", "0.003", "0.0001"])
        .map(|((name, score), lr)| vec![(*name).to_owned(), score.to_string(), lr.to_owned()])
        .collect();
    assert_eq!(settings, expected);
    // The differences of every pair, by `samtone compare`.
    let compared = samtone(
        &bench,
        &["compare", "runs/a", "runs/b", "--metrics", "mrr@10", "--format", "json"],
    );
    let compared: Value = serde_json::from_slice(&compared.stdout).unwrap();
    let difference = compared["rows"][0]["difference"].as_f64().unwrap();
    let pairs = cells(&page, "mrr-10-of-every-run-against-every-other");
    let order: Vec<&str> = pairs.iter().map(|row| row[0].as_str()).collect();
    let (a, b) = (
        order.iter().position(|name| *name == "a").unwrap(),
        order.iter().position(|name| *name == "b").unwrap(),
    );
    let shown: f64 = pairs[b][a + 1].parse().unwrap();
    assert!((shown - difference).abs() < 1e-12, "{shown} is not {difference}");

    // However the place is written, and however often a run is named.
    let output = samtone(&bench, &["report", "runs/a", "runs", "--out", "./runs/again.html"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let again = fs::read_to_string(bench.path("runs/again.html")).unwrap();
    let names = cells(&again, "runs-on-data-test");
    assert_eq!(names.iter().map(|row| row[0].as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(again.contains("href=\"./b/report.html\""));

    let refused = samtone(&bench, &["report", "data"]);
    let words = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{words}");
    assert!(words.contains("there is no run to report"), "{words}");
}

/// `samtone watch`, ended with this.
struct Watch {
    process: Child,
    address: String,
}

impl Watch {
    fn start(run: &Path) -> Self {
        let mut process = Command::new(env!("CARGO_BIN_EXE_samtone"))
            .arg("watch")
            .arg(run)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address =
            line.trim().rsplit("http://").next().unwrap().trim_end_matches('/').to_owned();
        Self { process, address }
    }

    /// Status line and headers, and the body, of what is answered.
    fn ask(&self, path: &str, host: &str, more: &str) -> (String, String) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.to_owned(), body.to_owned())
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
fn a_run_is_served_to_this_machine_alone() {
    let bench = Bench::new("");
    bench.train("run", &[]);
    let run = bench.path("run");
    fs::remove_file(run.join("summary.json")).unwrap();
    let watch = Watch::start(&run);
    assert!(watch.address.starts_with("127.0.0.1:"), "{}", watch.address);
    let own = watch.address.clone();
    let (head, page) = watch.ask("/", &own, "");
    assert!(head.starts_with("HTTP/1.1 200") && page.contains("data-live"), "{head}");
    assert!(page.contains("stopped, step 20 of 20"));
    let tag = head.lines().find_map(|line| line.strip_prefix("ETag: ")).unwrap().to_owned();
    let same = format!("If-None-Match: {tag}\r\n");
    assert!(watch.ask("/", &own, &same).0.starts_with("HTTP/1.1 304"));
    // A page of another server cannot read it under a name of its own.
    assert!(watch.ask("/", "example.org", "").0.starts_with("HTTP/1.1 403"));
    assert!(watch.ask("/summary.json", &own, "").0.starts_with("HTTP/1.1 404"));
    assert!(watch.ask("/../config.toml", &own, "").0.starts_with("HTTP/1.1 404"));
    // What is sent or not read by one keeps nobody else from the page.
    let mut claims = TcpStream::connect(&own).unwrap();
    write!(
        claims,
        "POST / HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 99999999999999\r\n\r\n"
    )
    .unwrap();
    let mut deaf = TcpStream::connect(&own).unwrap();
    write!(deaf, "GET / HTTP/1.1\r\nHost: {own}\r\n\r\n").unwrap();
    let _mute = TcpStream::connect(&own).unwrap();
    assert!(watch.ask("/", &own, "").0.starts_with("HTTP/1.1 200"));
    // Another line is another page.
    let log = fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let last = log.lines().last().unwrap();
    fs::write(run.join("metrics.jsonl"), format!("{log}{last}\n")).unwrap();
    let (head, _) = watch.ask("/", &own, &same);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");

    let refused = samtone(&bench, &["watch", "data"]);
    assert_eq!(refused.status.code(), Some(1), "{}", String::from_utf8_lossy(&refused.stderr));
}
