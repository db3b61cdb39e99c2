//! SQuAD files, lines of MRQA and of MultiReQA, and the sentence splitter.
#![no_main]

use libfuzzer_sys::fuzz_target;
use samtone_data::import::sentences::sentences;
use samtone_data::import::squad::{Article, parse_boundary, parse_mrqa, read_articles};
use samtone_data::reading::Line;

fuzz_target!(|bytes: &[u8]| {
    let line = Line { number: 1, bytes };
    let _ = (parse_mrqa(line), parse_boundary(line));
    let mut articles: Vec<Article> = Vec::new();
    let read = read_articles(bytes, &mut |article| {
        articles.push(article);
        Ok::<(), ()>(())
    });
    if read.is_ok() {
        let out = serde_json::json!({ "data": articles }).to_string();
        let mut again = Vec::new();
        let read = read_articles(out.as_bytes(), &mut |article| {
            again.push(article);
            Ok::<(), ()>(())
        });
        assert!(read.is_ok());
        assert_eq!(again, articles);
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        let mut end = 0;
        for range in sentences(text) {
            assert!(range.start >= end && range.end > range.start);
            assert!(text[end..range.start].trim().is_empty());
            assert!(!text[range.clone()].trim().is_empty());
            end = range.end;
        }
        assert!(text[end..].trim().is_empty());
    }
});
