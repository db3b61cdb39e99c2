//! Pickles of tensors: a machine that knows what PyTorch writes for a dictionary of tensors.
//!
//! It makes data and calls nothing: a class is a name, and of those it knows only the ones that a
//! dictionary of tensors needs. Every value is made once and then numbered, so what refers to itself,
//! or to another a thousand times over, costs no more than its bytes.

use std::collections::HashMap;

/// The longest pickle that is read, in bytes: of some 80,000 tensors.
const LONGEST: usize = 16 << 20;

/// Most values, remembered ones and marks: a tensor takes a dozen. A value is larger than the byte that
/// may make it.
const MOST: usize = 1 << 20;

/// What of a pickle cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    /// The byte of the pickle at which it shows.
    pub(super) at: usize,
    /// What is there.
    pub(super) got: String,
    pub(super) expected: &'static str,
}

/// The number of a value.
pub(super) type Id = u32;

/// What a pickle makes.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    None,
    Bool(bool),
    Int(i64),
    /// An integer of more than eight bytes.
    BigInt(Vec<u8>),
    Float,
    Text(String),
    Tuple(Box<[Id]>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    Class(Class),
    /// What another part of the file holds: the numbers of a storage.
    Persistent(Id),
    /// A tensor: the arguments of the function that rebuilds it.
    Tensor(Id),
}

/// The classes and functions of Python that a dictionary of tensors needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
    /// A storage whose elements are of this type.
    Storage(Element),
}

/// The type of a storage's elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Element {
    F64,
    F32,
    F16,
    BF16,
    I64,
    I32,
    I16,
    I8,
    U8,
    Bool,
}

impl Class {
    fn find(module: &str, name: &str) -> Option<Self> {
        let storage = |element| Some(Self::Storage(element));
        match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", "DoubleStorage") => storage(Element::F64),
            ("torch", "FloatStorage") => storage(Element::F32),
            ("torch", "HalfStorage") => storage(Element::F16),
            ("torch", "BFloat16Storage") => storage(Element::BF16),
            ("torch", "LongStorage") => storage(Element::I64),
            ("torch", "IntStorage") => storage(Element::I32),
            ("torch", "ShortStorage") => storage(Element::I16),
            ("torch", "CharStorage") => storage(Element::I8),
            ("torch", "ByteStorage") => storage(Element::U8),
            ("torch", "BoolStorage") => storage(Element::Bool),
            _ => None,
        }
    }
}

impl Element {
    /// Bytes of one element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::F64 | Self::I64 => 8,
            Self::F32 | Self::I32 => 4,
            Self::F16 | Self::BF16 | Self::I16 => 2,
            Self::I8 | Self::U8 | Self::Bool => 1,
        }
    }
}

/// The values of one pickle.
#[derive(Debug)]
pub(super) struct Pickle {
    values: Vec<Value>,
    /// The value that it stands for.
    pub(super) root: Id,
    /// Its length, in bytes.
    pub(super) len: usize,
}

impl Pickle {
    /// Reads the pickle that `bytes` starts with.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Fault> {
        let mut machine = Machine::new(bytes);
        let root = machine.run()?;
        Ok(Self { values: machine.values, root, len: machine.at })
    }

    pub(super) fn get(&self, id: Id) -> &Value {
        &self.values[id as usize]
    }

    /// The numbers of all values.
    pub(super) fn ids(&self) -> impl Iterator<Item = Id> {
        0..self.values.len() as Id
    }
}

/// The numbers of the values that need no bytes of their own.
const NONE: Id = 0;
const FALSE: Id = 1;
const TRUE: Id = 2;
const SMALL: Id = 3;

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    /// Where the opcode in hand is.
    opcode: usize,
    values: Vec<Value>,
    stack: Vec<Id>,
    /// How high the stack was at each mark.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
}

impl<'a> Machine<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut values = vec![Value::None, Value::Bool(false), Value::Bool(true)];
        values.extend((0..256).map(Value::Int));
        let (stack, marks, memo) = (Vec::new(), Vec::new(), HashMap::new());
        Self { bytes, at: 0, opcode: 0, values, stack, marks, memo }
    }

    fn fault(&self, got: impl Into<String>, expected: &'static str) -> Fault {
        Fault { at: self.opcode, got: got.into(), expected }
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8], Fault> {
        let end = self.at.checked_add(n).filter(|&end| end <= LONGEST);
        let end = end.ok_or_else(|| self.fault("more than 16 MiB", "names and shapes alone"))?;
        let taken = self.bytes.get(self.at..end);
        let taken = taken.ok_or_else(|| self.fault("the end of the file", "more bytes"))?;
        self.at = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        Ok(self.take(N)?.try_into().expect("as many bytes as were taken"))
    }

    fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.array::<1>()?[0])
    }

    fn text(&mut self, n: usize) -> Result<&'a str, Fault> {
        let bytes = self.take(n)?;
        std::str::from_utf8(bytes).map_err(|_| self.fault("other bytes", "UTF-8"))
    }

    fn line(&mut self) -> Result<&'a str, Fault> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|&byte| byte == b'\n');
        let line = self.text(end.unwrap_or(rest.len()))?;
        self.take(1)?;
        Ok(line)
    }

    fn push(&mut self, value: Value) {
        self.stack.push(self.values.len() as Id);
        self.values.push(value);
    }

    fn push_int(&mut self, int: i64) {
        match u8::try_from(int) {
            Ok(small) => self.stack.push(SMALL + Id::from(small)),
            Err(_) => self.push(Value::Int(int)),
        }
    }

    /// The topmost value, not below the last mark.
    fn top(&self) -> Result<Id, Fault> {
        let floor = self.marks.last().copied().unwrap_or(0);
        let top = self.stack.get(floor..).and_then(<[Id]>::last);
        top.copied().ok_or_else(|| self.fault("an opcode without its operand", "a value before it"))
    }

    fn pop(&mut self) -> Result<Id, Fault> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn pop_tuple<const N: usize>(&mut self) -> Result<(), Fault> {
        let mut items = [0; N];
        for item in items.iter_mut().rev() {
            *item = self.pop()?;
        }
        self.push(Value::Tuple(items.into()));
        Ok(())
    }

    /// The values above the last mark, which falls away.
    fn pop_marked(&mut self) -> Result<Vec<Id>, Fault> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| self.fault("an opcode without its mark", "a mark"))?;
        Ok(self.stack.split_off(mark))
    }

    fn set(&mut self, items: &[Id]) -> Result<(), Fault> {
        let target = self.top()?;
        match &mut self.values[target as usize] {
            Value::Dict(entries) if items.len().is_multiple_of(2) => {
                entries.extend(items.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            _ => Err(self.fault("entries of no dictionary", "a dictionary before them")),
        }
    }

    fn append(&mut self, items: &[Id]) -> Result<(), Fault> {
        let target = self.top()?;
        match &mut self.values[target as usize] {
            Value::List(list) => {
                list.extend_from_slice(items);
                Ok(())
            }
            _ => Err(self.fault("items of no list", "a list before them")),
        }
    }

    fn class(&mut self, module: &str, name: &str) -> Result<(), Fault> {
        let class = Class::find(module, name);
        let short = |text: &str| text.chars().take(60).collect::<String>();
        let got = || format!("`{}.{}`", short(module), short(name));
        let class = class
            .ok_or_else(|| self.fault(got(), "what a dictionary of tensors needs, no more"))?;
        self.push(Value::Class(class));
        Ok(())
    }

    fn remember(&mut self, number: u32) -> Result<(), Fault> {
        let top = self.top()?;
        self.memo.insert(number, top);
        Ok(())
    }

    fn recall(&mut self, number: u32) -> Result<(), Fault> {
        let found = self.memo.get(&number).copied();
        let got = || format!("a reference to value {number}, which is not there");
        self.stack.push(found.ok_or_else(|| self.fault(got(), "an earlier value"))?);
        Ok(())
    }

    /// What a call would give; nothing is called.
    fn reduce(&mut self) -> Result<(), Fault> {
        let (arguments, callee) = (self.pop()?, self.pop()?);
        let Value::Tuple(items) = &self.values[arguments as usize] else {
            return Err(self.fault("arguments that are no tuple", "a tuple"));
        };
        match (&self.values[callee as usize], items.first()) {
            (Value::Class(Class::OrderedDict), None) => self.push(Value::Dict(Vec::new())),
            (Value::Class(Class::RebuildTensor), _) => self.push(Value::Tensor(arguments)),
            (Value::Class(Class::RebuildParameter), Some(&tensor)) => self.stack.push(tensor),
            _ => return Err(self.fault("a call", "one that makes a dictionary or a tensor")),
        }
        Ok(())
    }

    #[expect(clippy::too_many_lines, reason = "an opcode after the other")]
    fn run(&mut self) -> Result<Id, Fault> {
        loop {
            self.opcode = self.at;
            let held = [self.values.len(), self.stack.len(), self.marks.len(), self.memo.len()];
            if held.into_iter().any(|held| held > MOST) {
                return Err(self.fault("more than a million values", "names and shapes alone"));
            }
            match self.byte()? {
                // The protocol and a frame's length say nothing that is needed.
                0x80 => drop(self.take(1)?),
                0x95 => drop(self.take(8)?),
                b'N' => self.stack.push(NONE),
                0x89 => self.stack.push(FALSE),
                0x88 => self.stack.push(TRUE),
                b'K' => {
                    let int = self.byte()?;
                    self.push_int(int.into());
                }
                b'M' => {
                    let int = u16::from_le_bytes(self.array()?);
                    self.push_int(int.into());
                }
                b'J' => {
                    let int = i32::from_le_bytes(self.array()?);
                    self.push_int(int.into());
                }
                0x8a => {
                    let n = self.byte()?.into();
                    let int = self.take(n)?;
                    match long(int) {
                        Some(int) => self.push_int(int),
                        None => self.push(Value::BigInt(int.to_vec())),
                    }
                }
                b'G' => {
                    self.take(8)?;
                    self.push(Value::Float);
                }
                b'X' => {
                    let n = u32::from_le_bytes(self.array()?) as usize;
                    let text = self.text(n)?.to_owned();
                    self.push(Value::Text(text));
                }
                // Strings of a byte's length, of Python 2 and of protocol 4.
                b'U' | 0x8c => {
                    let n = self.byte()?.into();
                    let text = self.text(n)?.to_owned();
                    self.push(Value::Text(text));
                }
                b')' => self.push(Value::Tuple([].into())),
                0x85 => self.pop_tuple::<1>()?,
                0x86 => self.pop_tuple::<2>()?,
                0x87 => self.pop_tuple::<3>()?,
                b'(' => self.marks.push(self.stack.len()),
                b't' => {
                    let items = self.pop_marked()?;
                    self.push(Value::Tuple(items.into()));
                }
                b']' => self.push(Value::List(Vec::new())),
                b'}' => self.push(Value::Dict(Vec::new())),
                b'a' => {
                    let item = self.pop()?;
                    self.append(&[item])?;
                }
                b'e' => {
                    let items = self.pop_marked()?;
                    self.append(&items)?;
                }
                b's' => {
                    let (value, key) = (self.pop()?, self.pop()?);
                    self.set(&[key, value])?;
                }
                b'u' => {
                    let items = self.pop_marked()?;
                    self.set(&items)?;
                }
                b'q' => {
                    let number = self.byte()?.into();
                    self.remember(number)?;
                }
                b'r' => {
                    let number = u32::from_le_bytes(self.array()?);
                    self.remember(number)?;
                }
                0x94 => self.remember(self.memo.len() as u32)?,
                b'h' => {
                    let number = self.byte()?.into();
                    self.recall(number)?;
                }
                b'j' => {
                    let number = u32::from_le_bytes(self.array()?);
                    self.recall(number)?;
                }
                b'c' => {
                    let (module, name) = (self.line()?, self.line()?);
                    self.class(module, name)?;
                }
                0x93 => {
                    let (name, module) = (self.pop()?, self.pop()?);
                    let [module, name] = [module, name].map(|id| self.values[id as usize].clone());
                    let (Value::Text(module), Value::Text(name)) = (module, name) else {
                        return Err(self.fault("a class without a name", "its module and name"));
                    };
                    self.class(&module, &name)?;
                }
                b'Q' => {
                    let id = self.pop()?;
                    self.push(Value::Persistent(id));
                }
                b'R' => self.reduce()?,
                // An attribute of a dictionary, `_metadata`: nothing that is needed.
                b'b' => {
                    self.pop()?;
                    let target = self.top()?;
                    if !matches!(self.values[target as usize], Value::Dict(_)) {
                        return Err(self.fault("a state of no dictionary", "a dictionary"));
                    }
                }
                b'.' => return self.pop(),
                other => {
                    let got = format!("opcode 0x{other:02x}");
                    return Err(self.fault(got, "what a dictionary of tensors needs, no more"));
                }
            }
        }
    }
}

/// An integer of at most eight bytes, little-endian in two's complement.
fn long(bytes: &[u8]) -> Option<i64> {
    let fill = if bytes.last().is_some_and(|&last| last >= 0x80) { 0xff } else { 0 };
    let mut whole = [fill; 8];
    whole.get_mut(..bytes.len())?.copy_from_slice(bytes);
    Some(i64::from_le_bytes(whole))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(bytes: &[u8]) -> Fault {
        Pickle::read(bytes).unwrap_err()
    }

    #[test]
    fn nothing_but_tensors_and_dictionaries_is_named_or_called() {
        for (bytes, got, at) in [
            // os.system("...") by the four ways to name and call it.
            (&b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R."[..], "`posix.system`", 2),
            (b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", "`posix.system`", 17),
            (b"\x80\x02c__builtin__\neval\n.", "`__builtin__.eval`", 2),
            (b"(S'id'\niposix\nsystem\n.", "opcode 0x53", 1),
            (b"cbuiltins\ngetattr\n.", "`builtins.getattr`", 0),
            // What is known may not be called otherwise than PyTorch does.
            (b"ctorch\nFloatStorage\n)R.", "a call", 21),
            (b"ccollections\nOrderedDict\n](K\x01e\x85R.", "a call", 31),
            (b"}\x81.", "opcode 0x81", 1),
            (b"ccollections\nOrderedDict\n)\x81.", "opcode 0x81", 26),
            (b"ctorch._utils\n_rebuild_tensor_v2\n}b.", "a state of no dictionary", 34),
        ] {
            let fault = fault(bytes);
            assert_eq!((fault.got.as_str(), fault.at), (got, at), "{fault:?}");
        }
    }

    #[test]
    fn every_truncation_and_every_flipped_byte_is_met() {
        let good =
            b"\x80\x02}q\x00(X\x01\0\0\0aK\x05X\x01\0\0\0bJ\xff\xff\xff\xff\x8a\x01\x80N\x87u.";
        let pickle = Pickle::read(good).unwrap();
        let Value::Dict(entries) = pickle.get(pickle.root) else { panic!("{pickle:?}") };
        assert_eq!(entries.len(), 2);
        for length in 0..good.len() {
            fault(&good[..length]);
        }
        for at in 0..good.len() {
            for flip in 0..=255 {
                let mut bytes = good.to_vec();
                bytes[at] ^= flip;
                let _ = Pickle::read(&bytes);
            }
        }
    }

    #[test]
    fn what_refers_to_itself_or_doubles_costs_its_bytes() {
        // A list in itself.
        let pickle = Pickle::read(b"]q\x00h\x00a.").unwrap();
        assert_eq!(pickle.get(pickle.root), &Value::List(vec![pickle.root]));
        // 2^200 values, where each were a copy.
        let mut bytes = b")q\x00".to_vec();
        for _ in 0..200 {
            bytes.extend(b"h\x00h\x00\x86q\x00");
        }
        bytes.push(b'.');
        let pickle = Pickle::read(&bytes).unwrap();
        assert!(pickle.values.len() < 500);
    }

    #[test]
    fn claimed_sizes_are_not_believed() {
        assert_eq!(fault(b"X\xff\xff\xff\x7fab").got, "more than 16 MiB");
        assert_eq!(fault(b"X\xff\xff\x7f\0ab").got, "the end of the file");
        assert_eq!(fault(b"\x8a\xff1").got, "the end of the file");
        // Values, references to one, marks, and what is remembered.
        for many in [b')', b'N', b'(', 0x94] {
            let bytes = [vec![b'N'], vec![many; MOST + 1], vec![b'.']].concat();
            assert_eq!(fault(&bytes).got, "more than a million values");
        }
        let long = [&b"X\0\0\0\x01"[..], &vec![b'a'; LONGEST]].concat();
        assert_eq!(fault(&long).got, "more than 16 MiB");
        assert_eq!(fault(b"t.").got, "an opcode without its mark");
        assert_eq!(fault(b"K\x01(0.").got, "opcode 0x30");
        assert_eq!(fault(b"K\x01(a.").got, "an opcode without its operand");
        assert_eq!(fault(b"j\x01\0\0\0.").got, "a reference to value 1, which is not there");
    }

    #[test]
    fn integers_have_the_sign_of_their_last_byte() {
        for (bytes, int) in [
            (&[][..], Some(0)),
            (&[1], Some(1)),
            (&[0x80], Some(-128)),
            (&[0xff, 0], Some(255)),
            (&[0xff; 8], Some(-1)),
            (&[0; 9], None),
        ] {
            assert_eq!(long(bytes), int, "{bytes:?}");
        }
    }
}
