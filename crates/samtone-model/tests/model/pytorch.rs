//! PyTorch's own files: what is read of them, and what is refused before it costs anything.

use std::fs;
use std::io::{Cursor, Write};
use std::path::Path;

use samtone_model::{Checkpoint, ModelError};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use crate::parity::fixture;

/// Of PyTorch's files and of safetensors' the same tensors come, to the bit.
#[test]
fn what_torch_saved_is_read_as_it_was() {
    let expected =
        Checkpoint::read_file(&fixture("pytorch/expected.safetensors"), |_| false).unwrap();
    for name in ["pytorch/new.bin", "pytorch/old.bin"] {
        let read = Checkpoint::read_file(&fixture(name), |_| false).unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), expected.names().collect::<Vec<_>>());
        for tensor in expected.names() {
            let shape = expected.shape(tensor).unwrap();
            let (got, expected) = (read.get(tensor, shape), expected.get(tensor, shape));
            assert_eq!(got.unwrap(), expected.unwrap(), "{tensor} of {name}");
        }
        let some = Checkpoint::read_file(&fixture(name), |name| name != "f16").unwrap();
        assert_eq!(some.names().collect::<Vec<_>>(), ["f16"]);
    }
}

#[test]
fn what_is_no_finite_float_is_refused() {
    let refused = |name: &str| {
        Checkpoint::read_file(&fixture(name), |_| false).map(|_| ()).unwrap_err().to_string()
    };
    let error = refused("pytorch/bytes.bin");
    assert!(error.ends_with("has type U8, expected F64, F32, F16 or BF16"), "{error}");
    let error = refused("pytorch/nan.bin");
    assert!(error.ends_with("nan.bin` is not finite at element 3"), "{error}");
}

#[test]
fn every_truncation_and_many_flipped_bytes_are_errors_or_tensors() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("x.bin");
    for name in ["pytorch/new.bin", "pytorch/old.bin"] {
        let bytes = fs::read(fixture(name)).unwrap();
        for length in (0..bytes.len()).step_by(7) {
            fs::write(&path, &bytes[..length]).unwrap();
            assert!(Checkpoint::read_file(&path, |_| false).is_err(), "{length} bytes of {name}");
        }
        for at in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[at] ^= 0x15;
            fs::write(&path, &bytes).unwrap();
            let _ = Checkpoint::read_file(&path, |_| false);
        }
    }
}

/// One tensor, as PyTorch pickles it.
struct Tensor {
    storage: &'static str,
    stored: i64,
    offset: i64,
    shape: Vec<i64>,
    strides: Vec<i64>,
}

impl Tensor {
    fn pickle(&self, name: &str) -> Vec<u8> {
        let text =
            |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
        let int = |int: i64| [&b"\x8a\x08"[..], &int.to_le_bytes()].concat();
        let ints = |ints: &[i64]| {
            [b"(".to_vec(), ints.iter().flat_map(|&x| int(x)).collect(), b"t".to_vec()].concat()
        };
        [
            text(name),
            b"ctorch._utils\n_rebuild_tensor_v2\n((".to_vec(),
            text("storage"),
            b"ctorch\nFloatStorage\n".to_vec(),
            text(self.storage),
            text("cpu"),
            int(self.stored),
            b"tQ".to_vec(),
            int(self.offset),
            ints(&self.shape),
            ints(&self.strides),
            b"\x89ccollections\nOrderedDict\n)RtR".to_vec(),
        ]
        .concat()
    }
}

fn tensor(stored: i64, offset: i64, shape: &[i64], strides: &[i64]) -> Tensor {
    Tensor { storage: "0", stored, offset, shape: shape.into(), strides: strides.into() }
}

/// An archive of these entries.
fn archive(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    for (name, content) in entries {
        archive.start_file(*name, stored).unwrap();
        archive.write_all(content).unwrap();
    }
    archive.finish().unwrap().into_inner()
}

/// The dictionary of these tensors beside one storage of six floats.
fn with_storage(tensors: &[Tensor]) -> Vec<u8> {
    let tensors = tensors.iter().enumerate();
    let entries: Vec<u8> =
        tensors.flat_map(|(i, tensor)| tensor.pickle(&format!("t{i}"))).collect();
    let pickle = [&b"\x80\x02}("[..], &entries, b"u."].concat();
    let storage: Vec<u8> = (0..6u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    archive(&[("m/data.pkl", &pickle), ("m/data/0", &storage)])
}

fn read(bytes: &[u8]) -> Result<Checkpoint, ModelError> {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("pytorch_model.bin");
    fs::write(&path, bytes).unwrap();
    Checkpoint::read(home.path(), |_| false)
}

#[track_caller]
fn refused(bytes: &[u8], expected: &str) {
    let error = read(bytes).map(|_| ()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("pytorch_model.bin") && message.contains(expected), "{message}");
    assert!(error.hint().is_some(), "{message}");
}

#[test]
fn a_tensor_outside_its_storage_is_refused() {
    let fine = read(&with_storage(&[tensor(6, 1, &[2, 2], &[1, 3])])).unwrap();
    assert_eq!(fine.get("t0", &[2, 2]).unwrap().values, [1.0, 4.0, 2.0, 5.0]);
    for (bad, expected) in [
        (tensor(6, 0, &[7], &[1]), "shape [7], strides [1] and offset 0 in a storage of 6"),
        (tensor(6, 5, &[2], &[1]), "offset 5 in a storage of 6 numbers"),
        (tensor(6, 0, &[2, 2], &[1, 5]), "strides [1, 5]"),
        (tensor(6, 0, &[i64::MAX, i64::MAX], &[0, 0]), "shape [9223372036854775807, 92"),
        (tensor(6, 0, &[2], &[i64::MAX]), "strides [9223372036854775807]"),
        // One number a thousand million times over.
        (tensor(6, 0, &[1_000_000_000], &[0]), "shape [1000000000]"),
        (tensor(6, 0, &[-1], &[1]), "no sizes and strides"),
        (tensor(6, -1, &[1], &[1]), "no sizes and strides"),
        (tensor(6, 0, &[1], &[-1]), "no sizes and strides"),
        (tensor(6, 0, &[1, 1], &[1]), "no sizes and strides"),
        // A shape is written once and may be named by any number of tensors.
        (tensor(6, 0, &[1; 9], &[1; 9]), "no sizes and strides"),
        (tensor(7, 0, &[1], &[1]), "a storage `0` of 7 numbers, which the file lacks"),
        (tensor(i64::MAX, 0, &[1], &[1]), "which the file lacks"),
        (Tensor { storage: "1", ..tensor(6, 0, &[1], &[1]) }, "a storage `1` of 6 numbers"),
        (Tensor { storage: "../data.pkl", ..tensor(6, 0, &[1], &[1]) }, "which the file lacks"),
    ] {
        refused(&with_storage(&[bad]), expected);
    }
}

#[test]
fn views_that_together_are_far_more_than_the_file_are_refused() {
    // The same view under many names is read once.
    let same: Vec<Tensor> = (0..1000).map(|_| tensor(6, 0, &[6], &[1])).collect();
    assert_eq!(read(&with_storage(&same)).unwrap().names().count(), 1000);
    let mut storage = vec![0; 400_000];
    storage.resize(400_000, 0);
    let tensors = (0..100i64).map(|i| tensor(100_000, i, &[99_000], &[1]));
    let entries: Vec<u8> =
        tensors.enumerate().flat_map(|(i, t)| t.pickle(&i.to_string())).collect();
    let pickle = [&b"\x80\x02}("[..], &entries, b"u."].concat();
    let bytes = archive(&[("m/data.pkl", &pickle), ("m/data/0", &storage)]);
    refused(&bytes, "tensors that overlap many times");
}

#[test]
fn no_code_is_run_and_the_place_is_named() {
    let flag = tempfile::tempdir().unwrap();
    let made = flag.path().join("made");
    let command = format!("touch {}", made.display());
    let command = [&b"X"[..], &(command.len() as u32).to_le_bytes(), command.as_bytes()].concat();
    let call = [&b"\x80\x02cposix\nsystem\n"[..], &command, b"\x85R."].concat();
    let error = "byte 2 of the pickle in `";
    refused(&archive(&[("m/data.pkl", &call)]), error);
    refused(&archive(&[("m/data.pkl", &call)]), "`posix.system`, expected what a dictionary of");
    // In the stream, at its place in the file.
    let head = &fs::read(fixture("pytorch/old.bin")).unwrap()[..137];
    refused(&[head, &call].concat(), "byte 139 of the pickle");
    assert!(!made.exists());
    let eval = b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93.";
    refused(&archive(&[("data.pkl", eval)]), "`builtins.eval`");
    refused(&archive(&[("m/data.pkl", b"]q\0h\0a.")]), "something else, expected a dictionary of");
    let cyclic = b"}q\0X\x01\0\0\0ah\0s.";
    refused(&archive(&[("m/data.pkl", cyclic)]), "no tensor under the name `a`");
}

#[test]
fn what_is_no_file_of_torch_is_refused() {
    refused(b"", "is not an intact file of PyTorch's");
    refused(b"\x80\x02}.", "is not an intact file of PyTorch's");
    refused(&archive(&[("m/data/0", b"")]), "no entry `data.pkl`");
    let big = archive(&[("m/data.pkl", b"}."), ("m/byteorder", b"big")]);
    refused(&big, "another byte order");
    let tar = [&[0; 257][..], b"ustar\0", &[0; 1000]].concat();
    refused(&tar, "is not an intact file of PyTorch's");
}

/// An entry that says it is compressed, or longer than the file, is not opened.
#[test]
fn an_archive_that_would_grow_is_refused() {
    let good = with_storage(&[tensor(6, 0, &[6], &[1])]);
    let central = |bytes: &[u8], n: usize| {
        let starts = bytes.windows(4).enumerate().filter(|(_, w)| w == b"PK\x01\x02");
        starts.map(|(at, _)| at).nth(n).unwrap()
    };
    let edited = |at: usize, value: &[u8]| {
        let mut bytes = good.clone();
        let start = central(&bytes, 1) + at;
        bytes[start..start + value.len()].copy_from_slice(value);
        bytes
    };
    refused(&edited(10, &8u16.to_le_bytes()), "a compressed entry `m/data/0`");
    refused(&edited(24, &0x7fff_ffffu32.to_le_bytes()), "that ends beyond it");
    // Both entries in one place: the storage is the pickle's bytes and all behind them.
    let all = (good.len() as u32 - 100).to_le_bytes();
    let mut twice = edited(24, &all);
    let start = central(&twice, 1);
    twice[start + 20..start + 24].copy_from_slice(&all);
    twice[start + 42..start + 46].copy_from_slice(&[0; 4]);
    refused(&twice, "entries that overlap");
}

#[test]
fn shards_of_both_formats_are_one_model() {
    let read = |folder: &Path| Checkpoint::read(folder, |_| false).unwrap();
    let (shards, whole) = (read(&fixture("pytorch/model")), read(&fixture("folders/model")));
    assert_eq!(shards.names().collect::<Vec<_>>(), whole.names().collect::<Vec<_>>());
    for name in whole.names() {
        let shape = whole.shape(name).unwrap();
        assert_eq!(shards.get(name, shape).unwrap(), whole.get(name, shape).unwrap(), "{name}");
    }
    assert!(shards.path().ends_with("pytorch_model.bin.index.json"));
}
