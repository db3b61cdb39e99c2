//! Chooses how a loss is computed on a backend.

#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cubecl")]
pub(crate) mod cube;
#[cfg(feature = "flex")]
mod flex;

use burn::tensor::DType;
use burn::tensor::backend::Backend;

use crate::{Batch, Loss, LossError, LossGradients, Temperature, streaming};

/// Whether this build has kernels for the loss of embeddings of type `dtype` on `B`. Where it has
/// none the loss is computed in tensor operations throughout.
pub fn has_kernels<B: Backend>(dtype: DType) -> bool {
    #[cfg(feature = "flex")]
    let on_flex = flex::runs_on::<B>(dtype);
    #[cfg(not(feature = "flex"))]
    let on_flex = false;
    #[cfg(feature = "cubecl")]
    let on_cube = cube::runs_on::<B>(crate::rows::working_type(dtype));
    #[cfg(not(feature = "cubecl"))]
    let on_cube = {
        let _ = dtype;
        false
    };
    on_flex || on_cube
}

impl Loss {
    /// The loss with its gradient for every embedding and for ln τ, without autodiff.
    ///
    /// Walks tiles of the score matrices with an online log-sum-exp and closed-form gradients, in
    /// `O(batch·dim)` memory beside the score tiles it is allowed to keep. The gradients are for
    /// the embeddings as given, normalised or not, and have their type; the computation runs in
    /// f64 for f64 embeddings and in f32 for all others.
    ///
    /// # Errors
    ///
    /// [`LossError::NonFinite`] names the first input row that is not finite,
    /// [`LossError::Overflow`] a row whose loss is not; others where relations or weights do not
    /// fit the batch.
    ///
    /// # Examples
    ///
    /// ```
    /// use burn::backend::Flex;
    /// use burn::tensor::Tensor;
    /// use samtone_loss::{Batch, LossConfig};
    ///
    /// let device = Default::default();
    /// let queries = Tensor::<Flex, 2>::from_data([[1.0, 0.0], [0.0, 1.0]], &device);
    /// let documents = Tensor::from_data([[2.0, 0.1], [0.1, 2.0]], &device);
    /// let loss = LossConfig::default().resolve()?;
    /// let result = loss.value_and_gradients(&Batch::new(queries, documents), loss.temperature())?;
    /// assert!(result.loss < 1e-6);
    /// assert_eq!(result.embeddings.queries.dims(), [2, 2]);
    /// # Ok::<(), samtone_loss::LossError>(())
    /// ```
    pub fn value_and_gradients<B: Backend>(
        &self,
        batch: &Batch<B>,
        temperature: Temperature,
    ) -> Result<LossGradients<B>, LossError> {
        batch.check()?;
        #[cfg(feature = "flex")]
        if let Some(result) = flex::value_and_gradients(self, batch, temperature) {
            return result;
        }
        streaming::value_and_gradients(self, batch, temperature)
    }
}

#[cfg(all(test, feature = "flex"))]
mod tests {
    use burn::backend::{Flex, NdArray};
    use burn::tensor::{DType, Tensor};

    use super::*;
    use crate::LossConfig;

    fn takes_the_fast_path<B: Backend>(dtype: DType) -> bool {
        let loss = LossConfig::default().resolve().expect("the default resolves");
        let device = B::Device::default();
        let queries = Tensor::<B, 2>::from_data([[1.0, 0.0], [0.5, 1.0]], (&device, dtype));
        let batch = Batch::new(queries.clone(), queries);
        let taken = flex::value_and_gradients(&loss, &batch, loss.temperature()).is_some();
        assert_eq!(taken, flex::runs_on::<B>(dtype));
        taken
    }

    #[test]
    fn flex_in_f32_takes_the_fast_path_and_nothing_else_does() {
        assert!(takes_the_fast_path::<Flex>(DType::F32));
        assert!(!takes_the_fast_path::<Flex>(DType::F64));
        assert!(!takes_the_fast_path::<Flex>(DType::BF16));
        assert!(!takes_the_fast_path::<NdArray>(DType::F32));
    }

    #[test]
    fn a_view_of_a_tensor_is_read_in_its_own_order() {
        let device = Default::default();
        let whole = Tensor::<Flex, 2>::from_data(
            [[9.0, 1.0, 0.2], [8.0, 0.1, 1.0], [7.0, 0.5, 0.5], [6.0, 2.0, 0.0]],
            &device,
        );
        let view = || whole.clone().slice([1..4, 1..3]);
        let copy = Tensor::from_data([[0.1, 1.0], [0.5, 0.5], [2.0, 0.0]], &device);
        let turned = view().transpose().reshape([2, 3]).transpose();
        let loss = LossConfig::default().resolve().expect("the default resolves");
        let value = |queries: &Tensor<Flex, 2>, documents: &Tensor<Flex, 2>| {
            let batch = Batch::new(queries.clone(), documents.clone());
            loss.value_and_gradients(&batch, loss.temperature()).unwrap().loss.to_bits()
        };
        assert_eq!(value(&view(), &copy), value(&copy, &view()));
        let dense = Tensor::from_data(turned.to_data(), &device);
        assert_eq!(value(&turned, &copy), value(&dense, &copy));
    }
}
