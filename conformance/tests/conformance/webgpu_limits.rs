//! The loss on a device with no more than WebGPU's default limits: 128 MiB in a binding, eight
//! storage buffers and 256 units in a kernel.
//!
//! Part of the suite on `wgpu` alone, and in a process of its own, as `cargo xtask conformance wgpu`
//! runs it: a process sets up its device once.

use burn::backend::Flex;
use burn::backend::wgpu::graphics::AutoGraphicsApi;
use burn::backend::wgpu::{RuntimeOptions, Wgpu, WgpuDevice, WgpuSetup, init_device, init_setup};
use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorData};
use samtone_loss::{Batch, LossConfig, LossGradients};

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

/// SamToNe in the largest tiles that it makes, of pairs that waves of sines make.
fn samtone<B: Backend>(rows: usize, dim: usize, device: &B::Device) -> LossGradients<B> {
    let side = |shift: f32| {
        let values = (0..rows * dim).map(|at| (shift + 0.37 * (at * at % 65_521) as f32).sin());
        Tensor::<B, 2>::from_data(TensorData::new(values.collect(), [rows, dim]), device)
    };
    let loss = LossConfig::default().resolve().expect("it is a loss").with_tile(1 << 20);
    let batch = Batch::new(side(0.0), side(1.0));
    loss.value_and_gradients(&batch, loss.temperature()).expect("the embeddings are finite")
}

#[test]
fn more_scores_than_a_binding_holds() {
    if std::env::var("SAMTONE_BACKEND").as_deref() != Ok("wgpu") {
        return;
    }
    // 6,000² scores of four bytes are 137 MiB.
    let (rows, dim) = (6000, 8);
    let got = samtone::<Wgpu>(rows, dim, &device());
    let expected = samtone::<Flex>(rows, dim, &Default::default());
    let apart = (got.loss - expected.loss).abs();
    assert!(apart < 1e-5 * expected.loss.abs(), "{} and not {}", got.loss, expected.loss);
    let values = |gradient: TensorData| gradient.to_vec::<f32>().expect("f32");
    let got = values(got.embeddings.documents.into_data());
    let pairs = got.into_iter().zip(values(expected.embeddings.documents.into_data()));
    let (difference, size) = pairs.fold((0.0, 0.0), |(difference, size), (a, b)| {
        (difference + f64::from(a - b).powi(2), size + f64::from(b).powi(2))
    });
    assert!(difference.sqrt() < 5e-5 * size.sqrt(), "{difference:e} of {size:e}, squared");
}
