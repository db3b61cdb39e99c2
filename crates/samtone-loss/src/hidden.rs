//! The rows and hard negatives that ids and known pairs hide from an anchor, kept sparsely.

use std::collections::HashMap;
use std::ops::Range;

use crate::embeddings::Sizes;
use crate::plan::Matrix;
use crate::{FalseNegatives, Input, Relations};

/// Who is hidden from whom. Memory grows with the rows and the known pairs, not with their square:
/// rows that share an id are stored as one class.
#[derive(Debug, Default)]
pub(crate) struct Hidden {
    same_query: Option<Classes>,
    same_document: Option<Classes>,
    known: Option<Lists>,
    hard: Option<HardByDocument>,
}

impl Hidden {
    /// Applies a rule to a batch whose relations have been checked.
    pub(crate) fn new(rule: FalseNegatives, relations: &Relations, sizes: Sizes) -> Self {
        let mut hidden = Self::default();
        if rule.ids {
            hidden.same_query = relations.query_ids.as_deref().map(Classes::of_ids);
            hidden.same_document = relations.document_ids.as_deref().map(Classes::of_ids);
        }
        if rule.known && !relations.known.is_empty() {
            let both_ways = relations.known.iter().flat_map(|&(i, j)| [(i, j), (j, i)]);
            let known = both_ways.filter(|(i, j)| i != j).map(|(i, j)| (i, j as u32)).collect();
            hidden.known = Some(Lists::new(sizes.rows, known));
        }
        if (rule.ids || rule.known)
            && let (Some(documents), Some(hard)) =
                (&relations.document_ids, &relations.hard_negative_ids)
        {
            let same_query = relations.query_ids.as_deref().filter(|_| rule.ids);
            hidden.hard = Some(HardByDocument::new(
                documents,
                hard,
                same_query.map(Classes::of_ids).as_ref(),
                hidden.known.as_ref(),
            ));
        }
        hidden
    }

    /// Calls `hide(row, column)` for every score of a tile that an anchor must not see, the
    /// diagonal and, among the hard negatives of others, the own ones included.
    ///
    /// Rows and columns are counted from the corner of the tile; some come twice. The columns of
    /// a matrix of own hard negatives are the row's own, so `columns` is not looked at there.
    pub(crate) fn for_each(
        &self,
        matrix: Matrix,
        rows: &Range<usize>,
        columns: &Range<usize>,
        negatives: usize,
        mut hide: impl FnMut(usize, usize),
    ) {
        for row in rows.clone() {
            let mut hide = |column: usize| hide(row - rows.start, column);
            if matrix.is_own() {
                let own = row * negatives..(row + 1) * negatives;
                self.relevant_hard(row, &own, |flat| hide(flat - own.start));
            } else if matrix.inputs().1 == Input::HardNegatives {
                let mut hide_hard_of = |other: usize| {
                    let flat = (other * negatives).max(columns.start)
                        ..((other + 1) * negatives).min(columns.end);
                    flat.for_each(|flat| hide(flat - columns.start));
                };
                let others = columns.start / negatives..columns.end.div_ceil(negatives);
                if others.contains(&row) {
                    hide_hard_of(row);
                }
                self.related_rows(row, &others, hide_hard_of);
                self.relevant_hard(row, columns, |flat| hide(flat - columns.start));
            } else {
                if columns.contains(&row) {
                    hide(row - columns.start);
                }
                self.related_rows(row, columns, |other| hide(other - columns.start));
            }
        }
    }

    /// Visits every other row of `range` hidden from anchor `row`.
    fn related_rows(&self, row: usize, range: &Range<usize>, mut visit: impl FnMut(usize)) {
        let mates = [&self.same_query, &self.same_document].into_iter().flatten();
        let lists = mates.map(|classes| classes.mates(row));
        for list in lists.chain(self.known.iter().map(|known| known.get(row))) {
            within(list, range).filter(|&other| other != row).for_each(&mut visit);
        }
    }

    /// Visits every hard negative of the flat `range` that is a document relevant to `row`.
    fn relevant_hard(&self, row: usize, range: &Range<usize>, mut visit: impl FnMut(usize)) {
        let Some(hard) = &self.hard else { return };
        for &document in hard.relevant.get(row) {
            within(hard.copies.get(document as usize), range).for_each(&mut visit);
        }
    }
}

/// The sorted `members` that lie in `range`.
fn within(members: &[u32], range: &Range<usize>) -> impl Iterator<Item = usize> {
    let start = members.partition_point(|&member| (member as usize) < range.start);
    let end = range.end;
    members[start..].iter().map(|&member| member as usize).take_while(move |&m| m < end)
}

/// Rows grouped by equal id.
#[derive(Debug)]
struct Classes {
    class_of: Vec<u32>,
    members: Lists,
}

impl Classes {
    fn of_ids(ids: &[u64]) -> Self {
        let mut known = HashMap::with_capacity(ids.len());
        let class_of: Vec<u32> = ids
            .iter()
            .map(|id| {
                let next = known.len() as u32;
                *known.entry(*id).or_insert(next)
            })
            .collect();
        let entries = class_of.iter().zip(0..).map(|(&class, row)| (class as usize, row)).collect();
        Self { members: Lists::new(known.len(), entries), class_of }
    }

    /// The rows with the id of `row`, itself included, ascending.
    fn mates(&self, row: usize) -> &[u32] {
        self.members.get(self.class_of[row] as usize)
    }
}

/// The documents relevant to each row, and where the hard negatives hold copies of them.
#[derive(Debug)]
struct HardByDocument {
    relevant: Lists,
    copies: Lists,
}

impl HardByDocument {
    fn new(
        documents: &[u64],
        hard: &[u64],
        same_query: Option<&Classes>,
        known: Option<&Lists>,
    ) -> Self {
        let classes = Classes::of_ids(documents);
        let class_of_id: HashMap<u64, u32> =
            documents.iter().copied().zip(classes.class_of.iter().copied()).collect();
        let copies = hard
            .iter()
            .zip(0..)
            .filter_map(|(id, flat)| Some((*class_of_id.get(id)? as usize, flat)))
            .collect();
        let copies = Lists::new(classes.members.len(), copies);

        // A class of equal queries shares its relevant documents: collect them once for each.
        let of_query = same_query.map(|queries| {
            let entries = queries.class_of.iter().zip(&classes.class_of);
            Lists::new(queries.members.len(), entries.map(|(&q, &d)| (q as usize, d)).collect())
        });
        let mut relevant = Vec::new();
        for row in 0..documents.len() {
            let mut add = |document: u32| {
                if !copies.get(document as usize).is_empty() {
                    relevant.push((row, document));
                }
            };
            add(classes.class_of[row]);
            if let (Some(queries), Some(of_query)) = (same_query, &of_query) {
                of_query.get(queries.class_of[row] as usize).iter().copied().for_each(&mut add);
            }
            for &other in known.map_or(&[][..], |known| known.get(row)) {
                add(classes.class_of[other as usize]);
            }
        }
        Self { relevant: Lists::new(documents.len(), relevant), copies }
    }
}

/// Many sorted lists of numbers, without repetition, in two vectors.
#[derive(Debug)]
struct Lists {
    starts: Vec<u32>,
    entries: Vec<u32>,
}

impl Lists {
    fn new(lists: usize, mut pairs: Vec<(usize, u32)>) -> Self {
        pairs.sort_unstable();
        pairs.dedup();
        let mut starts = vec![0; lists + 1];
        for &(list, _) in &pairs {
            starts[list + 1] += 1;
        }
        for list in 0..lists {
            starts[list + 1] += starts[list];
        }
        Self { starts, entries: pairs.into_iter().map(|(_, entry)| entry).collect() }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn get(&self, list: usize) -> &[u32] {
        &self.entries[self.starts[list] as usize..self.starts[list + 1] as usize]
    }
}
