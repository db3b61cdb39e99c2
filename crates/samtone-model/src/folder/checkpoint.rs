//! Files of weights to named tensors: safetensors, and PyTorch's own; safetensors back.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::{bf16, f16};
use safetensors::tensor::{Dtype, SafeTensors, TensorView, View};
use serde::Deserialize;

use super::host_tensor::FLOATS;
pub use super::host_tensor::HostTensor;
use crate::error::ModelError;
use crate::folder::pytorch;

/// One file's name when a checkpoint is not sharded.
pub(crate) const WEIGHTS: &str = "model.safetensors";
/// The index of a sharded checkpoint.
const INDEX: &str = "model.safetensors.index.json";
/// PyTorch's own format, whole, and the index of its shards: read where there is no safetensors file.
const PICKLE: &str = "pytorch_model.bin";
const PICKLE_INDEX: &str = "pytorch_model.bin.index.json";

/// Named tensors of a folder, on the host in f32.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    path: PathBuf,
    tensors: BTreeMap<String, Arc<HostTensor>>,
}

/// A tensor and its name.
pub(crate) type Named = (String, Arc<HostTensor>);

impl Checkpoint {
    /// Reads `model.safetensors`, or the shards that `model.safetensors.index.json` lists, or
    /// `pytorch_model.bin` or its shards, of `folder`, but for the tensors whose names `skip` accepts.
    ///
    /// # Errors
    /// If a file is missing, truncated or malformed, if the index and the shards contradict each
    /// other, or if a tensor is not of finite floats.
    pub fn read(folder: &Path, skip: impl Fn(&str) -> bool) -> Result<Self, ModelError> {
        let order = [WEIGHTS, INDEX, PICKLE, PICKLE_INDEX];
        let name = order.into_iter().find(|name| folder.join(name).exists()).unwrap_or(WEIGHTS);
        let path = folder.join(name);
        match name {
            INDEX | PICKLE_INDEX => Self::read_shards(folder, path, skip),
            _ => Self::read_file(&path, skip),
        }
    }

    fn read_shards(
        folder: &Path,
        index: PathBuf,
        skip: impl Fn(&str) -> bool,
    ) -> Result<Self, ModelError> {
        let mut tensors = BTreeMap::new();
        for (shard, names) in shards(&index)? {
            let part = Self::read_file(&folder.join(&shard), &skip)?;
            if let Some(lost) =
                names.iter().find(|name| !skip(name) && !part.tensors.contains_key(*name))
            {
                let (tensor, problem) = (lost.clone(), "its shard lacks it");
                return Err(ModelError::Shard { path: index, tensor, problem });
            }
            for (tensor, values) in part.tensors {
                if !names.contains(&tensor) {
                    let problem = "a shard holds it unannounced";
                    return Err(ModelError::Shard { path: index, tensor, problem });
                }
                tensors.insert(tensor, values);
            }
        }
        Ok(Self { path: index, tensors })
    }

    /// Reads one safetensors file, or one of PyTorch's own whose name ends in `.bin`, but for the tensors whose names `skip` accepts.
    ///
    /// # Errors
    /// As [`Checkpoint::read`].
    pub fn read_file(path: &Path, skip: impl Fn(&str) -> bool) -> Result<Self, ModelError> {
        let path = path.to_owned();
        let bytes =
            fs::read(&path).map_err(|source| ModelError::Io { path: path.clone(), source })?;
        if path.extension().is_some_and(|extension| extension == "bin") {
            return Ok(Self { tensors: pytorch::read(&path, &bytes, skip)?, path });
        }
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|source| ModelError::Safetensors { path: path.clone(), source })?;
        let mut tensors = BTreeMap::new();
        for (name, view) in file.iter().filter(|(name, _)| !skip(name)) {
            let tensor = name.to_owned();
            let Some(values) = floats(&view) else {
                let got = format!("{:?}", view.dtype());
                return Err(ModelError::TensorType { path, tensor, got, expected: FLOATS });
            };
            if let Some(element) = values.iter().position(|value| !value.is_finite()) {
                return Err(ModelError::NonFiniteTensor { path, tensor, element });
            }
            let shape = view.shape().to_vec();
            tensors.insert(tensor, Arc::new(HostTensor { shape, values }));
        }
        Ok(Self { path, tensors })
    }

    /// The file it was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The tensor of this name, of exactly this shape.
    ///
    /// # Errors
    /// If there is none, or it has another shape.
    pub fn get(&self, name: &str, shape: &[usize]) -> Result<&HostTensor, ModelError> {
        let (path, tensor) = (self.path.clone(), name.to_owned());
        match self.tensors.get(name) {
            None => Err(ModelError::MissingTensor { path, tensor, expected: shape.to_vec() }),
            Some(found) if found.shape != shape => Err(ModelError::TensorShape {
                path,
                tensor,
                expected: shape.to_vec(),
                got: found.shape.clone(),
            }),
            Some(found) => Ok(found),
        }
    }

    /// The shape of the tensor of this name, if there is one.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|tensor| tensor.shape.as_slice())
    }

    /// Checks that no tensor is left whose name `known` refuses.
    ///
    /// # Errors
    /// The first such tensor.
    pub fn check_names(&self, known: impl Fn(&str) -> bool) -> Result<(), ModelError> {
        match self.tensors.iter().find(|(name, _)| !known(name)) {
            None => Ok(()),
            Some((name, tensor)) => Err(ModelError::ExtraTensor {
                path: self.path.clone(),
                tensor: name.clone(),
                got: tensor.shape.clone(),
            }),
        }
    }

    /// Tensors read from a file in another way than as they lie there.
    ///
    /// # Errors
    /// If one is not of finite numbers.
    pub(crate) fn checked(
        path: PathBuf,
        tensors: Vec<(String, HostTensor)>,
    ) -> Result<Self, ModelError> {
        for (tensor, found) in &tensors {
            if let Some(element) = found.values.iter().position(|value| !value.is_finite()) {
                return Err(ModelError::NonFiniteTensor { path, tensor: tensor.clone(), element });
            }
        }
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, Arc::new(tensor)));
        Ok(Self { path, tensors: tensors.collect() })
    }

    /// Tensors by name that lie in no file.
    #[cfg(test)]
    pub(crate) fn of(tensors: Vec<(String, HostTensor)>) -> Self {
        let tensors = tensors.into_iter().map(|(name, tensor)| (name, Arc::new(tensor)));
        Self { path: "model.safetensors".into(), tensors: tensors.collect() }
    }

    /// Renames tensors; two that meet under one name must be equal.
    ///
    /// # Errors
    /// If they are not.
    pub(crate) fn rename(self, rename: impl Fn(&str) -> String) -> Result<Self, ModelError> {
        self.flat_map(|name, tensor| Ok(vec![(rename(name), tensor)]))
    }

    /// Makes named tensors of each; two that meet under one name must be equal.
    ///
    /// # Errors
    /// If they are not, or if a tensor cannot be split in so many parts (given back as its name and
    /// shape).
    pub(crate) fn flat_map(
        self,
        make: impl Fn(&str, Arc<HostTensor>) -> Result<Vec<Named>, (String, Vec<usize>)>,
    ) -> Result<Self, ModelError> {
        let mut tensors = BTreeMap::new();
        for (name, tensor) in self.tensors {
            let made = make(&name, tensor).map_err(|(tensor, got)| ModelError::Unsplittable {
                path: self.path.clone(),
                tensor,
                got,
            })?;
            for (name, tensor) in made {
                match tensors.get(&name) {
                    Some(other) if *other != tensor => {
                        let problem = "it is there twice, with other values";
                        return Err(ModelError::Shard { path: self.path, tensor: name, problem });
                    }
                    _ => tensors.insert(name, tensor),
                };
            }
        }
        Ok(Self { path: self.path, tensors })
    }

    /// The same without the tensor of this name.
    pub(crate) fn without(mut self, name: &str) -> Self {
        self.tensors.remove(name);
        self
    }

    /// The names of all tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}

/// Which tensors each shard of an index holds.
fn shards(index: &Path) -> Result<BTreeMap<String, Vec<String>>, ModelError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: HashMap<String, String>,
    }
    let text = fs::read_to_string(index)
        .map_err(|source| ModelError::Io { path: index.to_owned(), source })?;
    let parsed: Index = serde_json::from_str(&text)
        .map_err(|source| ModelError::Json { path: index.to_owned(), source })?;
    let mut shards: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (tensor, shard) in parsed.weight_map {
        // A shard is a file beside the index, never a path out of the folder.
        if Path::new(&shard).file_name() != Some(shard.as_ref()) {
            let problem = "its shard is no file name";
            return Err(ModelError::Shard { path: index.to_owned(), tensor, problem });
        }
        shards.entry(shard).or_default().push(tensor);
    }
    Ok(shards)
}

/// A tensor's elements as f32; none if they are no floats.
pub(crate) fn floats(view: &TensorView<'_>) -> Option<Vec<f32>> {
    fn each<const N: usize>(bytes: &[u8], parse: impl Fn([u8; N]) -> f32) -> Vec<f32> {
        bytes.as_chunks::<N>().0.iter().map(|&bytes| parse(bytes)).collect()
    }
    let bytes = view.data();
    Some(match view.dtype() {
        Dtype::F32 => each(bytes, f32::from_le_bytes),
        Dtype::F64 => each(bytes, |bytes| f64::from_le_bytes(bytes) as f32),
        Dtype::F16 => each(bytes, |bytes| f16::from_le_bytes(bytes).to_f32()),
        Dtype::BF16 => each(bytes, |bytes| bf16::from_le_bytes(bytes).to_f32()),
        _ => return None,
    })
}

/// Writes tensors, in a byte-stable order, as PyTorch's users expect them; the bytes of one exist at a
/// time.
///
/// # Errors
/// If the file cannot be written.
pub(crate) fn write(path: &Path, tensors: &[(String, HostTensor)]) -> Result<(), ModelError> {
    struct InFile<'a>(&'a HostTensor);
    impl View for InFile<'_> {
        fn dtype(&self) -> Dtype {
            Dtype::F32
        }
        fn shape(&self) -> &[usize] {
            &self.0.shape
        }
        fn data(&self) -> Cow<'_, [u8]> {
            self.0.values.iter().flat_map(|value| value.to_le_bytes()).collect()
        }
        fn data_len(&self) -> usize {
            size_of_val(&*self.0.values)
        }
    }
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let views = tensors.iter().map(|(name, tensor)| (name, InFile(tensor)));
    safetensors::serialize_to_file(views, Some(metadata), path)
        .map_err(|source| ModelError::Safetensors { path: path.to_owned(), source })?;
    // It lets nobody but the owner read the file.
    samtone_files::give_usual_mode(path)
        .map_err(|source| ModelError::Io { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(shape: &[usize], start: f32) -> HostTensor {
        let n = shape.iter().product::<usize>();
        HostTensor { shape: shape.to_vec(), values: (0..n).map(|i| start + i as f32).collect() }
    }

    fn written(tensors: &[(String, HostTensor)]) -> (tempfile::TempDir, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        write(&folder.path().join(WEIGHTS), tensors).unwrap();
        let bytes = fs::read(folder.path().join(WEIGHTS)).unwrap();
        (folder, bytes)
    }

    fn two() -> Vec<(String, HostTensor)> {
        vec![("b".into(), tensor(&[2, 3], 0.5)), ("a".into(), tensor(&[4], -1.0))]
    }

    #[test]
    fn what_is_written_is_read() {
        let (folder, _) = written(&two());
        let checkpoint = Checkpoint::read(folder.path(), |_| false).unwrap();
        assert_eq!(checkpoint.names().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(checkpoint.get("b", &[2, 3]).unwrap(), &tensor(&[2, 3], 0.5));
        let error = checkpoint.get("b", &[3, 2]).unwrap_err().to_string();
        assert!(error.ends_with("has shape [2, 3], expected [3, 2]"), "{error}");
        let error = checkpoint.get("c", &[1]).unwrap_err().to_string();
        assert!(error.ends_with("lacks tensor `c`, expected of shape [1]"), "{error}");
        let error = checkpoint.check_names(|name| name == "a").unwrap_err().to_string();
        assert!(error.contains("holds tensor `b` of shape [2, 3]"), "{error}");
    }

    #[test]
    fn every_truncation_is_an_error() {
        let (folder, bytes) = written(&two());
        for length in 0..bytes.len() {
            fs::write(folder.path().join(WEIGHTS), &bytes[..length]).unwrap();
            let error = Checkpoint::read(folder.path(), |_| false).unwrap_err();
            assert!(matches!(error, ModelError::Safetensors { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn a_flipped_header_byte_never_panics() {
        let (folder, bytes) = written(&two());
        let header = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        for at in 0..header {
            let mut broken = bytes.clone();
            broken[at] ^= 0x15;
            fs::write(folder.path().join(WEIGHTS), &broken).unwrap();
            let _ = Checkpoint::read(folder.path(), |_| false);
        }
    }

    #[test]
    fn a_number_that_is_none_is_named() {
        let mut tensors = two();
        tensors[1].1.values[2] = f32::NAN;
        let (folder, _) = written(&tensors);
        let error = Checkpoint::read(folder.path(), |_| false).unwrap_err().to_string();
        assert!(error.starts_with("tensor `a` of"), "{error}");
        assert!(error.ends_with("is not finite at element 2"), "{error}");
    }

    #[test]
    fn shards_are_joined_and_checked_against_their_index() {
        let folder = tempfile::tempdir().unwrap();
        let [b, a] = <[_; 2]>::try_from(two()).unwrap();
        write(&folder.path().join("one.safetensors"), &[a]).unwrap();
        write(&folder.path().join("two.safetensors"), &[b]).unwrap();
        let read = |index: &str| {
            fs::write(folder.path().join(INDEX), index).unwrap();
            Checkpoint::read(folder.path(), |_| false).map_err(|error| error.to_string())
        };
        let good = r#"{ "weight_map": { "a": "one.safetensors", "b": "two.safetensors" } }"#;
        assert_eq!(read(good).unwrap().names().collect::<Vec<_>>(), ["a", "b"]);
        for (index, problem) in [
            (r#"{ "weight_map": { "a": "two.safetensors" } }"#, "its shard lacks it"),
            (
                r#"{ "weight_map": { "a": "one.safetensors", "c": "two.safetensors" } }"#,
                "its shard lacks it",
            ),
            (r#"{ "weight_map": { "a": "../one.safetensors" } }"#, "its shard is no file name"),
            (r#"{ "weight_map": { "a": "none.safetensors" } }"#, "cannot access"),
            ("{}", "cannot read"),
        ] {
            let error = read(index).unwrap_err();
            assert!(error.contains(problem), "{error}");
        }
    }
}
