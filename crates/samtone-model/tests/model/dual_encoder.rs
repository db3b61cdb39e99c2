//! What holds for every dual encoder: who shares what, exact gradients, and embeddings that depend
//! on their text alone.

use burn::backend::{Autodiff, Flex, NdArray};
use burn::module::AutodiffModule;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, FloatDType, Tensor, TensorData};
use samtone_model::{
    Activation, BertConfig, BertKin, Dropout, DualEncoder, DualEncoderConfig, EncoderConfig,
    Freeze, GradientFault, Part, Pooling, Poolings, Precision, RotaryConfig, RotaryKin, Sharing,
    Side, T5Config,
};
use samtone_testing::model::{self, config, parameters};
use samtone_testing::{assert_close, assert_close_to_scale, error, values, weighed_sum};
use samtone_text::{Key, TokenBatch};

fn bert() -> EncoderConfig {
    EncoderConfig::Bert(BertConfig { vocab_size: 20, ..model::bert() })
}

fn t5(gated: bool) -> EncoderConfig {
    let activation = if gated { Activation::GeluTanh } else { Activation::Relu };
    EncoderConfig::T5(T5Config { vocab_size: 20, head_dim: 3, gated, activation, ..model::t5() })
}

/// What differs from BERT in a block of its own: MPNet's positions, Jina's slopes and gate, ELECTRA's
/// narrow tables.
fn kin(kin: BertKin) -> EncoderConfig {
    let token_types = if kin == BertKin::Mpnet { 0 } else { 2 };
    let embedding_size = (kin == BertKin::Electra).then_some(6);
    let bert = BertConfig { vocab_size: 20, token_types, embedding_size, ..model::bert() };
    EncoderConfig::Bert(BertConfig { kin, ..bert })
}

/// Two layers, one of which is local.
fn rotary(kin: RotaryKin, norm_bias: bool) -> EncoderConfig {
    EncoderConfig::Rotary(RotaryConfig {
        kin,
        vocab_size: 20,
        hidden: 8,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 2,
        intermediate: 6,
        max_positions: 16,
        token_types: usize::from(kin == RotaryKin::NomicBert),
        activation: Activation::Silu,
        norm_bias,
        qkv_bias: norm_bias,
        is_causal: kin == RotaryKin::Qwen3,
        window: Some(1),
        global_every: 2,
        dropout: 0.2,
        attention_dropout: 0.3,
        ..RotaryConfig::default()
    })
}

/// Encoders beside BERT and T5.
fn others() -> [EncoderConfig; 7] {
    [
        kin(BertKin::Mpnet),
        kin(BertKin::JinaBert),
        kin(BertKin::Electra),
        rotary(RotaryKin::ModernBert, false),
        rotary(RotaryKin::NomicBert, true),
        rotary(RotaryKin::Qwen3, false),
        rotary(RotaryKin::Gemma3, false),
    ]
}

fn batch() -> TokenBatch {
    TokenBatch::pad(&[vec![3, 4, 5, 6, 7], vec![8, 9], vec![10, 11, 12, 4]], 0)
}

#[test]
fn shared_parameters_count_once() {
    let count = |sharing| {
        let config = config(bert(), sharing, Pooling::Mean);
        let model = DualEncoder::<Flex>::init(&config, 1, &Default::default()).unwrap();
        assert_eq!(model.num_parameters(), burn::module::Module::num_params(&model));
        let of = |part: fn(Part) -> bool| -> usize {
            let parameters = model.parameters().iter().filter(|p| part(p.part));
            parameters.map(samtone_model::Parameter::num_elements).sum()
        };
        let stack = of(|part| matches!(part, Part::Layer(_)));
        (of(|part| part == Part::Embedder), stack, of(|part| part == Part::Projection))
    };
    // Tables of (20 + 16 + 2) x 8 and a norm; per layer 4 x (8x8 + 8) + 2 x 16 + 2 x 96 + 12 + 8.
    let (embedder, stack, projection) = (320, 2 * (288 + 32 + 192 + 20), 48);
    assert_eq!(count(Sharing::Sde), (embedder, stack, projection));
    assert_eq!(count(Sharing::Ade), (2 * embedder, 2 * stack, 2 * projection));
    assert_eq!(count(Sharing::AdeSte), (embedder, 2 * stack, 2 * projection));
    assert_eq!(count(Sharing::AdeFte), (embedder, 2 * stack, 2 * projection));
    assert_eq!(count(Sharing::AdeSpl), (2 * embedder, 2 * stack, projection));
    // Of either tower in both layers rank 16 beside two maps of 8 x 8.
    let adapters = 2 * 2 * 2 * (16 * 8 + 8 * 16);
    assert_eq!(count(Sharing::AdeAdapter), (embedder, stack + adapters, 2 * projection));
}

#[test]
fn a_step_reaches_shared_parameters_from_both_sides_and_frozen_ones_from_none() {
    type B = Autodiff<Flex>;
    for sharing in Sharing::ALL {
        let config = config(bert(), sharing, Pooling::Mean);
        let model = DualEncoder::<B>::init(&config, 1, &Default::default()).unwrap();
        let gradients = |sides: &[Side]| {
            let loss = sides.iter().map(|&side| weighed_sum(model.encode(side, &batch(), None)));
            let loss = loss.reduce(|a, b| a + b).unwrap();
            GradientsParams::from_grads(loss.backward(), &model)
        };
        let [query, document] = Side::ALL.map(|side| gradients(&[side]));
        assert_eq!(model.dead_parameters(&gradients(&Side::ALL)), [], "{sharing}");
        // One side alone leaves exactly the other tower's own parameters without a gradient.
        for (side, one) in [(Side::Document, &query), (Side::Query, &document)] {
            let dead = model.dead_parameters(one);
            assert!(dead.iter().all(|dead| dead.fault == GradientFault::Missing), "{dead:?}");
            let dead: Vec<_> = dead.into_iter().map(|dead| dead.path).collect();
            let own = model.parameters().iter().filter(|p| p.side == Some(side) && p.is_trainable);
            assert_eq!(dead, own.map(|p| p.path.clone()).collect::<Vec<_>>(), "{sharing}");
        }
        let frozen = model.parameters().iter().filter(|p| !p.is_trainable);
        let expected = match sharing {
            Sharing::AdeFte => 5,
            // The encoder, and the projections unless they are asked for.
            Sharing::AdeAdapter => 5 + 2 * 16 + 2,
            _ => 0,
        };
        assert_eq!(frozen.count(), expected);
    }
}

#[test]
fn both_towers_start_from_one_encoder() {
    let mut config = config(bert(), Sharing::Ade, Pooling::Mean);
    config.projection = None;
    let model = DualEncoder::<Flex>::init(&config, 1, &Default::default()).unwrap();
    let [query, document] = Side::ALL.map(|side| values(model.encode(side, &batch(), None)));
    assert_eq!(query, document);
}

/// Central differences in f64 have an error near 1e-10 here; a wrong term is far larger.
const GRADIENT_TOLERANCE: f64 = 1e-7;

#[test]
fn gradients_agree_with_central_differences() {
    let dropout = Some(Dropout { key: Key::new(3), first_row: 0 });
    for encoder in [bert(), t5(false), t5(true)] {
        for (pooling, dropout, unpooled) in [
            (Pooling::Mean, None, 0),
            (Pooling::Cls, None, 0),
            (Pooling::Last, None, 0),
            (Pooling::Mean, dropout, 0),
            // The second text has two tokens: one of its own, or none.
            (Pooling::Mean, None, 1),
            (Pooling::Mean, None, 2),
            (Pooling::Cls, None, 2),
            (Pooling::Last, None, 2),
            (Pooling::Max, None, 0),
            (Pooling::MeanSqrtLen, None, 0),
            (Pooling::WeightedMean, None, 0),
            (Pooling::Max, None, 2),
            (Pooling::MeanSqrtLen, None, 2),
            (Pooling::WeightedMean, None, 1),
            (Pooling::of_parts(&Poolings::ORDER).unwrap(), None, 1),
        ] {
            // Small enough to cross no kink of a ReLU.
            check_gradients(&encoder, (pooling, dropout, unpooled), |slope| slope(1e-5));
        }
    }
}

#[test]
fn gradients_of_the_other_encoders_agree_with_central_differences() {
    let dropout = Some(Dropout { key: Key::new(3), first_row: 0 });
    for encoder in others() {
        // The norm of a table near 0.02 bends: two steps take its curve away (Richardson).
        check_gradients(&encoder, (Pooling::Mean, dropout, 0), |slope| {
            (4.0 * slope(2e-5) - slope(4e-5)) / 3.0
        });
    }
}

#[track_caller]
fn check_gradients(
    encoder: &EncoderConfig,
    (pooling, dropout, unpooled): (Pooling, Option<Dropout>, usize),
    derivative: impl Fn(&dyn Fn(f64) -> f64) -> f64,
) {
    type B = Autodiff<Flex>;
    let config = config(encoder.clone(), Sharing::Sde, pooling);
    let model = DualEncoder::<B>::init(&config, 1, &Default::default()).unwrap();
    let model = model.with_unpooled([unpooled, 0]).cast(FloatDType::F64);
    let loss = |model: &DualEncoder<Flex>| {
        values(weighed_sum(model.encode(Side::Query, &batch(), dropout)))[0]
    };
    let graph = weighed_sum(model.encode(Side::Query, &batch(), dropout));
    let gradients = GradientsParams::from_grads(graph.backward(), &model);
    let mut checked = 0;
    model.for_each_gradient(&gradients, |parameter, gradient| {
        let gradient = values(gradient.unwrap());
        for element in (0..gradient.len()).step_by(gradient.len() / 2 + 1) {
            let slope = |step: f64| {
                let [up, down] = [step, -step]
                    .map(|step| loss(&nudge(model.valid(), &parameter.path, element, step)));
                (up - down) / (2.0 * step)
            };
            let difference = derivative(&slope);
            let error = (difference - gradient[element]).abs();
            assert!(
                error <= GRADIENT_TOLERANCE * (1.0 + difference.abs()),
                "{encoder:?} {} [{element}]: {difference} by differences, {} by autodiff",
                parameter.path,
                gradient[element]
            );
            checked += 1;
        }
    });
    assert!(checked >= model.parameters().len());
}

#[test]
fn gradients_of_dense_layers_agree_with_central_differences() {
    type B = Autodiff<Flex>;
    let activations = ["identity", "tanh", "relu", "gelu", "silu", "sigmoid"];
    for activation in activations {
        let layers = serde_json::json!([
            { "dim": 5, "bias": true, "activation": activation }, { "dim": 3, "activation": "tanh" }
        ]);
        let mut config = config(bert(), Sharing::AdeSpl, Pooling::Mean);
        config.projection = Some(serde_json::from_value(layers).unwrap());
        let model = DualEncoder::<B>::init(&config, 1, &Default::default()).unwrap();
        let model = model.cast(FloatDType::F64);
        let loss = |model: &DualEncoder<Flex>| {
            let sides = Side::ALL.map(|side| weighed_sum(model.encode(side, &batch(), None)));
            sides.map(|loss| values(loss)[0]).iter().sum::<f64>()
        };
        let sides = Side::ALL.map(|side| weighed_sum(model.encode(side, &batch(), None)));
        let graph = sides.into_iter().reduce(|a, b| a + b).unwrap();
        let gradients = GradientsParams::from_grads(graph.backward(), &model);
        let mut checked = Vec::new();
        model.for_each_gradient(&gradients, |parameter, gradient| {
            if parameter.part != Part::Projection {
                return;
            }
            for (element, &gradient) in values(gradient.unwrap()).iter().enumerate() {
                let [up, down] = [1e-5, -1e-5]
                    .map(|step| loss(&nudge(model.valid(), &parameter.path, element, step)));
                let difference = (up - down) / 2e-5;
                let error = (difference - gradient).abs();
                let name = &parameter.path;
                assert!(
                    error <= GRADIENT_TOLERANCE * (1.0 + difference.abs()),
                    "{name}, {activation}"
                );
            }
            checked.push(parameter.path.clone());
        });
        let expected =
            ["shared.projection.weight", "shared.projection.bias", "shared.projection.1.weight"];
        assert_eq!(checked, expected);
    }
}

/// Sums in f64, in other orders.
const SUM_TOLERANCE: f64 = 1e-9;
/// The same in f32.
const F32_SUM_TOLERANCE: f64 = 1e-5;

/// Holds the gradients of layers that are computed again to those of one graph.
#[track_caller]
pub(crate) fn check_layers(
    model: &DualEncoder<Autodiff<Flex>>,
    (side, batch): (Side, TokenBatch),
    dropout: Option<Dropout>,
    tolerance: f64,
) {
    let graph = model.encode(side, &batch, dropout);
    let kept = graph.clone().inner();
    let wanted = kept.clone().cos();
    let whole = (graph * Tensor::from_inner(wanted.clone())).sum().backward();
    let whole = GradientsParams::from_grads(whole, model);
    let of = |gradients: &GradientsParams| {
        let mut found = Vec::new();
        model.for_each_gradient(gradients, |parameter, gradient| {
            found.push((parameter.path.clone(), gradient.map(values)));
        });
        found
    };
    for at_once in 1..=model.config().encoder.layers() {
        let (embeddings, pass) = model.encode_by_layers(side, batch.clone(), dropout, at_once);
        assert_close("forward", &values(embeddings), &values(kept.clone()), tolerance);
        let mut sum = GradientsAccumulator::new();
        model.accumulate_gradients(vec![(pass, wanted.clone())], &mut sum);
        let again = sum.grads();
        assert_eq!(again.len(), whole.len());
        for ((path, whole), (_, again)) in of(&whole).into_iter().zip(of(&again)) {
            let [whole, again] = [whole, again].map(Option::unwrap_or_default);
            let what = format!("{path}, {at_once} layers at once");
            assert_close_to_scale(&what, &again, &whole, tolerance);
        }
    }
}

#[test]
fn layers_computed_again_give_the_same_gradients() {
    let dropout = Some(Dropout { key: Key::new(3), first_row: 0 });
    let encoders = [bert(), t5(false), t5(true)].into_iter().chain(others());
    for encoder in encoders {
        let layers = encoder.layers();
        let all_layers = Freeze { embeddings: true, layers, ..Freeze::default() };
        for (sharing, side, freeze) in [
            (Sharing::Sde, Side::Query, Freeze::default()),
            (Sharing::AdeFte, Side::Document, Freeze::default()),
            (Sharing::AdeAdapter, Side::Document, Freeze::default()),
            // Nothing below the norm after the last layer, where there is one.
            (Sharing::Sde, Side::Query, all_layers),
        ] {
            let config = config(encoder.clone(), sharing, Pooling::Mean);
            let config = DualEncoderConfig { freeze, ..config };
            let model = DualEncoder::init(&config, 1, &Default::default()).unwrap();
            check_layers(&model, (side, batch()), dropout, F32_SUM_TOLERANCE);
            // In plain operations, of whose graph attention is one step.
            let model = model.cast(FloatDType::F64);
            check_layers(&model, (side, batch()), dropout, SUM_TOLERANCE);
        }
    }
}

/// Roundings of 2^-9 that follow one another, as a share of the length of a parameter's gradient: up
/// to 0.087 where its terms nearly cancel. A wrong term is a share of one.
const BF16_TOLERANCE: f64 = 0.12;

#[test]
fn embeddings_and_gradients_in_bf16_are_near_those_in_f32() {
    type B = Autodiff<Flex>;
    let dropout = Some(Dropout { key: Key::new(3), first_row: 0 });
    // Without T5's ReLU: roundings cross its kink.
    for encoder in [bert(), t5(true)].into_iter().chain(others()) {
        let config = config(encoder.clone(), Sharing::Sde, Pooling::Mean);
        let single = DualEncoder::<B>::init(&config, 1, &Default::default()).unwrap();
        let half = single.clone().compute_in(Precision::Bf16);
        assert!(half.skips_padding(), "the fused operations take bf16");
        for dropout in [None, dropout] {
            let [expected, got] = [&single, &half].map(|model| {
                let x = model.encode(Side::Query, &batch(), dropout);
                let mut all = vec![("the embeddings".to_owned(), values(x.clone()))];
                let gradients = weighed_sum(x).backward();
                let gradients = GradientsParams::from_grads(gradients, model);
                model.for_each_gradient(&gradients, |parameter, gradient| {
                    let gradient = gradient.expect("the loss reaches every parameter");
                    all.push((parameter.path.clone(), values(gradient)));
                });
                all
            });
            for ((what, expected), (_, got)) in expected.iter().zip(&got) {
                let error = error(got, expected, 1e-3);
                assert!(error < BF16_TOLERANCE, "{encoder:?}, {what}: {error}");
            }
        }
    }
}

/// Adds `step` to one element of one parameter.
pub(crate) fn nudge(
    model: DualEncoder<Flex>,
    path: &str,
    element: usize,
    step: f64,
) -> DualEncoder<Flex> {
    use burn::module::{Module, ModuleMapper, Param, ParamId};
    struct Nudge(ParamId, usize, f64);
    impl<B: Backend> ModuleMapper<B> for Nudge {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            let Self(id, element, step) = *self;
            if param.id != id {
                return param;
            }
            param.map(|tensor| {
                let mut data: Vec<f64> = tensor.to_data().iter::<f64>().collect();
                data[element] += step;
                let data = TensorData::new(data, tensor.shape());
                Tensor::from_data(data, (&tensor.device(), tensor.dtype()))
            })
        }
    }
    let id = model.parameters().iter().find(|p| p.path == path).unwrap().id;
    model.map(&mut Nudge(id, element, step))
}

/// Sums of a few hundred f32 terms in other orders.
const F32_TOLERANCE: f64 = 2e-6;

#[test]
fn an_embedding_depends_on_its_text_alone() {
    for encoder in [bert(), t5(false), t5(true)] {
        for pooling in Poolings::ORDER {
            let config = config(encoder.clone(), Sharing::Sde, pooling);
            let model = DualEncoder::<Flex>::init(&config, 7, &Default::default()).unwrap();
            let embed = |batch: &TokenBatch| values(model.encode(Side::Document, batch, None));
            let rows: Vec<Vec<u32>> = vec![vec![3, 4, 5, 6, 7], vec![8, 9], vec![10, 11, 12, 4]];
            let together = embed(&TokenBatch::pad(&rows, 0));
            let padded = embed(&TokenBatch::pad_to(&rows, 13, 16));
            assert_close("padded", &together, &padded, F32_TOLERANCE);
            let alone: Vec<f64> =
                rows.iter().flat_map(|row| embed(&TokenBatch::pad(&[row], 0))).collect();
            assert_close("alone", &together, &alone, F32_TOLERANCE);
            for row in together.chunks(6) {
                assert!((row.iter().map(|x| x * x).sum::<f64>() - 1.0).abs() < F32_TOLERANCE);
            }
        }
    }
}

#[test]
fn a_copy_to_compute_with_keeps_norms_and_projections() {
    for encoder in [bert(), t5(true)] {
        let config = config(encoder, Sharing::AdeSpl, Pooling::Mean);
        let model = DualEncoder::<Flex>::init(&config, 7, &Default::default()).unwrap();
        let mut norms = 0;
        model.compute_in(Precision::Bf16).for_each_parameter(|parameter, values| {
            let is_norm = parameter.name.to_lowercase().replace('_', "").contains("layernorm");
            assert_eq!(parameter.is_norm, is_norm, "{}", parameter.name);
            let is_kept = is_norm || parameter.part == Part::Projection;
            let expected = if is_kept { DType::F32 } else { DType::BF16 };
            assert_eq!(values.dtype(), expected, "{}", parameter.name);
            norms += usize::from(is_norm);
        });
        assert!(norms > 4);
    }
}

#[test]
fn tokens_left_out_of_pooling_are_read_all_the_same() {
    let rows = [vec![3, 4, 5, 6, 7], vec![8, 9], vec![10, 11, 12, 4]];
    for pooling in Poolings::ORDER {
        let mut config = config(bert(), Sharing::Sde, pooling);
        (config.projection, config.normalize) = (None, false);
        let model = DualEncoder::<Flex>::init(&config, 7, &Default::default()).unwrap();
        let padded = TokenBatch::pad_to(&rows, 0, 9);
        // The states of each text: 0 to 4, 5 and 6, 7 to 10; the second has nothing left.
        let pooled: [&[usize]; 3] = match pooling {
            Pooling::Cls => [&[2], &[5], &[9]],
            Pooling::Last => [&[4], &[], &[10]],
            _ => [&[2, 3, 4], &[], &[9, 10]],
        };
        // Each text's rows and dimension to what they become.
        let join = |states: &[f64], first: usize| -> f64 {
            let sum: f64 = states.iter().sum();
            let n = states.len().max(1) as f64;
            match pooling {
                Pooling::Max => states.iter().copied().reduce(f64::max).unwrap_or(0.0),
                Pooling::MeanSqrtLen => sum / n.sqrt(),
                // The third token is the first that is pooled.
                Pooling::WeightedMean => {
                    let weighed = (first..).zip(states).map(|(at, state)| at as f64 * state);
                    let weights: usize = (first..first + states.len()).sum();
                    weighed.sum::<f64>() / weights.max(1) as f64
                }
                _ => sum / n,
            }
        };
        let model = model.with_unpooled([2, 0]);
        for model in [model.clone(), model.clone().cast(FloatDType::F64)] {
            let states = values(model.token_states(Side::Query, &padded, None));
            let states: Vec<&[f64]> = states.chunks(8).collect();
            let text = |rows: &[usize]| -> Vec<f64> {
                let of = |axis| rows.iter().map(|&row| states[row][axis]).collect::<Vec<_>>();
                (0..8).map(|axis| join(&of(axis), 3)).collect()
            };
            let got = values(model.encode(Side::Query, &padded, None));
            assert_close("pooled", &got, &pooled.map(text).concat(), F32_TOLERANCE);
        }
        let other = values(model.encode(Side::Document, &padded, None));
        assert_eq!(other, values(model.with_unpooled([0, 0]).encode(Side::Query, &padded, None)));
    }
}

#[test]
fn every_backend_draws_the_same_weights_and_embeds_alike() {
    for encoder in [bert(), t5(true)] {
        let config = config(encoder, Sharing::AdeSpl, Pooling::Mean);
        let flex = DualEncoder::<Flex>::init(&config, 7, &Default::default()).unwrap();
        let ndarray = DualEncoder::<NdArray>::init(&config, 7, &Default::default()).unwrap();
        assert_eq!(parameters(&flex), parameters(&ndarray));
        let dropout = Some(Dropout { key: Key::new(3), first_row: 0 });
        for dropout in [None, dropout] {
            let a = values(flex.encode(Side::Query, &batch(), dropout));
            let b = values(ndarray.encode(Side::Query, &batch(), dropout));
            assert_close("another backend", &a, &b, F32_TOLERANCE);
        }
    }
}

#[test]
fn dropout_does_not_depend_on_chunks_or_padding() {
    for encoder in [bert(), t5(true)] {
        let config = config(encoder, Sharing::Sde, Pooling::Mean);
        let model = DualEncoder::<Flex>::init(&config, 7, &Default::default()).unwrap();
        let key = Key::new(11).child("dropout").at(5);
        let embed = |batch: &TokenBatch, first_row| {
            values(model.encode(Side::Query, batch, Some(Dropout { key, first_row })))
        };
        let whole = embed(&batch(), 0);
        let chunks = [
            embed(&TokenBatch::pad(&[vec![3, 4, 5, 6, 7]], 0), 0),
            embed(&TokenBatch::pad_to(&[vec![8, 9], vec![10, 11, 12, 4]], 0, 9), 1),
        ]
        .concat();
        assert_close("chunks", &whole, &chunks, F32_TOLERANCE);
        let kept = values(model.encode(Side::Query, &batch(), None));
        let worst = whole.iter().zip(kept).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(worst > 1e-3, "dropout changes nothing");
    }
}

#[test]
fn a_zero_embedding_has_a_finite_gradient() {
    type B = Autodiff<Flex>;
    let config = config(t5(true), Sharing::Sde, Pooling::Mean);
    let model = DualEncoder::<B>::init(&config, 7, &Default::default()).unwrap();
    struct Zero;
    impl<B: Backend> burn::module::ModuleMapper<B> for Zero {
        fn map_float<const D: usize>(
            &mut self,
            param: burn::module::Param<Tensor<B, D>>,
        ) -> burn::module::Param<Tensor<B, D>> {
            param.map(|x| x.zeros_like().set_require_grad(true))
        }
    }
    let model = burn::module::Module::map(model, &mut Zero);
    let loss = weighed_sum(model.encode(Side::Query, &batch(), None));
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    let dead = model.dead_parameters(&gradients);
    assert!(dead.iter().all(|dead| dead.fault == GradientFault::Zero), "{dead:?}");
}

#[test]
#[should_panic(expected = "17 tokens in a text, of which the encoder reads 16")]
fn a_text_beyond_the_position_table_is_refused() {
    let config = config(bert(), Sharing::Sde, Pooling::Mean);
    let model = DualEncoder::<Flex>::init(&config, 7, &Default::default()).unwrap();
    let _ = model.encode(Side::Query, &TokenBatch::pad(&[vec![1; 17]], 0), None);
}

/// Gradients in f32 against f64, relative to each parameter's largest.
const F32_GRADIENT_TOLERANCE: f64 = 2e-4;

#[test]
fn fused_and_portable_operations_agree() {
    // On Flex, f32 takes the fused operations and f64 the portable ones.
    type B = Autodiff<Flex>;
    let dropout = Some(Dropout { key: Key::new(3), first_row: 2 });
    for encoder in [bert(), t5(false), t5(true)] {
        for (dropout, unpooled) in [(None, 0), (dropout, 0), (None, 1), (None, 2)] {
            let config = config(encoder.clone(), Sharing::Sde, Pooling::Mean);
            let fused = DualEncoder::<B>::init(&config, 1, &Default::default()).unwrap();
            let fused = fused.with_unpooled([unpooled, 0]);
            let portable = fused.clone().cast(FloatDType::F64);
            let run = |model: &DualEncoder<B>| {
                let embeddings = model.encode(Side::Query, &batch(), dropout);
                let gradients =
                    GradientsParams::from_grads(weighed_sum(embeddings.clone()).backward(), model);
                (values(embeddings), model::gradients(model, &gradients))
            };
            let ((fused, fused_gradients), (portable, gradients)) = (run(&fused), run(&portable));
            assert_close("fused and portable", &fused, &portable, F32_TOLERANCE);
            for ((path, fused), (_, portable)) in fused_gradients.iter().zip(&gradients) {
                assert_close_to_scale(path, fused, portable, F32_GRADIENT_TOLERANCE);
            }
        }
    }
}
