//! The weights of a checkpoint: what is trained, and a sum of what is not.

use std::collections::BTreeMap;

use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

use crate::tensor_file::{TensorFile, parameter_name};

/// The trained parameters of a model, by their ids; about them the BLAKE3 sum of the others, which are
/// those that the training began with.
pub(crate) type Weights<B> = TensorFile<B, String>;

/// The sum of the parameters that are not trained.
pub(crate) fn frozen_sum<B: AutodiffBackend, M: AutodiffModule<B>>(model: &M) -> String {
    struct Visitor(blake3::Hasher);
    impl<B: Backend> ModuleVisitor<B> for Visitor {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if param.is_require_grad() {
                return;
            }
            self.0.update(&param.id.val().to_le_bytes());
            for value in param.val().into_data().iter::<f32>() {
                self.0.update(&value.to_le_bytes());
            }
        }
    }
    let mut visitor = Visitor(blake3::Hasher::new());
    model.visit(&mut visitor);
    visitor.0.finalize().to_hex().to_string()
}

/// The parameters of `model` that are trained, and the sum `frozen` of the others.
pub(crate) fn trained<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
    frozen: &str,
) -> Weights<B::InnerBackend> {
    struct Visitor<B: Backend>(BTreeMap<String, Tensor<B, 1>>);
    impl<B: AutodiffBackend> ModuleVisitor<B> for Visitor<B::InnerBackend> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if param.is_require_grad() {
                self.0.insert(parameter_name(param.id), param.val().inner().flatten(0, D - 1));
            }
        }
    }
    let mut visitor = Visitor(BTreeMap::new());
    model.visit(&mut visitor);
    TensorFile { tensors: visitor.0, about: frozen.to_owned() }
}

/// `model` with the trained parameters of a checkpoint.
///
/// # Errors
/// If the checkpoint's model trains others, or stood on other frozen ones than those of the sum `frozen`.
pub(crate) fn restored<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: M,
    weights: Weights<B::InnerBackend>,
    frozen: &str,
) -> Result<M, String> {
    struct Mapper<B: Backend> {
        trained: BTreeMap<String, Tensor<B, 1>>,
        fits: bool,
    }
    impl<B: AutodiffBackend> ModuleMapper<B> for Mapper<B::InnerBackend> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if !param.is_require_grad() {
                return param;
            }
            let (id, own, mapper) = param.consume();
            let kept = self.trained.remove(&parameter_name(id));
            let kept =
                kept.filter(|kept| kept.shape().num_elements() == own.shape().num_elements());
            self.fits &= kept.is_some();
            let tensor = kept.map_or_else(|| own.clone().inner(), |kept| kept.reshape(own.shape()));
            Param::from_mapped_value(id, Tensor::from_inner(tensor).require_grad(), mapper)
        }
    }
    if weights.about != frozen {
        return Err("its frozen weights are not those that the run began with".into());
    }
    let mut mapper = Mapper { trained: weights.tensors, fits: true };
    let model = model.map(&mut mapper);
    if !mapper.fits || !mapper.trained.is_empty() {
        return Err("it holds other weights than the run trains".into());
    }
    Ok(model)
}

#[cfg(test)]
mod tests {
    use burn::backend::{Autodiff, Flex};
    use samtone_model::{
        BertConfig, DualEncoder, DualEncoderConfig, EncoderConfig, Freeze, Sharing,
    };

    use super::*;

    type B = Autodiff<Flex>;

    fn model(seed: u64, embeddings: bool) -> DualEncoder<B> {
        let bert = BertConfig {
            hidden: 8,
            layers: 1,
            heads: 2,
            intermediate: 12,
            vocab_size: 30,
            ..BertConfig::default()
        };
        let config = DualEncoderConfig {
            encoder: EncoderConfig::Bert(bert),
            sharing: Sharing::Sde,
            freeze: Freeze { embeddings, ..Freeze::default() },
            ..DualEncoderConfig::default()
        };
        DualEncoder::init(&config, seed, &Default::default()).unwrap()
    }

    fn values(model: &DualEncoder<B>) -> Vec<f32> {
        let mut values = Vec::new();
        model.for_each_parameter(|_, x| values.extend(x.into_data().iter::<f32>()));
        values
    }

    #[test]
    fn what_is_trained_is_kept_and_nothing_else() {
        let (mut frozen, all) = (model(1, true), model(1, false));
        assert_eq!(trained(&all, "").tensors.len(), all.parameters().len());
        let sum = frozen_sum(&frozen);
        let kept = trained(&frozen, &sum);
        let numbers: usize = kept.tensors.values().map(|x| x.dims()[0]).sum();
        assert_eq!(numbers, frozen.num_trainable());
        let before = values(&frozen);
        let mut scaled = kept.clone();
        scaled.tensors.values_mut().for_each(|x| *x = x.clone() * 2.0);
        frozen = restored(frozen, scaled, &sum).unwrap();
        assert_ne!(values(&frozen), before);
        frozen = restored(frozen, kept.clone(), &sum).unwrap();
        assert_eq!(values(&frozen), before);
        assert_eq!(trained(&frozen, &sum).tensors.len(), kept.tensors.len());

        let other = Weights { about: frozen_sum(&model(2, true)), ..kept.clone() };
        let error = restored(frozen.clone(), other, &sum).unwrap_err();
        assert!(error.contains("frozen weights"), "{error}");
        let error = restored(all, kept, &sum).unwrap_err();
        assert!(error.contains("other weights"), "{error}");
    }
}
