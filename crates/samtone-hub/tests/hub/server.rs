//! A hub on the loopback that answers as `huggingface.co` does, and faults on demand; beside it, on
//! another port, the host that large files lie on.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use serde_json::json;
use sha1::Sha1;
use sha2::{Digest, Sha256};

/// What a test's hub has of `org/name`.
#[derive(Clone, Default)]
pub(crate) struct Repository {
    pub(crate) commit: String,
    /// The files' bytes; those of safetensors lie on the other host.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Who has no such token sees no model.
    pub(crate) token: Option<&'static str>,
    /// Files are given to nobody.
    pub(crate) is_gated: bool,
    /// The list of files has no sums.
    pub(crate) is_bare: bool,
}

/// What goes wrong with one answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// Another status, with headers.
    Status(u16, &'static str),
    /// The connection ends after so many bytes.
    Cut(usize),
    /// The first byte is another one.
    Wrong,
    /// The whole file, whatever range was asked for.
    Whole,
}

/// A question as it came.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) token: Option<String>,
    pub(crate) range: Option<String>,
}

#[derive(Default)]
struct State {
    repository: Repository,
    /// Faults by the end of the path that they befall, in order.
    faults: Vec<(String, VecDeque<Fault>)>,
    /// What the hub and the other host were asked.
    asked: [Vec<Asked>; 2],
}

/// Both hosts.
pub(crate) struct Server {
    pub(crate) endpoint: String,
    state: Arc<Mutex<State>>,
}

impl Server {
    pub(crate) fn new(repository: Repository) -> Self {
        let state = Arc::new(Mutex::new(State { repository, ..State::default() }));
        let listen = || TcpListener::bind("127.0.0.1:0").unwrap();
        let (hub, store) = (listen(), listen());
        let [endpoint, elsewhere] =
            [&hub, &store].map(|host| format!("http://{}", host.local_addr().unwrap()));
        for (host, listener) in [hub, store].into_iter().enumerate() {
            let (state, elsewhere) = (Arc::clone(&state), elsewhere.clone());
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    // A client may go away at any time.
                    let _ = answer(&stream.unwrap(), host, &state, &elsewhere);
                }
            });
        }
        Self { endpoint, state }
    }

    /// The next answers of what ends in `path` fault so.
    pub(crate) fn fault(&self, path: &str, faults: &[Fault]) {
        let faults = (path.to_owned(), faults.iter().cloned().collect());
        self.state.lock().unwrap().faults.push(faults);
    }

    pub(crate) fn change(&self, change: impl FnOnce(&mut Repository)) {
        change(&mut self.state.lock().unwrap().repository);
    }

    /// What the hub was asked since the last call, and what the other host was.
    pub(crate) fn asked(&self) -> [Vec<Asked>; 2] {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    format!("{:x}", Sha256::digest(bytes))
}

/// git's name for these bytes.
pub(crate) fn git(bytes: &[u8]) -> String {
    let header = format!("blob {}\0", bytes.len());
    format!("{:x}", Sha1::new_with_prefix(header).chain_update(bytes).finalize())
}

/// Whether git stores the file elsewhere.
fn is_large(path: &str) -> bool {
    path.ends_with(".safetensors")
}

/// Reads one question and answers it; the connection ends then.
fn answer(
    mut stream: &TcpStream,
    host: usize,
    state: &Mutex<State>,
    elsewhere: &str,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    let mut words = first.split(' ').map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut asked = Asked { method, path, token: None, range: None };
    for line in lines {
        let line = line?;
        let Some((name, value)) = line.split_once(": ") else { break };
        match &*name.to_ascii_lowercase() {
            "authorization" => asked.token = value.strip_prefix("Bearer ").map(str::to_owned),
            "range" => asked.range = Some(value.to_owned()),
            _ => {}
        }
    }
    let mut state = state.lock().unwrap();
    state.asked[host].push(asked.clone());
    let place = asked.path.split('?').next().unwrap_or_default().to_owned();
    let fault = state
        .faults
        .iter_mut()
        .filter(|(path, _)| place.ends_with(&**path))
        .find_map(|(_, faults)| faults.pop_front());
    let (status, headers, mut body) = match fault {
        Some(Fault::Status(status, headers)) => (status, headers.to_owned(), Vec::new()),
        _ if host == 0 => of_hub(&state.repository, &asked, &place, elsewhere),
        _ => of_store(&state.repository, &place),
    };
    drop(state);
    let (mut status, mut headers) = (status, headers);
    let from = asked
        .range
        .as_deref()
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
    if let Some(from) = from
        && status == 200
        && !matches!(fault, Some(Fault::Whole))
    {
        if from >= body.len() {
            (status, body) = (416, Vec::new());
        } else {
            headers +=
                &format!("Content-Range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
            (status, body) = (206, body.split_off(from));
        }
    }
    if matches!(fault, Some(Fault::Wrong)) {
        body[0] ^= 1;
    }
    let len = body.len();
    if asked.method == "HEAD" {
        body.clear();
    }
    if let Some(Fault::Cut(bytes)) = fault {
        body.truncate(bytes);
    }
    write!(
        stream,
        "HTTP/1.1 {status} X\r\n{headers}Content-Length: {len}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}

type Answer = (u16, String, Vec<u8>);

fn of_hub(repository: &Repository, asked: &Asked, place: &str, elsewhere: &str) -> Answer {
    let error = |status, code: &str| (status, format!("X-Error-Code: {code}\r\n"), Vec::new());
    if repository.token.is_some() && repository.token != asked.token.as_deref() {
        return error(401, "RepoNotFound");
    }
    let Repository { commit, files, .. } = repository;
    if let Some(revision) = place.strip_prefix("/api/models/org/name/revision/") {
        if revision != "main" && revision != "refs%2Fpr%2F1" && !commit.starts_with(revision) {
            return error(404, "RevisionNotFound");
        }
        let siblings = files.iter().map(|(path, bytes)| {
            let (size, id) = (bytes.len(), git(bytes));
            match (repository.is_bare, is_large(path)) {
                (true, _) => json!({ "rfilename": path }),
                (_, false) => json!({ "rfilename": path, "size": size, "blobId": id }),
                (_, true) => {
                    let lfs = json!({ "sha256": sha256(bytes), "size": size, "pointerSize": 130 });
                    json!({ "rfilename": path, "size": size, "blobId": id, "lfs": lfs })
                }
            }
        });
        let answer = json!({ "sha": commit, "siblings": siblings.collect::<Vec<_>>() });
        return (200, String::new(), answer.to_string().into_bytes());
    }
    // A model that moved: the hub answers by where it is now.
    if let Some(rest) = place.strip_prefix("/api/models/old/name/") {
        let location = format!("Location: /api/models/org/name/{rest}\r\n");
        return (307, location, Vec::new());
    }
    if let Some(rest) = place.strip_prefix("/old/name/") {
        return (307, format!("Location: /org/name/{rest}\r\n"), Vec::new());
    }
    let Some(path) = place.strip_prefix(&format!("/org/name/resolve/{commit}/")) else {
        return error(404, "RepoNotFound");
    };
    if repository.is_gated {
        return error(if asked.token.is_some() { 403 } else { 401 }, "GatedRepo");
    }
    let Some(bytes) = files.get(path) else { return error(404, "EntryNotFound") };
    if is_large(path) {
        let (sum, size) = (sha256(bytes), bytes.len());
        let headers = format!(
            "X-Repo-Commit: {commit}\r\nX-Linked-Etag: \"{sum}\"\r\nX-Linked-Size: {size}\r\n\
             Location: {elsewhere}/lfs/{sum}?signature=x\r\n"
        );
        return (302, headers, Vec::new());
    }
    let headers = format!("X-Repo-Commit: {commit}\r\nETag: \"{}\"\r\n", git(bytes));
    (200, headers, bytes.clone())
}

fn of_store(repository: &Repository, place: &str) -> Answer {
    let sum = place.strip_prefix("/lfs/").unwrap_or_default();
    match repository.files.values().find(|bytes| sha256(bytes) == sum) {
        Some(bytes) => (200, format!("ETag: \"{}\"\r\n", &sum[..32]), bytes.clone()),
        None => (404, String::new(), Vec::new()),
    }
}
