//! Which queries belong together.

use std::collections::HashMap;
use std::path::Path;

use crate::dataset::text_hash;
use crate::error::{DataError, Fault, ShareFault};
use crate::reading::beir::{self, BeirFolder, JudgmentLine};
use crate::reading::interner::Interner;

/// Queries that belong together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Component {
    pub(super) queries: usize,
    /// Documents relevant to them.
    pub(super) documents: usize,
}

impl Component {
    /// Whether it may leave its split: what has nothing relevant judges nothing.
    pub(super) fn is_free(self) -> bool {
        self.documents > 0
    }
}

/// The queries of a split in components.
pub(super) struct Ties {
    records: Records,
    /// Per query, the number of its component.
    component_of: Vec<usize>,
    /// In the order of their first queries.
    components: Vec<Component>,
}

impl Ties {
    /// Reads the judgments of a split, and the texts of the queries and documents in them.
    pub(super) fn of(folder: &BeirFolder, split: &str) -> Result<Self, DataError> {
        let qrels = folder.qrels(split)?;
        let mut records = Records::default();
        beir::for_each_judgment(&qrels, |judgment, line| records.judge(&judgment, line))?;
        records.join_equal_queries(folder.queries())?;
        records.join_copies(folder.corpus())?;
        records.check_ids(&qrels)?;
        Ok(Self::tie(records))
    }

    /// Numbers the components.
    fn tie(mut records: Records) -> Self {
        let mut components = Vec::<Component>::new();
        let mut component_of = Vec::new();
        for query in 0..records.parents.len() as u32 {
            // A query that is the first of its component has none before it.
            let component = match records.root(query) {
                root if root == query => {
                    components.push(Component::default());
                    components.len() - 1
                }
                root => component_of[root as usize],
            };
            components[component].queries += 1;
            component_of.push(component);
        }
        for &asker in &records.asker_of {
            components[component_of[asker as usize]].documents += 1;
        }
        Self { records, component_of, components }
    }

    /// How many queries there are.
    pub(super) fn queries(&self) -> usize {
        self.component_of.len()
    }

    /// All components.
    pub(super) fn components(&self) -> &[Component] {
        &self.components
    }

    /// The number of a query's component.
    pub(super) fn component_of(&self, query: &str) -> Option<usize> {
        self.records.queries.find(query).map(|query| self.component_of[query as usize])
    }

    /// Queries of the largest component.
    pub(super) fn largest(&self) -> usize {
        self.components.iter().map(|component| component.queries).max().unwrap_or_default()
    }

    /// The fault that so many queries cannot be taken out: what of the largest component is relevant to
    /// the most of its queries.
    pub(super) fn fault(&self, asked: usize) -> ShareFault {
        let (queries, largest) = (self.queries(), self.largest());
        let Records { documents, asker_of, askers, .. } = &self.records;
        let is_in_largest = |document: &usize| {
            let component = self.component_of[asker_of[*document] as usize];
            self.components[component].queries == largest
        };
        let most = (0..askers.len()).rev().filter(is_in_largest).max_by_key(|&it| askers[it]);
        let document = most.and_then(|it| documents.id(it as u32)).unwrap_or_default().to_owned();
        let joined = most.map_or(0, |it| askers[it] as usize);
        ShareFault::Joined { asked, queries, largest, document, joined }
    }
}

/// The queries judged and the documents relevant to them, without their texts.
struct Records {
    queries: Interner,
    documents: Interner,
    /// Per query, one before it that it belongs with, or itself.
    parents: Vec<u32>,
    /// Per document, a query to which it is relevant, and the number of those.
    asker_of: Vec<u32>,
    askers: Vec<u32>,
    /// Whether the record of a query, of a document is there.
    query_is_there: Vec<bool>,
    document_is_there: Vec<bool>,
}

impl Default for Records {
    fn default() -> Self {
        Self {
            queries: Interner::new("query", false),
            documents: Interner::new("document", false),
            parents: Vec::new(),
            asker_of: Vec::new(),
            askers: Vec::new(),
            query_is_there: Vec::new(),
            document_is_there: Vec::new(),
        }
    }
}

impl Records {
    fn judge(&mut self, judgment: &JudgmentLine<'_>, line: u64) -> Result<(), Fault> {
        let query = self.queries.intern(Some(judgment.query_id), ("", ""), line)?;
        if query.new.is_some() {
            self.parents.push(query.index);
            self.query_is_there.push(false);
        }
        if judgment.grade < 1 {
            return Ok(());
        }
        let document = self.documents.intern(Some(judgment.document_id), ("", ""), line)?;
        if document.new.is_some() {
            self.asker_of.push(query.index);
            self.askers.push(0);
            self.document_is_there.push(false);
        }
        self.askers[document.index as usize] += 1;
        self.join(query.index, self.asker_of[document.index as usize]);
        Ok(())
    }

    /// The first query that this one belongs with.
    fn root(&mut self, mut query: u32) -> u32 {
        while self.parents[query as usize] != query {
            let parent = self.parents[query as usize];
            self.parents[query as usize] = self.parents[parent as usize];
            query = parent;
        }
        query
    }

    fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    fn join_equal_queries(&mut self, path: &Path) -> Result<(), DataError> {
        let mut first = HashMap::new();
        beir::for_each_query(path, |query, _| {
            if let Some(index) = self.queries.find(&query.id) {
                self.query_is_there[index as usize] = true;
                let hash = text_hash("", &query.text);
                self.join(index, *first.entry(hash).or_insert(index));
            }
            Ok(())
        })
    }

    /// Joins the queries of documents that read the same; that two are empty says nothing.
    fn join_copies(&mut self, path: &Path) -> Result<(), DataError> {
        let (mut first, empty) = (HashMap::new(), text_hash("", ""));
        beir::for_each_document(path, |document, _| {
            if let Some(index) = self.documents.find(&document.id) {
                self.document_is_there[index as usize] = true;
                let asker = self.asker_of[index as usize];
                let hash = text_hash(&document.title, &document.text);
                if hash != empty {
                    self.join(asker, *first.entry(hash).or_insert(asker));
                }
            }
            Ok(())
        })
    }

    /// Refuses a judgment of a query or a document that is not there.
    fn check_ids(&self, qrels: &Path) -> Result<(), DataError> {
        if self.query_is_there.iter().chain(&self.document_is_there).all(|&is_there| is_there) {
            return Ok(());
        }
        let check = |records: &Interner, is_there: &[bool], field, id: &str, within| {
            let is_known = records.find(id).is_none_or(|index| is_there[index as usize]);
            let unknown = || Fault::UnknownId { field, id: id.to_owned(), within };
            if is_known { Ok(()) } else { Err(unknown()) }
        };
        beir::for_each_judgment(qrels, |JudgmentLine { query_id, document_id, .. }, _| {
            check(&self.queries, &self.query_is_there, "query-id", query_id, "queries")?;
            check(&self.documents, &self.document_is_there, "corpus-id", document_id, "corpus")
        })
    }
}
