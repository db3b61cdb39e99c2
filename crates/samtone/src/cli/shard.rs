//! `--shard`: which part of an input is one's own, as given or as the scheduler that started the process
//! says.

use std::fmt;
use std::str::FromStr;

use crate::error::Usage;

/// One of several parts of an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shard {
    /// From 1.
    pub(crate) part: usize,
    pub(crate) parts: usize,
}

impl Shard {
    /// All of the input.
    pub(crate) const WHOLE: Self = Self { part: 1, parts: 1 };

    /// The folder of this part in the folder of all of them.
    pub(crate) fn folder(self) -> String {
        format!("part-{:05}-of-{:05}", self.part, self.parts)
    }
}

impl FromStr for Shard {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        let parsed = s.split_once('/').and_then(|(part, parts)| {
            let shard = Self { part: part.parse().ok()?, parts: parts.parse().ok()? };
            (1..=shard.parts).contains(&shard.part).then_some(shard)
        });
        parsed.ok_or("expected `I/N` with 1 <= I <= N, `auto` or `auto/N`")
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.parts)
    }
}

/// `--shard`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShardChoice {
    Given(Shard),
    /// The scheduler's, of so many parts as it says or as are given.
    Auto(Option<usize>),
}

impl FromStr for ShardChoice {
    type Err = &'static str;

    fn from_str(s: &str) -> Result<Self, Self::Err> {
        match s.strip_prefix("auto") {
            None => s.parse().map(Self::Given),
            Some("") => Ok(Self::Auto(None)),
            Some(rest) => match rest.strip_prefix('/').map(str::parse) {
                Some(Ok(parts @ 1..)) => Ok(Self::Auto(Some(parts))),
                _ => Err("expected `auto/N` with N >= 1"),
            },
        }
    }
}

impl fmt::Display for ShardChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(shard) => shard.fmt(f),
            Self::Auto(None) => f.write_str("auto"),
            Self::Auto(Some(parts)) => write!(f, "auto/{parts}"),
        }
    }
}

impl ShardChoice {
    /// The part, and the variable that says it. `variable` reads the environment.
    ///
    /// # Errors
    /// If no scheduler says a part, or two do, or none says how many there are, or the number is not
    /// one of them: never a part that is guessed.
    pub(crate) fn resolve(
        self,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<(Shard, Option<&'static str>), Usage> {
        let parts = match self {
            Self::Given(shard) => return Ok((shard, None)),
            Self::Auto(parts) => parts,
        };
        let read = |source: &'static Source| source.read(&variable);
        let array = ARRAYS.iter().find_map(read);
        // A launcher of one process says nothing about parts.
        let process = PROCESSES.iter().find_map(read).filter(|found| found.count() != Some(1));
        let found = match (array, process) {
            (Some(array), Some(process)) => {
                let (array, process) = (array.source.index, process.source.index);
                let message = format!("`{array}` and `{process}` both say which part this is");
                let hint = "start one process in each task of the array, or give `--shard I/N`";
                return Err(Usage::new(message).with_hint(hint));
            }
            (Some(found), None) | (None, Some(found)) => found,
            (None, None) => {
                let names: Vec<&str> =
                    ARRAYS.iter().chain(&PROCESSES).map(|source| source.index).collect();
                let message = "`--shard auto` finds no scheduler that says which part this is";
                let hint = format!(
                    "it reads {}; without one of them give `--shard I/N`",
                    names.join(", ")
                );
                return Err(Usage::new(message).with_hint(hint));
            }
        };
        Ok((found.shard(parts)?, Some(found.source.index)))
    }
}

/// The variables by which a scheduler or launcher says to a process which of several it is.
#[derive(Debug)]
struct Source {
    /// Its number.
    index: &'static str,
    first: First,
    /// The greatest number.
    last: Option<&'static str>,
    /// From one number to the next; 1 if absent.
    step: Option<&'static str>,
    count: Option<&'static str>,
}

/// The least number.
#[derive(Clone, Copy, Debug)]
enum First {
    /// It is always this.
    Is(u64),
    /// Who submits the array chooses it, and the variable says it.
    Said(&'static str),
    /// Who submits the array chooses it, and it is not said.
    Unsaid,
}

/// Jobs of many tasks.
const ARRAYS: [Source; 8] = [
    Source {
        index: "SLURM_ARRAY_TASK_ID",
        first: First::Said("SLURM_ARRAY_TASK_MIN"),
        last: Some("SLURM_ARRAY_TASK_MAX"),
        step: Some("SLURM_ARRAY_TASK_STEP"),
        count: Some("SLURM_ARRAY_TASK_COUNT"),
    },
    Source {
        index: "SGE_TASK_ID",
        first: First::Said("SGE_TASK_FIRST"),
        last: Some("SGE_TASK_LAST"),
        step: Some("SGE_TASK_STEPSIZE"),
        count: None,
    },
    // 0 outside of arrays.
    Source {
        index: "LSB_JOBINDEX",
        first: First::Unsaid,
        last: Some("LSB_JOBINDEX_END"),
        step: Some("LSB_JOBINDEX_STEP"),
        count: None,
    },
    Source { first: First::Unsaid, ..Source::of("PBS_ARRAY_INDEX", None) },
    Source { first: First::Unsaid, ..Source::of("PBS_ARRAYID", None) },
    Source::of("JOB_COMPLETION_INDEX", None),
    Source::of("AWS_BATCH_JOB_ARRAY_INDEX", Some("AWS_BATCH_JOB_ARRAY_SIZE")),
    Source::of("BATCH_TASK_INDEX", Some("BATCH_TASK_COUNT")),
];

/// Processes of one job, the most specific first. Slurm's count is the step's, which only `srun` sets.
const PROCESSES: [Source; 3] = [
    Source::of("OMPI_COMM_WORLD_RANK", Some("OMPI_COMM_WORLD_SIZE")),
    Source::of("PMI_RANK", Some("PMI_SIZE")),
    Source::of("SLURM_PROCID", Some("SLURM_STEP_NUM_TASKS")),
];

/// What a launcher says to one of several processes that it has started together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Launched {
    /// How many there are, at least two.
    pub(crate) count: usize,
    /// The variable that says so.
    variable: &'static str,
}

impl Launched {
    /// What is said to this process, if a launcher has started others with it.
    pub(crate) fn here() -> Option<Self> {
        Self::by(|name| std::env::var(name).ok())
    }

    fn by(variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        // The first that says anything, the most specific: what is around it was for its launcher.
        let mut said = PROCESSES.iter().filter_map(|source| {
            let found = source.read(&variable)?;
            Some(Self { count: found.count()? as usize, variable: found.source.index })
        });
        said.next().filter(|launched| launched.count > 1)
    }
}

impl Launched {
    /// How a process that is to work by itself is started by a launcher of several.
    pub(crate) fn alone(self) -> String {
        format!("`env -u {}` before `samtone` lets each work by itself", self.variable)
    }
}

impl fmt::Display for Launched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "by `{}` this is one of {} processes", self.variable, self.count)
    }
}

impl Source {
    /// Numbers from 0 on, one by one.
    const fn of(index: &'static str, count: Option<&'static str>) -> Self {
        Self { index, first: First::Is(0), last: None, step: None, count }
    }

    fn read(&'static self, variable: impl Fn(&str) -> Option<String>) -> Option<Found> {
        // What is no number (SGE's `undefined`) says nothing.
        let number = |name: &str| variable(name)?.trim().parse::<u64>().ok();
        let index = number(self.index)?;
        if self.index == "LSB_JOBINDEX" && index == 0 {
            return None;
        }
        let of = |name: Option<&'static str>| name.and_then(number);
        // A batch script of Slurm is process 0, of no step.
        if self.index == "SLURM_PROCID" && of(self.count).is_none() {
            return None;
        }
        let first = match self.first {
            First::Is(first) => Some(first),
            First::Said(name) => number(name),
            First::Unsaid => None,
        };
        let step = of(self.step).unwrap_or(1).max(1);
        Some(Found { source: self, index, first, last: of(self.last), step, count: of(self.count) })
    }
}

/// What a source says.
#[derive(Debug)]
struct Found {
    source: &'static Source,
    index: u64,
    first: Option<u64>,
    last: Option<u64>,
    step: u64,
    count: Option<u64>,
}

impl Found {
    /// How many there are, where that is said.
    fn count(&self) -> Option<u64> {
        self.count.or_else(|| {
            let (first, last) = (self.first?, self.last?);
            Some(last.checked_sub(first)? / self.step + 1)
        })
    }

    /// The part, of `parts` or of as many as there are.
    fn shard(&self, parts: Option<usize>) -> Result<Shard, Usage> {
        let (name, index) = (self.source.index, self.index);
        let said = self.count();
        let Some(parts) = parts.map(|parts| parts as u64).or(said) else {
            let message = format!("`{name}` says which part this is, but not of how many");
            return Err(Usage::new(message).with_hint("give it: `--shard auto/N`"));
        };
        // The tasks from first to last are all parts, or else some of them again, by their numbers.
        let from_first = self.first.filter(|_| said == Some(parts));
        let part = match (self.source.first, from_first) {
            (_, Some(first)) => {
                let far = index.checked_sub(first);
                let part = far.filter(|far| far % self.step == 0).map(|far| far / self.step + 1);
                let is_whole = self.last.is_none_or(|last| {
                    last.checked_sub(first).is_some_and(|far| far / self.step + 1 == parts)
                });
                if !is_whole {
                    let message =
                        format!("the tasks of `{name}` are {parts} numbers with gaps between them");
                    let hint = "of parts that are done again give how many there are in all: \
                                `--shard auto/N`";
                    return Err(Usage::new(message).with_hint(hint));
                }
                part
            }
            (First::Is(_), None) => match said {
                Some(said) => {
                    let message = format!("`{name}` is one of {said}, `--shard` of {parts}");
                    return Err(Usage::new(message).with_hint("`--shard auto` takes the former"));
                }
                None => Some(index + 1),
            },
            (_, None) => Some(index),
        };
        match part.filter(|part| (1..=parts).contains(part)) {
            Some(part) => Ok(Shard { part: part as usize, parts: parts as usize }),
            None => Err(Usage::new(format!("`{name}` is {index}, which is no part of {parts}"))
                .with_hint(format!("number the tasks from 1 to {parts}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The part that `choice` comes to where the environment is `variables`, as `NAME=VALUE`s.
    fn resolved(choice: &str, variables: &str) -> Result<String, String> {
        let variable = |name: &str| {
            let mut pairs = variables.split(' ').filter_map(|pair| pair.split_once('='));
            pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
        };
        match choice.parse::<ShardChoice>().unwrap().resolve(variable) {
            Ok((shard, by)) => Ok(format!("{shard} {}", by.unwrap_or("-"))),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_shard_that_cannot_be_is_refused() {
        assert_eq!("2/3".parse(), Ok(Shard { part: 2, parts: 3 }));
        for bad in ["0/3", "4/3", "1", "a/b", "1/0", "auto/", "auto/0", "automatic", "auto/1/2"] {
            assert!(bad.parse::<ShardChoice>().is_err(), "{bad}");
        }
        for good in ["2/3", "auto", "auto/64"] {
            assert_eq!(good.parse::<ShardChoice>().unwrap().to_string(), good);
        }
    }

    #[test]
    fn launchers_of_several_processes_say_so() {
        let launched = |variables: &str| {
            let variable = |name: &str| {
                let mut pairs = variables.split(' ').filter_map(|pair| pair.split_once('='));
                pairs.find(|(known, _)| *known == name).map(|(_, value)| value.to_owned())
            };
            Launched::by(variable).map(|found| (found.count, found.variable))
        };
        for (variables, expected) in [
            ("OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=4", (4, "OMPI_COMM_WORLD_RANK")),
            ("PMI_RANK=3 PMI_SIZE=4", (4, "PMI_RANK")),
            ("SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 SLURM_NTASKS=8", (2, "SLURM_PROCID")),
            // `mpirun` in a step of one task or of a task a machine, and in a batch script.
            (
                "SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=2 OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=8",
                (8, "OMPI_COMM_WORLD_RANK"),
            ),
            ("SLURM_PROCID=0 SLURM_NTASKS=8 PMI_RANK=2 PMI_SIZE=3", (3, "PMI_RANK")),
        ] {
            assert_eq!(launched(variables), Some(expected), "{variables}");
        }
        for alone in [
            "",
            "SLURM_PROCID=0 SLURM_NTASKS=8",
            "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1",
            // `mpirun -n 1` in a step of several tasks.
            "OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1 SLURM_PROCID=1 SLURM_STEP_NUM_TASKS=4",
            "JOB_COMPLETION_INDEX=3",
        ] {
            assert_eq!(launched(alone), None, "{alone}");
        }
    }

    #[test]
    fn schedulers_say_the_part() {
        let slurm = |id: u64, min: u64, max: u64, step: u64, count: u64| {
            format!(
                "SLURM_ARRAY_TASK_ID={id} SLURM_ARRAY_TASK_MIN={min} SLURM_ARRAY_TASK_MAX={max} \
                 SLURM_ARRAY_TASK_STEP={step} SLURM_ARRAY_TASK_COUNT={count} \
                 SLURM_PROCID=0 SLURM_NTASKS=4"
            )
        };
        for (choice, variables, expected) in [
            ("2/5", "SLURM_ARRAY_TASK_ID=9", "2/5 -"),
            ("auto", &*slurm(0, 0, 63, 1, 64), "1/64 SLURM_ARRAY_TASK_ID"),
            ("auto", &slurm(64, 1, 64, 1, 64), "64/64 SLURM_ARRAY_TASK_ID"),
            ("auto", &slurm(9, 1, 13, 4, 4), "3/4 SLURM_ARRAY_TASK_ID"),
            // All of them, from 0; and some of them again, by the numbers that `--missing` prints.
            ("auto/64", &slurm(6, 0, 63, 1, 64), "7/64 SLURM_ARRAY_TASK_ID"),
            ("auto/64", &slurm(12, 7, 14, 1, 4), "12/64 SLURM_ARRAY_TASK_ID"),
            ("auto/64", &slurm(12, 12, 14, 1, 3), "12/64 SLURM_ARRAY_TASK_ID"),
            (
                "auto",
                "SGE_TASK_ID=5 SGE_TASK_FIRST=1 SGE_TASK_LAST=9 SGE_TASK_STEPSIZE=2",
                "3/5 SGE_TASK_ID",
            ),
            ("auto/8", "LSB_JOBINDEX=3 LSB_JOBINDEX_END=8 LSB_JOBINDEX_STEP=1", "3/8 LSB_JOBINDEX"),
            ("auto/8", "PBS_ARRAY_INDEX=8", "8/8 PBS_ARRAY_INDEX"),
            ("auto/8", "PBS_ARRAYID=1", "1/8 PBS_ARRAYID"),
            ("auto/64", "JOB_COMPLETION_INDEX=0", "1/64 JOB_COMPLETION_INDEX"),
            (
                "auto",
                "AWS_BATCH_JOB_ARRAY_INDEX=1 AWS_BATCH_JOB_ARRAY_SIZE=2",
                "2/2 AWS_BATCH_JOB_ARRAY_INDEX",
            ),
            ("auto", "BATCH_TASK_INDEX=0 BATCH_TASK_COUNT=3", "1/3 BATCH_TASK_INDEX"),
            ("auto", "SLURM_PROCID=3 SLURM_STEP_NUM_TASKS=4", "4/4 SLURM_PROCID"),
            // `mpirun` in an allocation: its daemons are Slurm's tasks, its ranks are not.
            (
                "auto",
                "OMPI_COMM_WORLD_RANK=5 OMPI_COMM_WORLD_SIZE=8 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=2",
                "6/8 OMPI_COMM_WORLD_RANK",
            ),
            ("auto", "SGE_TASK_ID=undefined PMI_RANK=0 PMI_SIZE=2", "1/2 PMI_RANK"),
            ("auto/2", "LSB_JOBINDEX=0 PBS_ARRAY_INDEX=2", "2/2 PBS_ARRAY_INDEX"),
        ] {
            let resolved = resolved(choice, variables);
            assert_eq!(resolved.as_deref(), Ok(expected), "{choice} {variables}");
        }
    }

    #[test]
    fn a_part_is_never_guessed() {
        for (choice, variables, expected) in [
            ("auto", "", "finds no scheduler"),
            // A batch script with four tasks and no step; a step of one.
            ("auto", "SLURM_PROCID=0 SLURM_NTASKS=4", "finds no scheduler"),
            ("auto", "SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1", "finds no scheduler"),
            ("auto", "JOB_COMPLETION_INDEX=3", "but not of how many"),
            ("auto", "PBS_ARRAY_INDEX=3", "but not of how many"),
            ("auto", "LSB_JOBINDEX=3 LSB_JOBINDEX_END=8", "but not of how many"),
            // `--array=7,12-14`: four tasks, of which this is no second.
            (
                "auto",
                "SLURM_ARRAY_TASK_ID=12 SLURM_ARRAY_TASK_MIN=7 SLURM_ARRAY_TASK_MAX=14 \
                 SLURM_ARRAY_TASK_STEP=1 SLURM_ARRAY_TASK_COUNT=4",
                "with gaps between them",
            ),
            ("auto/64", "JOB_COMPLETION_INDEX=64", "is 64, which is no part of 64"),
            ("auto/64", "PBS_ARRAY_INDEX=0", "is 0, which is no part of 64"),
            ("auto/4", "PMI_RANK=0 PMI_SIZE=2", "is one of 2, `--shard` of 4"),
            (
                "auto",
                "JOB_COMPLETION_INDEX=3 PMI_RANK=0 PMI_SIZE=2",
                "`JOB_COMPLETION_INDEX` and `PMI_RANK` both say",
            ),
        ] {
            let error = resolved(choice, variables).unwrap_err();
            assert!(error.contains(expected), "{choice} {variables}: {error}");
        }
    }
}
