//! Which processor this is, as far as speed goes.

use std::env::consts::{ARCH, OS};
use std::process::Command;

/// The instructions that are worth naming.
const INSTRUCTIONS: [&str; 7] =
    ["avx2", "avx512f", "avx512_bf16", "avx512_fp16", "avx512_vnni", "amx_bf16", "amx_int8"];

/// A processor by its kind.
#[derive(Debug, PartialEq)]
pub(crate) struct Processor {
    /// Its maker and the widest instructions, `intel-amx`: a file's name.
    pub(crate) kind: String,
    /// What there is to say of it.
    pub(crate) words: String,
}

impl Processor {
    /// This machine's, by `lscpu`; without it, by what the program was built for.
    pub(crate) fn here() -> Self {
        let listed = Command::new("lscpu").env("LC_ALL", "C").output();
        match listed {
            Ok(listed) if listed.status.success() => {
                Self::read(&String::from_utf8_lossy(&listed.stdout))
            }
            _ => Self { kind: format!("{OS}-{ARCH}"), words: format!("{ARCH}, {OS}") },
        }
    }

    /// From what `lscpu` prints.
    fn read(listed: &str) -> Self {
        let field = |name: &str| {
            let value = |line: &str| {
                let value = line.trim().strip_prefix(name)?.strip_prefix(':')?;
                Some(value.trim().to_owned())
            };
            listed.lines().find_map(value)
        };
        let flags = field("Flags").unwrap_or_default();
        let has = |wanted: &&&str| flags.split(' ').any(|flag| flag == **wanted);
        let instructions: Vec<&str> = INSTRUCTIONS.iter().filter(has).copied().collect();
        let has = |wanted| instructions.contains(&wanted);
        let maker = match field("Vendor ID").as_deref() {
            Some("GenuineIntel") => "intel".to_owned(),
            Some("AuthenticAMD") => "amd".to_owned(),
            _ => field("Architecture").unwrap_or_else(|| ARCH.into()),
        };
        let widest = [("amx_bf16", "-amx"), ("avx512f", "-avx512"), ("avx2", "-avx2")];
        let widest = widest.into_iter().find_map(|(flag, name)| has(flag).then_some(name));
        let mut words = vec![field("Model name").unwrap_or_else(|| maker.clone())];
        for (name, before) in [("CPU family", "family"), ("Model", "model"), ("CPU(s)", "cores")] {
            words.extend(field(name).map(|value| format!("{before} {value}")));
        }
        words.extend(field("L2 cache").map(|size| format!("L2 {size}")));
        let mut words = words.join(", ");
        if !instructions.is_empty() {
            words += &format!("; {}", instructions.join(", "));
        }
        Self { kind: maker + widest.unwrap_or_default(), words }
    }
}

#[cfg(test)]
mod tests {
    use super::Processor;

    fn kind(vendor: &str, flags: &str) -> String {
        Processor::read(&format!(
            "Architecture:   x86_64\nVendor ID: {vendor}\nModel name: X\n  Flags: fpu {flags} rtm\n"
        ))
        .kind
    }

    #[test]
    fn a_kind_is_the_maker_and_the_widest_instructions() {
        assert_eq!(kind("GenuineIntel", "avx2 avx512f amx_bf16"), "intel-amx");
        assert_eq!(kind("GenuineIntel", "avx2 avx512f avx512_bf16"), "intel-avx512");
        assert_eq!(kind("AuthenticAMD", "avx2 avx512f"), "amd-avx512");
        assert_eq!(kind("AuthenticAMD", "avx2"), "amd-avx2");
        assert_eq!(kind("AuthenticAMD", "avx512"), "amd");
        assert_eq!(Processor::read("Architecture: aarch64\nVendor ID: ARM\n").kind, "aarch64");
    }

    #[test]
    fn lscpu_is_read_by_whole_names() {
        let listed = "\
Architecture:          x86_64
  Address sizes:       48 bits physical
CPU(s):                2
  On-line CPU(s) list: 0,1
Vendor ID:             GenuineIntel
  Model name:          Intel(R) Xeon(R) Processor
    CPU family:        6
    Model:             207
    Flags:             fpu avx2 avx512f avx512_bf16
  L2:                  4 MiB (2 instances)
";
        let read = Processor::read(listed);
        let words = "Intel(R) Xeon(R) Processor, family 6, model 207, cores 2; \
                     avx2, avx512f, avx512_bf16";
        assert_eq!(read.words, words);
        let read = Processor::read(&listed.replace("L2:", "L2 cache:"));
        assert!(read.words.contains("cores 2, L2 4 MiB (2 instances); avx2"), "{}", read.words);
    }
}
