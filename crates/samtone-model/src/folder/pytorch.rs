//! PyTorch's own files, `pytorch_model.bin`: a pickle of names and shapes, and storages of numbers.
//!
//! Both formats are read, the archive of 1.6 and later and the stream of before. A tensor is a view of
//! a storage: it may be transposed, a part, or one of several. Nothing is allocated before the file
//! was seen to hold it.

mod pickle;

use std::collections::{BTreeMap, HashMap};
use std::io::Cursor;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use burn::tensor::{bf16, f16};
use zip::{CompressionMethod, ZipArchive};

use self::pickle::{Class, Element, Fault, Id, Pickle, Value};
use super::host_tensor::{FLOATS, HostTensor};
use crate::error::ModelError;

/// The number that older files start with, as a pickle.
const MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";

/// Reads the tensors of a file's bytes, but for those whose names `skip` accepts.
///
/// # Errors
/// If the file is malformed, holds anything but tensors, or a tensor that is not of finite floats.
pub(super) fn read(
    path: &Path,
    bytes: &[u8],
    skip: impl Fn(&str) -> bool,
) -> Result<BTreeMap<String, Arc<HostTensor>>, ModelError> {
    let parts = if bytes.starts_with(MAGIC) {
        Parts::of_stream(path, bytes)?
    } else {
        Parts::of_archive(path, bytes)?
    };
    Reader { path, bytes, parts }.tensors(skip)
}

/// What a file consists of.
struct Parts {
    pickle: Pickle,
    /// Where the pickle starts in the file, or in its entry of the archive.
    start: usize,
    /// The bytes of each storage by its key.
    storages: HashMap<String, Range<usize>>,
}

/// An error at a byte of a pickle that starts at `start`.
fn at(path: &Path, start: usize) -> impl Fn(Fault) -> ModelError {
    let path = path.to_owned();
    move |Fault { at, got, expected }| ModelError::Pickle {
        path: path.clone(),
        at: start + at,
        got,
        expected,
    }
}

impl Parts {
    /// An archive, whose entries must be stored as they are.
    fn of_archive(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let failed = |source| ModelError::Archive { path: path.to_owned(), source };
        let broken = |got: &str, expected| entry_error(path, got, expected);
        let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(failed)?;
        let mut entries = HashMap::new();
        let mut total = 0;
        for index in 0..archive.len() {
            let entry = archive.by_index_raw(index).map_err(failed)?;
            let name = entry.name().to_owned();
            if entry.encrypted() || entry.compression() != CompressionMethod::Stored {
                return Err(broken(&format!("a compressed entry `{name}`"), "stored ones"));
            }
            let start = entry.data_start().unwrap_or(u64::MAX) as usize;
            let range = start.checked_add(entry.size() as usize).map(|end| start..end);
            let range = range.filter(|range| range.end <= bytes.len());
            let beyond = || broken(&format!("an entry `{name}` that ends beyond it"), "whole ones");
            let range = range.ok_or_else(beyond)?;
            total += range.len();
            entries.insert(name, range);
        }
        if total > bytes.len() {
            return Err(broken("entries that overlap", "each in a place of its own"));
        }
        let is_pickle = |name: &str| {
            name == PICKLE || name.split_once('/').is_some_and(|(_, rest)| rest == PICKLE)
        };
        let pickle = entries.keys().find(|name| is_pickle(name)).cloned();
        let Some(pickle) = pickle else {
            return Err(broken("no entry `data.pkl`", "what `torch.save` writes"));
        };
        let root = pickle.strip_suffix(PICKLE).unwrap_or_default().to_owned();
        if let Some(order) = entries.get(&format!("{root}byteorder"))
            && bytes[order.clone()] != *b"little"
        {
            return Err(broken("numbers of another byte order", "`little`"));
        }
        let entry = entries[&pickle].clone();
        let pickle = Pickle::read(&bytes[entry]).map_err(at(path, 0))?;
        let data = format!("{root}data/");
        let storages = entries
            .into_iter()
            .filter_map(|(name, range)| Some((name.strip_prefix(&data)?.to_owned(), range)));
        Ok(Self { pickle, start: 0, storages: storages.collect() })
    }

    /// Pickles one after the other, then the storages in the order of the last pickle.
    fn of_stream(path: &Path, bytes: &[u8]) -> Result<Self, ModelError> {
        let mut start = MAGIC.len();
        let mut next = || {
            let pickle = Pickle::read(&bytes[start..]).map_err(at(path, start))?;
            start += pickle.len;
            Ok::<_, ModelError>((pickle, start))
        };
        let _protocol = next()?;
        let (machine, _) = next()?;
        let is_little = |(key, value): &(Id, Id)| {
            *machine.get(*key) != Value::Text("little_endian".into())
                || *machine.get(*value) == Value::Bool(true)
        };
        if !matches!(machine.get(machine.root), Value::Dict(all) if all.iter().all(is_little)) {
            return Err(entry_error(path, "numbers of another byte order", "`little_endian`"));
        }
        let (pickle, end) = next()?;
        let start = end - pickle.len;
        let (order, mut place) = next()?;
        // How large an element of each storage is, the tensors say.
        let mut sizes = HashMap::new();
        for (key, element, _) in pickle.storages() {
            sizes.insert(key, element.size());
        }
        let mut storages = HashMap::new();
        let keys = match order.get(order.root) {
            Value::List(keys) => keys.as_slice(),
            _ => &[],
        };
        for &key in keys {
            let Value::Text(key) = order.get(key) else { continue };
            let count = bytes.get(place..).and_then(<[u8]>::first_chunk);
            let count = count.map(|&count| u64::from_le_bytes(count) as usize);
            let size = sizes.get(key.as_str()).copied();
            let range = count.zip(size).and_then(|(count, size)| {
                let end = count.checked_mul(size)?.checked_add(place + 8)?;
                (end <= bytes.len()).then_some(place + 8..end)
            });
            let beyond = || {
                let got = format!("a storage `{key}` that ends beyond it");
                entry_error(path, &got, "whole ones")
            };
            let range = range.ok_or_else(beyond)?;
            place = range.end;
            storages.insert(key.clone(), range);
        }
        Ok(Self { pickle, start, storages })
    }
}

/// Most axes of a tensor; those of models have two.
const MOST_AXES: usize = 8;

/// The entry of an archive that names the tensors.
const PICKLE: &str = "data.pkl";

fn entry_error(path: &Path, got: &str, expected: &'static str) -> ModelError {
    ModelError::PytorchFile { path: path.to_owned(), got: got.to_owned(), expected }
}

/// How a tensor lies in a storage, in elements.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct View {
    key: String,
    element: Element,
    /// Elements of the storage.
    stored: usize,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl View {
    /// Numbers in the tensor, where they all lie in the storage and no more than that has.
    fn elements(&self) -> Option<usize> {
        let elements = self.shape.iter().try_fold(1, |n: usize, &size| n.checked_mul(size))?;
        if elements == 0 {
            return Some(0);
        }
        let steps = self.shape.iter().zip(&self.strides);
        let last = steps
            .map(|(&size, &stride)| (size - 1).checked_mul(stride))
            .try_fold(self.offset, |at, step| at.checked_add(step?))?;
        (last < self.stored && elements <= self.stored).then_some(elements)
    }

    /// The place in the storage of every number, row-major.
    fn places(&self) -> impl Iterator<Item = usize> + '_ {
        let elements = self.shape.iter().product();
        let mut index = vec![0; self.shape.len()];
        let mut place = self.offset;
        (0..elements).map(move |_| {
            let now = place;
            for axis in (0..index.len()).rev() {
                index[axis] += 1;
                place += self.strides[axis];
                if index[axis] < self.shape[axis] {
                    break;
                }
                place -= self.strides[axis] * self.shape[axis];
                index[axis] = 0;
            }
            now
        })
    }
}

impl Pickle {
    fn tuple(&self, id: Id) -> Option<&[Id]> {
        match self.get(id) {
            Value::Tuple(items) => Some(items),
            _ => None,
        }
    }

    fn text(&self, id: Id) -> Option<&str> {
        match self.get(id) {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn size(&self, id: Id) -> Option<usize> {
        match self.get(id) {
            Value::Int(int) => usize::try_from(*int).ok(),
            _ => None,
        }
    }

    /// Sizes or strides: each tensor that names them has its own, so they are few.
    fn sizes(&self, id: Id) -> Option<Vec<usize>> {
        let sizes = self.tuple(id).filter(|sizes| sizes.len() <= MOST_AXES)?;
        sizes.iter().map(|&id| self.size(id)).collect()
    }

    /// The key, the type and the number of elements of a storage.
    fn storage(&self, id: Id) -> Option<(&str, Element, usize)> {
        let Value::Persistent(id) = self.get(id) else { return None };
        let [kind, class, key, _place, elements, view @ ..] = self.tuple(*id)? else { return None };
        // A view of a storage is of PyTorch before 0.4.
        let is_whole = view.iter().all(|&view| *self.get(view) == Value::None);
        match self.get(*class) {
            Value::Class(Class::Storage(element)) if is_whole && self.text(*kind)? == "storage" => {
                Some((self.text(*key)?, *element, self.size(*elements)?))
            }
            _ => None,
        }
    }

    /// Every storage that the pickle speaks of.
    fn storages(&self) -> impl Iterator<Item = (&str, Element, usize)> {
        self.ids().filter_map(|id| self.storage(id))
    }

    fn view(&self, arguments: Id) -> Option<View> {
        let [storage, offset, shape, strides, ..] = self.tuple(arguments)? else { return None };
        let (key, element, stored) = self.storage(*storage)?;
        let (shape, strides) = (self.sizes(*shape)?, self.sizes(*strides)?);
        let offset = self.size(*offset)?;
        let view = View { key: key.to_owned(), element, stored, offset, shape, strides };
        (view.shape.len() == view.strides.len()).then_some(view)
    }
}

struct Reader<'a> {
    path: &'a Path,
    bytes: &'a [u8],
    parts: Parts,
}

impl Reader<'_> {
    fn tensors(
        self,
        skip: impl Fn(&str) -> bool,
    ) -> Result<BTreeMap<String, Arc<HostTensor>>, ModelError> {
        let pickle = &self.parts.pickle;
        let root = |got: &str| {
            let fault =
                Fault { at: 0, got: got.to_owned(), expected: "a dictionary of tensors by name" };
            at(self.path, self.parts.start)(fault)
        };
        let Value::Dict(entries) = pickle.get(pickle.root) else {
            return Err(root("something else"));
        };
        let mut views = BTreeMap::new();
        for &(key, value) in entries {
            let name = pickle.text(key).ok_or_else(|| root("a name that is no text"))?;
            if skip(name) {
                continue;
            }
            let Value::Tensor(arguments) = pickle.get(value) else {
                return Err(root(&format!("no tensor under the name `{name}`")));
            };
            let view = pickle.view(*arguments);
            let view = view.ok_or_else(|| self.misfit(name, "no sizes and strides".into()))?;
            self.check(name, &view)?;
            views.insert(name.to_owned(), view);
        }
        self.check_total(views.values())?;
        let mut read: HashMap<View, Arc<HostTensor>> = HashMap::new();
        let mut tensors = BTreeMap::new();
        for (name, view) in views {
            let values = if let Some(values) = read.get(&view) {
                values.clone()
            } else {
                let values = Arc::new(self.values(&name, &view)?);
                read.insert(view, values.clone());
                values
            };
            tensors.insert(name, values);
        }
        Ok(tensors)
    }

    fn misfit(&self, tensor: &str, got: String) -> ModelError {
        ModelError::PickledTensor { path: self.path.to_owned(), tensor: tensor.to_owned(), got }
    }

    /// The bytes of a view's storage.
    fn storage(&self, view: &View) -> Option<&[u8]> {
        let bytes = &self.bytes[self.parts.storages.get(&view.key)?.clone()];
        (view.stored.checked_mul(view.element.size()) == Some(bytes.len())).then_some(bytes)
    }

    /// Checks that the file holds what a tensor says.
    fn check(&self, name: &str, view: &View) -> Result<(), ModelError> {
        let View { key, stored, offset, shape, strides, .. } = view;
        if self.storage(view).is_none() {
            let got = format!("a storage `{key}` of {stored} numbers, which the file lacks");
            return Err(self.misfit(name, got));
        }
        if view.elements().is_none() {
            let got = format!(
                "shape {shape:?}, strides {strides:?} and offset {offset} in a storage of {stored} numbers"
            );
            return Err(self.misfit(name, got));
        }
        Ok(())
    }

    /// Checks that the tensors together are not much more than the file: many may overlap.
    fn check_total<'v>(&self, views: impl Iterator<Item = &'v View>) -> Result<(), ModelError> {
        let unique: std::collections::HashSet<&View> = views.collect();
        let bytes = unique.iter().map(|view| {
            let elements = view.elements().unwrap_or_default();
            elements as u128 * view.element.size() as u128
        });
        if bytes.sum::<u128>() > 2 * self.bytes.len() as u128 {
            let expected = "at most twice the file's bytes in all";
            return Err(entry_error(self.path, "tensors that overlap many times", expected));
        }
        Ok(())
    }

    fn values(&self, name: &str, view: &View) -> Result<HostTensor, ModelError> {
        fn each<const N: usize>(
            bytes: &[u8],
            view: &View,
            parse: impl Fn([u8; N]) -> f32,
        ) -> Vec<f32> {
            let elements = bytes.as_chunks::<N>().0;
            view.places().map(|place| parse(elements[place])).collect()
        }
        let (path, tensor) = (self.path.to_owned(), name.to_owned());
        let bytes = self.storage(view).expect("checked before");
        let values = match view.element {
            Element::F64 => each(bytes, view, |bytes| f64::from_le_bytes(bytes) as f32),
            Element::F32 => each(bytes, view, f32::from_le_bytes),
            Element::F16 => each(bytes, view, |bytes| f16::from_le_bytes(bytes).to_f32()),
            Element::BF16 => each(bytes, view, |bytes| bf16::from_le_bytes(bytes).to_f32()),
            other => {
                let got = format!("{other:?}");
                return Err(ModelError::TensorType { path, tensor, got, expected: FLOATS });
            }
        };
        if let Some(element) = values.iter().position(|value| !value.is_finite()) {
            return Err(ModelError::NonFiniteTensor { path, tensor, element });
        }
        Ok(HostTensor { shape: view.shape.clone(), values })
    }
}
