//! A check's report in words.

use std::fmt;

use super::report::{Collisions, Leakage, Lengths, LintReport};

impl fmt::Display for LintReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut lines = vec![format!(
            "split `{}`: {} documents, {} queries, {} training rows",
            self.split, self.documents, self.queries, self.rows
        )];
        lines.extend(self.findings_in_words());
        lines.extend(self.collisions.iter().map(Collisions::in_words));
        lines.extend(self.leakage.iter().map(Leakage::in_words));
        lines.extend(self.query_lengths.in_words("queries", self.length_unit));
        lines.extend(self.document_lengths.in_words("documents", self.length_unit));
        f.write_str(lines.join("\n").trim_end())
    }
}

impl LintReport {
    /// A line for each kind of finding but leakage.
    fn findings_in_words(&self) -> Vec<String> {
        let found = self.findings();
        let count = |kind: &str| found.get(kind).copied().unwrap_or(0);
        let (documents, queries) = (self.documents, self.queries);
        let shares = [
            ("empty-documents", documents, "documents have no text"),
            ("queries-without-positive", queries, "queries have no relevant document"),
            ("duplicate-documents", documents, "documents repeat an earlier one word for word"),
            ("near-duplicate-documents", documents, "documents nearly repeat an earlier one"),
            ("duplicate-queries", queries, "queries repeat an earlier one word for word"),
            ("near-duplicate-queries", queries, "queries nearly repeat an earlier one"),
        ];
        let shares = shares.into_iter().map(|(kind, whole, what)| {
            let count = count(kind);
            let percent = 100.0 * count as f64 / whole.max(1) as f64;
            format!("{count} of {whole} {what} ({percent:.1} %){}", self.list(kind))
        });
        let contradictory = format!(
            "{} hard negatives are a positive of the same query{}",
            self.contradictory_negatives,
            self.list("contradictory-negatives")
        );
        let unfit = (self.ids_with_white_space > 0).then(|| {
            format!(
                "{} ids hold white space, so that no TREC file can name them{}",
                self.ids_with_white_space,
                self.list("ids-with-white-space")
            )
        });
        shares.chain([contradictory]).chain(unfit).collect()
    }

    fn list(&self, kind: &str) -> String {
        match self.examples.get(kind) {
            Some(examples) => format!(": {}", examples.join(", ")),
            None => String::new(),
        }
    }
}

impl Collisions {
    fn in_words(&self) -> String {
        format!(
            "a random batch of {} holds {:.2} pairs of rows with the same document and {:.2} with \
             the same query",
            self.batch_size, self.same_document, self.same_query
        )
    }
}

impl Leakage {
    fn in_words(&self) -> String {
        format!(
            "test set `{}`: of its {} queries {} are trained on word for word and {} nearly; of its \
             {} relevant documents {} and {}",
            self.test,
            self.queries,
            self.same_queries,
            self.near_queries,
            self.documents,
            self.same_documents,
            self.near_documents
        )
    }
}

impl Lengths {
    /// Two lines on the lengths of `what`, in `unit`.
    fn in_words(&self, what: &str, unit: &str) -> [String; 2] {
        let Self { p50, p90, p95, p99, max, truncated } = self;
        let cut = truncated.iter();
        let cut: Vec<String> =
            cut.map(|(limit, share)| format!("{:.1} % at {limit}", 100.0 * share)).collect();
        [
            format!(
                "{what}: half have at most {p50} {unit}, 90 % at most {p90}, 95 % at most {p95}, \
                 99 % at most {p99}, the longest {max}"
            ),
            format!("{what} cut short: {}", cut.join(", ")),
        ]
    }
}
