//! The training of a model that writes texts: what the loop over steps learns, and what judges it.

use burn::module::AutodiffModule;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::AutodiffBackend;
use rayon::prelude::*;
use samtone_model::{DeadParameter, Dropout, Seq2Seq, TextToText};
use samtone_text::{Key, TokenBatch};
use samtone_train::TrainError;
use samtone_train::run::{
    Before, Course, Event, Learner, Metrics, Place, StepRecord, Trained, Training, Work, not_finite,
};
use samtone_train::step::{ModelOptimizer, Schedule, Stages};

use crate::config::LearningConfig;
use crate::corpus::{Mixture, TokenPair};

/// What is learned from, how, and its name for those who watch.
pub(crate) struct Lesson<'a> {
    pub(crate) name: &'a str,
    pub(crate) mixture: &'a Mixture,
    pub(crate) train: &'a LearningConfig,
    pub(crate) steps: usize,
    /// The stream of the dropout masks.
    pub(crate) dropout: Key,
}

/// A trained model.
pub(crate) struct Fitted<B: AutodiffBackend> {
    pub(crate) model: TextToText<B>,
    /// Steps done.
    pub(crate) steps: usize,
    /// Mean loss of the last steps, in nats a token.
    pub(crate) train_loss: f64,
    pub(crate) work: Work,
    pub(crate) before: Before,
}

/// What a model is worth, while it is trained.
pub(crate) type Judge<'a, B> =
    dyn Fn(&TextToText<<B as AutodiffBackend>::InnerBackend>) -> Result<Metrics, TrainError> + 'a;

/// Trains `start` on `lesson`, or continues from the newest checkpoint in `place`; `judge` looks at the
/// model every `eval_every` steps.
pub(crate) fn fit<B: AutodiffBackend>(
    start: &TextToText<B>,
    lesson: &Lesson<'_>,
    judge: &Judge<'_, B>,
    place: &Place<'_>,
    device: &B::Device,
    observe: &mut dyn FnMut(Event<'_>),
) -> Result<Fitted<B>, TrainError> {
    let Lesson { train, steps, mixture, .. } = *lesson;
    std::fs::create_dir_all(place.folder)
        .map_err(|source| TrainError::Write { path: place.folder.into(), source })?;
    let schedule = Schedule { peak: train.lr, warmup: train.warmup, steps, decay: train.schedule };
    let course = Course {
        stages: Stages::new(schedule, None),
        clip: train.clip,
        checkpoint_every: train.checkpoint_every,
        eval_every: train.eval_every,
        best_by: None,
        patience: 0,
        log_every: train.log_every,
        keep: train.keep,
    };
    let (size, tokenizer) = (train.batch_size as u64, start.tokenizer());
    let batch_of = |step: usize| {
        let first = step as u64 * size;
        let examples = (first..first + size).into_par_iter();
        Ok(examples.map(|number| mixture.example(number, tokenizer)).collect::<Result<_, _>>()?)
    };
    let mut learner = Writing { lesson, start, judge };
    let model = start.model.clone();
    let optimizer = ModelOptimizer::new(train, model.parameters());
    let Trained { model, steps, train_loss, work, before, .. } =
        Training::new(&mut learner, &course, model, optimizer)
            .run(&batch_of, place, device, observe)?;
    Ok(Fitted { model: start.with_model(model), steps, train_loss, work, before })
}

/// Learning to write one text after another.
struct Writing<'a, B: AutodiffBackend> {
    lesson: &'a Lesson<'a>,
    start: &'a TextToText<B>,
    judge: &'a Judge<'a, B>,
}

impl<B: AutodiffBackend> Learner<B> for Writing<'_, B> {
    type Model = Seq2Seq<B>;
    type Batch = Vec<TokenPair>;
    type State = ();

    fn name(&self) -> String {
        self.lesson.name.into()
    }

    /// The loss is the mean over target tokens.
    fn gradients(
        &mut self,
        model: &Seq2Seq<B>,
        step: usize,
        pairs: &Vec<TokenPair>,
        place: &Place<'_>,
    ) -> Result<(f64, GradientsParams), TrainError> {
        let pad_id = self.start.tokenizer().pad_id();
        let key = self.lesson.dropout.at(step as u64);
        let tokens: usize = pairs.iter().map(|pair| pair.target.len()).sum();
        let chunk = self.lesson.train.chunk();
        let mut sum = GradientsAccumulator::new();
        let mut total = 0.0;
        for (i, pairs) in pairs.chunks(chunk).enumerate() {
            let rows = |row: fn(&TokenPair) -> &Vec<u32>| -> TokenBatch {
                TokenBatch::pad(&pairs.iter().map(row).collect::<Vec<_>>(), pad_id)
            };
            let (inputs, targets) = (rows(|pair| &pair.input), rows(|pair| &pair.target));
            let dropout = Dropout { key, first_row: i * chunk };
            let loss = model.loss_sum(&inputs, &targets, Some(dropout)) / tokens as f64;
            total += loss.clone().into_data().iter::<f64>().sum::<f64>();
            let gradients = GradientsParams::from_grads(loss.backward(), model);
            sum.accumulate(model, gradients);
        }
        if !total.is_finite() {
            return Err(self.not_finite(step, "the loss is not finite".into(), pairs, place));
        }
        Ok((total, sum.grads()))
    }

    fn dead_parameters(
        &self,
        model: &Seq2Seq<B>,
        gradients: &GradientsParams,
    ) -> Vec<DeadParameter> {
        model.dead_parameters(gradients)
    }

    fn update(&mut self, _: &mut StepRecord) -> Result<(), TrainError> {
        Ok(())
    }

    fn work(&self, model: &Seq2Seq<B>, pairs: &Vec<TokenPair>) -> Work {
        let skips_padding = model.skips_padding();
        let mut work = Work { pairs: pairs.len(), ..Work::default() };
        for pairs in pairs.chunks(self.lesson.train.chunk()) {
            for row in [|pair: &TokenPair| pair.input.len(), |pair: &TokenPair| pair.target.len()] {
                let (tokens, longest) = pairs
                    .iter()
                    .map(row)
                    .fold((0, 0), |(sum, longest), length| (sum + length, length.max(longest)));
                work.tokens += tokens;
                work.computed_tokens += if skips_padding { tokens } else { pairs.len() * longest };
            }
        }
        work
    }

    fn judge(
        &self,
        model: &Seq2Seq<B>,
        _: &mut dyn FnMut(Event<'_>),
    ) -> Result<Metrics, TrainError> {
        (self.judge)(&self.start.with_model(model.valid()))
    }

    /// The batch is saved as texts.
    fn not_finite(
        &self,
        step: usize,
        what: String,
        pairs: &Vec<TokenPair>,
        place: &Place<'_>,
    ) -> TrainError {
        let text = |ids: &Vec<u32>| self.start.tokenizer().inner().decode(ids, false).ok();
        let texts: Vec<_> =
            pairs.iter().map(|pair| [text(&pair.input), text(&pair.target)]).collect();
        not_finite(place, step, what, &texts)
    }

    fn state(&self) {}

    fn restore(&mut self, (): ()) {}
}
