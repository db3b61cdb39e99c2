//! Models by their names on the Hugging Face hub.
//!
//! [`HubCache`] finds a model in the cache that Hugging Face's libraries keep on this machine, from
//! its [`ModelName`]: `organisation/name`, and behind an `@` a branch, a tag or a commit. What is found
//! is a [`Snapshot`]: the folder of one commit, whole as far as can be told. Nothing is fetched.
//!
//! With the feature `download`, `HubClient` fetches into the same cache what a retriever needs, so that
//! `huggingface_hub` finds it as well: sums are checked, what broke off goes on, and a revision names
//! a commit only when all its files are there.
//!
//! Models are read elsewhere (`samtone-model`): here are names, folders and files.
//!
//! # Examples
//!
//! ```
//! use samtone_hub::{HubCache, HubError, ModelName};
//!
//! let name: ModelName = "sentence-transformers/all-MiniLM-L6-v2@main".parse()?;
//! assert_eq!(name.revision(), Some("main"));
//!
//! let cache = HubCache::new("no/such/folder".into());
//! let error = cache.find(&name).unwrap_err();
//! assert!(matches!(error, HubError::NotCached { .. }));
//! # Ok::<(), HubError>(())
//! ```

mod cache;
#[cfg(feature = "download")]
mod download;
mod environment;
mod error;
mod files;
mod name;
mod parse;

pub use cache::{HubCache, Snapshot};
#[cfg(feature = "download")]
pub use download::{Download, DownloadEvent, HubClient};
pub use error::HubError;
pub use name::ModelName;
