//! Milvus, by its gRPC protocol.
//!
//! Documents are put by upsert: who puts one twice puts it in its own place. The index is described before
//! the first one, for a collection without it answers nothing, and Milvus builds it segment by segment.

mod messages;

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use prost::Message;
use samtone_eval::bm25::SparseVector;
use serde_json::json;
use tokio::runtime::Runtime;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::AsciiMetadataValue;
use tonic::transport::{Channel, ClientTlsConfig, Endpoint};
use tonic_prost::ProstCodec;

use self::messages::{
    Answer, Ask, CollectionSchema, CreateCollection, CreateIndex, DataType, DescribeCollection,
    DescribeIndex, Done, Field, FieldData, FieldSchema, FloatArray, Flush, GetLoadState,
    HasCollection, KeyValuePair, LoadState, Named, PlaceholderGroup, PlaceholderValue, Query,
    QueryResults, ScalarField, Scalars, SearchResultData, SearchResults, SparseFloatArray, Status,
    StringArray, Upsert, VectorField, Vectors,
};
use super::address::Address;
use super::engine::{Engine, Found, Row, Words};
use crate::index::Settings;

/// Where the server's token is: a key, or `USER:PASSWORD`.
const TOKEN: &str = "MILVUS_TOKEN";

/// The fields of a document.
const ID: &str = "id";
const STAMP: &str = "stamp";
const EMBEDDING: &str = "embedding";
const TITLE: &str = "title";
const TEXT: &str = "text";
const BM25: &str = "bm25";

/// The key of the card in a collection's properties.
const CARD: &str = "samtone";

/// Bytes of a text field at most; what is longer is cut, as nobody searches by it.
const BYTES: usize = 65_535;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(10);

/// Between two looks at work that goes on.
const LOOK: Duration = Duration::from_millis(250);

/// Milvus's `IndexState` and `LoadState`.
const FINISHED: i32 = 3;
const FAILED: i32 = 4;
const LOADED: i32 = 3;

pub(super) struct Collection {
    runtime: Runtime,
    channel: Channel,
    /// What every call says of who calls.
    authorization: Option<AsciiMetadataValue>,
    name: String,
    settings: Settings,
}

impl Collection {
    pub(super) fn new(address: &Address, settings: Settings) -> anyhow::Result<Self> {
        let runtime = super::runtime()?;
        let mut endpoint = Endpoint::from_shared(address.url())?.timeout(PATIENCE);
        if address.is_secure {
            endpoint = endpoint.tls_config(ClientTlsConfig::new().with_native_roots())?;
        }
        let channel = {
            let _runtime = runtime.enter();
            endpoint.connect_lazy()
        };
        let authorization = match std::env::var(TOKEN) {
            Ok(token) => Some(BASE64_STANDARD.encode(token).parse()?),
            Err(_) => None,
        };
        Ok(Self { runtime, channel, authorization, name: address.collection.clone(), settings })
    }

    /// Calls `method`.
    fn call<A: Answer>(
        &self,
        method: &'static str,
        request: impl Message + 'static,
    ) -> anyhow::Result<A> {
        let answer = self.runtime.block_on(self.send(method, request));
        let answer: A = answer.with_context(|| format!("`{method}` failed"))?;
        if let Some(Status { error_code, reason, code }) = answer.status()
            && (*error_code, *code) != (0, 0)
        {
            bail!("`{method}` failed: {reason} ({})", if *code == 0 { error_code } else { code });
        }
        Ok(answer)
    }

    async fn send<A: Answer>(
        &self,
        method: &str,
        request: impl Message + 'static,
    ) -> anyhow::Result<A> {
        let mut client = tonic::client::Grpc::new(self.channel.clone())
            .max_decoding_message_size(usize::MAX)
            .max_encoding_message_size(usize::MAX);
        client.ready().await?;
        let path = PathAndQuery::try_from(format!("/milvus.proto.milvus.MilvusService/{method}"))?;
        let mut request = tonic::Request::new(request);
        if let Some(authorization) = &self.authorization {
            request.metadata_mut().insert("authorization", authorization.clone());
        }
        Ok(client.unary(request, path, ProstCodec::default()).await?.into_inner())
    }

    fn named(&self) -> Named {
        Named { collection_name: self.name.clone() }
    }

    fn wait(&self) {
        self.runtime.block_on(tokio::time::sleep(LOOK));
    }

    /// What is found for each of `values`, compared with the field `using`.
    fn search(
        &self,
        r#type: DataType,
        values: Vec<Vec<u8>>,
        using: &str,
        k: usize,
        params: &serde_json::Value,
    ) -> anyhow::Result<Vec<Vec<Found>>> {
        let nq = values.len();
        let value = PlaceholderValue { tag: "$0".into(), r#type: r#type.into(), values };
        let ask = Ask {
            collection_name: self.name.clone(),
            placeholder_group: PlaceholderGroup { placeholders: vec![value] }.encode_to_vec(),
            dsl_type: 1,
            search_params: pairs(&[
                ("anns_field", using),
                ("topk", &k.to_string()),
                ("metric_type", "IP"),
                ("params", &params.to_string()),
                ("round_decimal", "-1"),
            ]),
            nq: nq as i64,
        };
        let answer: SearchResults = self.call("Search", ask)?;
        let SearchResultData { scores, ids, topks } = answer.results.unwrap_or_default();
        let ids = ids.and_then(|ids| ids.str_id).unwrap_or_default().data;
        let counts: Vec<usize> = topks.into_iter().map(number).collect();
        let all: usize = counts.iter().sum();
        ensure!((ids.len(), scores.len()) == (all, all), "`Search` answers with other numbers");
        let mut found = ids.into_iter().zip(scores).map(|(id, score)| Found { id, score });
        // Who finds nothing for any says no more.
        let counts = if counts.is_empty() { vec![0; nq] } else { counts };
        Ok(counts.into_iter().map(|count| found.by_ref().take(count).collect()).collect())
    }
}

impl Engine for Collection {
    fn card(&self) -> anyhow::Result<Option<String>> {
        let answer: HasCollection = self.call("HasCollection", self.named())?;
        if !answer.value {
            return Ok(None);
        }
        let answer: DescribeCollection = self.call("DescribeCollection", self.named())?;
        let card = answer.properties.into_iter().find(|pair| pair.key == CARD);
        Ok(Some(card.map(|pair| pair.value).unwrap_or_default()))
    }

    fn create(&self, card: &str, dim: usize, has_terms: bool) -> anyhow::Result<()> {
        let field = |name: &str, r#type: DataType, key: &str, value: &str| FieldSchema {
            name: name.into(),
            is_primary_key: name == ID,
            data_type: r#type.into(),
            type_params: if key.is_empty() { Vec::new() } else { pairs(&[(key, value)]) },
        };
        let text = |name| field(name, DataType::VarChar, "max_length", &BYTES.to_string());
        let embedding = field(EMBEDDING, DataType::FloatVector, "dim", &dim.to_string());
        let mut fields = vec![text(ID), text(STAMP), embedding];
        if has_terms {
            let terms = field(BM25, DataType::SparseFloatVector, "", "");
            fields.extend([text(TITLE), text(TEXT), terms]);
        }
        let description = "embeddings, by samtone".into();
        let schema = CollectionSchema { name: self.name.clone(), description, fields };
        let create = CreateCollection {
            collection_name: self.name.clone(),
            schema: schema.encode_to_vec(),
            properties: pairs(&[(CARD, card)]),
        };
        let _: Status = self.call("CreateCollection", create)?;
        Ok(())
    }

    fn ready(&self) -> anyhow::Result<()> {
        let described: DescribeCollection = self.call("DescribeCollection", self.named())?;
        let fields = described.schema.unwrap_or_default().fields;
        // Fails where there is no index yet.
        let known = self.call::<DescribeIndex>("DescribeIndex", self.named()).unwrap_or_default();
        let Settings { connectivity, expansion } = self.settings;
        let graph = json!({ "M": connectivity, "efConstruction": expansion });
        for (field_name, index, params) in
            [(EMBEDDING, "HNSW", graph), (BM25, "SPARSE_INVERTED_INDEX", json!({}))]
        {
            let is_known = known.index_descriptions.iter().any(|of| of.field_name == field_name);
            if is_known || !fields.iter().any(|field| field.name == field_name) {
                continue;
            }
            let create = CreateIndex {
                collection_name: self.name.clone(),
                field_name: field_name.into(),
                extra_params: pairs(&[
                    ("index_type", index),
                    ("metric_type", "IP"),
                    ("params", &params.to_string()),
                ]),
                index_name: field_name.into(),
            };
            let made: anyhow::Result<Status> = self.call("CreateIndex", create);
            // Another worker may have been faster.
            let is_there = |known: DescribeIndex| {
                known.index_descriptions.iter().any(|of| of.field_name == field_name)
            };
            if made.is_err() && !self.call("DescribeIndex", self.named()).is_ok_and(is_there) {
                made?;
            }
        }
        let _: Status = self.call("LoadCollection", self.named())?;
        loop {
            let state = GetLoadState { collection_name: self.name.clone() };
            if self.call::<LoadState>("GetLoadState", state)?.state == LOADED {
                return Ok(());
            }
            self.wait();
        }
    }

    fn stamps(&self, ids: &[&str]) -> anyhow::Result<HashMap<String, String>> {
        let query = Query {
            collection_name: self.name.clone(),
            // An expression's texts are written as JSON's.
            expr: format!("{ID} in {}", serde_json::to_string(ids)?),
            output_fields: vec![ID.into(), STAMP.into()],
        };
        let answer: QueryResults = self.call("Query", query)?;
        let mut columns = answer.fields_data.into_iter();
        let mut column = |name: &str| {
            let column = columns.find(|column| column.field_name == name)?;
            match column.field? {
                Field::Scalars(ScalarField { data: Some(Scalars::Strings(texts)) }) => {
                    Some(texts.data)
                }
                _ => None,
            }
        };
        let (ids, stamps) = (column(ID).unwrap_or_default(), column(STAMP).unwrap_or_default());
        ensure!(ids.len() == stamps.len(), "`Query` answers with other columns");
        Ok(ids.into_iter().zip(stamps).collect())
    }

    fn put(&self, rows: &[Row<'_>]) -> anyhow::Result<()> {
        let texts = |name: &str, text: &dyn Fn(&Row<'_>) -> String| FieldData {
            r#type: DataType::VarChar.into(),
            field_name: name.into(),
            field: Some(Field::Scalars(ScalarField {
                data: Some(Scalars::Strings(StringArray { data: rows.iter().map(text).collect() })),
            })),
        };
        let vectors = |name: &str, r#type: DataType, dim: usize, data: Vectors| FieldData {
            r#type: r#type.into(),
            field_name: name.into(),
            field: Some(Field::Vectors(VectorField { dim: dim as i64, data: Some(data) })),
        };
        let numbers = rows.iter().flat_map(|row| row.vector.iter().copied()).collect();
        let dim = rows.first().map_or(0, |row| row.vector.len());
        let floats = Vectors::Floats(FloatArray { data: numbers });
        let mut fields_data = vec![
            texts(ID, &|row| row.id.to_owned()),
            texts(STAMP, &|row| row.stamp.clone()),
            vectors(EMBEDDING, DataType::FloatVector, dim, floats),
        ];
        let words: Vec<&Words<'_>> = rows.iter().filter_map(|row| row.words.as_ref()).collect();
        if !words.is_empty() {
            let text = |of: &dyn Fn(&Words<'_>) -> String, row: &Row<'_>| {
                row.words.as_ref().map(of).unwrap_or_default()
            };
            fields_data.push(texts(TITLE, &|row| text(&|words| cut(words.title), row)));
            fields_data.push(texts(TEXT, &|row| text(&|words| cut(words.text), row)));
            let contents = words.iter().map(|words| bytes(&words.terms)).collect();
            let places = words.iter().filter_map(|words| words.terms.indices.last());
            let dim = places.max().map_or(0, |&last| last as usize + 1);
            let sparse = Vectors::Sparse(SparseFloatArray { contents, dim: dim as i64 });
            fields_data.push(vectors(BM25, DataType::SparseFloatVector, dim, sparse));
        }
        let upsert =
            Upsert { collection_name: self.name.clone(), fields_data, num_rows: rows.len() as u32 };
        let _: Done = self.call("Upsert", upsert)?;
        Ok(())
    }

    fn finish(&self) -> anyhow::Result<()> {
        let _: Done = self.call("Flush", Flush { collection_names: vec![self.name.clone()] })?;
        loop {
            let known: DescribeIndex = self.call("DescribeIndex", self.named())?;
            let indexes = &known.index_descriptions;
            if let Some(failed) = indexes.iter().find(|index| index.state == FAILED) {
                bail!("the index cannot be built: {}", failed.index_state_fail_reason);
            }
            let is_done = |index: &messages::IndexDescription| {
                index.state == FINISHED && index.pending_index_rows == 0
            };
            if indexes.iter().all(is_done) {
                return Ok(());
            }
            self.wait();
        }
    }

    fn count(&self) -> anyhow::Result<usize> {
        let query = Query {
            collection_name: self.name.clone(),
            expr: String::new(),
            output_fields: vec!["count(*)".into()],
        };
        let answer: QueryResults = self.call("Query", query)?;
        let column = answer.fields_data.into_iter().next().and_then(|column| column.field);
        match column {
            Some(Field::Scalars(ScalarField { data: Some(Scalars::Longs(longs)) })) => {
                Ok(longs.data.first().copied().map_or(0, number))
            }
            _ => bail!("`Query` answers with other columns"),
        }
    }

    fn nearest(&self, queries: &[&[f32]], k: usize, ef: usize) -> anyhow::Result<Vec<Vec<Found>>> {
        let values = queries.iter().map(|row| row.iter().flat_map(|x| x.to_le_bytes()).collect());
        let params = json!({ "ef": ef });
        self.search(DataType::FloatVector, values.collect(), EMBEDDING, k, &params)
    }

    fn by_terms(&self, queries: &[&SparseVector], k: usize) -> anyhow::Result<Vec<Vec<Found>>> {
        let values = queries.iter().map(|vector| bytes(vector)).collect();
        self.search(DataType::SparseFloatVector, values, BM25, k, &json!({}))
    }
}

/// A count.
fn number(count: i64) -> usize {
    usize::try_from(count).unwrap_or(0)
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<KeyValuePair> {
    let pair = |&(key, value): &(&str, &str)| KeyValuePair { key: key.into(), value: value.into() };
    pairs.iter().map(pair).collect()
}

/// Pairs of a place, u32, and a number, f32.
fn bytes(vector: &SparseVector) -> Vec<u8> {
    let pairs = vector.indices.iter().zip(&vector.values);
    pairs.flat_map(|(index, value)| [index.to_le_bytes(), value.to_le_bytes()]).flatten().collect()
}

/// The beginning of a text that is too long.
fn cut(text: &str) -> String {
    text[..text.floor_char_boundary(BYTES)].to_owned()
}
