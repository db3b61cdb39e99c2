//! Bodies of requests and answers, as several protocols write them.

use std::fmt;
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::{HeaderValue, Request, header};
use axum::response::{IntoResponse, Response};
use samtone_model::Side;
use serde::de::{DeserializeOwned, Error, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use tokio::time::timeout;

use super::refusal::Refusal;

/// How long a body may take to come.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a body of at most `most` bytes of JSON.
pub(super) async fn read<T: DeserializeOwned>(
    request: Request<Body>,
    most: usize,
) -> Result<T, Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    // A page of another server may send anything else without being asked first.
    if !kind.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::not_json());
    }
    let body = request.into_body();
    let refused = || {
        let message = format!("a body has at most {most} bytes: send several, with fewer texts");
        Refusal::too_much(message)
    };
    if body.size_hint().lower() > most as u64 {
        return Err(refused());
    }
    let read = timeout(PATIENCE, axum::body::to_bytes(body, most)).await;
    let bytes = read.map_err(|_| Refusal::slow())?.map_err(|_| refused())?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Refusal::malformed(format!("the body is not as expected: {error}")))
}

/// An answer of JSON.
pub(super) fn answer(body: &impl Serialize) -> Result<Response, Refusal> {
    let body = serde_json::to_vec(body).map_err(Refusal::failed)?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], body).into_response())
}

/// What a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum InputType {
    Query,
    #[serde(alias = "passage")]
    Document,
}

impl From<InputType> for Side {
    fn from(input_type: InputType) -> Self {
        match input_type {
            InputType::Query => Self::Query,
            InputType::Document => Self::Document,
        }
    }
}

/// One text, or several.
#[derive(Debug, PartialEq)]
pub(super) struct Inputs(pub(super) Vec<String>);

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(InputsVisitor)
    }
}

struct InputsVisitor;

impl<'de> Visitor<'de> for InputsVisitor {
    type Value = Inputs;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text or a list of texts")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Inputs, E> {
        Ok(Inputs(vec![text.to_owned()]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Inputs, A::Error> {
        let mut texts = Vec::new();
        while let Some(Text(text)) = sequence.next_element()? {
            texts.push(text);
        }
        Ok(Inputs(texts))
    }
}

/// A text of a list.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor)
    }
}

struct TextVisitor;

/// Why token ids are refused: another model's cannot be told from this one's.
const TOKEN_IDS: &str = "token ids are not taken, which may be another model's: send texts \
                         (LangChain's OpenAIEmbeddings does with `check_embedding_ctx_length=False`)";

impl<'de> Visitor<'de> for TextVisitor {
    type Value = Text;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text, E> {
        Ok(Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Text, E> {
        Ok(Text(text))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Text, E> {
        Err(E::custom(TOKEN_IDS))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<Text, A::Error> {
        Err(A::Error::custom(TOKEN_IDS))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_or_several_are_read() {
        let read = |text: &str| serde_json::from_str::<Inputs>(text);
        let inputs = |texts: &[&str]| Inputs(texts.iter().map(|&text| text.to_owned()).collect());
        assert_eq!(read(r#""a\u00e9""#).unwrap(), inputs(&["aé"]));
        assert_eq!(read(r#"["a", ""]"#).unwrap(), inputs(&["a", ""]));
        assert_eq!(read("[]").unwrap(), inputs(&[]));
        for ids in ["[1, 2]", "[[1, 2], [3]]"] {
            let error = read(ids).unwrap_err().to_string();
            assert!(error.contains("token ids are not taken"), "{error}");
        }
        for wrong in ["1", "null", "{}", "[null]", r#"["a", 1.5]"#, r#""\ud800""#] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
