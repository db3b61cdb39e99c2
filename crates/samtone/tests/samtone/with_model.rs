//! What the commands do with a model: a tiny one of random weights, or trained for a few steps.

mod ask;
mod by_name;
mod clusters;
mod compared;
mod encode;
mod index;
mod judged;
mod mine;
mod parts;
mod precision;
mod scored;
mod search;
#[cfg(all(unix, feature = "serve"))]
mod serve;
mod tiny;
