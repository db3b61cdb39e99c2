//! Tensors of a checkpoint as a safetensors file, in the types that they have; one is brought to the
//! host at a time.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;

use burn::module::ParamId;
use burn::tensor::backend::Backend;
use burn::tensor::{Bytes, DType, Tensor, TensorData};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, View};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where a file has what is no tensor.
const ABOUT: &str = "about";

/// The name of a parameter.
pub(crate) fn parameter_name(id: ParamId) -> String {
    format!("{:016x}", id.val())
}

/// Tensors by name, flattened, and something about them.
#[derive(Clone, Debug)]
pub(crate) struct TensorFile<B: Backend, T> {
    pub(crate) tensors: BTreeMap<String, Tensor<B, 1>>,
    pub(crate) about: T,
}

impl<B: Backend, T: Serialize + DeserializeOwned> TensorFile<B, T> {
    /// Writes the file at `path`.
    pub(crate) fn write(&self, path: &Path) -> io::Result<()> {
        safetensors::serialize_to_file(self.views(), Some(self.metadata()), path)
            .map_err(io::Error::other)?;
        samtone_files::give_usual_mode(path)
    }

    /// The bytes of the file.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        safetensors::serialize(self.views(), Some(self.metadata()))
            .expect("names and sizes of a model's tensors fit into a header")
    }

    /// What a file's bytes hold, on `device`.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(crate) fn from_bytes(bytes: &[u8], device: &B::Device) -> Result<Self, String> {
        let file = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let about = header.metadata().as_ref().and_then(|about| about.get(ABOUT));
        let about = about.ok_or("it does not say what its tensors are")?;
        let about = serde_json::from_str(about).map_err(|error| error.to_string())?;
        let tensors = file.iter().map(|(name, view)| {
            let dtype =
                burns(view.dtype()).ok_or_else(|| format!("`{name}` is of no float type"))?;
            let elements = view.shape().iter().product::<usize>();
            let bytes = Bytes::from_bytes_vec(view.data().to_vec());
            let data = TensorData::from_bytes(bytes, [elements], dtype);
            Ok((name.to_owned(), Tensor::from_data(data, (device, dtype))))
        });
        Ok(Self { tensors: tensors.collect::<Result<_, String>>()?, about })
    }

    fn metadata(&self) -> HashMap<String, String> {
        let about = serde_json::to_string(&self.about).expect("it is representable as JSON");
        HashMap::from([(ABOUT.to_owned(), about)])
    }

    fn views(&self) -> impl Iterator<Item = (&String, OnHost<'_, B>)> {
        self.tensors.iter().map(|(name, tensor)| (name, OnHost { tensor, shape: tensor.dims() }))
    }
}

/// A tensor whose elements are fetched when they are asked for.
struct OnHost<'a, B: Backend> {
    tensor: &'a Tensor<B, 1>,
    shape: [usize; 1],
}

impl<B: Backend> View for OnHost<'_, B> {
    fn dtype(&self) -> Dtype {
        match self.tensor.dtype() {
            DType::F64 => Dtype::F64,
            DType::F32 => Dtype::F32,
            DType::F16 => Dtype::F16,
            DType::BF16 => Dtype::BF16,
            other => unreachable!("nothing of {other:?} is trained"),
        }
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Owned(self.tensor.to_data().as_bytes().to_vec())
    }

    fn data_len(&self) -> usize {
        self.shape[0] * self.tensor.dtype().size()
    }
}

fn burns(dtype: Dtype) -> Option<DType> {
    Some(match dtype {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use burn::backend::Flex;
    use burn::tensor::Distribution;

    use super::*;

    #[test]
    fn every_float_type_comes_back_to_the_bit() {
        let device = Default::default();
        let of = |dtype: DType| {
            let random = Distribution::Uniform(-1.0, 1.0);
            let tensor = Tensor::<Flex, 1>::random([5], random, (&device, DType::F64)).cast(dtype);
            (dtype.name().to_owned(), tensor)
        };
        let tensors = [DType::F64, DType::F32, DType::F16, DType::BF16].map(of).into();
        let file = TensorFile { tensors, about: "steps".to_owned() };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        file.write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        assert_eq!(bytes, file.to_bytes());
        let read = TensorFile::<Flex, String>::from_bytes(&bytes, &device).unwrap();
        assert_eq!(read.about, "steps");
        let data = |file: &TensorFile<Flex, String>| -> Vec<_> {
            file.tensors.iter().map(|(name, tensor)| (name.clone(), tensor.to_data())).collect()
        };
        assert_eq!(data(&read), data(&file));
        let torn = &bytes[..bytes.len() - 1];
        assert!(TensorFile::<Flex, String>::from_bytes(torn, &device).is_err());
        assert!(TensorFile::<Flex, usize>::from_bytes(&bytes, &device).is_err());
    }
}
