//! What can be wrong with a model that is named.

use std::path::PathBuf;

use crate::name::{ModelName, NotAName};

/// A model that is not there, or cannot be fetched.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HubError {
    /// No model is called so.
    #[error(transparent)]
    Name(#[from] NotAName),
    /// No variable says where the user's files lie.
    #[error("neither `HF_HUB_CACHE`, `HF_HOME`, `XDG_CACHE_HOME` nor `HOME` is set")]
    NoHome,
    /// The cache does not hold the model.
    #[error("the Hugging Face cache `{}` holds no model `{}`", cache.display(), name.repository())]
    NotCached {
        /// What was looked for.
        name: ModelName,
        /// Where.
        cache: PathBuf,
    },
    /// The cache holds the model, at other commits.
    #[error(
        "`{}` holds the model at {}, not at `{}`",
        folder.display(),
        listed(known, "no commit"),
        name.revision_or_main()
    )]
    NoRevision {
        /// What was looked for.
        name: ModelName,
        /// The model's folder in the cache.
        folder: PathBuf,
        /// The revisions and commits that are there.
        known: Vec<String>,
    },
    /// Several commits begin as the revision does.
    #[error("`{name}` could be {}", listed(commits, "nothing"))]
    Ambiguous {
        /// What was looked for.
        name: ModelName,
        /// The commits.
        commits: Vec<String>,
    },
    /// The cache holds a part of the model's files.
    #[error(
        "`{}` is a part of the model: {} may be missing{}",
        snapshot.display(),
        listed(missing, "nothing"),
        unfinished(*partial)
    )]
    Part {
        /// What was looked for.
        name: ModelName,
        /// The folder of its commit.
        snapshot: PathBuf,
        /// The files that are not there, or could be wanting: nothing says that the model has none.
        missing: Vec<String>,
        /// Files that some download left half-written.
        partial: usize,
    },
    /// A file of the cache cannot be read or written.
    #[error("cannot access `{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The environment forbids to go to the network.
    #[error("`{variable}` is set: nothing is downloaded")]
    Offline {
        /// Which variable does.
        variable: &'static str,
    },
    /// The hub's address is none.
    #[error(
        "`HF_ENDPOINT` is `{got}`, expected the address of a hub, as in `https://huggingface.co`"
    )]
    Endpoint {
        /// What was given.
        got: String,
    },
    /// The hub does not answer.
    #[error("cannot reach `{host}`")]
    Unreachable {
        /// Where it was looked for.
        host: String,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The hub has no such model, or does not show it to this user.
    #[error("`{endpoint}` shows no model `{}`", name.repository())]
    NotOnHub {
        /// What was looked for.
        name: ModelName,
        /// Where.
        endpoint: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The hub has the model, and no such revision.
    #[error("`{}` has no revision `{}` on the hub", name.repository(), name.revision_or_main())]
    NoRevisionOnHub {
        /// What was looked for.
        name: ModelName,
    },
    /// The model is given to those who asked for it.
    #[error("`{}` is gated: its owner grants access to it", name.repository())]
    Gated {
        /// The model.
        name: ModelName,
        /// The hub that has it.
        endpoint: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// The hub does not take the token, or not for this model.
    #[error("the hub refuses access to `{}`{}", name.repository(), said(message))]
    Refused {
        /// The model.
        name: ModelName,
        /// What the hub says about it.
        message: String,
        /// Whether a token was sent.
        with_token: bool,
    },
    /// An answer that is not the one wanted.
    #[error("`{url}` answers {status}{}", said(message))]
    Answer {
        /// What was asked for.
        url: String,
        /// The answer's status.
        status: u16,
        /// What the hub says about it.
        message: String,
    },
    /// An answer that cannot be understood.
    #[error("cannot read the answer of `{url}`")]
    Listing {
        /// What was asked for.
        url: String,
        /// Why.
        #[source]
        source: serde_json::Error,
    },
    /// The hub names something that may not become a file's name, or gives a file no sum.
    #[error("`{}` has {what} `{got}` on the hub, expected {expected}", name.repository())]
    Strange {
        /// The model.
        name: ModelName,
        /// What is strange.
        what: &'static str,
        /// How it reads.
        got: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The repository has no files that a model is read from.
    #[error("`{name}` has no {expected} on the hub: {}", listed(files, "it is empty"))]
    NoModel {
        /// What was asked for.
        name: ModelName,
        /// What is wanted.
        expected: &'static str,
        /// What there is.
        files: Vec<String>,
    },
    /// A file's bytes are not those that the hub promised.
    #[error("`{file}` arrived broken: its sum is {got}, expected {expected}")]
    Sum {
        /// The file.
        file: String,
        /// The promised sum.
        expected: String,
        /// That of what came.
        got: String,
    },
    /// A file has more or fewer bytes than the hub promised.
    #[error("`{file}` arrived with {got} bytes, expected {expected}")]
    Size {
        /// The file.
        file: String,
        /// The promised size, in bytes.
        expected: u64,
        /// That of what came.
        got: u64,
    },
}

impl HubError {
    /// What to try next, where there is a likely answer.
    pub fn hint(&self) -> Option<String> {
        let token = "`HF_TOKEN=... samtone download`, or once `hf auth login`";
        Some(match self {
            Self::NotCached { name, .. } | Self::NoRevision { name, .. } => {
                format!("if it is one of the hub's, fetch it: `samtone download {name}`")
            }
            Self::Part { name, .. } => format!("fetch what it lacks: `samtone download {name}`"),
            Self::Ambiguous { .. } => "give more of the commit's digits".into(),
            Self::Offline { variable } => format!("`{variable}=0` lets this command download"),
            Self::Unreachable { .. } => "a proxy is named by `HTTPS_PROXY`, another hub by \
                 `HF_ENDPOINT`; where there is no network, copy the model's folder here and give its \
                 path"
                .into(),
            Self::NotOnHub { with_token: false, .. } => {
                format!("check the spelling; a private model is shown to who has a token: {token}")
            }
            Self::NotOnHub { with_token: true, .. } => {
                "check the spelling, and whether your token may read it".into()
            }
            Self::Gated { name, endpoint, with_token } => {
                let page = format!("{endpoint}/{}", name.repository());
                if *with_token {
                    format!("ask for access at {page}, with the account that your token is of")
                } else {
                    format!("ask for access at {page}, then give a token: {token}")
                }
            }
            Self::Refused { with_token: true, .. } => {
                "the token may have expired, or may not read this model".into()
            }
            Self::Refused { with_token: false, .. } => format!("give a token: {token}"),
            Self::Answer { status: 429, .. } => {
                format!("the hub wants fewer questions: wait, or give a token: {token}")
            }
            Self::Answer { status: 500.., .. } => {
                "the hub has trouble of its own: try again later, what arrived is kept".into()
            }
            Self::NoModel { .. } => {
                "samtone reads transformers' and sentence-transformers' models, from safetensors".into()
            }
            Self::Sum { .. } | Self::Size { .. } => {
                "it was thrown away: try again, perhaps without the proxy".into()
            }
            _ => return None,
        })
    }
}

/// The first of `names` in backticks, or `none` where there are none.
fn listed(names: &[String], none: &str) -> String {
    const MOST: usize = 8;
    let mut shown: Vec<String> = names.iter().take(MOST).map(|name| format!("`{name}`")).collect();
    if names.len() > MOST {
        shown.push(format!("{} more", names.len() - MOST));
    }
    if shown.is_empty() { none.to_owned() } else { shown.join(", ") }
}

fn unfinished(partial: usize) -> String {
    match partial {
        0 => String::new(),
        1 => "; a download of one file was broken off".into(),
        n => format!("; downloads of {n} files were broken off"),
    }
}

/// What a hub says of a refusal, if anything.
fn said(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}
