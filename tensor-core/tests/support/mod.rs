//! The smallest backend that can hold tensors: it moves elements and computes nothing.
#![allow(dead_code)] // each test uses a part

pub mod model;

use gradus_tensor_core::{
    Backend, Buffers, Device, Error, HostArray, InPlaceOp, Meta, Op, Outcome, Result, View, ViewMut,
    with_dtype,
};

/// Keeps arrays in host memory. A broken one takes tensors and never gives them back.
#[derive(Debug)]
pub struct Holder {
    pub broken: bool,
}

impl Holder {
    pub fn device() -> Device {
        Device::new(Holder { broken: false })
    }

    pub fn broken_device() -> Device {
        Device::new(Holder { broken: true })
    }
}

impl Backend for Holder {
    type Buffer = HostArray;

    fn name(&self) -> String {
        "holder".into()
    }

    fn upload(&self, host: &HostArray) -> Result<HostArray> {
        Ok(host.clone())
    }

    fn download(&self, from: View<'_, HostArray>) -> Result<HostArray> {
        if self.broken {
            return Err(Error::Other("the device is on fire".into()));
        }
        with_dtype!(from.dtype, T => {
            let all: &[T] = from.buffer.as_slice().expect("the buffer has the dtype of its tensor");
            HostArray::new(from.layout.positions().map(|i| all[i]).collect(), *from.layout.shape())
        })
    }

    fn execute(
        &self,
        op: &Op,
        inputs: &[View<'_, HostArray>],
        _: &[Meta],
    ) -> Result<Outcome<Buffers<HostArray>>> {
        Ok(match op {
            Op::Copy => Outcome::Done([self.download(inputs[0])?].into_iter().collect()),
            _ => Outcome::Unsupported,
        })
    }

    fn execute_in_place(
        &self,
        _: &InPlaceOp,
        _: &mut [ViewMut<'_, HostArray>],
        _: &[View<'_, HostArray>],
    ) -> Result<Outcome<()>> {
        Ok(Outcome::Unsupported)
    }
}
