//! Text in other encodings than UTF-8, decoded as it is read.

use std::fmt;
use std::io::{self, BufRead, Read};
use std::str::FromStr;

use encoding_rs::{Decoder, DecoderResult, UTF_8, UTF_16BE, UTF_16LE};
use thiserror::Error;

/// Stands for bytes that are no character in their encoding: no UTF-8 holds it, so that a line with it
/// is refused like any other that is not text.
pub(crate) const UNDECODABLE: [u8; 2] = [0xFF, 0xFE];

const BUFFER: usize = 64 << 10;

/// How a text is written in bytes, by any of its names in the WHATWG's Encoding Standard.
///
/// # Examples
///
/// ```
/// use samtone_data::reading::Encoding;
///
/// let encoding: Encoding = "latin1".parse()?;
/// assert_eq!(encoding.to_string(), "windows-1252");
/// # Ok::<(), samtone_data::reading::UnknownEncoding>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoding(&'static encoding_rs::Encoding);

impl Encoding {
    /// What a byte order mark says, if the text begins with one.
    pub(crate) fn of_mark(start: &[u8]) -> Option<Self> {
        encoding_rs::Encoding::for_bom(start).map(|(encoding, _)| Self(encoding))
    }

    /// Whether it writes a letter in two bytes, one of which is often 0.
    pub(crate) fn is_utf_16(self) -> bool {
        self.0 == UTF_16LE || self.0 == UTF_16BE
    }

    /// The text of `reader` in UTF-8, without a mark of another encoding.
    pub(crate) fn decode(self, reader: Box<dyn BufRead + Send>) -> Box<dyn BufRead + Send> {
        if self.0 == UTF_8 {
            return reader;
        }
        let decoder = self.0.new_decoder_with_bom_removal();
        let text = vec![0; BUFFER];
        Box::new(Decoded { reader, decoder, text, place: 0, end: 0, is_done: false })
    }
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name().to_lowercase())
    }
}

/// A name that no encoding has.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("no encoding is called `{got}`: expected a name like `windows-1252`, `utf-16le` or `gbk`")]
pub struct UnknownEncoding {
    /// The name.
    pub got: String,
}

impl FromStr for Encoding {
    type Err = UnknownEncoding;

    fn from_str(label: &str) -> Result<Self, UnknownEncoding> {
        let encoding = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes());
        encoding.map(Self).ok_or_else(|| UnknownEncoding { got: label.to_owned() })
    }
}

/// A reader's text in UTF-8, a buffer at a time.
struct Decoded {
    reader: Box<dyn BufRead + Send>,
    decoder: Decoder,
    /// Of which `place..end` is still to be read.
    text: Vec<u8>,
    place: usize,
    end: usize,
    is_done: bool,
}

impl BufRead for Decoded {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.place == self.end && !self.is_done {
            let bytes = self.reader.fill_buf()?;
            let is_last = bytes.is_empty();
            // Room is left for what cannot be decoded.
            let text = &mut self.text[..BUFFER - UNDECODABLE.len()];
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(bytes, text, is_last);
            self.reader.consume(read);
            (self.place, self.end) = (0, written);
            match result {
                DecoderResult::InputEmpty => self.is_done = is_last,
                DecoderResult::OutputFull => {}
                DecoderResult::Malformed(..) => {
                    self.end += UNDECODABLE.len();
                    self.text[written..self.end].copy_from_slice(&UNDECODABLE);
                }
            }
        }
        Ok(&self.text[self.place..self.end])
    }

    fn consume(&mut self, read: usize) {
        self.place += read;
    }
}

impl Read for Decoded {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let read = self.fill_buf()?.read(out)?;
        self.consume(read);
        Ok(read)
    }
}

/// Whether a line that is not UTF-8 looks like Windows-1252, which most of Latin-1 is: characters beyond
/// ASCII, one or two at a time, between others.
pub(crate) fn looks_like_windows_1252(line: &[u8]) -> bool {
    let is_assigned = |&byte: &u8| !matches!(byte, 0x81 | 0x8D | 0x8F | 0x90 | 0x9D);
    let mut runs = line.split(u8::is_ascii).filter(|run| !run.is_empty());
    runs.all(|run| {
        run.len() <= 2 && run.iter().all(is_assigned) && std::str::from_utf8(run).is_err()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is decoded of bytes that come in pieces of any size.
    #[track_caller]
    fn check(label: &str, bytes: &[u8], expected: &[u8]) {
        for piece in [1, 2, 3, 1 << 20] {
            let reader = io::BufReader::with_capacity(piece, io::Cursor::new(bytes.to_vec()));
            let encoding: Encoding = label.parse().unwrap();
            let mut text = Vec::new();
            encoding.decode(Box::new(reader)).read_to_end(&mut text).unwrap();
            assert!(text == expected, "{label}, by {piece}");
        }
    }

    fn utf_16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(bytes).collect()
    }

    #[test]
    fn encodings_are_decoded() {
        check("latin1", b"gr\xF6\xDFe \x80", "größe €".as_bytes());
        check("shift_jis", b"\x83e\x83X\x83g", "テスト".as_bytes());
        let text = "größe \u{1F600}\n".repeat(20_000);
        check("utf-16", &utf_16(&text, u16::to_le_bytes), text.as_bytes());
        check("utf-16be", &utf_16(&format!("\u{FEFF}{text}"), u16::to_be_bytes), text.as_bytes());
    }

    #[test]
    fn what_cannot_be_decoded_is_no_text() {
        // Half a pair of surrogates, half a letter at the end.
        check("utf-16le", b"a\0\x00\xD8b\0c", b"a\xFF\xFEb\xFF\xFE");
    }

    #[test]
    fn a_line_looks_like_windows_1252_or_does_not() {
        for (line, expected) in [
            (&b"gr\xF6\xDFe"[..], true),
            (b"\xAB\xA0Oui\xA0\xBB, it\x92s 5 \x80", true),
            // Windows-1251, Shift JIS, UTF-8 that is cut off.
            (b"\xEF\xF0\xE8\xE2\xE5\xF2", false),
            (b"\x83e\x81X", false),
            (b"gr\xC3\xB6\xC3\x9Fe \xC3", false),
            (b"gr\xC3\xB6 \xC3", false),
        ] {
            assert_eq!(looks_like_windows_1252(line), expected, "{line:?}");
        }
    }

    #[test]
    fn an_encoding_has_a_name() {
        for (label, name) in [("Latin1", "windows-1252"), ("UTF-16", "utf-16le"), ("utf8", "utf-8")]
        {
            assert_eq!(label.parse::<Encoding>().unwrap().to_string(), name);
        }
        for label in ["", "latin", "replacement", "iso-2022-kr"] {
            let error = label.parse::<Encoding>().unwrap_err();
            assert_eq!(error, UnknownEncoding { got: label.to_owned() });
        }
    }
}
