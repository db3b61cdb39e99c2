//! A server of Qdrant's protocol, of the traits that its client is generated with: it compares all points.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use ::qdrant_client::qdrant::collections_server::{Collections, CollectionsServer};
use ::qdrant_client::qdrant::points_server::{Points, PointsServer};
use ::qdrant_client::qdrant::vectors_config::Config;
use ::qdrant_client::qdrant::with_payload_selector::SelectorOptions;
use ::qdrant_client::qdrant::*;
use tokio::runtime::Runtime;
use tonic::transport::server::TcpIncoming;
use tonic::{Request, Response, Status};

/// How long a write takes: others come meanwhile.
const WRITE: Duration = Duration::from_millis(10);

/// A server at a free port of this machine, ended with this.
pub(super) struct Server {
    state: State,
    address: String,
    _runtime: Runtime,
}

#[derive(Clone, Default)]
struct State(Arc<Shared>);

#[derive(Default)]
struct Shared {
    collections: Mutex<HashMap<String, Collection>>,
    /// Writes from now on that are done before one fails.
    lasts: Mutex<Option<usize>>,
    /// Whether a write waits, for ever.
    is_held: AtomicBool,
    /// Writes now, and at most.
    writes: AtomicUsize,
    most: AtomicUsize,
}

pub(super) struct Collection {
    pub(super) made: CreateCollection,
    points: BTreeMap<String, PointStruct>,
    /// Points that were put, of each write, and the neighbours in the graph then.
    pub(super) writes: Vec<(usize, u64)>,
    pub(super) neighbours: u64,
    /// Looks until the graph is built.
    pending: usize,
    /// `hnsw_ef` of the last search.
    pub(super) ef: Option<u64>,
}

impl Server {
    pub(super) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        let state = State::default();
        let address = {
            let _runtime = runtime.enter();
            let incoming = TcpIncoming::bind("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = incoming.local_addr().unwrap();
            let serving = tonic::transport::Server::builder()
                .add_service(CollectionsServer::new(state.clone()))
                .add_service(PointsServer::new(state.clone()))
                .serve_with_incoming(incoming);
            runtime.spawn(serving);
            address.to_string()
        };
        Self { state, address, _runtime: runtime }
    }

    pub(super) fn url(&self, collection: &str) -> String {
        format!("qdrant://{}/{collection}", self.address)
    }

    /// What `look` sees of a collection.
    pub(super) fn seen<T>(&self, name: &str, look: impl FnOnce(&Collection) -> T) -> T {
        look(&self.state.collections()[name])
    }

    /// A collection of another program.
    pub(super) fn make_foreign(&self, name: &str) {
        let made = CreateCollection { collection_name: name.into(), ..Default::default() };
        create(&self.state, made).unwrap();
    }

    /// Has all writes fail after so many.
    pub(super) fn fail_after(&self, writes: impl Into<Option<usize>>) {
        *self.state.0.lasts.lock().unwrap() = writes.into();
    }

    /// Has writes wait, or no more.
    pub(super) fn hold(&self, is_held: bool) {
        self.state.0.is_held.store(is_held, Ordering::SeqCst);
    }

    /// Writes that go on.
    pub(super) fn writing(&self) -> usize {
        self.state.0.writes.load(Ordering::SeqCst)
    }

    /// The most writes at once.
    pub(super) fn most_writes(&self) -> usize {
        self.state.0.most.load(Ordering::SeqCst)
    }
}

impl State {
    fn collections(&self) -> MutexGuard<'_, HashMap<String, Collection>> {
        self.0.collections.lock().unwrap()
    }

    /// What `act` makes of a collection.
    fn with<T>(&self, name: &str, act: impl FnOnce(&mut Collection) -> T) -> Result<T, Status> {
        let mut collections = self.collections();
        let missing = || Status::not_found(format!("Collection `{name}` doesn't exist!"));
        collections.get_mut(name).map(act).ok_or_else(missing)
    }
}

/// A service of which each method has an answer.
macro_rules! service {
    ($service:path: $($method:ident($request:ty) -> $response:ty = $answer:expr;)*) => {
        #[tonic::async_trait]
        impl $service for State {
            $(async fn $method(
                &self,
                request: Request<$request>,
            ) -> Result<Response<$response>, Status> {
                let answer: fn(&State, $request) -> Result<$response, Status> = $answer;
                // Who waits keeps no other from being answered.
                let answer = || answer(self, request.into_inner());
                tokio::task::block_in_place(answer).map(Response::new)
            })*
        }
    };
}

service! { Collections:
    get(GetCollectionInfoRequest) -> GetCollectionInfoResponse = info;
    create(CreateCollection) -> CollectionOperationResponse = create;
    update(UpdateCollection) -> CollectionOperationResponse = update;
    collection_exists(CollectionExistsRequest) -> CollectionExistsResponse = |state, asked| {
        let exists = state.collections().contains_key(&asked.collection_name);
        Ok(CollectionExistsResponse { result: Some(CollectionExists { exists }), time: 0.0 })
    };
    list(ListCollectionsRequest) -> ListCollectionsResponse = unused;
    delete(DeleteCollection) -> CollectionOperationResponse = unused;
    update_aliases(ChangeAliases) -> CollectionOperationResponse = unused;
    list_collection_aliases(ListCollectionAliasesRequest) -> ListAliasesResponse = unused;
    list_aliases(ListAliasesRequest) -> ListAliasesResponse = unused;
    collection_cluster_info(CollectionClusterInfoRequest) -> CollectionClusterInfoResponse = unused;
    update_collection_cluster_setup(UpdateCollectionClusterSetupRequest) -> UpdateCollectionClusterSetupResponse = unused;
    create_shard_key(CreateShardKeyRequest) -> CreateShardKeyResponse = unused;
    delete_shard_key(DeleteShardKeyRequest) -> DeleteShardKeyResponse = unused;
    list_shard_keys(ListShardKeysRequest) -> ListShardKeysResponse = unused;
}

service! { Points:
    upsert(UpsertPoints) -> PointsOperationResponse = upsert;
    get(GetPoints) -> GetResponse = get;
    count(CountPoints) -> CountResponse = count;
    query_batch(QueryBatchPoints) -> QueryBatchResponse = query_batch;
    delete(DeletePoints) -> PointsOperationResponse = unused;
    update_vectors(UpdatePointVectors) -> PointsOperationResponse = unused;
    delete_vectors(DeletePointVectors) -> PointsOperationResponse = unused;
    set_payload(SetPayloadPoints) -> PointsOperationResponse = unused;
    overwrite_payload(SetPayloadPoints) -> PointsOperationResponse = unused;
    delete_payload(DeletePayloadPoints) -> PointsOperationResponse = unused;
    clear_payload(ClearPayloadPoints) -> PointsOperationResponse = unused;
    create_field_index(CreateFieldIndexCollection) -> PointsOperationResponse = unused;
    delete_field_index(DeleteFieldIndexCollection) -> PointsOperationResponse = unused;
    create_vector_name(CreateVectorNameRequest) -> PointsOperationResponse = unused;
    delete_vector_name(DeleteVectorNameRequest) -> PointsOperationResponse = unused;
    search(SearchPoints) -> SearchResponse = unused;
    search_batch(SearchBatchPoints) -> SearchBatchResponse = unused;
    search_groups(SearchPointGroups) -> SearchGroupsResponse = unused;
    scroll(ScrollPoints) -> ScrollResponse = unused;
    recommend(RecommendPoints) -> RecommendResponse = unused;
    recommend_batch(RecommendBatchPoints) -> RecommendBatchResponse = unused;
    recommend_groups(RecommendPointGroups) -> RecommendGroupsResponse = unused;
    discover(DiscoverPoints) -> DiscoverResponse = unused;
    discover_batch(DiscoverBatchPoints) -> DiscoverBatchResponse = unused;
    update_batch(UpdateBatchPoints) -> UpdateBatchResponse = unused;
    query(QueryPoints) -> QueryResponse = unused;
    query_groups(QueryPointGroups) -> QueryGroupsResponse = unused;
    facet(FacetCounts) -> FacetResponse = unused;
    search_matrix_pairs(SearchMatrixPoints) -> SearchMatrixPairsResponse = unused;
    search_matrix_offsets(SearchMatrixPoints) -> SearchMatrixOffsetsResponse = unused;
}

fn unused<Q, A>(_: &State, _: Q) -> Result<A, Status> {
    Err(Status::unimplemented("not asked by samtone"))
}

fn create(state: &State, made: CreateCollection) -> Result<CollectionOperationResponse, Status> {
    let name = made.collection_name.clone();
    let mut collections = state.collections();
    if collections.contains_key(&name) {
        return Err(Status::already_exists(format!("Collection `{name}` already exists!")));
    }
    let neighbours = made.hnsw_config.and_then(|graph| graph.m).unwrap_or(16);
    let (points, writes) = (BTreeMap::new(), Vec::new());
    let collection = Collection { made, points, writes, neighbours, pending: 0, ef: None };
    collections.insert(name, collection);
    Ok(CollectionOperationResponse { result: true, time: 0.0 })
}

fn update(state: &State, asked: UpdateCollection) -> Result<CollectionOperationResponse, Status> {
    state.with(&asked.collection_name, |collection| {
        collection.neighbours = asked.hnsw_config.and_then(|graph| graph.m).unwrap();
        collection.pending = 3;
        CollectionOperationResponse { result: true, time: 0.0 }
    })
}

fn info(
    state: &State,
    asked: GetCollectionInfoRequest,
) -> Result<GetCollectionInfoResponse, Status> {
    state.with(&asked.collection_name, |collection| {
        // The work begins at the second look.
        let is_built = matches!(collection.pending, 0 | 3);
        collection.pending = collection.pending.saturating_sub(1);
        let status = if is_built { CollectionStatus::Green } else { CollectionStatus::Yellow };
        let metadata = collection.made.metadata.clone();
        let info = CollectionInfo {
            status: status.into(),
            config: Some(CollectionConfig { metadata, ..Default::default() }),
            ..Default::default()
        };
        GetCollectionInfoResponse { result: Some(info), time: 0.0 }
    })
}

fn upsert(state: &State, asked: UpsertPoints) -> Result<PointsOperationResponse, Status> {
    assert_eq!(asked.wait, Some(true), "what is not waited for may be lost");
    let shared = &*state.0;
    let now = shared.writes.fetch_add(1, Ordering::SeqCst) + 1;
    shared.most.fetch_max(now, Ordering::SeqCst);
    thread::sleep(WRITE);
    while shared.is_held.load(Ordering::SeqCst) {
        thread::sleep(WRITE);
    }
    shared.writes.fetch_sub(1, Ordering::SeqCst);
    if let Some(lasts) = &mut *shared.lasts.lock().unwrap() {
        *lasts = lasts.checked_sub(1).ok_or_else(|| Status::unavailable("out of memory"))?;
    }
    state.with(&asked.collection_name, |collection| {
        collection.writes.push((asked.points.len(), collection.neighbours));
        for point in asked.points {
            let vector = dense(&point).unwrap();
            let Some(Config::ParamsMap(vectors)) =
                collection.made.vectors_config.as_ref().and_then(|vectors| vectors.config.as_ref())
            else {
                return Err(Status::invalid_argument("Not existing vector name"));
            };
            let expected = vectors.map["embedding"].size;
            if vector.len() as u64 != expected {
                let message = format!("Vector dimension error: expected {expected}");
                return Err(Status::invalid_argument(message));
            }
            collection.points.insert(format!("{:?}", point.id), point);
        }
        Ok(PointsOperationResponse::default())
    })?
}

fn get(state: &State, asked: GetPoints) -> Result<GetResponse, Status> {
    state.with(&asked.collection_name, |collection| {
        let found = asked.ids.iter().filter_map(|id| {
            let point = collection.points.get(&format!("{:?}", Some(id)))?;
            let payload = included(&point.payload, asked.with_payload.as_ref());
            Some(RetrievedPoint { id: Some(id.clone()), payload, ..Default::default() })
        });
        GetResponse { result: found.collect(), ..Default::default() }
    })
}

fn count(state: &State, asked: CountPoints) -> Result<CountResponse, Status> {
    assert_eq!(asked.exact, Some(true));
    state.with(&asked.collection_name, |collection| {
        let count = collection.points.len() as u64;
        CountResponse { result: Some(CountResult { count }), ..Default::default() }
    })
}

fn query_batch(state: &State, asked: QueryBatchPoints) -> Result<QueryBatchResponse, Status> {
    state.with(&asked.collection_name, |collection| {
        let found = |query: &QueryPoints| BatchResult { result: nearest(collection, query) };
        let result = asked.query_points.iter().map(found).collect();
        collection.ef = asked
            .query_points
            .iter()
            .filter(|query| query.using() == "embedding")
            .find_map(|query| query.params.as_ref()?.hnsw_ef)
            .or(collection.ef);
        QueryBatchResponse { result, ..Default::default() }
    })
}

/// All points, the best first; by terms only those that share one.
fn nearest(collection: &Collection, query: &QueryPoints) -> Vec<ScoredPoint> {
    let Some(query::Variant::Nearest(input)) =
        query.query.as_ref().and_then(|query| query.variant.as_ref())
    else {
        panic!("a query of another kind");
    };
    let score = |point: &PointStruct| match (input.variant.as_ref().unwrap(), query.using()) {
        (vector_input::Variant::Dense(asked), "embedding") => {
            Some(dense(point)?.iter().zip(&asked.data).map(|(a, b)| a * b).sum())
        }
        (vector_input::Variant::Sparse(asked), "bm25") => {
            let of: HashMap<u32, f32> = sparse(point)?.collect();
            let pairs = asked.indices.iter().zip(&asked.values);
            let shared: Vec<f32> =
                pairs.filter_map(|(index, value)| Some(of.get(index)? * value)).collect();
            (!shared.is_empty()).then(|| shared.iter().sum())
        }
        _ => panic!("a query of `{}`", query.using()),
    };
    let scored = collection.points.values().filter_map(|point| {
        let payload = included(&point.payload, query.with_payload.as_ref());
        Some(ScoredPoint { score: score(point)?, payload, ..Default::default() })
    });
    let mut scored: Vec<ScoredPoint> = scored.collect();
    scored.sort_by(|a, b| b.score.total_cmp(&a.score));
    scored.truncate(query.limit() as usize);
    scored
}

fn vector<'a>(point: &'a PointStruct, name: &str) -> Option<&'a vector::Vector> {
    match point.vectors.as_ref()?.vectors_options.as_ref()? {
        vectors::VectorsOptions::Vectors(named) => named.vectors.get(name)?.vector.as_ref(),
        vectors::VectorsOptions::Vector(_) => panic!("a vector without a name"),
    }
}

fn dense(point: &PointStruct) -> Option<&[f32]> {
    match vector(point, "embedding")? {
        vector::Vector::Dense(dense) => Some(&dense.data),
        _ => panic!("an embedding is dense"),
    }
}

fn sparse(point: &PointStruct) -> Option<impl Iterator<Item = (u32, f32)>> {
    match vector(point, "bm25")? {
        vector::Vector::Sparse(sparse) => {
            Some(sparse.indices.iter().copied().zip(sparse.values.iter().copied()))
        }
        _ => panic!("terms are sparse"),
    }
}

/// What is asked for of a payload.
fn included(
    payload: &HashMap<String, Value>,
    asked: Option<&WithPayloadSelector>,
) -> HashMap<String, Value> {
    let Some(SelectorOptions::Include(PayloadIncludeSelector { fields })) =
        asked.and_then(|asked| asked.selector_options.as_ref())
    else {
        panic!("more than what is needed");
    };
    let of = |field: &String| Some((field.clone(), payload.get(field)?.clone()));
    fields.iter().filter_map(of).collect()
}
