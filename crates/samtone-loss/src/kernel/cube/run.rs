//! Runs an operation on the tensors of CubeCL's backends, fused or not.

use std::any::{Any, TypeId};
use std::fmt::Debug;
use std::marker::PhantomData;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Shape, Tensor, TensorMetadata, TensorPrimitive};
use burn_cubecl::fusion::FusionCubeRuntime;
use burn_cubecl::ops::numeric::empty_device_dtype;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{CubeBackend, CubeRuntime};
use burn_fusion::FusionTensor;
use burn_fusion::stream::OperationStreams;
use burn_ir::{CustomOpIr, HandleContainer, OperationIr, TensorIr};
use cubecl::calculate_cube_count_elemwise;
use cubecl::prelude::*;

use super::kernels::{self, ACROSS, DOWN};

/// What a kernel is launched with beside its tensors, which come in the order given here.
#[derive(Debug, Clone)]
pub(super) enum Operation {
    /// From scores to scores.
    Hide { places: Vec<u32> },
    /// From scores, where it `extends` largest and sum, and thresholds if any, to largest and sum.
    Extend { by_rows: bool, first_anchor: usize, scale: f32, extends: bool },
    /// From scores, a λ for each term, and thresholds if any, to weights.
    Weigh { by_rows: Vec<bool>, scales: Vec<f32>, first_anchors: [usize; 2] },
}

impl Operation {
    fn name(&self) -> &'static str {
        match self {
            Self::Hide { .. } => "samtone_hide",
            Self::Extend { .. } => "samtone_extend",
            Self::Weigh { .. } => "samtone_weigh",
        }
    }

    /// The shapes of what it returns, from that of the scores.
    fn shapes(&self, [rows, columns]: [usize; 2]) -> Vec<Shape> {
        match self {
            Self::Hide { .. } | Self::Weigh { .. } => vec![Shape::new([rows, columns])],
            Self::Extend { by_rows, .. } => {
                let anchors = if *by_rows { rows } else { columns };
                vec![Shape::new([anchors, 1]); 2]
            }
        }
    }

    fn launch<R: CubeRuntime>(self, inputs: Vec<CubeTensor<R>>) -> Vec<CubeTensor<R>> {
        let mut inputs = inputs.into_iter();
        let mut next = || inputs.next().expect("an operation has its inputs");
        let scores = next();
        let client = scores.client.clone();
        let [rows, columns] = [scores.meta.shape()[0], scores.meta.shape()[1]];
        let shapes = self.shapes([rows, columns]);
        let units = CubeDim::new_2d(ACROSS, DOWN);
        let cubes = |length: usize, units: u32| (length as u32).div_ceil(units);
        match self {
            Self::Hide { places } => {
                let scores = in_place(scores);
                let count = calculate_cube_count_elemwise(&client, places.len(), units);
                let list = CubeTensor::new_contiguous(
                    client.clone(),
                    scores.device.clone(),
                    Shape::new([places.len()]),
                    client.create_from_slice(u32::as_bytes(&places)),
                    DType::U32,
                );
                let list = list.into_array_arg();
                kernels::hide::launch::<R>(&client, count, units, arg(&scores), list);
                vec![scores]
            }
            Self::Extend { by_rows, first_anchor, scale, extends } => {
                let so_far = if extends { vec![next(), next()] } else { Vec::new() };
                let empty = |shape| {
                    empty_device_dtype(client.clone(), scores.device.clone(), shape, DType::F32)
                };
                let outputs: Vec<CubeTensor<R>> = shapes.into_iter().map(empty).collect();
                let count = if by_rows { cubes(rows, DOWN) } else { cubes(columns, ACROSS) };
                kernels::extend::launch::<R>(
                    &client,
                    CubeCount::Static(count, 1, 1),
                    units,
                    arg(&scores),
                    so_far.iter().map(arg).collect(),
                    inputs.map(|thresholds| arg(&thresholds)).collect(),
                    arg(&outputs[0]),
                    arg(&outputs[1]),
                    first_anchor,
                    scale,
                    by_rows,
                );
                outputs
            }
            Self::Weigh { by_rows, scales, first_anchors: [first_row, first_column] } => {
                let scores = in_place(scores);
                let lambdas: Vec<CubeTensor<R>> = scales.iter().map(|_| next()).collect();
                kernels::weigh::launch::<R>(
                    &client,
                    CubeCount::Static(cubes(columns, ACROSS), cubes(rows, DOWN), 1),
                    units,
                    arg(&scores),
                    lambdas.iter().map(arg).collect(),
                    scales.into_iter().collect(),
                    inputs.map(|thresholds| arg(&thresholds)).collect(),
                    first_row,
                    first_column,
                    by_rows,
                );
                vec![scores]
            }
        }
    }
}

fn arg<R: CubeRuntime>(tensor: &CubeTensor<R>) -> TensorArg<R> {
    tensor.clone().into_tensor_arg()
}

/// The tensor, or a copy where someone else still reads it.
fn in_place<R: CubeRuntime>(tensor: CubeTensor<R>) -> CubeTensor<R> {
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// A backend's own tensor, on which operations run.
trait Primitive: Sized + 'static {
    fn run(operation: Operation, inputs: Vec<Self>) -> Vec<Self>;
}

impl<R: CubeRuntime> Primitive for CubeTensor<R> {
    fn run(operation: Operation, inputs: Vec<Self>) -> Vec<Self> {
        operation.launch(inputs)
    }
}

impl<R: CubeRuntime> Primitive for FusionTensor<FusionCubeRuntime<R>> {
    fn run(operation: Operation, inputs: Vec<Self>) -> Vec<Self> {
        let client = inputs[0].client.clone();
        let streams = OperationStreams::with_inputs(&inputs);
        let shapes = operation.shapes(inputs[0].shape().dims());
        let outputs: Vec<TensorIr> = shapes
            .into_iter()
            .map(|shape| TensorIr::uninit(client.create_empty_handle(), shape, DType::F32))
            .collect();
        let inputs: Vec<TensorIr> = inputs.into_iter().map(Self::into_ir).collect();
        let description = CustomOpIr::new(operation.name(), &inputs, &outputs);
        let queued = Queued { operation, description: description.clone(), runtime: PhantomData };
        client.register(streams, OperationIr::Custom(description), queued)
    }
}

/// An operation in the queue of burn-fusion.
#[derive(Debug)]
struct Queued<R> {
    operation: Operation,
    description: CustomOpIr,
    runtime: PhantomData<R>,
}

impl<R: CubeRuntime> burn_fusion::stream::Operation<FusionCubeRuntime<R>> for Queued<R> {
    fn execute(
        &self,
        handles: &mut HandleContainer<
            <FusionCubeRuntime<R> as burn_fusion::FusionRuntime>::FusionHandle,
        >,
    ) {
        // The element types say what Burn makes of its own accord; handles have a type of their own.
        type Unfused<R> = CubeBackend<R, f32, i32, u32>;
        let CustomOpIr { inputs, outputs, .. } = &self.description;
        let inputs = inputs.iter().map(|input| handles.get_float_tensor::<Unfused<R>>(input));
        let made = self.operation.clone().launch(inputs.collect());
        for (output, tensor) in outputs.iter().zip(made) {
            handles.register_float_tensor::<Unfused<R>>(&output.id, tensor);
        }
    }
}

type Runner<B> = fn(Operation, Vec<Tensor<B, 2>>) -> Vec<Tensor<B, 2>>;

/// How operations run on `B`, if it is a backend of a runtime in this build.
pub(super) fn runner<B: Backend>() -> Option<Runner<B>> {
    let runners: &[Option<Runner<B>>] = &[
        #[cfg(feature = "wgpu")]
        on::<B, cubecl::wgpu::WgpuRuntime>(),
        #[cfg(feature = "cuda")]
        on::<B, cubecl::cuda::CudaRuntime>(),
    ];
    runners.iter().copied().flatten().next()
}

fn on<B: Backend, R: CubeRuntime>() -> Option<Runner<B>> {
    let primitive = TypeId::of::<B::FloatTensorPrimitive>();
    if primitive == TypeId::of::<CubeTensor<R>>() {
        Some(through::<B, CubeTensor<R>>)
    } else if primitive == TypeId::of::<FusionTensor<FusionCubeRuntime<R>>>() {
        Some(through::<B, FusionTensor<FusionCubeRuntime<R>>>)
    } else {
        None
    }
}

fn through<B: Backend, P: Primitive>(
    operation: Operation,
    inputs: Vec<Tensor<B, 2>>,
) -> Vec<Tensor<B, 2>> {
    let inputs = inputs.into_iter().map(|input| same(input.into_primitive().tensor()));
    let outputs = P::run(operation, inputs.collect()).into_iter();
    outputs.map(|output| Tensor::from_primitive(TensorPrimitive::Float(same(output)))).collect()
}

/// A value of a type that is known to be another.
fn same<A: 'static, B: 'static>(value: A) -> B {
    let value: Box<dyn Any> = Box::new(value);
    *value.downcast().expect("the type was compared")
}
