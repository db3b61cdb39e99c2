use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use samtone_hub::{Download, DownloadEvent, HubCache, HubClient, HubError};
use tempfile::TempDir;

use crate::server::{Fault, Repository, Server, git, sha256};

const FIRST: &str = "1111111111111111111111111111111111111111";
const SECOND: &str = "2222222222222222222222222222222222222222";
fn weights() -> Vec<u8> {
    (0..100_000_u32).flat_map(u32::to_le_bytes).collect()
}

/// Where the weights' bytes lie on the other host.
fn stored() -> String {
    format!("/lfs/{}", sha256(&weights()))
}

fn repository() -> Repository {
    let modules = r#"[{"path": "", "type": "T"}, {"path": "1_Pooling", "type": "P"}]"#;
    let files: [(&str, &[u8]); 9] = [
        (".gitattributes", b"*.safetensors filter=lfs"),
        ("1_Pooling/config.json", b"{\"pooling_mode_cls_token\": true}"),
        ("README.md", b"# A model"),
        ("config.json", b"{}"),
        ("model.safetensors", &weights()),
        ("modules.json", modules.as_bytes()),
        ("onnx/model.onnx", b"unwanted"),
        ("pytorch_model.bin", b"unwanted"),
        ("tokenizer.json", b"{\"version\": \"1.0\"}"),
    ];
    let files = files.map(|(path, bytes)| (path.to_owned(), bytes.to_vec()));
    Repository { commit: FIRST.into(), files: files.into(), ..Repository::default() }
}

/// A hub and an empty cache.
struct Bench {
    server: Server,
    cache: HubCache,
    home: TempDir,
}

impl Bench {
    fn new(repository: Repository) -> Self {
        let home = tempfile::tempdir().unwrap();
        let cache = HubCache::new(home.path().join("hub"));
        Self { server: Server::new(repository), cache, home }
    }

    fn client(&self) -> HubClient {
        HubClient::new(&self.server.endpoint).unwrap().with_pause(Duration::from_millis(1))
    }

    fn download(&self, name: &str) -> Result<Download, HubError> {
        self.client().download(&self.cache, &name.parse()?, &mut |_| {})
    }

    fn path(&self, inside: &str) -> PathBuf {
        self.home.path().join("hub/models--org--name").join(inside)
    }

    /// The names in a folder of the model, in order.
    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).into_iter().flatten();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names
    }

    fn weights(&self, commit: &str) -> Vec<u8> {
        fs::read(self.path(&format!("snapshots/{commit}/model.safetensors"))).unwrap()
    }

    /// The ranges of the weights' bytes that were asked for.
    fn ranges(&self) -> Vec<Option<String>> {
        self.server.asked()[1].iter().map(|asked| asked.range.clone()).collect()
    }
}

#[test]
fn what_a_retriever_needs_lies_where_others_look_for_it() {
    let bench = Bench::new(repository());
    let mut events = Vec::new();
    let got = bench
        .client()
        .download(&bench.cache, &"org/name".parse().unwrap(), &mut |event| {
            events.push(format!("{event:?}"));
        })
        .unwrap();
    assert_eq!(got.snapshot.folder, bench.path(&format!("snapshots/{FIRST}")));
    assert_eq!((got.files, got.snapshot.commit.as_str()), (6, FIRST));
    assert_eq!(got.snapshot.pinned().to_string(), format!("org/name@{FIRST}"));
    assert!(got.bytes > 400_000, "{got:?}");

    let wanted = ["1_Pooling", "README.md", "config.json", "model.safetensors", "modules.json"];
    let snapshot = format!("snapshots/{FIRST}");
    assert_eq!(bench.names(&snapshot), [&wanted[..], &["tokenizer.json"]].concat());
    let files = repository().files;
    for path in ["1_Pooling/config.json", "config.json", "model.safetensors", "README.md"] {
        let bytes = &files[path];
        let sum = if path.ends_with("safetensors") { sha256(bytes) } else { git(bytes) };
        let link = bench.path(&format!("{snapshot}/{path}"));
        let up = if path.contains('/') { "../../../" } else { "../../" };
        assert_eq!(fs::read_link(&link).unwrap(), Path::new(&format!("{up}blobs/{sum}")));
        assert_eq!(&fs::read(&link).unwrap(), bytes);
    }
    assert_eq!(fs::read_to_string(bench.path("refs/main")).unwrap(), FIRST);
    assert_eq!(bench.names("blobs").len(), 6);
    let absent =
        ["config_sentence_transformers.json", "sentence_bert_config.json", "tokenizer_config.json"];
    assert_eq!(bench.names(&format!(".no_exist/{FIRST}")), absent);
    assert!(events[0].starts_with("Begun"), "{events:?}");
    assert_eq!(*events.last().unwrap(), format!("At {{ bytes: {} }}", got.bytes));

    // Nothing twice.
    bench.server.asked();
    let again = bench.download("org/name").unwrap();
    assert_eq!((again.files, again.bytes, again.fetched), (6, got.bytes, 0));
    let [hub, store] = bench.server.asked();
    assert_eq!((hub.len(), store.len()), (1, 0), "{hub:?}");
    // By a commit no revision is named.
    bench.download(&format!("org/name@{}", &FIRST[..8])).unwrap();
    assert_eq!(bench.names("refs"), ["main"]);
    bench.download("org/name@refs/pr/1").unwrap();
    assert_eq!(fs::read_to_string(bench.path("refs/refs/pr/1")).unwrap(), FIRST);
}

#[test]
fn the_token_goes_to_the_hub_and_nowhere_else() {
    let bench = Bench::new(Repository { token: Some("hf_secret"), ..repository() });
    let error = bench.download("org/name").unwrap_err();
    assert!(matches!(error, HubError::NotOnHub { with_token: false, .. }), "{error:?}");
    let client = bench.client().with_token("hf_secret");
    client.download(&bench.cache, &"org/name".parse().unwrap(), &mut |_| {}).unwrap();
    let [hub, store] = bench.server.asked();
    assert!(hub.iter().skip(1).all(|asked| asked.token.as_deref() == Some("hf_secret")));
    assert_eq!(store.len(), 1);
    assert!(store.iter().all(|asked| asked.token.is_none()), "{store:?}");
    // A model that has another name now: its hub is the same.
    let client = bench.client().with_token("hf_secret");
    client.download(&bench.cache, &"old/name".parse().unwrap(), &mut |_| {}).unwrap();
    let [hub, store] = bench.server.asked();
    assert!(hub.iter().all(|asked| asked.token.is_some()), "{hub:?}");
    assert!(store.iter().all(|asked| asked.token.is_none()), "{store:?}");
}

#[test]
fn what_broke_off_goes_on() {
    let bench = Bench::new(repository());
    bench.server.fault(&stored(), &[Fault::Cut(100_000), Fault::Cut(50_000)]);
    let mut tries = 0;
    let name = "org/name".parse().unwrap();
    let observe = &mut |event: DownloadEvent<'_>| {
        if let DownloadEvent::Retry { why, .. } = event {
            assert!(matches!(why, HubError::Unreachable { .. }), "{why:?}");
            tries += 1;
        }
    };
    bench.client().download(&bench.cache, &name, observe).unwrap();
    assert_eq!(tries, 2);
    let ranges = [None, Some("bytes=100000-".to_owned()), Some("bytes=150000-".to_owned())];
    assert_eq!(bench.ranges(), ranges);
    assert_eq!(bench.weights(FIRST), weights());
}

#[test]
fn what_another_call_left_goes_on_and_is_not_trusted() {
    let all = weights();
    let with_left = |left: &[u8], faults: &[Fault]| {
        let bench = Bench::new(repository());
        fs::create_dir_all(bench.path("blobs")).unwrap();
        let blob = format!("blobs/{}.incomplete", sha256(&all));
        fs::write(bench.path(&blob), left).unwrap();
        bench.server.fault(&stored(), faults);
        let got = bench.download("org/name").unwrap();
        assert_eq!(bench.weights(FIRST), all);
        assert!(!bench.path(&blob).exists());
        (bench.ranges(), got.bytes - got.fetched)
    };
    let from = |byte: usize| Some(format!("bytes={byte}-"));
    assert_eq!(with_left(&all[..70_000], &[]), (vec![from(70_000)], 70_000));
    // A server that begins anew.
    assert_eq!(with_left(&all[..70_000], &[Fault::Whole]), (vec![from(70_000)], 70_000));
    // Bytes that are not the file's.
    assert_eq!(with_left(&vec![9; 70_000], &[]), (vec![from(70_000), None], 70_000));
    let too_many = vec![9; all.len() + 1];
    assert_eq!(with_left(&too_many, &[]), (vec![None], 0));
    // All of them are there; only their sum is not known.
    assert_eq!(with_left(&all, &[]), (vec![], all.len() as u64));
    let refused = Fault::Status(416, "");
    assert_eq!(with_left(&all[..5], &[refused]), (vec![from(5), None], 5));
}

#[test]
fn what_arrives_broken_is_not_seen() {
    let bench = Bench::new(repository());
    bench.server.fault(&stored(), &[Fault::Wrong]);
    let error = bench.download("org/name").unwrap_err();
    assert!(matches!(&error, HubError::Sum { file, .. } if file == "model.safetensors"), "{error}");
    assert_eq!(bench.names("refs"), [""; 0]);
    assert_eq!(bench.names("snapshots"), [""; 0]);
    assert!(!bench.names("blobs").iter().any(|blob| blob.starts_with(&sha256(&weights()))));
    assert!(bench.cache.find(&"org/name".parse().unwrap()).is_err());
    bench.server.fault("/tokenizer.json", &[Fault::Wrong]);
    let error = bench.download("org/name").unwrap_err();
    assert!(matches!(error, HubError::Sum { .. }), "{error}");
    bench.download("org/name").unwrap();
}

#[test]
fn a_revision_names_what_is_whole() {
    let bench = Bench::new(repository());
    bench.download("org/name").unwrap();
    bench.server.change(|repository| {
        repository.commit = SECOND.into();
        repository.files.insert("model.safetensors".into(), b"others".to_vec());
    });
    let other = format!("/lfs/{}", sha256(b"others"));
    bench.server.fault(&other, &vec![Fault::Cut(0); 5]);
    let error = bench.download("org/name").unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error}");
    let find = |name: &str| bench.cache.find(&name.parse().unwrap()).map(|found| found.commit);
    assert_eq!(find("org/name").unwrap(), FIRST);
    assert!(find(&format!("org/name@{SECOND}")).is_err());

    bench.download("org/name").unwrap();
    assert_eq!(find("org/name").unwrap(), SECOND);
    for commit in [FIRST, SECOND] {
        assert_eq!(find(&format!("org/name@{commit}")).unwrap(), commit);
    }
    assert_eq!((bench.weights(FIRST), bench.weights(SECOND)), (weights(), b"others".to_vec()));
    // What they share is there once.
    assert_eq!(bench.names("blobs").len(), 7);
}

#[test]
fn a_refusal_says_what_to_do() {
    let gated = Repository { is_gated: true, ..repository() };
    let hint = |error: &HubError| error.hint().unwrap();
    let error = Bench::new(gated.clone()).download("org/name").unwrap_err();
    assert!(matches!(error, HubError::Gated { with_token: false, .. }), "{error:?}");
    assert!(hint(&error).contains("/org/name, then give a token: `HF_TOKEN="), "{}", hint(&error));
    let bench = Bench::new(gated);
    let client = bench.client().with_token("hf_x");
    let name = "org/name".parse().unwrap();
    let error = client.download(&bench.cache, &name, &mut |_| {}).unwrap_err();
    assert!(matches!(error, HubError::Gated { with_token: true, .. }), "{error:?}");
    assert!(hint(&error).starts_with("ask for access at http://127.0.0.1"), "{}", hint(&error));

    let bench = Bench::new(repository());
    let error = bench.download("org/other").unwrap_err();
    assert!(matches!(error, HubError::NotOnHub { .. }), "{error:?}");
    assert!(hint(&error).starts_with("check the spelling"));
    let error = bench.download("org/name@v9").unwrap_err();
    assert_eq!(error.to_string(), "`org/name` has no revision `v9` on the hub");
    let listing = "/revision/main";
    let denied = Fault::Status(403, "X-Error-Message: no plan of yours\r\n");
    bench.server.fault(listing, &[denied, Fault::Status(418, "")]);
    let error = bench.download("org/name").unwrap_err().to_string();
    assert_eq!(error, "the hub refuses access to `org/name`: no plan of yours");
    let error = bench.download("org/name").unwrap_err();
    assert!(matches!(error, HubError::Answer { status: 418, .. }), "{error:?}");
    assert_eq!(bench.names("blobs"), [""; 0]);
}

#[test]
fn what_may_pass_is_tried_again() {
    let bench = Bench::new(repository());
    let (busy, down) = (Fault::Status(429, "Retry-After: 0\r\n"), Fault::Status(503, ""));
    bench.server.fault("/revision/main", &[busy.clone(), down.clone(), Fault::Cut(3)]);
    bench.server.fault("/config.json", std::slice::from_ref(&down));
    // A signed address is good for some minutes; a new one is asked for.
    bench.server.fault(&stored(), &[Fault::Cut(10), Fault::Status(403, ""), down.clone()]);
    bench.download("org/name").unwrap();
    assert_eq!(bench.weights(FIRST), weights());

    let bench = Bench::new(repository());
    bench.server.fault("/revision/main", &vec![busy; 5]);
    let error = bench.download("org/name").unwrap_err();
    assert!(matches!(error, HubError::Answer { status: 429, .. }), "{error:?}");
    assert!(error.hint().unwrap().starts_with("the hub wants fewer questions"));
    assert_eq!(bench.server.asked()[0].len(), 5);
    bench.server.fault("/revision/main", &vec![down; 5]);
    let error = bench.download("org/name").unwrap_err();
    assert!(
        error.to_string().ends_with("/api/models/org/name/revision/main` answers 503"),
        "{error}"
    );
}

#[test]
fn a_server_that_brings_nothing_new_is_given_up() {
    let bench = Bench::new(repository());
    bench.server.fault(&stored(), &vec![Fault::Cut(0); 9]);
    let error = bench.download("org/name").unwrap_err();
    assert!(matches!(error, HubError::Unreachable { .. }), "{error:?}");
    assert_eq!(bench.ranges().len(), 5);
}

#[test]
fn where_nobody_answers_it_is_said() {
    let bench = Bench::new(repository());
    // A port that was free a moment ago.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = HubClient::new(&format!("http://{address}")).unwrap();
    let client = client.with_pause(Duration::from_millis(1));
    let name = "org/name".parse().unwrap();
    let error = client.download(&bench.cache, &name, &mut |_| {}).unwrap_err();
    assert_eq!(error.to_string(), format!("cannot reach `http://{address}`"));
    assert!(!bench.path("").exists());
}

#[test]
fn sums_that_the_list_has_not_are_asked_for() {
    let bench = Bench::new(Repository { is_bare: true, ..repository() });
    bench.download("org/name").unwrap();
    assert_eq!(bench.weights(FIRST), weights());
    let [hub, store] = bench.server.asked();
    assert!(hub.iter().any(|asked| asked.method == "HEAD"));
    assert!(store.iter().all(|asked| asked.method == "GET"), "{store:?}");
    assert!(bench.names("blobs").contains(&sha256(&weights())));
}

#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    for path in ["../../evil/config.json", "/tmp/config.json", "a\\b"] {
        let mut repository = repository();
        repository.files.insert(path.into(), b"{}".to_vec());
        let bench = Bench::new(repository);
        let error = bench.download("org/name").unwrap_err();
        assert!(matches!(error, HubError::Strange { what: "a file", .. }), "{error:?}");
        assert!(!bench.path("").exists());
    }
    let bench = Bench::new(Repository { commit: "../../../x".into(), ..repository() });
    let error = bench.download("org/name").unwrap_err();
    assert!(matches!(error, HubError::Strange { what: "the commit", .. }), "{error:?}");
}

#[test]
fn what_is_no_model_is_refused_before_its_bytes() {
    let without = |absent: &[&str]| {
        let mut repository = repository();
        repository.files.retain(|path, _| !absent.contains(&path.as_str()));
        let bench = Bench::new(repository);
        let error = bench.download("org/name").unwrap_err();
        assert!(matches!(error, HubError::NoModel { .. }), "{error:?}");
        assert!(bench.server.asked()[1].is_empty());
        error.to_string()
    };
    let error = without(&["model.safetensors", "pytorch_model.bin"]);
    assert!(error.contains("has no weights (`model.safetensors`) on the hub: `.gitattributes`"));
    let error = without(&["config.json", "modules.json"]);
    assert!(error.contains("has no `config.json` on the hub"), "{error}");
}
