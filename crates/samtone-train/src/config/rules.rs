//! Which values go together: what is wrong with a configuration, in a sentence that names the key.

use samtone_eval::Metric;
use samtone_model::{AdapterConfig, DualEncoderConfig, Sharing};

use super::experiment::{EvalConfig, ExperimentConfig, ModelConfig, TrainConfig};
use super::settings::Configuration;

/// What a rule finds: a sentence, or nothing.
pub type Mistake = Option<String>;

/// Each must be greater than zero; `section` is written before the keys.
pub fn counts<'k>(section: &str, counts: impl IntoIterator<Item = (&'k str, usize)>) -> Mistake {
    let (key, _) = counts.into_iter().find(|(_, count)| *count == 0)?;
    Some(format!("`{section}.{key}` is 0: expected a positive number"))
}

/// Each must be a finite number greater than zero.
pub fn above_zero<'k>(section: &str, values: impl IntoIterator<Item = (&'k str, f64)>) -> Mistake {
    let wrong = |(_, value): &(&str, f64)| !(value.is_finite() && *value > 0.0);
    let (key, value) = values.into_iter().find(wrong)?;
    Some(format!("`{section}.{key}` is {value}: expected a finite number > 0"))
}

/// Each must be a finite number of at least zero.
pub fn not_below_zero<'k>(
    section: &str,
    values: impl IntoIterator<Item = (&'k str, f64)>,
) -> Mistake {
    let wrong = |(_, value): &(&str, f64)| !(value.is_finite() && *value >= 0.0);
    let (key, value) = values.into_iter().find(wrong)?;
    Some(format!("`{section}.{key}` is {value}: expected a finite number ≥ 0"))
}

/// `steps` and `epochs` say the same thing: one at most.
pub fn duration(section: &str, steps: Option<usize>, epochs: Option<f64>) -> Mistake {
    let both = steps.is_some() && epochs.is_some();
    both.then(|| format!("`{section}.steps` and `{section}.epochs` are both given: expected one"))
}

impl Configuration for ExperimentConfig {
    const RIVALS: &[[&str; 2]] = &[
        ["train.steps", "train.epochs"],
        ["loss.preset", "loss.group"],
        ["model.path", "model.encoder"],
    ];

    fn mistake(&self) -> Mistake {
        train(&self.train)
            .or_else(|| eval(&self.eval))
            .or_else(|| model(&self.model))
            .or_else(|| choice(self))
            .or_else(|| losses(self))
            .or_else(|| self.data.check().err())
            .or_else(|| matryoshka(self))
            .or_else(|| distillation(self))
            .or_else(|| second_stage(self))
            .or_else(|| grid(self))
    }
}

fn train(train: &TrainConfig) -> Mistake {
    let TrainConfig { steps, epochs, batch_size, log_every, keep, .. } = *train;
    let whole = [
        ("steps", steps.unwrap_or(1)),
        ("batch_size", batch_size),
        ("log_every", log_every),
        ("keep", keep),
    ];
    let rates = [
        ("lr", train.peak_lr()),
        ("projection_lr", train.projection_lr.unwrap_or(1.0)),
        ("temperature_lr", train.temperature_lr.unwrap_or(1.0)),
        ("layer_decay", train.layer_decay),
        ("epochs", epochs.unwrap_or(1.0)),
        ("memory_gib", train.memory_gib.unwrap_or(1.0)),
    ];
    counts("train", whole)
        .or_else(|| {
            let limits = [("weight_decay", train.weight_decay), ("clip", train.clip)];
            not_below_zero("train", limits)
        })
        .or_else(|| above_zero("train", rates))
        .or_else(|| duration("train", steps, epochs))
}

fn eval(eval: &EvalConfig) -> Mistake {
    let EvalConfig { metrics, batch_size, top_k, .. } = eval;
    let beyond = |name: &String| match name.parse::<Metric>() {
        Err(error) => Some(format!("`eval.metrics`: {error}")),
        Ok(metric) => {
            let looked_at = metric.cutoff().filter(|looked_at| looked_at > top_k)?;
            Some(format!("`eval.top_k` is {top_k}, but `{metric}` looks at {looked_at} documents"))
        }
    };
    counts("eval", [("batch_size", *batch_size), ("top_k", *top_k)])
        .or_else(|| metrics.iter().find_map(beyond))
}

fn model(model: &ModelConfig) -> Mistake {
    if model.path.is_some() && model.encoder.is_some() {
        let why = "`model.encoder` and `model.path` are both given: a folder has its own sizes";
        return Some(why.into());
    }
    if model.path.is_none() && model.adapters().is_some() {
        let why = "`model.adapter` and `ade-adapter` need `model.path`: adapters change a model that is there";
        return Some(why.into());
    }
    let lengths =
        [("query_max_len", model.query_max_len), ("document_max_len", model.document_max_len)];
    for (key, length) in lengths {
        if let Some(length) = length.filter(|&length| length < 3) {
            return Some(format!(
                "`model.{key}` is {length}: expected at least 3, a token between the special ones"
            ));
        }
    }
    let mut built = model.dual_encoder(model.vocab_size());
    if model.path.is_some() {
        // The folder says how many there are.
        built.freeze.layers = 0;
    }
    built.validate().err().map(|error| format!("`model`: {error}"))
}

/// How the run's model is chosen.
fn choice(config: &ExperimentConfig) -> Mistake {
    let (train, eval) = (&config.train, &config.eval);
    let Some(metric) = &train.best_by else {
        return (train.patience > 0)
            .then(|| "`train.patience` needs `train.best_by`, the metric it watches".into());
    };
    if !eval.metrics.contains(metric) {
        let known = eval.metrics.join("`, `");
        return Some(format!(
            "`train.best_by` is `{metric}`: expected one of `eval.metrics`, `{known}`"
        ));
    }
    if metric.parse::<Metric>().is_ok_and(|metric| !metric.is_quality()) {
        return Some(format!(
            "`train.best_by` is `{metric}`, which does not say how good a ranking is"
        ));
    }
    (train.eval_every == 0 || config.data.dev_split.is_empty())
        .then(|| "`train.best_by` needs `train.eval_every` and a dev split".into())
}

/// The contrastive losses, and whether the hard negatives that are asked for are looked at.
fn losses(config: &ExperimentConfig) -> Mistake {
    let mut uses_hard_negatives = config.distillation.is_some();
    for (key, loss) in config.losses() {
        match loss.resolve() {
            Ok(loss) => uses_hard_negatives |= loss.uses_hard_negatives(),
            Err(error) => return Some(format!("`{key}`: {error}")),
        }
    }
    let wanted = config.train.negatives();
    (wanted > 0 && !uses_hard_negatives).then(|| {
        let loss = config.loss_name();
        format!("`train.hard_negatives` is {wanted}, but the loss `{loss}` looks at none")
    })
}

fn matryoshka(config: &ExperimentConfig) -> Mistake {
    let matryoshka = config.matryoshka.as_ref()?;
    let whole = config.model.path.is_none().then(|| config.model.dual_encoder(1).dim());
    let limit = whole.unwrap_or(usize::MAX);
    if matryoshka.dims.is_empty() {
        return Some("`matryoshka.dims` is empty".into());
    }
    if let Some(dim) = matryoshka.dims.iter().find(|&&dim| dim == 0 || dim > limit) {
        return Some(format!(
            "`matryoshka.dims` holds {dim}: expected 1 to {limit}, the embedding's"
        ));
    }
    let weights = &matryoshka.weights;
    if !weights.is_empty() && weights.len() != matryoshka.dims.len() {
        return Some("`matryoshka.weights`: expected one for each of `dims`".into());
    }
    let are_positive = weights.iter().all(|weight| weight.is_finite() && *weight > 0.0);
    (!are_positive).then(|| "`matryoshka.weights`: expected finite numbers > 0".into())
}

fn distillation(config: &ExperimentConfig) -> Mistake {
    let distillation = config.distillation.as_ref()?;
    let factors = [
        ("weight", distillation.weight),
        ("teacher_temperature", distillation.teacher_temperature),
    ];
    above_zero("distillation", factors).or_else(|| {
        (config.train.hard_negatives == Some(0))
            .then(|| "`distillation` needs `train.hard_negatives` of at least 1".into())
    })
}

fn second_stage(config: &ExperimentConfig) -> Mistake {
    let share = config.second_stage.as_ref()?.share;
    (!(share > 0.0 && share < 1.0))
        .then(|| format!("`second_stage.share` is {share}: expected a number between 0 and 1"))
}

fn grid(config: &ExperimentConfig) -> Mistake {
    let grid = config.ablate.as_ref()?;
    if grid.sharing.contains(&Sharing::AdeAdapter) && config.model.path.is_none() {
        let why = "`ablate.sharing` holds `ade-adapter`, which needs `model.path`";
        return Some(why.into());
    }
    if grid.sharing.contains(&Sharing::AdeAdapter) {
        let shape = DualEncoderConfig {
            sharing: Sharing::AdeAdapter,
            adapter: config.model.adapter.clone().or_else(|| Some(AdapterConfig::default())),
            freeze: config.model.freeze.unwrap_or_default(),
            ..DualEncoderConfig::default()
        };
        if let Err(error) = shape.validate() {
            return Some(format!("`ablate.sharing` holds `ade-adapter`: {error}"));
        }
    }
    let names: Vec<String> = config.variants().into_iter().map(|loss| loss.name).collect();
    for (i, name) in names.iter().enumerate() {
        if name.is_empty() || name.contains(['/', '\\']) || name.starts_with('.') {
            return Some(format!("`ablate.losses`: `{name}` cannot name a folder"));
        }
        if names[..i].contains(name) {
            return Some(format!("`ablate.losses`: two are called `{name}`"));
        }
    }
    let baseline = config.compared_loss();
    (!names.contains(&baseline)).then(|| {
        let known = names.join("`, `");
        format!("`ablate.baseline` is `{baseline}`: expected one of `{known}`")
    })
}
