//! The weights of a checkpoint: what is trained, and a sum of what is not.

use std::collections::HashMap;

use burn::module::{AutodiffModule, ModuleMapper, ModuleVisitor, Param};
use burn::record::RecorderError;
use burn::tensor::Tensor;
use burn::tensor::backend::{AutodiffBackend, Backend};

/// The trained parameters of a model, flattened, by their ids; and the BLAKE3 sum of the others, which
/// are those that the training began with.
pub(crate) type Weights<B> = (String, Vec<(u64, Tensor<B, 1>)>);

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

/// The parameters of `model` that are trained.
pub(crate) fn trained<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: &M,
) -> Vec<(u64, Tensor<B, 1>)> {
    struct Visitor<B: Backend>(Vec<(u64, Tensor<B, 1>)>);
    impl<B: Backend> ModuleVisitor<B> for Visitor<B> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<B, D>>) {
            if param.is_require_grad() {
                self.0.push((param.id.val(), param.val().flatten(0, D - 1)));
            }
        }
    }
    let mut visitor = Visitor(Vec::new());
    model.visit(&mut visitor);
    visitor.0
}

/// `model` with the trained parameters of a checkpoint.
///
/// # Errors
/// If the checkpoint's model trains others, or stood on other frozen ones than those of the sum `frozen`.
pub(crate) fn restored<B: AutodiffBackend, M: AutodiffModule<B>>(
    model: M,
    (sum, trained): Weights<B>,
    frozen: &str,
) -> Result<M, RecorderError> {
    struct Mapper<B: Backend> {
        trained: HashMap<u64, Tensor<B, 1>>,
        fits: bool,
    }
    impl<B: Backend> ModuleMapper<B> for Mapper<B> {
        fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
            if !param.is_require_grad() {
                return param;
            }
            let (id, own, mapper) = param.consume();
            let kept = self.trained.remove(&id.val());
            let kept =
                kept.filter(|kept| kept.shape().num_elements() == own.shape().num_elements());
            self.fits &= kept.is_some();
            let tensor = kept.map_or_else(|| own.clone(), |kept| kept.reshape(own.shape()));
            Param::from_mapped_value(id, tensor.detach().set_require_grad(true), mapper)
        }
    }
    let unlike = |what: &str| Err(RecorderError::DeserializeError(what.into()));
    if sum != frozen {
        return unlike("its frozen weights are not those that the run began with");
    }
    let mut mapper = Mapper { trained: trained.into_iter().collect(), fits: true };
    let model = model.map(&mut mapper);
    if !mapper.fits || !mapper.trained.is_empty() {
        return unlike("it holds other weights than the run trains");
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
        assert_eq!(trained(&all).len(), all.parameters().len());
        let kept = trained(&frozen);
        let numbers: usize = kept.iter().map(|(_, x)| x.dims()[0]).sum();
        assert_eq!(numbers, frozen.num_trainable());
        let sum = frozen_sum(&frozen);
        let before = values(&frozen);
        let scaled = kept.iter().map(|(id, x)| (*id, x.clone() * 2.0)).collect();
        frozen = restored(frozen, (sum.clone(), scaled), &sum).unwrap();
        assert_ne!(values(&frozen), before);
        frozen = restored(frozen, (sum.clone(), kept.clone()), &sum).unwrap();
        assert_eq!(values(&frozen), before);
        let is_trainable = |model: &DualEncoder<B>| trained(model).len();
        assert_eq!(is_trainable(&frozen), kept.len());

        let other = frozen_sum(&model(2, true));
        let error = restored(frozen.clone(), (other, kept.clone()), &sum).unwrap_err().to_string();
        assert!(error.contains("frozen weights"), "{error}");
        let error = restored(all, (sum.clone(), kept), &sum).unwrap_err().to_string();
        assert!(error.contains("other weights"), "{error}");
    }
}
