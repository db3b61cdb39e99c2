//! The loss on a device with no more than WebGPU's default limits: 128 MiB in a binding, eight
//! storage buffers and 256 units in a kernel.

use burn::backend::Flex;
use burn::backend::wgpu::{
    RuntimeOptions, Wgpu, WgpuDevice, WgpuSetup, graphics::AutoGraphicsApi, init_device, init_setup,
};
use burn::tensor::{Tensor, TensorData, backend::Backend};
use samtone_loss::{Batch, LossConfig, LossGradients, Preset};

/// The first adapter, asked for the defaults alone.
fn device() -> WgpuDevice {
    let setup = init_setup::<AutoGraphicsApi>(&WgpuDevice::default(), RuntimeOptions::default());
    let descriptor = wgpu::DeviceDescriptor {
        required_features: setup.device.features() - wgpu::Features::all_experimental_mask(),
        required_limits: wgpu::Limits::default(),
        ..Default::default()
    };
    let asked = setup.adapter.request_device(&descriptor);
    let (device, queue) = cubecl::future::block_on(asked).expect("every adapter has the defaults");
    assert_eq!(device.limits().max_storage_buffer_binding_size, 128 << 20);
    init_device(WgpuSetup { device, queue, ..setup }, RuntimeOptions::default())
}

fn run<B: Backend>(
    config: LossConfig,
    rows: usize,
    dim: usize,
    device: &B::Device,
) -> LossGradients<B> {
    let side = |shift: f32| {
        let values = (0..rows * dim).map(|at| (shift + 0.37 * (at * at % 65_521) as f32).sin());
        Tensor::<B, 2>::from_data(TensorData::new(values.collect(), [rows, dim]), device)
    };
    let loss = config.resolve().expect("a preset resolves").with_tile(1 << 20);
    let batch = Batch::new(side(0.0), side(1.0));
    loss.value_and_gradients(&batch, loss.temperature()).expect("finite embeddings")
}

fn check(preset: Preset, rows: usize, dim: usize) {
    let config = || LossConfig::preset(preset);
    let got = run::<Wgpu>(config(), rows, dim, &device());
    let expected = run::<Flex>(config(), rows, dim, &Default::default());
    assert!((got.loss - expected.loss).abs() < 1e-5 * expected.loss.abs(), "{preset}");
    let values = |data: TensorData| data.to_vec::<f32>().expect("f32");
    let pairs = values(got.documents.into_data());
    let pairs = pairs.iter().zip(values(expected.documents.into_data()));
    let (difference, size) = pairs.fold((0.0, 0.0), |(difference, size), (a, b)| {
        (difference + f64::from(a - b).powi(2), size + f64::from(b).powi(2))
    });
    assert!(difference.sqrt() < 5e-5 * size.sqrt(), "{preset}: {difference:e} of {size:e}");
}

/// 6,000² scores are 137 MiB.
#[test]
fn more_scores_than_a_binding_holds() {
    check(Preset::Samtone, 6000, 8);
}

/// 127 rows of 1 MiB.
#[test]
fn embeddings_that_fill_a_binding() {
    check(Preset::InBatch, 127, 1 << 18);
}
