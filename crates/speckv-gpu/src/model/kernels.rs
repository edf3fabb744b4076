//! The kernels that all layers of a model share, and the numbers that they read.

use std::sync::Arc;

use speckv_formats::config::Config;

use super::buffers::{Buffers, Sizes};
use crate::{
    device::{Bindings, Buffer, Device, Kernel},
    error::GpuError,
    shader::{AttentionShape, Shader},
};

/// Kernels of a model.
#[derive(Debug)]
pub(super) struct Kernels {
    pub attention: AttentionShape,
    pub heads: usize,
    pub kv_heads: usize,
    pub norm: Arc<Kernel>,
    pub norm_picked: Arc<Kernel>,
    pub add_norm: Arc<Kernel>,
    pub norm_shape: Buffer,
    pub attend: Arc<Kernel>,
    pub merge: Arc<Kernel>,
    pub keep: Arc<Kernel>,
    pub signals: Arc<Kernel>,
    /// Of layers that see everything, then of those that slide.
    pub merge_bindings: [Bindings; 2],
    /// As above.
    pub rotate_shapes: [Buffer; 2],
    /// Of layers in which positions do not turn.
    pub still_shape: Buffer,
    /// As above.
    pub attend_shapes: [Buffer; 2],
}

impl Kernels {
    pub fn new(
        device: &Device,
        config: &Config,
        sizes: &Sizes,
        buffers: &Buffers,
    ) -> Result<Self, GpuError> {
        let attention = AttentionShape {
            head_dim: config.head_dim,
            group: config.group(),
            cache: sizes.cache_type,
            cap: config.attention_cap.is_some(),
        };
        let (heads, kv_heads) = (config.heads, config.kv_heads);
        let window = config
            .sliding
            .as_ref()
            .map_or(u32::MAX, |sliding| u32::try_from(sliding.window).unwrap_or(u32::MAX));
        let windows = [u32::MAX, window];
        let merge = device.kernel(&attention.merge())?;
        let merge_bindings = |window: u32| {
            let shape = [heads as u32, sizes.query_blocks as u32, window];
            let shape = device.uniform("shape", &shape)?;
            let attended = &buffers.attended;
            merge.bind_whole(
                device,
                &[
                    &buffers.entries,
                    &shape,
                    &buffers.rows,
                    &buffers.partial,
                    &buffers.partial_sums,
                    &attended.exact,
                    &attended.q,
                    &attended.factors,
                ],
            )
        };
        let ropes = [&config.rope, config.sliding.as_ref().map_or(&config.rope, |s| &s.rope)];
        let (rate, reach) = config.query_growth.map_or((0.0, 1), |growth| {
            (growth.rate, u32::try_from(growth.span).unwrap_or(u32::MAX))
        });
        let rotate_shape = |dim: usize| {
            let shape = [
                heads as u32,
                kv_heads as u32,
                (dim / 2) as u32,
                sizes.qkv as u32,
                config.epsilon.to_bits(),
                rate.to_bits(),
                reach.max(1),
            ];
            device.uniform("shape", &shape)
        };
        let attend_shape = |window: u32| {
            let shape = [
                heads as u32,
                kv_heads as u32,
                config.group() as u32,
                sizes.qkv as u32,
                window,
                config.attention_scale.to_bits(),
                config.attention_cap.unwrap_or(0.0).to_bits(),
            ];
            device.uniform("shape", &shape)
        };
        let norm_shape = [
            config.hidden as u32,
            sizes.hidden_blocks as u32,
            config.epsilon.to_bits(),
            config.residual_scale.to_bits(),
        ];
        Ok(Kernels {
            attention,
            heads,
            kv_heads,
            norm: device.kernel(&Shader::norm(false))?,
            norm_picked: device.kernel(&Shader::norm(true))?,
            add_norm: device.kernel(&Shader::add_norm())?,
            norm_shape: device.uniform("shape", &norm_shape)?,
            attend: device.kernel(&attention.attend())?,
            keep: device.kernel(&attention.keep())?,
            signals: device.kernel(&Shader::signals())?,
            merge_bindings: [merge_bindings(windows[0])?, merge_bindings(windows[1])?],
            rotate_shapes: [rotate_shape(ropes[0].dim)?, rotate_shape(ropes[1].dim)?],
            still_shape: rotate_shape(0)?,
            attend_shapes: [attend_shape(windows[0])?, attend_shape(windows[1])?],
            merge,
        })
    }
}
