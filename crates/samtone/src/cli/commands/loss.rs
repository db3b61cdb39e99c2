//! `samtone loss`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use burn::tensor::backend::{AutodiffBackend, Backend};
use burn::tensor::{DType, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use samtone_loss::{Batch, Loss, Preset, Relations};
use samtone_text::Key;
use samtone_train::config::{Configuration, ExperimentConfig, Override};
use samtone_train::run::peak_rss_bytes;
use serde::Serialize;

use super::reading::PrecisionChoice;
use crate::device::{DeviceArgs, OnBackend};
use crate::error::Usage;
use crate::output::Format;

/// Compute a contrastive loss and its gradients for given embeddings, or measure it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  samtone loss --random 2048x384 --preset samtone-query
  samtone loss --embeddings batch.safetensors --preset gte --set temperature=0.05")]
#[command(group = clap::ArgGroup::new("input").required(true))]
pub(crate) struct Args {
    /// A safetensors file with `queries` and `documents` [N, dim] and, optionally,
    /// `hard_negatives` [N, K, dim], `weights` [N], and as integers `query_ids`, `document_ids`
    /// [N], `hard_negative_ids` [N, K] and `known` [M, 2], pairs of rows. f64 is computed in f64.
    #[arg(long, value_name = "FILE", group = "input")]
    embeddings: Option<PathBuf>,
    /// Measure on random embeddings of this size, as in `2048x384`.
    #[arg(long, value_name = "NxD", group = "input")]
    random: Option<Size>,
    /// How often to measure; the median is printed.
    #[arg(long, default_value_t = 7, value_name = "R", requires = "random")]
    repeat: usize,
    /// The type of the random embeddings and their gradients.
    #[arg(long, value_enum, default_value_t, requires = "random")]
    precision: PrecisionChoice,
    /// The loss, as in `samtone-query`: any preset of the `[loss]` section.
    #[arg(long, value_name = "NAME")]
    preset: Option<Preset>,
    /// Set one key of the `[loss]` section, as in `--set temperature=0.05`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Write the gradients under the names of their inputs, `log_temperature` [1] and the loss of
    /// each row, `losses` [N], to a safetensors file.
    #[arg(long, value_name = "FILE", conflicts_with = "random")]
    gradients: Option<PathBuf>,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Rows and dimensions, as in `2048x384`.
#[derive(Clone, Copy, Debug)]
struct Size {
    rows: usize,
    dim: usize,
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let sizes =
            text.split_once('x').and_then(|(n, d)| Some((n.parse().ok()?, d.parse().ok()?)));
        match sizes {
            Some((rows, dim)) if rows > 0 && dim > 0 => Ok(Self { rows, dim }),
            _ => Err("expected two positive numbers, as in 2048x384".into()),
        }
    }
}

pub(crate) fn run(args: &Args, format: Format) -> anyhow::Result<()> {
    let loss = resolve(args)?;
    if let Some(size) = args.random {
        ensure!(args.repeat > 0, Usage::new("`--repeat` must be at least 1"));
        let dtype = match args.precision {
            PrecisionChoice::F32 => DType::F32,
            PrecisionChoice::Bf16 => DType::BF16,
            PrecisionChoice::F16 => DType::F16,
        };
        let task = Measure { loss: &loss, size, repeat: args.repeat, dtype };
        return format.print(&args.device.backend.run(task)??, Measured::text);
    }
    if let Some(path) = &args.gradients {
        samtone_files::prepare_file(path)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
    }
    let path = args.embeddings.as_deref().expect("clap asks for one of the two inputs");
    let input = Input::read(path)?;
    let task = Compute { loss: &loss, input: &input, path };
    let (result, outputs) = args.device.backend.run(task)??;
    // The loss is printed whatever becomes of the file.
    let written = args.gradients.as_ref().map_or(Ok(()), |path| outputs.write(path));
    format.print(&result, Computed::text)?;
    written
}

/// The loss of `--preset` and `--set`, read as a training configuration reads its `[loss]` section.
fn resolve(args: &Args) -> anyhow::Result<Loss> {
    let (text, written) = match args.preset {
        Some(preset) => {
            (format!("loss.preset = \"{preset}\""), format!("--preset {preset}").into())
        }
        None => (String::new(), PathBuf::from("the command line")),
    };
    let set = args
        .set
        .iter()
        .map(|pair| if pair.starts_with("loss.") { pair.clone() } else { format!("loss.{pair}") });
    let config = ExperimentConfig::parse(&text, &written, &Override::set_all(set))?;
    Ok(config.loss.resolve()?)
}

/// What `--format json` prints for `--embeddings`.
#[derive(Serialize)]
struct Computed {
    loss: f64,
    rows: usize,
    hard_negatives: usize,
    dim: usize,
    temperature: f64,
    log_temperature_gradient: f64,
    #[serde(rename = "type")]
    dtype: &'static str,
}

impl Computed {
    fn text(&self) -> String {
        let Self { loss, rows, dim, temperature, dtype, .. } = self;
        format!("loss {loss:.10} over {rows} rows of {dim} dimensions, τ = {temperature}, {dtype}")
    }
}

/// What `--format json` prints for `--random`.
#[derive(Serialize)]
struct Measured {
    loss: f64,
    rows: usize,
    dim: usize,
    repeat: usize,
    /// Median time of the loss with all its gradients, in seconds.
    seconds_median: f64,
    seconds_min: f64,
    /// Rate of the matrix products alone, 10⁹ operations in a second of the median.
    gflops: f64,
    peak_rss_bytes: Option<u64>,
    threads: usize,
}

impl Measured {
    fn text(&self) -> String {
        let Self { loss, rows, dim, seconds_median, seconds_min, gflops, .. } = self;
        let memory = self.peak_rss_bytes.map_or_else(String::new, |bytes| {
            format!(", at most {:.0} MB of memory", bytes as f64 / 1e6)
        });
        format!(
            "{rows}x{dim}: {:.2} ms (least {:.2} ms), {gflops:.1} GFLOP/s{memory}; loss {loss:.6}",
            seconds_median * 1e3,
            seconds_min * 1e3,
        )
    }
}

/// Times a loss on random embeddings.
struct Measure<'a> {
    loss: &'a Loss,
    size: Size,
    repeat: usize,
    dtype: DType,
}

impl OnBackend for Measure<'_> {
    type Output = anyhow::Result<Measured>;

    fn run<A: AutodiffBackend>(self, device: &A::Device) -> Self::Output {
        let Size { rows, dim } = self.size;
        ensure!(
            A::supports_dtype(device, self.dtype),
            Usage::new(format!("this backend does not compute in {}", self.dtype.name()))
        );
        let key = Key::new(0).child("loss");
        // Documents near their queries: the row's other half is noise of the same size.
        let (first, second) = (key.child("queries"), key.child("documents"));
        let query = |index: u64| first.normal(index) as f32;
        let document = |index: u64| (first.normal(index) + second.normal(index)) as f32;
        let matrix = |entry: &dyn Fn(u64) -> f32| {
            let values: Vec<f32> = (0..(rows * dim) as u64).map(entry).collect();
            let data = TensorData::new(values, [rows, dim]);
            Tensor::<A::InnerBackend, 2>::from_data(data, (device, self.dtype))
        };
        let batch = Batch::new(matrix(&query), matrix(&document));
        let temperature = self.loss.temperature();
        let mut loss = 0.0;
        let mut seconds = Vec::with_capacity(self.repeat);
        // Where there are several measurements the first pays for touching memory alone.
        for round in 0..self.repeat + usize::from(self.repeat > 1) {
            let start = Instant::now();
            let result = self.loss.value_and_gradients(&batch, temperature)?;
            A::InnerBackend::sync(device).context("the device failed")?;
            if round > 0 || self.repeat == 1 {
                seconds.push(start.elapsed().as_secs_f64());
            }
            loss = result.loss;
        }
        seconds.sort_by(f64::total_cmp);
        let seconds_median = seconds[seconds.len() / 2];
        Ok(Measured {
            loss,
            rows,
            dim,
            repeat: self.repeat,
            seconds_median,
            seconds_min: seconds[0],
            gflops: self.loss.product_flops(rows, 0, dim) / seconds_median / 1e9,
            peak_rss_bytes: peak_rss_bytes(),
            threads: std::thread::available_parallelism().map_or(1, Into::into),
        })
    }
}

/// Computes a loss on given embeddings.
struct Compute<'a> {
    loss: &'a Loss,
    input: &'a Input,
    path: &'a Path,
}

impl OnBackend for Compute<'_> {
    type Output = anyhow::Result<(Computed, Outputs)>;

    fn run<A: AutodiffBackend>(self, device: &A::Device) -> Self::Output {
        let Self { loss, input, path } = self;
        ensure!(
            A::supports_dtype(device, input.dtype),
            "this backend does not compute in {}: convert `{}` to f32, or use `--backend flex`",
            input.dtype.name(),
            path.display()
        );
        let batch = input.batch::<A::InnerBackend>(device);
        let temperature = loss.temperature();
        let result = loss
            .value_and_gradients(&batch, temperature)
            .with_context(|| format!("cannot compute the loss of `{}`", path.display()))?;
        let computed = Computed {
            loss: result.loss,
            rows: input.rows(),
            hard_negatives: input.negatives(),
            dim: input.queries.shape[1],
            temperature: temperature.value(),
            log_temperature_gradient: result.log_temperature,
            dtype: input.dtype.name(),
        };
        let log_temperature = TensorData::new(vec![result.log_temperature], [1]);
        let mut tensors = vec![
            ("queries", result.embeddings.queries.into_data()),
            ("documents", result.embeddings.documents.into_data()),
            ("losses", result.per_row.into_data()),
            ("log_temperature", log_temperature.convert_dtype(input.dtype)),
        ];
        if let Some(hard) = result.embeddings.hard_negatives {
            tensors.push(("hard_negatives", hard.into_data()));
        }
        Ok((computed, Outputs { tensors }))
    }
}

/// Gradients and per-row losses, by name.
struct Outputs {
    tensors: Vec<(&'static str, TensorData)>,
}

impl Outputs {
    fn write(&self, path: &Path) -> anyhow::Result<()> {
        let views = self.tensors.iter().map(|(name, data)| {
            let dtype = if data.dtype == DType::F64 { Dtype::F64 } else { Dtype::F32 };
            TensorView::new(dtype, data.shape.to_vec(), data.as_bytes()).map(|view| (*name, view))
        });
        let views = views.collect::<Result<Vec<_>, _>>();
        views
            .and_then(|views| safetensors::serialize(views, None))
            .map_err(anyhow::Error::from)
            .and_then(|bytes| Ok(samtone_files::replace(path, &bytes)?))
            .with_context(|| format!("cannot write `{}`", path.display()))
    }
}

/// A file of embeddings, in f64 where it holds f64 and in f32 otherwise.
struct Input {
    dtype: DType,
    queries: TensorData,
    documents: TensorData,
    hard_negatives: Option<TensorData>,
    relations: Relations,
    weights: Option<Vec<f64>>,
}

impl Input {
    fn rows(&self) -> usize {
        self.queries.shape[0]
    }

    fn negatives(&self) -> usize {
        self.hard_negatives.as_ref().map_or(0, |hard| hard.shape[1])
    }

    fn batch<B: Backend>(&self, device: &B::Device) -> Batch<B> {
        let options = (device, self.dtype);
        let matrix = |data: &TensorData| Tensor::<B, 2>::from_data(data.clone(), options);
        let mut batch = Batch::new(matrix(&self.queries), matrix(&self.documents))
            .with_relations(self.relations.clone());
        if let Some(hard) = &self.hard_negatives {
            batch = batch.with_hard_negatives(Tensor::from_data(hard.clone(), options));
        }
        batch.weights.clone_from(&self.weights);
        batch
    }

    fn read(path: &Path) -> anyhow::Result<Self> {
        let bytes =
            std::fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        Self::parse(&bytes).with_context(|| format!("cannot use `{}`", path.display()))
    }

    fn parse(bytes: &[u8]) -> anyhow::Result<Self> {
        let mut parts = Parts::read(bytes)?;
        let queries = parts.float("queries")?;
        let documents = parts.float("documents")?;
        let &[rows, dim] = &queries.shape[..] else {
            bail!("`queries` must be [N, dim], got {:?}", &queries.shape[..]);
        };
        check_shape("documents", &documents.shape[..], &[rows, dim])?;
        let hard_negatives = parts.floats.remove("hard_negatives");
        let negatives = match hard_negatives.as_ref().map(|hard| &hard.shape[..]) {
            None => 0,
            Some(&[hard_rows, negatives, hard_dim]) if (hard_rows, hard_dim) == (rows, dim) => {
                negatives
            }
            Some(got) => bail!("`hard_negatives` must be [{rows}, K, {dim}], got {got:?}"),
        };
        let weights = parts.floats.remove("weights");
        if let Some(weights) = &weights {
            check_shape("weights", &weights.shape[..], &[rows])?;
        }
        let relations = parts.relations(rows, negatives)?;
        let embeddings = [Some(&queries), Some(&documents), hard_negatives.as_ref()];
        let is_f64 = embeddings.into_iter().flatten().any(|data| data.dtype == DType::F64);
        let dtype = if is_f64 { DType::F64 } else { DType::F32 };
        Ok(Self {
            dtype,
            queries: queries.convert_dtype(dtype),
            documents: documents.convert_dtype(dtype),
            hard_negatives: hard_negatives.map(|hard| hard.convert_dtype(dtype)),
            relations,
            weights: weights.map(|weights| weights.iter::<f64>().collect()),
        })
    }
}

/// The tensors of a file that are not used yet, by name.
struct Parts {
    floats: HashMap<&'static str, TensorData>,
    /// Shapes and numbers.
    integers: HashMap<&'static str, (Vec<usize>, Vec<u64>)>,
}

impl Parts {
    fn read(bytes: &[u8]) -> anyhow::Result<Self> {
        let file = SafeTensors::deserialize(bytes)?;
        let mut tensors: HashMap<String, TensorView<'_>> = file.tensors().into_iter().collect();
        let (mut floats, mut integers) = (HashMap::new(), HashMap::new());
        for name in ["queries", "documents", "hard_negatives", "weights"] {
            if let Some(view) = tensors.remove(name) {
                floats.insert(name, float_data(name, &view)?);
            }
        }
        for name in ["query_ids", "document_ids", "hard_negative_ids", "known"] {
            if let Some(view) = tensors.remove(name) {
                integers.insert(name, (view.shape().to_vec(), integer_data(name, &view)?));
            }
        }
        if let Some(name) = tensors.into_keys().min() {
            bail!(
                "unknown tensor `{name}`: expected queries, documents, hard_negatives, weights, \
                 query_ids, document_ids, hard_negative_ids, known"
            );
        }
        Ok(Self { floats, integers })
    }

    fn float(&mut self, name: &str) -> anyhow::Result<TensorData> {
        self.floats.remove(name).with_context(|| format!("the tensor `{name}` is missing"))
    }

    fn relations(&mut self, rows: usize, negatives: usize) -> anyhow::Result<Relations> {
        Ok(Relations {
            query_ids: self.ids("query_ids", &[rows])?,
            document_ids: self.ids("document_ids", &[rows])?,
            hard_negative_ids: self.ids("hard_negative_ids", &[rows, negatives])?,
            known: self.known()?,
        })
    }

    fn ids(&mut self, name: &str, expected: &[usize]) -> anyhow::Result<Option<Vec<u64>>> {
        let Some((shape, values)) = self.integers.remove(name) else { return Ok(None) };
        check_shape(name, &shape, expected)?;
        Ok(Some(values))
    }

    fn known(&mut self) -> anyhow::Result<Vec<(usize, usize)>> {
        let Some((shape, values)) = self.integers.remove("known") else { return Ok(Vec::new()) };
        let pairs = shape.first().copied().unwrap_or(0);
        check_shape("known", &shape, &[pairs, 2])?;
        let row = |value: u64| usize::try_from(value).unwrap_or(usize::MAX);
        Ok(values.chunks_exact(2).map(|pair| (row(pair[0]), row(pair[1]))).collect())
    }
}

fn check_shape(name: &str, got: &[usize], expected: &[usize]) -> anyhow::Result<()> {
    ensure!(got == expected, "`{name}` must be {expected:?}, got {got:?}");
    Ok(())
}

fn float_data(name: &str, view: &TensorView<'_>) -> anyhow::Result<TensorData> {
    let dtype = match view.dtype() {
        Dtype::F64 => DType::F64,
        Dtype::F32 => DType::F32,
        Dtype::F16 => DType::F16,
        Dtype::BF16 => DType::BF16,
        other => bail!("`{name}` must hold floating-point numbers, got {other:?}"),
    };
    Ok(TensorData::from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype))
}

/// Integers as they are stored, sign bit and all: only their equality counts.
fn integer_data(name: &str, view: &TensorView<'_>) -> anyhow::Result<Vec<u64>> {
    let bytes = view.data();
    Ok(match view.dtype() {
        Dtype::I64 | Dtype::U64 => {
            bytes.as_chunks::<8>().0.iter().map(|&id| u64::from_le_bytes(id)).collect()
        }
        Dtype::I32 => {
            let ids = bytes.as_chunks::<4>().0.iter().map(|&id| i32::from_le_bytes(id));
            ids.map(|id| i64::from(id).cast_unsigned()).collect()
        }
        other => bail!("`{name}` must hold integers of type I64, got {other:?}"),
    })
}
