//! Qdrant, by its own client.
//!
//! A point's id is a UUID made of the document's id, so that who puts a document twice puts it in its own
//! place; the id itself stands in the payload. While documents come there is no graph (`m` is 0).

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail};
use qdrant_client::qdrant::vectors_config::Config;
use qdrant_client::qdrant::{
    CollectionInfo, CollectionStatus, CountPointsBuilder, CreateCollectionBuilder, Distance,
    GetPointsBuilder, HnswConfigDiffBuilder, NamedVectors, PayloadIncludeSelector, PointId,
    PointStruct, Query, QueryBatchPointsBuilder, QueryPoints, QueryPointsBuilder,
    SearchParamsBuilder, SparseVectorParams, UpdateCollectionBuilder, UpsertPointsBuilder, Value,
    Vector, VectorInput, VectorParamsBuilder, VectorParamsMap,
};
use qdrant_client::{Payload, Qdrant};
use samtone_eval::bm25::SparseVector;
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::address::Address;
use super::engine::{Engine, Found, Row, Words};
use crate::index::Settings;

/// Where the server's key is.
const KEY: &str = "QDRANT_API_KEY";

/// The two vectors of a point.
const EMBEDDING: &str = "embedding";
const BM25: &str = "bm25";

/// What a payload holds beside the texts.
const ID: &str = "_id";
const STAMP: &str = "stamp";

/// The key of the card in a collection's metadata.
const CARD: &str = "samtone";

/// How long an answer may take: a batch of exact searches is long.
const PATIENCE: Duration = Duration::from_mins(10);

/// Between two looks at a collection whose graph is being built; it is done when two find it so, for the
/// first may come before the work begins.
const LOOK: Duration = Duration::from_millis(250);

pub(super) struct Collection {
    runtime: Runtime,
    client: Qdrant,
    name: String,
    settings: Settings,
}

impl Collection {
    pub(super) fn new(address: &Address, settings: Settings) -> anyhow::Result<Self> {
        let runtime = super::runtime()?;
        // Its check of versions writes to stdout.
        let client = Qdrant::from_url(&address.url())
            .api_key(std::env::var(KEY))
            .timeout(PATIENCE)
            .skip_compatibility_check()
            .build()?;
        Ok(Self { runtime, client, name: address.collection.clone(), settings })
    }

    async fn info(&self) -> anyhow::Result<Option<CollectionInfo>> {
        if !self.client.collection_exists(&self.name).await? {
            return Ok(None);
        }
        Ok(self.client.collection_info(&self.name).await?.result)
    }

    /// What is found for each of `queries`, compared with the vectors called `using`.
    fn search(
        &self,
        queries: impl Iterator<Item = VectorInput>,
        using: &str,
        k: usize,
        ef: Option<usize>,
    ) -> anyhow::Result<Vec<Vec<Found>>> {
        let query = |input: VectorInput| -> QueryPoints {
            let query = QueryPointsBuilder::new(&self.name)
                .query(Query::new_nearest(input))
                .using(using)
                .limit(k as u64)
                .with_payload(PayloadIncludeSelector { fields: vec![ID.into()] });
            match ef {
                Some(ef) => query.params(SearchParamsBuilder::default().hnsw_ef(ef as u64)).into(),
                None => query.into(),
            }
        };
        let batch =
            QueryBatchPointsBuilder::new(&self.name, queries.map(query).collect::<Vec<_>>());
        let answer = self.runtime.block_on(self.client.query_batch(batch))?;
        let found = |mut point: qdrant_client::qdrant::ScoredPoint| {
            let id = text(&mut point.payload, ID)?;
            Ok(Found { id, score: point.score })
        };
        let all = |result: qdrant_client::qdrant::BatchResult| {
            result.result.into_iter().map(found).collect()
        };
        answer.result.into_iter().map(all).collect()
    }
}

impl Engine for Collection {
    fn card(&self) -> anyhow::Result<Option<String>> {
        let info = self.runtime.block_on(self.info())?;
        Ok(info.map(|info| {
            let mut metadata = info.config.map(|config| config.metadata).unwrap_or_default();
            text(&mut metadata, CARD).unwrap_or_default()
        }))
    }

    fn create(&self, card: &str, dim: usize, has_terms: bool) -> anyhow::Result<()> {
        // Of the cosine too: vectors have length 1 then, and Qdrant would compute these once more.
        let vector = VectorParamsBuilder::new(dim as u64, Distance::Dot).build();
        let vectors = VectorParamsMap { map: [(EMBEDDING.to_owned(), vector)].into() };
        let graph = HnswConfigDiffBuilder::default().m(0);
        let graph = graph.ef_construct(self.settings.expansion as u64);
        let mut collection = CreateCollectionBuilder::new(&self.name)
            .vectors_config(Config::ParamsMap(vectors))
            .hnsw_config(graph);
        if has_terms {
            let sparse = HashMap::from([(BM25.to_owned(), SparseVectorParams::default())]);
            collection = collection.sparse_vectors_config(sparse);
        }
        let mut collection = collection.build();
        collection.metadata.insert(CARD.to_owned(), card.into());
        self.runtime.block_on(self.client.create_collection(collection))?;
        Ok(())
    }

    fn ready(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn stamps(&self, ids: &[&str]) -> anyhow::Result<HashMap<String, String>> {
        let points: Vec<PointId> = ids.iter().map(|id| point(id)).collect();
        let fields = vec![ID.into(), STAMP.into()];
        let get = GetPointsBuilder::new(&self.name, points)
            .with_payload(PayloadIncludeSelector { fields })
            .with_vectors(false);
        let points = self.runtime.block_on(self.client.get_points(get))?.result.into_iter();
        let stamp = |mut point: qdrant_client::qdrant::RetrievedPoint| {
            Ok((text(&mut point.payload, ID)?, text(&mut point.payload, STAMP)?))
        };
        points.map(stamp).collect()
    }

    fn put(&self, rows: &[Row<'_>]) -> anyhow::Result<()> {
        let points: Vec<PointStruct> = rows.iter().map(point_of).collect();
        let upsert = UpsertPointsBuilder::new(&self.name, points).wait(true);
        self.runtime.block_on(self.client.upsert_points(upsert))?;
        Ok(())
    }

    fn finish(&self) -> anyhow::Result<()> {
        let graph = HnswConfigDiffBuilder::default().m(self.settings.connectivity as u64);
        let update = UpdateCollectionBuilder::new(&self.name).hnsw_config(graph);
        self.runtime.block_on(async {
            self.client.update_collection(update.clone()).await?;
            let mut looks = 0;
            while looks < 2 {
                tokio::time::sleep(LOOK).await;
                let info = self.info().await?.context("the collection is gone")?;
                looks = match info.status() {
                    CollectionStatus::Green => looks + 1,
                    CollectionStatus::Red => {
                        let error = info.optimizer_status.map(|status| status.error);
                        bail!("the graph cannot be built: {}", error.unwrap_or_default());
                    }
                    // A server that was started anew waits to be told once more.
                    CollectionStatus::Grey => {
                        self.client.update_collection(update.clone()).await?;
                        0
                    }
                    _ => 0,
                };
            }
            Ok(())
        })
    }

    fn count(&self) -> anyhow::Result<usize> {
        let count = CountPointsBuilder::new(&self.name).exact(true);
        let answer = self.runtime.block_on(self.client.count(count))?;
        Ok(answer.result.map_or(0, |result| result.count as usize))
    }

    fn nearest(&self, queries: &[&[f32]], k: usize, ef: usize) -> anyhow::Result<Vec<Vec<Found>>> {
        let queries = queries.iter().map(|query| VectorInput::new_dense(query.to_vec()));
        self.search(queries, EMBEDDING, k, Some(ef))
    }

    fn by_terms(&self, queries: &[&SparseVector], k: usize) -> anyhow::Result<Vec<Vec<Found>>> {
        let input = |query: &&SparseVector| {
            let SparseVector { indices, values } = (*query).clone();
            VectorInput::new_sparse(indices, values)
        };
        self.search(queries.iter().map(input), BM25, k, None)
    }
}

/// The number of the document `id`.
fn point(id: &str) -> PointId {
    Uuid::new_v5(&Uuid::NAMESPACE_OID, id.as_bytes()).to_string().into()
}

fn point_of(row: &Row<'_>) -> PointStruct {
    let mut payload = Payload::new();
    payload.insert(ID, row.id);
    payload.insert(STAMP, row.stamp.as_str());
    let mut vectors = HashMap::from([(EMBEDDING.to_owned(), Vector::from(row.vector.clone()))]);
    if let Some(Words { title, text, terms }) = &row.words {
        payload.insert("title", *title);
        payload.insert("text", *text);
        let SparseVector { indices, values } = terms.clone();
        vectors.insert(BM25.to_owned(), Vector::new_sparse(indices, values));
    }
    PointStruct::new(point(row.id), NamedVectors { vectors }, payload)
}

/// Takes a text out of a payload.
fn text(payload: &mut HashMap<String, Value>, key: &str) -> anyhow::Result<String> {
    let value = payload.remove(key);
    let text = value.as_ref().and_then(|value| value.as_str()).map(ToString::to_string);
    text.with_context(|| format!("a point without `{key}`: another program put it there"))
}
