//! A CUDA driver without a GPU, of a Rust program that finds it as `libcuda`: CubeCL lowers its
//! kernels and NVRTC compiles them as for a device of the compute capability that
//! `SAMTONE_CUDA_ARCH` names (80, 90).
//!
//! Its memory is the host's. A kernel that is loaded is kept, as PTX, in the folder `SAMTONE_PTX`,
//! and does nothing when it is launched, so numbers that are read back mean nothing. It has the
//! functions that cubecl-cuda calls; another ends the program with its name.

#![expect(unsafe_code, reason = "the interface is C's")]

use std::collections::HashMap;
use std::env::var;
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::Path;
use std::ptr::{copy_nonoverlapping, without_provenance_mut};
use std::sync::Mutex;

use cudarc::driver::sys::{CUDA_MEMCPY2D, CUdevice_attribute as Attribute, CUmemorytype, CUresult};

/// What a handle points to that nobody looks into: streams, events, contexts, functions.
const HANDLE: usize = 64;

/// The buffers by their address.
static MEMORY: Mutex<Option<HashMap<usize, Vec<u128>>>> = Mutex::new(None);

fn allocate(bytes: usize) -> *mut c_void {
    let mut buffer = vec![0_u128; bytes.div_ceil(size_of::<u128>()).max(1)];
    let address = buffer.as_mut_ptr();
    let mut memory = MEMORY.lock().expect("nobody panics with it");
    memory.get_or_insert_default().insert(address.addr(), buffer);
    address.expose_provenance();
    address.cast()
}

fn free(address: usize) {
    let mut memory = MEMORY.lock().expect("nobody panics with it");
    memory.get_or_insert_default().remove(&address);
}

fn pointer(address: u64) -> *mut u8 {
    std::ptr::with_exposed_provenance_mut(address as usize)
}

/// What the devices of the two generations answer.
fn attribute(asked: Attribute) -> Option<c_int> {
    let arch: c_int = var("SAMTONE_CUDA_ARCH").ok()?.parse().ok()?;
    Some(match asked {
        Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR => arch / 10,
        Attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR => arch % 10,
        Attribute::CU_DEVICE_ATTRIBUTE_WARP_SIZE => 32,
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN => {
            if arch < 90 {
                163 << 10
            } else {
                227 << 10
            }
        }
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK
        | Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_X
        | Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Y => 1024,
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_BLOCK_DIM_Z => 64,
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X => c_int::MAX,
        Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y
        | Attribute::CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z => 65_535,
        Attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT => {
            if arch < 90 {
                108
            } else {
                132
            }
        }
        _ => return None,
    })
}

/// Keeps the module's PTX under the name of its kernel; the same PTX once.
fn keep(name: &str, module: &CStr) -> Option<()> {
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(module);
    let file = Path::new(&var("SAMTONE_PTX").ok()?).join(format!("{name}-{hash:016x}.ptx"));
    std::fs::write(file, module.to_bytes()).ok()
}

/// A function of the interface that ends well where its body does not say otherwise.
macro_rules! driver {
    ($($name:ident($($argument:ident: $type:ty),* $(,)?) $body:block)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name($($argument: $type),*) -> CUresult {
            #[allow(unused_unsafe, reason = "some have nothing to do")]
            unsafe { $body }
            #[allow(unreachable_code, reason = "some always return")]
            CUresult::CUDA_SUCCESS
        }
    )*};
}

driver! {
    cuInit(_flags: c_uint) {}
    cuDeviceGetCount(count: *mut c_int) { *count = 1; }
    cuDeviceGet(device: *mut c_int, ordinal: c_int) {
        if ordinal != 0 {
            return CUresult::CUDA_ERROR_INVALID_DEVICE;
        }
        *device = 0;
    }
    cuDeviceGetAttribute(value: *mut c_int, asked: Attribute, _device: c_int) {
        let Some(found) = attribute(asked) else {
            return CUresult::CUDA_ERROR_INVALID_VALUE;
        };
        *value = found;
    }
    cuDeviceTotalMem_v2(bytes: *mut usize, _device: c_int) { *bytes = 8 << 30; }
    cuDevicePrimaryCtxRetain(context: *mut *mut c_void, _device: c_int) {
        *context = without_provenance_mut(HANDLE);
    }
    cuCtxSetCurrent(_context: *mut c_void) {}

    cuStreamCreate(stream: *mut *mut c_void, _flags: c_uint) {
        *stream = without_provenance_mut(HANDLE);
    }
    cuStreamSynchronize(_stream: *mut c_void) {}
    cuStreamWaitEvent(_stream: *mut c_void, _event: *mut c_void, _flags: c_uint) {}
    cuEventCreate(event: *mut *mut c_void, _flags: c_uint) {
        *event = without_provenance_mut(HANDLE);
    }
    cuEventRecord(_event: *mut c_void, _stream: *mut c_void) {}
    cuEventSynchronize(_event: *mut c_void) {}
    cuEventDestroy_v2(_event: *mut c_void) {}

    cuMemAllocAsync(address: *mut u64, bytes: usize, _stream: *mut c_void) {
        *address = allocate(bytes).addr() as u64;
    }
    cuMemAlloc_v2(address: *mut u64, bytes: usize) { *address = allocate(bytes).addr() as u64; }
    cuMemAllocHost_v2(address: *mut *mut c_void, bytes: usize) { *address = allocate(bytes); }
    cuMemFreeAsync(address: u64, _stream: *mut c_void) { free(address as usize); }
    cuMemFree_v2(address: u64) { free(address as usize); }
    cuMemFreeHost(address: *mut c_void) { free(address.addr()); }
    cuMemcpyHtoDAsync_v2(to: u64, from: *const u8, bytes: usize, _stream: *mut c_void) {
        copy_nonoverlapping(from, pointer(to), bytes);
    }
    cuMemcpyDtoHAsync_v2(to: *mut u8, from: u64, bytes: usize, _stream: *mut c_void) {
        copy_nonoverlapping(pointer(from), to, bytes);
    }
    cuMemcpy2DAsync_v2(copy: *const CUDA_MEMCPY2D, _stream: *mut c_void) {
        let copy = &*copy;
        let is_host = |side| side == CUmemorytype::CU_MEMORYTYPE_HOST;
        let from = if is_host(copy.srcMemoryType) { copy.srcHost.cast() } else { pointer(copy.srcDevice) };
        let to = if is_host(copy.dstMemoryType) { copy.dstHost.cast() } else { pointer(copy.dstDevice) };
        for row in 0..copy.Height {
            let (from, to) = (from.add(row * copy.srcPitch), to.add(row * copy.dstPitch));
            copy_nonoverlapping(from, to, copy.WidthInBytes);
        }
    }
    cuTensorMapEncodeTiled() {}

    cuModuleLoadData(module: *mut *mut c_char, image: *const c_char) {
        *module = CStr::from_ptr(image).to_owned().into_raw();
    }
    cuModuleGetFunction(function: *mut *mut c_void, module: *mut c_char, name: *const c_char) {
        let module = CString::from_raw(module);
        let kept = CStr::from_ptr(name).to_str().ok().and_then(|name| keep(name, &module));
        if kept.is_none() {
            return CUresult::CUDA_ERROR_NOT_FOUND;
        }
        *function = without_provenance_mut(HANDLE);
    }
    cuFuncSetAttribute(_function: *mut c_void, _attribute: c_int, _value: c_int) {}
    cuLaunchKernel() {}
}

// What CUDA says of an error, by name.
driver! {
    cuGetErrorName(_error: CUresult, text: *mut *const c_char) { *text = c"no device".as_ptr(); }
    cuGetErrorString(_error: CUresult, text: *mut *const c_char) { *text = c"no device".as_ptr(); }
}
