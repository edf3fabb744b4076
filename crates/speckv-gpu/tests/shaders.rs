//! Every shader variant is valid and can be written for Vulkan, Metal and DX12. No device is
//! needed: this holds for interfaces that no test machine has.

use naga::{
    back::{hlsl, msl, spv},
    valid::{Capabilities, ValidationFlags, Validator},
};
use speckv_formats::quant::{TensorType, WeightType};
use speckv_gpu::{
    cache_type::CacheType,
    format::Format,
    shader::{AttentionShape, Epilogue, Product, Shader, Slices, TILES},
};

fn weight_types() -> Vec<WeightType> {
    TensorType::WRITTEN.map(WeightType::File).into_iter().chain([WeightType::Nf4]).collect()
}

/// Products: every format, tile and epilogue.
fn products() -> Vec<Shader> {
    let mut shaders = Vec::new();
    for weight_type in weight_types() {
        for (number, tile) in TILES.into_iter().enumerate() {
            for (epilogue, groups, bias) in [
                (Epilogue::Store, 1, false),
                (Epilogue::Store, 2, true),
                (Epilogue::Add, 1, true),
                (Epilogue::Cap, 2, false),
                (Epilogue::GluQuantized(true), 2, false),
                (Epilogue::GluFloat(false), 2, false),
            ] {
                let format = Format::of(weight_type);
                let slices = Slices::new([112, 2][number % 2], 1024);
                shaders.push(Product { format, tile, slices, groups, epilogue, bias }.shader());
            }
        }
    }
    shaders
}

fn others() -> Vec<Shader> {
    let mut shaders = vec![
        Shader::norm(false),
        Shader::norm(true),
        Shader::add_norm(),
        Shader::quantized(),
        Shader::whole_norm(false),
        Shader::whole_norm(true),
        Shader::glu(true),
        Shader::glu(false),
        Shader::signals(),
        Shader::read(),
    ];
    shaders.extend(weight_types().into_iter().map(|of| Shader::gather(&Format::of(of))));
    for head_dim in [16, 48, 64, 128, 256, 1024] {
        let caches = [CacheType::F16, CacheType::Q8_0];
        for cache in caches.into_iter().filter(|cache| cache.takes(head_dim)) {
            for group in [1, 2, 7, 16] {
                let shape = AttentionShape { head_dim, group, cache, cap: false };
                let capped = AttentionShape { cap: true, ..shape };
                shaders.extend([shape.attend(), capped.attend(), shape.merge(), shape.keep()]);
                for flags in 0..16 {
                    let [interleaved, norm, bias, growth] = [1, 2, 4, 8].map(|bit| flags & bit > 0);
                    shaders.push(shape.rotate(interleaved, norm, bias, growth));
                }
            }
        }
    }
    shaders
}

fn parsed(shader: &Shader) -> (naga::Module, naga::valid::ModuleInfo) {
    let text = shader.text();
    let module = naga::front::wgsl::parse_str(&text)
        .unwrap_or_else(|error| panic!("{}:\n{}", shader.name(), error.emit_to_string(&text)));
    let info = Validator::new(ValidationFlags::all(), Capabilities::SHADER_FLOAT16_IN_FLOAT32)
        .validate(&module)
        .unwrap_or_else(|error| panic!("{}:\n{}", shader.name(), error.emit_to_string(&text)));
    (module, info)
}

#[test]
fn every_variant_is_valid() {
    let shaders = [products(), others()].concat();
    assert!(shaders.len() > 900);
    for shader in &shaders {
        parsed(shader);
    }
}

#[test]
fn every_variant_can_be_written_for_every_interface() {
    // One tile of each kind of loop: other tiles only repeat lines.
    let tiled = products().into_iter().enumerate();
    let few = tiled.filter(|(i, _)| [0, 4, 8].contains(&(i / 6 % TILES.len())));
    for shader in few.map(|(_, shader)| shader).chain(others()) {
        let (module, info) = parsed(&shader);
        let words = spv::write_vec(&module, &info, &spv::Options::default(), None).unwrap();
        assert!(words.len() > 100, "{}", shader.name());
        let options = msl::Options {
            fake_missing_bindings: true,
            lang_version: (2, 4),
            ..msl::Options::default()
        };
        let pipeline = msl::PipelineOptions::default();
        let (metal, _) = msl::write_string(&module, &info, &options, &pipeline).unwrap();
        assert!(metal.contains("kernel void"), "{}", shader.name());
        let mut direct = String::new();
        let options = hlsl::Options { fake_missing_bindings: true, ..hlsl::Options::default() };
        let pipeline = hlsl::PipelineOptions::default();
        hlsl::Writer::new(&mut direct, &options, &pipeline).write(&module, &info, None).unwrap();
        assert!(direct.contains("numthreads"), "{}", shader.name());
    }
}

#[test]
fn workgroup_memory_fits_every_adapter() {
    for shader in [products(), others()].concat() {
        let (module, _) = parsed(&shader);
        let mut layouter = naga::proc::Layouter::default();
        layouter.update(module.to_ctx()).unwrap();
        let shared = module
            .global_variables
            .iter()
            .filter(|(_, variable)| variable.space == naga::AddressSpace::WorkGroup);
        let bytes: u32 = shared.map(|(_, variable)| layouter[variable.ty].size).sum();
        assert!(bytes <= 16 << 10, "{} takes {bytes} bytes", shader.name());
    }
}
