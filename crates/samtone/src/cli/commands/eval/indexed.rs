//! A split's queries in an index of its documents.

use std::collections::HashMap;

use burn::tensor::backend::Backend;
use samtone_eval::Run;
use samtone_model::{ModelError, Retriever, Side};
use samtone_train::run::{Embedded, JudgedSplit};

use super::Args;
use crate::cluster::{Asked, Cluster, Place};
use crate::commands::passages::not_hybrid;
use crate::commands::reading::{Watch, cut, model_folder};
use crate::encoding::fingerprint;
use crate::error::Failure;
use crate::index::Index;

/// What is found in `index` for the split's queries, the only texts that are embedded.
pub(super) fn search_index<B: Backend>(
    args: &Args,
    index: &Place,
    retriever: &Retriever<B>,
    split: &JudgedSplit<'_>,
) -> anyhow::Result<Run> {
    let model = args.model.as_deref().expect("clap asks for it");
    let (name, model) = (format!("`{}`", model.display()), fingerprint(&model_folder(model)?)?);
    let texts = split.query_texts();
    let ids = split.query_ids();
    let queries = || -> anyhow::Result<Vec<f32>> {
        let mut watch = Watch::default();
        let tokens = |range| retriever.tokenize(Side::Query, &texts[range]);
        let embedded = Embedded::of(
            retriever,
            (texts.len(), tokens),
            (0, |_| Ok::<_, ModelError>(Vec::new())),
            args.batch_size,
            &mut |side, done, total| watch.at(side, done, total),
        )?;
        watch.end();
        Ok(embedded.queries)
    };
    match index {
        Place::Folder(folder) => {
            if args.hybrid {
                return Err(not_hybrid().into());
            }
            let index = Index::open(folder, args.ef)?;
            let documents = &index.documents;
            if documents.origin.as_ref().is_some_and(|origin| origin.model != model) {
                let folder = folder.display();
                let message = format!("{name} and `{folder}` were embedded by different models");
                return Err(Failure::new(message, "encode the documents again").into());
            }
            let own: Vec<Option<usize>> = if args.drop_own {
                let places: HashMap<&str, usize> =
                    documents.ids.iter().zip(0..).map(|(id, place)| (id.as_str(), place)).collect();
                ids.iter().map(|id| places.get(id).copied()).collect()
            } else {
                Vec::new()
            };
            let (dim, similarity) = (documents.dim, index.similarity);
            let queries = cut(queries()?.into(), retriever.dim(), dim, similarity);
            let hits = index.nearest(&queries, args.k, args.rescore, &own)?;
            Ok(Run::from_hits(&ids, &documents.ids, &hits)?)
        }
        Place::Cluster(address) => {
            let cluster = Cluster::open(address)?;
            cluster.check_model(&model, &name)?;
            if args.hybrid {
                cluster.check_hybrid()?;
            }
            let own = if args.drop_own { &ids[..] } else { &[] };
            let (dim, similarity) = (cluster.dim(), cluster.similarity());
            let queries = cut(queries()?.into(), retriever.dim(), dim, similarity);
            let words = args.hybrid.then_some(&texts[..]);
            let asked = Asked { queries: &queries, texts: words, k: args.k, ef: args.ef, own };
            let found = cluster.search(&asked)?;
            Ok(Run::from_hits(&ids, &found.ids, &found.hits)?)
        }
    }
}
